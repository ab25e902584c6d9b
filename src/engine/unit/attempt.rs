//! Runs a node's process, again where `retry` says so, and turns its end into an outcome.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Done, Job, Ready, leave, plain, retry, slot};
use crate::engine::workspace::Place;
use crate::event::{LiveEvent, LogPlace, Outcome, RunEvent};
use crate::executor::{Ended, Finished, Stop, Task, local};
use crate::host;
use crate::store::recorder::{Notice, Objects};
use crate::workflow::model::{Effect, OutputFrom};

/// What all attempts together came to.
pub struct Ran {
    pub attempts: u32,
    pub outcome: Outcome,
    pub message: String,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub last: Finished,
}

/// All attempts, then what they left.
pub async fn run(job: Job, mut ready: Ready) -> Done {
    let directory = match directory(&job, &ready) {
        Ok(directory) => directory,
        Err(message) => {
            leave::give_back(&job, ready);
            return plain(&job, Outcome::Failed, message);
        }
    };
    let mut attempt = 1;
    let mut is_set_up = ready.setup.is_none();
    loop {
        let why = if attempt == 1 { ready.why.clone() } else { format!("attempt {attempt}") };
        let node = job.planned().id.clone();
        job.shared.recorder.fact(
            job.context().journal,
            RunEvent::NodeStarted { node, attempt, why },
            Vec::new(),
            Objects::None,
        );
        if matches!(ready.workspace.place, Place::Repo { .. }) || job.node().effect == Effect::External {
            // It acts outside of anything that can be made anew: that it began, and on what, is on disk first.
            let recorder = job.shared.recorder.clone();
            let is_durable = tokio::task::spawn_blocking(move || recorder.flush()).await.unwrap_or(false);
            if !is_durable {
                leave::give_back(&job, ready);
                return plain(&job, Outcome::Failed, "that it starts could not be recorded".to_owned());
            }
        }
        if !is_set_up {
            is_set_up = true;
            if let Err(ran) = slot::set_up(&job, &mut ready).await {
                return leave::end(job, ready, *ran).await;
            }
        }
        let first = task(&job, &ready, &directory, job.prepared.argv.clone(), attempt);
        let finished = once(&job, first).await;
        let ran = judge(&job, attempt, finished);
        if *job.stop.borrow() != Stop::Run || !retry::is_worth_another(&job.node().retry, &ran) {
            return leave::end(job, ready, ran).await;
        }
        let delay = retry::delay(&job.node().retry, attempt);
        job.shared.recorder.fact(
            job.context().journal,
            RunEvent::NodeRetry {
                node: job.planned().id.clone(),
                attempt,
                delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                because: ran.message.clone(),
            },
            Vec::new(),
            Objects::None,
        );
        if !pause(&job, delay).await {
            let stopped =
                Ran { outcome: Outcome::Cancelled, message: "stopped before its next attempt".into(), ..ran };
            return leave::end(job, ready, stopped).await;
        }
        attempt += 1;
        if host::orphans::has_any() == Some(true) {
            leave::end_daemons(&job, ready.workspace.files_of_its_own());
        }
        if let Err(message) = leave::back_to_base(&job, &mut ready) {
            let failed = Ran { outcome: Outcome::Failed, message, ..ran };
            return leave::end(job, ready, failed).await;
        }
        if let Some(script) = &job.node().retry.between {
            let between = task(&job, &ready, &directory, script_words(script), attempt);
            let finished = once(&job, between).await;
            if finished.ended != Ended::Exited(0) {
                let mut failed = judge(&job, attempt - 1, finished);
                failed.message = format!("the script `retry.between`: {}", failed.message);
                return leave::end(job, ready, failed).await;
            }
        }
    }
}

/// The working directory, which must lie in the workspace.
fn directory(job: &Job, ready: &Ready) -> Result<PathBuf, String> {
    let relative = Path::new(&job.prepared.directory);
    let workspace = ready.workspace.path();
    if relative == Path::new(".") {
        return Ok(workspace.to_owned());
    }
    let directory = workspace.join(relative);
    let real = directory
        .canonicalize()
        .map_err(|error| format!("working_directory `{}`: {error}", relative.display()))?;
    let root = workspace.canonicalize().map_err(|error| error.to_string())?;
    if !real.starts_with(&root) {
        return Err(format!("working_directory `{}` leads out of the workspace", relative.display()));
    }
    Ok(directory)
}

/// The words that run a script which has no `shell` of its own.
pub fn script_words(script: &str) -> Vec<OsString> {
    ["sh", "-e", "-c", script].map(OsString::from).to_vec()
}

/// What to execute, and where.
pub fn task(job: &Job, ready: &Ready, directory: &Path, argv: Vec<OsString>, attempt: u32) -> Task {
    let wants_stdout = job.node().outputs.values().any(|output| output.from == OutputFrom::Stdout);
    Task {
        argv,
        env: environment(job, ready, attempt),
        directory: directory.to_owned(),
        timeout: job.node().timeout,
        grace: Task::GRACE,
        log: job.shared.store.log(&job.context().id, &job.planned().id, attempt),
        stdout_file: wants_stdout.then(|| ready.workspace.room.stdout.clone()),
        mask: job.context().mask.clone(),
    }
}

