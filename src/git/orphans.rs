//! Pools of repositories that are gone: nobody will ever lease from them again, and nobody but us knows what they are.
//! Found in the directory that pools are made in, and taken for ours only if the name of the pool is the one that its
//! repository gives: a digest of the path that the pool itself names. Knows nothing of pools elsewhere.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::slot::{self, HALF_WRITTEN, LENT, READY};
use super::{GitError, RepoPath, files};
use crate::disk::{self, Durability, Lock};

/// In a pool: the repository's common directory.
const NAME: &str = "repository";

/// A pool of some repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub directory: PathBuf,
    /// The repository's common directory, there or not.
    pub repository: PathBuf,
}

impl Found {
    /// Whether there is nothing any more where the repository was.
    pub fn is_orphan(&self) -> bool {
        std::fs::symlink_metadata(&self.repository).is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
        })
    }

    /// Removes the pool of a repository that is gone. `false`: someone is at work in it, it is none any more, or there are
    /// files in it that spb did not make, which stay.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    pub fn remove(&self) -> Result<bool, GitError> {
        if !self.is_orphan() || self.named().as_ref() != Some(&self.repository) {
            return Ok(false);
        }
        let slots = numbers(&self.directory);
        let mut locks = Vec::new();
        for number in &slots {
            match Lock::attempt(&self.directory.join(format!("{number}.lock")))? {
                Some(lock) => locks.push(lock),
                None => return Ok(false),
            }
        }
        for number in &slots {
            files::clear(&self.directory.join(number.to_string()))?;
            for extension in ["json", READY, LENT, "dirty", "lock"] {
                let file = format!("{number}.{extension}");
                disk::remove(&self.directory.join(format!("{file}.{HALF_WRITTEN}")))?;
                disk::remove(&self.directory.join(file))?;
            }
        }
        for ours in ["rooms", "cache", "permits", "repository.new"] {
            files::clear(&self.directory.join(ours))?;
        }
        // Last: as long as anything is left, it is still known what it is.
        let others = std::fs::read_dir(&self.directory).into_iter().flatten().filter_map(Result::ok);
        if others.into_iter().any(|entry| entry.file_name() != NAME) {
            return Ok(false);
        }
        disk::remove(&self.directory.join(NAME))?;
        Ok(std::fs::remove_dir(&self.directory).is_ok())
    }

    /// The repository that the pool names, if its own name fits to that.
    fn named(&self) -> Option<PathBuf> {
        let fits = |repository: &PathBuf| {
            let path =
                RepoPath { git_dir: repository.clone(), common_dir: repository.clone(), work_dir: None };
            let expected = slot::default_directory(&path, Path::new(""));
            expected.file_name() == self.directory.file_name()
        };
        let named = [noted(&self.directory), linked(&self.directory)];
        named.into_iter().flatten().find(fits)
    }
}

/// Notes whose pool this is.
///
/// # Errors
/// When the disk refuses.
pub(in crate::git) fn note(pool: &Path, repo: &RepoPath) -> Result<(), GitError> {
    let path = pool.join(NAME);
    let text = repo.common_dir.as_os_str().as_bytes();
    if std::fs::read(&path).is_ok_and(|now| now == text) {
        return Ok(());
    }
    // Several may do so at the same time, so that each has a temporary file of its own; what a kill left of one goes here.
    disk::half_made::collect(pool);
    Ok(disk::replace(&path, text, Durability::Crash)?)
}

/// All pools in this directory that are surely ours, in order of their names. Writes nothing.
pub fn pools(parent: &Path) -> Vec<Found> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok);
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut found: Vec<Found> = directories
        .filter_map(|entry| {
            let unknown = Found { directory: entry.path(), repository: PathBuf::new() };
            Some(Found { repository: unknown.named()?, ..unknown })
        })
        .collect();
    found.sort_by(|a, b| a.directory.cmp(&b.directory));
    found
}

fn noted(pool: &Path) -> Option<PathBuf> {
    let path =
        std::fs::read(pool.join(NAME)).ok().map(|bytes| PathBuf::from(std::ffi::OsString::from_vec(bytes)));
    path.filter(|path| path.is_absolute())
}

/// What the slots of a pool without a note are linked to.
fn linked(pool: &Path) -> Option<PathBuf> {
    numbers(pool).into_iter().find_map(|number| {
        let text = std::fs::read(pool.join(number.to_string()).join(".git")).ok()?;
        let admin = text.strip_prefix(b"gitdir: ")?.strip_suffix(b"\n")?;
        let admin = Path::new(std::ffi::OsStr::from_bytes(admin));
        let worktrees = admin.parent().filter(|parent| parent.ends_with("worktrees"))?;
        Some(worktrees.parent()?.to_owned())
    })
}

/// Numbers of slots, of which at least a lock is there.
fn numbers(pool: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(pool).into_iter().flatten().filter_map(Result::ok);
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.split('.').next()?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}
