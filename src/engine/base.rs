//! What a node starts from: the results of its needs, merged in memory and remembered.

use crate::digest::{Digest, Hasher};
use crate::git::GitError;
use crate::git::merge::{self, Merged};
use crate::git::{CommitId, Repo};
use crate::store::cache::Cache;
use crate::store::recorder::{Index, Recorder};

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
) -> Result<Merged, GitError> {
    if let Some(known) = known(repo, cache, base, heads) {
        return Ok(known);
    }
    let merged = merge::merge_heads(repo, base, heads)?;
    if let Merged::Clean(commit) = &merged {
        recorder.wrote_objects();
        recorder.index(Index::Merge { key: key(base, heads), result: commit.to_string() });
    }
    Ok(merged)
}

/// What needs no merge, or was merged before.
pub fn known(repo: &Repo, cache: Option<&Cache>, base: CommitId, heads: &[CommitId]) -> Option<Merged> {
    match heads {
        [] => return Some(Merged::Clean(base)),
        [only] => return Some(Merged::Clean(*only)),
        _ => {}
    }
    let known = cache?.merge(key(base, heads))?.parse::<CommitId>().ok()?;
    repo.has_commit(known).then_some(Merged::Clean(known))
}

fn key(base: CommitId, heads: &[CommitId]) -> Digest {
    let mut hasher = Hasher::new("merge 1");
    hasher.field("base", base.to_string().as_bytes());
    for head in heads {
        hasher.field("head", head.to_string().as_bytes());
    }
    hasher.finish()
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
