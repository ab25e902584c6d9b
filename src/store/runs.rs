//! Runs as a reader sees them: folded from their journals, newest first. Locks nothing, writes nothing.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use indexmap::IndexMap;

use super::decisions::{self, Decision};
use super::{Store, StoreError, journal, repeats};
use crate::event::{Engine, NodeFinished, NodeSummary, Outcome, Record, RunEvent, RunFinished, RunStarted};
use crate::host;
use crate::name::RunId;

/// What is known of one run.
#[derive(Clone, Debug)]
pub struct RunView {
    pub run: RunId,
    pub started: RunStarted,
    /// When it began and when its last record was written, RFC 3339.
    pub began: String,
    pub last: String,
    /// The engine that worked on it last.
    pub engine: Engine,
    /// By node id, in plan order, what lies inside of a node behind it. As long as records are taken in, nodes that are taken
    /// apart then come last.
    pub nodes: IndexMap<String, NodeView>,
    /// What each node that was taken apart consists of, in order.
    inside: HashMap<String, Vec<String>>,
    pub stages: Vec<StageView>,
    pub warnings: Vec<String>,
    /// Absent while it runs and after a crash. A resume takes an earlier end back.
    pub finished: Option<RunFinished>,
    pub seq: u64,
    /// Bytes of whole records.
    pub whole: u64,
}

#[derive(Clone, Debug)]
pub struct NodeView {
    pub summary: NodeSummary,
    pub state: NodeState,
    /// Attempts started so far.
    pub attempts: u32,
    /// Why it ran, from its last start.
    pub why: String,
    /// When the last attempt started, RFC 3339.
    pub started: Option<String>,
    /// The node that was taken apart into this one and others.
    pub inside: Option<String>,
    /// Other nodes run in its place.
    pub is_expanded: bool,
    /// The last question it put, if it is a gate.
    pub asked: Option<Asked>,
}

/// A question to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub number: u32,
    /// Of its record in the journal.
    pub seq: u64,
    pub message: String,
    pub about: String,
    /// When it was put first, and when it expires, RFC 3339.
    pub since: String,
    pub until: Option<String>,
    /// The node has ended by its answer, or without one for good: no answer is taken any more.
    pub is_settled: bool,
    /// Its answer, as long as no engine has acted on it.
    pub answer: Option<Decision>,
}

impl NodeView {
    fn waiting(summary: &NodeSummary) -> Self {
        Self {
            summary: summary.clone(),
            state: NodeState::Waiting,
            attempts: 0,
            why: String::new(),
            started: None,
            inside: None,
            is_expanded: false,
            asked: None,
        }
    }

    /// It has an external effect and began, and neither succeeded nor said by its exit code that it failed. One that
    /// exited with 0 and lacks what it promised has had its effect.
    fn is_unknown(&self) -> bool {
        self.summary.external
            && match &self.state {
                NodeState::Waiting | NodeState::Asking => false,
                NodeState::Running => true,
                NodeState::Finished(finished) => match finished.outcome {
                    Outcome::Failed => finished.exit_code == Some(0) || finished.signal.is_some(),
                    Outcome::TimedOut | Outcome::Cancelled => finished.attempts > 0,
                    Outcome::Succeeded | Outcome::Cached | Outcome::Skipped => false,
                },
            }
    }
}

#[derive(Clone, Debug)]
pub enum NodeState {
    Waiting,
    Running,
    /// It has put a question to a person, and its end is not recorded.
    Asking,
    Finished(Box<NodeFinished>),
}

#[derive(Clone, Debug)]
pub struct StageView {
    pub stage: String,
    pub commit: Option<String>,
    pub note: Option<String>,
}

/// A run's state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    Running,
    /// Its engine is gone and it has no end.
    Interrupted,
    Succeeded,
    Failed,
    Cancelled,
    /// No engine works on it: what is left needs a person's answer.
    Waiting,
}

impl RunState {
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Waiting => "waiting",
        }
    }
}

impl RunView {
    pub fn state(&self) -> RunState {
        use crate::event::RunOutcome;
        match &self.finished {
            Some(finished) => match finished.outcome {
                RunOutcome::Succeeded => RunState::Succeeded,
                RunOutcome::Failed => RunState::Failed,
                RunOutcome::Cancelled => RunState::Cancelled,
                RunOutcome::Waiting => RunState::Waiting,
            },
            None if host::is_alive(&self.engine.process) => RunState::Running,
            None => RunState::Interrupted,
        }
    }

