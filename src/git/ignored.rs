//! Removes from a slot what is not tracked, but for what is to stay warm. Used after the slot was brought to its tree: what
//! is not tracked is then what git ignores. Knows nothing of why.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::index::Manifest;
use super::walk::{ExtraKind, walk};
use super::{GitError, Globs, files};
use crate::disk::DiskError;

/// Removes everything beside the files of the list that `keep` does not match. A directory that matches stays whole.
///
/// # Errors
/// When something cannot be read or removed.
pub(in crate::git) fn keep_only(root: &Path, manifest: &Manifest, keep: &Globs) -> Result<(), GitError> {
    for extra in walk(root, manifest, &[])?.extra {
        prune(root, keep, &extra.path, extra.kind == ExtraKind::Directory)?;
    }
    Ok(())
}

fn prune(root: &Path, keep: &Globs, path: &[u8], is_directory: bool) -> Result<(), GitError> {
    if keep.matches(path) || (is_directory && keep.covers(path)) {
        return Ok(());
    }
    let absolute = root.join(OsStr::from_bytes(path));
    if !is_directory || !keep.may_match_below(path) {
        return Ok(files::clear(&absolute)?);
    }
    files::open_up(&absolute);
    let fail = |source| DiskError::new("read the directory", &absolute, source);
    for entry in std::fs::read_dir(&absolute).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let below = [path, b"/", entry.file_name().as_bytes()].concat();
        prune(root, keep, &below, entry.file_type().map_err(fail)?.is_dir())?;
    }
    // Only if nothing that is kept is in it.
    let _kept = std::fs::remove_dir(&absolute);
    Ok(())
}
