//! `spb cancel`: stops a run of another process. Knows the ladder of signals: the first asks, the second kills.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Context, Exit, Failure, out};
use crate::event::Process;
use crate::host::{self, HostError, Signal};
use crate::store::runs::{self, RunState, RunView};

/// Stop a run
///
/// As Ctrl-C in its terminal does: nothing more is started and running nodes are asked to end. `spb resume` carries on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb cancel                    the newest run
  spb cancel k3f9               the run whose id holds `k3f9`
  spb cancel --now              kill its nodes without asking")]
pub struct Args {
    /// The run: its id or a part of it [default: the newest]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Kill running nodes at once
    #[arg(long)]
    pub now: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How long an engine has to end its nodes, record that and go: three times their grace.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
/// Between the two signals of `--now`: equal signals that wait together arrive as one.
const BETWEEN: Duration = Duration::from_millis(300);

#[derive(Debug, Serialize)]
struct Cancelled {
    run: String,
    /// What it is now.
    state: &'static str,
    /// It was running, and was told to stop.
    signalled: bool,
}

/// Stops the run and waits until its engine is gone. A run that does not run is no error.
///
/// # Errors
/// When the run cannot be found, its engine may not be signalled, or does not end in time.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let (_, store) = context.store()?;
    let run = runs::find(&store, args.run.as_deref())?;
    let before = runs::view(&store, &run)?;
    let signalled = before.state() == RunState::Running && stop(&before, args.now)?;
    let after = runs::view(&store, &run)?;
    if args.json {
        out::json(&Cancelled { run: run.to_string(), state: after.state().word(), signalled })?;
    } else {
        out::print(&told(&after, signalled))?;
    }
    Ok(Exit::Done)
}

fn told(view: &RunView, signalled: bool) -> String {
    let (run, state) = (&view.run, view.state());
    match (signalled, state) {
        (true, RunState::Cancelled | RunState::Interrupted) => {
            format!("stopped run {run}; `spb resume {run}` carries on\n")
        }
        (true, _) => format!("run {run} {} before it could be stopped\n", state.word()),
        (false, RunState::Waiting) => format!(
            "run {run} does not run: it waits for an answer, and `spb reject {run}` gives the answer no\n"
        ),
        (false, _) => format!("run {run} is not running: it is {}\n", state.word()),
    }
}

/// Whether the engine was told; it may have ended by itself just before.
fn stop(view: &RunView, now: bool) -> Result<bool, Failure> {
    let engine = &view.engine.process;
    if !signal(engine)? {
        return Ok(false);
    }
    if now && !wait(engine, BETWEEN) {
        signal(engine)?;
    }
    if wait(engine, PATIENCE) {
        return Ok(true);
    }
    let failure =
        Failure::environment(format!("run {} is still stopping: its nodes take their time", view.run));
    Err(failure.with_help(format!("to kill them: `spb cancel {} --now`", view.run)))
}

fn signal(engine: &Process) -> Result<bool, Failure> {
    match host::signal(engine, Signal::INT) {
        Ok(()) => Ok(true),
        Err(HostError::Ended(_)) => Ok(false),
        Err(error @ HostError::Signal { .. }) => Err(Failure::environment(error.to_string())),
    }
}

/// Whether the process ends within the time.
fn wait(process: &Process, time: Duration) -> bool {
    let began = Instant::now();
    while host::is_alive(process) {
        if began.elapsed() > time {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}
