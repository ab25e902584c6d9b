//! How problems are shown: drawn into the source for people, as JSON for programs. Knows nothing of what they mean.
//! Whatever a file holds, no control character of it reaches the terminal.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    SourceCode, SourceSpan, SpanContents,
};
use serde_json::{Value, json};

use super::model::Source;
use super::problem::{Problem, Problems, Severity, Span};

/// Longest line that is shown whole, in bytes. Of a longer one, only the part around the label.
const MAX_LINE: usize = 400;

/// Longest label, in bytes.
const MAX_LABEL: usize = 160;

/// Draws all problems, in the order of the file, with a line that counts them. Empty for no problems.
pub fn render(problems: &Problems, colour: bool, width: usize) -> String {
    if problems.list.is_empty() {
        return String::new();
    }
    let texts: Vec<String> = sources(problems).map(|source| harmless(&source.text)).collect();
    let files = Files::new(problems, &texts);
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width.max(40))
        .with_links(false)
        .with_context_lines(1);
    let mut out = String::new();
    for problem in &problems.list {
        let shown = Shown { problem, files: &files };
        if handler.render_report(&mut out, &shown).is_err() {
            // A snippet that cannot be drawn leaves its message.
            out.push_str(&format!("{}: {shown}\n", problem.code));
        }
        out.push('\n');
    }
    out.push_str(&count(&problems.list));
    out.push('\n');
    out
}

/// All problems with their places: lines and columns from 1, columns in characters.
pub fn to_json(problems: &Problems) -> Value {
    let texts: Vec<&String> = sources(problems).map(|source| &source.text).collect();
    let files = Files::new(problems, &texts);
    let one = |problem: &Problem| {
        let (lines, span) = files.of(problem.span());
        let (line, column) = lines.place(span.start);
        let (end_line, end_column) = lines.place(span.end);
        json!({
            "file": lines.path,
            "line": line,
            "column": column,
            "end_line": end_line,
            "end_column": end_column,
            "code": problem.code,
            "severity": word(problem.severity),
            "message": problem.message,
            "help": problem.help,
        })
    };
    problems.list.iter().map(one).collect()
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// `2 errors, 1 warning`.
fn count(list: &[Problem]) -> String {
    let errors = list.iter().filter(|problem| problem.severity == Severity::Error).count();
    let counted = [(errors, "error"), (list.len() - errors, "warning")];
    let words = counted.iter().filter(|(count, _)| *count > 0);
    let words = words.map(|(count, word)| format!("{count} {word}{}", if *count == 1 { "" } else { "s" }));
    words.collect::<Vec<_>>().join(", ")
}

/// The text with every character that could steer a terminal replaced by a harmless one of the same length, so that
/// places stay what they are.
fn harmless(text: &str) -> String {
    let steers = |c: char| steers(c) && c != '\n';
    if !text.contains(steers) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\t' => out.push('\t'),
            '\r' if chars.peek() == Some(&'\n') => out.push('\r'),
            c if !steers(c) => out.push(c),
            c => out.push_str(["?", "¿", "\u{fffd}", "\u{1f6ab}"][c.len_utf8() - 1]),
        }
    }
    out
}

/// A text of a message: control characters as escapes.
fn visible(text: &str) -> String {
    if !text.contains(|c: char| steers(c) && c != '\n') {
        return text.to_owned();
    }
    let one = |c: char| match steers(c) && c != '\n' {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(one).collect()
}

/// Control characters, and those that reorder or hide text.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A problem as miette wants it.
struct Shown<'p> {
    problem: &'p Problem,
    files: &'p Files<'p>,
}

impl Shown<'_> {
    /// Problems of the file as a whole point nowhere.
    fn placed(&self) -> bool {
        !self.files.of(self.problem.span()).0.text.is_empty()
            && self
                .problem
                .labels
                .first()
                .is_some_and(|(span, text)| !text.is_empty() || span.end > span.start)
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.placed() {
            write!(f, "{}: ", self.files.of(self.problem.span()).0.name)?;
        }
        f.write_str(&visible(&self.problem.message))
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.problem.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help.as_deref().map(|help| Box::new(visible(help)) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.placed().then_some(self.files as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if !self.placed() {
            return None;
        }
        Some(Box::new(self.problem.labels.iter().enumerate().map(|(index, (span, text))| {
            let (lines, span) = self.files.of(*span);
            let span = lines.clip(span).moved(lines.start);
            let text = (!text.is_empty()).then(|| visible(text));
            let place = SourceSpan::new(span.start.into(), span.end - span.start);
            match index {
                0 => LabeledSpan::new_primary_with_span(text, place),
                _ => LabeledSpan::new_with_span(text, place),
            }
        })))
    }
}

/// The file that was asked for, and then all others.
fn sources(problems: &Problems) -> impl Iterator<Item = &Arc<Source>> {
    std::iter::once(&problems.source).chain(&problems.others)
}

/// All files that labels may point into, one after the other.
struct Files<'t>(Vec<Lines<'t>>);

