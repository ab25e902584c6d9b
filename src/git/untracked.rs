//! What is in a work tree beside the tracked files, and not ignored. Knows nothing of what becomes of it.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::GitError;
use super::ignore::Ignore;
use super::walk::{Extra, ExtraKind};
use crate::disk::DiskError;

/// Is told each path, and what is there.
pub(in crate::git) type Found<'a> = dyn FnMut(&[u8], ExtraKind) -> Result<(), GitError> + 'a;

/// Calls `found` for everything in these places that is not ignored: files, symlinks and special files as they come, a
/// repository inside as a whole, a directory after what is in it. None of the places is tracked.
///
/// # Errors
/// When a directory cannot be read, or `found` fails.
pub(in crate::git) fn untracked(
    root: &Path,
    ignore: &mut Ignore,
    extras: &[Extra],
    found: &mut Found<'_>,
) -> Result<(), GitError> {
    extras.iter().try_for_each(|extra| visit(root, ignore, extra, found))
}

fn visit(root: &Path, ignore: &mut Ignore, extra: &Extra, found: &mut Found<'_>) -> Result<(), GitError> {
    let is_directory = extra.kind == ExtraKind::Directory;
    if extra.kind != ExtraKind::Repository && ignore.is_ignored(&extra.path, is_directory) {
        return Ok(());
    }
    if is_directory {
        let path = root.join(OsStr::from_bytes(&extra.path));
        if is_repository(&path.join(".git")) {
            return found(&extra.path, ExtraKind::Repository);
        }
        for entry in entries(&path, &extra.path)? {
            visit(root, ignore, &entry, found)?;
        }
    }
    found(&extra.path, extra.kind)
}

/// Whether this `.git` makes its directory a repository, and not just a name.
fn is_repository(git: &Path) -> bool {
    git.join("HEAD").is_file() || super::files::read_plain(git).starts_with(b"gitdir:")
}

fn entries(directory: &Path, relative: &[u8]) -> Result<Vec<Extra>, DiskError> {
    super::files::open_up(directory);
    let fail = |source| DiskError::new("read the directory", directory, source);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let kind = entry.file_type().map_err(fail)?;
        let name = entry.file_name().into_vec();
        let kind = match () {
            () if name.eq_ignore_ascii_case(b".git") => ExtraKind::Repository,
            () if kind.is_dir() => ExtraKind::Directory,
            () if kind.is_symlink() => ExtraKind::Symlink,
            () if kind.is_file() => ExtraKind::File,
            () => ExtraKind::Special,
        };
        found.push(Extra { path: [relative, b"/", &name].concat(), kind });
    }
    Ok(found)
}
