//! A workflow file to its checked model, with the files that it includes and uses. Knows about encodings, and in which
//! order problems are told.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::compiled::{self, Trees};
use super::files::{self, Fetch, Files, ReadError};
use super::model::{Source, Workflow};
use super::problem::{Problem, Problems, Severity, Span};

/// Problems shown of one file; a file with more has one cause.
const MAX_PROBLEMS: usize = 500;

/// What a file turned out to be.
#[derive(Debug)]
pub struct Loaded {
    /// Absent when a problem is an error.
    pub workflow: Option<Workflow>,
    /// In the order of the file; also warnings.
    pub problems: Problems,
}

/// Reads and checks a file, and those that it includes and uses.
///
/// # Errors
/// When there is no regular file of a sane size to read. Whatever is in it is a problem, not an error.
pub fn read(path: &Path) -> Result<Loaded, ReadError> {
    read_with(path, |_| Vec::new())
}

/// The same with checks of a layer above, such as cycles: their problems come with all others.
///
/// # Errors
/// As [`read`].
pub fn read_with(path: &Path, more: impl Fn(&Workflow) -> Vec<Problem>) -> Result<Loaded, ReadError> {
    Ok(load_with(path, files::bytes_of(path)?, more))
}

/// The same with the tree of a large file kept.
///
/// # Errors
/// As [`read`].
pub fn read_kept(
    path: &Path,
    trees: &dyn Trees,
    more: impl Fn(&Workflow) -> Vec<Problem>,
) -> Result<Loaded, ReadError> {
    let bytes = files::bytes_of(path)?;
    Ok(check(path, bytes, &files::disk(path), Some(trees), more))
}

/// Checks the bytes of a file; those that it includes and uses come from the disk. Total: every input gives a workflow
/// or at least one error, and never a panic.
pub fn load(path: &Path, bytes: Vec<u8>) -> Loaded {
    load_with(path, bytes, |_| Vec::new())
}

/// The same with checks of a layer above. They see the workflow even when it has other problems, and each workflow that
/// it uses.
pub fn load_with(path: &Path, bytes: Vec<u8>, more: impl Fn(&Workflow) -> Vec<Problem>) -> Loaded {
    load_from(path, bytes, &files::disk(path), more)
}

/// The same with further files from somewhere else: unsaved ones of an editor, or what a run kept. They are asked for
/// by the path of the first file's folder and what the files name.
pub fn load_from(
    path: &Path,
    bytes: Vec<u8>,
    fetch: &Fetch<'_>,
    more: impl Fn(&Workflow) -> Vec<Problem>,
) -> Loaded {
    check(path, bytes, fetch, None, more)
}

fn check(
    path: &Path,
    bytes: Vec<u8>,
    fetch: &Fetch<'_>,
    trees: Option<&dyn Trees>,
    more: impl Fn(&Workflow) -> Vec<Problem>,
) -> Loaded {
    let (text, problem) = decode(bytes);
    let source = Arc::new(Source::new(path, text));
    if let Some(problem) = problem {
        return Loaded {
            workflow: None,
            problems: Problems { source, others: Vec::new(), list: vec![problem] },
        };
    }
    let (tree, mut list) = compiled::parse(&source.text, trees);
    let mut workflow = None;
    let files = Files::new(fetch, &more, source.clone());
    if let Some(tree) = &tree {
        let checked = super::check::check(&files, &source, tree);
        list.extend(checked.problems);
        list.extend(checked.workflow.as_ref().map(&more).unwrap_or_default());
        workflow = checked.workflow;
    } else if list.is_empty() {
        list.push(empty());
    }
    let (others, found) = files.others();
    list.extend(found);
    let list = sorted(list);
    let workflow = workflow.filter(|_| list.iter().all(|problem| problem.severity != Severity::Error));
    Loaded { workflow, problems: Problems { source: source.clone(), others, list } }
}

/// The text, or what is left of it with the reason why it is none.
pub(super) fn decode(bytes: Vec<u8>) -> (String, Option<Problem>) {
    if matches!(bytes.as_slice(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, 0, ..] | [_, 0, _, 0, ..]) {
        let problem = Problem::error(
            "spb::file::utf16",
            Span::default(),
            "the file is UTF-16 or UTF-32, and workflow files are UTF-8",
        )
        .help("save it as UTF-8; most editors call this the encoding of the file");
        return (String::new(), Some(problem));
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let end = at + text[at..].chars().next().map_or(0, char::len_utf8);
            let problem = Problem::error(
                "spb::file::encoding",
                Span { start: at, end },
                format!("byte {} is not UTF-8", at + 1),
            )
            .label("not a character")
            .help("save the file as UTF-8");
            return (text, Some(problem));
        }
    };
    match text.find('\0') {
        Some(at) => {
            let problem = Problem::error(
                "spb::file::nul",
                Span { start: at, end: at + 1 },
                format!("byte {} is NUL, which is not text", at + 1),
            )
            .label("NUL")
            .help("is this a workflow file?");
            (text.replace('\0', "\u{2400}"), Some(widened(problem)))
        }
        None => (text, None),
    }
}

/// The symbol that stands for a NUL in the shown text is three bytes long.
fn widened(mut problem: Problem) -> Problem {
    for (span, _) in &mut problem.labels {
        span.end = span.start + '\u{2400}'.len_utf8();
    }
    problem
}

pub(super) fn empty() -> Problem {
    Problem::error("spb::file::empty", Span::default(), "the file is empty")
        .help("the smallest workflow: `version: 1` and `nodes: { hello: { run: echo hello } }`")
}

/// In the order of the file, each once, and not without end.
fn sorted(mut list: Vec<Problem>) -> Vec<Problem> {
    let place =
        |problem: &Problem| problem.labels.first().map_or((0, 0), |label| (label.0.start, label.0.end));
    list.sort_by_key(place);
    // A value behind an alias is checked wherever it is used, a file wherever it is included: the same problem, at the
    // same place.
    let mut seen = HashSet::new();
    list.retain(|problem| seen.insert((problem.code, problem.message.clone(), place(problem))));
    let more = list.len().saturating_sub(MAX_PROBLEMS);
    if more > 0 {
        // Errors first: a cut list must not pass for a list of warnings.
        list.sort_by_key(|problem| problem.severity);
        list.truncate(MAX_PROBLEMS);
        list.sort_by_key(place);
        list.push(Problem::error("spb::file::many", Span::default(), format!("and {more} more problems")));
    }
    list
}
