//! Gates: nodes that ask a person. Puts the questions, looks for their answers (`store::decisions`, written by whoever
//! answers), and says what becomes of the node. Knows nothing of how a question is shown or an answer is typed.
//!
//! The order that survives a kill at any moment: the question is a record of the journal, then the answer is a file, then
//! the node's end is a record. An engine that finds a question without an end puts it again under the same number, and
//! finds the answer that was given meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use super::{RunContext, Shared};
use crate::digest::Hasher;
use crate::event::{LiveEvent, NodeFinished, NodeResult, Outcome, RunEvent};
use crate::schedule::NodeId;
use crate::store::StoreError;
use crate::store::decisions::{self, Decided, Decision, Verdict};
use crate::store::recorder::{Notice, Objects};
use crate::store::runs::{Asked, RunView};

/// Between two looks for answers.
const LOOK: Duration = Duration::from_millis(200);

/// Whether an engine stays while nothing is left to do but to wait for answers.
#[derive(Clone, Debug)]
pub struct Patience(Arc<AtomicBool>);

impl Patience {
    /// It leaves at once; another engine carries on after the answer.
    pub fn none() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    pub fn endless() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// From now on there is none.
    pub fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn lasts(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The questions of all runs that wait for an answer.
pub struct Gates {
    open: Vec<Open>,
    /// The last question of each gate, by run and node.
    known: HashMap<(usize, String), Asked>,
    next_look: Instant,
    patience: Patience,
    /// Whoever shows the runs knows that only answers are missing.
    is_told: bool,
}

/// A gate that is to ask.
pub struct Question {
    pub node: NodeId,
    /// Its run, by position.
    pub run: usize,
    pub id: String,
    pub message: String,
    pub timeout: Option<Duration>,
    pub allow_failure: bool,
    /// What it hands on.
    pub heads: Vec<String>,
}

/// A question that was put.
struct Open {
    question: Question,
    number: u32,
    until: Option<Timestamp>,
}

impl Gates {
    /// `earlier` is what the journals tell of each run that is carried on.
    pub fn new(earlier: &[Option<RunView>], patience: Patience) -> Self {
        let views = earlier.iter().enumerate().filter_map(|(run, view)| Some((run, view.as_ref()?)));
        let asked = views.flat_map(|(run, view)| {
            view.nodes.iter().filter_map(move |(id, node)| Some(((run, id.clone()), node.asked.clone()?)))
        });
        let known = asked.collect();
        Self { open: Vec::new(), known, next_look: Instant::now(), patience, is_told: false }
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Nodes of a run that wait, with their questions.
    pub fn of(&self, run: usize) -> impl Iterator<Item = &Question> {
        self.open.iter().map(|open| &open.question).filter(move |question| question.run == run)
    }

    /// Puts a question. Gives the node's end instead when it was answered already, in the time of an earlier engine.
    pub fn ask(&mut self, shared: &Shared, question: Question) -> Option<NodeFinished> {
        let about = about(&question);
        let place = (question.run, question.id.clone());
        let before = self.known.get(&place);
        let (number, since, until) = match before {
            Some(asked) if !asked.is_settled && asked.about == about => {
                (asked.number, asked.since.clone(), asked.until.clone())
            }
            earlier => {
                let until = question.timeout.map(|timeout| text(&after(timeout)));
                let next = earlier.map_or(1, |asked| asked.number + 1);
                (unused(shared, &question, next), text(&Timestamp::now()), until)
            }
        };
        let message = question.message.clone();
        let asked = Asked { number, seq: 0, message, about, since, until, is_settled: false, answer: None };
        let expires = asked.until.as_ref().and_then(|until| until.parse().ok());
        let open = Open { question, number, until: expires };
        let end = open.look(shared);
        let is_settled = end.is_some();
        if end.is_none() {
            let event = RunEvent::ApprovalAsked {
                node: open.question.id.clone(),
                number,
                message: asked.message.clone(),
                about: asked.about.clone(),
                until: asked.until.clone(),
            };
            let journal = shared.runs[open.question.run].journal;
            shared.recorder.fact(journal, event, Vec::new(), Objects::None);
            self.open.push(open);
            self.is_told = false;
        }
        self.known.insert(place, Asked { is_settled, ..asked });
        end
    }

    /// Waits until it is time to look for answers; for ever when nothing is asked.
    pub async fn look(&mut self) {
        if self.open.is_empty() {
            return std::future::pending().await;
        }
        // A point in time, not a span: whatever else happens often must not put it off.
        tokio::time::sleep_until(self.next_look).await;
        self.next_look = Instant::now() + LOOK;
    }

    /// The ends of the nodes whose questions are answered or have expired.
    pub fn answered(&mut self, shared: &Shared) -> Vec<(NodeId, NodeFinished)> {
        let mut ends = Vec::new();
        let known = &mut self.known;
        self.open.retain(|open| match open.look(shared) {
            None => true,
            Some(end) => {
                if let Some(asked) = known.get_mut(&(open.question.run, open.question.id.clone())) {
                    asked.is_settled = true;
                }
                ends.push((open.question.node, end));
                false
            }
        });
        ends
    }

    /// Asks no more: those of one run, or all. Their questions stay for the next engine.
    pub fn close(&mut self, run: Option<usize>, why: &str) -> Vec<(NodeId, NodeFinished)> {
        let is_meant = |open: &mut Open| run.is_none_or(|run| open.question.run == run);
        let closed = self.open.extract_if(.., is_meant).map(|open| open.question);
        closed
            .map(|question| (question.node, NodeFinished::without_run(&question.id, Outcome::Cancelled, why)))
            .collect()
    }

    /// Nothing but answers is missing. Whether to leave is a question of patience; whoever shows the runs is told once
    /// that we stay.
    pub fn only_asks(&mut self, shared: &Shared) -> bool {
        if !self.patience.lasts() {
            return true;
        }
        if !self.is_told {
            self.is_told = true;
            // What happened before is told first.
            shared.recorder.flush();
            for run in self.open.iter().map(|open| &shared.runs[open.question.run]) {
                shared.listener.send(Notice::Live(run.id.clone(), LiveEvent::OnlyAsks)).ok();
            }
        }
        false
    }

    /// Something runs again beside what is asked.
    pub fn something_runs(&mut self) {
        self.is_told = false;
    }
}

impl Open {
    /// The end of the node, if its question has one.
    fn look(&self, shared: &Shared) -> Option<NodeFinished> {
        let run = &shared.runs[self.question.run];
        let decision = decisions::read(&shared.store, &run.id, &self.question.id, self.number);
        match decision.and_then(|decision| self.or_expired(shared, run, decision)) {
            Ok(decision) => Some(self.end(run, &decision?)),
            Err(error) => {
                let message = format!("its answer cannot be read: {error}");
                Some(self.finished(Outcome::Failed, message, None))
            }
        }
    }

    /// A question expires by an answer like any other, so that nobody can answer it as well.
    fn or_expired(
        &self,
        shared: &Shared,
        run: &RunContext,
        decision: Option<Decision>,
    ) -> Result<Option<Decision>, StoreError> {
        if decision.is_some() || self.until.is_none_or(|until| Timestamp::now() < until) {
            return Ok(decision);
        }
        let expired = Decision::now(&self.question.id, self.number, Verdict::Expired, "", "");
        Ok(Some(match decisions::decide(&shared.store, &run.id, &expired)? {
            Decided::Now => expired,
            Decided::Before(earlier) => earlier,
        }))
    }

    fn end(&self, run: &RunContext, decision: &Decision) -> NodeFinished {
        let by = run.mask.apply(&decision.by).into_owned();
        let said = run.mask.apply(&decision.message).into_owned();
        let with = if said.is_empty() { String::new() } else { format!(": {said}") };
        let (outcome, message) = match decision.verdict {
            Verdict::Approved => (Outcome::Succeeded, format!("approved by {by}{with}")),
            Verdict::Rejected => (Outcome::Failed, format!("rejected by {by}{with}")),
            Verdict::Expired => (Outcome::TimedOut, "nobody answered in time".to_owned()),
        };
        let outputs = [
            ("approved", Value::Bool(decision.verdict == Verdict::Approved)),
            ("message", Value::String(said)),
            ("by", Value::String(by)),
        ];
        let result = NodeResult {
            heads: if outcome.is_success() { self.question.heads.clone() } else { Vec::new() },
            outputs: outputs.map(|(name, value)| (name.to_owned(), value)).into_iter().collect(),
            ..NodeResult::default()
        };
        self.finished(outcome, message, Some(result))
    }

    fn finished(&self, outcome: Outcome, message: String, result: Option<NodeResult>) -> NodeFinished {
        NodeFinished {
            result,
            allowed_to_fail: self.question.allow_failure,
            ..NodeFinished::without_run(&self.question.id, outcome, message)
        }
    }
}

/// The first number, from `next`, that no answer has. The question of an earlier one may be forgotten: its node was given
/// something else since, and an answer must not count for that.
fn unused(shared: &Shared, question: &Question, next: u32) -> u32 {
    let run = &shared.runs[question.run].id;
    let is_free = |&number: &u32| !shared.store.decision(run, &question.id, number).exists();
    (next..u32::MAX).find(is_free).unwrap_or(u32::MAX)
}

/// What an answer holds for: the question as it reads, and the work that it is about.
fn about(question: &Question) -> String {
    let mut hasher = Hasher::new("question 1");
    hasher.field("message", question.message.as_bytes());
    for head in &question.heads {
        hasher.field("head", head.as_bytes());
    }
    hasher.finish().to_hex()
}

fn after(timeout: Duration) -> Timestamp {
    let timeout = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
    Timestamp::now().checked_add(timeout).unwrap_or(Timestamp::MAX)
}

fn text(time: &Timestamp) -> String {
    format!("{time:.3}")
}
