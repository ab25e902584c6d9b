//! `spb why`: explains why a node ran or did not.

use super::todo_by_lead::not_yet;
use super::{Context, Exit, Failure};

/// Explain why a node ran, or did not
///
/// The first difference between what the node was given and what it was given the last time.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb why test                  in the newest run
  spb why test k3f9             in the run whose id holds `k3f9`
  spb why scout:tests --json    one instance of a matrix")]
pub struct Args {
    /// The node, or one instance of its matrix
    #[arg(value_name = "NODE")]
    pub node: String,
    /// The run: its id or a part of it [default: the newest]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
///
/// # Errors
/// When there is no such run or node.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    not_yet("why")
}