/// Runs a task to its end, with its process noted and its output shown.
pub async fn once(job: &Job, task: Task) -> Finished {
    let context = job.context();
    let listener = job.shared.listener.clone();
    let (run, node) = (context.id.clone(), job.planned().id.clone());
    let on_line = move |line: &str| {
        let live = LiveEvent::Output { node: node.clone(), line: line.to_owned() };
        listener.send(Notice::Live(run.clone(), live)).ok();
    };
    let on_start = |process| {
        if let Some(processes) = &context.processes {
            processes.note(&process);
        }
    };
    local::run(task, job.stop.clone(), on_start, on_line).await
}

/// What the script that makes a slot ready is told: nothing of the node, whose results its work outlives, and no secret.
pub fn setup_environment(job: &Job, ready: &Ready) -> Vec<(OsString, OsString)> {
    let context = job.context();
    let mut env = job.shared.base_env.clone();
    let passed = context.pass_env.iter().filter_map(|(name, value)| Some((name.into(), value.clone()?)));
    env.extend(passed);
    for (name, value) in environment(job, ready, 1) {
        let is_place =
            ["SPB_RUN", "SPB_NODE", "SPB_CACHE_DIR", "SPB_BASE"].iter().any(|place| name == *place);
        env.extend(is_place.then_some((name, value)));
    }
    last_wins(env)
}

/// An attempt that ended before there was a process.
pub fn not_run(outcome: Outcome, message: String) -> Box<Ran> {
    let last = Finished::without_process(Ended::NotStarted(message.clone()));
    Box::new(Ran { attempts: 1, outcome, message, exit_code: None, signal: None, last })
}

/// Everything the process is told: later entries win.
fn environment(job: &Job, ready: &Ready, attempt: u32) -> Vec<(OsString, OsString)> {
    let context = job.context();
    let room = &ready.workspace.room;
    let mut env = job.shared.base_env.clone();
    env.extend(job.prepared.env.iter().cloned());
    env.extend(context.caller.secrets_of(&context.plan.workflow, job.node()));
    let mut tell = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
        env.push((OsString::from(name), value.as_ref().to_owned()));
    };
    tell("SPB_RUN", &context.id.as_str());
    tell("SPB_NODE", &job.planned().id);
    tell("SPB_ATTEMPT", &attempt.to_string());
    tell("SPB_OUTPUT", &room.output);
    tell("SPB_OUT", &room.out);
    tell("SPB_CACHE_DIR", &job.shared.cache_directory);
    if let Some(base) = &ready.base {
        tell("SPB_BASE", &base.commit.to_string());
    }
    last_wins(env)
}

pub fn last_wins(env: Vec<(OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let mut kept: indexmap::IndexMap<OsString, OsString> = indexmap::IndexMap::with_capacity(env.len());
    kept.extend(env.into_iter().filter(|(name, _)| !name.as_bytes().is_empty()));
    kept.into_iter().collect()
}

/// What the end of a process means.
pub fn judge(job: &Job, attempts: u32, last: Finished) -> Ran {
    let (outcome, message, exit_code, signal) = match &last.ended {
        _ if last.out_of_memory => {
            let message = "was killed, most likely because memory ran out".to_owned();
            (Outcome::Failed, message, None, Some(9))
        }
        Ended::Exited(0) => (Outcome::Succeeded, String::new(), Some(0), None),
        Ended::Exited(code) => (Outcome::Failed, format!("exited with code {code}"), Some(*code), None),
        Ended::Signalled(signal) => {
            (Outcome::Failed, format!("was killed by signal {signal}{}", hint(*signal)), None, Some(*signal))
        }
        Ended::TimedOut => {
            let limit = job.node().timeout.unwrap_or_default();
            (Outcome::TimedOut, format!("did not end within {limit:?}"), None, None)
        }
        Ended::Stopped => (Outcome::Cancelled, "was stopped".to_owned(), None, None),
        Ended::NotStarted(message) => (Outcome::Failed, message.clone(), None, None),
    };
    Ran { attempts, outcome, message, exit_code, signal, last }
}

fn hint(signal: i32) -> &'static str {
    match signal {
        9 => " (KILL: often the kernel, out of memory)",
        11 => " (SEGV: it crashed)",
        6 => " (ABRT: it gave up)",
        15 => " (TERM: someone ended it)",
        _ => "",
    }
}

/// Waits; false when the run is being stopped.
async fn pause(job: &Job, delay: Duration) -> bool {
    let mut stop = job.stop.clone();
    tokio::select! {
        () = tokio::time::sleep(delay) => true,
        _ = stop.wait_for(|stop| *stop != Stop::Run) => false,
    }
}

/// Where the node's log is.
pub fn log_place(job: &Job) -> LogPlace {
    LogPlace { run: job.context().id.clone(), node: job.planned().id.clone() }
}
