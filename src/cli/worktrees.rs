//! `spb worktrees`: the pool of worktrees that nodes run in.

pub mod gc;

use clap::Subcommand;
use serde::Serialize;

use super::{Context, Exit, Failure, out};
use crate::git::collect::{Removal, Which};
use crate::git::{Pool, SlotInfo, SlotState};
use crate::report::table::Table;
use crate::report::{style, text};

/// List and remove the worktrees that nodes run in
///
/// They are kept between runs, so that build caches in them stay warm. They live outside of the repository, under
/// $SPB_WORKTREES or the user's cache directory. One that no node used for 30 days is removed when a run ends;
/// $SPB_WORKTREES_MAX_AGE (`14d`, `never`) and $SPB_WORKTREES_MAX_SIZE (`20GB` for those of one repository) say otherwise.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  spb worktrees                 list them, with the disk that they take
  spb worktrees gc --older-than 7d --max-size 10GB
  spb worktrees gc --all        of all repositories, those that are gone too
  spb worktrees remove 3        one of them
  spb worktrees remove --all    all that no node runs in")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
    #[command(flatten)]
    pub list: ListArgs,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    List(ListArgs),
    Remove(RemoveArgs),
    Gc(gc::Args),
}

/// List them, with who uses them and how much disk they take
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Remove them; those that are in use stay
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
pub struct RemoveArgs {
    /// Their numbers
    #[arg(value_name = "NUMBER", group = "which")]
    pub numbers: Vec<u32>,
    /// All that are free
    #[arg(long, group = "which")]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
///
/// # Errors
/// When the pool cannot be read, or a worktree that was asked for cannot be removed.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    match &args.verb {
        None => list(&args.list, context),
        Some(Verb::List(args)) => list(args, context),
        Some(Verb::Remove(args)) => remove(args, context),
        Some(Verb::Gc(args)) => gc::run(args, context),
    }
}

/// The pool, if it was ever used. Makes nothing.
///
/// # Errors
/// When there is no repository.
pub fn existing_pool(context: &Context) -> Result<Option<Pool>, Failure> {
    let repository = context.repository()?;
    let directory = context.pool_directory(&repository)?;
    if directory.is_dir() { Ok(Some(Pool::open(&repository, directory)?)) } else { Ok(None) }
}

#[derive(Debug, Serialize)]
struct Worktree {
    number: u32,
    path: String,
    /// `free`, `busy`, or `dirty`: free, but not given back; checked before it is used again.
    state: &'static str,
    run: Option<String>,
    node: Option<String>,
    tree: Option<String>,
    /// When it was leased or given back last, RFC 3339.
    used: Option<String>,
    /// Everything in it counts, what git ignores too.
    disk_bytes: u64,
}

fn list(args: &ListArgs, context: &Context) -> Result<Exit, Failure> {
    let slots = existing_pool(context)?.map(|pool| pool.list()).transpose()?.unwrap_or_default();
    let worktrees: Vec<Worktree> = slots.iter().map(worktree).collect();
    if args.json {
        out::json(&worktrees)?;
    } else if worktrees.is_empty() {
        out::print("no worktrees yet\n")?;
    } else {
        out::print(&table(&worktrees))?;
    }
    Ok(Exit::Done)
}

fn worktree(slot: &SlotInfo) -> Worktree {
    let holder = slot.holder.as_ref().filter(|_| slot.state != SlotState::Free);
    Worktree {
        number: slot.number,
        path: slot.path.to_string_lossy().into_owned(),
        state: state(slot.state),
        run: holder.map(|holder| holder.run.clone()),
        node: holder.map(|holder| holder.node.clone()).or_else(|| slot.node.clone()),
        tree: slot.tree.map(|tree| tree.to_string()),
        used: slot.used.and_then(|used| jiff::Timestamp::try_from(used).ok()).map(|used| used.to_string()),
        disk_bytes: slot.disk_bytes(),
    }
}

fn state(state: SlotState) -> &'static str {
    match state {
        SlotState::Free => "free",
        SlotState::Busy => "busy",
        SlotState::Dirty => "dirty",
    }
}

fn table(worktrees: &[Worktree]) -> String {
    let mut table = Table::new(["number", "state", "node", "run", "last used", "disk", "path"]).right([0, 5]);
    for one in worktrees {
        let paint = match one.state {
            "busy" => style::cyan,
            "dirty" => style::yellow,
            _ => style::green,
        };
        table.row([
            one.number.to_string(),
            paint(one.state),
            text::line(one.node.as_deref().unwrap_or_default()).into_owned(),
            text::line(one.run.as_deref().unwrap_or_default()).into_owned(),
            one.used.as_deref().map(text::local_time).unwrap_or_default(),
            text::bytes(one.disk_bytes),
            text::line(&one.path).into_owned(),
        ]);
    }
    let bytes = worktrees.iter().map(|one| one.disk_bytes).sum();
    let total = format!("{}, {}\n", text::count(worktrees.len(), "worktree"), text::bytes(bytes));
    table.render(out::width()) + &total
}

#[derive(Debug, Default, Serialize)]
struct Removed {
    removed: Vec<u32>,
    busy: Vec<u32>,
}

fn remove(args: &RemoveArgs, context: &Context) -> Result<Exit, Failure> {
    let mut result = Removed::default();
    let which: Vec<Which> =
        if args.all { vec![Which::All] } else { args.numbers.iter().copied().map(Which::Number).collect() };
    if let Some(pool) = existing_pool(context)? {
        let known: Vec<u32> = pool.list()?.iter().map(|slot| slot.number).collect();
        refuse_unknown(args, &known)?;
        for which in which {
            for removal in pool.remove(which)? {
                match removal {
                    Removal::Removed(number) => result.removed.push(number),
                    Removal::Busy(number) => result.busy.push(number),
                }
            }
        }
    } else {
        refuse_unknown(args, &[])?;
    }
    if args.json {
        out::json(&result)?;
    } else {
        out::print(&format!("removed {}\n", text::count(result.removed.len(), "worktree")))?;
    }
    if result.busy.is_empty() {
        return Ok(Exit::Done);
    }
    let busy = result.busy.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    out::warn(&format!("kept what a node runs in: {busy}"));
    // Who asked for all free ones got that; who named one did not.
    Ok(if args.all { Exit::Done } else { Exit::Environment })
}

fn refuse_unknown(args: &RemoveArgs, known: &[u32]) -> Result<(), Failure> {
    match args.numbers.iter().find(|number| !known.contains(number)) {
        Some(number) => Err(Failure::invalid(format!("there is no worktree {number}"))
            .with_help("`spb worktrees list` shows them")),
        None => Ok(()),
    }
}
