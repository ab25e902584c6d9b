//! `spb undo` and `spb redo`: takes back what spb did to branches, and does it again.

use serde::Serialize;

use super::{Context, Exit, Failure, branch, out};
use crate::git::Repo;
use crate::report::table::Table;
use crate::report::{style, text};
use crate::store::Store;
use crate::store::operations::{self, Operation, Operations};

/// Take back what spb did to a branch last
///
/// Moves the branch to where it was before. No commit is lost: `spb redo` does it again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb undo                      take the last operation back
  spb undo --list               what can be taken back")]
pub struct UndoArgs {
    #[command(flatten)]
    pub common: Common,
}

/// Do again what was taken back last
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb redo                      do again what `spb undo` took back
  spb redo --list               what can be taken back or done again")]
pub struct RedoArgs {
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, clap::Args)]
pub struct Common {
    /// List the operations instead, newest first
    #[arg(long)]
    pub list: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Takes the newest standing operation back.
///
/// # Errors
/// When there is none, or its branch was moved since or is checked out.
pub fn undo(args: &UndoArgs, context: &Context) -> Result<Exit, Failure> {
    step(&args.common, context, Direction::Back)
}

/// Does the operation that was taken back last again.
///
/// # Errors
/// As [`undo`].
pub fn redo(args: &RedoArgs, context: &Context) -> Result<Exit, Failure> {
    step(&args.common, context, Direction::Again)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Back,
    Again,
}

/// One operation as JSON.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    number: usize,
    time: &'a str,
    what: &'a str,
    branch: &'a str,
    before: Option<&'a str>,
    after: Option<&'a str>,
    undone: bool,
}

fn step(args: &Common, context: &Context, direction: Direction) -> Result<Exit, Failure> {
    let (repository, store) = context.store()?;
    if args.list {
        list(&Operations::read(&store)?, args.json)?;
        return Ok(Exit::Done);
    }
    let (nothing, verb) = match direction {
        Direction::Back => ("there is nothing to undo", "undone"),
        Direction::Again => ("there is nothing to redo", "redone"),
    };
    // Without a store nothing was ever done, and nothing must be written to find out.
    if !store.operations_path().exists() {
        return Err(Failure::invalid(nothing));
    }
    let _lock = operations::lock(&store)?;
    let list = Operations::read(&store)?;
    let found = match direction {
        Direction::Back => list.to_undo(),
        Direction::Again => list.to_redo(),
    };
    let (number, operation) = found.ok_or_else(|| Failure::invalid(nothing))?;
    let repo = Repo::open(&repository)?;
    move_branch(&store, &repo, operation, direction)?;
    match direction {
        Direction::Back => operations::mark_undone(&store, number)?,
        Direction::Again => operations::mark_redone(&store, number)?,
    }
    let undone = direction == Direction::Back;
    if args.json {
        out::json(&entry(number, operation, undone))?;
    } else {
        out::print(&format!(
            "{verb}: {}\n  {}\n",
            text::line(&operation.what),
            movement(operation, direction)
        ))?;
    }
    Ok(Exit::Done)
}

fn move_branch(
    store: &Store,
    repo: &Repo,
    operation: &Operation,
    direction: Direction,
) -> Result<(), Failure> {
    let before = branch::optional_commit(operation.before.as_ref())?;
    let after = branch::optional_commit(operation.after.as_ref())?;
    let (from, to, word) = match direction {
        Direction::Back => (after, before, "undo"),
        Direction::Again => (before, after, "redo"),
    };
    let reference = &operation.reference;
    let now = repo.read_ref(reference)?;
    if now == to {
        // Its user moved it already, as we said where it was checked out.
        return Ok(());
    }
    if now != from {
        return Err(branch::moved(repo, reference, from));
    }
    branch::refuse_checked_out(repo, reference, to)?;
    branch::change(store, repo, reference, from, to, &format!("spb {word}: {}", text::line(&operation.what)))
}

/// `spb/x: 0123456789ab -> removed`.
fn movement(operation: &Operation, direction: Direction) -> String {
    let (from, to) = match direction {
        Direction::Back => (&operation.after, &operation.before),
        Direction::Again => (&operation.before, &operation.after),
    };
    let place = |commit: &Option<String>| commit.as_deref().map_or("nothing", text::short).to_owned();
    format!(
        "{}: {} -> {}",
        style::bold(&text::line(branch::short_name(&operation.reference))),
        place(from),
        place(to)
    )
}

fn entry(number: usize, operation: &Operation, undone: bool) -> Entry<'_> {
    Entry {
        number,
        time: &operation.time,
        what: &operation.what,
        branch: branch::short_name(&operation.reference),
        before: operation.before.as_deref(),
        after: operation.after.as_deref(),
        undone,
    }
}

fn list(operations: &Operations, json: bool) -> Result<(), Failure> {
    let newest_first = || operations.done.iter().zip(&operations.undone).enumerate().rev();
    if json {
        let entries = newest_first().map(|(number, (operation, undone))| entry(number, operation, *undone));
        return out::json(&entries.collect::<Vec<_>>());
    }
    if operations.done.is_empty() {
        return out::print("nothing was done to any branch yet\n");
    }
    let mut table = Table::new(["when", "state", "what", "branch", "from", "to"]);
    for (_, (operation, undone)) in newest_first() {
        let place = |commit: &Option<String>| commit.as_deref().map_or("nothing", text::short).to_owned();
        table.row([
            text::local_time(&operation.time),
            if *undone { style::dim("undone") } else { "done".to_owned() },
            text::line(&operation.what).into_owned(),
            text::line(branch::short_name(&operation.reference)).into_owned(),
            place(&operation.before),
            place(&operation.after),
        ]);
    }
    out::print(&table.render(out::width()))
}
