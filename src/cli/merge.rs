//! `spb merge`: brings a run's result into the checkout.

use serde::Serialize;

use super::{Context, Exit, Failure, branch, out};
use crate::git::{CommitId, GitError, Head, Repo};
use crate::report::text;
use crate::store::operations::{self, Operation};
use crate::store::runs::{self, RunView};

/// Bring a run's result into your checkout
///
/// Moves the branch that you are on, and your files, forward to the run's result branch. Where that branch has commits of
/// its own, nothing is touched and the command to type is shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb merge                     the result of the newest run
  spb merge k3f9                of the run whose id holds `k3f9`")]
pub struct Args {
    /// The run: its id or a part of it [default: the newest]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Serialize)]
struct Merged<'a> {
    run: &'a str,
    branch: &'a str,
    before: String,
    after: String,
    changed: bool,
}

/// Runs the verb.
///
/// # Errors
/// When the run left no branch, or the checkout is not clean or cannot be moved forward.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let (repository, store) = context.store()?;
    let view = runs::view(&store, &runs::find(&store, args.run.as_deref())?)?;
    let repo = Repo::open(&repository)?;
    let (result, to) = result(&repo, &view)?;
    let _lock = operations::lock(&store)?;
    let checkout = repo.checkout()?;
    let (Head::Branch(current), Some(before)) = (&checkout.head, checkout.commit) else {
        return Err(Failure::environment("the checkout is on no branch with a commit")
            .with_help("go to one first: `git switch BRANCH`"));
    };
    let changed = !repo.contains(before, to)?;
    if changed {
        move_forward(&repo, to, current, &result)?;
        let reference = format!("refs/heads/{current}");
        let operation = Operation::now(format!("merge {}", view.run), &reference, Some(before), Some(to));
        operations::add(&store, operation).map_err(|error| {
            Failure::from(error).with_help(format!(
                "the checkout was moved all the same; to go back: `git reset --keep {before}`"
            ))
        })?;
    }
    let shown = text::line(current);
    if args.json {
        let after = if changed { to } else { before };
        let (before, after) = (before.to_string(), after.to_string());
        out::json(&Merged { run: view.run.as_str(), branch: current, before, after, changed })?;
    } else if changed {
        out::print(&format!(
            "moved branch `{shown}` and the checkout from {} to {}; `spb undo` tells how to go back\n",
            before.short(),
            to.short()
        ))?;
    } else {
        out::print(&format!("branch `{shown}` holds the result of run {} already\n", view.run))?;
    }
    Ok(Exit::Done)
}

/// The run's result branch and where it is now.
fn result(repo: &Repo, view: &RunView) -> Result<(String, CommitId), Failure> {
    let run = &view.run;
    let Some(finished) = &view.finished else {
        return Err(Failure::invalid(format!("run {run} has no result yet: it is {}", view.state().word()))
            .with_help(format!("`spb status {run}` shows where it is")));
    };
    let Some(name) = &finished.branch else {
        let why = if finished.message.is_empty() { "it did not succeed" } else { &finished.message };
        return Err(Failure::invalid(format!("run {run} left no branch: {why}"))
            .with_help(format!("`spb status {run}` shows what became of it")));
    };
    let name = branch::short_name(name).to_owned();
    match repo.read_ref(&format!("refs/heads/{name}"))? {
        Some(commit) => Ok((name, commit)),
        None => {
            let failure = Failure::environment(format!("the branch `{name}` of run {run} was removed"));
            Err(match &finished.commit {
                Some(commit) => failure.with_help(format!("to merge what it held: `git merge {commit}`")),
                None => failure,
            })
        }
    }
}

fn move_forward(repo: &Repo, to: CommitId, current: &str, result: &str) -> Result<(), Failure> {
    repo.fast_forward_checkout(to).map_err(|error| match error {
        GitError::NotFastForward { .. } => {
            Failure::environment(format!("the branch `{current}` has commits that `{result}` does not have"))
                .with_help(format!("to merge the two: `git merge {}`", crate::report::next::quoted(result)))
        }
        error => error.into(),
    })
}
