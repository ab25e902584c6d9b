//! Reads back what a node left in its slot, as a tree: tracked files as they are on disk, and new files that git does not
//! ignore. What `git add -A && git write-tree` would give, except that a repository inside the slot is left out (git
//! would record its commit and lose its files), and that pipes and sockets are no obstacle.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use git2::{ObjectType, Oid};

use super::diff::{Blob, MODE_SUBMODULE, MODE_SYMLINK};
use super::edit::{Edit, edit};
use super::filters::{self, Mentions};
use super::ignore::Ignore;
use super::index::{Entry, Manifest, Staged, Stat, mode_of, staged};
use super::untracked::untracked;
use super::walk::{Extra, ExtraKind, is_git_name, is_safe, walk};
use super::workspace::{Disk, Known, Workspace};
use super::{GitError, TreeId, command, files};
use crate::disk::DiskError;

/// Files above this many bytes are not held in memory.
const LARGE: u64 = 16 << 20;

/// A tree, and the repositories inside the slot that are not part of it.
pub(in crate::git) struct Taken {
    pub tree: TreeId,
    pub skipped: Vec<String>,
}

/// Reads the slot back. `known` is as its bring-up left it, and becomes what the slot holds now. `index` is the stat data
/// of the index file as the bring-up left it: if the node changed it, what the node tracks counts.
///
/// # Errors
/// When a file cannot be read, a filter fails, or an object cannot be written.
pub(in crate::git) fn capture(
    slot: &Workspace<'_>,
    known: &mut Known,
    base: TreeId,
    index: Option<Stat>,
) -> Result<Taken, GitError> {
    let found = walk(slot.root, &known.manifest, &[])?;
    let mut taker = Taker {
        slot,
        manifest: &known.manifest,
        ignore: Ignore::new(slot.root, slot.settings.ignore.clone()),
        staged: node_index(slot, index),
        changes: BTreeMap::new(),
        read: Vec::new(),
        skipped: Vec::new(),
        leftovers: Vec::new(),
        is_as_listed: true,
    };
    taker.missing(&found.missing);
    taker.submodules(&found.submodules);
    taker.read.extend(found.suspect.iter().map(|position| taker.manifest.entries[*position].path.to_vec()));
    taker.no_longer_tracked(&found.missing);
    taker.untracked(&found.extra)?;
    taker.tracked_by_node();
    taker.read_all()?;
    let Taker { changes, skipped, leftovers, is_as_listed, .. } = taker;
    let edits = edits(&known.manifest, &changes);
    let tree = edit(slot.repo, base, &edits)?;
    let attributes_change = changes.keys().any(|path| filters::is_attributes(path));
    known.manifest.apply(changes);
    // With a part of the tree, the list is no tree's.
    known.tree = slot.cone.is_none().then_some(tree);
    if attributes_change {
        // Other files may have to be written in another way now.
        known.manifest.distrust();
    }
    let is_left = |path: &Vec<u8>| {
        known.manifest.below(path).is_empty() && std::fs::symlink_metadata(slot.absolute(path)).is_ok()
    };
    let is_as_listed = is_as_listed && !attributes_change && !leftovers.iter().any(is_left);
    known.disk = if is_as_listed { Disk::AsListed } else { Disk::Unknown };
    Ok(Taken { tree, skipped })
}

/// What really changes: a file that was only touched does not.
fn edits(manifest: &Manifest, changes: &BTreeMap<Vec<u8>, Option<Entry>>) -> Vec<Edit> {
    let new = changes.iter().map(|(path, entry)| (path, entry.as_ref().map(|entry| entry.blob)));
    let real = new.filter(|(path, blob)| manifest.get(path).map(|entry| entry.blob) != *blob);
    real.map(|(path, blob)| (path.clone(), blob)).collect()
}

/// The node's own index, if it is not as we left it.
fn node_index(slot: &Workspace<'_>, ours: Option<Stat>) -> Option<BTreeMap<Vec<u8>, Staged>> {
    let meta = std::fs::symlink_metadata(slot.index()).ok()?;
    if !meta.is_file() || Some(Stat::of(&meta)) == ours {
        return None;
    }
    staged(&slot.index()).or_else(|| staged_by_git(slot))
}

/// The same from git, which knows more forms of the index than the library: split and sparse ones.
fn staged_by_git(slot: &Workspace<'_>) -> Option<BTreeMap<Vec<u8>, Staged>> {
    let printed = command::run(slot.git(), &["ls-files", "-z", "-t", "--stage"]).ok()?;
    let records = printed.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    records
        .map(|record| {
            // `H 100644 <id> 0\t<path>`
            let tab = record.iter().position(|byte| *byte == b'\t')?;
            let facts = std::str::from_utf8(&record[..tab]).ok()?;
            let mut facts = facts.split(' ');
            let skipped = facts.next()? == "S";
            let mode = u32::from_str_radix(facts.next()?, 8).ok()?;
            let id = Oid::from_str(facts.next()?).ok()?;
            Some((record[tab + 1..].to_vec(), Staged { blob: Blob { mode, id }, skipped }))
        })
        .filter(|record| record.as_ref().is_none_or(|(path, _)| is_safe(path)))
        .collect()
}

