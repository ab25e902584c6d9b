//! Looks a node up. A hit is only given when everything it names is still there. Why there is none is for `why` to tell.

use std::collections::HashSet;
use std::sync::Arc;

use super::base::Rule;
use super::{Keyed, RunContext, Shared, base};
use crate::digest::{Digest, Hasher};
use crate::event::{NodeFinished, NodeResult, Outcome};
use crate::git::merge::Merged;
use crate::git::tree::{Globs, ReadsMemo};
use crate::git::{self, GitError};
use crate::git::{CommitId, Repo, TreeId};
use crate::plan::explain;
use crate::plan::fingerprint::Manifest;
use crate::store::artifacts;
use crate::store::cache::{Cache, Entry, Lookup, Right};
use crate::workflow::model::{Effect, Node, Workspace};

/// Which key a node has, if any.
pub fn keyed(node: &Node, manifest: &Manifest, run: &RunContext, heads: &[String]) -> Keyed {
    if !node.cache.enabled || node.effect == Effect::External || manifest.doubted().is_some() {
        return Keyed::Never;
    }
    match node.workspace {
        Workspace::Repo => Keyed::Never,
        Workspace::Scratch => Keyed::Fileless(manifest.fileless_key()),
        Workspace::Worktree | Workspace::Readonly => {
            Keyed::Quick(manifest.quick_key(&run.base.to_string(), heads))
        }
    }
}

/// The earliest creation of an entry that the node accepts, milliseconds since the epoch.
pub fn oldest_accepted(node: &Node) -> i64 {
    let Some(ttl) = node.cache.ttl else { return i64::MIN };
    let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::now().as_millisecond().saturating_sub(ttl)
}

/// Everything that a result names is still there, as it was stored.
pub fn is_whole(result: &NodeResult, shared: &Shared, repo: &Repo) -> bool {
    missing(result, shared, repo).is_none()
}

/// The first thing that a result names and that is gone or not as it was stored, in words.
pub fn missing(result: &NodeResult, shared: &Shared, repo: &Repo) -> Option<String> {
    let commit = result.commit.as_ref().filter(|text| {
        let commit = text.parse::<CommitId>();
        !commit.is_ok_and(|commit| repo.has_commit(commit))
    });
    if let Some(commit) = commit {
        let short: String = commit.chars().take(12).collect();
        return Some(format!("its commit {short} is gone"));
    }
    let check = if shared.pool.is_some() { artifacts::Check::Remember } else { artifacts::Check::Look };
    let artifact =
        result.artifacts.iter().find(|artifact| !artifacts::is_sound(&shared.store, artifact, check))?;
    Some(format!("its artifact `{}` is gone or damaged", artifact.path))
}

/// The record of a node whose result is taken from an entry. `heads` are those of its needs.
pub fn cached(id: &str, entry: Entry, heads: Vec<String>, keys: (Digest, Option<Digest>)) -> NodeFinished {
    let mut result = entry.result;
    result.heads = result.commit.as_ref().map_or(heads, |commit| vec![commit.clone()]);
    let message = match &entry.log {
        Some(place) => format!("unchanged since run {}", place.run),
        None => "unchanged".to_owned(),
    };
    NodeFinished {
        saved_ms: entry.duration_ms,
        key: Some(keys.0.to_hex()),
        quick_key: keys.1.map(Digest::to_hex),
        base_tree: entry.base_tree,
        result: Some(result),
        log: entry.log,
        usage: entry.usage,
        ..NodeFinished::without_run(id, Outcome::Cached, message)
    }
}

/// The record of a node whose result is found under the key that is looked at first. Writes nothing.
pub fn quick(
    shared: &Shared,
    (repo, cache): (&Repo, &Cache),
    run: &RunContext,
    instance: usize,
    (key, rule): (Digest, Rule),
    heads: &[String],
) -> Option<NodeFinished> {
    let node = run.plan.node(instance);
    let entry = cache.quick(key, oldest_accepted(node)).ok()??;
    if !is_whole(&entry.result, shared, repo) {
        return None;
    }
    let heads = base::passed_on_as_known((node, rule), (repo, Some(cache)), run.base, heads)?;
    Some(cached(&run.plan.instances[instance].id, *entry, heads, (key, None)))
}

/// What the files a node reads look like from its base.
pub fn reads(node: &Node, repo: &Repo, memo: &ReadsMemo, tree: TreeId) -> Result<Digest, GitError> {
    match &node.reads {
        None => {
            let mut hasher = Hasher::new("whole tree");
            hasher.field("tree", tree.to_string().as_bytes());
            Ok(hasher.finish())
        }
        Some(globs) => memo.digest(repo, tree, &Globs::compile(globs)?),
    }
}

/// What the content key found, on this base.
pub enum Found {
    /// The entry, with its commit on this base, and whether that commit is new.
    Hit { entry: Box<Entry>, moved: bool },
    Miss {
        right: Right,
        /// What is wrong with the entry that there is.
        reason: Option<String>,
    },
}

