//! `spb cancel`: stops a run of another process.

use super::todo_by_lead::not_yet;
use super::{Context, Exit, Failure};

/// Stop a run
///
/// As Ctrl-C in its terminal does: nothing more is started, running nodes are asked to end, `spb resume` carries on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb cancel                    the newest run
  spb cancel k3f9               the run whose id holds `k3f9`
  spb cancel --now              kill its nodes without asking")]
pub struct Args {
    /// The run: its id or a part of it [default: the newest]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Kill running nodes at once
    #[arg(long)]
    pub now: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    not_yet("cancel")
}
