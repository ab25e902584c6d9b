//! A run as JSON: the one shape that `status`, `runs` and `apply --json` print. Knows the words, not who asks.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::next;
use crate::event::{LogPlace, NodeFinished, Outcome, Repeats, Usage};
use crate::store::runs::{Asked, NodeState, NodeView, RunState, RunView, StageView};

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub run: String,
    pub workflow: String,
    /// As the user named it.
    pub file: String,
    /// `running`, `interrupted`, `succeeded`, `failed`, `cancelled`, `waiting` (for an answer).
    pub state: &'static str,
    /// RFC 3339 in UTC.
    pub began: String,
    /// When its last fact was recorded.
    pub last: String,
    /// Wall time of the last engine, milliseconds; absent without an end.
    pub duration_ms: Option<u64>,
    pub base: String,
    pub base_revision: String,
    pub jobs: usize,
    pub counts: Counts,
    /// What cached nodes took when they were made, milliseconds.
    pub saved_ms: u64,
    pub branch: Option<String>,
    pub commit: Option<String>,
    pub message: Option<String>,
    /// Files that differ between the base and the result's commit, where someone counted them.
    pub changed_files: Option<usize>,
    /// Process id of the engine that worked on it last.
    pub pid: u32,
    pub inputs: IndexMap<String, Value>,
    /// Stages that have ended, in order.
    pub stages: Vec<Stage>,
    pub warnings: Vec<String>,
    /// What to type next, most useful first.
    pub next: Vec<String>,
    /// In the long form only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<Node>>,
}

/// How many nodes are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub total: usize,
    /// Succeeded after having run.
    pub ran: usize,
    pub cached: usize,
    /// Of these, taken from the remote cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub remote: usize,
    /// Failed or timed out, allowed or not.
    pub failed: usize,
    pub skipped: usize,
    pub cancelled: usize,
    pub running: usize,
    /// Have put a question to a person that is not answered.
    pub asking: usize,
    pub waiting: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct Node {
    pub node: String,
    pub stage: String,
    pub needs: Vec<String>,
    /// `waiting`, `running`, `asking`, `answered` (and no engine has acted on it), `interrupted`, or the outcome: `succeeded`, `cached`, `failed`, `timed_out`, `skipped`,
    /// `cancelled`.
    pub state: &'static str,
    pub attempts: u32,
    /// Why it ran, failed, was skipped or cached.
    pub why: String,
    pub started: Option<String>,
    pub duration_ms: Option<u64>,
    pub saved_ms: Option<u64>,
    /// Its result came from the remote cache.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub remote: bool,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub allowed_to_fail: bool,
    pub key: Option<String>,
    pub commit: Option<String>,
    /// Files that it changed.
    pub changed: Option<usize>,
    pub outputs: IndexMap<String, Value>,
    /// Where its log is.
    pub log: Option<LogPlace>,
    pub usage: Option<Usage>,
    /// The question that it puts to a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
}

/// A question of a gate that has not ended.
#[derive(Clone, Debug, Serialize)]
pub struct Question {
    pub message: String,
    /// RFC 3339 in UTC.
    pub since: String,
    /// When it expires.
    pub until: Option<String>,
    /// `approved`, `rejected` or `expired`, once it is answered.
    pub verdict: Option<&'static str>,
    pub answer: Option<String>,
    pub by: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    pub stage: String,
    pub commit: Option<String>,
    pub note: Option<String>,
}

/// The short form.
pub fn run(view: &RunView) -> Run {
    let finished = view.finished.as_ref();
    Run {
        run: view.run.to_string(),
        workflow: view.started.workflow.clone(),
        file: view.started.file.clone(),
        state: view.state().word(),
        began: view.began.clone(),
        last: view.last.clone(),
        duration_ms: finished.map(|finished| finished.duration_ms),
        base: view.started.base.clone(),
        base_revision: view.started.base_revision.clone(),
        jobs: view.started.jobs,
        counts: counts(view),
        saved_ms: saved_ms(view),
        branch: finished.and_then(|finished| finished.branch.clone()),
        commit: finished.and_then(|finished| finished.commit.clone()),
        message: finished.map(|finished| finished.message.clone()),
        changed_files: None,
        pid: view.engine.process.pid,
        inputs: view.started.inputs.clone(),
        stages: view.stages.iter().map(stage).collect(),
        warnings: view.warnings.clone(),
        next: next::commands(view),
        nodes: None,
    }
}

/// The long form: with every node.
pub fn details(view: &RunView) -> Run {
    let state = view.state();
    let nodes = view.nodes.values().map(|view| node(view, state));
    Run { nodes: Some(nodes.collect()), ..run(view) }
}

