//! The names in the spelling of an expression, each segment with its place, and the one that is being typed at its end.
//! Total: also for text that is no expression yet. Knows nothing of grammar or types.

use std::ops::Range;

use super::lex::{dashed_end, is_start, name_end, quoted_end, takes_dashes};

/// One part of a name: `build` in `needs.build.status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub name: String,
    /// Bytes of the text, without quotes.
    pub range: Range<usize>,
}

/// The end of a text, where an author types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typing {
    /// The finished segments before it.
    pub path: Vec<String>,
    /// What there is of the next one.
    pub partial: String,
    /// It is typed as `["name`, after this quote.
    pub quote: Option<char>,
}

/// Every name that an expression reads. A method that is called on one is no part of it.
pub fn paths(text: &str) -> Vec<Vec<Segment>> {
    scan(text).0
}

/// What is being typed at the end of an expression. `None` inside of a text in quotes, after a number and the like.
pub fn typing(text: &str) -> Option<Typing> {
    scan(text).1
}

fn scan(text: &str) -> (Vec<Vec<Segment>>, Option<Typing>) {
    let bytes = text.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' | b'\'' => match quoted_end(bytes, at) {
                Some(end) => at = end,
                None => return (found, None),
            },
            byte if is_start(byte) && !(at > 0 && bytes[at - 1] == b'.') => {
                let (path, end, typing) = path(text, at);
                if typing.is_some() {
                    return (found, typing);
                }
                if !path.is_empty() {
                    found.push(path);
                }
                at = end;
            }
            byte if byte.is_ascii_alphanumeric() || byte == b'_' => {
                // A number, or a field of something that is no name.
                at = name_end(bytes, at).max(at + 1);
                if at == bytes.len() {
                    return (found, None);
                }
            }
            _ => at += 1,
        }
    }
    let after_value = bytes.iter().rev().find(|byte| !byte.is_ascii_whitespace());
    let open = !matches!(after_value, Some(b')' | b']' | b'}' | b'"' | b'\'' | b'.'));
    (found, open.then(|| Typing { path: Vec::new(), partial: String::new(), quote: None }))
}

/// The name that starts at `start`: its segments, where it ends, and what is typed there if the text ends with it.
fn path(text: &str, start: usize) -> (Vec<Segment>, usize, Option<Typing>) {
    let bytes = text.as_bytes();
    let mut at = name_end(bytes, start);
    let mut path = vec![segment(text, start..at)];
    let mut dashes = takes_dashes(&text[start..at]);
    loop {
        if at == bytes.len() {
            let last = path.pop().map(|segment| segment.name).unwrap_or_default();
            return (Vec::new(), at, Some(typed(&path, &last, None)));
        }
        match bytes[at] {
            b'.' if at + 1 == bytes.len() => return (Vec::new(), at, Some(typed(&path, "", None))),
            b'.' if is_start(bytes[at + 1]) => {
                let end = if dashes { dashed_end(bytes, at + 1) } else { name_end(bytes, at + 1) };
                path.push(segment(text, at + 1..end));
                at = end;
            }
            b'[' => match index(text, at) {
                Index::Name(range, end) => {
                    path.push(segment(text, range));
                    at = end;
                    // As the lexer of expressions has it.
                    dashes = false;
                }
                Index::Typing(partial, quote) => {
                    return (Vec::new(), bytes.len(), Some(typed(&path, partial, Some(quote))));
                }
                Index::Other => return (path, at, None),
            },
            b'(' => {
                path.pop();
                return (path, at, None);
            }
            // A name that ends in `-` is being typed, or a difference.
            b'-' if dashes && at + 1 == bytes.len() => {
                let last = path.pop().map(|segment| segment.name).unwrap_or_default();
                return (Vec::new(), at, Some(typed(&path, &format!("{last}-"), None)));
            }
            _ => return (path, at, None),
        }
    }
}

enum Index<'t> {
    /// `["name"]`: the name, and the end after the bracket.
    Name(Range<usize>, usize),
    Typing(&'t str, char),
    Other,
}

