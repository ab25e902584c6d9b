//! What can go wrong with a repository, said so that its user knows what to do.

use std::path::PathBuf;

use super::{CommitId, TreeId};
use crate::disk::{self, DiskError};

/// A git operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("`{}` is not in a git repository", .0.display())]
    NotARepository(PathBuf),
    #[error("the repository of `{}` uses {feature}, which spb cannot read yet", path.display())]
    Unsupported { path: PathBuf, feature: String },
    #[error("the repository of `{}` belongs to another user", .0.display())]
    OtherOwner(PathBuf),
    #[error("this repository has no commits yet")]
    Unborn,
    #[error("unknown revision {0:?}")]
    UnknownRevision(String),
    #[error("the commit {0} is missing from the repository")]
    MissingCommit(CommitId),
    #[error("the ref `{name}` was changed by someone else")]
    RefMoved { name: String },
    #[error("the repository has no work tree")]
    Bare,
    #[error("the checkout `{}` has {changed} uncommitted changes", path.display())]
    DirtyCheckout { path: PathBuf, changed: usize },
    #[error("the checkout has commits of its own: {commit} does not follow from it")]
    NotFastForward { commit: CommitId },
    #[error("invalid pattern {pattern:?}: {why}")]
    BadPattern { pattern: String, why: String },
    #[error("cannot start `git`: {0}")]
    NoGit(std::io::Error),
    #[error("git {found} is too old, 2.30 or later is needed")]
    OldGit { found: String },
    #[error("`{command}` failed with exit code {code}: {stderr}")]
    Command { command: String, code: i32, stderr: String },
    #[error("cannot {action}: {source}{}", room(source))]
    Library { action: String, source: git2::Error },
    #[error("cannot {action} in `{}`: {why}", path.display())]
    Write { action: String, path: PathBuf, why: String },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{0}; worktrees can live elsewhere: set SPB_WORKTREES to a directory that can be written")]
    NoPool(DiskError),
    #[error("the tree {} holds the path {path:?}, which no checkout may have", tree.short())]
    UnsafePath { tree: TreeId, path: String },
    #[error("the worktree `{}` {why}", path.display())]
    Slot { path: PathBuf, why: String },
}

/// What to do when the library says that there is no room.
fn room(error: &git2::Error) -> &'static str {
    if error.message().contains("No space left on device") { disk::ROOM } else { "" }
}

impl GitError {
    /// Wraps an error of the library with what was being done.
    pub(in crate::git) fn library(action: impl Into<String>) -> impl FnOnce(git2::Error) -> Self {
        let action = action.into();
        move |source| Self::Library { action, source }
    }

    /// The same for writing an object of about `size` bytes. The library forgets why the system refused: a disk that is full tells itself.
    pub(in crate::git) fn writing(
        repo: &super::Repo,
        action: &str,
        size: usize,
    ) -> impl FnOnce(git2::Error) -> Self {
        let path = repo.path().common_dir.join("objects");
        let action = action.to_owned();
        move |source| {
            // Set by the last call that failed, which was that of the library.
            let refusal = std::io::Error::last_os_error();
            let is_full =
                disk::is_full(&path, size as u64) || disk::says_full(&refusal) || !room(&source).is_empty();
            let why = match is_full {
                true => format!("no space left on device{}", disk::ROOM),
                false if source.message() == "no error" => format!("not all of it was written{}", disk::ROOM),
                false => source.to_string(),
            };
            Self::Write { action, path, why }
        }
    }

    fn is_damage(source: &git2::Error) -> bool {
        use git2::ErrorClass;
        matches!(source.class(), ErrorClass::Odb | ErrorClass::Zlib | ErrorClass::Object)
    }

    /// The next step for the user, where one is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotARepository(_) => Some("run `git init`, or change to a repository".into()),
            Self::Unborn => Some("commit something first: `git commit --allow-empty -m start`".into()),
            Self::OtherOwner(path) => Some(format!(
                "if you trust it: `git config --global --add safe.directory {}`",
                path.display()
            )),
            Self::NoGit(error) if error.kind() != std::io::ErrorKind::NotFound => None,
            Self::NoGit(_) | Self::OldGit { .. } => Some("install git 2.30 or later".into()),
            Self::DirtyCheckout { .. } => Some("commit or stash the changes first".into()),
            Self::NotFastForward { commit } => Some(format!("merge it yourself: `git merge {commit}`")),
            Self::Unsupported { feature, .. } if feature.contains("reftable") => {
                Some("convert it: `git refs migrate --ref-format=files` (git 2.48 or later)".into())
            }
            Self::Unsupported { feature, .. } if feature.contains("SHA-256") => {
                let steps =
                    "git init --object-format=sha1 NEW && git fast-export --all | git -C NEW fast-import";
                Some(format!(
                    "work in a copy with SHA-1 names, all of whose commits have other ids: `{steps}`"
                ))
            }
            Self::Library { source, .. } if Self::is_damage(source) => Some(
                "an object is damaged or missing: `spb doctor --repair` moves damaged ones away, so that they can be made or \
                 fetched again"
                    .into(),
            ),
            Self::RefMoved { .. }
            | Self::Unsupported { .. }
            | Self::UnknownRevision(_)
            | Self::MissingCommit(_)
            | Self::Bare
            | Self::BadPattern { .. }
            | Self::Command { .. }
            | Self::Library { .. }
            | Self::Write { .. }
            | Self::Disk(_)
            | Self::NoPool(_)
            | Self::UnsafePath { .. }
            | Self::Slot { .. } => None,
        }
    }
}
