//! Keeps the cache within its limits: entries that were not used for long go, then the least recently used until what is left
//! fits; after that their artifacts, and the refs that keep their commits from `git gc`. What a run that is not over needs
//! stays. Never at the same time as a run of the repository: each holds a lock that this one wants for itself.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use super::{EngineError, keep, refs};
use crate::digest::Digest;
use crate::disk::{self, Lock};
use crate::event::NodeFinished;
use crate::git::step::Step;
use crate::git::{BlobId, CommitId, Repo, RepoPath};
use crate::name::RunId;
use crate::store::entries::{self, Row};
use crate::store::runs::{self, RunState, RunView};
use crate::store::{Store, StoreError, artifacts, index};

/// How much may stay.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Bytes of entries, compressed artifacts and changed files.
    pub size: Option<u64>,
    /// Since it was made or used last.
    pub age: Option<Duration>,
}

/// What went, and what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Evicted {
    /// Not used for too long.
    pub old: usize,
    /// Did not fit.
    pub over: usize,
    /// Files, and their bytes.
    pub artifacts: usize,
    pub artifact_bytes: u64,
    /// Runs whose results in git may be collected.
    pub runs: usize,
    pub entries_left: usize,
    pub bytes_left: u64,
}

/// What must stay, whatever the limits say.
#[derive(Default)]
struct Needed {
    keys: HashSet<Digest>,
    artifacts: HashSet<String>,
    commits: HashSet<CommitId>,
}

/// Evicts what is over the limits, `now` being milliseconds since the epoch. `None`: a run is at work.
///
/// # Errors
/// When the store or the repository cannot be changed. What was not done then is done the next time.
pub fn evict(
    store: &Store,
    repository: &RepoPath,
    limits: Limits,
    now: i64,
) -> Result<Option<Evicted>, EngineError> {
    let Some(_alone) = Lock::attempt(&store.in_use())? else { return Ok(None) };
    let repo = Repo::open(repository)?;
    let mut connection = index::open(store)?;
    let fail = |source| StoreError::Index { path: store.index_path(), source };
    let oldest = limits.age.map(|age| now - i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    let (needed, over) = runs_of(store, oldest);
    let mut rows = entries::all(&connection).map_err(fail)?;
    // What was used last first.
    rows.sort_by_key(|row| std::cmp::Reverse(row.used));
    let (kept, gone, mut evicted) = chosen(store, &repo, rows, &needed, limits.size, oldest);
    if !gone.is_empty() {
        disk::remove(&store.repeats_directory())?;
    }
    entries::remove(&mut connection, &gone).map_err(fail)?;
    let wanted: HashSet<&str> = kept
        .iter()
        .filter_map(|row| row.entry.as_ref())
        .flat_map(|entry| entry.result.artifacts.iter().map(|artifact| artifact.digest.as_str()))
        .chain(needed.artifacts.iter().map(String::as_str))
        .collect();
    (evicted.artifacts, evicted.artifact_bytes) = sweep(store, &wanted)?;
    for run in over.iter().filter(|run| run.is_old || !run.keys.is_disjoint(&gone)) {
        let name = format!("refs/spb/runs/{}", run.id);
        if repo.read_ref(&name)?.is_some() {
            refs::remove(store, &repo, &name)?;
            evicted.runs += 1;
        }
    }
    let mut commits: Vec<CommitId> = kept.iter().flat_map(commits_of).chain(needed.commits).collect();
    let merges = entries::merges(&connection).map_err(fail)?;
    let mut lost = Vec::new();
    for (key, commit) in merges {
        match commit.parse::<CommitId>() {
            Ok(commit) if repo.has_commit(commit) => {
                // The work of an agent is not made anew for nothing; every other merge is.
                if repo.message(commit)?.starts_with("spb: merge, conflicts settled") {
                    commits.push(commit);
                }
            }
            _ => lost.push(key),
        }
    }
    entries::forget_merges(&mut connection, &lost).map_err(fail)?;
    commits.retain(|&commit| repo.has_commit(commit));
    commits.sort_unstable();
    commits.dedup();
    keep::replace(store, &repo, &commits)?;
    // Room is given back where nobody reads just now.
    connection.execute_batch("pragma wal_checkpoint(truncate)").ok();
    if !gone.is_empty() {
        connection.execute_batch("vacuum").ok();
    }
    Ok(Some(evicted))
}

/// A run that succeeded.
struct Over {
    id: RunId,
    is_old: bool,
    keys: HashSet<Digest>,
}

/// What the runs that are not over need, and those that are.
fn runs_of(store: &Store, oldest: Option<i64>) -> (Needed, Vec<Over>) {
    let mut needed = Needed::default();
    let mut over = Vec::new();
    for id in runs::list(store) {
        let Ok(view) = runs::view(store, &id) else { continue };
        let is_old = oldest.is_some_and(|oldest| last(&view) < oldest);
        let keys = || view.kept().filter_map(|node| Digest::from_hex(node.key.as_deref()?));
        match view.state() {
            RunState::Succeeded => over.push(Over { id, is_old, keys: keys().collect() }),
            // A person's answer may take as long as it takes.
            RunState::Waiting | RunState::Running => add(&mut needed, view.kept()),
            RunState::Interrupted | RunState::Failed | RunState::Cancelled if !is_old => {
                add(&mut needed, view.kept());
            }
            // Nobody carried it on for as long as anything is kept: a resume makes again what is gone.
            RunState::Interrupted | RunState::Failed | RunState::Cancelled => {}
        }
    }
    (needed, over)
}

fn last(view: &RunView) -> i64 {
    view.last.parse::<jiff::Timestamp>().map_or(i64::MAX, jiff::Timestamp::as_millisecond)
}

fn add<'n>(needed: &mut Needed, kept: impl Iterator<Item = &'n NodeFinished>) {
    for node in kept {
        needed.keys.extend(node.key.as_deref().and_then(Digest::from_hex));
        let Some(result) = &node.result else { continue };
        needed.artifacts.extend(result.artifacts.iter().map(|artifact| artifact.digest.clone()));
        let commits = result.commit.iter().chain(&result.heads);
        needed.commits.extend(commits.filter_map(|commit| commit.parse::<CommitId>().ok()));
    }
}

