//! `spb schema`: prints what workflow files may hold, for editors or for people.

use clap::ValueEnum;

use super::{Context, Exit, Failure, out};
use crate::workflow::{reference, schema};

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
  spb schema > workflow.schema.json
  spb schema --format markdown     every key with its meaning, to read"
)]
pub struct Args {
    /// For programs, or as a page to read
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub format: Format,
}

/// `json` or `markdown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Markdown,
}

/// Runs the verb.
///
/// # Errors
/// When it cannot be written.
pub fn run(args: &Args, _context: &Context) -> Result<Exit, Failure> {
    let text = match args.format {
        Format::Json => schema::text(),
        Format::Markdown => reference::markdown(),
    };
    out::print_raw(text.as_bytes())?;
    Ok(Exit::Done)
}
