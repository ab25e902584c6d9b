//! Finds nodes of a recorded run, and the trees that one had and left. Shared by the verbs that take a node.

use super::{Failure, branch};
use crate::event::{NodeFinished, NodeResult};
use crate::git::{CommitId, Repo, Stamp, TreeId};
use crate::plan::is_part;
use crate::report::text;
use crate::store::runs::{NodeState, NodeView, RunView};
use crate::workflow::suggest::nearest;

/// The one node of the run that is meant: its id, or a name that only one instance has.
///
/// # Errors
/// When there is none, or several: instances, or nodes that ran in its place.
pub fn find<'v>(view: &'v RunView, name: &str) -> Result<&'v NodeView, Failure> {
    if let Some(node) = view.nodes.get(name).filter(|node| !node.is_expanded) {
        return Ok(node);
    }
    let instances = instances(view, name);
    match instances.as_slice() {
        [only] => Ok(only),
        [] => Err(unknown(view, name)),
        [first, ..] => Err(Failure::invalid(format!(
            "`{name}` has {} in run {}",
            text::count(instances.len(), "instance"),
            view.run
        ))
        .with_help(format!("name one of them, such as `{}`", first.summary.node))),
    }
}

/// The node of this id, or all instances of the node of this name, in plan order. Where others ran in the place of a
/// node, those are meant.
pub fn instances<'v>(view: &'v RunView, name: &str) -> Vec<&'v NodeView> {
    let meant = || view.nodes.values().filter(|node| is_part(&node.summary.node, name));
    let inner: Vec<&NodeView> = meant().filter(|node| !node.is_expanded).collect();
    // Nothing ran in the place of a list without items.
    if inner.is_empty() { meant().collect() } else { inner }
}

/// The failure of a name that is no node of the run.
pub fn unknown(view: &RunView, name: &str) -> Failure {
    let failure = Failure::invalid(format!("run {} has no node `{name}`", view.run));
    match nearest(name, view.nodes.keys().map(String::as_str)) {
        Some(nearest) => failure.with_help(format!("did you mean `{nearest}`?")),
        None => failure.with_help(format!("`spb status {}` lists the nodes", view.run)),
    }
}

/// How the node ended.
///
/// # Errors
/// When it has not.
pub fn finished<'v>(view: &RunView, node: &'v NodeView) -> Result<&'v NodeFinished, Failure> {
    match &node.state {
        NodeState::Finished(finished) => Ok(finished),
        NodeState::Waiting | NodeState::Running | NodeState::Asking => {
            let id = &node.summary.node;
            Err(Failure::invalid(format!("the node `{id}` of run {} has not ended", view.run))
                .with_help(format!("`spb status {}` shows where the run is", view.run)))
        }
    }
}

/// The tree that the node started from, and the one that it left: the same when it changed nothing.
///
/// # Errors
/// When it had no files, or they are gone.
pub fn trees(repo: &Repo, view: &RunView, finished: &NodeFinished) -> Result<(TreeId, TreeId), Failure> {
    if let Some(commit) = own_commit(finished)? {
        let base = before(repo, finished, commit)?;
        let base = base.ok_or_else(|| Failure::environment("a result without a base"))?;
        return Ok((repo.tree_of(base)?, repo.tree_of(commit)?));
    }
    let Some(tree) = &finished.base_tree else {
        let message =
            format!("the node `{}` of run {} had no files of the repository", finished.node, view.run);
        return Err(Failure::invalid(message)
            .with_help(format!("`spb why {} {}` tells why", finished.node, view.run)));
    };
    let tree =
        tree.parse().map_err(|_| Failure::environment(format!("a record of spb is damaged: `{tree}`")))?;
    Ok((tree, tree))
}

/// A commit with the files that the node started from.
///
/// # Errors
/// As [`trees`].
pub fn base(repo: &Repo, view: &RunView, finished: &NodeFinished) -> Result<CommitId, Failure> {
    if let Some(commit) = own_commit(finished)?
        && let Some(base) = before(repo, finished, commit)?
    {
        return Ok(base);
    }
    let (tree, _) = trees(repo, view, finished)?;
    let start = branch::commit_id(&view.started.base)?;
    if repo.tree_of(start)? == tree {
        return Ok(start);
    }
    // Needs that were merged in memory: the files are there, under no commit that the node's record names.
    let message = format!("spb: base of {}", finished.node);
    Ok(repo.commit(tree, &[start], &message, Stamp::Like(start))?)
}

/// What the node's commits begin on.
fn before(repo: &Repo, finished: &NodeFinished, commit: CommitId) -> Result<Option<CommitId>, Failure> {
    let count = finished.result.as_ref().map_or(1, NodeResult::commits);
    Ok(repo.before(commit, count)?)
}

/// The commit that the node made, if it changed anything.
///
/// # Errors
/// When the record is damaged.
pub fn own_commit(finished: &NodeFinished) -> Result<Option<CommitId>, Failure> {
    branch::optional_commit(finished.result.as_ref().and_then(|result| result.commit.as_ref()))
}
