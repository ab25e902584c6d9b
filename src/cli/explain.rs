//! `spb explain`: what the nodes of a file resolve to. Needs no repository and writes nothing.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::apply::Inputs;
use super::{Context, Exit, Failure, load, out};
use crate::engine::setup;
use crate::plan::explain;
use crate::report::text;
use crate::workflow::show;

/// Show what nodes resolve to
///
/// Each node as it would run: after `defaults`, its matrix, and every expression over inputs, matrix and env. What is only
/// known in a run (`needs`, `run`) stays an expression. Needs no repository and touches nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb explain build.yaml                        every node
  spb explain build.yaml test                   one node, with all instances of its matrix
  spb explain build.yaml test:linux -i who=me   one instance, with inputs
  spb explain build.yaml --json | jq '.nodes[] | select(.cache == false).node'")]
pub struct Args {
    /// Workflow file
    #[arg(id = "workflow", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// The node, or one instance of its matrix [default: all]
    #[arg(value_name = "NODE")]
    pub node: Option<String>,
    #[command(flatten)]
    pub inputs: Inputs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
///
/// # Errors
/// When the workflow or its inputs are invalid, or there is no such node.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let plan = load::plan(&args.file, &args.inputs)?;
    let secrets = plan.workflow.all_secrets().into_iter();
    let found = secrets.filter_map(|name| Some((name.to_owned(), context.env.lookup(name)?)));
    setup::refuse_secrets(&plan.inputs, &setup::mask(&found.collect::<Vec<_>>()))?;
    let instances = match &args.node {
        Some(name) => plan.named(name).map_err(load::plan_failure)?,
        None => (0..plan.instances.len()).collect(),
    };
    let nodes = instances.iter().map(|&at| (plan.instances[at].id.clone(), explain::resolved(&plan, at)));
    let workflow = &plan.workflow;
    if args.json {
        let named = |(id, keys): (String, Map<String, Value>)| {
            let name = [("node".to_owned(), Value::String(id))];
            Value::Object(name.into_iter().chain(keys).collect())
        };
        out::json(&json!({
            "file": args.file,
            "workflow": workflow.name,
            "inputs": plan.inputs,
            "pass_env": workflow.pass_env,
            "secrets": workflow.secrets,
            "nodes": nodes.map(named).collect::<Vec<_>>(),
        }))?;
        return Ok(Exit::Done);
    }
    let nodes: Map<String, Value> = nodes.map(|(id, keys)| (id, Value::Object(keys))).collect();
    let yaml = show::as_yaml(&Value::Object(nodes));
    match out::stdout_is_terminal() {
        // YAML leaves characters as they are that reorder text.
        true => out::print(&text::block(&yaml))?,
        false => out::print_raw(yaml.as_bytes())?,
    }
    Ok(Exit::Done)
}
