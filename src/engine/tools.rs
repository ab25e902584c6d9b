//! What the commands of `cache.tools` print: part of the keys of the nodes that name them. Each runs once per process. One that
//! does not answer in time says nothing that a key could hold: the nodes that name it are not cached.

use std::collections::HashMap;
use std::time::Duration;

use super::Shared;
use crate::process::Tool;
use crate::workflow::model::{Action, Node};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What each command printed; `None` where it did not answer.
pub type Told = HashMap<String, Option<String>>;

/// Runs every command that a node of any run names. One that fails counts with its exit code and message, so that a
/// tool that appears later changes the key.
pub fn outputs(shared: &Shared) -> Told {
    let mut outputs = HashMap::new();
    for run in &shared.runs {
        let selected: std::collections::BTreeSet<usize> =
            run.plan.instances.iter().map(|instance| instance.node).collect();
        let nodes: Vec<&Node> = selected.into_iter().map(|node| &run.plan.workflow.nodes[node]).collect();
        let used = nodes.iter().filter_map(|node| match &node.action {
            Action::Workflow(uses) => Some(uses.workflow.with_used()),
            Action::Script { .. } | Action::Command { .. } | Action::Approve { .. } => None,
        });
        let used = used.flatten().flat_map(|workflow| workflow.nodes.values());
        for node in nodes.iter().copied().chain(used) {
            for command in &node.cache.tools {
                if !outputs.contains_key(command) {
                    outputs.insert(command.clone(), output(shared, command));
                }
            }
        }
    }
    outputs
}

/// Those of one node, in its order.
pub fn of(node: &Node, outputs: &Told) -> Vec<(String, Option<String>)> {
    let known = |command: &String| Some((command.clone(), outputs.get(command)?.clone()));
    node.cache.tools.iter().filter_map(known).collect()
}

fn output(shared: &Shared, command: &str) -> Option<String> {
    let directory = shared.repo.work_dir.as_ref().unwrap_or(&shared.repo.git_dir);
    let mut tool = Tool::new("sh").args(["-c", command]).directory(directory).env_clear();
    for (name, value) in &shared.base_env {
        tool = tool.env(name, value);
    }
    match tool.run_within(PATIENCE) {
        Ok(output) => output.map(|output| {
            format!(
                "{} {} {}",
                output.code,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        }),
        Err(error) => Some(format!("cannot be started: {error}")),
    }
}

/// Why a node that names a silent tool is not cached.
pub fn silence(command: &str) -> String {
    format!("its tool `{command}` did not answer within {} seconds", PATIENCE.as_secs())
}
