//! `spb apply`: runs workflows.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread::JoinHandle;

use clap::ValueEnum;

use super::load::{self, KeptTrees};
use super::prompt::{self, Later, Prompt};
use super::{Context, Exit, Failure, answer, cache, out, plan, remote, worktrees};
use crate::engine::gate::Patience;
use crate::engine::repeat::{self, Asked, Question};
use crate::engine::setup::{self, Request};
use crate::event::Options;
use crate::git::{Repo, RepoPath};
use crate::report::{self, summary};
use crate::store::Store;
use crate::store::runs::RunView;

/// Run workflows
///
/// Every node runs as soon as what it needs is there, in a git worktree of its own; what has been computed before comes
/// from the cache. The result is a branch, your checkout stays as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb apply workflows/feature.yaml -i task=\"add a --json flag\"
  spb apply build.yaml lint.yaml              several files share one queue and one pool
  spb apply build.yaml --until test           only `test` and what it needs
  spb apply build.yaml --only lint,test       only these, what they need comes from the cache
  spb apply build.yaml --fresh                look nothing up in the cache
  spb apply build.yaml --base main~3          start from another commit than HEAD
  spb apply build.yaml --dry-run              show what would run, change nothing
  spb apply build.yaml --events ndjson        one JSON object for each event")]
pub struct Args {
    #[command(flatten)]
    pub work: Work,
    /// Stop starting nodes after the first failure
    #[arg(long)]
    pub fail_fast: bool,
    /// Show what would run and why, and change nothing: the same as `spb plan`
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub show: Show,
    /// Stay while only answers of persons are missing, instead of ending with exit code 4
    #[arg(long)]
    pub wait: bool,
    /// Print only failures and the summary
    #[arg(short, long)]
    pub quiet: bool,
}

/// What to run, and how much of it at once: the same for running and for looking ahead.
#[derive(Debug, clap::Args)]
pub struct Work {
    /// Workflow files
    #[arg(required = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub inputs: Inputs,
    /// How many nodes run at the same time at most: a number, or `auto`
    #[arg(short, long, value_name = "N|auto")]
    pub jobs: Option<Jobs>,
    #[command(flatten)]
    pub select: Select,
    /// Run nothing if a file has warnings
    #[arg(long)]
    pub strict: bool,
}

/// Values of the workflow's inputs.
#[derive(Debug, Default, clap::Args)]
pub struct Inputs {
    /// Give an input its value; may be repeated
    #[arg(short = 'i', long = "input", value_name = "NAME=VALUE")]
    pub given: Vec<Assignment>,
    /// Read inputs from a YAML or JSON file; `-i` wins
    #[arg(long = "inputs", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

/// Which part of a workflow runs, from where.
#[derive(Debug, Default, clap::Args)]
pub struct Select {
    /// Run only this node and what it needs
    #[arg(long, value_name = "NODE")]
    pub until: Option<String>,
    /// Run only these nodes; what they need comes from the cache
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Look nothing up in the cache
    #[arg(long)]
    pub fresh: bool,
    /// The revision that the run starts from [default: `worktrees.base` of the file, else HEAD]
    #[arg(long, value_name = "REV")]
    pub base: Option<String>,
}

/// How a run is shown.
#[derive(Debug, Default, clap::Args)]
pub struct Show {
    /// Write every event to standard output, as it becomes durable
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    pub events: Option<EventFormat>,
    /// Print plain lines instead of a progress display
    #[arg(long)]
    pub no_progress: bool,
    /// Print the summary as JSON to standard output
    #[arg(long)]
    pub json: bool,
}

/// Form of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EventFormat {
    /// One JSON object a line: the lines of the run's journal
    Ndjson,
}

/// `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub name: String,
    /// As typed: the input's type says how it is read.
    pub value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("an input is given as NAME=VALUE")?;
        crate::name::check(name).map_err(|error| error.to_string())?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// A number of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    /// What the machine and the workflow allow.
    Auto,
    Number(NonZeroUsize),
}

