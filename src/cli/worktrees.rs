//! `spb worktrees`: the pool of worktrees that nodes run in.

use clap::Subcommand;

use super::todo_by_lead::not_yet;
use super::{Context, Exit, Failure};

/// List and remove the worktrees that nodes run in
///
/// They are kept between runs, so that build caches in them stay warm. They live outside of the repository, under
/// $SPB_WORKTREES or the user's cache directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb worktrees list
  spb worktrees remove 3        one of them
  spb worktrees remove --all    all that no node runs in")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List them, with who uses them and how much disk they take
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove them; those that are in use stay
    #[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
    Remove {
        /// Their numbers
        #[arg(value_name = "NUMBER", group = "which")]
        numbers: Vec<u32>,
        /// All that are free
        #[arg(long, group = "which")]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    not_yet("worktrees")
}
