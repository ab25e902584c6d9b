//! The one ref that keeps the commits of all cache entries from `git gc`. A run adds what it made (`finish`); here is what
//! comes from elsewhere, and the making of it anew when entries have gone. Knows nothing of entries.

use super::finish::CACHE_REF;
use super::refs;
use crate::disk;
use crate::git::{CommitId, Expect, GitError, Repo, Stamp};
use crate::store::Store;

/// Most parents of one commit: more make git slow.
const MOST: usize = 500;

/// Keeps these commits as well.
///
/// # Errors
/// When the objects cannot be made durable or the ref cannot be written.
pub fn add(store: &Store, repo: &Repo, commits: &[CommitId]) -> Result<(), GitError> {
    let Some(&first) = commits.first() else { return Ok(()) };
    let holder = holder(repo, commits)?;
    loop {
        let before = repo.read_ref(CACHE_REF)?;
        let parents: Vec<CommitId> = before.into_iter().chain([holder]).collect();
        let next = repo.commit(repo.tree_of(first)?, &parents, MESSAGE, Stamp::Like(first))?;
        disk::sync_file_system(store.root())?;
        let expect = before.map_or(Expect::Absent, Expect::Is);
        match refs::set(store, repo, CACHE_REF, next, expect, "spb: keep") {
            // Other spb processes add to it as well: again on what they left.
            Err(GitError::RefMoved { .. }) => {}
            done => return done,
        }
    }
}

/// Keeps these commits and no others.
///
/// # Errors
/// As [`add`].
pub fn replace(store: &Store, repo: &Repo, commits: &[CommitId]) -> Result<(), GitError> {
    if commits.is_empty() {
        return refs::remove(store, repo, CACHE_REF);
    }
    let holder = holder(repo, commits)?;
    disk::sync_file_system(store.root())?;
    refs::set(store, repo, CACHE_REF, holder, Expect::Any, "spb: keep what is left")
}

const MESSAGE: &str = "spb: keeps cached results";

/// One commit behind which all of them stand.
fn holder(repo: &Repo, commits: &[CommitId]) -> Result<CommitId, GitError> {
    let mut level = commits.to_vec();
    loop {
        let mut next = Vec::new();
        for group in level.chunks(MOST) {
            let (tree, stamp) = (repo.tree_of(group[0])?, Stamp::Like(group[0]));
            next.push(repo.commit(tree, group, MESSAGE, stamp)?);
        }
        if next.len() == 1 {
            return Ok(next[0]);
        }
        level = next;
    }
}
