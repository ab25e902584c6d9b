//! Makes a directory a linked worktree of the repository, and keeps it one. Knows nothing of what is checked out.
//!
//! A linked worktree is a file `.git` in it and a small directory in `<common dir>/worktrees/`, in a format that git
//! documents (gitrepository-layout). We write both ourselves instead of calling `git worktree add`: the administrative
//! directory appears whole by one rename, so a kill at any moment leaves nothing half-made, nothing locked as
//! "initializing" and no orphan that still writes; parallel calls have nothing to fight over; and whatever a node broke
//! is put right by the same steps. Its name tells that it is ours, and no other is ever touched.

use std::path::{Path, PathBuf};

use super::{CommitId, GitError, RepoPath, files};
use crate::digest::Digest;
use crate::disk::{self, DiskError, Durability};

/// What stays in the administrative directory between leases. The rest is state that a node left (a merge or rebase
/// under way, bisect, sparse patterns, logs, private refs, locks of killed processes) or is made again by git.
const KEPT: [&str; 5] = ["HEAD", "commondir", "gitdir", "index", "modules"];

/// The name of a slot's administrative directory: one for each pool and number.
pub(in crate::git) fn admin_name(pool: &Path, number: u32) -> String {
    use std::os::unix::ffi::OsStrExt;
    let digest = Digest::of_bytes(pool.as_os_str().as_bytes()).to_hex();
    format!("spb-{}-{number}", &digest[..8])
}

/// Makes `path` a worktree with a detached `HEAD` at the commit, or puts right what is wrong with it. Files are left as
/// they are.
///
/// # Errors
/// When the disk refuses.
pub(in crate::git) fn ensure(
    repo: &RepoPath,
    path: &Path,
    name: &str,
    commit: CommitId,
) -> Result<PathBuf, GitError> {
    let admin = repo.common_dir.join("worktrees").join(name);
    make_directory(path)?;
    let link = path.join(".git");
    put_file(&link, &line(&[b"gitdir: ", bytes(&admin)]))?;
    let state = [
        ("gitdir", line(&[bytes(&link)])),
        ("commondir", line(&[b"../.."])),
        ("HEAD", line(&[commit.to_string().as_bytes()])),
    ];
    if std::fs::symlink_metadata(&admin).is_ok_and(|meta| meta.is_dir()) {
        for (file, content) in &state {
            put_file(&admin.join(file), content)?;
        }
        tidy(&admin)?;
    } else {
        disk::remove(&admin)?;
        build(repo, &admin, &state)?;
    }
    Ok(admin)
}

/// Removes the administrative directory of a slot.
///
/// # Errors
/// When something of it stays.
pub(in crate::git) fn forget(repo: &RepoPath, name: &str) -> Result<(), GitError> {
    let worktrees = repo.common_dir.join("worktrees");
    disk::remove(&half_made(repo, Path::new(name)))?;
    disk::remove(&worktrees.join(name))?;
    // Git removes the directory with the last worktree too. Not empty, or not there: fine.
    let _others = std::fs::remove_dir(worktrees);
    Ok(())
}

fn build(repo: &RepoPath, admin: &Path, state: &[(&str, Vec<u8>)]) -> Result<(), GitError> {
    let parent = repo.common_dir.join("worktrees");
    disk::create_directory(&parent)?;
    disk::create_directory(&repo.common_dir.join("spb"))?;
    let fail = |source| DiskError::new("create the directory", admin, source);
    let temporary = half_made(repo, admin);
    // What a kill left of an earlier one; who builds has the slot's lock.
    disk::remove(&temporary)?;
    disk::create_directory(&temporary)?;
    for (file, content) in state {
        disk::replace(&temporary.join(file), content, Durability::Crash)?;
    }
    open_to_others_like(&parent, &temporary);
    std::fs::rename(&temporary, admin).map_err(fail)?;
    Ok(())
}

/// Where an administrative directory is made before it has its place.
fn half_made(repo: &RepoPath, admin: &Path) -> PathBuf {
    let name = admin.file_name().unwrap_or_default().to_string_lossy();
    repo.common_dir.join("spb").join(format!("worktree-{name}"))
}

/// In a repository that several share, all may use it.
fn open_to_others_like(parent: &Path, directory: &Path) {
    if let Ok(meta) = std::fs::metadata(parent) {
        let _best_effort = std::fs::set_permissions(directory, meta.permissions());
    }
}

fn tidy(admin: &Path) -> Result<(), GitError> {
    let fail = |source| DiskError::new("read the directory", admin, source);
    for entry in std::fs::read_dir(admin).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let is_kept = KEPT.iter().any(|kept| entry.file_name() == *kept);
        let is_sound = entry.file_name() != "index" || entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_kept || !is_sound {
            files::clear(&entry.path())?;
        }
    }
    Ok(())
}

fn make_directory(path: &Path) -> Result<(), DiskError> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => files::open_up(path),
        Ok(_) => {
            disk::remove(path)?;
            disk::create_directory(path)?;
        }
        Err(_) => disk::create_directory(path)?,
    }
    Ok(())
}

/// Puts content at a path, whatever is there now, unless it is that already.
fn put_file(path: &Path, content: &[u8]) -> Result<(), DiskError> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => {
            if std::fs::read(path).is_ok_and(|now| now == content) {
                return Ok(());
            }
        }
        Ok(_) => files::clear(path)?,
        Err(_) => {}
    }
    disk::replace(path, content, Durability::Crash)
}

fn line(parts: &[&[u8]]) -> Vec<u8> {
    [parts.concat(), b"\n".to_vec()].concat()
}

fn bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes()
}
