//! The `spb` command: hands its arguments to the library and exits with what that says.

use std::process::ExitCode;

fn main() -> ExitCode {
    spb::cli::main()
}
