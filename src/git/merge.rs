//! Merges in memory: no work tree, no index file, and no process unless something conflicts. Knows nothing of the nodes
//! whose results it merges.

use super::merge_tree::{MergedTree, merge_trees};
use super::{CommitId, GitError, Repo, RepoPath, Stamp, TreeId, command};

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

/// What becomes of lines that both sides changed, each in its own way: as `git merge -X ours`, `-X theirs` and the merge
/// driver `union` define it. Where no lines decide (a file removed on one side, binary files under `Union`) it is a
/// conflict all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Favor {
    /// A conflict.
    #[default]
    Neither,
    /// The lines of the earlier head.
    Ours,
    /// The lines of the later head.
    Theirs,
    /// The lines of both, the earlier head's first.
    Union,
}

/// What a merge gave whose conflicts others may settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    Clean(CommitId),
    Stuck(Stuck),
}

/// Where a merge of several heads came to a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Everything before it, merged.
    pub ours: CommitId,
    /// The head that cannot be joined to that.
    pub theirs: CommitId,
    /// The head before it that it conflicts with.
    pub first: CommitId,
    /// The files that they disagree on, in order.
    pub files: Vec<String>,
}

/// A merged tree, or the paths in conflict.
enum Outcome {
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
    merge_heads_favoring(repo, base, heads, Favor::Neither)
}

/// The same, with a rule for lines in conflict.
///
/// # Errors
/// As [`merge_heads`].
pub fn merge_heads_favoring(
    repo: &Repo,
    base: CommitId,
    heads: &[CommitId],
    favor: Favor,
) -> Result<Merged, GitError> {
    Ok(match join_heads(repo, base, heads, favor, |_, _| None)? {
        Joined::Clean(commit) => Merged::Clean(commit),
        Joined::Stuck(Stuck { first, theirs, files, .. }) => {
            Merged::Conflict { first, second: theirs, files }
        }
    })
}

/// The same, where conflicts may have been settled before: `settled` tells the merge of two commits, if there is one.
///
/// # Errors
/// As [`merge_heads`].
pub fn join_heads(
    repo: &Repo,
    base: CommitId,
    heads: &[CommitId],
    favor: Favor,
    settled: impl Fn(CommitId, CommitId) -> Option<CommitId>,
) -> Result<Joined, GitError> {
    let mut merged = base;
    for (position, head) in heads.iter().copied().enumerate() {
        if repo.contains(merged, head)? {
            continue;
        }
        if repo.contains(head, merged)? {
            merged = head;
            continue;
        }
        match merge_pair(repo, merged, head, favor)? {
            Outcome::Clean(tree) => {
                merged = repo.commit(tree, &[merged, head], MESSAGE, Stamp::Like(base))?;
            }
            Outcome::Conflict(files) => {
                if let Some(commit) = settled(merged, head) {
                    merged = commit;
                    continue;
                }
                let first = culprit(repo, base, (&heads[..position], head), &files, favor)?;
                return Ok(Joined::Stuck(Stuck { ours: merged, theirs: head, first, files }));
            }
        }
    }
    Ok(Joined::Clean(merged))
}

/// Applies what `change` did to its first parent on top of `onto`. The result has message, author and dates of `change`.
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
    let (ours, theirs) = (repo.tree_of(onto)?, repo.tree_of(change)?);
    let merged = merge_trees(repo, Some(before), ours, theirs)?;
    let by_git = || match parents.first() {
        Some(parent) => by_git(repo, Some(*parent), onto, change, Favor::Neither),
        None => Ok(None),
    };
    match settle(merged, by_git, || by_library_with_base(repo, before, ours, theirs))? {
        Outcome::Clean(tree) => {
            let message = repo.message(change)?;
            Ok(Merged::Clean(repo.commit(tree, &[onto], &message, Stamp::Of(change))?))
        }
        Outcome::Conflict(files) => Ok(Merged::Conflict { first: onto, second: change, files }),
    }
}

