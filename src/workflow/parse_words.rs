//! Plain words and a remedy for each way in which a text is not YAML. Knows nothing of the tree.

use granit_parser::{ErrorKind, ScanError};

use super::problem::{Problem, Span};

/// The problem that a scan error is, at its exact place.
pub fn explain(error: &ScanError, text: &str) -> Problem {
    let span = place(error, text);
    if let Some(problem) = better(error.kind(), span, text) {
        return problem;
    }
    let (message, label, help) = words(error.kind());
    let problem = Problem::error(code(error.kind()), span, message).label(label);
    if help.is_empty() { problem } else { problem.help(help) }
}

/// An alias without an anchor: often a glob without quotes.
pub fn unknown_alias(name: &str, span: Span) -> Problem {
    let problem = Problem::error(
        "spb::yaml::alias",
        span,
        format!("the anchor `&{name}` is not defined before this place"),
    )
    .label("no such anchor");
    match name.contains(['.', '/', '*']) {
        true => problem.help(format!("`*` starts an alias: quote the text, as in `\"*{name}\"`")),
        false => problem.help(format!(
            "define it first, as in `key: &{name} value`; quote the text if `*` belongs to it"
        )),
    }
}

/// The cause, where it lies before the place at which the scanner stopped.
fn better(kind: &ErrorKind, span: Span, text: &str) -> Option<Problem> {
    if matches!(kind, ErrorKind::RecursionLimitExceeded) {
        return None;
    }
    if let Some(tab) = tab_before(text, span.start) {
        return Some(tab_problem(tab));
    }
    match kind {
        ErrorKind::UnknownQuotedScalarEscape => {
            let escape = bad_escape(&text[span.start..])? + span.start;
            let end = escape + 1 + text[escape + 1..].chars().next().map_or(0, char::len_utf8);
            let (message, label, help) = words(kind);
            Some(
                Problem::error("spb::yaml::syntax", Span { start: escape, end }, message)
                    .label(label)
                    .help(help),
            )
        }
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            on_the_line_before(span, text)
        }
        _ => None,
    }
}

/// An open bracket, or a key without a blank after its `:`, makes the next line look wrong.
fn on_the_line_before(span: Span, text: &str) -> Option<Problem> {
    let line_end = text[..span.start].rfind('\n')?;
    let line_start = text[..line_end].rfind('\n').map_or(0, |at| at + 1);
    let line = &text[line_start..line_end];
    for (open, close, message) in
        [('[', ']', "a `[` is opened and never closed"), ('{', '}', "a `{` is opened and never closed")]
    {
        let at = line.find(open).filter(|_| line.matches(open).count() > line.matches(close).count());
        if let Some(at) = at {
            let place = Span { start: line_start + at, end: line_start + at + 1 };
            let help = format!("add the `{close}`");
            return Some(Problem::error("spb::yaml::syntax", place, message).label("not closed").help(help));
        }
    }
    let entry = line.trim();
    let (key, value) = entry.split_once(':')?;
    let glued = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && value.starts_with(|c: char| !c.is_whitespace() && c != '/');
    let start = line_start + line.find(':')?;
    glued.then(|| {
        Problem::error("spb::yaml::syntax", Span { start, end: start + 1 }, "a `:` needs a space after it")
            .label("space missing")
            .help(format!("write `{key}: {}`", super::yaml::shorten(value)))
    })
}

/// The first escape of a double-quoted text that YAML does not know.
fn bad_escape(quoted: &str) -> Option<usize> {
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && chars.next().is_none_or(|(_, next)| !"0abt\tnvfre \"/\\N_LPxuU\n\r".contains(next)) {
            return Some(at);
        }
    }
    None
}

/// The character that the scanner stopped at.
fn place(error: &ScanError, text: &str) -> Span {
    let mut start = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let length = text[start..].chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
    Span { start, end: start + length }
}

/// A tab in the indentation of the line that holds `offset`: the reason for most obscure errors that follow one.
fn tab_before(text: &str, offset: usize) -> Option<Span> {
    let line = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let indent = text[line..].find(|c: char| c != ' ' && c != '\t')?;
    let tab = text[line..line + indent].find('\t')? + line;
    Some(Span { start: tab, end: tab + 1 })
}

fn tab_problem(span: Span) -> Problem {
    Problem::error("spb::yaml::tab", span, "a tab indents this line, and YAML knows only spaces")
        .label("tab")
        .help("indent with spaces; most editors turn tabs into spaces on request")
}

fn code(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::RecursionLimitExceeded => "spb::yaml::too_deep",
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar => "spb::yaml::tab",
        _ => "spb::yaml::syntax",
    }
}

