//! A work tree for tests inside this module. The tests in `tests/` have more.

use std::path::Path;

use super::command;

/// An empty repository that reads nothing of the user's configuration that matters here.
pub(in crate::git) fn repository() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    git(directory.path(), &["init", "-q"]);
    git(directory.path(), &["config", "core.excludesFile", "/dev/null"]);
    directory
}

#[track_caller]
pub(in crate::git) fn git(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    command::run(command::git(directory), arguments).unwrap()
}

pub(in crate::git) fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    crate::disk::replace(path, content, crate::disk::Durability::Crash).unwrap();
}
