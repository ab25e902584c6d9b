//! Turns at a key: of all processes and threads one works on it, the others wait. Freed when dropped, and by the kernel
//! when the process dies. Knows nothing of what keys stand for.
//!
//! All keys share one file that never grows: a turn is a lock on the one byte whose position is taken from the key, as
//! an open file description holds it (`F_OFD_SETLK`), so that threads exclude each other as well, and a turn leaves no file behind. Where
//! the system has no such locks a few whole files stand for all keys: then two keys may wait for each other's turn, never
//! for ever, as long as nobody waits for a turn who has one.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use super::DiskError;
use crate::digest::Digest;

/// The right to work on a key.
#[derive(Debug)]
#[must_use]
pub struct Turn {
    file: File,
    #[cfg(target_os = "linux")]
    at: i64,
}

impl Turn {
    /// Takes the turn, or returns `None` when somebody else has it. Never waits.
    ///
    /// # Errors
    /// When the file below `directory` cannot be made or locked.
    pub fn attempt(directory: &Path, key: Digest) -> Result<Option<Self>, DiskError> {
        let path = place(directory, key);
        let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let file = open.map_err(|source| DiskError::new("open the lock", &path, source))?;
        locked(file, key).map_err(|source| DiskError::new("lock", &path, source))
    }
}

#[cfg(target_os = "linux")]
fn place(directory: &Path, _key: Digest) -> PathBuf {
    directory.join("turns.lock")
}

#[cfg(target_os = "linux")]
fn locked(file: File, key: Digest) -> std::io::Result<Option<Turn>> {
    let bytes: [u8; 8] = key.as_bytes()[..8].try_into().expect("a digest has 32 bytes");
    // A file ends at the largest positive number.
    let at = i64::from_le_bytes(bytes) & (i64::MAX >> 1);
    match set(&file, at, libc::F_WRLCK) {
        Ok(()) => Ok(Some(Turn { file, at })),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(target_os = "linux")]
fn set(file: &File, at: i64, kind: libc::c_int) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: all zeros is a value of this plain structure; the kernel wants `l_pid` to be zero.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range.l_start = at as libc::off_t;
    range.l_len = 1;
    // SAFETY: the descriptor is open as long as `file` lives, and the call reads the structure only.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const range) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(target_os = "linux")]
impl Drop for Turn {
    /// A process that another thread starts just now has a copy of the file until it becomes the new program: closing
    /// ours would leave the turn taken for that moment.
    fn drop(&mut self) {
        let _closing_does_it_too = set(&self.file, self.at, libc::F_UNLCK);
    }
}

#[cfg(not(target_os = "linux"))]
fn place(directory: &Path, key: Digest) -> PathBuf {
    directory.join(format!("turns-{}.lock", &key.to_hex()[..2]))
}

#[cfg(not(target_os = "linux"))]
fn locked(file: File, _key: Digest) -> std::io::Result<Option<Turn>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(Turn { file })),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
impl Drop for Turn {
    fn drop(&mut self) {
        let _closing_does_it_too = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_the_turn_at_a_key_and_other_keys_are_free() {
        let directory = tempfile::tempdir().unwrap();
        let attempt = |key: &[u8]| Turn::attempt(directory.path(), Digest::of_bytes(key)).unwrap();
        let held = attempt(b"a");
        assert!(held.is_some());
        assert!(attempt(b"a").is_none());
        let other = attempt(b"b");
        assert!(other.is_some());
        assert!(std::thread::scope(|scope| scope.spawn(|| attempt(b"a")).join().unwrap()).is_none());
        drop(held);
        assert!(attempt(b"a").is_some() && attempt(b"b").is_none());
        let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().flatten().collect();
        assert!(left.len() <= 2 && left.iter().all(|file| file.metadata().unwrap().len() == 0));
    }
}
