//! Prints: text and JSON to standard output, notes and failures to standard error. A reader that closed its end is no
//! failure; any other write error is. Knows nothing of what is printed.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::mpsc::Sender;

use serde::Serialize;

use super::env::Env;
use super::exit::{Exit, Failure};
use crate::report::json::Events;
use crate::report::lines::{Lines, Marks};
use crate::report::progress::{Colours, Progress};
use crate::report::{Sink, style, text};
use crate::store::journal;
use crate::store::runs::RunState;

/// Prints a text to standard output. It may hold colours; they are taken out where they do not belong.
///
/// # Errors
/// A silent failure when the reader is gone, one with a message when the text cannot be written.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(write_failure)
}

/// Prints bytes as they are, colours and all.
///
/// # Errors
/// As [`print`].
pub fn print_raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(write_failure)
}

/// Prints what `git diff` gave: as it is, but for a terminal, which control characters in it must not reach.
///
/// # Errors
/// As [`print`].
pub fn patch(patch: &[u8]) -> Result<(), Failure> {
    if stdout_is_terminal() {
        return print(&text::block(&String::from_utf8_lossy(patch)));
    }
    print_raw(patch)
}

/// Prints a value as indented JSON.
///
/// # Errors
/// As [`print`].
pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).expect("reports have only string keys");
    let mut text = journal::visible(text);
    text.push('\n');
    print_raw(text.as_bytes())
}

/// Tells something beside the output, on standard error. Whoever does not listen misses it.
pub fn note(message: &str) {
    drop(writeln!(anstream::stderr(), "{message}"));
}

/// Prints a failure for a person.
pub fn failure(failure: &Failure) {
    if failure.message.is_empty() {
        return;
    }
    let mut message = format!("{} {}", style::red("error:"), text::block(&failure.message));
    if let Some(help) = &failure.help {
        message.push_str(&format!("\n{} {}", style::cyan("help:"), text::block(help)));
    }
    note(&message);
}

/// The failure of a write to standard output.
pub fn write_failure(error: io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::silent(Exit::Done),
        _ => Failure::environment(format!("cannot write to standard output: {error}")),
    }
}

pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

pub fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Columns of the terminal on standard output; `None` when it is none, and then nothing is cut.
pub fn width() -> Option<usize> {
    let terminal = console::Term::stdout();
    terminal.is_term().then(|| terminal.size_checked()).flatten().map(|(_, columns)| usize::from(columns))
}

/// Columns of the terminal on standard error, if it is one.
pub fn stderr_width() -> Option<usize> {
    let terminal = console::Term::stderr();
    terminal.is_term().then(|| terminal.size_checked()).flatten().map(|(_, columns)| usize::from(columns))
}

/// Whether standard error takes colours.
pub fn stderr_has_colours() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// How a run is shown while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// What suits the terminal: progress on one, plain lines elsewhere.
    Fitting,
    /// Plain lines.
    Lines,
    /// Nothing.
    Nothing,
}

/// The consumers for a run: with `events` the journal's lines are written to standard output, and it gets the reason if
/// that fails.
pub fn sinks(env: &Env, show: Show, events: Option<Sender<io::Error>>) -> Vec<Box<dyn Sink>> {
    let is_shared = events.is_some() && stdout_is_terminal();
    let live = io::stderr().is_terminal() && !env.ci && !env.dumb_terminal && !is_shared;
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    if let Some(failed) = events {
        sinks.push(Box::new(Events::new(io::stdout(), failed)));
    }
    match show {
        Show::Fitting if live => sinks.push(Box::new(progress(env))),
        Show::Fitting | Show::Lines => sinks.push(Box::new(Lines::new(anstream::stderr()))),
        Show::Nothing => {}
    }
    sinks
}

fn progress(env: &Env) -> Progress {
    let colours = if stderr_has_colours() { Colours::On } else { Colours::Off };
    Progress::new(colours, if env.utf8 { Marks::Ticks } else { Marks::Words })
}

/// Warns on standard error.
pub fn warn(message: &str) {
    note(&format!("{} {}", style::yellow("warning:"), text::line(message)));
}

/// The state of a run in its colour.
pub fn state(state: RunState) -> String {
    let paint = match state {
        RunState::Running => style::cyan,
        RunState::Succeeded => style::green,
        RunState::Failed => style::red,
        RunState::Interrupted | RunState::Cancelled | RunState::Waiting => style::yellow,
    };
    paint(state.word())
}

/// The state of a node (see [`crate::report::shape::Node`]) in its colour.
pub fn node_state(word: &str) -> String {
    let paint = match word {
        "running" => style::cyan,
        "succeeded" | "cached" => style::green,
        "failed" | "timed_out" => style::red,
        "interrupted" | "cancelled" | "unknown" | "asking" | "answered" => style::yellow,
        _ => style::dim,
    };
    paint(&word.replace('_', " "))
}

/// Whether colours reach standard output.
pub fn has_colours() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}
