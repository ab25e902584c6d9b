//! Compares a work tree on disk with the list of its tracked files. Looks at names and stat data only, follows no
//! symlink, and reads nothing below what is not tracked.

use std::ffi::{CStr, CString, OsStr};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{self, AtomicUsize};

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::diff::{MODE_EXECUTABLE, MODE_SUBMODULE, MODE_SYMLINK};
use super::index::{Manifest, Stat};
use crate::disk::DiskError;

/// What differs. Positions are those of the list.
#[derive(Debug, Default)]
pub(in crate::git) struct Walk {
    /// Files that are there and may have other content or another mode.
    pub suspect: Vec<usize>,
    /// Files that are gone, or have something else in their place.
    pub missing: Vec<usize>,
    /// Submodules that have anything in their directories.
    pub submodules: Vec<usize>,
    /// What is not in the list: a file, or a directory without any listed file.
    pub extra: Vec<Extra>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::git) struct Extra {
    pub path: Vec<u8>,
    pub kind: ExtraKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::git) enum ExtraKind {
    File,
    Symlink,
    Directory,
    /// A pipe, a socket, a device: git cannot keep it.
    Special,
    /// A repository's own files, `.git` in whatever case: no tree can hold that name.
    Repository,
}

/// From so many tracked files on, the walk is shared between threads.
const MANY: usize = 2000;

/// Walks the part of a work tree below `directory` (empty for all of it).
///
/// # Errors
/// When a directory cannot be read.
pub(in crate::git) fn walk(root: &Path, manifest: &Manifest, directory: &[u8]) -> Result<Walk, DiskError> {
    let path = root.join(OsStr::from_bytes(directory));
    let fail = |error: Errno| DiskError::new("read the directory", &path, error.into());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::open(&path, flags, Mode::empty()).map_err(fail)?;
    let range = manifest.below(directory);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(16);
    let share = if range.len() < MANY || threads < 2 { 0 } else { range.len() / (threads * 8) };
    let mut walker = Walker::new(manifest, directory.to_vec(), share);
    walker.directory(handle, range).map_err(fail)?;
    let Walker { mut found, later, .. } = walker;
    for part in walk_later(root, manifest, &later, threads)? {
        found.suspect.extend(part.suspect);
        found.missing.extend(part.missing);
        found.submodules.extend(part.submodules);
        found.extra.extend(part.extra);
    }
    Ok(found)
}

/// Walks directories that were left for later, on several threads.
fn walk_later(
    root: &Path,
    manifest: &Manifest,
    later: &[Later],
    threads: usize,
) -> Result<Vec<Walk>, DiskError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Walk, DiskError> {
        let mut walker = Walker::new(manifest, Vec::new(), 0);
        while let Some(part) = later.get(next.fetch_add(1, atomic::Ordering::Relaxed)) {
            let path = root.join(OsStr::from_bytes(&part.path));
            let fail = |error: Errno| DiskError::new("read the directory", &path, error.into());
            let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| fail(Errno::INVAL))?;
            let handle = open_directory(rustix::fs::CWD, &name).map_err(fail)?;
            walker.path.clone_from(&part.path);
            walker.directory(handle, part.range.clone()).map_err(fail)?;
        }
        Ok(walker.found)
    };
    if later.is_empty() {
        return Ok(Vec::new());
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().map(join).collect()
    })
}

struct Walker<'a> {
    manifest: &'a Manifest,
    /// The directory being looked at.
    path: Vec<u8>,
    found: Walk,
    /// Directories with at most so many files are left for later.
    share: usize,
    later: Vec<Later>,
}

struct Later {
    path: Vec<u8>,
    range: Range<usize>,
}

/// A tracked name in a directory: one file, or the range of all files below.
struct Child<'a> {
    name: &'a [u8],
    range: Range<usize>,
    is_directory: bool,
}

impl<'a> Walker<'a> {
    fn new(manifest: &'a Manifest, path: Vec<u8>, share: usize) -> Self {
        Self { manifest, path, found: Walk::default(), share, later: Vec::new() }
    }