/// The tree without entries.
fn empty_tree(repo: &Repo) -> Result<TreeId, GitError> {
    let write = || repo.raw.treebuilder(None)?.write();
    write().map(TreeId).map_err(GitError::library("write the empty tree"))
}

/// Merges two commits that both have something of their own.
fn merge_pair(repo: &Repo, ours: CommitId, theirs: CommitId, favor: Favor) -> Result<Outcome, GitError> {
    let bases = match repo.raw.merge_bases(ours.0, theirs.0) {
        Ok(bases) => bases.iter().copied().map(CommitId).collect(),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Vec::new(),
        Err(error) => return Err(GitError::library("find the merge base")(error)),
    };
    let trees = |base: Option<TreeId>| merge_trees(repo, base, repo.tree_of(ours)?, repo.tree_of(theirs)?);
    let merged = match bases[..] {
        [] => trees(None)?,
        [base] => trees(Some(repo.tree_of(base)?))?,
        // Criss-cross: the bases have to be merged first, which git and the library know how to do.
        _ => MergedTree::Special,
    };
    settle(merged, || by_git(repo, None, ours, theirs, favor), || by_library(repo, ours, theirs, favor))
}

/// Takes a clean merge as it is. What conflicts, or asks for more than we do, is for git to decide, which looks for
/// renames and heeds `merge=` attributes; the library stands in for a git that is too old to merge in memory.
fn settle(
    merged: MergedTree,
    by_git: impl FnOnce() -> Result<Option<Outcome>, GitError>,
    by_library: impl FnOnce() -> Result<Outcome, GitError>,
) -> Result<Outcome, GitError> {
    match merged {
        MergedTree::Clean(tree) => Ok(Outcome::Clean(tree)),
        MergedTree::Conflict(_) | MergedTree::Special => match by_git()? {
            Some(outcome) => Ok(outcome),
            None => by_library(),
        },
    }
}

/// `git merge-tree`; `None` when this git has no such command (before 2.38; with a given base before 2.40; with `-X` before 2.43).
fn by_git(
    repo: &Repo,
    base: Option<CommitId>,
    ours: CommitId,
    theirs: CommitId,
    favor: Favor,
) -> Result<Option<Outcome>, GitError> {
    // The driver of all files whose attributes name none.
    let union: &[&str] = if favor == Favor::Union { &["-c", "merge.default=union"] } else { &[] };
    let option = match favor {
        Favor::Ours => Some("-Xours".to_owned()),
        Favor::Theirs => Some("-Xtheirs".to_owned()),
        Favor::Neither | Favor::Union => None,
    };
    let options = option.into_iter().chain(base.map(|base| format!("--merge-base={base}"))).collect();
    let Some(by_git) = merge_tree(repo, union, options, ours, theirs)? else { return Ok(None) };
    if by_git.is_clean {
        return Ok(Some(Outcome::Clean(by_git.tree)));
    }
    let names = by_git.files.iter().map(|name| String::from_utf8_lossy(name).into_owned());
    let mut files: Vec<String> = names.collect();
    files.sort();
    files.dedup();
    Ok(Some(Outcome::Conflict(files)))
}

/// What `git merge-tree` printed.
pub(in crate::git) struct ByGit {
    pub is_clean: bool,
    /// Files in conflict hold git's markers, with the commits' ids as labels.
    pub tree: TreeId,
    /// The names of the files in conflict.
    pub files: Vec<Vec<u8>>,
}