/// Message, label and help.
fn words(kind: &ErrorKind) -> (&'static str, &'static str, &'static str) {
    use ErrorKind as E;
    match kind {
        E::TabNotAllowed
        | E::TabInBlockIndentation
        | E::TabAtBlockScalarStart
        | E::TabInIndentation
        | E::TabInPlainScalar => {
            ("a tab stands where YAML knows only spaces", "tab", "replace the tab by spaces")
        }
        E::RecursionLimitExceeded => ("nested too deeply", "too deep", "a workflow needs about six levels"),
        E::UnclosedQuotedScalar | E::UnexpectedEndOfPlainScalar => (
            "a quote is opened and never closed",
            "the text that starts here does not end",
            "close the quote; inside \"...\" a quote is written \\\", inside '...' it is written ''",
        ),
        E::UnclosedFlowCollection { open: '[' } | E::UnexpectedEofFlowSequence => {
            ("a `[` is opened and never closed", "not closed", "add the `]`")
        }
        E::UnclosedFlowCollection { .. }
        | E::UnexpectedEofFlowMapping
        | E::UnexpectedEofImplicitFlowMapping => (
            "a `{` is opened and never closed",
            "not closed",
            "add the `}`; a value that starts with `{` or `${{` needs quotes",
        ),
        E::MisplacedFlowCollectionEnd | E::MismatchedFlowCollectionEnd { .. } => (
            "this bracket closes nothing that is open",
            "unexpected bracket",
            "check the pairs of `[ ]` and `{ }` on this line; quote a text that holds them",
        ),
        E::ExpectedFlowMappingSeparator => (
            "expected `,` or `}` here",
            "not expected",
            "entries of `{ }` are separated by commas; quote a value that holds `{`, `}`, `[`, `]` or `,`",
        ),
        E::ExpectedFlowSequenceSeparator => (
            "expected `,` or `]` here",
            "not expected",
            "entries of `[ ]` are separated by commas; quote a value that holds `{`, `}`, `[`, `]` or `,`",
        ),
        E::ExpectedBlockMappingKey | E::SimpleKeyExpected | E::InvalidSimpleKey => (
            "expected `key: value` here",
            "not a key",
            "check the indentation, and that `: ` follows the key",
        ),
        E::ExpectedBlockSequenceEntry | E::BlockSequenceEntryNotAllowed => (
            "a list entry does not fit here",
            "not expected",
            "entries of one list start with `- ` in the same column",
        ),
        E::MappingValueNotAllowed | E::InvalidColonPlacement => (
            "a second `:` makes no sense here",
            "not expected",
            "quote a value that holds `: `, as in `run: \"echo a: b\"`, or use a block: `run: |`",
        ),
        E::InvalidMappingValueWhitespace => {
            ("a `:` needs a space after it", "space missing", "write `key: value`")
        }
        E::InvalidIndentation
        | E::InvalidFlowScalarIndent
        | E::InvalidQuotedScalarIndent
        | E::InvalidBlockScalarIndent => {
            ("the indentation does not fit", "wrong column", "keys of one map start in the same column")
        }
        E::UnknownQuotedScalarEscape => (
            "unknown escape in a double-quoted text",
            "unknown escape",
            "write \\\\ for a backslash, or use single quotes, which know no escapes",
        ),
        E::DirectiveDisallowed => {
            ("directives (`%...`) have no meaning here", "directive", "remove the line")
        }
        E::UnexpectedCharacter { .. } => {
            ("a value cannot start with this character", "needs quotes", "quote the text")
        }
        E::CommentNotSeparated => {
            ("a comment needs a space before its `#`", "space missing", "quote the text if `#` belongs to it")
        }
        E::InvalidTrailingDoubleQuotedScalar | E::InvalidTrailingSingleQuotedScalar => {
            ("something follows the closing quote", "after the quote", "put the whole value into the quotes")
        }
        E::BomInsideDocument => ("a byte order mark stands inside the text", "byte order mark", "remove it"),
        E::UnexpectedEof | E::UnexpectedEofBlockMapping | E::UnexpectedEofBlockSequence => {
            ("the file ends in the middle of a value", "end of file", "")
        }
        E::MissingAnchorOrAliasName => (
            "`&` and `*` start an anchor or alias, which needs a name",
            "no name",
            "quote the text if `&` or `*` belongs to it, as in `\"*.rs\"`",
        ),
        E::MappingKeyNotAllowed => {
            ("a key cannot stand here", "not expected", "check the indentation and the line before")
        }
        E::ExpectedNodeContent => {
            ("expected a value here", "no value", "quote a text that starts with a special character")
        }
        _ => (
            "this is not valid YAML",
            "not understood here",
            "check indentation, quotes and brackets on this line and the one before",
        ),
    }
}
