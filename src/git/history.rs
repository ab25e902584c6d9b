//! Commits that a node made itself: how many lead from its base to where it left `HEAD`, and the same on another base.
//! Only the line of first parents counts: what a node merged in is in its commits already. Knows nothing of nodes.

use super::merge::{Merged, transplant};
use super::{CommitId, GitError, Repo};

/// Longer lines are taken for other work: a node that checks out a branch a thousand commits ahead did not write them.
pub const LONGEST: usize = 1000;

impl Repo {
    /// How many commits lead from `ancestor` to `commit` along first parents; `None` when that line does not come from
    /// there, or is longer than [`LONGEST`].
    ///
    /// # Errors
    /// When a commit before it cannot be read.
    pub fn distance(&self, commit: CommitId, ancestor: CommitId) -> Result<Option<usize>, GitError> {
        if !self.has_commit(commit) {
            return Ok(None);
        }
        let mut at = commit;
        for count in 0..=LONGEST {
            if at == ancestor {
                return Ok(Some(count));
            }
            match self.parents(at)?.first() {
                Some(parent) if self.has_commit(*parent) => at = *parent,
                // The end of the history, or of what a shallow clone has of it.
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The commit that lies so many first parents before this one; `None` when the history ends before.
    ///
    /// # Errors
    /// When a commit is missing.
    pub fn before(&self, commit: CommitId, count: usize) -> Result<Option<CommitId>, GitError> {
        let mut at = commit;
        for _ in 0..count {
            match self.parents(at)?.first() {
                Some(parent) => at = *parent,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }
}

/// Brings the last `count` commits of a line onto another base, one by one: messages, authors and dates stay. A merge
/// among them becomes a plain commit. A line that has its base already is given as it is.
///
/// # Errors
/// When an object is missing or cannot be written. A conflict is not an error.
pub fn carry(repo: &Repo, tip: CommitId, count: usize, onto: CommitId) -> Result<Merged, GitError> {
    if repo.before(tip, count)? == Some(onto) {
        return Ok(Merged::Clean(tip));
    }
    let mut line = vec![tip];
    while line.len() < count {
        let Some(parent) = repo.before(line[line.len() - 1], 1)? else { break };
        line.push(parent);
    }
    let mut at = onto;
    for change in line.into_iter().rev() {
        match transplant(repo, change, at)? {
            Merged::Clean(moved) => at = moved,
            conflict @ Merged::Conflict { .. } => return Ok(conflict),
        }
    }
    Ok(Merged::Clean(at))
}
