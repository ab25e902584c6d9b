//! Brings a slot to a commit and reads it back with the `git` command alone: slower, and right where names, modes or line
//! ends are not kept as they are, or where objects may have to be fetched first.

use super::capture::Taken;
use super::diff::MODE_SUBMODULE;
use super::ignore::Ignore;
use super::index::{Manifest, staged};
use super::untracked::untracked;
use super::walk::{ExtraKind, is_git_name, walk};
use super::workspace::Workspace;
use super::{CommitId, GitError, command, files};
use crate::disk::{self, Durability};
use crate::process::Tool;

/// # Errors
/// When git fails.
pub(in crate::git) fn bring(slot: &Workspace<'_>, commit: CommitId) -> Result<(), GitError> {
    files::open_up_all(slot.root);
    clear_special(slot)?;
    let is_partial = || staged(&slot.index()).is_some_and(|index| index.values().any(|entry| entry.skipped));
    match slot.cone {
        Some(cone) => {
            disk::create_directory(&slot.admin.join("info"))?;
            let patterns = cone.patterns();
            disk::replace(&slot.admin.join("info/sparse-checkout"), &patterns, Durability::Crash)?;
        }
        // Git would leave out what an earlier lease was not to hold.
        None if is_partial() => disk::remove(&slot.index())?,
        None => {}
    }
    let reset = || command::run(with_cone(slot), &["reset", "--hard", "-q", &commit.to_string()]);
    if reset().is_err() {
        // The node may have left an index that git cannot read.
        disk::remove(&slot.index())?;
        reset()?;
    }
    command::run(slot.git(), &["clean", "-ffdq"])?;
    // What git leaves: pipes, the files of submodules, and repositories in tracked directories.
    for stray in strays(slot)? {
        let path = slot.absolute(&stray.path);
        files::clear(&path)?;
        if stray.kind == StrayKind::Submodule {
            disk::create_directory(&path)?;
        }
    }
    Ok(())
}

/// Git as it has to be told to fill the slot.
fn with_cone(slot: &Workspace<'_>) -> Tool {
    match slot.cone {
        Some(_) => slot.git().args(["-c", "core.sparseCheckout=true", "-c", "core.sparseCheckoutCone=true"]),
        None => slot.git(),
    }
}

/// What the node made at paths that the slot was not to hold is to be looked at like everything else.
fn present_after_all(slot: &Workspace<'_>) -> Result<(), GitError> {
    let absent = staged(&slot.index()).unwrap_or_default().into_iter().filter(|(_, entry)| entry.skipped);
    let is_there = |path: &Vec<u8>| std::fs::symlink_metadata(slot.absolute(path)).is_ok();
    let made: Vec<u8> =
        absent.map(|(path, _)| path).filter(is_there).flat_map(|path| [path, vec![0]].concat()).collect();
    if !made.is_empty() {
        let arguments = ["update-index", "--no-skip-worktree", "-z", "--stdin"];
        command::run(slot.git().input(made), &arguments)?;
    }
    Ok(())
}

/// # Errors
/// When git fails.
pub(in crate::git) fn capture(slot: &Workspace<'_>, commit: CommitId) -> Result<Taken, GitError> {
    files::open_up_all(slot.root);
    clear_special(slot)?;
    let tracked = staged(&slot.index()).unwrap_or_default();
    let is_submodule =
        |path: &Vec<u8>| tracked.get(path).is_some_and(|entry| entry.blob.mode == MODE_SUBMODULE);
    let nested = strays(slot)?.into_iter().filter(|stray| stray.kind == StrayKind::Repository);
    let mut nested: Vec<Vec<u8>> =
        nested.map(|stray| stray.path).filter(|path| !is_submodule(path)).collect();
    nested.sort();
    let lossy = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    let but = nested.iter().map(|path| format!(":(exclude,literal){}", lossy(path)));
    let skipped = nested.iter().filter(|path| !is_git_name(path)).map(lossy).collect();
    if !slot.index().exists() {
        read_tree(slot, commit)?;
    }
    if slot.cone.is_some() {
        present_after_all(slot)?;
    }
    let add: Vec<String> = ["add", "-A", "--", "."].map(str::to_owned).into_iter().chain(but).collect();
    let add: Vec<&str> = add.iter().map(String::as_str).collect();
    if let Err(first) = command::run(slot.git(), &add) {
        // The node may have left an index that git cannot read.
        disk::remove(&slot.index())?;
        read_tree(slot, commit)?;
        command::run(slot.git(), &add).map_err(|_| first)?;
    }
    let tree = command::run(slot.git(), &["write-tree"])?;
    let tree = String::from_utf8_lossy(&tree).trim().parse();
    let tree =
        tree.map_err(|_| GitError::Slot { path: slot.root.to_owned(), why: "gave no tree".to_owned() })?;
    Ok(Taken { tree, skipped })
}

fn read_tree(slot: &Workspace<'_>, commit: CommitId) -> Result<(), GitError> {
    command::run(slot.git(), &["read-tree", &commit.to_string()]).map(drop)
}

/// Pipes and the like go first: git would wait for ever for one that is named as an attribute file.
fn clear_special(slot: &Workspace<'_>) -> Result<(), GitError> {
    let special = strays(slot)?.into_iter().filter(|stray| stray.kind == StrayKind::Special);
    special.into_iter().try_for_each(|stray| Ok(files::clear(&slot.absolute(&stray.path))?))
}

struct Stray {
    path: Vec<u8>,
    kind: StrayKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StrayKind {
    Submodule,
    Repository,
    Special,
}

/// What git neither keeps nor clears: submodules with files, repositories that are no submodules, pipes and the like.
fn strays(slot: &Workspace<'_>) -> Result<Vec<Stray>, GitError> {
    let manifest = Manifest::load(&slot.index()).unwrap_or_default();
    let found = walk(slot.root, &manifest, &[])?;
    let mut ignore = Ignore::new(slot.root, slot.settings.ignore.clone());
    let populated = found.submodules.iter().map(|position| manifest.entries[*position].path.to_vec());
    let mut strays: Vec<Stray> = populated.map(|path| Stray { path, kind: StrayKind::Submodule }).collect();
    untracked(slot.root, &mut ignore, &found.extra, &mut |path, kind| {
        let kind = match kind {
            ExtraKind::Repository => StrayKind::Repository,
            ExtraKind::Special => StrayKind::Special,
            ExtraKind::File | ExtraKind::Symlink | ExtraKind::Directory => return Ok(()),
        };
        strays.push(Stray { path: path.to_vec(), kind });
        Ok(())
    })?;
    Ok(strays)
}