    /// Finished nodes that a resume keeps: those that succeeded.
    pub fn kept(&self) -> impl Iterator<Item = &NodeFinished> {
        self.nodes.values().filter_map(|node| match &node.state {
            NodeState::Finished(finished) if finished.outcome.is_success() => Some(&**finished),
            _ => None,
        })
    }

    /// Nodes whose external effect may or may not have come about, once no engine works on the run.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        self.nodes.values().filter(|node| node.is_unknown()).map(|node| node.summary.node.as_str())
    }

    /// The nodes that do the work: those in whose place others run count only for what those do not say.
    pub fn steps(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.values().filter(|node| !node.is_expanded || self.failed_by_itself(node))
    }

    /// All went well inside of the node, and it failed: its `until` never held, or an output has no value.
    fn failed_by_itself(&self, node: &NodeView) -> bool {
        let failed = |node: &NodeView| match &node.state {
            NodeState::Finished(finished) => finished.outcome.is_failure(),
            NodeState::Waiting | NodeState::Running | NodeState::Asking => false,
        };
        let id = &node.summary.node;
        let mut inside = self.inside.get(id).into_iter().flatten().filter_map(|inner| self.nodes.get(inner));
        failed(node) && !inside.any(failed)
    }

    /// Questions that can be answered, or were and no engine has acted on it, by node, in the order in which they were put.
    pub fn questions(&self) -> impl Iterator<Item = (&str, &Asked)> {
        let asked = self.nodes.iter().filter_map(|(id, node)| Some((id.as_str(), node.asked.as_ref()?)));
        let mut open: Vec<_> = asked.filter(|(_, asked)| !asked.is_settled).collect();
        open.sort_by_key(|(_, asked)| asked.seq);
        open.into_iter()
    }

    /// Those that nobody has answered.
    pub fn unanswered(&self) -> impl Iterator<Item = (&str, &Asked)> {
        self.questions().filter(|(_, asked)| asked.answer.is_none())
    }

    /// How many nodes it has. Where it is told while it repeats another run, they are only counted.
    pub fn size(&self) -> usize {
        match &self.started.repeats {
            Some(repeats) if self.nodes.is_empty() => repeats.nodes,
            _ => self.nodes.len(),
        }
    }

    pub fn count(&self, matches: impl Fn(Outcome) -> bool) -> usize {
        let ended = self.steps().filter_map(|node| match &node.state {
            NodeState::Finished(finished) => Some(finished.outcome),
            NodeState::Waiting | NodeState::Running | NodeState::Asking => None,
        });
        ended.filter(|&outcome| matches(outcome)).count()
    }

    /// A run of which only the beginning is known.
    pub fn new(record: &Record, started: &RunStarted) -> Self {
        let node = |summary: &NodeSummary| (summary.node.clone(), NodeView::waiting(summary));
        Self {
            run: record.run.clone(),
            nodes: started.nodes.iter().map(node).collect(),
            started: started.clone(),
            began: record.time.clone(),
            last: record.time.clone(),
            engine: started.engine.clone(),
            inside: HashMap::new(),
            stages: Vec::new(),
            warnings: Vec::new(),
            finished: None,
            seq: record.seq,
            whole: 0,
        }
    }

    /// Takes the next record in.
    pub fn apply(&mut self, record: &Record) {
        self.seq = record.seq;
        self.last.clone_from(&record.time);
        match &record.event {
            RunEvent::RunStarted(_) => {}
            RunEvent::RunResumed { engine, assumed, .. } => self.resumed(engine, assumed),
            RunEvent::NodeStarted { node, attempt, why } => {
                if let Some(view) = self.nodes.get_mut(node) {
                    view.state = NodeState::Running;
                    view.attempts = *attempt;
                    view.why.clone_from(why);
                    view.started = Some(record.time.clone());
                }
            }
            RunEvent::NodeSettling { node, agent, files } => {
                if let Some(view) = self.nodes.get_mut(node) {
                    view.state = NodeState::Running;
                    view.attempts = 1;
                    view.why = format!("`{agent}` settles {}", files.join(", "));
                    view.started = Some(record.time.clone());
                }
            }
            RunEvent::NodeRetry { .. } => {}
            RunEvent::NodeExpanded { node, into, round } => {
                self.expanded(node, into, *round, &record.time);
            }
            RunEvent::ApprovalAsked { node, number, message, about, until } => {
                if let Some(view) = self.nodes.get_mut(node) {
                    let since = match &view.asked {
                        Some(before) if before.number == *number => before.since.clone(),
                        _ => record.time.clone(),
                    };
                    view.state = NodeState::Asking;
                    view.started = Some(since.clone());
                    view.asked = Some(Asked {
                        number: *number,
                        seq: record.seq,
                        message: message.clone(),
                        about: about.clone(),
                        since,
                        until: until.clone(),
                        is_settled: false,
                        answer: None,
                    });
                }
            }
            RunEvent::NodeFinished(finished) => {
                if let Some(view) = self.nodes.get_mut(&finished.node) {
                    if let Some(asked) = &mut view.asked {
                        // A question that a stop cut off is still there for the next engine.
                        asked.is_settled = finished.outcome != Outcome::Cancelled;
                    }
                    view.state = NodeState::Finished(finished.clone());
                }
            }
            RunEvent::StageFinished { stage, commit, note } => {
                self.stages.retain(|view| view.stage != *stage);
                self.stages.push(StageView {
                    stage: stage.clone(),
                    commit: commit.clone(),
                    note: note.clone(),
                });
            }
            RunEvent::Warning { node, message } => {
                let place = node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default();
                self.warnings.push(format!("{place}{message}"));
            }
            RunEvent::RunFinished(finished) => {
                self.finished = Some(finished.clone());
                self.put_in_order();
            }
        }
    }

    /// What a node consists of. What it does not consist of any more is forgotten: other items, or the rounds that followed
    /// when this one was given something else.
    fn expanded(&mut self, node: &str, into: &[NodeSummary], round: Option<u32>, time: &str) {
        if !self.nodes.contains_key(node) {
            return;
        }
        let all_same = into.iter().all(|summary| is_same_as(self.nodes.get(&summary.node), summary));
        let new: HashSet<&str> = into.iter().map(|summary| summary.node.as_str()).collect();
        let before = self.inside.remove(node).unwrap_or_default();
        let other = before.into_iter().filter(|id| !new.contains(id.as_str()));
        let (mut earlier, mut later): (Vec<String>, Vec<String>) =
            other.partition(|id| number_of_round(node, id).is_some_and(|number| Some(number) < round));
        if round.is_none() || !all_same {
            self.forget(std::mem::take(&mut later));
        }
        for summary in into {
            if !is_same_as(self.nodes.get(&summary.node), summary) {
                self.nodes.insert(summary.node.clone(), NodeView::waiting(summary));
            }
            self.nodes[&summary.node].inside = Some(node.to_owned());
            earlier.push(summary.node.clone());
        }
        earlier.append(&mut later);
        self.inside.insert(node.to_owned(), earlier);
        let view = &mut self.nodes[node];
        view.is_expanded = true;
        if matches!(view.state, NodeState::Waiting) {
            view.state = NodeState::Running;
            view.started = Some(time.to_owned());
        }
    }

    /// With all that lies inside of them. The order is made up for later.
    fn forget(&mut self, mut gone: Vec<String>) {
        while let Some(id) = gone.pop() {
            self.nodes.swap_remove(&id);
            gone.extend(self.inside.remove(&id).unwrap_or_default());
        }
    }

    /// Puts the nodes inside of a node right behind it, rounds in their order. Once for all: nodes that are taken apart are
    /// many, and each by itself would move all that come after it.
    fn put_in_order(&mut self) {
        if self.inside.is_empty() {
            return;
        }
        let mut from = std::mem::take(&mut self.nodes);
        let mut next: Vec<&String> = self.started.nodes.iter().rev().map(|summary| &summary.node).collect();
        while let Some(id) = next.pop() {
            if let Some((id, view)) = from.swap_remove_entry(id) {
                next.extend(self.inside.get(&id).into_iter().flatten().rev());
                self.nodes.insert(id, view);
            }
        }
    }

    /// What had not succeeded will be tried again.
    fn resumed(&mut self, engine: &Engine, assumed: &[NodeFinished]) {
        self.engine = engine.clone();
        self.finished = None;
        for view in self.nodes.values_mut() {
            match &view.state {
                NodeState::Finished(finished) if finished.outcome.is_success() => {}
                _ => view.state = NodeState::Waiting,
            }
        }
        self.assume(assumed);
    }

    /// Takes nodes for finished because a person says so.
    pub fn assume(&mut self, assumed: &[NodeFinished]) {
        for finished in assumed {
            if let Some(view) = self.nodes.get_mut(&finished.node) {
                view.state = NodeState::Finished(Box::new(finished.clone()));
            }
        }
    }
}

