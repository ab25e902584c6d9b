//! The files of one workflow beside its own: found by the paths that files name, each read and checked once, the places
//! of all of them apart. Knows what a path may be and what leads round in a circle, not what the keys of a file mean.
//!
//! A path is taken as it is spelled, from the folder of the file that names it: what a run kept of its files is found
//! again by the same paths, whatever the disk holds then.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::check::{self, Checked};
use super::expr::types::Type;
use super::load;
use super::model::{Source, Workflow};
use super::parse;
use super::problem::{Problem, Span};
use super::yaml::{Yaml, quoted};

/// Largest workflow file, in bytes.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;

/// How many files may stand one in another.
pub const MAX_DEPTH: usize = 16;

/// Where the bytes of further files come from.
pub type Fetch<'f> = dyn Fn(&Path) -> Result<Vec<u8>, ReadError> + 'f;

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read the workflow `{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot read the workflow `{}`: it is {what}, not a file", path.display())]
    NotAFile { path: PathBuf, what: &'static str },
    #[error("cannot read the workflow `{}`: it is larger than {} MiB", path.display(), MAX_FILE >> 20)]
    TooLarge { path: PathBuf },
    #[error("`{}` is a skill, and skills are not supported yet", path.display())]
    Skill { path: PathBuf },
    #[error("`{}` leads out of the repository `{}`", path.display(), repository.display())]
    Outside { path: PathBuf, repository: PathBuf },
    #[error("the run kept no copy of `{}`", path.display())]
    NotKept { path: PathBuf },
}

/// The bytes of a regular file of a sane size.
///
/// # Errors
/// When there is none.
pub fn bytes_of(path: &Path) -> Result<Vec<u8>, ReadError> {
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
    Ok(bytes)
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

/// Further files from the disk: of the repository that `first` is in, symbolic links followed; from anywhere where it
/// is in none.
pub fn disk(first: &Path) -> impl Fn(&Path) -> Result<Vec<u8>, ReadError> + 'static {
    let (first, repository) = (first.to_owned(), OnceCell::new());
    move |path| {
        let fail = |source| ReadError::Io { path: path.to_owned(), source };
        if let Some(repository) = repository.get_or_init(|| repository_of(&first)) {
            let real = path.canonicalize().map_err(fail)?;
            if !real.starts_with(repository) {
                return Err(ReadError::Outside { path: path.to_owned(), repository: repository.clone() });
            }
        }
        if path.join("SKILL.md").is_file() {
            return Err(ReadError::Skill { path: path.to_owned() });
        }
        bytes_of(path)
    }
}

/// The top of the work tree that holds a file.
fn repository_of(file: &Path) -> Option<PathBuf> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let real = file.canonicalize().or_else(|_| folder.canonicalize()).ok()?;
    real.ancestors().find(|folder| folder.join(".git").exists()).map(Path::to_owned)
}

/// A path in a file.
#[derive(Clone, Copy)]
pub(super) struct Named<'n> {
    /// `uses` or `include`.
    pub key: &'static str,
    pub text: &'n str,
    pub span: Span,
    /// The file that names it.
    pub from: &'n Path,
    /// The files that lead from the one that is being checked to that file, by `include`.
    pub through: &'n [PathBuf],
}

/// A file that was read; without a tree when it is not YAML, and then a problem says so.
#[derive(Debug)]
pub(super) struct Parsed {
    pub source: Arc<Source>,
    pub root: Option<Yaml<'static>>,
}

/// A workflow as the nodes that use it see it. With an error in its file, it is good for finding further ones only.
#[derive(Debug)]
pub(super) struct Used {
    pub workflow: Arc<Workflow>,
    /// Types of its outputs.
    pub outputs: Vec<(String, Type)>,
    /// Inputs whose declaration could not be read.
    pub broken_inputs: Vec<String>,
    /// How many files stand one in another in it.
    depth: usize,
}

/// Where files come from, and everything that was read so far.
pub(super) struct Files<'f> {
    fetch: &'f Fetch<'f>,
    more: &'f dyn Fn(&Workflow) -> Vec<Problem>,
    known: RefCell<Known>,
}

/// Never borrowed while a file is being checked: that reads further files.
struct Known {
    sources: Vec<Arc<Source>>,
    parsed: HashMap<PathBuf, Result<Rc<Parsed>, Rc<ReadError>>>,
    used: HashMap<PathBuf, Option<Rc<Used>>>,
    /// The files that are being checked, each used by the one before.
    open: Vec<PathBuf>,
    /// Deepest that was looked, from the first file.
    deepest: usize,
    /// Those of all files but the first.
    problems: Vec<Problem>,
}

impl<'f> Files<'f> {
    pub fn new(
        fetch: &'f Fetch<'f>,
        more: &'f dyn Fn(&Workflow) -> Vec<Problem>,
        first: Arc<Source>,
    ) -> Self {
        let known = Known {
            open: vec![normal(&first.path)],
            sources: vec![first],
            parsed: HashMap::new(),
            used: HashMap::new(),
            deepest: 1,
            problems: Vec::new(),
        };
        Self { fetch, more, known: RefCell::new(known) }
    }

    /// All files but the first, in the order in which they were read, and their problems.
    pub fn others(self) -> (Vec<Arc<Source>>, Vec<Problem>) {
        let known = self.known.into_inner();
        (known.sources.into_iter().skip(1).collect(), known.problems)
    }

    /// The tree of a named file.
    ///
    /// # Errors
    /// Why there is none that could stand there.
    pub fn parsed(&self, named: Named<'_>) -> Result<(PathBuf, Rc<Parsed>), Problem> {
        let mut known = self.known.borrow_mut();
        let path = known.path(named)?;
        known.deepen(named, 1)?;
        if !known.parsed.contains_key(&path) {
            let bytes = (self.fetch)(&path);
            let read = bytes.map(|bytes| Rc::new(known.parse(&path, bytes))).map_err(Rc::new);
            known.parsed.insert(path.clone(), read);
        }
        match &known.parsed[&path] {
            Ok(parsed) => Ok((path, parsed.clone())),
            Err(error) => Err(unreadable(named, error)),
        }
    }

    /// The workflow of a named file, or nothing where problems of that file say why there is none.
    ///
    /// # Errors
    /// Why no workflow could stand there.
    pub fn used(&self, named: Named<'_>) -> Result<Option<Rc<Used>>, Problem> {
        let (path, parsed) = self.parsed(named)?;
        let mut known = self.known.borrow_mut();
        if let Some(used) = known.used.get(&path).cloned() {
            known.deepen(named, used.as_ref().map_or(1, |used| used.depth))?;
            return Ok(used);
        }
        let outer = known.open.len();
        known.open.extend(named.through.iter().cloned().chain([path.clone()]));
        let around = known.open.len() - 1;
        let deepest = std::mem::replace(&mut known.deepest, around + 1);
        drop(known);
        let checked = parsed.root.as_ref().map(|root| self.check(&parsed.source, root));
        let mut known = self.known.borrow_mut();
        let depth = known.deepest - around;
        let used = checked.and_then(|checked| {
            known.problems.extend(checked.problems);
            let workflow = Arc::new(checked.workflow?);
            let Checked { outputs, broken_inputs, .. } = checked;
            Some(Rc::new(Used { workflow, outputs, broken_inputs, depth }))
        });
        known.open.truncate(outer);
        known.deepest = known.deepest.max(deepest);
        known.used.insert(path, used.clone());
        Ok(used)
    }

    fn check(&self, source: &Arc<Source>, root: &Yaml<'static>) -> Checked {
        let mut checked = check::check(self, source, root);
        checked.problems.extend(checked.workflow.as_ref().map(self.more).unwrap_or_default());
        checked
    }
}

impl Known {
    /// Takes note of files under a named one, as many as stand one in another there.
    fn deepen(&mut self, named: Named<'_>, levels: usize) -> Result<(), Problem> {
        let deep = self.open.len() + named.through.len() + levels;
        if deep > MAX_DEPTH {
            return Err(too_deep(named));
        }
        self.deepest = self.deepest.max(deep);
        Ok(())
    }

    fn parse(&mut self, path: &Path, bytes: Vec<u8>) -> Parsed {
        let (text, unreadable) = load::decode(bytes);
        let last = self.sources.last().expect("the first file is there from the beginning");
        let start = last.start + last.text.len() + 1;
        let source = Arc::new(Source { path: path.to_owned(), text, start });
        self.sources.push(source.clone());
        let (tree, mut found) = match unreadable {
            Some(problem) => (None, vec![problem]),
            None => parse::parse(&source.text),
        };
        if tree.is_none() && found.is_empty() {
            found.push(load::empty());
        }
        self.problems.extend(found.into_iter().map(|problem| problem.moved(start)));
        let root = tree.map(|tree| tree.moved(start));
        Parsed { source, root }
    }

    /// What a path means, if it may be one, and does not lead back to a file that is being read.
    fn path(&self, named: Named<'_>) -> Result<PathBuf, Problem> {
        if let Some(problem) = not_a_path(named) {
            return Err(problem);
        }
        let folder = named.from.parent().unwrap_or(Path::new(""));
        let path = normal(&folder.join(named.text));
        let way: Vec<&PathBuf> = self.open.iter().chain(named.through).collect();
        match way.iter().position(|open| **open == path) {
            Some(first) => Err(cycle(named, &way[first..], &path)),
            None => Ok(path),
        }
    }
}

/// A path without `.`, and without `..` behind a name.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match (part, out.components().next_back()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => drop(out.pop()),
            _ => out.push(part),
        }
    }
    out
}

fn not_a_path(named: Named<'_>) -> Option<Problem> {
    let text = named.text;
    let drive = matches!(text.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    let (why, help) = if text.contains("${{") {
        (
            "holds an expression, which is not evaluated here",
            "name the file itself; values reach it by `with`",
        )
    } else if text.trim().is_empty() {
        ("is empty", "name a workflow file, as in `./lint.yaml`")
    } else if text.contains("://") || text.contains('@') {
        ("is no path", "files come from this repository: copy it there, and name it as in `./lint.yaml`")
    } else if text.starts_with(['/', '~', '\\']) || drive {
        (
            "is absolute",
            "paths start from the folder of this file, as in `./lint.yaml` or `../shared/lint.yaml`",
        )
    } else if text.contains('\0') {
        ("holds a zero byte", "remove it")
    } else {
        return None;
    };
    let shown = if text.trim().is_empty() { "the path".to_owned() } else { quoted(text) };
    Some(
        Problem::error("spb::reuse::path", named.span, format!("{shown} of `{}` {why}", named.key))
            .label("not accepted")
            .help(help),
    )
}

fn unreadable(named: Named<'_>, error: &ReadError) -> Problem {
    let problem = Problem::error("spb::reuse::file", named.span, error.to_string());
    let (label, help) = match error {
        ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            ("no such file", "paths start from the folder of the file that names them")
        }
        ReadError::Io { .. } => ("not readable", "paths start from the folder of the file that names them"),
        ReadError::NotAFile { .. } | ReadError::TooLarge { .. } => {
            ("not a workflow file", "name a workflow file, as in `./lint.yaml`")
        }
        ReadError::Skill { .. } => ("a skill", "name a workflow file, as in `./lint.yaml`"),
        ReadError::Outside { .. } => {
            ("outside of the repository", "copy the file into the repository: then everybody has it")
        }
        ReadError::NotKept { .. } => ("not kept", "start a new run"),
    };
    problem.label(label).help(help)
}

fn too_deep(named: Named<'_>) -> Problem {
    Problem::error(
        "spb::reuse::depth",
        named.span,
        format!("more than {MAX_DEPTH} files stand one in another here"),
    )
    .label("too deep")
    .help("name the inner files from one further out")
}

fn cycle(named: Named<'_>, way: &[&PathBuf], path: &Path) -> Problem {
    // Names are shorter without the folder that all files are in.
    let all = || way.iter().map(|path| path.as_path()).chain([path]);
    let folder = path.parent().filter(|folder| all().all(|path| path.starts_with(folder)));
    let short = |path: &Path| {
        folder.and_then(|folder| path.strip_prefix(folder).ok()).unwrap_or(path).display().to_string()
    };
    let names: Vec<String> = all().map(short).collect();
    Problem::error(
        "spb::reuse::cycle",
        named.span,
        format!("the file would stand inside itself: {}", names.join(" -> ")),
    )
    .label("leads back")
    .help("take one of these steps away; to repeat work, see `loop`, `matrix` and `for_each`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normal_by_their_spelling() {
        for (path, expect) in [
            ("a/../b.yaml", "b.yaml"),
            ("./a/./b.yaml", "a/b.yaml"),
            ("../../b.yaml", "../../b.yaml"),
            ("a/../../b.yaml", "../b.yaml"),
            ("/a/../../b.yaml", "/b.yaml"),
        ] {
            assert_eq!(normal(Path::new(path)), Path::new(expect), "{path}");
        }
    }
}
