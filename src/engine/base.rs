//! What a node starts from: the results of its needs, merged in memory and remembered.

use crate::digest::{Digest, Hasher};
use crate::git::GitError;
use crate::git::merge::{self, Favor, Merged};
use crate::git::{CommitId, Repo};
use crate::store::cache::Cache;
use crate::store::recorder::{Index, Recorder};
use crate::workflow::model::{Node, OnConflict};

/// Merges `heads` onto `base` in order. A merge done before, by any run, is looked up instead.
///
/// # Errors
/// When the repository cannot be read or written; a conflict is not an error.
pub fn merged(
    repo: &Repo,
    cache: Option<&Cache>,
    recorder: &Recorder,
    base: CommitId,
    heads: &[CommitId],
    favor: Favor,
) -> Result<Merged, GitError> {
    if let Some(known) = known(repo, cache, base, heads, favor) {
        return Ok(known);
    }
    let merged = merge::merge_heads_favoring(repo, base, heads, favor)?;
    if let Merged::Clean(commit) = &merged {
        recorder.wrote_objects();
        recorder.index(Index::Merge { key: key(base, heads, favor), result: commit.to_string() });
    }
    Ok(merged)
}

/// What needs no merge, or was merged before.
pub fn known(
    repo: &Repo,
    cache: Option<&Cache>,
    base: CommitId,
    heads: &[CommitId],
    favor: Favor,
) -> Option<Merged> {
    match heads {
        [] => return Some(Merged::Clean(base)),
        [only] => return Some(Merged::Clean(*only)),
        _ => {}
    }
    let known = cache?.merge(key(base, heads, favor))?.parse::<CommitId>().ok()?;
    repo.has_commit(known).then_some(Merged::Clean(known))
}

fn key(base: CommitId, heads: &[CommitId], favor: Favor) -> Digest {
    let mut hasher = Hasher::new("merge 1");
    hasher.field("base", base.to_string().as_bytes());
    for head in heads {
        hasher.field("head", head.to_string().as_bytes());
    }
    let word: Option<&[u8]> = match favor {
        Favor::Neither => None,
        Favor::Ours => Some(b"ours"),
        Favor::Theirs => Some(b"theirs"),
        Favor::Union => Some(b"union"),
    };
    if let Some(word) = word {
        hasher.field("favor", word);
    }
    hasher.finish()
}

/// How the results of a node's needs are merged.
pub fn favor(node: &Node) -> Favor {
    match node.on_conflict {
        OnConflict::Fail => Favor::Neither,
        OnConflict::Ours => Favor::Ours,
        OnConflict::Theirs => Favor::Theirs,
        OnConflict::Union => Favor::Union,
    }
}

/// What dependents of a node start from when it has no commit of its own, `base` being what it started from: the results
/// of its needs; where it says how those are merged, their merge, which nobody else would make so.
pub fn passed_on(node: &Node, base: Option<CommitId>, heads: &[String]) -> Vec<String> {
    match base {
        Some(base) if favor(node) != Favor::Neither && heads.len() > 1 => vec![base.to_string()],
        _ => heads.to_vec(),
    }
}

/// The same without merging: `None` when it was never merged before.
pub fn passed_on_as_known(
    node: &Node,
    (repo, cache): (&Repo, Option<&Cache>),
    base: CommitId,
    heads: &[String],
) -> Option<Vec<String>> {
    if favor(node) == Favor::Neither || heads.len() < 2 {
        return Some(heads.to_vec());
    }
    match known(repo, cache, base, &commits(heads), favor(node))? {
        Merged::Clean(merged) => Some(passed_on(node, Some(merged), heads)),
        Merged::Conflict { .. } => None,
    }
}

/// Heads without repetition, first mention first.
pub fn distinct<'a>(heads: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    heads.filter(|head| seen.insert(head.as_str())).cloned().collect()
}

/// The commits that hexadecimal ids name; ids that are none are left out (a damaged record is a miss elsewhere).
pub fn commits(heads: &[String]) -> Vec<CommitId> {
    heads.iter().filter_map(|head| head.parse().ok()).collect()
}
