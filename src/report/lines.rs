//! A run as plain lines, one for each fact: for logs, pipes and whoever does not want a display. The wording of a fact
//! is here for all displays.

use std::io::Write;

use super::{Runs, Sink, style, text};
use crate::event::{
    NodeFinished, NodeSummary, Outcome, Record, RunEvent, RunFinished, RunOutcome, RunStarted,
};
use crate::store::recorder::Notice;
use crate::store::runs::{NodeState, RunView};

/// Writes a line for every fact. A failed write (nobody listens) is no reason to stop the run.
#[derive(Debug)]
pub struct Lines<W> {
    out: W,
    marks: Marks,
    batch: String,
}

/// Whether outcomes are shown as ticks and crosses, or as words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    Words,
    Ticks,
}

impl<W: Write + Send> Lines<W> {
    pub fn new(out: W) -> Self {
        Self { out, marks: Marks::Words, batch: String::new() }
    }

    fn flush(&mut self) {
        if !self.batch.is_empty() {
            self.out.write_all(self.batch.as_bytes()).and_then(|()| self.out.flush()).ok();
            self.batch.clear();
        }
    }
}

impl<W: Write + Send> Sink for Lines<W> {
    fn notice(&mut self, notice: &Notice, runs: &Runs) {
        let Notice::Fact(record) = notice else { return };
        if let Some(line) = line(record, runs, self.marks) {
            self.batch.push_str(&line);
            self.batch.push('\n');
        }
    }

    fn idle(&mut self, _runs: &Runs) {
        self.flush();
    }

    fn end(&mut self, _runs: &Runs) {
        self.flush();
    }
}

/// One fact in one line without its end; `None` for a fact of a run that nothing is known of.
pub fn line(record: &Record, runs: &Runs, marks: Marks) -> Option<String> {
    let view = runs.get(&record.run)?;
    let several = runs.len() > 1;
    let name = |node: &str| {
        let node = text::line(node);
        if several { format!("{}/{node}", text::line(&view.started.workflow)) } else { node.into_owned() }
    };
    let row = |label: String, node: &str, rest: String| {
        let rest = if rest.is_empty() { rest } else { format!("  {}", style::dim(&rest)) };
        Some(format!("  {label} {}{rest}", name(node)))
    };
    match &record.event {
        RunEvent::RunStarted(started) => Some(began(view, started) + &repeated(started, marks)),
        RunEvent::RunResumed { finished, assumed, again, .. } => {
            let assumed = assumed.iter().map(|done| format!(", `{}` taken for done", text::line(&done.node)));
            let again = again.iter().map(|node| format!(", `{}` runs again", text::line(node)));
            Some(format!(
                "{} run {} resumed, {} kept{}",
                workflow(view),
                view.run,
                text::count(*finished, "finished node"),
                assumed.chain(again).collect::<String>()
            ))
        }
        RunEvent::NodeStarted { node, attempt: 1, why } => {
            row(label("start", style::cyan, marks), node, text::line(why).into_owned())
        }
        RunEvent::NodeStarted { node, attempt, .. } => {
            row(label("start", style::cyan, marks), node, format!("attempt {attempt}"))
        }
        RunEvent::NodeSettling { node, agent, files } => {
            let rest = format!("{} settles {}", text::line(agent), text::line(&files.join(", ")));
            row(label("settle", style::cyan, marks), node, rest)
        }
        RunEvent::NodeRetry { node, attempt, delay_ms, because } => {
            let rest =
                format!("attempt {attempt}: {}; again in {}", text::line(because), text::duration(*delay_ms));
            row(label("retry", style::yellow, marks), node, rest)
        }
        RunEvent::NodeExpanded { round: Some(_), .. } => None,
        RunEvent::NodeExpanded { node, into, round: None } => {
            row(label("expand", style::cyan, marks), node, expanded(view, into))
        }
        RunEvent::ApprovalAsked { node, message, .. } => {
            row(label("asks", style::yellow, marks), node, text::line(message).into_owned())
        }
        RunEvent::NodeFinished(finished) => row(outcome(finished, marks), &finished.node, details(finished)),
        RunEvent::StageFinished { stage, commit, note } => {
            let rest = match (commit, note) {
                (Some(commit), _) => format!("checkpoint {}", text::short(commit)),
                (None, Some(note)) => format!("no checkpoint: {}", text::line(note)),
                (None, None) => "no checkpoint".to_owned(),
            };
            row(label("stage", style::bold, marks), stage, rest)
        }
        RunEvent::Warning { node, message } => {
            let place = node.as_deref().map(|node| format!("{}: ", name(node))).unwrap_or_default();
            Some(format!("  {} {place}{}", label("warning", style::yellow, marks), text::line(message)))
        }
        RunEvent::RunFinished(finished) => Some(ended(view, finished)),
    }
}

