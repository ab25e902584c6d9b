//! Files of the user's checkout that git does not track: which there are. Reads names only, and changes nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::index::Manifest;
use super::{GitError, Globs, RepoPath};
use crate::disk::DiskError;

/// Files of the checkout that match and are not tracked there, sorted, relative to it. None in a bare repository.
/// Directories that are symlinks are not entered.
///
/// # Errors
/// When a directory in which one may be cannot be read.
pub fn untracked_files(repo: &RepoPath, globs: &Globs) -> Result<Vec<PathBuf>, GitError> {
    let Some(root) = &repo.work_dir else { return Ok(Vec::new()) };
    let mut search = Search {
        root,
        globs,
        tracked: Manifest::load(&repo.git_dir.join("index")).unwrap_or_default(),
        found: Vec::new(),
    };
    search.directory(b"")?;
    let mut found = search.found;
    found.sort();
    Ok(found)
}

struct Search<'a> {
    root: &'a Path,
    globs: &'a Globs,
    tracked: Manifest,
    found: Vec<PathBuf>,
}

impl Search<'_> {
    fn directory(&mut self, directory: &[u8]) -> Result<(), DiskError> {
        let absolute = self.root.join(OsStr::from_bytes(directory));
        let fail = |source| DiskError::new("read the directory", &absolute, source);
        for entry in std::fs::read_dir(&absolute).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
            let path = [directory, separator, name.as_bytes()].concat();
            let is_directory = entry.file_type().map_err(fail)?.is_dir();
            if name == ".git" {
                continue;
            }
            if is_directory {
                if self.globs.may_match_below(&path) {
                    self.directory(&path)?;
                }
            } else if self.globs.matches(&path) && self.tracked.get(&path).is_none() {
                // A symlink counts with the file that it leads to.
                let relative = PathBuf::from(OsStr::from_bytes(&path));
                if self.root.join(&relative).is_file() {
                    self.found.push(relative);
                }
            }
        }
        Ok(())
    }
}
