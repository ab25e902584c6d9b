//! Events for programs: exactly the journal's lines, written as they become durable. A reader that goes away is not
//! missed: nothing is written after that, and the run goes on. So it does when they cannot be written, which is told.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::Sender;

use super::{Runs, Sink};
use crate::store::journal;
use crate::store::recorder::Notice;

/// Writes every fact as one line.
#[derive(Debug)]
pub struct Events<W> {
    /// Absent after a failed write.
    out: Option<W>,
    batch: String,
    failed: Sender<io::Error>,
}

impl<W: Write + Send> Events<W> {
    /// `failed` gets the reason if they cannot be written, and somebody wants them.
    pub fn new(out: W, failed: Sender<io::Error>) -> Self {
        Self { out: Some(out), batch: String::new(), failed }
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if let Some(out) = &mut self.out
            && let Err(error) = out.write_all(self.batch.as_bytes()).and_then(|()| out.flush())
        {
            self.out = None;
            if error.kind() != ErrorKind::BrokenPipe {
                self.failed.send(error).ok();
            }
        }
        self.batch.clear();
    }
}

impl<W: Write + Send> Sink for Events<W> {
    fn notice(&mut self, notice: &Notice, _runs: &Runs) {
        match notice {
            Notice::Fact(record) if self.out.is_some() => self.batch.push_str(&journal::encode(record)),
            Notice::Fact(_) | Notice::Live(..) => {}
        }
    }

    fn idle(&mut self, _runs: &Runs) {
        self.flush();
    }

    fn end(&mut self, _runs: &Runs) {
        self.flush();
    }
}
