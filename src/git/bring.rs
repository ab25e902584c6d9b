//! Brings a slot's files to a tree by writing only what differs: tracked files as in the tree, nothing untracked, ignored
//! files kept. The result cannot be told from a fresh checkout, but for the ignored files.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use git2::{ObjectType, Oid};

use super::diff::{self, Blob, Difference, MODE_SYMLINK};
use super::files::Files;
use super::filters;
use super::ignore::Ignore;
use super::index::{Entry, Manifest, Stat, mode_of};
use super::untracked::untracked;
use super::walk::{Extra, ExtraKind, Walk, is_safe, walk};
use super::workspace::{Disk, Known, Workspace};
use super::{Cone, GitError, Repo, TreeId};

/// From so many files on, writing is shared between threads.
const MANY: usize = 256;

/// What a path shall hold; `None`: nothing.
type Wanted = BTreeMap<Vec<u8>, Option<Blob>>;

/// Brings the slot to the tree and writes its index. `known` is what it holds as far as anyone can tell.
///
/// # Errors
/// When an object is missing, the disk refuses, or a filter fails.
pub(in crate::git) fn bring(slot: &Workspace<'_>, known: Known, tree: TreeId) -> Result<Known, GitError> {
    let Known { mut manifest, tree: before, disk } = known;
    let mut absent = Vec::new();
    let mut wanted = match (before, slot.cone) {
        (Some(before), None) => difference(slot.repo, before, tree)?,
        (_, cone) => everything(slot.repo, &manifest, tree, cone, &mut absent)?,
    };
    if let Some(path) =
        wanted.iter().find(|(path, blob)| blob.is_some() && !is_safe(path)).map(|(path, _)| path)
    {
        let path = String::from_utf8_lossy(path).into_owned();
        return Err(GitError::UnsafePath { tree, path });
    }
    let old_mentions = slot.mentions_of(files_of(&manifest))?;
    let rules_change = wanted.keys().any(|path| path.ends_with(b".gitignore"));
    let found = match disk {
        Disk::AsListed if !rules_change => Walk::default(),
        Disk::AsListed | Disk::Unknown => walk(slot.root, &manifest, &[])?,
    };
    let attributes = wanted.iter().filter(|(path, _)| filters::is_attributes(path));
    let new: Vec<(&[u8], Blob)> = attributes.filter_map(|(path, blob)| Some((&**path, (*blob)?))).collect();
    let new_mentions = slot.mentions_of(new.into_iter())?;
    let attributes_change = wanted.keys().any(|path| filters::is_attributes(path));
    if attributes_change && (old_mentions.on_writing() || new_mentions.on_writing()) {
        want_all(&manifest, &mut wanted);
    }
    let missing = restore(slot, &mut manifest, &found, &mut wanted, old_mentions.on_writing())?;
    let mut writer = Files::new(slot.repo, slot.root);
    for (path, blob) in &wanted {
        match blob {
            None if missing.contains(path) => writer.remove_empty_parents(path),
            None => writer.remove(path)?,
            Some(_) => {}
        }
    }
    for position in &found.submodules {
        writer.clear(&manifest.entries[*position].path)?;
    }
    write(slot, &mut manifest, wanted)?;
    clean(slot, &manifest, found)?;
    manifest.put(&slot.index(), &absent)?;
    Ok(Known { manifest, tree: slot.cone.is_none().then_some(tree), disk: Disk::Unknown })
}

fn files_of(manifest: &Manifest) -> impl Iterator<Item = (&[u8], Blob)> {
    manifest.entries.iter().map(|entry| (&*entry.path, entry.blob))
}

/// What differs between the tree that the slot has and the one that it shall have.
fn difference(repo: &Repo, old: TreeId, new: TreeId) -> Result<Wanted, GitError> {
    let mut wanted = Wanted::new();
    diff::walk(repo, Some(old), Some(new), &mut |difference: &Difference<'_>| {
        // A file that becomes a directory is two differences at two paths, never two at one.
        wanted.insert(difference.path.to_vec(), difference.new);
        ControlFlow::Continue(())
    })?;
    Ok(wanted)
}

