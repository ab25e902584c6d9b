//! Files of other tools, told from their keys: one problem that says how to write them here, instead of one for each key.
//! Only of files without nodes that could be meant for spb.

use super::problem::{Problem, Span};
use super::yaml::{Kind, Yaml};

/// A tool, the keys of which all are there, and how its words are said here.
const TOOLS: &[(&str, &[&str], &str)] = &[
    (
        "a GitHub Actions workflow",
        &["on", "jobs"],
        "make each job a node: its `steps` become one script under `run`, `needs` a list, `if` is `when` without `${{ }}`; `matrix` stands in the node, and `spb apply` is the only trigger",
    ),
    (
        "a CircleCI configuration",
        &["version", "jobs", "workflows"],
        "make each job a node: its `steps` become one script under `run`, `requires` is `needs`",
    ),
    (
        "a Docker Compose file",
        &["services"],
        "a workflow has nodes that end: `run: docker compose up -d` may be one of them, `depends_on` is `needs`",
    ),
    (
        "a Taskfile",
        &["tasks"],
        "make each task a node: `cmds` become one script under `run`, `deps` is `needs`, `sources` is `reads`, `generates` is `artifacts`",
    ),
    (
        "a Kubernetes manifest",
        &["apiVersion", "kind"],
        "a node can apply it: `run: kubectl apply -f FILE`, with `effect: external`",
    ),
    (
        "an Azure pipeline",
        &["trigger", "steps"],
        "make each step a node with `run`, in the order of their `needs`",
    ),
    (
        "an Ansible inventory or playbook",
        &["hosts", "tasks"],
        "a node can play it: `run: ansible-playbook FILE`, with `effect: external`",
    ),
    (
        "a package.json",
        &["name", "scripts"],
        "make each script a node: `run: npm run build`, with `needs` for what comes first",
    ),
];

/// What a GitLab file has beside its jobs.
const GITLAB: &[&str] = &["stages", "image", "variables", "before_script", "workflow", "default"];

/// The problem of a file that was written for another tool.
pub(super) fn recognise(root: &Yaml<'_>) -> Option<Problem> {
    // With this line, it is a workflow with wrong words.
    if root.get("version").and_then(Yaml::text) == Some("1") {
        return None;
    }
    let (tool, help, span) = match root.get("nodes") {
        None => other_tool(root).or_else(|| gitlab(root))?,
        Some(nodes) => archon(root, nodes)?,
    };
    let problem = Problem::error(
        "spb::file::foreign",
        span,
        format!("this looks like {tool}, not like a workflow of spb"),
    );
    Some(problem.label("a word of that tool").help(help))
}

fn other_tool(root: &Yaml<'_>) -> Option<(&'static str, &'static str, Span)> {
    let has = |key: &&str| root.get(key).is_some_and(|value| !value.is_null());
    let (tool, keys, help) = TOOLS.iter().find(|(_, keys, _)| keys.iter().all(has))?;
    Some((tool, help, key_span(root, keys[keys.len() - 1])))
}

/// Jobs at the top level, each with a script.
fn gitlab(root: &Yaml<'_>) -> Option<(&'static str, &'static str, Span)> {
    let is_job = |value: &Yaml<'_>| value.get("script").is_some();
    let job = root.entries().iter().find(|entry| is_job(&entry.value))?;
    GITLAB.iter().any(|key| root.get(key).is_some()).then_some((
        "a GitLab CI file",
        "make each job a node under `nodes`: `script` becomes one text under `run`, `variables` is `env`, `rules` is `when`; `stage` and `needs` stay, and `needs` alone decides the order",
        job.key_span,
    ))
}

/// Nodes in a list, with ids and prompts.
fn archon(root: &Yaml<'_>, nodes: &Yaml<'_>) -> Option<(&'static str, &'static str, Span)> {
    let is_node = |item: &Yaml<'_>| {
        let does = ["prompt", "command", "bash", "loop", "script"].iter().any(|key| item.get(key).is_some());
        item.get("id").is_some() && does
    };
    let Kind::List(items) = &nodes.kind else { return None };
    items.first().is_some_and(is_node).then_some((
        "an Archon workflow",
        "make `nodes` a map with each `id` as its key: `bash` is `run`, `depends_on` is `needs`, and a prompt is handed to an agent by a command: `run: claude -p \"$PROMPT\"`",
        key_span(root, "nodes"),
    ))
}

fn key_span(root: &Yaml<'_>, key: &str) -> Span {
    root.entries().iter().find(|entry| entry.key == key).map(|entry| entry.key_span).unwrap_or_default()
}
