//! `spb doctor`: looks at everything that spb depends on, and says what to do about what is wrong. Writes nothing, unless
//! it is asked to repair.
//!
//! Every file beside this one but `repair` looks at one part and returns [`Check`]s.

mod machine;
mod remote;
mod repair;
mod repository;
mod store;

use serde::Serialize;

use super::{Context, Exit, Failure, out};
use crate::git;
use crate::report::{style, text};

/// Check git, the repository, the store and the machine
///
/// Writes nothing, unless it is asked to repair. Exits with 3 when a check fails.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb doctor
  spb doctor --repair                         mend the store after a crash or a bad disk
  spb doctor --json | jq '.checks[] | select(.state != \"ok\")'")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// First make again what can be made again, and move away what is damaged
    #[arg(long)]
    pub repair: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Warn,
    Fail,
}

/// What was found at one place.
#[derive(Clone, Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    found: String,
    /// What to do.
    help: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), help: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { name, state: State::Warn, found: found.into(), help: Some(help.into()) }
    }

    fn fail(name: &'static str, found: impl Into<String>, help: Option<String>) -> Self {
        Self { name, state: State::Fail, found: found.into(), help }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    /// The worst of all.
    state: State,
    /// What was done, a sentence each.
    repaired: Vec<String>,
    checks: Vec<Check>,
}

/// Runs all checks.
///
/// # Errors
/// When the findings cannot be printed, or a repair fails.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let repaired = if args.repair { repair::run(context, &context.repository()?)? } else { Vec::new() };
    let checks = all(context);
    let state = checks.iter().map(|check| check.state).max().unwrap_or(State::Ok);
    if args.json {
        out::json(&Report { state, repaired, checks })?;
    } else {
        if args.repair {
            out::print(&done(&repaired))?;
        }
        out::print(&checks.iter().map(render).collect::<String>())?;
    }
    Ok(if state == State::Fail { Exit::Environment } else { Exit::Done })
}

fn done(repaired: &[String]) -> String {
    match repaired {
        [] => "nothing needed to be repaired\n\n".to_owned(),
        several => {
            several.iter().map(|one| format!("repaired: {}\n", text::line(one))).collect::<String>() + "\n"
        }
    }
}

fn all(context: &Context) -> Vec<Check> {
    let mut checks = vec![repository::git()];
    match git::repo::discover(&context.directory) {
        Ok(path) => {
            checks.extend(repository::checks(&path));
            checks.extend(store::checks(context, &path));
            checks.extend(machine::disk(context, &path));
        }
        Err(error) => checks.push(Check::fail("repository", error.to_string(), error.help())),
    }
    checks.extend(remote::check(context));
    checks.extend(machine::checks());
    checks
}

fn render(check: &Check) -> String {
    let state = match check.state {
        State::Ok => style::green("ok  "),
        State::Warn => style::yellow("warn"),
        State::Fail => style::red("fail"),
    };
    let help =
        check.help.as_deref().map(|help| format!("{}{}\n", " ".repeat(20), style::cyan(&text::line(help))));
    format!("{state}  {:<14}{}\n{}", check.name, text::line(&check.found), help.unwrap_or_default())
}
