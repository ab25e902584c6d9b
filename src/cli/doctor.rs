//! `spb doctor`: looks at everything that spb depends on, and says what to do about what is wrong.

use super::todo_by_lead::not_yet;
use super::{Context, Exit, Failure};

/// Check git, the repository, the store and the machine
///
/// Writes nothing. Exits with 3 when something fails.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb doctor
  spb doctor --json | jq '.checks[] | select(.state != \"ok\")'")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    not_yet("doctor")
}
