//! A workflow file from the disk to its checked model. Knows about bytes: sizes, encodings, what is no file at all.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check;
use super::model::{Source, Workflow};
use super::parse;
use super::problem::{Problem, Problems, Severity, Span};

/// Largest workflow file, in bytes.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;

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

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read the workflow `{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot read the workflow `{}`: it is {what}, not a file", path.display())]
    NotAFile { path: PathBuf, what: &'static str },
    #[error("cannot read the workflow `{}`: it is larger than {} MiB", path.display(), MAX_FILE >> 20)]
    TooLarge { path: PathBuf },
}

/// Reads and checks a file.
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
pub fn read_with(path: &Path, more: impl FnOnce(&Workflow) -> Vec<Problem>) -> Result<Loaded, ReadError> {
    let fail = |source| ReadError::Io { path: path.to_owned(), source };
    // Looked at before it is opened: opening a FIFO waits for a writer.
    regular(path, &std::fs::metadata(path).map_err(fail)?)?;
    let file = File::open(path).map_err(fail)?;
    regular(path, &file.metadata().map_err(fail)?)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ReadError::TooLarge { path: path.to_owned() });
    }
    Ok(load_with(path, bytes, more))
}

fn regular(path: &Path, metadata: &Metadata) -> Result<(), ReadError> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return match metadata.len() > MAX_FILE {
            true => Err(ReadError::TooLarge { path: path.to_owned() }),
            false => Ok(()),
        };
    }
    let what = if kind.is_dir() { "a directory" } else { "a pipe, socket or device" };
    Err(ReadError::NotAFile { path: path.to_owned(), what })
}

/// Checks the bytes of a file. Total: every input gives a workflow or at least one error, and never a panic.
pub fn load(path: &Path, bytes: Vec<u8>) -> Loaded {
    load_with(path, bytes, |_| Vec::new())
}

/// The same with checks of a layer above. They see the workflow even when it has other problems.
pub fn load_with(path: &Path, bytes: Vec<u8>, more: impl FnOnce(&Workflow) -> Vec<Problem>) -> Loaded {
    let (text, problem) = decode(bytes);
    let source = Arc::new(Source::new(path, text));
    if let Some(problem) = problem {
        return Loaded { workflow: None, problems: Problems { source, list: vec![problem] } };
    }
    let (tree, mut list) = parse::parse(&source.text);
    let mut workflow = None;
    if let Some(tree) = &tree {
        let (checked, found) = check::check(&source, tree);
        list.extend(found);
        list.extend(checked.as_ref().map(more).unwrap_or_default());
        workflow = checked;
    } else if list.is_empty() {
        list.push(empty());
    }
    let list = sorted(list);
    let workflow = workflow.filter(|_| list.iter().all(|problem| problem.severity != Severity::Error));
    drop(tree);
    Loaded { workflow, problems: Problems { source, list } }
}

/// The text, or what is left of it with the reason why it is none.
fn decode(bytes: Vec<u8>) -> (String, Option<Problem>) {
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

fn empty() -> Problem {
    Problem::error("spb::file::empty", Span::default(), "the file is empty")
        .help("the smallest workflow: `version: 1` and `nodes: { hello: { run: echo hello } }`")
}

/// In the order of the file, each once, and not without end.
fn sorted(mut list: Vec<Problem>) -> Vec<Problem> {
    let place =
        |problem: &Problem| problem.labels.first().map_or((0, 0), |label| (label.0.start, label.0.end));
    list.sort_by_key(place);
    // A value behind an alias is checked wherever it is used: the same problem, at the same place.
    list.dedup_by(|a, b| a.code == b.code && a.message == b.message && place(a) == place(b));
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
