//! The list of files in a slot with what git keeps of each (content id, mode, stat data), and git's index file, which is
//! its form on disk. Knows nothing of how the list comes about.
//!
//! A file whose stat data is as recorded has the recorded content, unless it was changed in the same clock tick in which
//! it was recorded. So a list has a `stamp`, a time read from a file written after it; what is not older than the stamp
//! is compared by content. This is git's own rule ("racily clean").
//!
//! The index of a large repository is megabytes, and a lease changes few entries of it. So a list knows in which entries
//! the file differs from it ([`Manifest::put`]), and writes those alone where the same paths are in the same places.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::diff::{Blob, MODE_EXECUTABLE, MODE_SYMLINK};
use super::index_file::{decode, encode, open_same, patch};
use super::walk::is_safe;
use crate::disk::{self, DiskError, Durability};

/// The flag of an entry that is meant to be absent from the disk.
pub(in crate::git) const SKIP_WORKTREE: u16 = 1 << 14;

/// Seconds and nanoseconds, as the file system gave them.
pub(in crate::git) type Time = (u32, u32);

/// What tells that a file is still the same, cut to 32 bits each as in git's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::git) struct Stat {
    pub changed: Time,
    pub modified: Time,
    pub inode: u32,
    pub size: u32,
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "git's index keeps the low 32 bits"
)]
impl Stat {
    pub fn of(meta: &std::fs::Metadata) -> Self {
        Self {
            changed: (meta.ctime() as u32, meta.ctime_nsec() as u32),
            modified: (meta.mtime() as u32, meta.mtime_nsec() as u32),
            inode: meta.ino() as u32,
            size: meta.size() as u32,
        }
    }

    pub fn of_raw(stat: &rustix::fs::Stat) -> Self {
        Self {
            changed: (stat.st_ctime as u32, stat.st_ctime_nsec as u32),
            modified: (stat.st_mtime as u32, stat.st_mtime_nsec as u32),
            inode: stat.st_ino as u32,
            size: stat.st_size as u32,
        }
    }

    /// Whether it was recorded too late to prove anything.
    pub fn is_racy(&self, stamp: Time) -> bool {
        self.modified >= stamp || self.changed >= stamp
    }
}

/// A tracked file, symlink or submodule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::git) struct Entry {
    pub path: Box<[u8]>,
    pub blob: Blob,
    /// `None`: not known to be on disk as it should.
    pub stat: Option<Stat>,
}

/// All tracked files in path order.
#[derive(Debug, Default)]
pub(in crate::git) struct Manifest {
    pub entries: Vec<Entry>,
    pub stamp: Time,
    file: Option<OnDisk>,
}

/// An index file that we wrote, and that has the paths of the list in the same places.
#[derive(Debug)]
struct OnDisk {
    stat: Stat,
    /// Positions of entries that are not as in the file.
    stale: Vec<usize>,
}

/// An index file that we wrote, and the tree that it lists the files of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::git) struct Listed {
    pub tree: String,
    pub index: Stat,
}

/// From so many entries on, a file is written anew.
const MANY: usize = 2000;