/// Runs `git merge-tree` with further settings (`-c`, `name=value`) and options; `None` when it does not know them.
pub(in crate::git) fn merge_tree(
    repo: &Repo,
    settings: &[&str],
    options: Vec<String>,
    ours: CommitId,
    theirs: CommitId,
) -> Result<Option<ByGit>, GitError> {
    const SETTINGS: [&str; 6] =
        ["-c", "merge.renames=true", "-c", "merge.directoryRenames=false", "-c", "merge.renormalize=false"];
    let settings = [&SETTINGS, settings].concat();
    let at = RepoPath { work_dir: None, git_dir: repo.path().common_dir.clone(), ..repo.path().clone() };
    let fixed = ["merge-tree", "--write-tree", "-z", "--name-only", "--allow-unrelated-histories"];
    let mut arguments = fixed.map(str::to_owned).to_vec();
    arguments.extend(options);
    arguments.extend([ours.to_string(), theirs.to_string()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Attributes are those of our side, not those of whatever is checked out.
    let with_attributes = command::git_at(&at).args([format!("--attr-source={ours}")]).args(&settings);
    let mut output = command::attempt(with_attributes, &arguments)?;
    if !matches!(output.code, 0 | 1) {
        output = command::attempt(command::git_at(&at).args(&settings), &arguments)?;
    }
    let mut fields = output.stdout.split(|byte| *byte == 0);
    let tree = fields.next().and_then(|tree| std::str::from_utf8(tree).ok()?.parse().ok());
    let Some(tree) = tree.filter(|_| matches!(output.code, 0 | 1)) else { return Ok(None) };
    let is_clean = output.code == 0;
    let files = fields.take_while(|name| !is_clean && !name.is_empty()).map(<[u8]>::to_vec).collect();
    Ok(Some(ByGit { is_clean, tree, files }))
}

fn by_library(repo: &Repo, ours: CommitId, theirs: CommitId, favor: Favor) -> Result<Outcome, GitError> {
    let mut options = git2::MergeOptions::new();
    options.file_favor(match favor {
        Favor::Neither => git2::FileFavor::Normal,
        Favor::Ours => git2::FileFavor::Ours,
        Favor::Theirs => git2::FileFavor::Theirs,
        Favor::Union => git2::FileFavor::Union,
    });
    let (ours, theirs) = (repo.commit_object(ours)?, repo.commit_object(theirs)?);
    let index = repo
        .raw
        .merge_commits(&ours, &theirs, Some(&options))
        .map_err(GitError::library("merge two commits"))?;
    from_index(repo, index)
}

fn by_library_with_base(
    repo: &Repo,
    base: TreeId,
    ours: TreeId,
    theirs: TreeId,
) -> Result<Outcome, GitError> {
    let (base, ours, theirs) = (repo.tree_object(base)?, repo.tree_object(ours)?, repo.tree_object(theirs)?);
    let index =
        repo.raw.merge_trees(&base, &ours, &theirs, None).map_err(GitError::library("merge two trees"))?;
    from_index(repo, index)
}

fn from_index(repo: &Repo, mut index: git2::Index) -> Result<Outcome, GitError> {
    if !index.has_conflicts() {
        let tree =
            index.write_tree_to(&repo.raw).map_err(GitError::writing(repo, "write a merged tree", 0))?;
        return Ok(Outcome::Clean(TreeId(tree)));
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
    Ok(Outcome::Conflict(files))
}

/// Of the heads merged before, the one that `head` conflicts with: the first that conflicts with it alone, else the
/// last that touched one of the files, else the base.
fn culprit(
    repo: &Repo,
    base: CommitId,
    (earlier, head): (&[CommitId], CommitId),
    files: &[String],
    favor: Favor,
) -> Result<CommitId, GitError> {
    let mut touched = None;
    for candidate in earlier.iter().copied() {
        if repo.contains(head, candidate)? {
            continue;
        }
        if let Outcome::Conflict(_) = merge_pair(repo, candidate, head, favor)? {
            return Ok(candidate);
        }
        let changes = repo.changes(repo.tree_of(base)?, repo.tree_of(candidate)?)?;
        if changes.iter().any(|change| files.iter().any(|file| *file == change.name())) {
            touched = Some(candidate);
        }
    }
    Ok(touched.or(earlier.last().copied()).unwrap_or(base))
}