    fn directory(&mut self, handle: OwnedFd, range: Range<usize>) -> Result<(), Errno> {
        let children = self.children(range);
        let mut listing = rustix::fs::Dir::new(handle)?;
        let names = read_names(&mut listing)?;
        let parent = listing.fd()?;
        let (mut children, mut names) = (children.into_iter().peekable(), names.into_iter().peekable());
        loop {
            let order = match (children.peek(), names.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(child), Some((name, _))) => child.name.cmp(name.to_bytes()),
            };
            let child = if order.is_le() { children.next() } else { None };
            let name = if order.is_ge() { names.next() } else { None };
            match (child, name) {
                (Some(child), None) => self.found.missing.extend(child.range),
                (None, Some((name, kind))) => self.extra(parent, &name, kind)?,
                (Some(child), Some((name, kind))) => self.both(parent, &child, &name, kind)?,
                (None, None) => {}
            }
        }
    }

    /// The tracked names directly in the current directory, sorted by name.
    fn children(&self, range: Range<usize>) -> Vec<Child<'a>> {
        let skip = if self.path.is_empty() { 0 } else { self.path.len() + 1 };
        let entries = &self.manifest.entries;
        let mut children: Vec<Child<'a>> = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let rest = &entries[at].path[skip..];
            let slash = rest.iter().position(|byte| *byte == b'/');
            let name = &rest[..slash.unwrap_or(rest.len())];
            let end = match slash {
                None => at + 1,
                Some(slash) => {
                    let prefix = &entries[at].path[..=skip + slash];
                    at + entries[at..range.end].partition_point(|entry| entry.path.starts_with(prefix))
                }
            };
            children.push(Child { name, range: at..end, is_directory: slash.is_some() });
            at = end;
        }
        children.sort_by(|a, b| a.name.cmp(b.name));
        children
    }

    /// A name that is tracked and on disk.
    fn both(
        &mut self,
        parent: BorrowedFd<'_>,
        child: &Child<'_>,
        name: &CStr,
        kind: FileType,
    ) -> Result<(), Errno> {
        let kind = known(parent, name, kind)?;
        if child.is_directory && kind == FileType::Directory {
            if child.range.len() <= self.share {
                let before = self.push(name);
                self.later.push(Later { path: self.path.clone(), range: child.range.clone() });
                self.path.truncate(before);
                return Ok(());
            }
            return self.enter(parent, name, |walker, handle| walker.directory(handle, child.range.clone()));
        }
        let entry = &self.manifest.entries[child.range.start];
        let fits = match entry.blob.mode {
            _ if child.is_directory => false,
            MODE_SUBMODULE => kind == FileType::Directory,
            _ => matches!(kind, FileType::RegularFile | FileType::Symlink),
        };
        if !fits {
            self.found.missing.extend(child.range.clone());
            return self.extra(parent, name, kind);
        }
        if entry.blob.mode == MODE_SUBMODULE {
            let mut is_empty = true;
            self.enter(parent, name, |_, handle| {
                is_empty = read_names(&mut rustix::fs::Dir::new(handle)?)?.is_empty();
                Ok(())
            })?;
            if !is_empty {
                self.found.submodules.push(child.range.start);
            }
            return Ok(());
        }
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let now = Stat::of_raw(&stat);
        let executable = stat.st_mode & 0o100 != 0;
        let mode_fits = match entry.blob.mode {
            MODE_SYMLINK => kind == FileType::Symlink,
            MODE_EXECUTABLE => kind == FileType::RegularFile && executable,
            _ => kind == FileType::RegularFile && !executable,
        };
        if entry.stat != Some(now) || !mode_fits || now.is_racy(self.manifest.stamp) {
            self.found.suspect.push(child.range.start);
        }
        Ok(())
    }

    /// A name that is on disk and not tracked, or is not what is tracked.
    fn extra(&mut self, parent: BorrowedFd<'_>, name: &CStr, kind: FileType) -> Result<(), Errno> {
        let is_git = name.to_bytes().eq_ignore_ascii_case(b".git");
        if self.path.is_empty() && name.to_bytes() == b".git" {
            return Ok(());
        }
        let kind = match known(parent, name, kind)? {
            _ if is_git => ExtraKind::Repository,
            FileType::RegularFile => ExtraKind::File,
            FileType::Symlink => ExtraKind::Symlink,
            FileType::Directory => ExtraKind::Directory,
            _ => ExtraKind::Special,
        };
        let before = self.push(name);
        self.found.extra.push(Extra { path: self.path.clone(), kind });
        self.path.truncate(before);
        Ok(())
    }

    fn enter(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        inside: impl FnOnce(&mut Self, OwnedFd) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let handle = open_directory(parent, name)?;
        let before = self.push(name);
        inside(self, handle)?;
        self.path.truncate(before);
        Ok(())
    }

    fn push(&mut self, name: &CStr) -> usize {
        let before = self.path.len();
        if before > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name.to_bytes());
        before
    }
}

/// Opens a directory; one that its owner may not enter is opened up first, because whoever closed it is gone.
fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(parent, name, flags, Mode::empty());
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if stat.st_mode & 0o700 != 0o700 {
        rustix::fs::chmodat(
            parent,
            name,
            Mode::from_raw_mode((stat.st_mode & 0o7777) | 0o700),
            AtFlags::empty(),
        )?;
    }
    open()
}

fn read_names(listing: &mut rustix::fs::Dir) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    names.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(names)
}

/// Some file systems do not tell the kind with the name.
fn known(parent: BorrowedFd<'_>, name: &CStr, kind: FileType) -> Result<FileType, Errno> {
    match kind {
        FileType::Unknown => {
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(FileType::from_raw_mode(stat.st_mode))
        }
        kind => Ok(kind),
    }
}

/// Whether the last name of a path is `.git`, in whatever case.
pub(in crate::git) fn is_git_name(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.eq_ignore_ascii_case(b".git"))
}

/// Whether a path of a tree or an index may be one on disk: nothing that leads out of the slot or into its `.git`.
pub(in crate::git) fn is_safe(path: &[u8]) -> bool {
    let forbidden = |name: &[u8]| {
        matches!(name, b"" | b"." | b"..") || name.eq_ignore_ascii_case(b".git") || name.contains(&0)
    };
    !path.split(|byte| *byte == b'/').any(forbidden)
}
