//! What can go wrong with a repository, said so that its user knows what to do.

use std::path::PathBuf;

use super::{CommitId, TreeId};
use crate::disk::DiskError;

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
    #[error("cannot {action}: {source}")]
    Library { action: String, source: git2::Error },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{0}; worktrees can live elsewhere: set SPB_WORKTREES to a directory that can be written")]
    NoPool(DiskError),
    #[error("the tree {} holds the path {path:?}, which no checkout may have", tree.short())]
    UnsafePath { tree: TreeId, path: String },
    #[error("the worktree `{}` {why}", path.display())]
    Slot { path: PathBuf, why: String },
}

impl GitError {
    /// Wraps an error of the library with what was being done.
    pub(in crate::git) fn library(action: impl Into<String>) -> impl FnOnce(git2::Error) -> Self {
        let action = action.into();
        move |source| Self::Library { action, source }
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
            Self::RefMoved { .. }
            | Self::Unsupported { .. }
            | Self::UnknownRevision(_)
            | Self::MissingCommit(_)
            | Self::Bare
            | Self::BadPattern { .. }
            | Self::Command { .. }
            | Self::Library { .. }
            | Self::Disk(_)
            | Self::NoPool(_)
            | Self::UnsafePath { .. }
            | Self::Slot { .. } => None,
        }
    }
}
