//! Cuts output into lines for someone who watches: few enough to show, never the record (that is the log).

use std::time::{Duration, Instant};

/// Longest line shown, bytes; longer ones come in pieces.
const LONGEST: usize = 4096;
/// Most lines shown in one [`WINDOW`].
const MOST: usize = 100;
const WINDOW: Duration = Duration::from_millis(100);

pub(super) struct Lines<F> {
    on_line: F,
    partial: Vec<u8>,
    /// A line end `\r\n` is one, also when cut in between.
    after_return: bool,
    window: Option<Instant>,
    shown: usize,
    skipped: u64,
    last_skipped: Vec<u8>,
}

impl<F: FnMut(&str)> Lines<F> {
    pub fn new(on_line: F) -> Self {
        Self {
            on_line,
            partial: Vec::new(),
            after_return: false,
            window: None,
            shown: 0,
            skipped: 0,
            last_skipped: Vec::new(),
        }
    }

    pub fn push(&mut self, mut bytes: &[u8], now: Instant) {
        self.turn(now);
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, rest) = bytes.split_at(end);
            self.extend(line);
            let ends_return = rest[0] == b'\n' && self.after_return && line.is_empty();
            self.after_return = rest[0] == b'\r';
            // A progress bar rewrites its line with lone returns: an empty one between two says nothing.
            if !(ends_return || self.after_return && self.partial.is_empty()) {
                self.line();
            }
            bytes = &rest[1..];
        }
        if !bytes.is_empty() {
            self.after_return = false;
            self.extend(bytes);
        }
    }

    /// When the skipped lines are to be told, if nothing else comes.
    pub fn due(&self) -> Option<Instant> {
        self.window.filter(|_| self.skipped > 0).map(|began| began + WINDOW)
    }

    pub fn show_due(&mut self, now: Instant) {
        self.turn(now);
    }

    pub fn finish(&mut self) {
        if !self.partial.is_empty() {
            self.line();
        }
        self.tell_skipped();
    }

    fn extend(&mut self, mut bytes: &[u8]) {
        while self.partial.len() + bytes.len() > LONGEST {
            let (piece, rest) = bytes.split_at(LONGEST - self.partial.len());
            self.partial.extend_from_slice(piece);
            self.line();
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
    }

    /// The partial line is whole.
    fn line(&mut self) {
        if self.shown < MOST {
            self.shown += 1;
            (self.on_line)(&String::from_utf8_lossy(&self.partial));
            self.partial.clear();
        } else {
            self.skipped += 1;
            std::mem::swap(&mut self.partial, &mut self.last_skipped);
            self.partial.clear();
        }
    }

    /// Begins a new window when the old one is over.
    fn turn(&mut self, now: Instant) {
        if self.window.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            self.tell_skipped();
            self.window = Some(now);
            self.shown = 0;
        }
    }

    fn tell_skipped(&mut self) {
        if self.skipped > 1 {
            (self.on_line)(&format!("... {} lines not shown here; the log has them all", self.skipped - 1));
        }
        if self.skipped > 0 {
            (self.on_line)(&String::from_utf8_lossy(&self.last_skipped));
            self.skipped = 0;
        }
    }
}
