//! `spb init`: makes a first workflow.

use std::path::PathBuf;

use clap::ValueEnum;

use super::todo_by_lead::not_yet;
use super::{Context, Exit, Failure};

/// Make a first workflow
///
/// Never replaces a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb init                          workflows/hello.yaml: three nodes that show the language
  spb init --template feature       workflows/feature.yaml: scout, plan, build, test, review, document, integrate")]
pub struct Args {
    /// Which workflow
    #[arg(long, value_name = "NAME", default_value = "hello")]
    pub template: Template,
    /// Where to put it [default: workflows/NAME.yaml]
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// Three nodes that show the language
    Hello,
    /// A whole feature, from a task to a branch
    Feature,
}

pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    not_yet("init")
}
