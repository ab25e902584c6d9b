//! `spb logs`: what nodes printed. Writes nothing.

use super::todo_by_lead::not_yet;
use super::{Context, Exit, Failure};

/// Show what nodes printed
///
/// Without a node, the logs of all nodes of the run. A node that came from the cache shows the log of the run that made its result.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb logs test                 a node of the newest run
  spb logs k3f9 test            a node of the run whose id holds `k3f9`
  spb logs test --attempt 1     an earlier attempt than the last
  spb logs test --follow        until the node ends
  spb logs test --raw | less -R the bytes as they were written")]
pub struct Args {
    /// The run (its id or a part of it), the node, or both in this order
    #[arg(value_name = "RUN|NODE", num_args = 0..=2)]
    pub words: Vec<String>,
    /// This attempt instead of the last
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,
    /// Print the bytes as they were written, control characters and all
    #[arg(long)]
    pub raw: bool,
    /// Go on until the node or the run ends
    #[arg(short, long)]
    pub follow: bool,
}

pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    not_yet("logs")
}