fn is_same_as(view: Option<&NodeView>, summary: &NodeSummary) -> bool {
    view.is_some_and(|view| view.summary.given == summary.given)
}

/// Which round of a `loop` a node is.
fn number_of_round(node: &str, id: &str) -> Option<u32> {
    id.strip_prefix(node)?.strip_prefix('#')?.parse().ok()
}

/// Reads one run.
///
/// # Errors
/// When its journal cannot be read, is damaged, or has no beginning.
pub fn view(store: &Store, run: &RunId) -> Result<RunView, StoreError> {
    let path = store.journal(run);
    let journal = journal::read(&path)?;
    let mut records = journal.records.iter();
    let begin = records.next().and_then(|record| match &record.event {
        RunEvent::RunStarted(started) => Some((record, started)),
        _ => None,
    });
    let Some((record, started)) = begin else {
        return Err(StoreError::Damaged { path, reason: "it does not begin with the start of a run".into() });
    };
    let mut view = match &started.repeats {
        None => RunView::new(record, started),
        Some(repeated) => {
            let facts = repeats::facts(store, run, repeated)?;
            let mut started = started.clone();
            started.nodes = facts.nodes;
            let mut view = RunView::new(record, &started);
            view.assume(&facts.finished);
            view
        }
    };
    for record in records {
        view.apply(record);
    }
    view.put_in_order();
    view.whole = journal.whole;
    for (id, node) in &mut view.nodes {
        if let Some(asked) = node.asked.as_mut().filter(|asked| !asked.is_settled) {
            // One that cannot be read is the business of the engine, which says so.
            asked.answer = decisions::read(store, run, id, asked.number).ok().flatten();
        }
    }
    Ok(view)
}

