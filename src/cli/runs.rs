//! `spb runs`: lists the runs of a repository. Writes nothing.

use clap::ValueEnum;

use super::{Context, Exit, Failure, out};
use crate::report::table::Table;
use crate::report::{shape, summary, text};
use crate::store::runs::{self, RunState, RunView};

/// List runs, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb runs                          the newest 20
  spb runs --state failed           only those that failed
  spb runs --workflow feature --limit 0
  spb runs --json | jq -r '.[0].branch'")]
pub struct Args {
    /// Show at most this many; 0 for all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Only runs of this workflow
    #[arg(long, value_name = "NAME")]
    pub workflow: Option<String>,
    /// Only runs in this state
    #[arg(long, value_name = "STATE")]
    pub state: Option<State>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// [`RunState`] as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    Running,
    Interrupted,
    Succeeded,
    Failed,
    Cancelled,
    Waiting,
}

impl State {
    fn is(self, state: RunState) -> bool {
        let wanted = match self {
            Self::Running => RunState::Running,
            Self::Interrupted => RunState::Interrupted,
            Self::Succeeded => RunState::Succeeded,
            Self::Failed => RunState::Failed,
            Self::Cancelled => RunState::Cancelled,
            Self::Waiting => RunState::Waiting,
        };
        wanted == state
    }
}

/// Lists the runs.
///
/// # Errors
/// When there is no repository. A run that cannot be read is named on standard error and passed over.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let (_, store) = context.store()?;
    let wanted = |view: &RunView| {
        args.workflow.as_ref().is_none_or(|workflow| *workflow == view.started.workflow)
            && args.state.is_none_or(|state| state.is(view.state()))
    };
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let readable = runs::list(&store).into_iter().filter_map(|run| match runs::view(&store, &run) {
        Ok(view) => Some(view),
        Err(error) => {
            out::warn(&format!("run {run}: {error}"));
            None
        }
    });
    let views: Vec<RunView> = readable.filter(wanted).take(limit).collect();
    if args.json {
        out::json(&views.iter().map(shape::run).collect::<Vec<_>>())?;
    } else if views.is_empty() {
        out::print(if runs::list(&store).is_empty() { "no runs yet\n" } else { "no such runs\n" })?;
    } else {
        out::print(&table(&views).render(out::width()))?;
    }
    Ok(Exit::Done)
}

fn table(views: &[RunView]) -> Table {
    let mut table = Table::new(["run", "workflow", "state", "began", "took", "nodes", "branch"]).right([4]);
    for view in views {
        let finished = view.finished.as_ref();
        let branch = finished.and_then(|finished| finished.branch.as_deref()).unwrap_or("");
        let took = match (finished, view.state()) {
            (Some(finished), _) => finished.duration_ms,
            (None, RunState::Running) => text::since(&view.began),
            (None, _) => text::between(&view.began, &view.last),
        };
        table.row([
            view.run.to_string(),
            text::line(&view.started.workflow).into_owned(),
            out::state(view.state()),
            text::local_time(&view.began),
            text::duration(took),
            summary::counts(view),
            text::line(branch.strip_prefix("refs/heads/").unwrap_or(branch)).into_owned(),
        ]);
    }
    table
}