/// Looks under the content key and brings a hit's change onto `base`.
///
/// # Errors
/// When the repository or the index cannot be read.
pub fn content(
    shared: &Shared,
    repo: &Repo,
    cache: &Cache,
    node: &Node,
    keys: (Digest, Digest),
    base: CommitId,
) -> Result<Found, GitError> {
    let stored = content_as_stored(shared, repo, cache, keys, node);
    on_base(stored, repo, keys, base)
}

/// Brings a hit's change onto `base`, or turns it into a miss.
///
/// # Errors
/// When an object is missing or cannot be written.
pub fn on_base(found: Found, repo: &Repo, keys: (Digest, Digest), base: CommitId) -> Result<Found, GitError> {
    let mut entry = match applicable(found, repo, keys, base)? {
        Found::Hit { entry, .. } => entry,
        miss => return Ok(miss),
    };
    let Some(commit) = entry.result.commit.as_ref().and_then(|commit| commit.parse::<CommitId>().ok()) else {
        return Ok(Found::Hit { entry, moved: false });
    };
    match git::carry(repo, commit, entry.result.commits(), base)? {
        Merged::Clean(moved) => {
            entry.result.commit = Some(moved.to_string());
            entry.base_tree = Some(repo.tree_of(base)?.to_string());
            Ok(Found::Hit { entry, moved: moved != commit })
        }
        Merged::Conflict { .. } => Ok(does_not_apply(keys)),
    }
}

fn does_not_apply(keys: (Digest, Digest)) -> Found {
    let reason = Some("its earlier changes do not apply to this base".to_owned());
    Found::Miss { right: Cache::ignore(keys.0, keys.1), reason }
}

/// Turns a hit whose change does not fit to `base` into a miss. Writes nothing.
///
/// # Errors
/// When an object is missing.
pub fn applicable(
    found: Found,
    repo: &Repo,
    keys: (Digest, Digest),
    base: CommitId,
) -> Result<Found, GitError> {
    let Found::Hit { entry, .. } = &found else { return Ok(found) };
    let commit = entry.result.commit.as_ref().and_then(|commit| commit.parse().ok());
    match commit {
        Some(commit) if !is_apart(repo, (commit, entry.result.commits()), base)? => Ok(does_not_apply(keys)),
        _ => Ok(found),
    }
}

/// Whether no file that the commits up to `commit` changed is another one in `base` than in what they were made on. Where it is, a run of the
/// node would not blend the two contents as a merge does, so that its earlier change says nothing of what it would give.
fn is_apart(repo: &Repo, (commit, count): (CommitId, usize), base: CommitId) -> Result<bool, GitError> {
    let Some(parent) = repo.before(commit, count)? else { return Ok(true) };
    if parent == base {
        return Ok(true);
    }
    let (before, now, result) = (repo.tree_of(parent)?, repo.tree_of(base)?, repo.tree_of(commit)?);
    let paths = |old, new| -> Result<HashSet<Vec<u8>>, GitError> {
        Ok(repo.changes(old, new)?.into_iter().map(|change| change.path).collect())
    };
    let changed = paths(before, result)?;
    let mut differ = paths(before, now)?;
    differ.retain(|path| changed.contains(path));
    if differ.is_empty() {
        return Ok(true);
    }
    let missing = paths(now, result)?;
    Ok(differ.is_disjoint(&missing))
}

/// The same without moving the change: what the store holds, on the base it was made on.
pub fn content_as_stored(
    shared: &Shared,
    repo: &Repo,
    cache: &Cache,
    (key, quick_key): (Digest, Digest),
    node: &Node,
) -> Found {
    let (oldest, ttl) = (oldest_accepted(node), node.cache.ttl);
    let miss = |right, reason: Option<String>| Found::Miss { right, reason };
    // An index that cannot be read costs a run of the node, not the run.
    let Ok(found) = cache.content(key, quick_key, oldest) else {
        return miss(Cache::ignore(key, quick_key), Some("the cache index cannot be read".to_owned()));
    };
    match found {
        Lookup::Hit(entry) => match missing(&entry.result, shared, repo) {
            None => Found::Hit { entry, moved: false },
            Some(what) => {
                miss(Cache::ignore(key, quick_key), Some(format!("its cache entry is damaged: {what}")))
            }
        },
        Lookup::Miss(right) => miss(right, None),
        Lookup::Damaged(right) => miss(right, Some("its cache entry was damaged".to_owned())),
        Lookup::Expired(right) => {
            let period = ttl.map(explain::period).unwrap_or_default();
            miss(right, Some(format!("its cache entry expired (ttl {period})")))
        }
    }
}

/// A result that changes nothing: what dependents of a node without one start from.
pub fn passed_through(heads: Vec<String>) -> Arc<NodeResult> {
    Arc::new(NodeResult { heads, ..NodeResult::default() })
}
