//! `spb validate`: checks workflow files.

use std::path::PathBuf;

use super::todo_by_lead::not_yet;
use super::{Context, Exit, Failure};

/// Check workflow files
///
/// Every problem of a file at once, each with its place and what to do. Needs no repository and touches nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb validate workflows/*.yaml
  spb validate --strict build.yaml       warnings count as errors
  spb validate --json build.yaml         for editors and checks")]
pub struct Args {
    /// Workflow files
    #[arg(required = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Warnings count as errors
    #[arg(long)]
    pub strict: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
///
/// # Errors
/// A silent one with [`Exit::Invalid`] when a file has problems.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    not_yet("validate")
}
