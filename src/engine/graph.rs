//! What the scheduler must know of all runs, as one graph. Knows nothing of how nodes run.

use super::Shared;
use crate::schedule::{Graph, NodeId, Vertex};
use crate::store::cache::Cache;
use crate::workflow::expr::StatusUse;
use crate::workflow::model::Workspace;

/// One scheduling problem for all runs, weighted by what earlier runs took.
pub fn graph(shared: &Shared, cache: Option<&Cache>) -> (Graph, Vec<NodeId>) {
    let mut graph = Graph::default();
    let mut order = Vec::new();
    for (number, run) in shared.runs.iter().enumerate() {
        let known = cache.map(|cache| cache.durations(&run.plan.workflow.name)).unwrap_or_default();
        let mean = known.values().sum::<u64>().checked_div(known.len() as u64).unwrap_or(1).max(1);
        for (position, instance) in run.plan.instances.iter().enumerate() {
            let node = run.plan.node(position);
            graph.vertices.push(Vertex {
                needs: instance.needed().map(|need| run.first + need).collect(),
                after: instance.after.iter().map(|before| run.first + before).collect(),
                decides_itself: node.when.status_use() == StatusUse::Explicit,
                exclusive: (node.workspace == Workspace::Repo).then_some(0),
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
