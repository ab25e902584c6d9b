//! What becomes of a task's output: masked into the log, its end into the tail, its lines to whoever watches. Memory
//! stays bounded whatever is written. Knows nothing of processes.

mod lines;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::mask::MaskStream;
use super::{TAIL, Task};
use lines::Lines;

/// Takes chunks as they are read.
pub(super) struct Output<F> {
    streams: [MaskStream; 2],
    sink: Sink<F>,
    copy: Option<Copy>,
    masked: Vec<u8>,
}

/// Which of the two streams a chunk came from. With one pipe for both, everything is [`Stream::Out`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out = 0,
    Err = 1,
}

/// What is left when a task has ended.
pub(super) struct Left {
    pub tail: String,
    pub truncated: bool,
    pub log_bytes: u64,
    pub log_error: Option<String>,
    pub stdout_error: Option<String>,
}

impl<F: FnMut(&str)> Output<F> {
    /// # Errors
    /// When the copy of standard output cannot be made.
    pub fn new(task: &Task, on_line: F) -> Result<Self, String> {
        Ok(Self {
            streams: [task.mask.stream(), task.mask.stream()],
            sink: Sink { log: Log::new(&task.log), tail: Tail::default(), lines: Lines::new(on_line) },
            copy: task.stdout_file.as_deref().map(Copy::new).transpose()?,
            masked: Vec::new(),
        })
    }

    pub fn take(&mut self, stream: Stream, bytes: &[u8]) {
        if let (Stream::Out, Some(copy)) = (stream, &mut self.copy) {
            copy.write(bytes);
        }
        let masker = &mut self.streams[stream as usize];
        if masker.passes() {
            self.sink.take(bytes);
        } else {
            self.masked.clear();
            masker.push(bytes, &mut self.masked);
            self.sink.take(&self.masked);
        }
    }

    /// When lines that were held back for the watcher's sake are due.
    pub fn due(&self) -> Option<Instant> {
        self.sink.lines.due()
    }

    pub fn show_due(&mut self) {
        self.sink.lines.show_due(Instant::now());
    }

    pub fn finish(mut self) -> Left {
        self.masked.clear();
        self.streams.iter_mut().for_each(|masker| masker.finish(&mut self.masked));
        self.sink.take(&self.masked);
        self.sink.lines.finish();
        let (tail, truncated) = self.sink.tail.text();
        Left {
            tail,
            truncated,
            log_bytes: self.sink.log.written,
            log_error: self.sink.log.error,
            stdout_error: self.copy.and_then(|copy| copy.error),
        }
    }
}

/// Where masked bytes go.
struct Sink<F> {
    log: Log,
    tail: Tail,
    lines: Lines<F>,
}

impl<F: FnMut(&str)> Sink<F> {
    fn take(&mut self, masked: &[u8]) {
        if !masked.is_empty() {
            self.log.write(masked);
            self.tail.push(masked);
            self.lines.push(masked, Instant::now());
        }
    }
}

/// The log file: made at the first byte. After a failed write nothing more is written, so that what is there is a
/// true beginning.
struct Log {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    error: Option<String>,
}

impl Log {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, written: 0, error: None }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.error.is_some() {
            return;
        }
        match self.append(bytes) {
            Ok(()) => self.written += bytes.len() as u64,
            Err(error) => {
                self.error = Some(format!("cannot write the log `{}`: {error}", self.path.display()))
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open_log(&self.path)?),
        };
        file.write_all(bytes)
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().append(true).create(true).open(path);
    match (open(), path.parent()) {
        (Err(error), Some(directory)) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(directory)?;
            open()
        }
        (opened, _) => opened,
    }
}

/// The unmasked copy of standard output.
struct Copy {
    path: PathBuf,
    file: File,
    error: Option<String>,
}

impl Copy {
    fn new(path: &Path) -> Result<Self, String> {
        let file = File::create(path).map_err(|error| Self::failed(path, &error))?;
        Ok(Self { path: path.to_owned(), file, error: None })
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.error.is_none()
            && let Err(error) = self.file.write_all(bytes)
        {
            self.error = Some(Self::failed(&self.path, &error));
        }
    }

    fn failed(path: &Path, error: &io::Error) -> String {
        format!("cannot write the standard output to `{}`: {error}", path.display())
    }
}

/// The last [`TAIL`] bytes; holds up to twice as many, to move them seldom.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    dropped: bool,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        self.dropped |= bytes.len() > TAIL;
        if self.bytes.len() > 2 * TAIL {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let excess = self.bytes.len().saturating_sub(TAIL);
        self.bytes.drain(..excess);
        self.dropped |= excess > 0;
    }

    /// The text, and whether there was more. Begins with a whole line unless one line fills it all.
    fn text(mut self) -> (String, bool) {
        self.cut();
        let first = if self.dropped { self.first_line() } else { 0 };
        (String::from_utf8_lossy(&self.bytes[first..]).into_owned(), self.dropped)
    }

    fn first_line(&self) -> usize {
        let after_break = self.bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        after_break.filter(|at| *at < self.bytes.len()).unwrap_or_else(|| {
            // Within a character: to its end.
            self.bytes.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count()
        })
    }
}
