//! `spb checkpoint`: what a run had after each stage.

use clap::Subcommand;
use serde::Serialize;

use super::{Context, Exit, Failure, branch, out};
use crate::git::repo::Colour;
use crate::git::{CommitId, Repo, TreeId};
use crate::report::table::Table;
use crate::report::text;
use crate::store::Store;
use crate::store::operations::{self, Operation, Operations};
use crate::store::runs::{self, FindError, RunView, StageView};
use crate::workflow::suggest::nearest;

/// List, compare and restore checkpoints
///
/// After each stage a run records a commit of everything merged so far.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb checkpoint list                       of the newest run
  spb checkpoint diff latest build          what the run had changed after stage `build`
  spb checkpoint diff latest plan build     what changed from stage `plan` to `build`
  spb checkpoint restore latest build       move the run's branch there; `spb undo` takes it back")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    List(ListArgs),
    Diff(DiffArgs),
    Restore(RestoreArgs),
}

/// List the checkpoints of a run
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// The run: its id or a part of it [default: the newest]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Show what changed between the run's base and a checkpoint, or between two
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// The run: its id or a part of it, or `latest`
    #[arg(value_name = "RUN")]
    pub run: String,
    /// The stage
    #[arg(value_name = "STAGE")]
    pub stage: String,
    /// A later stage: compare the two
    #[arg(value_name = "STAGE2")]
    pub other: Option<String>,
    /// Print only the names of the files
    #[arg(long, conflicts_with = "json")]
    pub name_only: bool,
    /// Print the changed files as JSON
    #[arg(long)]
    pub json: bool,
}

/// Move or make a branch at a checkpoint
///
/// Refuses a branch that is checked out or holds other work. `spb undo` takes it back.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// The run: its id or a part of it, or `latest`
    #[arg(value_name = "RUN")]
    pub run: String,
    /// The stage
    #[arg(value_name = "STAGE")]
    pub stage: String,
    /// The branch [default: the run's result branch]
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
///
/// # Errors
/// When the run or stage cannot be found, its commit is gone, or the branch may not be moved.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::List(args) => list(args, context),
        Verb::Diff(args) => diff(args, context),
        Verb::Restore(args) => restore(args, context),
    }?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Checkpoint<'a> {
    run: &'a str,
    stage: &'a str,
    commit: Option<&'a str>,
    /// Files that differ from the run's base; absent without a commit, or when it is gone.
    changed_files: Option<usize>,
    note: Option<&'a str>,
}

fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let (repository, store) = context.store()?;
    let run = match runs::find(&store, args.run.as_deref()) {
        Err(FindError::None) if args.run.is_none() => {
            return if args.json { out::json::<[(); 0]>(&[]) } else { out::print("no runs yet\n") };
        }
        found => found?,
    };
    let view = runs::view(&store, &run)?;
    let repo = Repo::open(&repository)?;
    let checkpoints: Vec<Checkpoint<'_>> = view
        .stages
        .iter()
        .map(|stage| Checkpoint {
            run: view.run.as_str(),
            stage: &stage.stage,
            commit: stage.commit.as_deref(),
            changed_files: changed_files(&repo, &view, stage),
            note: stage.note.as_deref(),
        })
        .collect();
    if args.json {
        return out::json(&checkpoints);
    }
    if checkpoints.is_empty() {
        return out::print(&format!("run {} has no checkpoints yet\n", view.run));
    }
    let mut table = Table::new(["stage", "checkpoint", "changed files", "note"]).right([2]);
    for one in checkpoints {
        table.row([
            text::line(one.stage).into_owned(),
            one.commit.map_or("none", text::short).to_owned(),
            one.changed_files.map(|number| number.to_string()).unwrap_or_default(),
            text::line(one.note.unwrap_or_default()).into_owned(),
        ]);
    }
    out::print(&table.render(out::width()))
}

fn changed_files(repo: &Repo, view: &RunView, stage: &StageView) -> Option<usize> {
    let tree = |commit: &str| repo.tree_of(commit.parse().ok()?).ok();
    Some(repo.changes(tree(&view.started.base)?, tree(stage.commit.as_deref()?)?).ok()?.len())
}

#[derive(Debug, Serialize)]
struct ChangedFile {
    path: String,
    /// As `git status` says it: `A`, `M`, `D` ...
    change: char,
}

