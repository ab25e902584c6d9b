//! The only place that writes files durably: replace whole, append whole, lock by kernel. Knows nothing of what is
//! in them. Order everywhere: data, fsync, rename, fsync of the directory.

pub mod half_made;
mod turn;

pub use turn::Turn;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A file operation that failed, with the path it was about.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`: {source}{}", path.display(), remedy(source))]
pub struct DiskError {
    pub action: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

/// What to do when there is no room, to follow the reason.
pub const ROOM: &str = "; make room (`df -h`, `df -i`), then `spb resume`";

fn remedy(error: &io::Error) -> &'static str {
    if says_full(error) { ROOM } else { "" }
}

/// Whether the system refused for want of room.
pub fn says_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the file system of a path has no room for so many bytes, or no place for another file.
pub fn is_full(path: &Path, bytes: u64) -> bool {
    // Less than this is often kept for the administrator, or too little for what was refused.
    const LITTLE: u64 = 64 * 1024;
    rustix::fs::statvfs(path).is_ok_and(|stat| {
        stat.f_bavail.saturating_mul(stat.f_frsize) < LITTLE.saturating_add(bytes)
            || (stat.f_files > 0 && stat.f_favail == 0)
    })
}

impl DiskError {
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }
}

/// Whether a replaced file must survive power loss before the call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// fsync of the file and of its directory.
    PowerLoss,
    /// Survives a killed process, not a power loss.
    Crash,
}

/// Puts `bytes` at `path`: readers see the old content or the new one, never a part.
///
/// # Errors
/// Any step that fails; no temporary file stays behind.
pub fn replace(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), DiskError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let fail = |source| DiskError::new("write", path, source);
    let file = fresh(directory, bytes).map_err(fail)?;
    if durability == Durability::PowerLoss {
        file.as_file().sync_all().map_err(fail)?;
    }
    file.persist(path).map_err(|error| fail(error.error))?;
    match durability {
        Durability::PowerLoss => sync_directory(directory),
        Durability::Crash => Ok(()),
    }
}

/// The same by way of a temporary file whose name the caller gives: for files that one process writes at a time, so that
/// what a kill leaves of one writer is taken over by the next.
///
/// # Errors
/// As [`replace`].
pub fn replace_by_way_of(
    temporary: &Path,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), DiskError> {
    let fail = |source| DiskError::new("write", path, source);
    let write = || {
        // Never what somebody put there, which may be a link.
        let create = || OpenOptions::new().create_new(true).write(true).open(temporary);
        let mut file = match create() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                std::fs::remove_file(temporary)?;
                create()?
            }
            other => other?,
        };
        file.write_all(bytes)?;
        if durability == Durability::PowerLoss {
            file.sync_all()?;
        }
        std::fs::rename(temporary, path)
    };
    write().map_err(|error| {
        let _nothing_stays = std::fs::remove_file(temporary);
        fail(error)
    })?;
    match durability {
        Durability::PowerLoss => sync_directory(path.parent().unwrap_or(Path::new("."))),
        Durability::Crash => Ok(()),
    }
}

/// A file without its name yet.
fn fresh(directory: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut file = half_made::file(directory, half_made::ordinary())?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Reads a file that a user named: `/dev/stdin` and a shell's `<(...)` are some as well. A pipe that nobody writes to is
/// an error instead of a wait, and what is longer than `limit` bytes is not read to its end.
///
/// # Errors
/// When it cannot be read, is too long, or a pipe without a writer.
pub fn read_given(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    // Without this, opening a pipe waits for a writer.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let is_pipe = file.metadata()?.file_type().is_fifo();
    let mut bytes = vec![0; 4096];
    let first = match file.read(&mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Ok(0) if is_pipe => return Err(io::Error::other("it is a pipe that nobody writes to")),
        result => result?,
    };
    bytes.truncate(first);
    rustix::io::ioctl_fionbio(&file, false)?;
    (&file).take(limit.saturating_sub(first as u64) + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(io::Error::other(format!("it is larger than {} MiB", limit >> 20))),
        false => Ok(bytes),
    }
}

/// Whether [`create`] made the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    Now,
    /// Something was there, and is as it was.
    WasThere,
}

/// Makes a whole file that survives power loss, unless there is one: of several that try, one does.
///
/// # Errors
/// Any step that fails; no temporary file stays behind.
pub fn create(path: &Path, bytes: &[u8]) -> Result<Created, DiskError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let fail = |source| DiskError::new("write", path, source);
    let file = fresh(directory, bytes).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    match file.persist_noclobber(path) {
        Ok(_) => {
            sync_directory(directory)?;
            Ok(Created::Now)
        }
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(Created::WasThere),
        Err(error) => Err(fail(error.error)),
    }
}

/// Whether files may be made in a directory, without making one.
///
/// # Errors
/// What the system says.
pub fn check_writable(directory: &Path) -> io::Result<()> {
    use rustix::fs::Access;
    rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
}

/// Creates a directory and its parents.
///
/// # Errors
/// When it cannot be made or something else is in its place.
pub fn create_directory(path: &Path) -> Result<(), DiskError> {
    std::fs::create_dir_all(path).map_err(|source| DiskError::new("create the directory", path, source))
}

/// Makes the names in a directory survive power loss.
///
/// # Errors
/// When the directory cannot be opened or the system refuses.
pub fn sync_directory(path: &Path) -> Result<(), DiskError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| DiskError::new("sync the directory", path, source))
}

/// Makes everything written so far to the file system that holds `path` survive power loss: cheaper than one fsync for
/// each of many small objects.
///
/// # Errors
/// When the path cannot be opened or the system reports a write that failed.
pub fn sync_file_system(path: &Path) -> Result<(), DiskError> {
    let fail = |source| DiskError::new("sync the file system of", path, source);
    let directory = File::open(path).map_err(fail)?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&directory).map_err(|error| fail(error.into()))?;
    #[cfg(not(target_os = "linux"))]
    {
        rustix::fs::sync();
        directory.sync_all().map_err(fail)?;
    }
    Ok(())
}

/// Puts a symlink at `path`, in place of whatever is there.
///
/// # Errors
/// When what is there cannot be removed, or no link can be made.
pub fn link(target: &str, path: &Path) -> Result<(), DiskError> {
    remove(path)?;
    std::os::unix::fs::symlink(target, path).map_err(|source| DiskError::new("make the link", path, source))
}

/// Removes a file or a whole directory; one that is not there is fine.
///
/// # Errors
/// When something stays behind.
pub fn remove(path: &Path) -> Result<(), DiskError> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DiskError::new("remove", path, error)),
        _ => Ok(()),
    }
}

/// A kernel lock on a file: freed when dropped, and by the kernel when the process dies. Never needs a manual unlock.
#[derive(Debug)]
#[must_use]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    /// A process that another thread starts just now has a copy of the file until it becomes the new program: closing
    /// ours would leave the lock held for that moment.
    fn drop(&mut self) {
        let _closing_does_it_too = self.file.unlock();
    }
}

impl Lock {
    /// Waits until the lock is free.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub fn wait(path: &Path) -> Result<Self, DiskError> {
        let file = Self::open(path)?;
        file.lock().map_err(|source| DiskError::new("lock", path, source))?;
        Ok(Self { file })
    }

    /// Waits until nobody has the lock for itself, and holds it together with others.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub fn share(path: &Path) -> Result<Self, DiskError> {
        let file = Self::open(path)?;
        file.lock_shared().map_err(|source| DiskError::new("lock", path, source))?;
        Ok(Self { file })
    }

    /// Takes the lock, or returns `None` when someone else has it.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub fn attempt(path: &Path) -> Result<Option<Self>, DiskError> {
        let file = Self::open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(source)) => Err(DiskError::new("lock", path, source)),
        }
    }

    fn open(path: &Path) -> Result<File, DiskError> {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(|source| DiskError::new("open the lock", path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for durability in [Durability::Crash, Durability::PowerLoss] {
            replace(&path, b"one", durability).unwrap();
            replace(&path, b"two", durability).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_many_that_create_a_file_one_does_and_the_file_is_its() {
        let directory = tempfile::tempdir().unwrap();
        let path = &directory.path().join("a");
        let tried: Vec<(Created, String)> = std::thread::scope(|scope| {
            let one = |number: usize| {
                let text = number.to_string().repeat(1000);
                (create(path, text.as_bytes()).unwrap(), text)
            };
            let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || one(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let made: Vec<&String> =
            tried.iter().filter(|(created, _)| *created == Created::Now).map(|(_, text)| text).collect();
        assert_eq!(made, [&std::fs::read_to_string(path).unwrap()]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_lock_is_held_by_one_and_free_after_drop() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = Lock::attempt(&path).unwrap();
        assert!(held.is_some());
        assert!(Lock::attempt(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::attempt(&path).unwrap().is_some());
    }

    #[test]
    fn an_error_names_the_path() {
        let error = replace(Path::new("/nowhere/at/all"), b"", Durability::Crash).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
