//! `spb schema`: prints the JSON schema of workflow files.

use super::{Context, Exit, Failure, out};

/// Print the JSON schema of workflow files
///
/// Editors use it for completion and checks. Put this line on top of a workflow file:
///
///   # yaml-language-server: $schema=PATH
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  spb schema > workflow.schema.json"
)]
pub struct Args {}

/// Runs the verb.
///
/// # Errors
/// When it cannot be written.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    out::print_raw(crate::workflow::schema::text().as_bytes())?;
    Ok(Exit::Done)
}
