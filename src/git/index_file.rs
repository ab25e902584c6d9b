//! Git's index file, in the form in which we write it, and writing single entries of it in their places. Knows nothing of
//! how the list comes about, and reads no other form: the library does.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::diff::Blob;
use super::index::{Entry, SKIP_WORKTREE, Stat};
use super::walk::is_safe;

/// The bytes of an index file, version 2, without extensions, or version 3 with files that are tracked and meant to be
/// absent from the disk; both in path order. The checksum is left empty, which git takes since long, and which spares
/// hashing the whole.
pub(in crate::git) fn encode(entries: &[Entry], absent: &[Entry]) -> Vec<u8> {
    let count = entries.len() + absent.len();
    let here = entries.iter().map(|entry| encoded_length(entry, Presence::Here));
    let length: usize = here.chain(absent.iter().map(|entry| encoded_length(entry, Presence::Absent))).sum();
    let mut bytes = Vec::with_capacity(HEADER + length + 20);
    bytes.extend_from_slice(b"DIRC");
    let version = if absent.is_empty() { 2 } else { 3 };
    put(&mut bytes, &[version, u32::try_from(count).unwrap_or(u32::MAX)]);
    let mut absent = absent.iter().peekable();
    for entry in entries {
        while let Some(before) = absent.next_if(|absent| absent.path < entry.path) {
            encode_entry(&mut bytes, before, Presence::Absent);
        }
        encode_entry(&mut bytes, entry, Presence::Here);
    }
    absent.for_each(|entry| encode_entry(&mut bytes, entry, Presence::Absent));
    bytes.extend_from_slice(&[0; 20]);
    bytes
}

/// Writes some entries over those of the file. Killed at any moment, it leaves no entry whose stat data vouches for
/// content that it does not have: the time of modification, without which the rest proves nothing, comes last.
pub(in crate::git) fn patch(file: &File, entries: &[Entry], stale: &[usize]) -> io::Result<()> {
    const MODIFIED: std::ops::Range<usize> = 8..16;
    let mut places = Vec::with_capacity(stale.len());
    let (mut offset, mut next) = (HEADER, stale.iter().copied().peekable());
    for (position, entry) in entries.iter().enumerate() {
        if next.next_if_eq(&position).is_some() {
            places.push((offset, entry));
        }
        if next.peek().is_none() {
            break;
        }
        offset += encoded_length(entry, Presence::Here);
    }
    let mut bytes = Vec::new();
    let mut encode = |entry: &Entry| {
        bytes.clear();
        encode_entry(&mut bytes, entry, Presence::Here);
        bytes[..FIXED].to_vec()
    };
    for (offset, entry) in &places {
        let mut bytes = encode(entry);
        bytes[MODIFIED].fill(0);
        file.write_all_at(&bytes, *offset as u64)?;
    }
    for (offset, entry) in &places {
        file.write_all_at(&encode(entry)[MODIFIED], (*offset + MODIFIED.start) as u64)?;
    }
    Ok(())
}

/// Whether a tracked file is meant to be on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Here,
    Absent,
}

/// Bytes of an index file before its first entry, and of an entry before its path.
const HEADER: usize = 12;
const FIXED: usize = 62;

fn encoded_length(entry: &Entry, presence: Presence) -> usize {
    let flags = if presence == Presence::Absent { 2 } else { 0 };
    // One to eight zero bytes at the end, so that each entry has a multiple of eight bytes.
    (FIXED + flags + entry.path.len() + 8) / 8 * 8
}

/// Opens the index file to write into it, if it is the one that we left, and has no other name.
pub(in crate::git) fn open_same(path: &Path, stat: Stat) -> Option<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let open = OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(path).ok()?;
    let meta = open.metadata().ok()?;
    (meta.is_file() && meta.nlink() == 1 && Stat::of(&meta) == stat).then_some(open)
}

/// Reads what [`encode`] wrote, without its checksum. `None` for anything else, which the library may know.
pub(in crate::git) fn decode(bytes: &[u8]) -> Option<Vec<Entry>> {
    let number = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.try_into().ok()?));
    let (header, mut rest) = bytes.split_at_checked(HEADER)?;
    if header[..8] != *b"DIRC\0\0\0\x02" {
        return None;
    }
    let count = number(&header[8..])? as usize;
    let mut entries: Vec<Entry> = Vec::with_capacity(count.min(bytes.len() / FIXED));
    while !rest.is_empty() {
        let (fixed, names) = rest.split_at_checked(FIXED)?;
        let at = |position: usize| number(&fixed[position * 4..][..4]);
        let length = usize::from(u16::from_be_bytes([fixed[60], fixed[61]]));
        // Longer paths end at their first zero byte; flags and stages are for the library to read.
        let length = match length {
            0xfff => memchr::memchr(0, names)?,
            0..0xfff => length,
            _ => return None,
        };
        let path = names.get(..length)?;
        let follows = entries.last().is_none_or(|last| *last.path < *path);
        if !follows || !is_safe(path) || names.get(length) != Some(&0) {
            return None;
        }
        let stat =
            Stat { changed: (at(0)?, at(1)?), modified: (at(2)?, at(3)?), inode: at(5)?, size: at(9)? };
        let blob = Blob { mode: at(6)?, id: git2::Oid::from_bytes(&fixed[40..60]).ok()? };
        let stat = (stat.modified != (0, 0)).then_some(stat);
        let entry = Entry { path: path.into(), blob, stat };
        rest = rest.get(encoded_length(&entry, Presence::Here)..)?;
        entries.push(entry);
    }
    (entries.len() == count).then_some(entries)
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
    bytes.resize(start + encoded_length(entry, presence), 0);
}

fn put(bytes: &mut Vec<u8>, numbers: &[u32]) {
    bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
}
