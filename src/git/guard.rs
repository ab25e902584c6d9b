//! The configuration that a repository shares with all of its worktrees. `git config` in a slot writes into it, so that a
//! node can break the user's own checkout (`core.bare`). What was changed since the pool was opened is put back where it
//! would do that, and told otherwise. Knows nothing of who changed it: the user may have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::index::Stat;
use super::{GitError, RepoPath};
use crate::disk::{self, DiskError, Durability};

/// With another value of these, or of an extension, git no longer finds the checkout or refuses the repository.
const VITAL: [&str; 3] = ["core.bare", "core.worktree", "core.repositoryformatversion"];

/// What git commands write as they work: `git submodule`, `git fetch`, `git switch --track`, `git sparse-checkout`.
const USUAL: [&str; 6] =
    ["branch.", "remote.", "submodule.", "lfs.", "maintenance.", "extensions.worktreeconfig"];

/// What the shared configuration was, to compare.
#[derive(Debug, Default)]
pub(in crate::git) struct Guard {
    seen: Mutex<Option<Seen>>,
}

#[derive(Clone, Debug)]
struct Seen {
    stat: Option<Stat>,
    text: Vec<u8>,
    values: Values,
}

type Values = BTreeMap<String, Vec<String>>;

/// What was found changed: names of settings, without their values, which may be secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tampered {
    /// They are as before again.
    pub put_back: Vec<String>,
    /// They are left as they are now.
    pub changed: Vec<String>,
}

impl Tampered {
    pub fn is_nothing(&self) -> bool {
        self.put_back.is_empty() && self.changed.is_empty()
    }
}

impl Guard {
    /// Notes how things are, once: before the first node of this process runs.
    pub fn look(&self, repo: &RepoPath) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none() {
            *seen = look(&file(repo));
        }
    }

    /// Compares, puts back what would break the checkout, and takes the rest as given from now on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn check(&self, repo: &RepoPath) -> Result<Tampered, GitError> {
        let path = file(repo);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = &*seen else { return Ok(Tampered::default()) };
        if stat(&path) == before.stat {
            return Ok(Tampered::default());
        }
        let tampered = match look(&path) {
            Some(now) => compare(&before.values, &now.values),
            None => {
                replace(&path, &before.text)?;
                Tampered {
                    put_back: vec!["all, because git could not read it".to_owned()],
                    changed: Vec::new(),
                }
            }
        };
        if tampered.put_back.iter().any(|name| is_vital(name)) {
            put_back(&path, &tampered.put_back, &before.values)?;
        }
        if let Some(now) = look(&path) {
            *seen = Some(now);
        }
        Ok(tampered)
    }
}

fn is_vital(name: &str) -> bool {
    VITAL.contains(&name) || name.starts_with("extensions.")
}

fn compare(before: &Values, now: &Values) -> Tampered {
    let mut tampered = Tampered::default();
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    for name in names.into_iter().filter(|name| before.get(*name) != now.get(*name)) {
        if USUAL.iter().any(|usual| name.starts_with(usual)) {
            continue;
        }
        let list = if is_vital(name) { &mut tampered.put_back } else { &mut tampered.changed };
        list.push(name.clone());
    }
    tampered
}

fn file(repo: &RepoPath) -> PathBuf {
    repo.common_dir.join("config")
}

fn stat(path: &Path) -> Option<Stat> {
    std::fs::symlink_metadata(path).ok().map(|meta| Stat::of(&meta))
}

/// `None` for a file that git could not read either.
fn look(path: &Path) -> Option<Seen> {
    let stat = stat(path);
    let text = std::fs::read(path).ok()?;
    let mut values = Values::new();
    let config = git2::Config::open(path).ok()?;
    let mut entries = config.entries(None).ok()?;
    while let Some(entry) = entries.next() {
        let entry = entry.ok()?;
        let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
        let value = if entry.has_value() { entry.value_bytes() } else { b"true" };
        values.entry(name).or_default().push(String::from_utf8_lossy(value).into_owned());
    }
    Some(Seen { stat, text, values })
}

/// Changes a copy, and puts that in the file's place: a kill leaves no lock.
fn put_back(path: &Path, names: &[String], before: &Values) -> Result<(), GitError> {
    let fail = |source| DiskError::new("put back", path, source);
    let directory = tempfile::tempdir().map_err(fail)?;
    let copy = directory.path().join("config");
    disk::replace(&copy, &std::fs::read(path).map_err(fail)?, Durability::Crash)?;
    let library = |error| GitError::library(format!("put back `{}`", path.display()))(error);
    let mut config = git2::Config::open(&copy).map_err(library)?;
    for name in names {
        let _absent = config.remove_multivar(name, ".*");
        for value in before.get(name).into_iter().flatten() {
            // No value matches the pattern: it is added.
            config.set_multivar(name, "^$a", value).map_err(library)?;
        }
    }
    drop(config);
    Ok(replace(path, &std::fs::read(&copy).map_err(fail)?)?)
}

fn replace(path: &Path, text: &[u8]) -> Result<(), DiskError> {
    let permissions = std::fs::metadata(path).map(|meta| meta.permissions());
    disk::replace(path, text, Durability::Crash)?;
    if let Ok(permissions) = permissions {
        let fail = |source| DiskError::new("put back", path, source);
        std::fs::set_permissions(path, permissions).map_err(fail)?;
    }
    Ok(())
}
