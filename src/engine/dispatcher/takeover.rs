//! What an earlier engine did of a run that is carried on.

use std::sync::Arc;

use super::Dispatcher;
use crate::engine::{Ended, base, lookup, unit};
use crate::event::NodeFinished;
use crate::schedule::{End, Input, NodeId};

impl Dispatcher {
    /// Nodes that an earlier engine finished stay finished, unless what they left is no longer there.
    pub(super) fn take_over(&mut self) {
        let earlier = std::mem::take(&mut self.earlier);
        let shared = Arc::clone(&self.shared);
        for (run, view) in shared.runs.iter().zip(&earlier) {
            for finished in view.iter().flat_map(|view| view.kept()) {
                let Some(instance) = run.plan.find(&finished.node) else { continue };
                if self.is_there(finished) {
                    self.settle(run.first + instance, unit::seen(finished), End::Succeeded);
                }
            }
        }
        self.earlier = earlier;
    }

    /// What an earlier engine recorded of a node is still there.
    pub(super) fn is_there(&self, finished: &NodeFinished) -> bool {
        finished.result.as_ref().is_none_or(|result| {
            let heads = base::commits(&result.heads);
            lookup::is_whole(result, &self.shared, &self.repo)
                && heads.iter().all(|&head| self.repo.has_commit(head))
        })
    }

    /// For nodes that an earlier engine recorded.
    fn settle(&mut self, node: NodeId, ended: Ended, end: End) {
        self.note_end(node, ended);
        self.inputs.push_back(Input::Ended(node, end));
    }
}
