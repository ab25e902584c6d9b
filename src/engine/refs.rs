//! Writes refs so that a crash in between is in nobody's way. git takes `<ref>.lock` while it writes a ref, and a process
//! that is killed then leaves the file: whoever wants the ref next is refused, for ever. So a note says which ref is being
//! written, and what a dead writer left is removed, and nothing else: locks of others are left alone. Knows nothing of
//! what refs are for.

use std::path::{Path, PathBuf};

use crate::disk::{self, DiskError, Durability, Lock};
use crate::git::{CommitId, Expect, GitError, Repo};
use crate::store::Store;

/// Makes or moves a ref, if it still holds what is expected. One process of the repository does so at a time.
///
/// # Errors
/// [`GitError::RefMoved`] when it holds something else.
pub fn set(
    store: &Store,
    repo: &Repo,
    name: &str,
    target: CommitId,
    expect: Expect,
    reason: &str,
) -> Result<(), GitError> {
    noted(store, repo, name, || repo.set_ref(name, target, expect, reason))
}

/// Removes a ref; one that is not there is fine.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(store: &Store, repo: &Repo, name: &str) -> Result<(), GitError> {
    noted(store, repo, name, || repo.delete_ref(name))
}

fn noted(
    store: &Store,
    repo: &Repo,
    name: &str,
    write: impl FnOnce() -> Result<(), GitError>,
) -> Result<(), GitError> {
    let _writing = Lock::wait(&store.root().join("refs.lock"))?;
    let note = store.root().join("writing-ref");
    clear(&note, &repo.path().common_dir)?;
    disk::replace(&note, name.as_bytes(), Durability::Crash)?;
    let done = write();
    disk::remove(&note)?;
    done
}

/// Removes what a writer that died under this note left.
fn clear(note: &Path, git: &Path) -> Result<(), DiskError> {
    let Ok(name) = std::fs::read_to_string(note) else { return Ok(()) };
    // The name of a ref has no `..`.
    if name.starts_with("refs/") && !name.contains("..") {
        disk::remove(&lock_of(git, &name))?;
    }
    disk::remove(note)
}

fn lock_of(git: &Path, name: &str) -> PathBuf {
    git.join(format!("{name}.lock"))
}
