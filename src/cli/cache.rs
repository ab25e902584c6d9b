//! `spb cache`: what is kept of earlier results.

use clap::Subcommand;

use super::todo_by_lead::not_yet;
use super::{Context, Exit, Failure};

/// Show and clear the cache of results
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb cache stats
  spb cache clear --yes         forget all results; runs, logs and branches stay")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show how much is cached, and how much time it stands for
    Stats {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget all results: everything runs again
    Clear {
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    not_yet("cache")
}
