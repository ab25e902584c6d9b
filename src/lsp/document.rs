//! An open document: its text, and places in it as the protocol counts them, in lines and UTF-16 units. Knows nothing
//! of what the text means.

use lsp_types::{Position, Range, TextDocumentContentChangeEvent};

/// A text and the bytes at which its lines start.
#[derive(Debug)]
pub struct Document {
    text: String,
    starts: Vec<usize>,
}

impl Document {
    pub fn new(text: String) -> Self {
        let starts = starts(&text);
        Self { text, starts }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Puts a change into place; one without a range is the whole text.
    pub fn change(&mut self, change: TextDocumentContentChangeEvent) {
        match change.range {
            None => *self = Self::new(change.text),
            Some(range) => {
                let (start, end) = (self.offset(range.start), self.offset(range.end));
                self.text.replace_range(start..end.max(start), &change.text);
                self.starts = starts(&self.text);
            }
        }
    }

    /// The byte at a position. One outside of its line is the line's end, one outside of the text the text's.
    pub fn offset(&self, position: Position) -> usize {
        let Some(&start) = self.starts.get(position.line as usize) else { return self.text.len() };
        let mut units = position.character as usize;
        for (at, c) in self.text[start..].char_indices() {
            if units < c.len_utf16() || c == '\n' || c == '\r' {
                return start + at;
            }
            units -= c.len_utf16();
        }
        self.text.len()
    }

    /// The position of a byte.
    pub fn position(&self, at: usize) -> Position {
        let at = self.text.floor_char_boundary(at);
        let line = self.starts.partition_point(|start| *start <= at) - 1;
        let units: usize = self.text[self.starts[line]..at].chars().map(char::len_utf16).sum();
        Position::new(u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(units).unwrap_or(u32::MAX))
    }

    pub fn range(&self, bytes: std::ops::Range<usize>) -> Range {
        Range::new(self.position(bytes.start), self.position(bytes.end))
    }
}

/// Lines end with `\n`, `\r\n` or `\r`.
fn starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let ends = |at: &usize| bytes[*at] == b'\n' || (bytes[*at] == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
    std::iter::once(0).chain((0..bytes.len()).filter(ends).map(|at| at + 1)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn positions_count_utf_16() {
        let document = Document::new("aé𝄞b\r\nc\rd\n".to_owned());
        let cases =
            [((0, 0), 0), ((0, 2), 3), ((0, 4), 7), ((1, 0), 10), ((1, 1), 11), ((2, 1), 13), ((3, 0), 14)];
        for ((line, character), at) in cases {
            assert_eq!(document.offset(Position::new(line, character)), at, "{line}:{character}");
            assert_eq!(document.position(at), Position::new(line, character), "{at}");
        }
        // Inside of a pair, behind a line, behind the text.
        for ((line, character), at) in [((0, 3), 3), ((0, 99), 8), ((9, 9), 14)] {
            assert_eq!(document.offset(Position::new(line, character)), at, "{line}:{character}");
        }
    }

    #[test]
    fn changes_are_put_in_their_places() {
        let mut document = Document::new("a𝄞c\nd\n".to_owned());
        let mut change = |range: Option<((u32, u32), (u32, u32))>, text: &str| {
            let position = |(line, character)| Position::new(line, character);
            let range = range.map(|(start, end)| Range::new(position(start), position(end)));
            document.change(TextDocumentContentChangeEvent {
                range,
                range_length: None,
                text: text.to_owned(),
            });
            document.text().to_owned()
        };
        assert_eq!(change(Some(((0, 1), (0, 3))), "b"), "abc\nd\n");
        assert_eq!(change(Some(((0, 3), (1, 0))), ""), "abcd\n");
        assert_eq!(change(Some(((1, 0), (1, 0))), "e"), "abcd\ne");
        assert_eq!(change(Some(((5, 0), (2, 0))), "f"), "abcd\nef");
        assert_eq!(change(None, "new"), "new");
    }

    proptest! {
        #[test]
        fn every_byte_has_a_position_and_the_way_back(text in "[a\r\né𝄞]{0,20}") {
            let document = Document::new(text.clone());
            for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                // A position between `\r` and `\n` is the end of the line.
                let inside = at > 0 && text[..at].ends_with('\r') && text[at..].starts_with('\n');
                let expect = if inside { at - 1 } else { at };
                prop_assert_eq!(document.offset(document.position(at)), expect);
            }
        }
    }
}
