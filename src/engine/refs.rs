//! Writes refs so that a crash in between is in nobody's way. git takes `<ref>.lock` while it writes a ref, and a process
//! that is killed then leaves the file: whoever wants the ref next is refused, for ever. So a note says which ref is being
//! written, and what a dead writer left is removed, and nothing else: locks of others are left alone. Knows nothing of
//! what refs are for.
//!
//! The note is a symbolic link that points at the name: made by one call, never half there, and kept by the journal of
//! the file system in the order in which it and the lock were made, so that a power loss never leaves the lock alone.

use std::path::{Path, PathBuf};

use crate::disk::{self, DiskError, Lock};
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

/// Does something that changes a ref, under the note.
///
/// # Errors
/// What `change` gives, or when the note cannot be made.
pub fn noted(
    store: &Store,
    repo: &Repo,
    name: &str,
    change: impl FnOnce() -> Result<(), GitError>,
) -> Result<(), GitError> {
    let _writing = Lock::wait(&store.root().join("refs.lock"))?;
    let note = note(store);
    clear(&note, &repo.path().common_dir)?;
    disk::link(name, &note)?;
    let done = change();
    remove_second_name(&repo.path().common_dir, name)?;
    disk::remove(&note)?;
    done
}

/// The library gives the lock the name of the ref by a link, and does not notice if the first name stays.
fn remove_second_name(git: &Path, name: &str) -> Result<(), DiskError> {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &Path| path.symlink_metadata().ok().map(|meta| (meta.dev(), meta.ino()));
    let lock = lock_of(git, name);
    match identity(&lock) {
        Some(found) if Some(found) == identity(&git.join(name)) => disk::remove(&lock),
        _ => Ok(()),
    }
}

/// Removes what a writer that died left, if one did. Returns whether there was something.
///
/// # Errors
/// When it cannot be removed.
pub fn mend(store: &Store, git: &Path) -> Result<bool, DiskError> {
    let note = note(store);
    if note.symlink_metadata().is_err() {
        return Ok(false);
    }
    let _writing = Lock::wait(&store.root().join("refs.lock"))?;
    clear(&note, git)
}

fn note(store: &Store) -> PathBuf {
    store.root().join("writing-ref")
}

/// Removes what a writer that died under this note left.
fn clear(note: &Path, git: &Path) -> Result<bool, DiskError> {
    // Earlier versions wrote the name into a file.
    let name = std::fs::read_link(note).ok().and_then(|name| name.into_os_string().into_string().ok());
    let Some(name) = name.or_else(|| std::fs::read_to_string(note).ok()) else { return Ok(false) };
    // The name of a ref has no `..`.
    if name.starts_with("refs/") && !name.contains("..") {
        disk::remove(&lock_of(git, &name))?;
    }
    disk::remove(note)?;
    Ok(true)
}

fn lock_of(git: &Path, name: &str) -> PathBuf {
    git.join(format!("{name}.lock"))
}
