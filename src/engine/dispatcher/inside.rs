//! Nodes that are several at run time: their graphs are added to the schedule, and end them when they have ended. What
//! the graphs are is decided in `inner`.

use std::sync::Arc;
use std::time::Instant;

use super::Dispatcher;
use crate::engine::inner::{self, Closed};
use crate::engine::{RunContext, graph, setup, unit};
use crate::event::{NodeFinished, NodeResult, NodeSummary, Outcome, RunEvent};
use crate::executor::Stop;
use crate::schedule::{End, NodeId};
use crate::store::recorder::Objects;
use crate::store::runs::NodeState;

/// A node that was taken apart.
pub struct Open {
    /// Its graph, or that of its current round.
    graph: Arc<RunContext>,
    /// Nodes of that graph that have not ended.
    left: usize,
    began: Instant,
}

impl Dispatcher {
    /// Puts the first graph of a node in its place.
    pub(super) fn take_apart(&mut self, node: NodeId) {
        let (run, instance) = self.place(node);
        match inner::open(&run, instance, &self.ended, self.ended.len()) {
            Err(message) => self.fail(node, message),
            Ok(graph) => {
                self.add(node, graph, Instant::now());
            }
        }
    }

    fn add(&mut self, node: NodeId, graph: RunContext, began: Instant) {
        let (run, instance) = self.place(node);
        let graph = Arc::new(graph);
        let plan = &graph.plan;
        let given = inner::given(&graph);
        let stage = &graph.workflow.stages[graph.stage(0)];
        let summary = |&at: &usize| NodeSummary {
            given: Some(inner::given_to(given, &plan.instances[at]).to_hex()),
            ..setup::summary(plan, at, stage)
        };
        let into: Vec<NodeSummary> = plan.order.iter().map(summary).collect();
        let event = RunEvent::NodeExpanded {
            node: run.plan.instances[instance].id.clone(),
            into: into.clone(),
            round: graph.outer.as_ref().map(|outer| outer.round).filter(|&round| round > 0),
        };
        self.shared.recorder.fact(graph.journal, event, Vec::new(), Objects::None);
        self.ended.resize(graph.first + plan.instances.len(), None);
        self.graphs.push(Arc::clone(&graph));
        let left = plan.instances.len();
        let kept = self.kept(&graph, &into);
        self.open.insert(node, Open { graph: Arc::clone(&graph), left, began });
        if left == 0 {
            self.closing.push_back(node);
        }
        let ended: Vec<(NodeId, End)> = kept.iter().map(|&node| (node, End::Succeeded)).collect();
        let vertices = graph::vertices(&graph, &self.expected[graph.number]);
        let order: Vec<NodeId> = plan.order.iter().map(|at| graph.first + at).collect();
        self.commands.extend(self.scheduler.grow(node, vertices, &order, &ended));
        for _ in kept {
            self.inner_ended(node);
        }
    }

    /// Nodes of a graph that an earlier engine finished, when they were given the same: they stay finished.
    fn kept(&mut self, graph: &RunContext, into: &[NodeSummary]) -> Vec<NodeId> {
        let mut kept = Vec::new();
        for (&at, summary) in graph.plan.order.iter().zip(into) {
            let earlier = self.earlier[graph.number].as_ref();
            let view = earlier.and_then(|view| view.nodes.get(&summary.node));
            let Some(NodeState::Finished(finished)) =
                view.filter(|view| view.summary.given == summary.given).map(|view| &view.state)
            else {
                continue;
            };
            if !finished.outcome.is_success() || !self.is_there(finished) {
                continue;
            }
            let mut ended = unit::seen(finished);
            if ended.result.heads.is_empty() {
                // A person said that it is done, and nobody knew then what it was given.
                let heads = graph.heads(&graph.plan.instances[at], &self.ended);
                ended.result = Arc::new(NodeResult { heads, ..(*ended.result).clone() });
            }
            self.ended[graph.first + at] = Some(ended);
            kept.push(graph.first + at);
        }
        kept
    }

    /// One node inside of `node` has ended.
    pub(super) fn inner_ended(&mut self, node: NodeId) {
        let Some(open) = self.open.get_mut(&node) else { return };
        open.left -= 1;
        if open.left == 0 {
            self.closing.push_back(node);
        }
    }

    /// Ends a node whose graph has ended, or begins its next round.
    pub(super) fn close(&mut self, node: NodeId) {
        let Some(open) = self.open.remove(&node) else { return };
        let (run, instance) = self.place(node);
        match inner::close(&run, instance, &open.graph, &self.ended, self.ended.len()) {
            Closed::Again(next) if *self.stop.borrow() == Stop::Run => {
                self.add(node, *next, open.began);
            }
            Closed::Again(_) => {
                let id = &run.plan.instances[instance].id;
                self.tell(node, NodeFinished::without_run(id, Outcome::Cancelled, "the run was stopped"));
            }
            Closed::Ended(mut finished) => {
                if finished.outcome != Outcome::Cached {
                    let took = open.began.elapsed().as_millis();
                    finished.duration_ms = u64::try_from(took).unwrap_or(u64::MAX);
                }
                self.tell(node, *finished);
            }
        }
    }
}