impl FromStr for Jobs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(number)) => Ok(Self::Number(number)),
            (_, Err(_)) => Err("expected a number from 1, or `auto`".to_owned()),
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// Whatever keeps the run from starting or from being recorded. A failed node is not an error.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    if args.dry_run {
        return plan::show(&args.work, args.show.json, context);
    }
    let repository = context.repository()?;
    let options = load::options(&args.work.select, args.fail_fast);
    let question = question(args, &options, context, &repository);
    // Programs that read events want each one.
    let may_repeat = !args.show.json && args.show.events.is_none();
    if let Some(question) = question.as_ref().filter(|_| may_repeat)
        && let Some(request) = repeat::find(question, &repository, |name| context.env.lookup(name))
    {
        let requests = vec![request];
        let uncommitted = Uncommitted::look(&repository, &requests);
        let ended =
            carry_out(context, repository, requests, args.work.jobs, &args.show, args.quiet, args.wait);
        uncommitted.warn();
        return ended;
    }
    let trees = KeptTrees::of(&repository);
    let mut requests = load::requests(&repository, &args.work, &options, &trees, question.as_ref())?;
    let given = given(&args.work.inputs);
    for request in &mut requests {
        // What a person typed on a question is no part of this one.
        let is_whole = question.as_ref().is_some_and(|question| question.gives_all_inputs(request, &given));
        request.remember = request.remember.take().filter(|_| is_whole);
    }
    Uncommitted::look(&repository, &requests).warn();
    carry_out(context, repository, requests, args.work.jobs, &args.show, args.quiet, args.wait)
}

/// What is asked, if the same question may have the same answer.
fn question(args: &Args, options: &Options, context: &Context, repository: &RepoPath) -> Option<Question> {
    let [file] = args.work.files.as_slice() else { return None };
    if args.work.inputs.file.is_some() {
        return None;
    }
    Question::new(Asked {
        file,
        directory: &context.directory,
        given: &given(&args.work.inputs),
        base: args.work.select.base.as_deref(),
        options: options.clone(),
        pool: &context.pool_directory(repository).ok()?,
    })
}

fn given(inputs: &Inputs) -> Vec<(&str, &str)> {
    inputs.given.iter().map(|one| (one.name.as_str(), one.value.as_str())).collect()
}

