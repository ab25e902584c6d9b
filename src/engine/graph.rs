//! What the scheduler must know of all runs, as one graph. Knows nothing of how nodes run.

use std::collections::HashMap;

use super::{RunContext, Shared};
use crate::plan::{Instance, Layer};
use crate::schedule::{Graph, NodeId, Vertex};
use crate::store::cache::Cache;
use crate::workflow::expr::StatusUse;
use crate::workflow::model::Workspace;

/// The group of the nodes that work in the user's checkout.
const CHECKOUT: u32 = 0;

/// What earlier runs of a workflow took, and what bounds it.
#[derive(Debug)]
pub struct Expected {
    /// By node, milliseconds.
    durations: HashMap<String, u64>,
    mean: u64,
    worktrees: Option<u32>,
}

/// One scheduling problem for all runs, weighted by what earlier runs took.
pub fn graph(shared: &Shared, cache: Option<&Cache>) -> (Graph, Vec<NodeId>, Vec<Expected>) {
    let mut graph = Graph::default();
    let mut order = Vec::new();
    let mut all = Vec::new();
    for (number, run) in shared.runs.iter().enumerate() {
        let durations = cache.map(|cache| cache.durations(&run.workflow.name)).unwrap_or_default();
        let mean = durations.values().sum::<u64>().checked_div(durations.len() as u64).unwrap_or(1).max(1);
        let expected = Expected { durations, mean, worktrees: limited(shared, number, &mut graph) };
        graph.vertices.extend(vertices(run, &expected));
        graph.fail_fast.push(run.options.fail_fast);
        order.extend(run.plan.order.iter().map(|position| run.first + position));
        all.push(expected);
    }
    (graph, order, all)
}

/// The nodes of one graph.
pub fn vertices(run: &RunContext, expected: &Expected) -> Vec<Vertex> {
    let vertex = |(position, instance): (usize, &Instance)| {
        let node = run.plan.node(position);
        // What a node is taken apart into takes the room, not the node.
        let group = match node.workspace {
            _ if instance.layer != Layer::Work => None,
            Workspace::Repo => Some(CHECKOUT),
            kind => expected.worktrees.filter(|_| kind.is_leased()),
        };
        Vertex {
            needs: instance.needed().map(|need| run.first + need).collect(),
            after: instance.after.iter().map(|before| run.first + before).collect(),
            decides_itself: node.when.status_use() == StatusUse::Explicit,
            // Nor does it take a job; a person takes none either.
            takes_no_job: instance.layer != Layer::Work || node.is_gate(),
            group,
            weight: expected.durations.get(&instance.id).copied().unwrap_or(expected.mean).max(1),
            run: run.number,
            may_fail: node.allow_failure || run.outer.as_ref().is_some_and(|outer| outer.may_fail),
        }
    };
    run.plan.instances.iter().enumerate().map(vertex).collect()
}

/// The group of the nodes of a run that `worktrees.max` bounds. Runs of one workflow share it.
fn limited(shared: &Shared, number: usize, graph: &mut Graph) -> Option<u32> {
    let workflow = &shared.runs[number].workflow;
    let max = workflow.worktrees.max?;
    let first = shared.runs.iter().position(|run| run.workflow.name == workflow.name)?;
    let group = CHECKOUT + 1 + u32::try_from(first).ok()?;
    let room = graph.room.entry(group).or_insert(max);
    *room = max.min(*room);
    Some(group)
}
