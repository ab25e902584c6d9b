//! Files that are being made and have no name yet that anybody reads: `.new-*` beside the name they are
//! to get. Whoever makes one holds it through the kernel, so that what a dead process left can be told from what a living
//! one is making, and collected. Knows nothing of what they become.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How the names of all of them begin.
pub const PREFIX: &str = ".new-";

/// An empty file beside its name to be, which goes away unless it is given that name.
///
/// # Errors
/// What the system says.
pub fn file(directory: &Path, permissions: Permissions) -> io::Result<tempfile::NamedTempFile> {
    loop {
        let mut builder = tempfile::Builder::new();
        let made = builder.prefix(PREFIX).permissions(permissions.clone()).tempfile_in(directory)?;
        if is_held(made.as_file())? {
            return Ok(made);
        }
    }
}

/// A file without any name, readable by its owner only: a crash leaves nothing of it. `None` where the file system knows
/// no such files.
///
/// # Errors
/// What the system says.
#[cfg(target_os = "linux")]
pub fn nameless(directory: &Path) -> io::Result<Option<File>> {
    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(Some(file.into())),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub fn nameless(_directory: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// Gives a nameless file its name, where nothing may be yet.
///
/// # Errors
/// What the system says.
pub fn give_name(file: &File, path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD};
    use std::os::fd::AsRawFd;
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// Takes hold of it. Someone who collects may have been faster, between its making and now.
fn is_held(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        // A file system without locks: nothing is collected there.
        Ok(()) | Err(std::fs::TryLockError::Error(_)) => Ok(file.metadata()?.nlink() > 0),
    }
}

/// Those in a directory that nobody holds. Changes nothing.
pub fn abandoned(directory: &Path) -> Vec<PathBuf> {
    all(directory).filter(|path| hold(path).is_some()).collect()
}

/// Removes those in a directory that nobody holds, and returns how many. What cannot be removed is in nobody's way.
pub fn collect(directory: &Path) -> usize {
    let remove = |path: &PathBuf| hold(path).is_some_and(|_held| super::remove(path).is_ok());
    all(directory).filter(remove).count()
}

fn all(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_one = |name: &OsStr| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
    entries.filter(move |entry| is_one(&entry.file_name())).map(|entry| entry.path())
}

fn hold(path: &Path) -> Option<File> {
    let is_plain = |meta: &std::fs::Metadata| meta.is_file() || meta.is_dir();
    std::fs::symlink_metadata(path).ok().filter(is_plain)?;
    let file = File::open(path).ok()?;
    file.try_lock().is_ok().then_some(file)
}

/// What the umask allows, as for any new file: a temporary one is private otherwise.
pub fn ordinary() -> Permissions {
    Permissions::from_mode(0o666)
}

/// For its owner only.
pub fn private() -> Permissions {
    Permissions::from_mode(0o600)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make what they look at")]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_makes_any_more_is_collected_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let held = file(place.path(), ordinary()).unwrap();
        std::fs::write(place.path().join(".new-dead"), "x").unwrap();
        std::fs::create_dir(place.path().join(".new-folder")).unwrap();
        std::fs::write(place.path().join(".new-folder/file"), "x").unwrap();
        std::fs::write(place.path().join("other"), "x").unwrap();
        std::os::unix::fs::symlink("other", place.path().join(".new-link")).unwrap();
        assert_eq!(abandoned(place.path()).len(), 2);
        assert_eq!(collect(place.path()), 2);
        assert!(held.path().exists());
        assert!(place.path().join("other").exists() && !place.path().join(".new-folder").exists());
        assert_eq!(collect(place.path()), 0);
    }

    #[test]
    fn a_nameless_file_gets_a_name_that_is_free() {
        let place = tempfile::tempdir().unwrap();
        let Some(file) = nameless(place.path()).unwrap() else { return };
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
        io::Write::write_all(&mut &file, b"text").unwrap();
        give_name(&file, &place.path().join("a")).unwrap();
        assert_eq!(std::fs::read(place.path().join("a")).unwrap(), b"text");
        let error = give_name(&file, &place.path().join("a")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_file_that_got_its_name_is_not_collected() {
        let place = tempfile::tempdir().unwrap();
        file(place.path(), ordinary()).unwrap().persist(place.path().join("a")).unwrap();
        assert_eq!(collect(place.path()), 0);
        assert!(place.path().join("a").exists());
    }

    #[test]
    fn makers_and_collectors_do_not_disturb_each_other() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path();
        std::thread::scope(|scope| {
            for maker in 0..3 {
                scope.spawn(move || {
                    for number in 0..200 {
                        let made = file(path, ordinary()).unwrap();
                        made.persist(path.join(format!("{maker}-{number}"))).unwrap();
                    }
                });
            }
            scope.spawn(|| (0..400).map(|_| collect(path)).sum::<usize>());
        });
        assert_eq!(std::fs::read_dir(path).unwrap().count(), 600);
    }
}
