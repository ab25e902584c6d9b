//! The spelling of expressions: where `${{ }}` ends, which names hold a `-`, how many words there are. CEL itself is
//! parsed by the `cel` crate; this only prepares its text. Knows nothing of values.

use std::ops::Range;

/// Most words and signs of one expression: bounds the nesting of whatever is parsed from it.
pub const MAX_TOKENS: usize = 400;

/// Deepest nesting of brackets: each takes the CEL parser up to 200 KiB of its stack, and threads have 2 MiB.
const MAX_NESTING: usize = 8;

/// Names that CEL does not accept as a field without quotes.
const RESERVED: [&str; 21] = [
    "in",
    "true",
    "false",
    "null",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Names under which the fields are names of the workflow, where `-` is a letter.
const ROOTS: [&str; 7] = ["inputs", "env", "matrix", "item", "loop", "needs", "run"];

/// A name of the language that is a word of CEL, and what it is called in CEL's text.
pub const LOOP: (&str, &str) = ("loop", "loop__context");

/// An expression ready for the CEL parser.
#[derive(Debug)]
pub struct Prepared {
    /// The text with names such as `my-node` in backticks, and `loop` by its other name.
    pub text: String,
    /// Where bytes were put in, in bytes of `text`, ascending.
    inserted: Vec<usize>,
}

impl Prepared {
    /// The place in the author's text of a place in `text`.
    pub fn original(&self, range: Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(range.start);
        let end = self.text.ceil_char_boundary(range.end.max(start));
        let back = |at: usize| at - self.inserted.iter().take_while(|inserted| **inserted < at).count();
        back(start)..back(end)
    }
}

/// Text outside the grammar, with its place.
#[derive(Debug, PartialEq, Eq)]
pub struct LexError {
    pub range: Range<usize>,
    pub message: &'static str,
}

/// Length of the expression at the start of `text`, which follows a `${{`: up to the `}}` that ends it, passing over
/// texts in quotes and over braces that are opened inside.
pub fn expression_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0usize);
    while at < bytes.len() {
        match bytes[at] {
            b'}' if depth == 0 && bytes.get(at + 1) == Some(&b'}') => return Some(at),
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b'"' | b'\'' => at = quoted_end(bytes, at)? - 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// The byte after a quoted text that starts at `start`.
pub fn quoted_end(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = bytes[start];
    let raw = start > 0 && matches!(bytes[start - 1], b'r' | b'R');
    let triple = bytes[start..].starts_with(&[quote; 3]);
    let mut at = start + if triple { 3 } else { 1 };
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if !raw => at += 1,
            byte if byte == quote && !triple => return Some(at + 1),
            byte if byte == quote && bytes[at..].starts_with(&[quote; 3]) => return Some(at + 3),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Reads an expression (without its `${{ }}`).
///
/// # Errors
/// An open quote, more than [`MAX_TOKENS`], or brackets deeper than [`MAX_NESTING`].
pub fn prepare(source: &str) -> Result<Prepared, LexError> {
    let bytes = source.as_bytes();
    let mut out = Prepared { text: String::with_capacity(source.len()), inserted: Vec::new() };
    let (mut at, mut tokens, mut nesting) = (0, 0, 0_usize);
    while at < bytes.len() {
        let byte = bytes[at];
        let end = match byte {
            b'"' | b'\'' => quoted_end(bytes, at)
                .ok_or(LexError { range: at..source.len(), message: "a quote is opened and never closed" })?,
            b'`' => {
                return Err(LexError {
                    range: at..at + 1,
                    message: "backticks are not part of the language",
                });
            }
            _ if is_start(byte) => name_end(bytes, at),
            _ if byte.is_ascii_digit() => {
                at + bytes[at..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count()
            }
            _ => at + source[at..].chars().next().map_or(1, char::len_utf8),
        };
        tokens += usize::from(!byte.is_ascii_whitespace());
        if tokens > MAX_TOKENS {
            return Err(LexError {
                range: at..source.len(),
                message: "an expression holds at most 400 words and signs",
            });
        }
        nesting = match byte {
            b'(' | b'[' | b'{' => nesting + 1,
            b')' | b']' | b'}' => nesting.saturating_sub(1),
            _ => nesting,
        };
        if nesting > MAX_NESTING {
            return Err(LexError {
                range: at..at + 1,
                message: "brackets stand at most 8 deep in each other",
            });
        }
        let word = &source[at..end];
        let is_root = takes_dashes(word) && !source[..at].ends_with('.');
        if is_root && word == LOOP.0 {
            let start = out.text.len();
            out.text.push_str(LOOP.1);
            out.inserted.extend(start + LOOP.0.len()..out.text.len());
        } else {
            out.text.push_str(word);
        }
        at = if is_root { fields(source, end, &mut out, &mut tokens) } else { end };
    }
    Ok(out)
}

/// Copies `.field.field` from `at` on, quoting those that CEL would take apart. Gives the place after them.
fn fields(source: &str, mut at: usize, out: &mut Prepared, tokens: &mut usize) -> usize {
    let bytes = source.as_bytes();
    while bytes.get(at) == Some(&b'.') && bytes.get(at + 1).copied().is_some_and(is_start) {
        let start = at + 1;
        let end = dashed_end(bytes, start);
        let name = &source[start..end];
        out.text.push('.');
        if name.contains('-') || RESERVED.contains(&name) {
            out.inserted.push(out.text.len());
            out.text.push('`');
            out.text.push_str(name);
            out.inserted.push(out.text.len());
            out.text.push('`');
        } else {
            out.text.push_str(name);
        }
        *tokens += 2;
        at = end;
    }
    at
}

/// Whether the fields of this root are names of the workflow, where `-` is a letter.
pub fn takes_dashes(root: &str) -> bool {
    ROOTS.contains(&root)
}

/// The segments of a text that is nothing but a path, such as `needs.build.outputs.version`.
pub fn whole_path(source: &str) -> Option<Vec<String>> {
    let mut segments = Vec::new();
    for (index, segment) in source.split('.').enumerate() {
        let bytes = segment.as_bytes();
        let end = if index == 0 { name_end(bytes, 0) } else { dashed_end(bytes, 0) };
        let named = bytes.first().copied().is_some_and(is_start) && end == bytes.len();
        if !named || (index == 0 && segment != LOOP.0 && RESERVED.contains(&segment)) {
            return None;
        }
        segments.push(segment.to_owned());
    }
    Some(segments)
}

pub fn is_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub fn name_end(bytes: &[u8], start: usize) -> usize {
    start + bytes[start..].iter().take_while(|byte| is_part(**byte)).count()
}

/// End of a name in which `-` is a letter, though never the last one.
pub fn dashed_end(bytes: &[u8], start: usize) -> usize {
    let length = bytes[start..].iter().take_while(|byte| is_part(**byte) || **byte == b'-').count();
    let dashes = bytes[start..start + length].iter().rev().take_while(|byte| **byte == b'-').count();
    start + length - dashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_ends_at_its_own_braces() {
        let cases = [
            (" inputs.a }} rest", Some(10)),
            (" {\"a\": {\"b\": 1}} }}", Some(17)),
            (" \"}}\" }}", Some(6)),
            (" 'it\\'s }}' }}", Some(12)),
            (" \"\"\"a \" }} \"\"\" }}", Some(15)),
            (" inputs.a }", None),
            (" \"open }}", None),
            ("", None),
        ];
        for (text, expect) in cases {
            assert_eq!(expression_length(text), expect, "{text}");
        }
    }

    #[test]
    fn names_of_the_workflow_may_hold_dashes() {
        let cases = [
            ("needs.my-node.outputs.x", "needs.`my-node`.outputs.x"),
            ("needs.in.status", "needs.`in`.status"),
            ("inputs.count - 1", "inputs.count - 1"),
            ("inputs.count- 1", "inputs.count- 1"),
            ("a.b-c", "a.b-c"),
            ("x.inputs.b-c", "x.inputs.b-c"),
            ("\"needs.my-node\"", "\"needs.my-node\""),
            ("size(matrix.a-b) > 1", "size(matrix.`a-b`) > 1"),
        ];
        for (text, expect) in cases {
            assert_eq!(prepare(text).expect(text).text, expect);
        }
    }

    #[test]
    fn brackets_are_counted_outside_of_texts() {
        let deep = |count: usize| format!("{}1{}", "([".repeat(count), "])".repeat(count));
        assert!(prepare(&deep(4)).is_ok());
        assert_eq!(prepare(&deep(5)).unwrap_err().range, 8..9);
        assert!(prepare(&format!("'{}' == ({})", "(".repeat(100), "(1) + ".repeat(20) + "1")).is_ok());
    }

    #[test]
    fn places_are_those_of_the_author() {
        let prepared = prepare("needs.my-node.x + needs.a-b.y").unwrap();
        let at = prepared.text.find("`.y").unwrap() + 2;
        assert_eq!(&"needs.my-node.x + needs.a-b.y"[prepared.original(at..at + 1)], "y");
    }

    #[test]
    fn paths_are_recognised() {
        assert_eq!(whole_path("inputs.a"), Some(vec!["inputs".to_owned(), "a".to_owned()]));
        for text in ["true", "1", "inputs.", "inputs.a + 1", "inputs.a[0]", "f()", ".a", ""] {
            assert_eq!(whole_path(text), None, "{text}");
        }
    }

    #[test]
    fn hopeless_texts_are_refused_early() {
        assert!(prepare("'open").is_err());
        assert!(prepare(&"1+".repeat(1000)).is_err());
        assert!(prepare("a.`b`").is_err());
    }
}