impl Manifest {
    pub fn position(&self, path: &[u8]) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| (*entry.path).cmp(path))
    }

    pub fn get(&self, path: &[u8]) -> Option<&Entry> {
        self.position(path).ok().map(|position| &self.entries[position])
    }

    /// The range of entries below a directory.
    pub fn below(&self, directory: &[u8]) -> std::ops::Range<usize> {
        let first = self.entries.partition_point(|entry| under(&entry.path, directory).is_lt());
        let count = self.entries[first..].partition_point(|entry| under(&entry.path, directory).is_eq());
        first..first + count
    }

    /// Puts (`Some`) and removes (`None`) entries, in one pass over the list at most.
    pub fn apply(&mut self, changes: BTreeMap<Vec<u8>, Option<Entry>>) {
        let mut others = Vec::new();
        for (path, change) in changes {
            match (self.position(&path), change) {
                (Ok(position), Some(entry)) => {
                    self.entries[position] = entry;
                    self.note_stale(position);
                }
                (Err(_), None) => {}
                (found, change) => others.push((found, change)),
            }
        }
        if others.is_empty() {
            return;
        }
        self.file = None;
        let mut old = std::mem::take(&mut self.entries).into_iter();
        let mut taken = 0;
        for (found, change) in others {
            let (Ok(position) | Err(position)) = found;
            self.entries.extend(old.by_ref().take(position - taken));
            taken = position;
            if found.is_ok() {
                old.next();
                taken += 1;
            }
            self.entries.extend(change);
        }
        self.entries.extend(old);
    }

    /// Sets the stat data of an entry.
    pub fn set_stat(&mut self, position: usize, stat: Option<Stat>) {
        if self.entries[position].stat != stat {
            self.entries[position].stat = stat;
            self.note_stale(position);
        }
    }

    /// From here on no stat data proves anything.
    pub fn distrust(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.stat = None);
        self.file = None;
    }

    fn note_stale(&mut self, position: usize) {
        if let Some(file) = &mut self.file {
            file.stale.push(position);
        }
    }

    /// Makes the index file be as the list, with files that are tracked and meant to be absent from the disk. Nobody else
    /// writes it meanwhile.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn put(&mut self, path: &Path, absent: &[Entry]) -> Result<(), DiskError> {
        let file = self.file.take().filter(|_| absent.is_empty());
        if let Some(mut file) = file {
            file.stale.sort_unstable();
            file.stale.dedup();
            if file.stale.len() < MANY
                && let Some(open) = open_same(path, file.stat)
            {
                let fail = |source| DiskError::new("write", path, source);
                if !file.stale.is_empty() {
                    patch(&open, &self.entries, &file.stale).map_err(fail)?;
                }
                let stat = Stat::of(&open.metadata().map_err(fail)?);
                self.file = Some(OnDisk { stat, stale: Vec::new() });
                return Ok(());
            }
        }
        disk::replace(path, &encode(&self.entries, absent), Durability::Crash)?;
        if !absent.is_empty() {
            return Ok(());
        }
        let stat = std::fs::symlink_metadata(path).map_err(|source| DiskError::new("read", path, source))?;
        self.file = Some(OnDisk { stat: Stat::of(&stat), stale: Vec::new() });
        Ok(())
    }

    /// Stat data of the index file as we left it.
    pub fn written(&self) -> Option<Stat> {
        self.file.as_ref().map(|file| file.stat)
    }

    /// Reads an index file, of whatever version. `None` when there is none that makes sense.
    pub fn load(path: &Path) -> Option<Self> {
        let meta = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        let stat = Stat::of(&meta);
        let stamp = stat.modified;
        if let Some(entries) = super::files::read_plain(path).strip_suffix(&[0; 20]).and_then(decode)
            && std::fs::symlink_metadata(path).is_ok_and(|meta| Stat::of(&meta) == stat)
        {
            return Some(Self { entries, stamp, file: Some(OnDisk { stat, stale: Vec::new() }) });
        }
        let index = git2::Index::open(path).ok()?;
        // What is meant to be absent from the disk is nothing that the slot holds.
        let is_held =
            |entry: &git2::IndexEntry| stage(entry) == 0 && entry.flags_extended & SKIP_WORKTREE == 0;
        let plain = index.iter().filter(|entry| is_held(entry) && is_safe(&entry.path));
        let mut entries: Vec<Entry> = plain.map(|entry| from_library(&entry)).collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Some(Self { entries, stamp, file: None })
    }
}

/// Where a path lies as seen from what is below a directory.
fn under(path: &[u8], directory: &[u8]) -> Ordering {
    let length = directory.len();
    if length == 0 {
        return Ordering::Equal;
    }
    let head = &path[..path.len().min(length)];
    head.cmp(directory).then_with(|| path.get(length).copied().unwrap_or(0).cmp(&b'/'))
}

/// 1 to 3 for the sides of an unresolved conflict.
fn stage(entry: &git2::IndexEntry) -> u16 {
    (entry.flags >> 12) & 3
}

#[expect(clippy::cast_sign_loss, reason = "the library widens what the file holds as unsigned")]
fn from_library(entry: &git2::IndexEntry) -> Entry {
    let time = |time: &git2::IndexTime| (time.seconds() as u32, time.nanoseconds());
    let stat = Stat {
        changed: time(&entry.ctime),
        modified: time(&entry.mtime),
        inode: entry.ino,
        size: entry.file_size,
    };
    let known = stat.modified != (0, 0) && entry.flags & 0x8000 == 0;
    Entry {
        path: entry.path.clone().into_boxed_slice(),
        blob: Blob { mode: entry.mode, id: entry.id },
        stat: known.then_some(stat),
    }
}

/// What a node has in its own index beyond what is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::git) struct Staged {
    pub blob: Blob,
    /// Meant to be absent from the disk.
    pub skipped: bool,
}

/// Reads an index that a node may have changed; conflicts count with one of their sides. `None` when it makes no sense.
pub(in crate::git) fn staged(path: &Path) -> Option<BTreeMap<Vec<u8>, Staged>> {
    std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let index = git2::Index::open(path).ok()?;
    let entry = |entry: git2::IndexEntry| {
        let skipped = entry.flags_extended & SKIP_WORKTREE != 0;
        (entry.path, Staged { blob: Blob { mode: entry.mode, id: entry.id }, skipped })
    };
    Some(index.iter().map(entry).filter(|(path, _)| is_safe(path)).collect())
}

/// The mode under which git keeps a file.
pub(in crate::git) fn mode_of(meta: &std::fs::Metadata) -> u32 {
    if meta.is_symlink() {
        MODE_SYMLINK
    } else if meta.mode() & 0o100 != 0 {
        MODE_EXECUTABLE
    } else {
        super::diff::MODE_FILE
    }
}

