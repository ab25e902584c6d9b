//! The positioned tree of a large file in the form that is kept: reading it again costs a fraction of parsing the text.
//! Only trees without a problem are kept, each with a digest of the text it was made from and of itself, so that
//! whatever else is found under its name is no tree. Knows nothing of where the bytes lie.

use std::borrow::Cow;

use super::parse;
use super::problem::{Problem, Span};
use super::yaml::{Entry, Kind, Scalar, Yaml};
use crate::digest::{Digest, Hasher};

/// Where the trees of large files are kept, each under the digest of its text.
pub trait Trees {
    fn get(&self, text: Digest) -> Option<Vec<u8>>;
    /// May do nothing: a tree can always be made again.
    fn put(&self, text: Digest, tree: &[u8]);
}

/// Shorter texts are parsed faster than a second file is read, in bytes.
const LARGE: usize = 64 * 1024;

/// Version of the bytes, and of what the parser makes of a text.
const FORMAT: &str = concat!("tree 1 of ", env!("CARGO_PKG_VERSION"));

/// Bytes of the digest that they begin with.
const SEAL: usize = 32;

/// What [`parse::parse`] gives, from the kept tree where there is one.
pub fn parse<'a>(text: &'a str, trees: Option<&dyn Trees>) -> (Option<Yaml<'a>>, Vec<Problem>) {
    let Some(trees) = trees.filter(|_| text.len() >= LARGE) else { return parse::parse(text) };
    let digest = Digest::of_bytes(text.as_bytes());
    if let Some(tree) = trees.get(digest).and_then(|bytes| decode(&bytes, digest, text)) {
        return (Some(tree), Vec::new());
    }
    let (tree, problems) = parse::parse(text);
    if let Some(tree) = tree.as_ref().filter(|_| problems.is_empty()) {
        trees.put(digest, &encode(tree, digest, text));
    }
    (tree, problems)
}

fn seal(text: Digest, body: &[u8]) -> Digest {
    Hasher::new(FORMAT).field("text", text.as_bytes()).field("tree", body).finish()
}

fn encode(tree: &Yaml<'_>, digest: Digest, text: &str) -> Vec<u8> {
    let mut writer = Writer { text, bytes: vec![0; SEAL] };
    writer.value(tree);
    let mut bytes = writer.bytes;
    let seal = seal(digest, &bytes[SEAL..]);
    bytes[..SEAL].copy_from_slice(seal.as_bytes());
    bytes
}

fn decode<'a>(bytes: &[u8], digest: Digest, text: &'a str) -> Option<Yaml<'a>> {
    let (front, body) = bytes.split_at_checked(SEAL)?;
    if seal(digest, body).as_bytes() != front {
        return None;
    }
    Reader { text, bytes: body }.value(0)
}

/// First byte of a value.
mod tag {
    pub const QUOTED: u8 = 0;
    pub const PLAIN: u8 = 1;
    pub const LIST: u8 = 2;
    pub const MAP: u8 = 3;
}

/// First byte of a text: it stands in the source as it is, or follows.
mod place {
    pub const SOURCE: u8 = 0;
    pub const HERE: u8 = 1;
}

struct Writer<'a> {
    text: &'a str,
    bytes: Vec<u8>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Yaml<'_>) {
        match &value.kind {
            Kind::Scalar(scalar) => {
                self.bytes.push(if scalar.plain { tag::PLAIN } else { tag::QUOTED });
                self.span(value.span);
                self.words(&scalar.text);
            }
            Kind::List(items) => {
                self.bytes.push(tag::LIST);
                self.span(value.span);
                self.number(items.len());
                items.iter().for_each(|item| self.value(item));
            }
            Kind::Map(entries) => {
                self.bytes.push(tag::MAP);
                self.span(value.span);
                self.number(entries.len());
                for entry in entries {
                    self.span(entry.key_span);
                    self.words(&entry.key);
                    self.value(&entry.value);
                }
            }
        }
    }

    fn words(&mut self, words: &str) {
        // One that was copied lies elsewhere.
        let inside = offset(self.text, words);
        self.bytes.push(if inside.is_some() { place::SOURCE } else { place::HERE });
        if let Some(offset) = inside {
            self.number(offset);
        }
        self.number(words.len());
        if inside.is_none() {
            self.bytes.extend_from_slice(words.as_bytes());
        }
    }

    fn span(&mut self, span: Span) {
        self.number(span.start);
        self.number(span.end);
    }

    /// Files are far shorter than 4 GiB, and so is everything that is counted in one.
    fn number(&mut self, number: usize) {
        self.bytes.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }
}

/// Where a part of a text lies in it.
fn offset(text: &str, part: &str) -> Option<usize> {
    let offset = part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    (offset + part.len() <= text.len()).then_some(offset)
}

struct Reader<'a, 'b> {
    text: &'a str,
    bytes: &'b [u8],
}