struct Taker<'a> {
    slot: &'a Workspace<'a>,
    manifest: &'a Manifest,
    ignore: Ignore,
    staged: Option<BTreeMap<Vec<u8>, Staged>>,
    changes: BTreeMap<Vec<u8>, Option<Entry>>,
    /// Paths whose content has to be read.
    read: Vec<Vec<u8>>,
    skipped: Vec<String>,
    /// What is on disk and in no list, unless files below it are: empty directories, pipes, repositories.
    leftovers: Vec<Vec<u8>>,
    /// Whether a checkout of the result would give what is on disk, as far as files go.
    is_as_listed: bool,
}

impl Taker<'_> {
    fn missing(&mut self, positions: &[usize]) {
        for position in positions {
            let path = self.manifest.entries[*position].path.to_vec();
            self.leftovers
                .extend(path.iter().rposition(|byte| *byte == b'/').map(|slash| path[..slash].to_vec()));
            let kept = self.staged_at(&path).filter(|staged| staged.skipped);
            self.is_as_listed &= kept.is_none();
            let entry = kept.map(|staged| entry(&path, staged.blob, None));
            self.changes.insert(path, entry);
        }
    }

    /// A submodule that the node populated counts with the commit that it is at.
    fn submodules(&mut self, positions: &[usize]) {
        for position in positions {
            let path = &self.manifest.entries[*position].path;
            if let Some(id) = commit_of(&self.slot.absolute(path)) {
                let blob = Blob { mode: MODE_SUBMODULE, id };
                self.changes.insert(path.to_vec(), Some(entry(path, blob, None)));
            }
            self.is_as_listed = false;
        }
    }

    /// `git rm --cached` on a file that is then ignored.
    fn no_longer_tracked(&mut self, missing: &[usize]) {
        let Some(staged) = &self.staged else { return };
        let missing: HashSet<usize> = missing.iter().copied().collect();
        for (position, entry) in self.manifest.entries.iter().enumerate() {
            let path = &*entry.path;
            if !staged.contains_key(path)
                && !missing.contains(&position)
                && self.ignore.is_ignored(path, false)
            {
                self.read.retain(|read| **read != *path);
                self.changes.insert(path.to_vec(), None);
            }
        }
    }

    fn untracked(&mut self, extras: &[Extra]) -> Result<(), GitError> {
        let Self { slot, ignore, staged, read, skipped, leftovers, .. } = self;
        let is_submodule = |path: &[u8]| {
            let staged = staged.as_ref().and_then(|staged| staged.get(path));
            staged.is_some_and(|staged| staged.blob.mode == MODE_SUBMODULE)
        };
        untracked(slot.root, ignore, extras, &mut |path, kind| {
            if matches!(kind, ExtraKind::File | ExtraKind::Symlink) {
                read.push(path.to_vec());
                return Ok(());
            }
            if kind == ExtraKind::Special {
                // Nobody is at its other end any more.
                return Ok(files::clear(&slot.absolute(path))?);
            }
            leftovers.push(path.to_vec());
            if kind == ExtraKind::Repository && !is_submodule(path) && !is_git_name(path) {
                skipped.push(String::from_utf8_lossy(path).into_owned());
            }
            Ok(())
        })
    }

    /// What the node tracks although it is ignored (`git add -f`), and submodules that it added.
    fn tracked_by_node(&mut self) {
        let Some(staged) = &self.staged else { return };
        let already: HashSet<&[u8]> = self.read.iter().map(|path| &**path).collect();
        let mut forced = Vec::new();
        for (path, staged) in staged {
            if self.manifest.get(path).is_some() || already.contains(&**path) {
                continue;
            }
            let Some(meta) = real(self.slot.root, path) else { continue };
            if staged.blob.mode == MODE_SUBMODULE && meta.is_dir() {
                let id = commit_of(&self.slot.absolute(path)).unwrap_or(staged.blob.id);
                let blob = Blob { mode: MODE_SUBMODULE, id };
                self.changes.insert(path.clone(), Some(entry(path, blob, None)));
            } else if meta.is_file() || meta.is_symlink() {
                forced.push(path.clone());
            }
        }
        self.read.extend(forced);
    }

    fn staged_at(&self, path: &[u8]) -> Option<Staged> {
        self.staged.as_ref()?.get(path).copied()
    }

    fn read_all(&mut self) -> Result<(), GitError> {
        let mentions = self.mentions();
        let read = std::mem::take(&mut self.read);
        let converted = match mentions.conversions {
            true => filters::converted(self.slot.git(), &read)?,
            false => HashSet::new(),
        };
        let mut through_git = Vec::new();
        for path in read {
            let Some((stat, meta)) = self.slot.stat(&path) else { continue };
            let mode = mode_of(&meta);
            let blob = if mode == MODE_SYMLINK {
                Some(self.read_link(&path)?)
            } else if converted.contains(&path) {
                None
            } else {
                self.read_file(&path, meta.len(), mentions)?
            };
            match blob {
                Some(id) => {
                    let entry = entry(&path, Blob { mode, id }, Some(stat));
                    self.changes.insert(path, Some(entry));
                }
                None => through_git.push((path, mode)),
            }
        }
        let paths: Vec<Vec<u8>> = through_git.iter().map(|(path, ..)| path.clone()).collect();
        let ids = filters::hash(self.slot.git(), &paths)?;
        for ((path, mode), id) in through_git.into_iter().zip(ids) {
            // Git may write it otherwise than it is now.
            self.is_as_listed = false;
            let entry = entry(&path, Blob { mode, id }, None);
            self.changes.insert(path, Some(entry));
        }
        Ok(())
    }

    /// What the attribute files that are on disk now ask for.
    fn mentions(&self) -> Mentions {
        let mut mentions = self.slot.settings.mentions;
        let tracked = self.manifest.entries.iter().map(|entry| &*entry.path);
        let all = tracked.chain(self.read.iter().map(|path| &**path));
        for path in all.filter(|path| filters::is_attributes(path)) {
            mentions.add(&files::read_plain(&self.slot.absolute(path)));
        }
        mentions.text |= self.slot.settings.converts_line_ends;
        mentions
    }

    fn read_link(&self, path: &[u8]) -> Result<Oid, GitError> {
        let target = self.slot.absolute(path);
        let link = std::fs::read_link(&target).map_err(|error| DiskError::new("read", &target, error))?;
        self.blob(link.as_os_str().as_bytes())
    }

    /// The content of a file as an object; `None` when its line ends are for git to judge.
    fn read_file(&self, path: &[u8], size: u64, mentions: Mentions) -> Result<Option<Oid>, GitError> {
        let target = self.slot.absolute(path);
        let fail = |source| DiskError::new("read", &target, source);
        let mut file = open(&target).map_err(fail)?;
        if size > LARGE {
            return if mentions.text { Ok(None) } else { self.stream(&mut file, size, &target).map(Some) };
        }
        let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        file.read_to_end(&mut content).map_err(fail)?;
        if mentions.text && content.contains(&b'\r') {
            return Ok(None);
        }
        self.blob(&content).map(Some)
    }

    fn stream(&self, file: &mut File, size: u64, target: &Path) -> Result<Oid, GitError> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let library =
            |error| GitError::writing(self.slot.repo, &format!("store `{}`", target.display()), size)(error);
        let odb = self.slot.repo.raw.odb().map_err(library)?;
        let mut writer = odb.writer(size, ObjectType::Blob).map_err(library)?;
        let mut buffer = vec![0; 1 << 20];
        let fail = |source| DiskError::new("read", target, source);
        loop {
            let count = file.read(&mut buffer).map_err(fail)?;
            if count == 0 {
                return writer.finalize().map_err(library);
            }
            writer
                .write_all(&buffer[..count])
                .map_err(|error| library(git2::Error::from_str(&error.to_string())))?;
        }
    }

    fn blob(&self, content: &[u8]) -> Result<Oid, GitError> {
        self.slot.repo.raw.blob(content).map_err(GitError::writing(
            self.slot.repo,
            "store a file",
            content.len(),
        ))
    }
}

fn entry(path: &[u8], blob: Blob, stat: Option<Stat>) -> Entry {
    Entry { path: path.into(), blob, stat }
}

/// The file at a path of which no part is a symlink.
fn real(root: &Path, path: &[u8]) -> Option<std::fs::Metadata> {
    let lstat = |path: &[u8]| std::fs::symlink_metadata(root.join(std::ffi::OsStr::from_bytes(path))).ok();
    let slashes = (0..path.len()).filter(|position| path[*position] == b'/');
    for slash in slashes {
        lstat(&path[..slash]).filter(std::fs::Metadata::is_dir)?;
    }
    lstat(path)
}

/// The commit that a repository in a directory of its own is at.
fn commit_of(directory: &Path) -> Option<Oid> {
    let none: [&Path; 0] = [];
    let flags = git2::RepositoryOpenFlags::NO_SEARCH;
    git2::Repository::open_ext(directory, flags, none).ok()?.head().ok()?.target()
}

/// Opens a file of ours, also when the node took away our right to read it.
fn open(path: &Path) -> std::io::Result<File> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let mode = std::fs::symlink_metadata(path)?.permissions().mode();
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode | 0o400))?;
            File::open(path)
        }
        other => other,
    }
}
