//! What a node starts from: the results of its needs, merged in memory and remembered; and how their conflicts are settled.

use crate::digest::{Digest, Hasher};
use crate::git::{CommitId, Favor, GitError, Joined, Merged, Repo, Stuck, join_heads};
use crate::store::cache::Cache;
use crate::store::recorder::{Index, Recorder};
use crate::workflow::model::{Node, OnConflict};

/// What becomes of lines in conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    favor: Favor,
    /// Everything that the agent is told, for those that an agent settles.
    agent: Option<Digest>,
}

impl Rule {
    /// They are an error.
    pub const FAIL: Self = Self { favor: Favor::Neither, agent: None };

    /// The agent that this digest is of settles them.
    pub fn agent(told: Digest) -> Self {
        Self { favor: Favor::Neither, agent: Some(told) }
    }

    /// The rule of a node that asks no agent.
    pub fn of(node: &Node) -> Self {
        let favor = match node.on_conflict {
            OnConflict::Fail | OnConflict::Agent(_) => Favor::Neither,
            OnConflict::Ours => Favor::Ours,
            OnConflict::Theirs => Favor::Theirs,
            OnConflict::Union => Favor::Union,
        };
        Self { favor, agent: None }
    }
}

/// Whether a node says how its needs are merged.
pub fn decides(node: &Node) -> bool {
    !matches!(node.on_conflict, OnConflict::Fail)
}

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
    Ok(match joined(repo, cache, recorder, base, heads, Rule::FAIL, |_, _| None)? {
        Joined::Clean(commit) => Merged::Clean(commit),
        Joined::Stuck(Stuck { first, theirs, files, .. }) => {
            Merged::Conflict { first, second: theirs, files }
        }
    })
}

/// The same by a rule; `settled` tells what an agent made of the conflict of two commits.
///
/// # Errors
/// As [`merged`].
pub fn joined(
    repo: &Repo,
    cache: Option<&Cache>,
    recorder: &Recorder,
    base: CommitId,
    heads: &[CommitId],
    rule: Rule,
    settled: impl Fn(CommitId, CommitId) -> Option<CommitId>,
) -> Result<Joined, GitError> {
    if let Some(known) = known(repo, cache, base, heads, rule) {
        return Ok(Joined::Clean(known));
    }
    let joined = join_heads(repo, base, heads, rule.favor, settled)?;
    if let Joined::Clean(commit) = &joined {
        recorder.wrote_objects();
        recorder.index(Index::Merge { key: key(base, heads, rule), result: commit.to_string() });
    }
    Ok(joined)
}

/// The same without looking anything up or remembering it.
///
/// # Errors
/// As [`merged`].
pub fn anew(repo: &Repo, base: CommitId, heads: &[CommitId], rule: Rule) -> Result<Joined, GitError> {
    join_heads(repo, base, heads, rule.favor, |_, _| None)
}

/// What needs no merge, or was merged before.
pub fn known(
    repo: &Repo,
    cache: Option<&Cache>,
    base: CommitId,
    heads: &[CommitId],
    rule: Rule,
) -> Option<CommitId> {
    match heads {
        [] => Some(base),
        [only] => Some(*only),
        _ => looked_up(repo, cache?, key(base, heads, rule)),
    }
}

/// What an agent made of the conflict of two commits.
pub fn settled(
    repo: &Repo,
    cache: Option<&Cache>,
    ours: CommitId,
    theirs: CommitId,
    rule: Rule,
) -> Option<CommitId> {
    looked_up(repo, cache?, settled_key(ours, theirs, rule)?)
}

fn looked_up(repo: &Repo, cache: &Cache, key: Digest) -> Option<CommitId> {
    let known = cache.merge(key)?.parse::<CommitId>().ok()?;
    repo.has_commit(known).then_some(known)
}

fn key(base: CommitId, heads: &[CommitId], rule: Rule) -> Digest {
    let mut hasher = Hasher::new("merge 1");
    hasher.field("base", base.to_string().as_bytes());
    for head in heads {
        hasher.field("head", head.to_string().as_bytes());
    }
    let word: Option<&[u8]> = match rule.favor {
        Favor::Neither => None,
        Favor::Ours => Some(b"ours"),
        Favor::Theirs => Some(b"theirs"),
        Favor::Union => Some(b"union"),
    };
    if let Some(word) = word {
        hasher.field("favor", word);
    }
    if let Some(agent) = rule.agent {
        hasher.field("agent", agent.as_bytes());
    }
    hasher.finish()
}

/// Under what the work of an agent is remembered; `None` for a rule without one.
pub fn settled_key(ours: CommitId, theirs: CommitId, rule: Rule) -> Option<Digest> {
    let mut hasher = Hasher::new("settled conflict 1");
    hasher.field("ours", ours.to_string().as_bytes());
    hasher.field("theirs", theirs.to_string().as_bytes());
    hasher.field("agent", rule.agent?.as_bytes());
    Some(hasher.finish())
}

/// What dependents of a node start from when it has no commit of its own, `base` being what it started from: the results
/// of its needs; where it says how those are merged, their merge, which nobody else would make so.
pub fn passed_on(node: &Node, base: Option<CommitId>, heads: &[String]) -> Vec<String> {
    match base {
        Some(base) if decides(node) && heads.len() > 1 => vec![base.to_string()],
        _ => heads.to_vec(),
    }
}

/// The same without merging: `None` when it was never merged before.
pub fn passed_on_as_known(
    (node, rule): (&Node, Rule),
    (repo, cache): (&Repo, Option<&Cache>),
    base: CommitId,
    heads: &[String],
) -> Option<Vec<String>> {
    if !decides(node) || heads.len() < 2 {
        return Some(heads.to_vec());
    }
    let merged = known(repo, cache, base, &commits(heads), rule)?;
    Some(passed_on(node, Some(merged), heads))
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