fn diff(args: &DiffArgs, context: &Context) -> Result<(), Failure> {
    let (repository, store) = context.store()?;
    let view = runs::view(&store, &runs::find(&store, Some(&args.run))?)?;
    let repo = Repo::open(&repository)?;
    let tree = |commit: CommitId| -> Result<TreeId, Failure> { Ok(repo.tree_of(commit)?) };
    let first = tree(checkpoint(&view, &args.stage)?)?;
    let (old, new) = match &args.other {
        Some(other) => (first, tree(checkpoint(&view, other)?)?),
        None => (tree(branch::commit_id(&view.started.base)?)?, first),
    };
    if !args.json && !args.name_only {
        return patch(&repo, old, new);
    }
    let changes = repo.changes(old, new)?;
    if args.json {
        let files = changes
            .iter()
            .map(|one| ChangedFile { path: one.name().into_owned(), change: one.kind.letter() });
        return out::json(&files.collect::<Vec<_>>());
    }
    out::print(&changes.iter().map(|change| format!("{}\n", text::line(&change.name()))).collect::<String>())
}

fn patch(repo: &Repo, old: TreeId, new: TreeId) -> Result<(), Failure> {
    let colour = if out::has_colours() { Colour::Always } else { Colour::Never };
    out::patch(&repo.diff_text(old, new, colour)?)
}

/// The commit of a stage's checkpoint.
fn checkpoint(view: &RunView, stage: &str) -> Result<CommitId, Failure> {
    let Some(found) = view.stages.iter().find(|view| view.stage == stage) else {
        return Err(no_such_stage(view, stage));
    };
    match (&found.commit, &found.note) {
        (Some(commit), _) => branch::commit_id(commit),
        (None, note) => {
            let why = note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
            Err(Failure::invalid(format!("stage `{stage}` has no checkpoint{why}")))
        }
    }
}

fn no_such_stage(view: &RunView, stage: &str) -> Failure {
    if view.started.stages.iter().any(|known| known == stage) {
        return Failure::invalid(format!("stage `{stage}` of run {} has not ended yet", view.run));
    }
    let failure = Failure::invalid(format!("run {} has no stage `{stage}`", view.run));
    match nearest(stage, view.started.stages.iter().map(String::as_str)) {
        Some(name) => failure.with_help(format!("did you mean `{name}`?")),
        None => failure.with_help(format!("its stages: {}", view.started.stages.join(", "))),
    }
}

#[derive(Debug, Serialize)]
struct Restored<'a> {
    branch: &'a str,
    before: Option<String>,
    after: String,
    changed: bool,
}

fn restore(args: &RestoreArgs, context: &Context) -> Result<(), Failure> {
    let (repository, store) = context.store()?;
    let view = runs::view(&store, &runs::find(&store, Some(&args.run))?)?;
    let to = checkpoint(&view, &args.stage)?;
    let repo = Repo::open(&repository)?;
    if !repo.has_commit(to) {
        return Err(crate::git::GitError::MissingCommit(to).into());
    }
    let name = branch_name(args, &view);
    let reference = format!("refs/heads/{name}");
    let _lock = operations::lock(&store)?;
    let before = repo.read_ref(&reference)?;
    if before != Some(to) {
        allow(&repo, &store, &reference, before, to)?;
        let what = format!("checkpoint restore {} {}", view.run, args.stage);
        // Noted first: killed in between, it can be taken back whether the branch was moved or not.
        operations::add(&store, Operation::now(what.clone(), &reference, before, Some(to)))?;
        let done = branch::change(&store, &repo, &reference, before, Some(to), &format!("spb: {what}"));
        done.or_else(|failure| operations::take_back(&store).map_err(Failure::from).and(Err(failure)))?;
    }
    if args.json {
        let before = before.map(|before| before.to_string());
        let changed = before.as_deref() != Some(&to.to_string());
        return out::json(&Restored { branch: &name, before, after: to.to_string(), changed });
    }
    let shown = text::line(&name);
    out::print(&match before {
        Some(before) if before == to => format!("branch `{shown}` is at that checkpoint already\n"),
        Some(before) => format!(
            "moved branch `{shown}` from {} to {}; `spb undo` takes it back\n",
            before.short(),
            to.short()
        ),
        None => format!("made branch `{shown}` at {}; `spb undo` takes it back\n", to.short()),
    })
}

fn branch_name(args: &RestoreArgs, view: &RunView) -> String {
    let given =
        args.branch.clone().or_else(|| view.finished.as_ref().and_then(|finished| finished.branch.clone()));
    let name = given.unwrap_or_else(|| format!("spb/{}/{}", view.started.workflow, view.run));
    branch::short_name(&name).to_owned()
}

/// A branch may move back to a checkpoint if what it holds is spb's, or the checkpoint continues it.
fn allow(
    repo: &Repo,
    store: &Store,
    reference: &str,
    before: Option<CommitId>,
    to: CommitId,
) -> Result<(), Failure> {
    let Some(before) = before else { return Ok(()) };
    branch::refuse_checked_out(repo, reference, Some(to))?;
    if Operations::read(store)?.left_at(reference, before) || repo.contains(to, before)? {
        return Ok(());
    }
    let name = branch::short_name(reference);
    Err(Failure::environment(format!("the branch `{name}` holds other work, at {}", before.short()))
        .with_help("give another branch: `--branch NAME`"))
}
