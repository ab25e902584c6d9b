//! The dispatcher's dealings with gates: when a question is put, when its answer is looked for, and when the process
//! leaves because only answers are missing.

use super::Dispatcher;
use crate::engine::gate::Question;
use crate::engine::{prepare, unit};
use crate::plan::Role;
use crate::schedule::NodeId;
use crate::workflow::expr::Template;

impl Dispatcher {
    /// The node asks a person. It takes no job meanwhile.
    pub(super) fn ask(&mut self, node: NodeId, message: &Template) {
        let (run, instance) = self.place(node);
        let planned = &run.plan.instances[instance];
        if planned.role == Role::CacheOnly {
            return self.fail(node, unit::only_message("a person's answer holds for one run"));
        }
        let message = match prepare::question(&run, planned, message, &self.ended) {
            Ok(message) => message,
            Err(error) => return self.fail(node, error.to_string()),
        };
        let question = Question {
            node,
            run: run.number,
            id: planned.id.clone(),
            message,
            timeout: run.plan.node(instance).timeout,
            allow_failure: run.plan.node(instance).allow_failure,
            heads: run.heads(planned, &self.ended),
        };
        if let Some(finished) = self.gates.ask(&self.shared, question) {
            self.tell(node, finished);
        }
    }

    /// Takes the answers that have come.
    pub(super) fn take_answers(&mut self) {
        for (node, finished) in self.gates.answered(&self.shared) {
            self.tell(node, finished);
        }
    }

    /// Ends the gates of one run, or all of them, without an answer.
    pub(super) fn stop_asking(&mut self, run: Option<usize>, why: &str) {
        for (node, finished) in self.gates.close(run, why) {
            self.tell(node, finished);
        }
    }

    /// Nothing is left to do in this process.
    pub(super) fn is_over(&mut self) -> bool {
        self.scheduler.is_done() && self.units.is_empty() || self.may_leave()
    }

    /// The answers that are missing can come when the process is gone.
    fn may_leave(&mut self) -> bool {
        let is_busy = self.scheduler.running() > 0 || !self.units.is_empty() || self.has_more();
        if self.gates.is_empty() || is_busy {
            self.gates.something_runs();
            return false;
        }
        if !self.gates.only_asks(&self.shared) {
            return false;
        }
        // One that came just now is taken along.
        self.take_answers();
        if !self.has_more() {
            return true;
        }
        self.carry_out();
        self.is_over()
    }
}
