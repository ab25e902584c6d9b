//! Writes and removes the files of a slot. Never writes through a symlink or into an existing file: what is in the way
//! is removed first, so that a hard link to somewhere else stays as it is.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::diff::{Blob, MODE_EXECUTABLE, MODE_SUBMODULE, MODE_SYMLINK};
use super::index::Stat;
use super::{GitError, Repo};
use crate::disk::{self, DiskError};

/// Writes into one work tree. Nothing else may write there meanwhile, except others of its kind.
pub(in crate::git) struct Files<'a> {
    repo: &'a Repo,
    root: &'a Path,
    /// Directories that are known to be real ones.
    directories: HashSet<Vec<u8>>,
}

impl<'a> Files<'a> {
    pub fn new(repo: &'a Repo, root: &'a Path) -> Self {
        Self { repo, root, directories: HashSet::new() }
    }

    /// Puts a file with its content as it is in the repository; gives its stat data. A submodule becomes an empty
    /// directory, and has none.
    ///
    /// # Errors
    /// When the object is missing or the disk refuses.
    pub fn write(&mut self, path: &[u8], blob: Blob) -> Result<Option<Stat>, GitError> {
        let target = self.absolute(path);
        self.make_parents(path)?;
        let fail = |source| DiskError::new("write", &target, source);
        if blob.mode == MODE_SUBMODULE {
            if !is_directory(&target) {
                clear(&target)?;
                std::fs::create_dir(&target).map_err(fail)?;
            }
            return Ok(None);
        }
        let object = self.repo.raw.find_blob(blob.id);
        let object =
            object.map_err(GitError::library(format!("read the content of `{}`", target.display())))?;
        let content = object.content();
        let meta = match put(&target, content, blob.mode) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                clear(&target)?;
                put(&target, content, blob.mode)
            }
            other => other,
        };
        Ok(Some(Stat::of(&meta.map_err(fail)?)))
    }

    /// Removes a file and the directories that are empty then. The path has been seen to be a file of its own: no part
    /// of it is a symlink.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&mut self, path: &[u8]) -> Result<(), GitError> {
        let target = self.absolute(path);
        match std::fs::symlink_metadata(&target) {
            Ok(meta) if meta.is_dir() => return Ok(()),
            Ok(_) => clear(&target)?,
            Err(_) => {}
        }
        self.remove_empty_parents(path);
        Ok(())
    }

    /// Removes whatever is at a path, with all that is in it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn clear(&mut self, path: &[u8]) -> Result<(), GitError> {
        Ok(clear(&self.absolute(path))?)
    }

    /// Removes the directories above a path as far as they are empty. None is reached through a symlink.
    pub fn remove_empty_parents(&mut self, path: &[u8]) {
        let slashes = (0..path.len()).filter(|position| path[*position] == b'/');
        let parents = slashes.map(|slash| &path[..slash]);
        let real: Vec<&[u8]> = parents.take_while(|parent| is_directory(&self.absolute(parent))).collect();
        for parent in real.into_iter().rev() {
            if std::fs::remove_dir(self.absolute(parent)).is_err() {
                return;
            }
            self.directories.remove(parent);
        }
    }

    /// Makes the directories of all these paths. After that, several writers may share the paths.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn prepare<'b>(&mut self, paths: impl Iterator<Item = &'b [u8]>) -> Result<(), GitError> {
        Ok(paths.into_iter().try_for_each(|path| self.make_parents(path))?)
    }

    /// Makes every directory above a path a real one that can be written to.
    fn make_parents(&mut self, path: &[u8]) -> Result<(), DiskError> {
        let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else { return Ok(()) };
        let parent = &path[..slash];
        if self.directories.contains(parent) {
            return Ok(());
        }
        self.make_parents(parent)?;
        let target = self.absolute(parent);
        match std::fs::symlink_metadata(&target) {
            Ok(meta) if meta.is_dir() => open_up_known(&target, &meta),
            Ok(_) => {
                clear(&target)?;
                create(&target)?;
            }
            Err(_) => create(&target)?,
        }
        self.directories.insert(parent.to_vec());
        Ok(())
    }

    fn absolute(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }
}

fn create(directory: &Path) -> Result<(), DiskError> {
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(DiskError::new("create the directory", directory, error))
        }
        _ => Ok(()),
    }
}

fn put(target: &Path, content: &[u8], mode: u32) -> io::Result<Metadata> {
    if mode == MODE_SYMLINK {
        std::os::unix::fs::symlink(OsStr::from_bytes(content), target)?;
        return std::fs::symlink_metadata(target);
    }
    let permissions = if mode == MODE_EXECUTABLE { 0o777 } else { 0o666 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(permissions).open(target)?;
    file.write_all(content)?;
    file.metadata()
}

/// The content of a file that a node may have put something else in place of: only a plain file is opened, so that a
/// pipe without a writer hangs nobody. Empty when it is none, or unreadable.
pub(in crate::git) fn read_plain(path: &Path) -> Vec<u8> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let open = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let plain = open.ok().filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()));
    let mut content = Vec::new();
    if plain.is_some_and(|mut file| file.read_to_end(&mut content).is_err()) {
        content.clear();
    }
    content
}

/// The same as text.
pub(in crate::git) fn read_plain_text(path: &Path) -> String {
    String::from_utf8_lossy(&read_plain(path)).into_owned()
}

/// Removes whatever is there, opening up directories that their owner may not change.
pub(in crate::git) fn clear(path: &Path) -> Result<(), DiskError> {
    match disk::remove(path) {
        Err(error) if error.source.kind() == ErrorKind::PermissionDenied => {
            path.parent().into_iter().for_each(open_up);
            open_up_all(path);
            disk::remove(path)
        }
        other => other,
    }
}

/// Gives the owner full rights on a directory. Best effort: what it cannot change shows in what is done next.
pub(in crate::git) fn open_up(path: &Path) {
    if let Ok(meta) = std::fs::symlink_metadata(path) {
        open_up_known(path, &meta);
    }
}

fn open_up_known(path: &Path, meta: &Metadata) {
    if meta.is_dir() && meta.mode() & 0o700 != 0o700 {
        let _best_effort =
            std::fs::set_permissions(path, Permissions::from_mode((meta.mode() & 0o7777) | 0o700));
    }
}

/// The same for every directory below; and every file can be read.
pub(in crate::git) fn open_up_all(path: &Path) {
    open_up(path);
    if !is_directory(path) {
        return;
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok) {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => open_up_all(&entry.path()),
            Ok(meta) if meta.is_file() && meta.mode() & 0o400 == 0 => {
                let readable = Permissions::from_mode((meta.mode() & 0o7777) | 0o400);
                let _best_effort = std::fs::set_permissions(entry.path(), readable);
            }
            _ => {}
        }
    }
}

pub(in crate::git) fn is_directory(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}