#[cfg(test)]
mod tests {
    use git2::Oid;

    use super::*;
    use crate::git::diff::MODE_FILE;

    fn entry(path: &str, number: u8) -> Entry {
        let id = Oid::from_bytes(&[number; 20]).unwrap();
        let number = u32::from(number);
        let stat = Stat { changed: (number, 1), modified: (number, 2), inode: number, size: number };
        Entry { path: path.as_bytes().into(), blob: Blob { mode: MODE_FILE, id }, stat: Some(stat) }
    }

    fn manifest(paths: &[&str]) -> Manifest {
        Manifest { entries: paths.iter().map(|path| entry(path, 1)).collect(), ..Manifest::default() }
    }

    fn paths(manifest: &Manifest) -> Vec<String> {
        manifest.entries.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
    }

    #[test]
    fn changes_are_put_in_their_places() {
        let mut list = manifest(&["a", "b/c", "d"]);
        let changes = [("0", true), ("a", false), ("b/c", true), ("b/d", true), ("none", false), ("z", true)];
        let change = |(path, put): (&str, bool)| (path.as_bytes().to_vec(), put.then(|| entry(path, 2)));
        list.apply(changes.into_iter().map(change).collect());
        assert_eq!(paths(&list), ["0", "b/c", "b/d", "d", "z"]);
        assert_eq!(list.get(b"b/c").unwrap(), &entry("b/c", 2));
    }

    #[test]
    fn what_is_below_a_directory_is_one_range() {
        let list = manifest(&["a", "a-b", "a/b", "a/c/d", "a0", "b"]);
        let below = |directory: &str| list.below(directory.as_bytes());
        assert_eq!((below("a"), below("a/c"), below("x"), below("")), (2..4, 3..4, 6..6, 0..6));
    }

    #[test]
    fn what_is_encoded_is_read_back_by_the_library() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        let mut list = manifest(&["a", "b/\u{e9}\n", "c"]);
        list.entries.push(entry(&format!("{}end", "long/".repeat(1000)), 7));
        list.entries.push(Entry { stat: None, ..entry("x", 3) });
        crate::disk::replace(&path, &encode(&list.entries, &[]), crate::disk::Durability::Crash).unwrap();
        let loaded = Manifest::load(&path).unwrap().entries;
        assert!(loaded == list.entries, "{} of {} entries", loaded.len(), list.entries.len());
        let bytes = std::fs::read(&path).unwrap();
        assert!(decode(&bytes[..bytes.len() - 20]).unwrap() == list.entries);
        for end in (0..bytes.len() - 20).step_by(7) {
            assert!(decode(&bytes[..end]).is_none(), "cut at {end}");
        }
        assert_eq!(staged(&path).unwrap().len(), 5);
        assert!(Manifest::load(&directory.path().join("none")).is_none());
    }

    #[test]
    fn entries_that_changed_are_written_in_their_places() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        let inode = || std::fs::metadata(&path).unwrap().ino();
        let mut list = manifest(&["a", "b/c", "d", "e"]);
        list.put(&path, &[]).unwrap();
        let first = inode();
        let change =
            |(path, number)| (Vec::from(path), Some(entry(std::str::from_utf8(path).unwrap(), number)));
        list.apply([(&b"b/c"[..], 5), (b"e", 6)].map(change).into());
        list.set_stat(0, None);
        list.put(&path, &[]).unwrap();
        assert!(inode() == first && std::fs::read(&path).unwrap() == encode(&list.entries, &[]));
        // A process that reads it goes on in the same way; what changes the places does not.
        let mut list = Manifest::load(&path).unwrap();
        list.set_stat(0, Some(entry("a", 9).stat.unwrap()));
        list.put(&path, &[]).unwrap();
        assert!(inode() == first && std::fs::read(&path).unwrap() == encode(&list.entries, &[]));
        list.apply(BTreeMap::from([(b"b/c".to_vec(), None)]));
        list.put(&path, &[]).unwrap();
        assert!(inode() != first && std::fs::read(&path).unwrap() == encode(&list.entries, &[]));
    }

    #[test]
    fn a_file_that_is_not_ours_alone_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("index"), directory.path().join("other"));
        let mut list = manifest(&["a", "b"]);
        list.put(&path, &[]).unwrap();
        let before = encode(&list.entries, &[]);
        std::fs::hard_link(&path, &other).unwrap();
        list.set_stat(0, None);
        list.put(&path, &[]).unwrap();
        assert!(
            std::fs::read(&other).unwrap() == before
                && std::fs::read(&path).unwrap() == encode(&list.entries, &[])
        );
        crate::disk::replace(&path, b"a node's", Durability::Crash).unwrap();
        list.set_stat(1, None);
        list.put(&path, &[]).unwrap();
        assert!(std::fs::read(&path).unwrap() == encode(&list.entries, &[]));
    }
}
