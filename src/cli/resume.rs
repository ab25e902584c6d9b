//! `spb resume`: carries on with a run that stopped.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::apply::{Jobs, Show, carry_out};
use super::{Context, Exit, Failure, load, out};
use crate::digest::Digest;
use crate::engine::setup::{self, Request};
use crate::engine::unknown::{Answer, Answers};
use crate::name::RunId;
use crate::plan::{Plan, cycle};
use crate::store::Store;
use crate::store::runs::{self, RunState, RunView};
use crate::workflow::{self, ReadError};

/// Carry on with a run that stopped
///
/// What is finished stays finished; everything else of the run is tried again, with the workflow file and the inputs it was
/// started with.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:
  spb resume                    the newest run
  spb resume k3f9               the run whose id holds `k3f9`
  spb resume --jobs 2           with fewer nodes at the same time
  spb resume k3f9 --assume deploy=done     `deploy` was cut off, and has done its work all the same")]
pub struct Args {
    /// The run: its id or a part of it, or `latest`
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Say what became of a node with an external effect whose outcome is unknown: `done` takes it for succeeded, without
    /// outputs; `again` runs it again. May be repeated
    #[arg(long, value_name = "NODE=done|again", value_parser = assumption)]
    pub assume: Vec<(String, Answer)>,
    /// How many nodes run at the same time at most: a number, or `auto` [default: as the run was started]
    #[arg(short, long, value_name = "N|auto")]
    pub jobs: Option<Jobs>,
    #[command(flatten)]
    pub show: Show,
    /// Stay while only answers of persons are missing, instead of ending with exit code 4
    #[arg(long)]
    pub wait: bool,
    /// Print only failures and the summary
    #[arg(short, long)]
    pub quiet: bool,
}

/// Runs the verb.
///
/// # Errors
/// When there is nothing to resume, or whatever keeps the run from being recorded.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let (repository, store) = context.store()?;
    let id = match &args.run {
        Some(name) => runs::find(&store, Some(name))?,
        None => newest_unfinished(&store)?,
    };
    let view = runs::view(&store, &id)?;
    match view.state() {
        RunState::Running => {
            let engine = view.engine.process.pid;
            return Err(Failure::environment(format!("run {id} is still running (process {engine})"))
                .with_help(format!("watch it with `spb status {id}`, or stop it with `spb cancel {id}`")));
        }
        RunState::Succeeded => {
            out::note(&format!("run {id} has succeeded already: nothing is left to do"));
            return Ok(Exit::Done);
        }
        RunState::Interrupted | RunState::Failed | RunState::Cancelled | RunState::Waiting => {}
    }
    let started_with = view.started.jobs;
    let request = request(&store, view, args.assume.iter().cloned().collect())?;
    let jobs = args.jobs.or_else(|| NonZeroUsize::new(started_with).map(Jobs::Number));
    carry_out(context, repository, vec![request], jobs, &args.show, args.quiet, args.wait)
}

/// `NODE=done` or `NODE=again`.
fn assumption(text: &str) -> Result<(String, Answer), String> {
    match text.rsplit_once('=') {
        Some((node, "done")) if !node.is_empty() => Ok((node.to_owned(), Answer::Done)),
        Some((node, "again")) if !node.is_empty() => Ok((node.to_owned(), Answer::Again)),
        _ => Err("an answer is `NODE=done` or `NODE=again`".to_owned()),
    }
}

fn newest_unfinished(store: &Store) -> Result<RunId, Failure> {
    let newest = runs::find(store, None)?;
    let unfinished = runs::list(store).into_iter().find(|run| {
        runs::view(store, run).is_ok_and(|view| {
            matches!(
                view.state(),
                RunState::Interrupted | RunState::Failed | RunState::Cancelled | RunState::Waiting
            )
        })
    });
    Ok(unfinished.unwrap_or(newest))
}

/// The request that the run was started with, from what the store kept of it.
///
/// # Errors
/// When what the store kept is gone, damaged or no longer accepted.
pub fn request(store: &Store, view: RunView, answers: Answers) -> Result<Request, Failure> {
    let started = &view.started;
    let bytes = kept(store, &started.source, &started.file)?;
    let mut further = HashMap::new();
    for (path, digest) in &started.further_sources {
        further.insert(PathBuf::from(path), kept(store, digest, &started.file)?);
    }
    let files = std::iter::once((Path::new(&started.file), &bytes));
    tell_of_changes(&started.file, files.chain(further.iter().map(|(path, bytes)| (path.as_path(), bytes))));
    // Whatever the disk holds now: the run goes on with the files as they were.
    let fetch =
        |path: &Path| further.get(path).cloned().ok_or_else(|| ReadError::NotKept { path: path.to_owned() });
    let path = Path::new(&started.file);
    let loaded = workflow::load_from(path, bytes.clone(), &fetch, cycle::problems);
    let Some(workflow) = loaded.workflow else {
        load::show_problems(&loaded.problems);
        return Err(Failure::environment(
            "this spb does not accept the workflow that the run was started with",
        )
        .with_help(format!("start a new run: `spb apply {}`", started.file)));
    };
    let base = started.base.parse().map_err(|_| {
        Failure::environment(format!("the journal names no commit as the run's base: `{}`", started.base))
    })?;
    let plan = Plan::new(Arc::new(workflow), started.inputs.clone(), &setup::selection(&started.options));
    Ok(Request {
        plan: plan.map_err(load::plan_failure)?,
        file: started.file.clone(),
        base,
        base_revision: started.base_revision.clone(),
        options: started.options.clone(),
        resume: Some(view),
        answers,
        repeat: None,
        remember: None,
    })
}

/// The text of a file of the run, by its digest.
fn kept(store: &Store, digest: &str, file: &str) -> Result<Vec<u8>, Failure> {
    let copy = store.workflow_copy(digest);
    let fail = |message: String| {
        Failure::environment(message).with_help(format!("start a new run: `spb apply {file}`"))
    };
    let bytes = std::fs::read(&copy)
        .map_err(|error| fail(format!("cannot read the run's workflow `{}`: {error}", copy.display())))?;
    match Digest::of_bytes(&bytes).to_hex() == digest {
        true => Ok(bytes),
        false => Err(fail(format!("the run's workflow `{}` is damaged", copy.display()))),
    }
}

/// A resumed run goes on with the graph it began with; a file that changed since is said, never silently used.
fn tell_of_changes<'f>(file: &str, files: impl Iterator<Item = (&'f Path, &'f Vec<u8>)>) {
    // What is no plain file any more (a pipe would wait for a writer) cannot be compared.
    let changed = |(path, bytes): &(&Path, &Vec<u8>)| {
        std::fs::metadata(path).is_ok_and(|meta| meta.is_file())
            && std::fs::read(path).is_ok_and(|now| now != **bytes)
    };
    let mut names: Vec<String> =
        files.filter(changed).map(|(path, _)| format!("`{}`", path.display())).collect();
    names.sort();
    let (last, verb) = match names.len() {
        0 => return,
        1 => (names.remove(0), "has"),
        _ => (names.join(", "), "have"),
    };
    out::note(&format!(
        "{last} {verb} changed since this run began; the run goes on with the workflow as it was. \
         To run the new one: `spb apply {file}`"
    ));
}
