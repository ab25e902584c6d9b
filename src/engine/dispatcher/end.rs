//! The ends of stages and runs, as far as the dispatcher has a part in them: `finish` does the work.

use std::sync::Arc;
use std::time::Duration;

use super::{Dispatcher, RunReport};
use crate::engine::finish::{self, Finish};
use crate::engine::remote::{self, Sending, Sharing};
use crate::engine::repeat::Answer;
use crate::engine::signals::Signals;
use crate::event::{NodeFinished, Outcome, RunEvent, RunFinished, RunOutcome};
use crate::executor::Stop;
use crate::host;
use crate::schedule::NodeId;
use crate::store::recorder::Objects;

impl Dispatcher {
    pub(super) fn skip(&mut self, node: NodeId, need: NodeId) {
        let (run, instance) = self.place(node);
        let need_id = &run.plan.instances[need - run.first].id;
        let outcome = self.ended[need].as_ref().map_or("did not run", |ended| ended.outcome.word());
        let message = format!("needs `{need_id}`: {}", outcome.replace('_', " "));
        let id = &run.plan.instances[instance].id;
        self.record(
            node,
            NodeFinished::without_run(id, Outcome::Skipped, message),
            Vec::new(),
            Objects::None,
        );
    }

    pub(super) fn cancel(&mut self, node: NodeId) {
        let (run, instance) = self.place(node);
        let id = &run.plan.instances[instance].id;
        let message =
            if *self.stop.borrow() == Stop::Run { "another node failed" } else { "the run was stopped" };
        let finished = NodeFinished::without_run(id, Outcome::Cancelled, message);
        self.record(node, finished, Vec::new(), Objects::None);
    }

    pub(super) fn checkpoint(&mut self, number: usize, stage: usize) {
        let run = &self.shared.runs[number];
        let nodes = &self.ended[run.first..run.first + run.plan.instances.len()];
        let heads = finish::frontier(run, nodes, stage);
        let makers = if heads.len() > 1 { self.makers(number) } else { Vec::new() };
        if !heads.is_empty() {
            // Refs are about to be written. Without the note, one lost with the power would stay as an empty name.
            self.rooms.announce().ok();
        }
        self.stages.begin(&self.shared, number, stage, heads, makers);
    }

    /// Results for others that are still on their way get a bounded time; whoever interrupts again does not wait.
    pub(super) async fn last_uploads(
        &mut self,
        sending: Option<Sending>,
        signals: &mut Signals,
    ) -> Option<remote::Left> {
        let sending = sending?;
        // The run is recorded before: to its user it is over.
        self.shared.recorder.flush();
        let grace = self.shared.sharing.as_ref().filter(|_| *self.stop.borrow() == Stop::Run);
        let grace = grace.map_or(Duration::ZERO, Sharing::grace);
        let (hurry, hurried) = tokio::sync::oneshot::channel();
        let mut finish = std::pin::pin!(sending.finish(grace, hurried));
        tokio::select! {
            left = &mut finish => return Some(left),
            () = signals.next() => hurry.send(()).ok(),
        };
        Some(finish.await)
    }

    /// Results, last records, and a last look for processes that escaped.
    pub(super) async fn finish(&mut self) -> Vec<RunReport> {
        let stopped = *self.stop.borrow() != Stop::Run;
        let mut reports = Vec::new();
        for number in 0..self.shared.runs.len() {
            let run = &self.shared.runs[number];
            let nodes = self.ended[run.first..run.first + run.plan.instances.len()].to_vec();
            let makers = self.makers(number);
            let graphs = self.graphs.iter().filter(|graph| graph.number == number);
            let made = graphs.flat_map(|graph| finish::made(graph, &self.ended[graph.first..])).collect();
            let shared = Arc::clone(&self.shared);
            let asks = self.gates.of(number).map(|asked| (asked.id.clone(), asked.message.clone())).collect();
            let heads = match &run.repeat {
                Some(repeat) => repeat.heads.clone(),
                None => finish::result_heads(run, &nodes),
            };
            let finish = Finish { run: number, nodes, heads, makers, made, stopped, asks, began: self.began };
            let must_sweep = self.has_started_units;
            let ended = tokio::task::spawn_blocking(move || {
                if must_sweep {
                    host::sweep(shared.runs[number].id.as_str(), None);
                    host::orphans::end(None);
                }
                finish::run(&shared, finish)
            });
            let (finished, objects) = ended.await.unwrap_or_else(|error| {
                let finished = RunFinished {
                    outcome: RunOutcome::Failed,
                    duration_ms: 0,
                    branch: None,
                    commit: None,
                    message: format!("a bug in spb: {error}"),
                };
                (finished, Objects::None)
            });
            let run = &self.shared.runs[number];
            let event = RunEvent::RunFinished(finished.clone());
            self.shared.recorder.fact(run.journal, event, Vec::new(), objects);
            reports.push(RunReport { run: run.id.clone(), finished });
        }
        reports
    }

    /// Runs that repeat an earlier one have no nodes: their stages end at once.
    pub(super) fn take_from_earlier_runs(&mut self) {
        let shared = Arc::clone(&self.shared);
        for run in &shared.runs {
            let Some(repeat) = &run.repeat else { continue };
            self.uses.note_again(repeat.facts.cached, repeat.facts.saved_ms);
            for (stage, heads) in &repeat.stages {
                if !heads.is_empty() {
                    // As for any checkpoint.
                    self.rooms.announce().ok();
                }
                self.stages.begin(&shared, run.number, *stage, heads.clone(), Vec::new());
            }
        }
    }

    /// What is to be kept of a run that took everything from the cache.
    pub(super) fn answer(&self, reports: &[RunReport]) -> Option<Answer> {
        let [run] = self.shared.runs.as_slice() else { return None };
        let is_plain = !self.has_started_units && self.graphs.len() == 1 && self.earlier[0].is_none();
        let succeeded = reports.iter().all(|report| report.finished.outcome == RunOutcome::Succeeded);
        if !is_plain || !succeeded || *self.stop.borrow() != Stop::Run {
            return None;
        }
        let stages = self.stages.all_made(0)?;
        Answer::of(run, &self.ended, stages, self.generation?, self.uses.saved_ms())
    }
}
