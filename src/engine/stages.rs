//! Stages as they end: which still have open nodes, and their checkpoints, made side by side and told in order.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::finish::{self, StageEnd};
use super::{RunContext, Shared};
use crate::event::RunEvent;

/// The stages of all runs.
pub struct Stages {
    runs: Vec<Run>,
    tasks: JoinSet<StageEnd>,
}

struct Run {
    /// By stage: nodes that have not ended.
    open: Vec<usize>,
    /// Checkpoints in the order in which they were begun, and how many of them were told.
    begun: Vec<usize>,
    told: usize,
    /// Made, and waiting for an earlier one.
    made: Vec<StageEnd>,
    /// One of them has no commit.
    lacks_one: bool,
}

impl Stages {
    pub fn new(runs: &[Arc<RunContext>]) -> Self {
        let runs = runs.iter().map(|run| Run {
            open: open_by_stage(run),
            begun: Vec::new(),
            told: 0,
            made: Vec::new(),
            lacks_one: false,
        });
        Self { runs: runs.collect(), tasks: JoinSet::new() }
    }

    /// One node of a stage has ended. Returns the stages that have ended by it: a stage that ends before an earlier one
    /// waits for that.
    pub fn node_ended(&mut self, run: usize, stage: usize) -> std::ops::Range<usize> {
        let open = &mut self.runs[run].open;
        open[stage] -= 1;
        if open[stage] > 0 {
            return stage..stage;
        }
        stage..open.iter().take_while(|&&open| open == 0).count().max(stage)
    }

    /// Begins to make a checkpoint.
    pub fn begin(
        &mut self,
        shared: &Arc<Shared>,
        run: usize,
        stage: usize,
        heads: Vec<String>,
        makers: Vec<(String, String)>,
    ) {
        self.runs[run].begun.push(stage);
        let shared = Arc::clone(shared);
        self.tasks.spawn_blocking(move || finish::checkpoint(&shared, run, stage, &heads, &makers));
    }

    /// Waits for the next one to be made; `None` when none is under way.
    pub async fn next(&mut self) -> Option<StageEnd> {
        match self.tasks.join_next().await? {
            Ok(end) => Some(end),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// The stages of a run in the order in which they ended, if each has its checkpoint.
    pub fn all_made(&self, run: usize) -> Option<&[usize]> {
        let run = &self.runs[run];
        (!run.lacks_one && run.told == run.begun.len()).then_some(&run.begun)
    }

    /// Records what was made, as far as everything before it is made.
    pub fn tell(&mut self, shared: &Shared, end: StageEnd) {
        let context = &shared.runs[end.run];
        let run = &mut self.runs[end.run];
        run.lacks_one |= end.commit.is_none();
        run.made.push(end);
        while let Some(next) = run.begun.get(run.told) {
            let Some(position) = run.made.iter().position(|end| end.stage == *next) else { return };
            let end = run.made.swap_remove(position);
            run.told += 1;
            let event = RunEvent::StageFinished {
                stage: context.plan.workflow.stages[end.stage].clone(),
                commit: end.commit,
                note: end.note,
            };
            shared.recorder.fact(context.journal, event, Vec::new(), end.objects);
        }
    }
}

fn open_by_stage(run: &RunContext) -> Vec<usize> {
    let mut open = vec![0; run.plan.workflow.stages.len()];
    for instance in 0..run.plan.instances.len() {
        open[run.plan.node(instance).stage] += 1;
    }
    open
}
