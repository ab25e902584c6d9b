//! `spb apply`: runs workflows.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;

use super::todo_by_lead::not_yet;
use super::{Context, Exit, Failure};

/// Run workflows
///
/// Every node runs as soon as what it needs is there, in a git worktree of its own; what has been computed before comes
/// from the cache. The result is a branch, your checkout stays as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb apply workflows/feature.yaml -i task=\"add a --json flag\"
  spb apply build.yaml lint.yaml              several files share one queue and one pool
  spb apply build.yaml --until test           only `test` and what it needs
  spb apply build.yaml --only lint,test       only these, what they need comes from the cache
  spb apply build.yaml --fresh                look nothing up in the cache
  spb apply build.yaml --base main~3          start from another commit than HEAD
  spb apply build.yaml --dry-run              show what would run, change nothing
  spb apply build.yaml --events ndjson        one JSON object for each event")]
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
    /// Stop starting nodes after the first failure
    #[arg(long)]
    pub fail_fast: bool,
    /// Show what would run and why, and change nothing: the same as `spb plan`
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub show: Show,
    /// Print only failures and the summary
    #[arg(short, long)]
    pub quiet: bool,
}

/// Values of the workflow's inputs.
#[derive(Debug, Default, clap::Args)]
pub struct Inputs {
    /// Give an input its value; may be repeated
    #[arg(short = 'i', long = "input", value_name = "NAME=VALUE")]
    pub given: Vec<Assignment>,
    /// Read inputs from a YAML or JSON file; `-i` wins
    #[arg(long = "inputs", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

/// Which part of a workflow runs, from where.
#[derive(Debug, Default, clap::Args)]
pub struct Select {
    /// Run only this node and what it needs
    #[arg(long, value_name = "NODE")]
    pub until: Option<String>,
    /// Run only these nodes; what they need comes from the cache
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Look nothing up in the cache
    #[arg(long)]
    pub fresh: bool,
    /// The revision that the run starts from [default: `worktrees.base` of the file, else HEAD]
    #[arg(long, value_name = "REV")]
    pub base: Option<String>,
}

/// How a run is shown.
#[derive(Debug, Default, clap::Args)]
pub struct Show {
    /// Write every event to standard output, as it becomes durable
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    pub events: Option<EventFormat>,
    /// Print plain lines instead of a progress display
    #[arg(long)]
    pub no_progress: bool,
    /// Print the summary as JSON to standard output
    #[arg(long)]
    pub json: bool,
}

/// Form of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EventFormat {
    /// One JSON object a line: the lines of the run's journal
    Ndjson,
}

/// `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub name: String,
    /// As typed: the input's type says how it is read.
    pub value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("an input is given as NAME=VALUE")?;
        crate::name::check(name).map_err(|error| error.to_string())?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// A number of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    /// What the machine and the workflow allow.
    Auto,
    Number(NonZeroUsize),
}

impl FromStr for Jobs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(number)) => Ok(Self::Number(number)),
            (_, Err(_)) => Err("expected a number from 1, or `auto`".to_owned()),
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// Whatever keeps the run from starting or from being recorded. A failed node is not an error.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    not_yet("apply")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_anything_and_a_name_may_not() {
        let parsed: Assignment = "task=a=b $(c)".parse().unwrap();
        assert_eq!((parsed.name.as_str(), parsed.value.as_str()), ("task", "a=b $(c)"));
        for bad in ["task", "=x", "a b=c"] {
            assert!(bad.parse::<Assignment>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn jobs_are_a_number_or_auto() {
        assert_eq!("auto".parse(), Ok(Jobs::Auto));
        assert_eq!("3".parse(), Ok(Jobs::Number(NonZeroUsize::new(3).unwrap())));
        for bad in ["0", "-1", "many", ""] {
            assert!(bad.parse::<Jobs>().is_err(), "{bad:?} was accepted");
        }
    }
}
