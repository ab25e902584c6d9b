//! `spb plan`: says what would run, and why.

use serde_json::json;

use super::apply::Work;
use super::load::{self, KeptTrees};
use super::{Context, Exit, Failure, out};
use crate::engine::RunContext;
use crate::engine::foresee::{self, Foreseen, Looked};
use crate::engine::setup;
use crate::report::table::Table;
use crate::report::{style, text};

/// Show what would run, and why
///
/// Which nodes come from the cache and which would run, the first difference that makes them run, the order, and how many at the
/// same time. Writes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb plan workflows/feature.yaml -i task=\"add a --json flag\"
  spb plan build.yaml --until test
  spb plan build.yaml --json | jq '.workflows[].nodes[] | select(.state != \"cached\")'")]
pub struct Args {
    #[command(flatten)]
    pub work: Work,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
///
/// # Errors
/// When the workflow is invalid, or git or the store cannot be read.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    show(&args.work, args.json, context)
}

/// Looks ahead and prints what it sees; also `spb apply --dry-run`.
///
/// # Errors
/// As [`run`].
pub fn show(work: &Work, as_json: bool, context: &Context) -> Result<Exit, Failure> {
    let (repository, _) = context.store()?;
    let options = load::options(&work.select, false);
    let requests = load::requests(&repository, work, &options, &KeptTrees::read_only(&repository), None)?;
    let files: Vec<(String, String)> =
        requests.iter().map(|request| (request.file.clone(), request.base_revision.clone())).collect();
    let (listener, _nobody) = std::sync::mpsc::channel();
    let settings = load::settings(context, repository, &requests, work.jobs, listener)?;
    let plans: Vec<_> = requests.iter().map(|request| &request.plan).collect();
    let jobs = setup::jobs(&plans, settings.jobs, settings.auto_jobs);
    let shared = setup::look(settings, requests)?;
    let mut plans = Vec::new();
    for (number, (file, revision)) in files.into_iter().enumerate() {
        plans.push((file, revision, foresee::foresee(&shared, number)?));
    }
    if as_json {
        let plans: Vec<_> = plans
            .iter()
            .enumerate()
            .map(|(number, (file, revision, seen))| to_json(&shared.runs[number], file, revision, seen))
            .collect();
        out::json(&json!({ "jobs": jobs.0, "jobs_reason": jobs.1, "workflows": plans }))?;
        return Ok(Exit::Done);
    }
    let mut printed = String::new();
    for (number, (file, revision, seen)) in plans.iter().enumerate() {
        printed.push_str(&render(&shared.runs[number], file, revision, seen));
    }
    printed.push_str(&format!("\njobs   {} at the same time ({})\n", jobs.0, jobs.1));
    out::print(&printed)?;
    Ok(Exit::Done)
}

/// One word for the state, the reason, and what the cache saves.
fn words(foreseen: &Foreseen) -> (&'static str, String, Option<u64>) {
    match foreseen {
        Foreseen::Cached { saved_ms, message } => ("cached", message.clone(), Some(*saved_ms)),
        Foreseen::Remote => ("remote", "its result is in the remote cache".to_owned(), None),
        Foreseen::Runs { why } => ("runs", why.clone(), None),
        Foreseen::Asks { message } => ("asks", message.clone(), None),
        Foreseen::Depends { on } => ("depends", format!("on what {on} gives"), None),
        Foreseen::Skipped { why } => ("skipped", why.clone(), None),
        Foreseen::Fails { why } => ("fails", why.clone(), None),
    }
}

/// The state, and why with what it saves.
fn shown(foreseen: &Foreseen) -> (&'static str, String) {
    let (state, why, saved) = words(foreseen);
    match saved {
        Some(saved) => (state, format!("{why}, saves {}", text::duration(saved))),
        None => (state, why),
    }
}

fn render(run: &RunContext, file: &str, revision: &str, seen: &[Looked]) -> String {
    let plan = &run.plan;
    let mut table = Table::new(["STAGE", "NODE", "", "WHY", "NEEDS"]);
    for &instance in &plan.order {
        let (state, why) = shown(&seen[instance].foreseen);
        let needs: Vec<&str> =
            plan.instances[instance].needed().map(|need| plan.instances[need].id.as_str()).collect();
        let needs = match needs.len() {
            0..=4 => needs.join(", "),
            count => format!("{}, and {} more", needs[..3].join(", "), count - 3),
        };
        table.row([
            text::line(plan.stage(instance)).into_owned(),
            text::line(&plan.instances[instance].id).into_owned(),
            painted(state),
            text::line(&why).into_owned(),
            text::line(&needs).into_owned(),
        ]);
        for (inner, foreseen) in &seen[instance].inside {
            let (state, why) = shown(foreseen);
            let name = format!("  {}", text::line(inner));
            table.row([String::new(), name, painted(state), text::line(&why).into_owned(), String::new()]);
        }
    }
    let counted = || {
        let nodes = seen.iter().filter(|one| one.inside.is_empty()).map(|one| &one.foreseen);
        nodes.chain(seen.iter().flat_map(|one| one.inside.iter().map(|(_, foreseen)| foreseen)))
    };
    let count = |word: &str| counted().filter(|one| words(one).0 == word).count();
    let counts: Vec<String> = ["runs", "asks", "depends", "cached", "skipped", "fails"]
        .iter()
        .filter(|word| count(word) > 0)
        .map(|word| format!("{} {word}", count(word)))
        .collect();
    format!(
        "{}: {} from {revision} ({}), {}\n\n{}",
        text::line(file),
        text::line(&plan.workflow.name),
        run.base.short(),
        counts.join(", "),
        table.render(out::width())
    )
}

fn painted(state: &str) -> String {
    match state {
        "cached" => style::green(state),
        "runs" => style::cyan(state),
        "asks" => style::yellow(state),
        "fails" => style::red(state),
        _ => style::dim(state),
    }
}

fn to_json(run: &RunContext, file: &str, revision: &str, seen: &[Looked]) -> serde_json::Value {
    let plan = &run.plan;
    let ids = |nodes: &mut dyn Iterator<Item = usize>| -> Vec<&str> {
        nodes.map(|node| plan.instances[node].id.as_str()).collect()
    };
    let nodes: Vec<_> = plan
        .order
        .iter()
        .map(|&instance| {
            let (state, why, saved_ms) = words(&seen[instance].foreseen);
            let inside = seen[instance].inside.iter().map(|(inner, foreseen)| {
                let (state, why, saved_ms) = words(foreseen);
                json!({ "node": inner, "state": state, "why": why, "saved_ms": saved_ms })
            });
            let planned = &plan.instances[instance];
            json!({
                "node": planned.id,
                "stage": plan.stage(instance),
                "state": state,
                "why": why,
                "saved_ms": saved_ms,
                "needs": ids(&mut planned.needed()),
                "after": ids(&mut planned.after.iter().copied()),
                "matrix": planned.matrix,
                "inside": inside.collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "file": file,
        "workflow": plan.workflow.name,
        "base": run.base.to_string(),
        "base_revision": revision,
        "branch": run.branch,
        "inputs": plan.inputs,
        "nodes": nodes,
    })
}
