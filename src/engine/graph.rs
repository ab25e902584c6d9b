//! What the scheduler must know of all runs, as one graph. Knows nothing of how nodes run.

use super::Shared;
use crate::schedule::{Graph, NodeId, Vertex};
use crate::store::cache::Cache;
use crate::workflow::expr::StatusUse;
use crate::workflow::model::Workspace;

/// The group of the nodes that work in the user's checkout.
const CHECKOUT: u32 = 0;

/// One scheduling problem for all runs, weighted by what earlier runs took.
pub fn graph(shared: &Shared, cache: Option<&Cache>) -> (Graph, Vec<NodeId>) {
    let mut graph = Graph::default();
    let mut order = Vec::new();
    for (number, run) in shared.runs.iter().enumerate() {
        let known = cache.map(|cache| cache.durations(&run.plan.workflow.name)).unwrap_or_default();
        let mean = known.values().sum::<u64>().checked_div(known.len() as u64).unwrap_or(1).max(1);
        let worktrees = limited(shared, number, &mut graph);
        for (position, instance) in run.plan.instances.iter().enumerate() {
            let node = run.plan.node(position);
            graph.vertices.push(Vertex {
                needs: instance.needed().map(|need| run.first + need).collect(),
                after: instance.after.iter().map(|before| run.first + before).collect(),
                decides_itself: node.when.status_use() == StatusUse::Explicit,
                group: match node.workspace {
                    Workspace::Repo => Some(CHECKOUT),
                    kind => worktrees.filter(|_| kind.is_leased()),
                },
                weight: known.get(&instance.id).copied().unwrap_or(mean).max(1),
                run: number,
                may_fail: node.allow_failure,
            });
        }
        graph.fail_fast.push(run.options.fail_fast);
        order.extend(run.plan.order.iter().map(|position| run.first + position));
    }
    (graph, order)
}

/// The group of the nodes of a run that `worktrees.max` bounds. Runs of one workflow share it.
fn limited(shared: &Shared, number: usize, graph: &mut Graph) -> Option<u32> {
    let workflow = &shared.runs[number].plan.workflow;
    let max = workflow.worktrees.max?;
    let first = shared.runs.iter().position(|run| run.plan.workflow.name == workflow.name)?;
    let group = CHECKOUT + 1 + u32::try_from(first).ok()?;
    let room = graph.room.entry(group).or_insert(max);
    *room = max.min(*room);
    Some(group)
}
