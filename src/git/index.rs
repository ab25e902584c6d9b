//! The list of files in a slot with what git keeps of each (content id, mode, stat data), and git's index file, which is
//! its form on disk. Knows nothing of how the list comes about.
//!
//! A file whose stat data is as recorded has the recorded content, unless it was changed in the same clock tick in which
//! it was recorded. So a list has a `stamp`, a time read from a file written after it; what is not older than the stamp
//! is compared by content. This is git's own rule ("racily clean").

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::diff::{Blob, MODE_EXECUTABLE, MODE_SYMLINK};
use super::walk::is_safe;

/// The flag of an entry that is meant to be absent from the disk.
const SKIP_WORKTREE: u16 = 1 << 14;

/// Seconds and nanoseconds, as the file system gave them.
pub(in crate::git) type Time = (u32, u32);

/// What tells that a file is still the same, cut to 32 bits each as in git's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, Default)]
pub(in crate::git) struct Manifest {
    pub entries: Vec<Entry>,
    pub stamp: Time,
}

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
                (Ok(position), Some(entry)) => self.entries[position] = entry,
                (Err(_), None) => {}
                (found, change) => others.push((found, change)),
            }
        }
        if others.is_empty() {
            return;
        }
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

    /// Reads an index file, of whatever version. `None` when there is none that makes sense.
    pub fn load(path: &Path) -> Option<Self> {
        let meta = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        let stamp = Stat::of(&meta).modified;
        let index = git2::Index::open(path).ok()?;
        // What is meant to be absent from the disk is nothing that the slot holds.
        let is_held =
            |entry: &git2::IndexEntry| stage(entry) == 0 && entry.flags_extended & SKIP_WORKTREE == 0;
        let plain = index.iter().filter(|entry| is_held(entry) && is_safe(&entry.path));
        let mut entries: Vec<Entry> = plain.map(|entry| from_library(&entry)).collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Some(Self { entries, stamp })
    }

    /// The bytes of an index file, version 2, without extensions. Its checksum is left empty, which git takes since
    /// long, and which spares hashing the whole.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with(&[])
    }

    /// The same with files that are tracked and meant to be absent from the disk, in path order; version 3 if there are
    /// any.
    pub fn encode_with(&self, absent: &[Entry]) -> Vec<u8> {
        let count = self.entries.len() + absent.len();
        let mut bytes = Vec::with_capacity(64 + count * 112);
        bytes.extend_from_slice(b"DIRC");
        let version = if absent.is_empty() { 2 } else { 3 };
        put(&mut bytes, &[version, u32::try_from(count).unwrap_or(u32::MAX)]);
        let mut absent = absent.iter().peekable();
        for entry in &self.entries {
            while let Some(before) = absent.next_if(|absent| absent.path < entry.path) {
                encode_entry(&mut bytes, before, Presence::Absent);
            }
            encode_entry(&mut bytes, entry, Presence::Here);
        }
        absent.for_each(|entry| encode_entry(&mut bytes, entry, Presence::Absent));
        bytes.extend_from_slice(&[0; 20]);
        bytes
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

/// Whether a tracked file is meant to be on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Here,
    Absent,
}

fn encode_entry(bytes: &mut Vec<u8>, entry: &Entry, presence: Presence) {
    let start = bytes.len();
    let nothing = Stat { changed: (0, 0), modified: (0, 0), inode: 0, size: 0 };
    let stat = entry.stat.unwrap_or(nothing);
    let times = [stat.changed.0, stat.changed.1, stat.modified.0, stat.modified.1];
    put(bytes, &times);
    // Device, user and group are not compared by git unless it was built to; it fills them in when it refreshes.
    put(bytes, &[0, stat.inode, entry.blob.mode, 0, 0, stat.size]);
    bytes.extend_from_slice(entry.blob.id.as_bytes());
    let length = u16::try_from(entry.path.len().min(0xfff)).unwrap_or(0xfff);
    if presence == Presence::Absent {
        const EXTENDED: u16 = 1 << 14;
        bytes.extend_from_slice(&(length | EXTENDED).to_be_bytes());
        bytes.extend_from_slice(&SKIP_WORKTREE.to_be_bytes());
    } else {
        bytes.extend_from_slice(&length.to_be_bytes());
    }
    bytes.extend_from_slice(&entry.path);
    // One to eight zero bytes, so that each entry has a multiple of eight bytes.
    let padded = start + (bytes.len() - start + 8) / 8 * 8;
    bytes.resize(padded, 0);
}

fn put(bytes: &mut Vec<u8>, numbers: &[u32]) {
    bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
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
        Manifest { entries: paths.iter().map(|path| entry(path, 1)).collect(), stamp: (0, 0) }
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
        crate::disk::replace(&path, &list.encode(), crate::disk::Durability::Crash).unwrap();
        let loaded = Manifest::load(&path).unwrap().entries;
        assert!(loaded == list.entries, "{} of {} entries", loaded.len(), list.entries.len());
        assert_eq!(staged(&path).unwrap().len(), 5);
        assert!(Manifest::load(&directory.path().join("none")).is_none());
    }
}
