//! `spb bench`: measures the engine in a throw-away repository, and compares with an earlier measurement.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use super::{Context, Exit, Failure, out};
use crate::bench::load::{Load, Rates};
use crate::bench::result::{self, Regression, Report};
use crate::bench::scenario::{SCENARIOS, Scenario};
use crate::bench::{self, BenchError, Options, show};

/// Measure the engine on this machine
///
/// Runs eleven graphs through the real engine, one node at a time and in parallel, in a repository that it makes and
/// removes itself: real processes, worktrees, cache and journal. Nothing of yours is touched. docs/performance.md says
/// what is measured.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb bench                                   all scenarios, waiting nodes
  spb bench --load all --scenario 2,7         two of them, under every load
  spb bench --scale 1 --repeat 5              full durations, medians of five
  spb bench --json > before.json
  spb bench --compare before.json             exit code 1 if a row is more than 10% slower")]
pub struct Args {
    /// Multiply all durations (at 1 a node takes 100 to 700 ms)
    #[arg(long, value_name = "F", default_value = "0.2", value_parser = scale)]
    pub scale: f64,
    /// Measure everything N times and take the median
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub repeat: u16,
    /// What the nodes do
    #[arg(long, value_enum, value_name = "LOAD", default_value = "wait")]
    pub load: Loads,
    /// Only these scenarios: numbers from 1 to 11
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = scenario)]
    pub scenario: Vec<&'static Scenario>,
    /// How many nodes run at once in the parallel runs [default: as many as the graph allows]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Compare with the JSON of an earlier measurement
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub compare: Option<PathBuf>,
    /// How much slower a row may be than the compared one
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = percent, requires = "compare")]
    pub max_regression: f64,
}

/// One load, or each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Loads {
    /// sleep
    Wait,
    /// Compute
    Cpu,
    /// Write, sync and read files
    Io,
    /// All three, reported apart
    All,
}

fn scale(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.001..=100.0).contains(&value) { Ok(value) } else { Err("expected 0.001 to 100".to_owned()) }
}

fn percent(text: &str) -> Result<f64, String> {
    let value: f64 = text.trim_end_matches('%').parse().map_err(|_| "expected a percentage".to_owned())?;
    if (0.0..=1000.0).contains(&value) { Ok(value) } else { Err("expected 0% to 1000%".to_owned()) }
}

fn scenario(text: &str) -> Result<&'static Scenario, String> {
    let number: usize = text.parse().map_err(|_| "expected a number from 1 to 11".to_owned())?;
    let found = number.checked_sub(1).and_then(|at| SCENARIOS.get(at));
    found.ok_or_else(|| format!("there is no scenario {number}, only 1 to {}", SCENARIOS.len()))
}

/// Runs the verb.
///
/// # Errors
/// When nothing could be measured, or the earlier measurement cannot be compared.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    // Read first: nobody wants to wait for a measurement and then learn of a wrong path.
    let before = args.compare.as_deref().map(|path| read(&context.directory.join(path))).transpose()?;
    let rates = before.as_ref().map_or_else(Rates::default, |before| before.rates);
    let options = options(args, context, rates);
    let report = bench::run(&options, &mut |next| {
        if out::stderr_width().is_some() {
            out::note(next);
        }
    })
    .map_err(failure)?;
    let compared = before.map(|before| result::compare(&before, &report, args.max_regression)).transpose();
    let regressions = compared.map_err(|error| {
        let path = args.compare.as_deref().unwrap_or(Path::new("")).display().to_string();
        Failure::invalid(format!("cannot compare with `{path}`: {error}"))
    });
    print(args, &report, regressions.as_ref().ok().and_then(Option::as_deref))?;
    let is_slower = regressions?.is_some_and(|rows| !rows.is_empty());
    Ok(if is_slower || !report.broken.is_empty() { Exit::NodeFailed } else { Exit::Done })
}

fn options(args: &Args, context: &Context, rates: Rates) -> Options {
    Options {
        scenarios: match args.scenario.is_empty() {
            true => SCENARIOS.iter().collect(),
            false => args.scenario.clone(),
        },
        loads: match args.load {
            Loads::Wait => vec![Load::Wait],
            Loads::Cpu => vec![Load::Cpu],
            Loads::Io => vec![Load::Io],
            Loads::All => Load::ALL.to_vec(),
        },
        scale: args.scale,
        repeat: usize::from(args.repeat),
        jobs: args.jobs.map(usize::from),
        rates,
        base_env: context.env.base.clone(),
    }
}

fn print(args: &Args, report: &Report, regressions: Option<&[Regression]>) -> Result<(), Failure> {
    if args.json {
        let mut value = json!(report);
        if let Some(regressions) = regressions {
            value["regressions"] = json!(regressions);
        }
        return out::json(&value);
    }
    let mut text = show::report(report);
    if let Some(regressions) = regressions {
        text.push_str(&show::regressions(regressions, args.max_regression));
    }
    out::print(&text)
}

fn read(path: &Path) -> Result<Report, Failure> {
    let shown = path.display();
    let text = std::fs::read(path)
        .map_err(|error| Failure::invalid(format!("cannot read the measurement `{shown}`: {error}")))?;
    serde_json::from_slice(&text).map_err(|error| {
        Failure::invalid(format!("`{shown}` is no measurement: {error}"))
            .with_help("make one with `spb bench --json > FILE`")
    })
}

fn failure(error: BenchError) -> Failure {
    match error {
        BenchError::Engine(error) => error.into(),
        BenchError::Git(error) => error.into(),
        BenchError::Disk(error) => error.into(),
        BenchError::Store(error) => error.into(),
        BenchError::Interrupted => Failure::new(Exit::Interrupted, "interrupted; nothing was measured"),
        error @ (BenchError::Workflow | BenchError::Conflict(_) | BenchError::Plan(_)) => {
            Failure::bug(error.to_string())
        }
        error => Failure::environment(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_before_anything_is_measured() {
        assert_eq!(percent("10%"), Ok(10.0));
        assert_eq!(percent("2.5"), Ok(2.5));
        assert!(percent("-1%").is_err() && percent("fast").is_err() && percent("nan").is_err());
        assert_eq!(scale("0.2"), Ok(0.2));
        assert!(scale("0").is_err() && scale("inf").is_err() && scale("NaN").is_err());
        assert_eq!(scenario("7").unwrap().number, "07");
        assert_eq!(scenario("07").unwrap().number, "07");
        assert!(scenario("0").is_err() && scenario("12").is_err());
    }
}