impl<'a> Reader<'a, '_> {
    fn value(&mut self, depth: usize) -> Option<Yaml<'a>> {
        if depth > parse::MAX_DEPTH + 1 {
            return None;
        }
        let tag = self.byte()?;
        let span = self.span()?;
        let kind = match tag {
            tag::QUOTED | tag::PLAIN => {
                Kind::Scalar(Scalar { text: self.words()?, plain: tag == tag::PLAIN })
            }
            tag::LIST => {
                let count = self.count()?;
                let mut items = Vec::with_capacity(count);
                for _ in 0..count {
                    items.push(self.value(depth + 1)?);
                }
                Kind::List(items)
            }
            tag::MAP => {
                let count = self.count()?;
                let mut entries = Vec::with_capacity(count);
                for _ in 0..count {
                    let (key_span, key) = (self.span()?, self.words()?);
                    entries.push(Entry { key, key_span, value: self.value(depth + 1)? });
                }
                Kind::Map(entries)
            }
            _ => return None,
        };
        Some(Yaml { span, kind })
    }

    fn words(&mut self) -> Option<Cow<'a, str>> {
        match self.byte()? {
            place::SOURCE => {
                let (start, length) = (self.number()?, self.number()?);
                self.text.get(start..start.checked_add(length)?).map(Cow::Borrowed)
            }
            place::HERE => {
                let length = self.number()?;
                let bytes = self.take(length)?;
                String::from_utf8(bytes.to_vec()).ok().map(Cow::Owned)
            }
            _ => None,
        }
    }

    fn span(&mut self) -> Option<Span> {
        Some(Span { start: self.number()?, end: self.number()? })
    }

    /// No more than there are bytes for: what is asked for is allocated.
    fn count(&mut self) -> Option<usize> {
        self.number().filter(|count| *count <= self.bytes.len())
    }

    fn number(&mut self) -> Option<usize> {
        let bytes = self.take(4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;

    use super::*;

    #[derive(Default)]
    struct Memory(RefCell<HashMap<Digest, Vec<u8>>>);

    impl Trees for Memory {
        fn get(&self, text: Digest) -> Option<Vec<u8>> {
            self.0.borrow().get(&text).cloned()
        }

        fn put(&self, text: Digest, tree: &[u8]) {
            self.0.borrow_mut().insert(text, tree.to_vec());
        }
    }

    /// Everything that has a form of its own: quotes, escapes, blocks, anchors, flow and block collections, empty values.
    fn text() -> String {
        let mut text = String::from(
            "a: &x { b: 'q''q', c: \"e\\n\", d: [1, ~, ] }\nagain: *x\nblock: |\n  one\n\n  two\nfolded: >-\n  a\n  b\n\
             ? long\n: ä\nempty:\nlist:\n- x\n- - y\n",
        );
        while text.len() < LARGE {
            text.push_str(&format!("k{}: {{ run: 'true', needs: [a, \"b\"] }}\n", text.len()));
        }
        text
    }

    #[test]
    fn a_kept_tree_is_the_one_that_parsing_gives() {
        let (text, memory) = (text(), Memory::default());
        let made = format!("{:?}", parse::parse(&text));
        for _ in 0..2 {
            assert_eq!(format!("{:?}", parse(&text, Some(&memory))), made);
        }
        assert_eq!(memory.0.borrow().len(), 1);
        let digest = Digest::of_bytes(text.as_bytes());
        assert!(decode(&memory.get(digest).unwrap(), digest, &text).is_some());
    }

    #[test]
    fn damaged_bytes_and_those_of_another_text_are_no_tree() {
        let (text, digest) = (text(), Digest::of_bytes(b"x"));
        let whole = encode(&parse::parse(&text).0.unwrap(), digest, &text);
        assert!(decode(&whole, digest, &text).is_some());
        assert!(decode(&whole, Digest::of_bytes(b"y"), &text).is_none());
        for at in [0, SEAL, SEAL + 1, whole.len() / 2, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert!(decode(&flipped, digest, &text).is_none(), "byte {at}");
            assert!(decode(&whole[..at], digest, &text).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn bytes_that_were_sealed_and_are_no_tree_are_refused_without_a_panic() {
        let digest = Digest::of_bytes(b"x");
        let mut state = 1u64;
        for length in 0..400 {
            let body: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    u8::try_from((state >> 33) % 5).unwrap()
                })
                .collect();
            let bytes = [seal(digest, &body).as_bytes().as_slice(), &body].concat();
            drop(decode(&bytes, digest, "text"));
        }
    }

    #[test]
    fn a_text_with_problems_is_not_kept() {
        let (text, memory) = (text() + "a: twice\n", Memory::default());
        assert!(!parse(&text, Some(&memory)).1.is_empty());
        assert!(memory.0.borrow().is_empty());
    }
}