impl<'t> Files<'t> {
    fn new(problems: &Problems, texts: &'t [impl AsRef<str>]) -> Self {
        let lines = sources(problems)
            .zip(texts)
            .map(|(source, text)| Lines::new(&source.path, source.start, text.as_ref()));
        Self(lines.collect())
    }

    /// The file of a span, and the span in its own text.
    fn of(&self, span: Span) -> (&Lines<'t>, Span) {
        let at = self.0.partition_point(|lines| lines.start <= span.start).saturating_sub(1);
        let lines = &self.0[at];
        (lines, Span { start: span.start - lines.start, end: span.end.saturating_sub(lines.start) })
    }
}

impl SourceCode for Files<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let (lines, span) = self.of(Span { start: span.offset(), end: span.offset() + span.len() });
        lines.read(span, before, after)
    }
}

/// A text with its line starts, so that a snippet of a large file is found without scanning it.
struct Lines<'t> {
    path: String,
    /// The path without control characters.
    name: String,
    /// Where its bytes begin among all files.
    start: usize,
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(path: &Path, start: usize, text: &'t str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(breaks).collect();
        Self {
            path: path.to_string_lossy().into_owned(),
            name: visible(&path.display().to_string()),
            start,
            text,
            starts,
        }
    }

    /// Index of the line that holds an offset.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset) - 1
    }

    /// Where a line ends, its line end included.
    fn end(&self, line: usize) -> usize {
        self.starts.get(line + 1).copied().unwrap_or(self.text.len())
    }

    /// Line and column, from 1.
    fn place(&self, offset: usize) -> (usize, usize) {
        let offset = self.boundary(offset.min(self.text.len()));
        let line = self.line(offset);
        let column = self.text[self.starts[line]..offset].chars().filter(|c| *c != '\u{feff}').count();
        (line + 1, column + 1)
    }

    /// The nearest place before `offset` that is not inside a character.
    fn boundary(&self, offset: usize) -> usize {
        (0..=offset.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0)
    }

    /// A label is one line at most, and not endless.
    fn clip(&self, span: Span) -> Span {
        let start = self.boundary(span.start.min(self.text.len()));
        let line = self.text[start..self.end(self.line(start))].trim_end();
        let end = self.boundary(span.end.min(start + line.len()).min(start + MAX_LABEL)).max(start);
        Span { start, end }
    }

    /// The text to show around a span: whole lines, or a part of one that is too long.
    fn window(&self, start: usize, end: usize, before: usize, after: usize) -> (usize, usize) {
        if before + after == 0 {
            // Only asked for its place, for the header.
            return (start, end);
        }
        let (first, last) =
            (self.line(start).saturating_sub(before), (self.line(end) + after).min(self.starts.len() - 1));
        let long = (first..=last).any(|line| self.end(line) - self.starts[line] > MAX_LINE);
        if !long {
            return (self.starts[first], self.end(last));
        }
        let from = self.starts[self.line(start)].max(self.boundary(start.saturating_sub(MAX_LABEL / 4)));
        let to = self.end(self.line(end)).min(self.boundary(end + MAX_LABEL / 4)).max(from);
        // Half of a line end would steer the terminal.
        let half = self.text[from..to].ends_with('\r');
        (from, to - usize::from(half))
    }
}