/// The same when the list is no tree's. What the slot is not to hold of the tree is `absent`.
fn everything(
    repo: &Repo,
    manifest: &Manifest,
    tree: TreeId,
    cone: Option<&Cone>,
    absent: &mut Vec<Entry>,
) -> Result<Wanted, GitError> {
    let mut wanted: Wanted = manifest.entries.iter().map(|entry| (entry.path.to_vec(), None)).collect();
    diff::walk(repo, None, Some(tree), &mut |difference: &Difference<'_>| {
        if let (Some(blob), false) = (difference.new, cone.is_none_or(|cone| cone.holds(difference.path))) {
            absent.push(Entry { path: difference.path.into(), blob, stat: None });
        } else if manifest.get(difference.path).map(|entry| entry.blob) == difference.new {
            wanted.remove(difference.path);
        } else {
            wanted.insert(difference.path.to_vec(), difference.new);
        }
        ControlFlow::Continue(())
    })?;
    Ok(wanted)
}

fn want_all(manifest: &Manifest, wanted: &mut Wanted) {
    for entry in &manifest.entries {
        wanted.entry(entry.path.to_vec()).or_insert(Some(entry.blob));
    }
}

/// Adds what has to be put back where the disk differs from the list; gives the paths that are not there now.
fn restore(
    slot: &Workspace<'_>,
    manifest: &mut Manifest,
    found: &Walk,
    wanted: &mut Wanted,
    is_converted: bool,
) -> Result<HashSet<Vec<u8>>, GitError> {
    for position in found.suspect.iter().copied() {
        let entry = &manifest.entries[position];
        if wanted.contains_key(&*entry.path) {
            continue;
        }
        match unchanged(slot, entry) {
            Some(stat) if !is_converted => manifest.set_stat(position, Some(stat)),
            _ => {
                wanted.insert(entry.path.to_vec(), Some(entry.blob));
            }
        }
    }
    let mut missing = HashSet::new();
    for position in found.missing.iter().chain(&found.submodules).copied() {
        let entry = &manifest.entries[position];
        wanted.entry(entry.path.to_vec()).or_insert(Some(entry.blob));
    }
    missing.extend(found.missing.iter().map(|position| manifest.entries[*position].path.to_vec()));
    Ok(missing)
}

/// Whether a file has the content and mode it should, although its stat data does not prove it.
fn unchanged(slot: &Workspace<'_>, entry: &Entry) -> Option<Stat> {
    let (stat, meta) = slot.stat(&entry.path)?;
    if mode_of(&meta) != entry.blob.mode {
        return None;
    }
    let path = slot.absolute(&entry.path);
    let id = if entry.blob.mode == MODE_SYMLINK {
        use std::os::unix::ffi::OsStrExt;
        Oid::hash_object(ObjectType::Blob, std::fs::read_link(path).ok()?.as_os_str().as_bytes())
    } else {
        Oid::hash_file(ObjectType::Blob, path)
    };
    (id.ok()? == entry.blob.id).then_some(stat)
}

/// Writes files and records them. Attribute files come first, because they say how the others are written.
fn write(slot: &Workspace<'_>, manifest: &mut Manifest, wanted: Wanted) -> Result<(), GitError> {
    let mut entries: BTreeMap<Vec<u8>, Option<Entry>> = BTreeMap::new();
    let mut puts = Vec::new();
    for (path, blob) in wanted {
        if let Some(blob) = blob {
            puts.push((path.clone(), blob));
        }
        entries
            .insert(path.clone(), blob.map(|blob| Entry { path: path.into_boxed_slice(), blob, stat: None }));
    }
    manifest.apply(entries);
    let mut converted = HashSet::new();
    if slot.mentions_of(files_of(manifest))?.on_writing() {
        let (first, rest): (Vec<_>, Vec<_>) =
            puts.into_iter().partition(|(path, _)| filters::is_attributes(path));
        record(manifest, write_all(slot, &first)?);
        let paths: Vec<Vec<u8>> = rest.iter().map(|(path, _)| path.clone()).collect();
        converted = filters::converted(slot.git(), &paths)?;
        puts = rest;
    }
    let (through_git, plain): (Vec<_>, Vec<_>) =
        puts.into_iter().partition(|(path, blob)| converted.contains(path) && is_file(*blob));
    record(manifest, write_all(slot, &plain)?);
    if !through_git.is_empty() {
        // Made with our own code first, so that nothing that is in the way is followed.
        record(manifest, write_all(slot, &through_git)?);
        let paths: Vec<Vec<u8>> = through_git.into_iter().map(|(path, _)| path).collect();
        record(manifest, paths.iter().map(|path| (path.clone(), None)).collect());
        manifest.put(&slot.index(), &[])?;
        filters::write(slot.git(), &paths)?;
        let stats = paths.into_iter().map(|path| (slot.stat(&path).map(|(stat, _)| stat), path));
        record(manifest, stats.map(|(stat, path)| (path, stat)).collect());
    }
    Ok(())
}

