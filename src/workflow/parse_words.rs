//! Plain words and a remedy for each way in which a text is not YAML. Knows nothing of the tree.

use granit_parser::{ErrorKind, ScanError};

use super::problem::{Problem, Span};

/// The problem that a scan error is, at its exact place.
pub fn explain(error: &ScanError, text: &str) -> Problem {
    let span = place(error, text);
    let (message, label, help) = words(error.kind());
    let problem = Problem::error(code(error.kind()), span, message).label(label);
    match tab_before(text, span.start) {
        Some(tab) if !matches!(error.kind(), ErrorKind::RecursionLimitExceeded) => tab_problem(tab),
        _ => match help {
            "" => problem,
            help => problem.help(help),
        },
    }
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
