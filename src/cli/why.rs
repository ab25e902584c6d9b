//! `spb why`: explains why a node ran or did not.

use serde_json::json;

use super::{Context, Exit, Failure, node, out};
use crate::event::Outcome;
use crate::name::RunId;
use crate::report::text;
use crate::store::runs::{self, NodeState, NodeView};

/// Explain why a node ran, or did not
///
/// The first difference between what the node was given and what it was given the last time.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb why test                  in the newest run
  spb why test k3f9             in the run whose id holds `k3f9`
  spb why scout:tests --json    one instance of a matrix")]
pub struct Args {
    /// The node, or one instance of its matrix
    #[arg(value_name = "NODE")]
    pub node: String,
    /// The run: its id or a part of it [default: the newest]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
///
/// # Errors
/// When there is no such run or node.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let (_, store) = context.store()?;
    let id = runs::find(&store, args.run.as_deref())?;
    let view = runs::view(&store, &id)?;
    let nodes = node::instances(&view, &args.node);
    if nodes.is_empty() {
        return Err(node::unknown(&view, &args.node));
    }
    if args.json {
        let nodes: Vec<_> = nodes.iter().map(|node| to_json(node)).collect();
        out::json(&json!({ "run": id, "nodes": nodes }))?;
        return Ok(Exit::Done);
    }
    let mut printed = String::new();
    for node in nodes {
        printed.push_str(&sentence(&id, node));
    }
    out::print(&printed)?;
    Ok(Exit::Done)
}

fn sentence(run: &RunId, node: &NodeView) -> String {
    let id = text::line(&node.summary.node).into_owned();
    let what = match &node.state {
        NodeState::Waiting => "has not started yet".to_owned(),
        NodeState::Running => format!("is running, because: {}", node.why),
        NodeState::Asking => {
            format!("asks a person: {}", node.asked.as_ref().map_or("", |asked| &asked.message))
        }
        NodeState::Finished(finished) => match finished.outcome {
            Outcome::Succeeded | Outcome::Failed | Outcome::TimedOut if node.asked.is_some() => {
                format!("asked a person: {}", finished.message)
            }
            Outcome::Succeeded => format!("ran, because: {}", finished.message),
            Outcome::Cached if finished.remote => "was taken from the remote cache".to_owned(),
            Outcome::Cached => format!("was taken from the cache: {}", finished.message),
            Outcome::Failed | Outcome::TimedOut if finished.attempts > 0 => {
                format!("ran, because: {}; it {}", node.why, finished.message)
            }
            Outcome::Failed | Outcome::TimedOut => format!("failed before it ran: {}", finished.message),
            Outcome::Skipped => format!("was skipped: {}", finished.message),
            Outcome::Cancelled => format!("was cancelled: {}", finished.message),
        },
    };
    format!("{id} {} (run {run})\n", text::line(&what))
}

fn to_json(node: &NodeView) -> serde_json::Value {
    let (outcome, message, key) = match &node.state {
        NodeState::Waiting => ("waiting", None, None),
        NodeState::Running => ("running", None, None),
        NodeState::Asking => ("asking", node.asked.as_ref().map(|asked| asked.message.as_str()), None),
        NodeState::Finished(finished) => {
            (finished.outcome.word(), Some(finished.message.as_str()), finished.key.as_deref())
        }
    };
    json!({
        "node": node.summary.node,
        "outcome": outcome,
        "why": if node.why.is_empty() { message } else { Some(node.why.as_str()) },
        "message": message,
        "key": key,
    })
}
