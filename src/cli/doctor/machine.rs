//! The machine: cores, memory, open files, disk.

use std::path::{Path, PathBuf};

use super::Check;
use crate::cli::Context;
use crate::git::RepoPath;
use crate::host;
use crate::report::text;

const MIB: u64 = 1024 * 1024;
/// Less than this is tight, or too little.
const TIGHT_DISK: u64 = 2048 * MIB;
const NO_DISK: u64 = 100 * MIB;
const TIGHT_MEMORY: u64 = 512 * MIB;
/// 80 nodes at the same time, each with its pipes and files, and as many worktrees.
const OPEN_FILES: u64 = 1024;

pub fn checks() -> Vec<Check> {
    vec![cores_and_memory(), open_files()]
}

fn cores_and_memory() -> Check {
    let memory = host::memory();
    let found = format!(
        "{}, {} of {} memory available",
        text::count(host::cores(), "core"),
        text::bytes(memory.available),
        text::bytes(memory.total),
    );
    if memory.available < TIGHT_MEMORY {
        return Check::warn("machine", found, "run fewer nodes at the same time: `--jobs 1`");
    }
    Check::ok("machine", found)
}

fn open_files() -> Check {
    let (current, maximum) = host::open_file_limit();
    let show = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let found = format!("limit {} (hard limit {})", show(current), show(maximum));
    match current {
        Some(current) if current < OPEN_FILES => {
            Check::warn("open files", found, "raise it: `ulimit -n 4096`")
        }
        _ => Check::ok("open files", found),
    }
}

/// Free space where spb writes: the repository and the worktrees.
pub fn disk(context: &Context, repository: &RepoPath) -> Vec<Check> {
    let mut checks = vec![free("disk", &repository.common_dir)];
    if let Ok(pool) = context.pool_directory(repository) {
        checks.push(free("worktree disk", &existing_parent(pool)));
    }
    checks
}

/// The pool's directory may not exist yet.
fn existing_parent(mut path: PathBuf) -> PathBuf {
    while !path.exists() && path.pop() {}
    path
}

fn free(name: &'static str, path: &Path) -> Check {
    let Some(bytes) = host::disk_free(path) else {
        return Check::warn(
            name,
            format!("the free space at `{}` is unknown", path.display()),
            "check it with `df`",
        );
    };
    let found = format!("{} free at `{}`", text::bytes(bytes), path.display());
    let help =
        "make room: `spb worktrees remove --all` and `spb cache gc --max-size 1GiB` give back what spb uses";
    match bytes {
        0..NO_DISK => Check::fail(name, found, Some(help.to_owned())),
        NO_DISK..TIGHT_DISK => Check::warn(name, found, help),
        _ => Check::ok(name, found),
    }
}
