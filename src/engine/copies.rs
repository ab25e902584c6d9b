//! Files of the user's checkout that git does not track and that nodes get all the same (`worktrees.copy`): which they
//! are, as they were when the run began, and how they come into a slot. They are lent: taken out again before the slot is
//! read back or given back.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::git::local::untracked_files;
use crate::git::{GitError, Globs, RepoPath};

/// One file to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Relative to checkout and slot.
    pub path: PathBuf,
    pub digest: Digest,
}

/// The files that these globs match now. One that cannot be read is an error: a node without it would be another node.
///
/// # Errors
/// When the checkout cannot be read.
pub fn find(repo: &RepoPath, patterns: &[String]) -> Result<Vec<Copied>, GitError> {
    let (Some(root), false) = (&repo.work_dir, patterns.is_empty()) else { return Ok(Vec::new()) };
    let paths = untracked_files(repo, &Globs::compile(patterns)?)?;
    let copied = paths.into_iter().map(|path| {
        let absolute = root.join(&path);
        let bytes = std::fs::read(&absolute);
        let bytes = bytes.map_err(|source| disk::DiskError::new("read", &absolute, source))?;
        Ok(Copied { path, digest: Digest::of_bytes(&bytes) })
    });
    copied.collect()
}

/// Puts one file into a slot, with its permissions.
///
/// # Errors
/// A sentence, when the file is no longer what it was, or the slot does not take it.
pub fn put(copied: &Copied, checkout: &Path, slot: &Path) -> Result<(), String> {
    let (from, to) = (checkout.join(&copied.path), slot.join(&copied.path));
    let text =
        |error: &dyn std::fmt::Display| format!("`{}` of `worktrees.copy`: {error}", copied.path.display());
    let bytes = std::fs::read(&from).map_err(|error| text(&error))?;
    if Digest::of_bytes(&bytes) != copied.digest {
        return Err(text(&"it changed in your checkout since the run began; apply again"));
    }
    let permissions = std::fs::metadata(&from).map_err(|error| text(&error))?.permissions();
    if !stays_inside(slot, &copied.path) {
        return Err(text(&"a symlink among the tracked files leads out of the worktree"));
    }
    disk::create_directory(to.parent().unwrap_or(slot)).map_err(|error| text(&error))?;
    disk::remove(&to).map_err(|error| text(&error))?;
    disk::replace(&to, &bytes, Durability::Crash).map_err(|error| text(&error))?;
    std::fs::set_permissions(&to, permissions).map_err(|error| text(&error))
}

/// Whether what there is of the way to a path leads to no place outside of the slot.
fn stays_inside(slot: &Path, path: &Path) -> bool {
    let mut above = path.ancestors().skip(1).map(|parent| slot.join(parent));
    let nearest = above.find(|parent| parent.symlink_metadata().is_ok()).map(|parent| parent.canonicalize());
    matches!((nearest, slot.canonicalize()), (Some(Ok(nearest)), Ok(slot)) if nearest.starts_with(&slot))
}
