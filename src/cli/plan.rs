//! `spb plan`: says what would run, and why.

use std::path::PathBuf;

use super::apply::{Inputs, Jobs, Select};
use super::todo_by_lead::not_yet;
use super::{Context, Exit, Failure};

/// Show what would run, and why
///
/// Which nodes come from the cache and which would run, the first difference that makes them run, the order, and how many at the
/// same time. Writes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb plan workflows/feature.yaml -i task=\"add a --json flag\"
  spb plan build.yaml --until test
  spb plan build.yaml --json | jq '.nodes[] | select(.state != \"cached\")'")]
pub struct Args {
    /// Workflow files
    #[arg(required = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub inputs: Inputs,
    /// How many nodes run at the same time at most: a number, or `auto`
    #[arg(short, long, value_name = "N|auto")]
    pub jobs: Option<Jobs>,
    #[command(flatten)]
    pub select: Select,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
///
/// # Errors
/// When the workflow is invalid, or git or the store cannot be read.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    not_yet("plan")
}
