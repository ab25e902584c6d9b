//! `spb resume`: carries on with a run that stopped.

use super::apply::{Jobs, Show};
use super::todo_by_lead::not_yet;
use super::{Context, Exit, Failure};

/// Carry on with a run that stopped
///
/// What is finished stays finished; everything else of the run is tried again, with the workflow file and the inputs it was
/// started with.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb resume                    the newest run
  spb resume k3f9               the run whose id holds `k3f9`
  spb resume --jobs 2           with fewer nodes at the same time")]
pub struct Args {
    /// The run: its id or a part of it, or `latest`
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// How many nodes run at the same time at most: a number, or `auto` [default: as the run was started]
    #[arg(short, long, value_name = "N|auto")]
    pub jobs: Option<Jobs>,
    #[command(flatten)]
    pub show: Show,
    /// Print only failures and the summary
    #[arg(short, long)]
    pub quiet: bool,
}

/// Runs the verb.
///
/// # Errors
/// When there is nothing to resume, or whatever keeps the run from being recorded.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    not_yet("resume")
}