fn is_file(blob: Blob) -> bool {
    matches!(blob.mode, diff::MODE_FILE | diff::MODE_EXECUTABLE)
}

fn record(manifest: &mut Manifest, stats: Vec<(Vec<u8>, Option<Stat>)>) {
    for (path, stat) in stats {
        if let Ok(position) = manifest.position(&path) {
            manifest.set_stat(position, stat);
        }
    }
}

type Written = Vec<(Vec<u8>, Option<Stat>)>;

fn write_all(slot: &Workspace<'_>, puts: &[(Vec<u8>, Blob)]) -> Result<Written, GitError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    if puts.len() < MANY || threads < 2 {
        return write_some(slot.repo, slot, puts);
    }
    Files::new(slot.repo, slot.root).prepare(puts.iter().map(|(path, _)| &**path))?;
    let (root, repo) = (slot.root, slot.repo.path());
    let share = |puts: &[(Vec<u8>, Blob)]| -> Result<Written, GitError> {
        let repo = Repo::open(repo)?;
        let mut files = Files::new(&repo, root);
        puts.iter().map(|(path, blob)| Ok((path.clone(), files.write(path, *blob)?))).collect()
    };
    std::thread::scope(|scope| {
        let parts = puts.chunks(puts.len().div_ceil(threads)).map(|part| scope.spawn(move || share(part)));
        let parts: Vec<_> = parts.collect();
        let mut all = Vec::with_capacity(puts.len());
        for part in parts {
            all.extend(part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

fn write_some(repo: &Repo, slot: &Workspace<'_>, puts: &[(Vec<u8>, Blob)]) -> Result<Written, GitError> {
    let mut files = Files::new(repo, slot.root);
    puts.iter().map(|(path, blob)| Ok((path.clone(), files.write(path, *blob)?))).collect()
}

/// Removes what is neither tracked nor ignored, by the rules that are on disk now.
fn clean(slot: &Workspace<'_>, manifest: &Manifest, found: Walk) -> Result<(), GitError> {
    let mut ignore = Ignore::new(slot.root, slot.settings.ignore.clone());
    let extras = still_extra(slot, manifest, found.extra)?;
    let mut files = Files::new(slot.repo, slot.root);
    untracked(slot.root, &mut ignore, &extras, &mut |path, kind| {
        if kind == ExtraKind::Directory {
            // Only if nothing ignored is left in it.
            let _kept = std::fs::remove_dir(slot.absolute(path));
        } else {
            files.clear(path)?;
        }
        files.remove_empty_parents(path);
        Ok(())
    })
}

/// What was no tracked file before, and is none now that files have been written.
fn still_extra(
    slot: &Workspace<'_>,
    manifest: &Manifest,
    extras: Vec<Extra>,
) -> Result<Vec<Extra>, GitError> {
    let (mut rest, mut still) = (extras, Vec::new());
    while let Some(extra) = rest.pop() {
        match (manifest.below(&extra.path).is_empty(), extra.kind) {
            (false, ExtraKind::Directory) => rest.extend(walk(slot.root, manifest, &extra.path)?.extra),
            // It stood in the way of a directory and is gone.
            (false, _) => {}
            (true, _) if manifest.get(&extra.path).is_some() => {}
            (true, _) => still.push(extra),
        }
    }
    Ok(still)
}