/// What a node was taken apart into; rounds are told by their own lines.
fn expanded(view: &RunView, into: &[NodeSummary]) -> String {
    let done = into.iter().filter(|inner| {
        let view = view.nodes.get(&inner.node);
        view.is_some_and(|view| matches!(view.state, NodeState::Finished(_)))
    });
    let kept = match done.count() {
        0 => String::new(),
        count => format!(", {count} kept"),
    };
    format!("{}{kept}", text::count(into.len(), "node"))
}

fn workflow(view: &RunView) -> String {
    style::bold(&format!("{}:", text::line(&view.started.workflow)))
}

fn began(view: &RunView, started: &RunStarted) -> String {
    format!(
        "{} run {} of {} from {} ({}), {} at the same time",
        workflow(view),
        view.run,
        text::count(view.size(), "node"),
        text::short(&started.base),
        text::line(&started.base_revision),
        started.jobs,
    )
}

/// One line for all nodes of a run that repeats another one.
fn repeated(started: &RunStarted, marks: Marks) -> String {
    let Some(repeats) = &started.repeats else { return String::new() };
    let skipped = match repeats.nodes.saturating_sub(repeats.cached) {
        0 => String::new(),
        skipped => format!(", {skipped} skipped"),
    };
    format!(
        "\n  {} {}{skipped}  {}",
        label("cached", style::dim, marks),
        text::count(repeats.cached, "node"),
        style::dim(&format!("all unchanged since run {}", repeats.run)),
    )
}

fn ended(view: &RunView, finished: &RunFinished) -> String {
    let word = match finished.outcome {
        RunOutcome::Succeeded => style::green("succeeded"),
        RunOutcome::Failed => style::red("failed"),
        RunOutcome::Cancelled => style::yellow("cancelled"),
        RunOutcome::Waiting => {
            let waits = style::yellow("waits for an answer");
            return format!("{} {waits} after {}", workflow(view), text::duration(finished.duration_ms));
        }
    };
    format!("{} {word} in {}", workflow(view), text::duration(finished.duration_ms))
}

/// The label of an ended node.
pub fn outcome(finished: &NodeFinished, marks: Marks) -> String {
    match finished.outcome {
        Outcome::Succeeded => label("ok", style::green, marks),
        Outcome::Cached => label("cached", style::dim, marks),
        Outcome::Failed | Outcome::TimedOut if finished.allowed_to_fail => {
            label("failed", style::yellow, marks)
        }
        Outcome::Failed => label("failed", style::red, marks),
        Outcome::TimedOut => label("timed out", style::red, marks),
        Outcome::Skipped => label("skipped", style::dim, marks),
        Outcome::Cancelled => label("cancelled", style::yellow, marks),
    }
}

/// What there is to say of an ended node behind its name.
pub fn details(finished: &NodeFinished) -> String {
    let took = text::duration(finished.duration_ms);
    let message = text::line(&finished.message);
    match finished.outcome {
        // No process: a person said so.
        Outcome::Succeeded if finished.attempts == 0 => message.into_owned(),
        Outcome::Succeeded => took,
        Outcome::Cached if finished.remote => "remote".to_owned(),
        Outcome::Cached => String::new(),
        Outcome::Failed | Outcome::TimedOut => {
            let allowed = if finished.allowed_to_fail { ", allowed" } else { "" };
            let attempts = if finished.attempts > 1 {
                format!(", {} attempts", finished.attempts)
            } else {
                String::new()
            };
            let took = if finished.attempts > 0 { format!(", {took}") } else { String::new() };
            format!("{message}{allowed}{took}{attempts}")
        }
        Outcome::Skipped | Outcome::Cancelled => message.into_owned(),
    }
}

/// Wide enough for the longest word.
const LABEL: usize = 9;

fn label(word: &str, paint: fn(&str) -> String, marks: Marks) -> String {
    match marks {
        Marks::Words => format!("{}{}", paint(word), " ".repeat(LABEL - word.len())),
        Marks::Ticks => paint(match word {
            "ok" => "✓",
            "cached" => "=",
            "failed" | "timed out" => "✗",
            "skipped" | "cancelled" => "–",
            "stage" => "●",
            "retry" => "↻",
            "asks" => "?",
            "warning" => "!",
            _ => "·",
        }),
    }
}
