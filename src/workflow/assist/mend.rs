//! A text that is no YAML at the moment, made into some by blanking the lines that are in the way. All places stay
//! what they are. Knows nothing of the language.

use std::borrow::Cow;
use std::ops::Range;

use crate::workflow::parse;

/// Lines that are blanked before a text is given up.
const MAX_LINES: usize = 12;

/// The longest text that is mended, in bytes: each attempt reads it again.
const MAX_TEXT: usize = 1 << 20;

/// The text with as few lines blanked as it takes to read it. The line that holds byte `kept` stays.
pub fn mend(text: &str, kept: Option<usize>) -> Option<Cow<'_, str>> {
    let mut mended = Cow::Borrowed(text);
    let kept = kept.map(|at| line(text, at));
    for _ in 0..=MAX_LINES {
        let wrong = match fault(&mended) {
            Fault::None => return Some(mended),
            Fault::Empty => return None,
            Fault::At(at) => at,
        };
        if text.len() > MAX_TEXT {
            return None;
        }
        mended = Cow::Owned(best(&mended, wrong, kept.clone())?);
    }
    None
}

enum Fault {
    None,
    Empty,
    At(usize),
}

fn fault(text: &str) -> Fault {
    let (tree, problems) = parse::parse(text);
    match (tree, problems.last().and_then(|problem| problem.labels.first())) {
        (Some(_), _) => Fault::None,
        (None, Some((span, _))) => Fault::At(span.start.min(text.len())),
        (None, None) => Fault::Empty,
    }
}

/// The parser complains where it gives up, which may be after the line that is wrong. So the text without the line of
/// the complaint, without the one before it, or without the last one that opens something and does not close it:
/// whichever can be read furthest.
fn best(text: &str, wrong: usize, kept: Option<Range<usize>>) -> Option<String> {
    let own = line(text, wrong);
    let before = text[..own.start].trim_end().len();
    let candidates =
        [Some(own.clone()), (before > 0).then(|| line(text, before - 1)), unclosed(&text[..own.end])];
    let usable = |range: &Range<usize>| {
        !text[range.clone()].trim().is_empty() && kept.as_ref().is_none_or(|kept| kept.start != range.start)
    };
    let reach = |text: &String| match fault(text) {
        Fault::None | Fault::Empty => usize::MAX,
        Fault::At(at) => at,
    };
    let blanked = candidates.into_iter().flatten().filter(usable).map(|range| blank(text, range));
    // The first of equals: the line of the complaint.
    blanked.rev().max_by_key(reach)
}

/// The last line that has more of a bracket open than closed, or an odd number of quotes.
fn unclosed(text: &str) -> Option<Range<usize>> {
    let count = |line: &str, sign: char| line.matches(sign).count();
    let is_open = |line: &str| {
        count(line, '[') > count(line, ']')
            || count(line, '{') > count(line, '}')
            || count(line, '"') % 2 == 1
            || count(line, '\'') % 2 == 1
    };
    let mut end = text.len();
    for line in text.split('\n').rev() {
        let start = end - line.len();
        if is_open(line) {
            return Some(start..end);
        }
        end = start.saturating_sub(1);
    }
    None
}

/// The line that holds a byte, without its end.
pub fn line(text: &str, at: usize) -> Range<usize> {
    let at = text.floor_char_boundary(at);
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    start..end
}

fn blank(text: &str, range: Range<usize>) -> String {
    let mut blanked = String::with_capacity(text.len());
    blanked.push_str(&text[..range.start]);
    blanked.extend(std::iter::repeat_n(' ', range.len()));
    blanked.push_str(&text[range.end..]);
    blanked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let mended = mend(text, None).expect("it can be mended");
        assert_eq!(mended.len(), text.len());
        let lines: Vec<&str> = mended.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.join("\n"), expect);
    }

    #[test]
    fn only_the_line_that_is_wrong_goes() {
        check("a: 1\nb: 2\n", "a: 1\nb: 2");
        check("a:\n  b: 1\n  nee\n  c: 2\nd: 3\n", "a:\n  b: 1\n  c: 2\nd: 3");
        check("a:\n  b: [x, \n  c: 2\nd: 3\n", "a:\n  c: 2\nd: 3");
        check("a:\n  b: \"x\n  c: 2\nd: 3\n", "a:\n  c: 2\nd: 3");
        check("a:\n  b: { c: ${{ x }}, d: [\n  e: 2\n", "a:\n  e: 2");
    }

    #[test]
    fn a_line_can_be_kept() {
        let text = "a: [\nb: 1\nc: [d, e]\n";
        assert!(mend(text, Some(0)).is_none());
        assert!(mend(text, Some(text.len() - 3)).is_some());
    }
}
