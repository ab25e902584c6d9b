//! `spb checkpoint`: what a run had after each stage.

use clap::Subcommand;

use super::todo_by_lead::not_yet;
use super::{Context, Exit, Failure};

/// List, compare and restore checkpoints
///
/// After each stage a run records a commit of everything merged so far.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb checkpoint list                       of the newest run
  spb checkpoint diff latest build          what the run had changed after stage `build`
  spb checkpoint diff latest plan build     what stage `build` changed after `plan`
  spb checkpoint restore latest build       move the run's branch there; `spb undo` takes it back")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the checkpoints of a run
    List {
        /// The run: its id or a part of it [default: the newest]
        #[arg(value_name = "RUN")]
        run: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what changed between the run's base and a checkpoint, or between two
    Diff {
        /// The run: its id or a part of it, or `latest`
        #[arg(value_name = "RUN")]
        run: String,
        /// The stage
        #[arg(value_name = "STAGE")]
        stage: String,
        /// A later stage: compare the two
        #[arg(value_name = "STAGE2")]
        other: Option<String>,
        /// Print the names of the files only
        #[arg(long)]
        name_only: bool,
        /// Print the changed files as JSON
        #[arg(long)]
        json: bool,
    },
    /// Move or make a branch at a checkpoint
    Restore {
        /// The run: its id or a part of it, or `latest`
        #[arg(value_name = "RUN")]
        run: String,
        /// The stage
        #[arg(value_name = "STAGE")]
        stage: String,
        /// The branch [default: the run's result branch]
        #[arg(long, value_name = "NAME")]
        branch: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    not_yet("checkpoint")
}