/// What stands in a bracket that opens at `start`. Blanks around the name are no part of it.
fn index(text: &str, start: usize) -> Index<'_> {
    let bytes = text.as_bytes();
    let blanks = |at: usize| at + bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let open = blanks(start + 1);
    let Some(quote @ (b'"' | b'\'')) = bytes.get(open) else { return Index::Other };
    let Some(end) = quoted_end(bytes, open) else {
        return Index::Typing(text[open + 1..].trim(), char::from(*quote));
    };
    let close = blanks(end);
    if bytes.get(close) != Some(&b']') {
        return Index::Other;
    }
    let inner = &text[open + 1..end - 1];
    let from = open + 1 + inner.len() - inner.trim_start().len();
    Index::Name(from..from + inner.trim().len(), close + 1)
}

fn segment(text: &str, range: Range<usize>) -> Segment {
    Segment { name: text[range.clone()].to_owned(), range }
}

fn typed(path: &[Segment], partial: &str, quote: Option<char>) -> Typing {
    let path = path.iter().map(|segment| segment.name.clone()).collect();
    Typing { path, partial: partial.to_owned(), quote }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::program;
    use super::*;

    fn joined(text: &str) -> Vec<String> {
        let names = |path: &Vec<Segment>| {
            let names: Vec<&str> = path.iter().map(|segment| segment.name.as_str()).collect();
            names.join("/")
        };
        paths(text).iter().map(names).collect()
    }

    #[test]
    fn names_are_found_with_their_places() {
        let cases: [(&str, &[&str]); 8] = [
            ("inputs.a && needs.my-node.outputs.x == \"needs.b\" ", &["inputs/a", "needs/my-node/outputs/x"]),
            ("needs[\"my-node\"].status != '' ", &["needs/my-node/status"]),
            ("size(inputs.list) > 1", &["inputs/list"]),
            ("inputs.list.map(x, x.name + env.A) + [] ", &["inputs/list", "x", "x/name", "env/A"]),
            ("success() || 1.5 > 2", &[]),
            ("inputs.count - 1", &["inputs/count"]),
            ("a.b-c ", &["a/b", "c"]),
            ("needs[ \"a \"].x ", &["needs/a/x"]),
        ];
        for (text, expect) in cases {
            assert_eq!(joined(text), expect, "{text}");
            for segment in paths(text).iter().flatten() {
                assert_eq!(&text[segment.range.clone()], segment.name);
            }
        }
    }

    #[test]
    fn the_end_of_a_text_is_what_is_typed() {
        let cases = [
            ("", Some((vec![], "", None))),
            ("inp", Some((vec![], "inp", None))),
            ("inputs.", Some((vec!["inputs"], "", None))),
            ("a == inputs.ta", Some((vec!["inputs"], "ta", None))),
            ("needs.my-", Some((vec!["needs"], "my-", None))),
            ("needs[\"my-n", Some((vec!["needs"], "my-n", Some('"')))),
            ("needs[\"a\"].outputs.", Some((vec!["needs", "a", "outputs"], "", None))),
            ("size(", Some((vec![], "", None))),
            ("inputs.a ", Some((vec![], "", None))),
            ("\"inputs.", None),
            ("size(x)", None),
            ("12", None),
        ];
        for (text, expect) in cases {
            let found = typing(text).map(|typing| (typing.path, typing.partial, typing.quote));
            let expect = expect.map(|(path, partial, quote)| {
                (path.into_iter().map(str::to_owned).collect::<Vec<_>>(), partial.to_owned(), quote)
            });
            assert_eq!(found, expect, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_scanned(text in "[a-z\\.\\[\\]\"'()\\- é]{0,40}|\\PC{0,40}") {
            for segment in paths(&text).iter().flatten() {
                prop_assert_eq!(&text[segment.range.clone()], segment.name.as_str());
            }
            typing(&text);
        }

        #[test]
        fn what_the_compiler_reads_is_found(text in "(inputs|needs)(\\.[a-z-]{0,3}[a-z]|\\[\"[a-z-]{1,4}\"\\]){0,3}( (==|\\+) (env|needs)\\.[a-z]{1,3}){0,2}") {
            let Ok(expression) = program::compile(&text) else { return Ok(()) };
            let ended = format!("{text} ");
            let found: Vec<String> = joined(&ended);
            for reference in &expression.references {
                prop_assert!(found.contains(&reference.segments().join("/")), "{} in {:?}", reference, found);
            }
        }
    }
}
