//! `spb undo` and `spb redo`: takes back what spb did to branches, and does it again.

use super::todo_by_lead::not_yet;
use super::{Context, Exit, Failure};

/// Take back what spb did to a branch last
///
/// Moves the branch to where it was before. Commits are never lost: `spb redo` does it again.
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
  spb redo                      do the last operation that was taken back again
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

pub fn undo(_args: &UndoArgs, _context: &Context) -> Result<Exit, Failure> {
    not_yet("undo")
}

pub fn redo(_args: &RedoArgs, _context: &Context) -> Result<Exit, Failure> {
    not_yet("redo")
}
