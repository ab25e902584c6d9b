//! Where a repository is. Knows nothing of what is in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use git2::{ErrorClass, ErrorCode, Repository, RepositoryOpenFlags};

use super::GitError;

/// The directories of one repository as seen from one of its work trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoPath {
    /// `.git`, or `.git/worktrees/<name>` in a linked worktree.
    pub git_dir: PathBuf,
    /// `.git` in both cases: objects, refs and configuration.
    pub common_dir: PathBuf,
    /// The root of the checkout; `None` in a bare repository.
    pub work_dir: Option<PathBuf>,
}

/// Finds the repository that `start` is in: a work tree, any directory in it, a linked worktree, a bare repository.
///
/// # Errors
/// When there is none, when it belongs to another user, or when it uses a format that cannot be read here.
pub fn discover(start: &Path) -> Result<RepoPath, GitError> {
    let none: [&OsStr; 0] = [];
    know_partial_clones();
    let repository = Repository::open_ext(start, RepositoryOpenFlags::empty(), none)
        .map_err(|error| explain(start, error))?;
    if repository.object_format() != git2::ObjectFormat::Sha1 {
        return Err(GitError::Unsupported { path: start.to_owned(), feature: "SHA-256 object names".into() });
    }
    Ok(RepoPath {
        git_dir: tidy(repository.path()),
        common_dir: tidy(repository.commondir()),
        work_dir: repository.workdir().map(tidy),
    })
}

impl RepoPath {
    /// What people call the repository: the name of the directory that holds `.git`, or of the bare repository.
    pub fn name(&self) -> String {
        let named = match self.common_dir.file_name() {
            Some(name) if name == ".git" => self.common_dir.parent().and_then(Path::file_name),
            other => other,
        };
        let name = named.map_or_else(|| "repository".into(), |name| name.to_string_lossy().into_owned());
        name.strip_suffix(".git").unwrap_or(&name).to_owned()
    }
}

/// The library refuses partial clones because it cannot fetch what is missing. We ask git for that, so it may open them.
fn know_partial_clones() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: the call changes a list that the library reads when it opens a repository. It is made once, and every
        // repository of this process is found, and so opened, after it.
        let known = unsafe { git2::opts::set_extensions(&["partialclone"]) };
        // Refused, they are named as what they are when one is opened.
        drop(known);
    });
}

/// The library ends directories with a slash; without it they compare and print as people write them.
fn tidy(path: &Path) -> PathBuf {
    let shortened: PathBuf = path.components().collect();
    std::fs::canonicalize(&shortened).unwrap_or(shortened)
}

fn explain(start: &Path, error: git2::Error) -> GitError {
    let path = start.to_owned();
    let feature = |extension: &str| match extension.trim() {
        "extensions.refstorage" => "the reftable format".to_owned(),
        "extensions.objectformat" => "SHA-256 object names".to_owned(),
        other => format!("the extension `{other}`"),
    };
    match (error.code(), error.message().split_once("unsupported extension name ")) {
        (ErrorCode::Owner, _) => GitError::OtherOwner(path),
        (_, Some((_, extension))) => GitError::Unsupported { path, feature: feature(extension) },
        (ErrorCode::NotFound, _) => GitError::NotARepository(path),
        _ if error.class() == ErrorClass::Repository && error.message().contains("object format") => {
            GitError::Unsupported { path, feature: "SHA-256 object names".to_owned() }
        }
        _ => GitError::Library {
            action: format!("open the repository of `{}`", path.display()),
            source: error,
        },
    }
}
