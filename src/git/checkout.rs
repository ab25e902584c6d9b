//! The user's own checkout: what state it is in, and the one careful way to move it. Everything else leaves it alone.

use std::path::{Path, PathBuf};

use git2::RepositoryState;

use super::{CommitId, GitError, Repo, command, files};

/// The state of a checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    pub head: Head,
    /// What `HEAD` is at; `None` before the first commit.
    pub commit: Option<CommitId>,
    /// Files with changes that are not committed, plus untracked files or directories that git does not ignore.
    pub changed: usize,
    /// An operation that waits to be continued or aborted.
    pub in_progress: Option<&'static str>,
}

/// What `HEAD` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// On a branch: its short name.
    Branch(String),
    Detached,
    /// On a branch that has no commit yet: its short name.
    Unborn(String),
}

impl Repo {
    /// Looks at the checkout without writing anything, not even the index.
    ///
    /// # Errors
    /// [`GitError::Bare`], or when git fails.
    pub fn checkout(&self) -> Result<Checkout, GitError> {
        self.work_dir()?;
        let arguments =
            ["status", "--porcelain=v2", "--branch", "-z", "--no-renames", "--untracked-files=normal"];
        let printed = command::run(command::git_at(self.path()), &arguments)?;
        let mut checkout = read_status(&printed);
        checkout.in_progress = self.in_progress();
        Ok(checkout)
    }

    /// Where a branch is checked out (or being rebased), over all worktrees of the repository.
    ///
    /// # Errors
    /// When the list of worktrees cannot be read.
    pub fn checked_out_at(&self, branch: &str) -> Result<Option<PathBuf>, GitError> {
        let full = format!("refs/heads/{}", branch.strip_prefix("refs/heads/").unwrap_or(branch));
        let common = &self.path().common_dir;
        let has_main_checkout =
            !self.raw.config().is_ok_and(|config| config.get_bool("core.bare") == Ok(true));
        if has_main_checkout && holds(common, &full) {
            return Ok(common.parent().map(Path::to_owned));
        }
        let Ok(entries) = std::fs::read_dir(common.join("worktrees")) else { return Ok(None) };
        let mut found: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|admin| holds(admin, &full))
            .filter_map(|admin| {
                let gitdir = files::read_plain_text(&admin.join("gitdir"));
                Path::new(gitdir.trim_end()).parent().map(Path::to_owned)
            })
            .collect();
        found.sort();
        Ok(found.into_iter().next())
    }

    /// Moves the checkout forward to `commit`, as `git merge --ff-only` does. Refuses when anything is uncommitted
    /// or untracked, so that nothing of the user's can be lost.
    ///
    /// # Errors
    /// [`GitError::DirtyCheckout`], [`GitError::NotFastForward`], [`GitError::Bare`], or when git fails.
    pub fn fast_forward_checkout(&self, commit: CommitId) -> Result<(), GitError> {
        let path = self.work_dir()?.to_owned();
        let now = self.checkout()?;
        if now.changed > 0 || now.in_progress.is_some() {
            return Err(GitError::DirtyCheckout { path, changed: now.changed.max(1) });
        }
        if let Some(head) = now.commit
            && !self.contains(commit, head)?
        {
            return Err(GitError::NotFastForward { commit });
        }
        let id = commit.to_string();
        let arguments = ["merge", "--ff-only", "--no-overwrite-ignore", "--no-autostash", "-q", &id];
        command::run(command::git_at(self.path()), &arguments).map(drop)
    }

    fn work_dir(&self) -> Result<&Path, GitError> {
        self.path().work_dir.as_deref().ok_or(GitError::Bare)
    }

    fn in_progress(&self) -> Option<&'static str> {
        match self.raw.state() {
            RepositoryState::Clean => None,
            RepositoryState::Merge => Some("merge"),
            RepositoryState::Revert | RepositoryState::RevertSequence => Some("revert"),
            RepositoryState::CherryPick | RepositoryState::CherryPickSequence => Some("cherry-pick"),
            RepositoryState::Bisect => Some("bisect"),
            RepositoryState::Rebase
            | RepositoryState::RebaseInteractive
            | RepositoryState::RebaseMerge
            | RepositoryState::ApplyMailboxOrRebase => Some("rebase"),
            RepositoryState::ApplyMailbox => Some("am"),
        }
    }
}

/// Whether the worktree behind this directory is on the branch, or rebases it.
fn holds(git_dir: &Path, full_name: &str) -> bool {
    let read = |name: &str| files::read_plain_text(&git_dir.join(name));
    read("HEAD").trim_end().strip_prefix("ref: ") == Some(full_name)
        || read("rebase-merge/head-name").trim_end() == full_name
        || read("rebase-apply/head-name").trim_end() == full_name
}

/// Reads `git status --porcelain=v2 --branch -z --no-renames`.
fn read_status(printed: &[u8]) -> Checkout {
    let mut checkout = Checkout { head: Head::Detached, commit: None, changed: 0, in_progress: None };
    let mut name = None;
    for line in printed.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let text = String::from_utf8_lossy(line);
        if let Some(id) = text.strip_prefix("# branch.oid ") {
            checkout.commit = id.parse().ok();
        } else if let Some(head) = text.strip_prefix("# branch.head ") {
            name = Some(head.to_owned()).filter(|head| head != "(detached)");
        } else if !text.starts_with('#') {
            checkout.changed += 1;
        }
    }
    checkout.head = match (name, checkout.commit) {
        (None, _) => Head::Detached,
        (Some(name), Some(_)) => Head::Branch(name),
        (Some(name), None) => Head::Unborn(name),
    };
    checkout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_output_is_read_for_every_kind_of_head() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let read = |text: &str| read_status(text.replace('\n', "\0").as_bytes());
        let branch = read(&format!("# branch.oid {id}\n# branch.head a/b\n1 .M x\n? new file\n"));
        assert_eq!(branch.head, Head::Branch("a/b".into()));
        assert_eq!((branch.commit, branch.changed), (Some(id.parse().unwrap()), 2));
        let detached = read(&format!("# branch.oid {id}\n# branch.head (detached)\n"));
        assert_eq!((detached.head, detached.changed), (Head::Detached, 0));
        let unborn = read("# branch.oid (initial)\n# branch.head main\n");
        assert_eq!((unborn.head, unborn.commit), (Head::Unborn("main".into()), None));
    }
}