/// Decides which entries stay: `rows` come in the order in which they are worth keeping.
fn chosen(
    store: &Store,
    repo: &Repo,
    rows: Vec<Row>,
    needed: &Needed,
    size: Option<u64>,
    oldest: Option<i64>,
) -> (Vec<Row>, HashSet<Digest>, Evicted) {
    let mut evicted = Evicted::default();
    let (mut kept, mut gone) = (Vec::new(), HashSet::new());
    let mut known = Known { artifacts: HashMap::new(), contents: HashSet::new() };
    for row in rows {
        let is_needed =
            needed.keys.contains(&row.key) || row.quick_keys.iter().any(|key| needed.keys.contains(key));
        if !is_needed && (row.entry.is_none() || oldest.is_some_and(|oldest| row.used < oldest)) {
            evicted.old += 1;
            gone.insert(row.key);
            continue;
        }
        let (bytes, adds) = known.adds(store, repo, &row);
        if !is_needed && size.is_some_and(|size| evicted.bytes_left + bytes > size) {
            evicted.over += 1;
            gone.insert(row.key);
            continue;
        }
        known.artifacts.extend(adds.0);
        known.contents.extend(adds.1);
        evicted.bytes_left += bytes;
        kept.push(row);
    }
    evicted.entries_left = kept.len();
    (kept, gone, evicted)
}

/// What is counted already: several entries share much.
struct Known {
    artifacts: HashMap<String, u64>,
    contents: HashSet<BlobId>,
}

type Adds = (HashMap<String, u64>, HashSet<BlobId>);

impl Known {
    /// How many bytes an entry adds, and what they are.
    fn adds(&self, store: &Store, repo: &Repo, row: &Row) -> (u64, Adds) {
        let (mut artifacts, mut contents): Adds = Default::default();
        let mut bytes = row.bytes;
        let Some(entry) = &row.entry else { return (bytes, (artifacts, contents)) };
        for artifact in &entry.result.artifacts {
            if !self.artifacts.contains_key(&artifact.digest) && !artifacts.contains_key(&artifact.digest) {
                let stored = artifacts::place(store, &artifact.digest);
                let length = std::fs::metadata(stored).map_or(0, |meta| meta.len());
                artifacts.insert(artifact.digest.clone(), length);
                bytes += length;
            }
        }
        let commit = entry.result.commit.as_ref().and_then(|commit| commit.parse().ok());
        let line = commit.and_then(|commit| Step::line(repo, commit, entry.result.commits()).ok());
        let files = line.iter().flatten().flat_map(|step| &step.files);
        for blob in files.filter_map(|file| file.new) {
            if !self.contents.contains(&blob.id) && contents.insert(blob.id) {
                bytes += repo.content_size(blob.id).unwrap_or(0);
            }
        }
        (bytes, (artifacts, contents))
    }
}

fn commits_of(row: &Row) -> impl Iterator<Item = CommitId> {
    let own = row.entry.as_ref().and_then(|entry| entry.result.commit.as_ref());
    own.into_iter().chain(&row.moved).filter_map(|commit| commit.parse().ok())
}

/// Removes stored artifacts that nobody wants, and what killed processes left half written.
fn sweep(store: &Store, wanted: &HashSet<&str>) -> Result<(usize, u64), EngineError> {
    let mut removed = (0, 0);
    let entries = |path: &PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    for entry in entries(&store.artifacts_directory()) {
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if name.starts_with(".new-") {
            disk::remove(&path)?;
            continue;
        }
        for file in entries(&path) {
            let rest = file.file_name().to_string_lossy().into_owned();
            let digest = format!("{name}{}", rest.strip_suffix(".zst").unwrap_or(&rest));
            if !wanted.contains(digest.as_str()) {
                removed.0 += 1;
                removed.1 += file.metadata().map_or(0, |meta| meta.len());
                disk::remove(&file.path())?;
            }
        }
        // One that is not empty stays.
        std::fs::remove_dir(&path).ok();
    }
    Ok(removed)
}
