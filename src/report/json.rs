//! Events for programs: exactly the journal's lines, written as they become durable. A reader that goes away is not
//! missed: nothing is written after that, and the run goes on.

use std::io::Write;

use super::{Runs, Sink};
use crate::store::journal;
use crate::store::recorder::Notice;

/// Writes every fact as one line.
#[derive(Debug)]
pub struct Events<W> {
    /// Absent after a failed write.
    out: Option<W>,
    batch: String,
}

impl<W: Write + Send> Events<W> {
    pub fn new(out: W) -> Self {
        Self { out: Some(out), batch: String::new() }
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if let Some(out) = &mut self.out
            && out.write_all(self.batch.as_bytes()).and_then(|()| out.flush()).is_err()
        {
            self.out = None;
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
