//! From the process's start to its exit code: parses, sets colours and directory, runs the verb, tells its failure.
//! Turns a panic into "a bug in spb".

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;

use super::{Cli, Context, Env, Exit, Failure, When, out};
use crate::report::text;

/// Set by the panic hook: some thread panicked, whatever the main thread makes of it.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Runs the command of this process.
pub fn main() -> ExitCode {
    panic::set_hook(Box::new(report_bug));
    // The stack is unwound before the process ends, so that leases and processes are let go of in order.
    let exit = panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(Exit::Bug);
    if PANICKED.load(Ordering::SeqCst) { Exit::Bug.into() } else { exit.into() }
}

fn run() -> Exit {
    let env = Env::read();
    // Help and usage errors are printed before `--color` is known.
    choose_colours(When::Auto, &env);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return usage(&answer),
    };
    choose_colours(cli.color, &env);
    let done = context(env, &cli).and_then(|context| cli.verb.run(&context));
    done.unwrap_or_else(|failure| {
        out::failure(&failure);
        failure.exit
    })
}

/// Prints the help that was asked for, or what is wrong with the arguments.
fn usage(answer: &clap::Error) -> Exit {
    let exit = if answer.use_stderr() { Exit::Invalid } else { Exit::Done };
    // It repeats what was given, which may come from anywhere.
    let text = answer.render().ansi().to_string();
    let text = text::block(&text);
    let printed = match exit {
        Exit::Done => out::print(&text),
        _ => {
            out::note(text.trim_end());
            Ok(())
        }
    };
    match printed {
        Err(failure) if exit == Exit::Done => {
            out::failure(&failure);
            failure.exit
        }
        _ => exit,
    }
}

fn choose_colours(when: When, env: &Env) {
    let choice = match when {
        When::Auto if env.no_color || env.dumb_terminal => anstream::ColorChoice::Never,
        When::Auto => anstream::ColorChoice::Auto,
        When::Always => anstream::ColorChoice::Always,
        When::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
}

fn context(env: Env, cli: &Cli) -> Result<Context, Failure> {
    if let Some(directory) = &cli.directory {
        std::env::set_current_dir(directory).map_err(|error| {
            Failure::invalid(format!("cannot change to `{}`: {error}", directory.display()))
        })?;
    }
    let directory = std::env::current_dir()
        .map_err(|error| Failure::environment(format!("cannot tell the current directory: {error}")))?;
    Ok(Context { env, directory })
}

fn report_bug(info: &panic::PanicHookInfo<'_>) {
    PANICKED.store(true, Ordering::SeqCst);
    let what = info.payload_as_str().unwrap_or("unknown");
    let place =
        info.location().map(|place| format!(" at {}:{}", place.file(), place.line())).unwrap_or_default();
    out::failure(
        &Failure::bug(format!("this is a bug in spb {}: {what}{place}", env!("CARGO_PKG_VERSION")))
            .with_help("please report it with the command that you ran; `spb resume` carries on with an interrupted run"),
    );
}
