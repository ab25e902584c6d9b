//! `spb lsp`: the language server, over standard input and output.

use super::{Context, Exit, Failure};
use crate::lsp::{self, End};

/// Answer an editor (language server)
///
/// Editors start it and talk to it over standard input and output: diagnostics, completion, hover, definitions,
/// references and renaming in workflow files. docs/guide.md says how editors are told about it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb lsp                  started by the editor")]
pub struct Args {
    /// The only way there is; many editors say so
    #[arg(long, hide = true)]
    pub stdio: bool,
}

/// Runs the verb.
///
/// # Errors
/// When what arrives is not the protocol. An editor that ends without `shutdown` gets exit code 1, as the protocol says.
pub fn run(_args: &Args, _context: &Context) -> Result<Exit, Failure> {
    match lsp::stdio() {
        Ok(End::Asked) => Ok(Exit::Done),
        Ok(End::Abrupt) => Ok(Exit::NodeFailed),
        Err(error) => Err(Failure::environment(error.to_string())
            .with_help("`spb lsp` is started by an editor; `spb validate FILE` checks a file")),
    }
}
