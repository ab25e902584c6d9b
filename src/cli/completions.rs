//! `spb completions`: scripts that complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Context, Exit, Failure, out};

/// Print a script that completes the command line
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb completions bash > ~/.local/share/bash-completion/completions/spb
  spb completions zsh > ~/.zfunc/_spb
  spb completions fish > ~/.config/fish/completions/spb.fish")]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// When it cannot be written.
pub fn run(args: &Args, _context: &Context) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "spb", &mut script);
    out::print_raw(&script)?;
    Ok(Exit::Done)
}
