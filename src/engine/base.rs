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
    match heads {
        [] => return Ok(Merged::Clean(base)),
        [only] => return Ok(Merged::Clean(*only)),
        _ => {}
    }
    let key = key(base, heads);
    let known = cache.and_then(|cache| cache.merge(key)).and_then(|text| text.parse::<CommitId>().ok());
    if let Some(known) = known.filter(|&known| repo.has_commit(known)) {
        return Ok(Merged::Clean(known));
    }
    let merged = merge::merge_heads(repo, base, heads)?;
    if let Merged::Clean(commit) = &merged {
        recorder.index(Index::Merge { key, result: commit.to_string() });
    }
    Ok(merged)
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