/// Counts the nodes of a run by state.
pub fn counts(view: &RunView) -> Counts {
    let mut counts = Counts::default();
    if let Some(repeats) = only_counted(view) {
        let skipped = repeats.nodes.saturating_sub(repeats.cached);
        return Counts { total: repeats.nodes, cached: repeats.cached, skipped, ..counts };
    }
    for node in view.steps() {
        counts.total += 1;
        if let NodeState::Finished(finished) = &node.state {
            counts.remote += usize::from(finished.remote);
        }
        let place = match &node.state {
            NodeState::Waiting => &mut counts.waiting,
            NodeState::Running => &mut counts.running,
            NodeState::Asking => &mut counts.asking,
            NodeState::Finished(finished) => match finished.outcome {
                Outcome::Succeeded => &mut counts.ran,
                Outcome::Cached => &mut counts.cached,
                Outcome::Failed | Outcome::TimedOut => &mut counts.failed,
                Outcome::Skipped => &mut counts.skipped,
                Outcome::Cancelled => &mut counts.cancelled,
            },
        };
        *place += 1;
    }
    counts
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// What the cache saved, milliseconds.
pub fn saved_ms(view: &RunView) -> u64 {
    only_counted(view)
        .map_or_else(|| finished(view).map(|finished| finished.saved_ms).sum(), |repeats| repeats.saved_ms)
}

/// What is known of the nodes of a run that repeats another one, while nobody has read what that one recorded.
fn only_counted(view: &RunView) -> Option<&Repeats> {
    view.started.repeats.as_deref().filter(|_| view.nodes.is_empty())
}

/// The nodes that have ended, in plan order; not those in whose place others ran.
pub fn finished(view: &RunView) -> impl Iterator<Item = &NodeFinished> {
    view.steps().filter_map(|node| match &node.state {
        NodeState::Finished(finished) => Some(&**finished),
        NodeState::Waiting | NodeState::Running | NodeState::Asking => None,
    })
}

/// The state of a node in one word. A node cannot run without its engine.
pub fn state_word(node: &NodeView, run: RunState) -> &'static str {
    match &node.state {
        NodeState::Waiting => "waiting",
        NodeState::Running if run == RunState::Running => "running",
        // What it consists of waits for answers.
        NodeState::Running if run == RunState::Waiting => "waiting",
        NodeState::Running if node.summary.external => "unknown",
        NodeState::Running => "interrupted",
        NodeState::Asking if node.asked.as_ref().is_some_and(|asked| asked.answer.is_some()) => "answered",
        NodeState::Asking => "asking",
        NodeState::Finished(finished) => finished.outcome.word(),
    }
}

fn stage(view: &StageView) -> Stage {
    Stage { stage: view.stage.clone(), commit: view.commit.clone(), note: view.note.clone() }
}

fn node(view: &NodeView, run: RunState) -> Node {
    let finished = match &view.state {
        NodeState::Finished(finished) => Some(&**finished),
        NodeState::Waiting | NodeState::Running | NodeState::Asking => None,
    };
    let result = finished.and_then(|finished| finished.result.as_ref());
    let open = view.asked.as_ref().filter(|asked| !asked.is_settled);
    Node {
        node: view.summary.node.clone(),
        stage: view.summary.stage.clone(),
        needs: view.summary.needs.clone(),
        state: state_word(view, run),
        attempts: finished.map_or(view.attempts, |finished| finished.attempts),
        why: finished
            .map(|finished| &finished.message)
            .filter(|text| !text.is_empty())
            .or(open.map(|asked| &asked.message))
            .unwrap_or(&view.why)
            .clone(),
        started: view.started.clone(),
        duration_ms: finished.map(|finished| finished.duration_ms),
        saved_ms: finished.map(|finished| finished.saved_ms),
        remote: finished.is_some_and(|finished| finished.remote),
        exit_code: finished.and_then(|finished| finished.exit_code),
        signal: finished.and_then(|finished| finished.signal),
        allowed_to_fail: finished.is_some_and(|finished| finished.allowed_to_fail),
        key: finished.and_then(|finished| finished.key.clone()),
        commit: result.and_then(|result| result.commit.clone()),
        changed: result.map(|result| result.changed_total),
        outputs: result.map(|result| result.outputs.clone()).unwrap_or_default(),
        log: finished.and_then(|finished| finished.log.clone()),
        usage: finished.map(|finished| finished.usage),
        question: open.map(question),
    }
}

fn question(asked: &Asked) -> Question {
    let answer = asked.answer.as_ref();
    Question {
        message: asked.message.clone(),
        since: asked.since.clone(),
        until: asked.until.clone(),
        verdict: answer.map(|answer| answer.verdict.word()),
        answer: answer.map(|answer| answer.message.clone()),
        by: answer.map(|answer| answer.by.clone()),
    }
}
