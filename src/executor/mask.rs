//! Masks secrets in text and in streams. Best effort by nature: a node that wants to give a secret away can (reversed,
//! split by spaces, compressed), so secrets go only to nodes that list them.
//!
//! Masked are the secret itself, each line of a multi-line one, and its usual spellings: base64, percent-encoding,
//! JSON, shell quoting, hexadecimal (`mask/spellings.rs`). Secrets under three characters are not masked: they would
//! blank out ordinary text and tell themselves by it; [`Mask::unmasked`] names them.
//!
//! In a stream, bytes are held back only while they are the beginning of something to mask.

mod spellings;

use std::borrow::Cow;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};

const REPLACEMENT: &str = "***";
/// Shortest secret that is masked, characters without the white space around it.
const SHORTEST: usize = 3;

/// What to mask. Cheap to share, not cheap to make.
#[derive(Debug, Default)]
pub struct Mask {
    search: Option<Search>,
    unmasked: Vec<String>,
}

struct Search {
    automaton: AhoCorasick,
    /// Sorted, to find by binary search whether a text is the beginning of one.
    patterns: Vec<Vec<u8>>,
    longest: usize,
    /// Whether a byte begins a pattern: spares most searches.
    begins: [bool; 256],
}

impl Mask {
    pub fn new<N: Into<String>, V: AsRef<[u8]>>(secrets: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut patterns = std::collections::BTreeSet::new();
        let mut unmasked = Vec::new();
        for (name, value) in secrets {
            if String::from_utf8_lossy(value.as_ref().trim_ascii()).chars().count() < SHORTEST {
                unmasked.push(name.into());
            } else {
                spellings::add(value.as_ref(), &mut patterns);
            }
        }
        Self { search: Search::new(patterns.into_iter().collect()), unmasked }
    }

    /// Masks nothing.
    pub fn none() -> Self {
        Self::default()
    }

    pub fn is_none(&self) -> bool {
        self.search.is_none()
    }

    /// Names of the secrets that are too short to be masked.
    pub fn unmasked(&self) -> &[String] {
        &self.unmasked
    }

    /// The text with everything secret replaced by `***`.
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(search) = self.search.as_ref().filter(|search| search.automaton.is_match(text)) else {
            return Cow::Borrowed(text);
        };
        let mut masked = Vec::with_capacity(text.len());
        search.replace(text.as_bytes(), text.len(), &mut masked);
        // A secret that is no text may cut a character in two.
        Cow::Owned(String::from_utf8_lossy(&masked).into_owned())
    }

    /// Whether something secret is in a value, or in a name within it.
    pub fn finds(&self, value: &serde_json::Value) -> bool {
        self.search.as_ref().is_some_and(|search| match value {
            serde_json::Value::String(text) => search.automaton.is_match(text),
            other => search.automaton.is_match(&other.to_string()),
        })
    }

    /// Whether something secret is in these bytes.
    pub fn finds_in(&self, bytes: impl AsRef<[u8]>) -> bool {
        self.search.as_ref().is_some_and(|search| search.automaton.is_match(bytes.as_ref()))
    }

    /// Looks for secrets in what is written to it, part by part.
    pub fn probe(&self) -> Probe<'_> {
        Probe { mask: self, tail: Vec::new(), found: false }
    }

    pub fn stream(self: &Arc<Self>) -> MaskStream {
        MaskStream { mask: Arc::clone(self), held: Vec::new() }
    }
}

impl Search {
    /// `patterns` are sorted.
    fn new(patterns: Vec<Vec<u8>>) -> Option<Self> {
        let longest = patterns.iter().map(Vec::len).max()?;
        let mut begins = [false; 256];
        patterns.iter().for_each(|pattern| begins[usize::from(pattern[0])] = true);
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&patterns)
            .expect("the patterns are few, far below the automaton's limit of states");
        Some(Self { automaton, patterns, longest, begins })
    }

    /// Masks the matches that begin before `limit`; returns where the unwritten rest begins.
    fn replace(&self, bytes: &[u8], limit: usize, into: &mut Vec<u8>) -> usize {
        let mut from = 0;
        for found in self.automaton.find_iter(bytes).take_while(|found| found.start() < limit) {
            into.extend_from_slice(&bytes[from..found.start()]);
            into.extend_from_slice(REPLACEMENT.as_bytes());
            from = found.end();
        }
        if from < limit {
            into.extend_from_slice(&bytes[from..limit]);
            from = limit;
        }
        from
    }

    /// Where the first tail begins, at or after `from`, that more bytes could turn into a (longer) match.
    fn undecided(&self, bytes: &[u8], from: usize) -> usize {
        let first = from.max(bytes.len().saturating_sub(self.longest - 1));
        let begins = |at: &usize| self.begins[usize::from(bytes[*at])] && self.begins_pattern(&bytes[*at..]);
        (first..bytes.len()).find(begins).unwrap_or(bytes.len())
    }

    fn begins_pattern(&self, text: &[u8]) -> bool {
        // The first pattern greater than `text` is the least one that has `text` as a proper prefix, if any has.
        let next = self.patterns.partition_point(|pattern| pattern.as_slice() <= text);
        self.patterns.get(next).is_some_and(|pattern| pattern.starts_with(text))
    }
}

impl std::fmt::Debug for Search {
    /// Shows no pattern: they are secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Search({} patterns)", self.patterns.len())
    }
}

/// Takes bytes and keeps nothing of them but whether there was a secret.
#[derive(Debug)]
pub struct Probe<'m> {
    mask: &'m Mask,
    /// The end of what was written: a secret may be cut by two writes.
    tail: Vec<u8>,
    found: bool,
}

impl Probe<'_> {
    pub fn found(&self) -> bool {
        self.found
    }
}

impl std::io::Write for Probe<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(search) = self.mask.search.as_ref().filter(|_| !self.found) {
            self.tail.extend_from_slice(bytes);
            self.found = search.automaton.is_match(&self.tail);
            let done = self.tail.len().saturating_sub(search.longest - 1);
            self.tail.drain(..done);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Masks a stream that comes in chunks cut anywhere.
#[derive(Debug)]
pub struct MaskStream {
    mask: Arc<Mask>,
    held: Vec<u8>,
}

impl MaskStream {
    /// Nothing is masked: pushing copies.
    pub fn passes(&self) -> bool {
        self.mask.is_none()
    }

    /// Appends to `into` everything that is decided. Holds back less than the longest pattern.
    pub fn push(&mut self, bytes: &[u8], into: &mut Vec<u8>) {
        let Some(search) = &self.mask.search else {
            into.extend_from_slice(bytes);
            return;
        };
        if self.held.is_empty() {
            let rest = decided(search, bytes, into);
            self.held.extend_from_slice(&bytes[rest..]);
        } else {
            self.held.extend_from_slice(bytes);
            let rest = decided(search, &self.held, into);
            self.held.drain(..rest);
        }
    }

    /// Appends what was held back; nothing will follow.
    pub fn finish(&mut self, into: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        match &self.mask.search {
            Some(search) => {
                search.replace(&held, held.len(), into);
            }
            None => into.extend_from_slice(&held),
        }
    }
}

/// Masks up to where more bytes could change the outcome; returns that place.
fn decided(search: &Search, bytes: &[u8], into: &mut Vec<u8>) -> usize {
    let mut from = 0;
    loop {
        let limit = search.undecided(bytes, from);
        from += search.replace(&bytes[from..], limit - from, into);
        // A match may have reached over the limit: what follows it is judged anew.
        if from == limit || from == bytes.len() {
            return from;
        }
    }
}

#[cfg(test)]
mod tests;