impl Lines<'_> {
    /// What is shown of a span of this text. The snippet of one file never holds a part of another.
    fn read<'a>(
        &'a self,
        span: Span,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        if span.end > self.text.len() {
            return Err(MietteError::OutOfBounds);
        }
        let (from, to) = self.window(span.start, span.end, before, after);
        let (line, column) = self.place(from);
        let data = &self.text.as_bytes()[from..to];
        let lines = data.iter().filter(|byte| **byte == b'\n').count();
        let place = SourceSpan::new((from + self.start).into(), to - from);
        let contents =
            MietteSpanContents::new_named(self.name.clone(), data, place, line - 1, column - 1, lines);
        Ok(Box::new(contents))
    }
}

/// A value as YAML, as a file would spell it.
pub fn as_yaml(value: &serde_json::Value) -> String {
    serde_yaml::to_string(value).expect("every JSON value is YAML")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str, list: Vec<Problem>) -> Problems {
        Problems {
            others: Vec::new(),
            source: Arc::new(Source::new("a.yaml".as_ref(), text.to_owned())),
            list,
        }
    }

    fn at(text: &str, words: &str) -> Span {
        let start = text.find(words).unwrap();
        Span { start, end: start + words.len() }
    }

    #[test]
    fn a_problem_is_drawn_at_its_token() {
        let text = "version: 1\nnodes:\n  a: { nedds: [] }\n";
        let problem = Problem::error("spb::key::unknown", at(text, "nedds"), "a node has no key `nedds`")
            .label("unknown key")
            .help("did you mean `needs`?");
        insta::assert_snapshot!(render(&problems(text, vec![problem]), false, 80), @r"
        spb::key::unknown

          × a node has no key `nedds`
           ╭─[a.yaml:3:8]
         2 │ nodes:
         3 │   a: { nedds: [] }
           ·        ──┬──
           ·          ╰── unknown key
           ╰────
          help: did you mean `needs`?

        1 error
        ");
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let text = "a: \"\u{1b}[2J\u{202e}\u{9b}\"\r\nb: 1\n";
        let problem = Problem::error("spb::x", at(text, "b"), "bad \u{1b}]0;x\u{7}")
            .label("\u{202e}x")
            .help("\u{9b}1m");
        let shown = render(&problems(text, vec![problem]), false, 80);
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{9b}']), "{shown:?}");
        assert!(shown.contains("\\u{1b}"), "{shown}");
    }

    #[test]
    fn endless_lines_and_spans_are_cut() {
        let text = format!("a: {}needle{}\nb: 1\n", "x".repeat(100_000), "y".repeat(100_000));
        let needle = Problem::error("spb::x", at(&text, "needle"), "here").label("this");
        let all = Problem::error("spb::x", Span { start: 0, end: text.len() }, "all").label("that");
        let shown = render(&problems(&text, vec![needle, all]), false, 80);
        assert!(shown.contains("needle") && shown.len() < 3000, "{} bytes", shown.len());
    }

    #[test]
    fn a_line_end_is_never_cut_in_half() {
        for length in 0..100 {
            let text = format!("{}needle{}\r\nb: 1\r\n", "x".repeat(MAX_LINE), "y".repeat(length));
            let problem = Problem::error("spb::x", at(&text, "needle"), "here").label("this");
            assert!(!render(&problems(&text, vec![problem]), false, 80).contains('\r'), "{length}");
        }
    }

    #[test]
    fn odd_places_are_survived() {
        for text in ["", "é", "\r\n", "a\nb"] {
            for (start, end) in [(0, 0), (1, 1), (0, 100), (5, 2), (50, 60)] {
                let problem = Problem::error("spb::x", Span { start, end }, "m")
                    .label("l")
                    .also(Span { start: 1, end: 2 }, "also");
                let problems = problems(text, vec![problem]);
                assert!(render(&problems, false, 80).contains("1 error"));
                assert_eq!(to_json(&problems)[0]["code"], "spb::x");
            }
        }
    }

    #[test]
    fn json_counts_lines_and_characters_from_one() {
        let text = "é: 1\nb: 2\n";
        let list = vec![
            Problem::error("spb::x", at(text, ": 1"), "m"),
            Problem::warning("spb::y", at(text, "b"), "n").help("h"),
        ];
        let json = to_json(&problems(text, list));
        assert_eq!((json[0]["line"].as_u64(), json[0]["column"].as_u64()), (Some(1), Some(2)));
        assert_eq!((json[1]["line"].as_u64(), json[1]["severity"].as_str()), (Some(2), Some("warning")));
        assert_eq!(json[1]["file"], "a.yaml");
    }
}
