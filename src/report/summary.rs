//! What is printed when all is over: the output of what failed, and one screen about each run. Reads logs, nothing else.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::Serialize;

use super::{lines, next, shape, style, text};
use crate::event::{NodeFinished, RunFinished};
use crate::store::runs::{RunState, RunView};
use crate::store::{Store, runs};

/// Most lines and bytes of a failed node's output that are shown: its end.
const SHOWN_LINES: usize = 200;
const SHOWN_BYTES: u64 = 64 * 1024;
/// Of how many failed nodes the output is shown.
const SHOWN_NODES: usize = 20;

/// The summaries of all runs as one JSON document.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub runs: Vec<shape::Run>,
}

/// The text for a terminal, with colours. `changed_files` counts the files of a run's result, where that can be told.
pub fn render<'a>(
    views: impl IntoIterator<Item = &'a RunView>,
    store: &Store,
    changed_files: impl Fn(&RunView) -> Option<usize>,
) -> String {
    let mut text = String::new();
    for view in views {
        text.push_str(&failures(view, store));
        text.push_str(&screen(view, changed_files(view)));
    }
    text
}

/// The output of every failed node of a run.
fn failures(view: &RunView, store: &Store) -> String {
    let mut text = String::new();
    let failed: Vec<&NodeFinished> = shape::finished(view).filter(|node| node.outcome.is_failure()).collect();
    for node in failed.iter().take(SHOWN_NODES) {
        text.push_str(&format!(
            "\n{} {}: {}\n",
            style::red("failed"),
            style::bold(&text::line(&node.node)),
            lines::details(node)
        ));
        text.push_str(&output(view, store, node));
    }
    for node in failed.iter().skip(SHOWN_NODES) {
        text.push_str(&format!(
            "{} {}: {}\n",
            style::red("failed"),
            text::line(&node.node),
            lines::details(node)
        ));
    }
    text
}

/// The end of what the node's last attempt wrote, indented.
fn output(view: &RunView, store: &Store, node: &NodeFinished) -> String {
    let Some((_, path)) = runs::logs(store, &view.run, &node.node).pop() else { return String::new() };
    let tail = match tail(&path) {
        Ok(tail) => tail,
        Err(error) => return style::dim(&format!("    (its log cannot be read: {error})\n")),
    };
    let mut shown = String::new();
    if tail.is_cut {
        let whole = format!("spb logs {} {}", view.run, next::quoted(&node.node));
        shown.push_str(&style::dim(&format!(
            "    ... the end of its output; all of it: {}",
            text::line(&whole)
        )));
        shown.push('\n');
    }
    for line in tail.text.lines() {
        shown.push_str(&format!("    {line}\n"));
    }
    shown
}

struct Tail {
    text: String,
    is_cut: bool,
}

fn tail(path: &Path) -> io::Result<Tail> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(SHOWN_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(SHOWN_BYTES).read_to_end(&mut bytes)?;
    let text = text::output(bytes.trim_ascii_end());
    let mut lines: Vec<&str> = text.lines().collect();
    if from > 0 && lines.len() > 1 {
        lines.remove(0);
    }
    let excess = lines.len().saturating_sub(SHOWN_LINES);
    Ok(Tail { text: lines[excess..].join("\n"), is_cut: from > 0 || excess > 0 })
}

/// One run in a few lines.
fn screen(view: &RunView, changed_files: Option<usize>) -> String {
    let mut text = format!("\n{}\n", headline(view));
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {}{}{value}\n", style::dim(name), " ".repeat(13 - name.len())));
        }
    };
    row("nodes", counts(view));
    row("saved", saved(view));
    if let Some(finished) = &view.finished {
        row("branch", branch(finished, changed_files));
        row("note", text::line(&finished.message).into_owned());
    }
    row("checkpoints", checkpoints(view));
    for warning in &view.warnings {
        row("warning", style::yellow(&text::line(warning)));
    }
    for (at, command) in next::commands(view).iter().enumerate() {
        row(if at == 0 { "next" } else { "" }, text::line(command).into_owned());
    }
    text
}

fn headline(view: &RunView) -> String {
    let state = match view.state() {
        RunState::Succeeded => style::green("succeeded"),
        RunState::Failed => style::red("failed"),
        RunState::Cancelled => style::yellow("cancelled"),
        RunState::Waiting => style::yellow("waits for an answer"),
        RunState::Interrupted => style::yellow("interrupted"),
        RunState::Running => style::cyan("running"),
    };
    let after = if view.state() == RunState::Waiting { "after" } else { "in" };
    let took =
        view.finished.as_ref().map(|finished| format!(" {after} {}", text::duration(finished.duration_ms)));
    let name = style::bold(&text::line(&view.started.workflow));
    format!("{name} {state}{}  {}", took.unwrap_or_default(), style::dim(view.run.as_str()))
}

/// `3 ran, 2 cached, 1 failed`.
pub fn counts(view: &RunView) -> String {
    let counts = shape::counts(view);
    let parts = [
        (counts.ran, "ran"),
        (counts.cached, "cached"),
        (counts.failed, "failed"),
        (counts.skipped, "skipped"),
        (counts.cancelled, "cancelled"),
        (counts.running, "running"),
        (counts.asking, "asking"),
        (counts.waiting, "waiting"),
    ];
    let remote = |word: &str| match counts.remote {
        1.. if word == "cached" => format!(" ({} remote)", counts.remote),
        _ => String::new(),
    };
    let some = parts.iter().filter(|(number, _)| *number > 0);
    some.map(|(number, word)| format!("{number} {word}{}", remote(word))).collect::<Vec<_>>().join(", ")
}

fn saved(view: &RunView) -> String {
    match shape::saved_ms(view) {
        0 => String::new(),
        milliseconds => format!("{} by the cache", text::duration(milliseconds)),
    }
}

fn branch(finished: &RunFinished, changed_files: Option<usize>) -> String {
    let Some(branch) = &finished.branch else { return String::new() };
    let branch = text::line(branch.strip_prefix("refs/heads/").unwrap_or(branch)).into_owned();
    let at =
        finished.commit.as_deref().map(|commit| format!(" at {}", text::short(commit))).unwrap_or_default();
    let files =
        changed_files.map(|number| format!(", {} changed", text::count(number, "file"))).unwrap_or_default();
    format!("{}{at}{files}", style::green(&branch))
}

fn checkpoints(view: &RunView) -> String {
    let has_commit = view.stages.iter().filter(|stage| stage.commit.is_some());
    has_commit.map(|stage| text::line(&stage.stage).into_owned()).collect::<Vec<_>>().join(", ")
}

/// The JSON form of [`render`].
pub fn json<'a>(
    views: impl IntoIterator<Item = &'a RunView>,
    changed_files: impl Fn(&RunView) -> Option<usize>,
) -> Summary {
    let one = |view: &RunView| shape::Run { changed_files: changed_files(view), ..shape::details(view) };
    Summary { runs: views.into_iter().map(one).collect() }
}