/// The ids of all runs, newest first. A folder without a journal (killed before the first record) is no run.
pub fn list(store: &Store) -> Vec<RunId> {
    let Ok(directory) = std::fs::read_dir(store.runs_directory()) else { return Vec::new() };
    let mut runs: Vec<RunId> = directory
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(RunId::parse))
        .filter(|run| std::fs::metadata(store.journal(run)).is_ok_and(|meta| meta.len() > 0))
        .collect();
    runs.sort_unstable_by(|a, b| b.cmp(a));
    runs
}

/// A run as a person names it: `latest`, a whole id, or any part of one that fits only one run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    #[error("there are no runs yet")]
    None,
    #[error("no run matches `{0}`")]
    Unknown(String),
    #[error("`{0}` fits several runs: {1}")]
    Ambiguous(String, String),
}

/// Finds the run that `name` means; without a name, the newest.
///
/// # Errors
/// When nothing or more than one run fits.
pub fn find(store: &Store, name: Option<&str>) -> Result<RunId, FindError> {
    let runs = list(store);
    let Some(newest) = runs.first() else { return Err(FindError::None) };
    let Some(name) = name.filter(|&name| name != "latest") else { return Ok(newest.clone()) };
    let fitting: Vec<&RunId> = runs.iter().filter(|run| run.as_str().contains(name)).collect();
    match fitting.as_slice() {
        [] => Err(FindError::Unknown(name.to_owned())),
        [run] => Ok((*run).clone()),
        several => {
            let shown: Vec<_> = several.iter().take(5).map(|run| run.as_str()).collect();
            Err(FindError::Ambiguous(name.to_owned(), shown.join(", ")))
        }
    }
}

/// All attempts' logs of a node that exist, in order.
pub fn logs(store: &Store, run: &RunId, node: &str) -> Vec<(u32, PathBuf)> {
    (1..=1000)
        .map(|attempt| (attempt, store.log(run, node, attempt)))
        .take_while(|(attempt, path)| *attempt == 1 || path.exists())
        .filter(|(_, path)| path.exists())
        .collect()
}
