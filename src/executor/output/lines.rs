//! Cuts output into lines for someone who watches: few enough to show, never the record (that is the log).

use std::time::{Duration, Instant};

use memchr::{memchr_iter, memchr2, memrchr};

/// Longest line shown, bytes; longer ones come in pieces.
const LONGEST: usize = 4096;
/// Most lines shown in one [`WINDOW`]. The others are counted and the last of them is shown when the window is over.
const MOST: usize = 100;
const WINDOW: Duration = Duration::from_millis(100);

pub(super) struct Lines<F> {
    on_line: F,
    /// The line that has not ended, at most [`LONGEST`] bytes of it.
    partial: Vec<u8>,
    /// A line end `\r\n` is one, also when a chunk ends within.
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
        while !bytes.is_empty() {
            bytes = if self.shown < MOST { self.show_next(bytes) } else { self.skip(bytes) };
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
        self.tell_skipped();
        if !self.partial.is_empty() {
            self.show();
        }
    }

    /// Shows up to one line; returns what follows it.
    fn show_next<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let room = LONGEST - self.partial.len();
        let Some(end) = memchr2(b'\n', b'\r', &bytes[..bytes.len().min(room + 1)]) else {
            let (piece, rest) = bytes.split_at(bytes.len().min(room));
            self.partial.extend_from_slice(piece);
            if !rest.is_empty() {
                self.show();
            }
            return rest;
        };
        self.partial.extend_from_slice(&bytes[..end]);
        // A progress bar rewrites its line with lone returns: an empty one between two says nothing.
        let closes_return = bytes[end] == b'\n' && self.after_return && self.partial.is_empty();
        self.after_return = bytes[end] == b'\r';
        if !(closes_return || self.after_return && self.partial.is_empty()) {
            self.show();
        }
        &bytes[end + 1..]
    }

    fn show(&mut self) {
        self.shown += 1;
        (self.on_line)(&String::from_utf8_lossy(&self.partial));
        self.partial.clear();
    }

    /// Takes everything at once: it counts the lines and keeps the last one and the beginning of the next.
    fn skip<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(last) = memrchr(b'\n', bytes) else {
            self.skipped += (bytes.len() / LONGEST) as u64;
            self.keep_partial(bytes);
            return &[];
        };
        self.skipped += memchr_iter(b'\n', bytes).count() as u64;
        let whole = &bytes[..last];
        match memrchr(b'\n', whole) {
            Some(before) => {
                self.partial.clear();
                self.keep_partial(&whole[before + 1..]);
            }
            None => self.keep_partial(whole),
        }
        std::mem::swap(&mut self.partial, &mut self.last_skipped);
        self.partial.clear();
        self.keep_partial(&bytes[last + 1..]);
        &[]
    }

    fn keep_partial(&mut self, bytes: &[u8]) {
        let room = LONGEST - self.partial.len();
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
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
            let line = String::from_utf8_lossy(&self.last_skipped);
            (self.on_line)(line.trim_end_matches('\r'));
            self.skipped = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut seen = Vec::new();
        let mut lines = Lines::new(|line: &str| seen.push(line.to_owned()));
        let now = Instant::now();
        chunks.iter().for_each(|chunk| lines.push(chunk, now));
        lines.finish();
        seen
    }

    #[test]
    fn lines_end_with_feed_return_or_both_and_chunks_do_not_matter() {
        assert_eq!(
            lines(&[b"one\ntw", b"o\r", b"\n\n10%\r20%\r\r", b"end"]),
            ["one", "two", "", "10%", "20%", "end"]
        );
    }

    #[test]
    fn a_long_line_comes_in_pieces() {
        let long = vec![b'x'; 2 * LONGEST + 5];
        let seen = lines(&[&long, b"\nnext\n"]);
        assert_eq!(seen.iter().map(String::len).collect::<Vec<_>>(), [LONGEST, LONGEST, 5, 4]);
        assert_eq!(lines(&[&long[..LONGEST], b"\n"]).len(), 1);
    }

    #[test]
    fn what_is_too_much_is_counted_and_the_last_line_is_shown() {
        let all: String = (0..1000).map(|number| format!("{number}\n")).collect();
        let seen = lines(&[all.as_bytes(), b"part"]);
        assert_eq!(seen.len(), MOST + 3);
        assert_eq!(
            seen[MOST - 1..],
            ["99", "... 899 lines not shown here; the log has them all", "999", "part"]
        );
    }

    #[test]
    fn skipped_lines_are_told_when_the_window_is_over() {
        let mut seen = Vec::new();
        let mut lines = Lines::new(|line: &str| seen.push(line.to_owned()));
        let began = Instant::now();
        lines.push(&b"a\n".repeat(MOST), began);
        assert_eq!(lines.due(), None);
        lines.push(b"b\n", began);
        assert_eq!(lines.due(), Some(began + WINDOW));
        lines.show_due(began + WINDOW);
        assert_eq!(lines.due(), None);
        assert_eq!(seen.last().unwrap(), "b");
    }
}
