//! Merges in memory: no work tree, no index file, no process. Knows nothing of the nodes whose results it merges.

use super::{CommitId, GitError, Repo, Stamp, TreeId};

/// What a merge gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    Clean(CommitId),
    /// The two heads of the list that cannot be joined, and the files they disagree on, in order.
    Conflict {
        first: CommitId,
        second: CommitId,
        files: Vec<String>,
    },
}

/// A merged tree, or the paths in conflict.
pub(in crate::git) enum MergedTree {
    Clean(TreeId),
    Conflict(Vec<String>),
}

const MESSAGE: &str = "spb: merge";

/// Joins the results of several nodes that all started from `base`: in the order given, skipping what is contained
/// already, moving forward where that is all it takes. The same input gives the same commit.
///
/// # Errors
/// When an object is missing or cannot be written. A conflict is not an error.
pub fn merge_heads(repo: &Repo, base: CommitId, heads: &[CommitId]) -> Result<Merged, GitError> {
    let mut merged = base;
    for (position, head) in heads.iter().copied().enumerate() {
        if repo.contains(merged, head)? {
            continue;
        }
        if repo.contains(head, merged)? {
            merged = head;
            continue;
        }
        match merge_pair(repo, merged, head)? {
            MergedTree::Clean(tree) => {
                merged = repo.commit(tree, &[merged, head], MESSAGE, Stamp::Like(base))?;
            }
            MergedTree::Conflict(files) => {
                let first = culprit(repo, base, &heads[..position], head, &files)?;
                return Ok(Merged::Conflict { first, second: head, files });
            }
        }
    }
    Ok(Merged::Clean(merged))
}

/// Applies what `change` did to its first parent on top of `onto`. The result has the message of `change`.
///
/// # Errors
/// When an object is missing or cannot be written. A conflict is not an error.
pub fn transplant(repo: &Repo, change: CommitId, onto: CommitId) -> Result<Merged, GitError> {
    let parents = repo.parents(change)?;
    if parents.first() == Some(&onto) {
        return Ok(Merged::Clean(change));
    }
    let before = match parents.first() {
        Some(parent) => repo.tree_of(*parent)?,
        None => empty_tree(repo)?,
    };
    match merge_trees(repo, before, repo.tree_of(onto)?, repo.tree_of(change)?)? {
        MergedTree::Clean(tree) => {
            let message = repo.message(change)?;
            Ok(Merged::Clean(repo.commit(tree, &[onto], &message, Stamp::Like(change))?))
        }
        MergedTree::Conflict(files) => Ok(Merged::Conflict { first: onto, second: change, files }),
    }
}

/// The tree without entries.
fn empty_tree(repo: &Repo) -> Result<TreeId, GitError> {
    let write = || repo.raw.treebuilder(None)?.write();
    write().map(TreeId).map_err(GitError::library("write the empty tree"))
}

/// Merges two commits that both have something of their own.
fn merge_pair(repo: &Repo, ours: CommitId, theirs: CommitId) -> Result<MergedTree, GitError> {
    let bases = match repo.raw.merge_bases(ours.0, theirs.0) {
        Ok(bases) => bases.iter().copied().map(CommitId).collect(),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Vec::new(),
        Err(error) => return Err(GitError::library("find the merge base")(error)),
    };
    match bases[..] {
        [] => merge_trees(repo, empty_tree(repo)?, repo.tree_of(ours)?, repo.tree_of(theirs)?),
        [base] => merge_trees(repo, repo.tree_of(base)?, repo.tree_of(ours)?, repo.tree_of(theirs)?),
        // Criss-cross: the library merges the bases first.
        _ => {
            let (ours, theirs) = (repo.commit_object(ours)?, repo.commit_object(theirs)?);
            let index = repo
                .raw
                .merge_commits(&ours, &theirs, None)
                .map_err(GitError::library("merge two commits"))?;
            from_index(repo, index)
        }
    }
}

fn merge_trees(repo: &Repo, base: TreeId, ours: TreeId, theirs: TreeId) -> Result<MergedTree, GitError> {
    if ours == theirs || base == theirs {
        return Ok(MergedTree::Clean(ours));
    }
    if base == ours {
        return Ok(MergedTree::Clean(theirs));
    }
    let (base, ours, theirs) = (repo.tree_object(base)?, repo.tree_object(ours)?, repo.tree_object(theirs)?);
    let index =
        repo.raw.merge_trees(&base, &ours, &theirs, None).map_err(GitError::library("merge two trees"))?;
    from_index(repo, index)
}

fn from_index(repo: &Repo, mut index: git2::Index) -> Result<MergedTree, GitError> {
    if !index.has_conflicts() {
        let tree = index.write_tree_to(&repo.raw).map_err(GitError::library("write a merged tree"))?;
        return Ok(MergedTree::Clean(TreeId(tree)));
    }
    let conflicts = index.conflicts().map_err(GitError::library("list the conflicts"))?;
    let mut files: Vec<String> = conflicts
        .filter_map(Result::ok)
        .flat_map(|conflict| [conflict.ancestor, conflict.our, conflict.their])
        .flatten()
        .map(|entry| String::from_utf8_lossy(&entry.path).into_owned())
        .collect();
    files.sort();
    files.dedup();
    Ok(MergedTree::Conflict(files))
}

/// Of the heads merged before, the one that `head` conflicts with: the first that conflicts with it alone, else the
/// last that touched one of the files, else the base.
fn culprit(
    repo: &Repo,
    base: CommitId,
    earlier: &[CommitId],
    head: CommitId,
    files: &[String],
) -> Result<CommitId, GitError> {
    let mut touched = None;
    for candidate in earlier.iter().copied() {
        if repo.contains(head, candidate)? {
            continue;
        }
        if let MergedTree::Conflict(_) = merge_pair(repo, candidate, head)? {
            return Ok(candidate);
        }
        let changes = repo.changes(repo.tree_of(base)?, repo.tree_of(candidate)?)?;
        if changes.iter().any(|change| files.iter().any(|file| *file == change.name())) {
            touched = Some(candidate);
        }
    }
    Ok(touched.or(earlier.last().copied()).unwrap_or(base))
}