/// Runs requests, shows them, and says how they ended: what `apply` and `resume` have in common.
///
/// # Errors
/// Whatever keeps the runs from starting or from being recorded.
pub fn carry_out(
    context: &Context,
    repository: RepoPath,
    requests: Vec<Request>,
    jobs: Option<Jobs>,
    show: &Show,
    quiet: bool,
    wait: bool,
) -> Result<Exit, Failure> {
    let bounds = worktrees::gc::bounds(&context.env)?;
    let limits = cache::limits::limits(context, None, None)?;
    let (listener, notices) = std::sync::mpsc::channel();
    let known = requests.iter().filter_map(|request| request.resume.clone()).collect();
    let asks = !quiet && !show.json && show.events.is_none() && prompt::is_possible(&context.env);
    let patience = if wait || asks { Patience::endless() } else { Patience::none() };
    let mut settings = load::settings(context, repository.clone(), &requests, jobs, listener)?;
    settings.patience = patience.clone();
    let dispatcher = setup::start(settings, requests)?;
    let how = match (quiet, show.no_progress) {
        (true, _) => out::Show::Nothing,
        (false, true) => out::Show::Lines,
        (false, false) => out::Show::Fitting,
    };
    let (unwritten, unwritten_events) = std::sync::mpsc::channel();
    let mut sinks = out::sinks(&context.env, how, show.events.map(|_| unwritten));
    if asks && let Some(display) = sinks.pop() {
        let later = if wait { Later::Stay } else { Later::Leave(patience) };
        let store = Store::at(&repository.common_dir);
        let by = answer::person(context, &Repo::open(&repository)?);
        sinks.push(Box::new(Prompt::new(display, store, by, later)));
    }
    let consumer = report::consume(notices, sinks, known);
    let report = dispatcher.run()?;
    let runs = consumer.join();
    let changed = |view: &RunView| changed_files(&repository, view);
    let store = Store::at(&repository.common_dir);
    if show.json {
        out::json(&summary::json(runs.values(), changed))?;
    } else {
        out::note(summary::render(runs.values(), &store, changed).trim_end());
    }
    if let Some(shared) = &report.shared {
        remote::tell(shared);
    }
    worktrees::gc::after_run(context, bounds);
    // The process ends now: to free every small value of a large run first would only take time.
    std::mem::forget(runs);
    if let Some(reason) = report.store_failed {
        return Err(Failure::environment(format!(
            "the run was stopped, because it could not be recorded: {reason}"
        ))
        .with_help("make room or mend the disk, then `spb resume`"));
    }
    cache::limits::once_a_day(limits, &repository);
    let worst = |exit: Exit| exit as u8;
    let mut exits: Vec<Exit> = report.runs.iter().map(|run| Exit::of_run(run.finished.outcome)).collect();
    if let Ok(error) = unwritten_events.try_recv() {
        out::warn(&format!(
            "not all events could be written to standard output: {error}; `spb logs` and `spb status` have all"
        ));
        exits.push(Exit::Environment);
    }
    Ok(exits.into_iter().max_by_key(|&exit| worst(exit)).unwrap_or(Exit::Done))
}

/// A look at the checkout, beside other work. Runs start from a commit: what is only in the checkout is not seen, which
/// surprises once.
struct Uncommitted(Option<JoinHandle<Option<usize>>>);

impl Uncommitted {
    fn look(repository: &RepoPath, requests: &[Request]) -> Self {
        // To look takes a while in a large repository.
        let starts_from_head = |request: &Request| request.base_revision == "HEAD" && request.sees_files();
        if repository.work_dir.is_none() || !requests.iter().any(starts_from_head) {
            return Self(None);
        }
        let repository = repository.clone();
        let count = move || Some(Repo::open(&repository).ok()?.checkout().ok()?.changed);
        // A machine without room for a thread has no room for a warning.
        Self(std::thread::Builder::new().spawn(count).ok())
    }

    fn warn(self) {
        let changed = self.0.and_then(|looking| looking.join().ok()?);
        if let Some(changed) = changed.filter(|&changed| changed > 0) {
            out::warn(&format!(
                "{} not committed: this run starts from HEAD and does not see them",
                crate::report::text::count(changed, "change"),
            ));
        }
    }
}

fn changed_files(repository: &RepoPath, view: &RunView) -> Option<usize> {
    let commit = view.finished.as_ref()?.commit.as_ref()?.parse().ok()?;
    let base = view.started.base.parse().ok()?;
    let repo = Repo::open(repository).ok()?;
    let changes = repo.changes(repo.tree_of(base).ok()?, repo.tree_of(commit).ok()?).ok()?;
    Some(changes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_anything_and_a_name_may_not() {
        let parsed: Assignment = "task=a=b $(c)".parse().unwrap();
        assert_eq!((parsed.name.as_str(), parsed.value.as_str()), ("task", "a=b $(c)"));
        for bad in ["task", "=x", "a b=c"] {
            assert!(bad.parse::<Assignment>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn jobs_are_a_number_or_auto() {
        assert_eq!("auto".parse(), Ok(Jobs::Auto));
        assert_eq!("3".parse(), Ok(Jobs::Number(NonZeroUsize::new(3).unwrap())));
        for bad in ["0", "-1", "many", ""] {
            assert!(bad.parse::<Jobs>().is_err(), "{bad:?} was accepted");
        }
    }
}
