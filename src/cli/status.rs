//! `spb status`: one run, node by node. Writes nothing and locks nothing.

use std::borrow::Cow;

use super::{Context, Exit, Failure, out};
use crate::report::table::Table;
use crate::report::{next, shape, style, summary, text};
use crate::store::runs::{self, FindError, NodeState, NodeView, RunState, RunView};

/// Show one run, node by node
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb status                    the newest run
  spb status k3f9               the run whose id holds `k3f9`
  spb status --json | jq -r '.nodes[] | select(.state == \"failed\").node'")]
pub struct Args {
    /// The run: its id or a part of it [default: the newest]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Print JSON; `null` without any runs
    #[arg(long)]
    pub json: bool,
}

/// Shows the run. Exits with 0 whatever became of it.
///
/// # Errors
/// When it cannot be found or read.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let (_, store) = context.store()?;
    let run = match runs::find(&store, args.run.as_deref()) {
        Err(FindError::None) if args.run.is_none() => {
            if args.json {
                out::json(&None::<shape::Run>)?
            } else {
                out::print("no runs yet\n")?
            }
            return Ok(Exit::Done);
        }
        found => found?,
    };
    let view = runs::view(&store, &run)?;
    if args.json {
        out::json(&shape::details(&view))?
    } else {
        out::print(&render(&view))?
    }
    Ok(Exit::Done)
}

fn render(view: &RunView) -> String {
    let mut text = format!("{}\n\n", headline(view));
    text.push_str(&nodes(view).render(out::width()));
    if !view.stages.is_empty() {
        text.push('\n');
        text.push_str(&stages(view).render(out::width()));
    }
    for warning in &view.warnings {
        text.push_str(&format!("{} {}\n", style::yellow("warning:"), text::line(warning)));
    }
    for (at, command) in next::commands(view).iter().enumerate() {
        let name = if at == 0 { "next" } else { "    " };
        text.push_str(&format!(
            "{}{}  {}\n",
            if at == 0 { "\n" } else { "" },
            style::dim(name),
            text::line(command)
        ));
    }
    text
}

fn headline(view: &RunView) -> String {
    let took = match &view.finished {
        Some(finished) => format!(" in {}", text::duration(finished.duration_ms)),
        None => String::new(),
    };
    format!(
        "{} {}{took}, began {}  {}\n{}",
        style::bold(&text::line(&view.started.workflow)),
        out::state(view.state()),
        text::local_time(&view.began),
        style::dim(view.run.as_str()),
        summary::counts(view),
    )
}

fn nodes(view: &RunView) -> Table {
    let mut table = Table::new(["node", "stage", "state", "took", "why"]).right([3]);
    let state = view.state();
    for node in view.nodes.values() {
        let (took, why) = took_and_why(node, state);
        table.row([
            text::line(&node.summary.node).into_owned(),
            text::line(&node.summary.stage).into_owned(),
            out::node_state(shape::state_word(node, state)),
            took,
            text::line(&why).into_owned(),
        ]);
    }
    table
}

fn took_and_why(node: &NodeView, run: RunState) -> (String, Cow<'_, str>) {
    match &node.state {
        NodeState::Finished(finished) => {
            let took =
                if finished.attempts > 0 { text::duration(finished.duration_ms) } else { String::new() };
            let why = if finished.message.is_empty() { &node.why } else { &finished.message };
            (took, why.into())
        }
        NodeState::Running if run == RunState::Running => {
            let since = node.started.as_deref().map(text::since);
            (since.map(text::duration).unwrap_or_default(), node.why.as_str().into())
        }
        NodeState::Asking => {
            let since = node.asked.as_ref().map(|asked| text::duration(text::since(&asked.since)));
            let what = node.asked.as_ref().map_or(Cow::Borrowed(""), |asked| match &asked.answer {
                Some(answer) => {
                    format!("{} by {}: {}", answer.verdict.word(), answer.by, asked.message).into()
                }
                None => asked.message.as_str().into(),
            });
            (since.unwrap_or_default(), what)
        }
        NodeState::Running | NodeState::Waiting => (String::new(), node.why.as_str().into()),
    }
}

fn stages(view: &RunView) -> Table {
    let mut table = Table::new(["stage", "checkpoint", "note"]);
    for stage in &view.stages {
        let commit = stage.commit.as_deref().map(text::short).unwrap_or("none");
        let note = stage.note.as_deref().unwrap_or_default();
        table.row([text::line(&stage.stage).into_owned(), commit.to_owned(), text::line(note).into_owned()]);
    }
    table
}
