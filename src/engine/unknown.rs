//! External effects whose outcome nobody knows: a resume goes on only when a person has said what became of each. Knows
//! nothing of how the question is put.

use indexmap::IndexMap;

use super::{EngineError, base};
use crate::event::{NodeFinished, NodeResult, Outcome};
use crate::git::Joined;
use crate::git::{CommitId, GitError, Repo};
use crate::host;
use crate::plan::Plan;
use crate::store::runs::{NodeState, RunView};
use crate::store::{Store, processes};

/// What became of an external effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It happened: the node counts as succeeded, without outputs.
    Done,
    /// It did not happen, or does no harm twice: the node runs again.
    Again,
}

/// By node.
pub type Answers = IndexMap<String, Answer>;

/// The answers as a journal keeps them.
#[derive(Debug, Default)]
pub struct Settled {
    pub assumed: Vec<NodeFinished>,
    pub again: Vec<String>,
}

/// Applies the answers to a run that nobody works on.
///
/// # Errors
/// When an answer is missing, or one was given for a node of which all is known.
pub fn settle(
    (store, repo): (&Store, &Repo),
    plan: &Plan,
    base: CommitId,
    view: &RunView,
    answers: &Answers,
) -> Result<Settled, EngineError> {
    let unknown: Vec<String> = view.unknown().map(str::to_owned).collect();
    if let Some(node) = answers.keys().find(|node| !unknown.contains(node)) {
        return Err(EngineError::NotAsked { run: view.run.clone(), node: node.clone(), unknown });
    }
    let nodes: Vec<String> = unknown.iter().filter(|node| !answers.contains_key(*node)).cloned().collect();
    if !nodes.is_empty() {
        let processes = processes::read(store, &view.run).into_iter();
        let alive = processes.filter(host::is_alive).map(|process| process.pid).collect();
        return Err(EngineError::Unknown { run: view.run.clone(), nodes, alive });
    }
    let mut settled = Settled::default();
    for (node, answer) in answers {
        match answer {
            Answer::Done => settled.assumed.push(assumed(repo, plan, base, view, node)?),
            Answer::Again => settled.again.push(node.clone()),
        }
    }
    Ok(settled)
}

/// The record of a node that a person says is done. What its needs left passes through it; its own changes are lost.
fn assumed(
    repo: &Repo,
    plan: &Plan,
    base: CommitId,
    view: &RunView,
    node: &str,
) -> Result<NodeFinished, GitError> {
    let needed = plan.find(node).into_iter().flat_map(|at| plan.instances[at].needed());
    let results = needed.filter_map(|need| match &view.nodes.get(&plan.instances[need].id)?.state {
        NodeState::Finished(finished) => finished.result.as_ref(),
        NodeState::Waiting | NodeState::Running | NodeState::Asking => None,
    });
    let mut heads = base::distinct(results.flat_map(|result| &result.heads));
    if let Some(node) = plan.find(node).map(|at| plan.node(at))
        && base::decides(node)
        && let Joined::Clean(merged) = base::anew(repo, base, &base::commits(&heads), base::Rule::of(node))?
    {
        heads = base::passed_on(node, Some(merged), &heads);
    }
    Ok(NodeFinished {
        result: Some(NodeResult { heads, ..NodeResult::default() }),
        ..NodeFinished::without_run(node, Outcome::Succeeded, "assumed to be done")
    })
}
