//! Gives a node's expressions their values: what to execute, with which environment, and the manifest of its key.
//! Decides nothing about running it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Map, Value, json};

use super::base::{self, Rule};
use super::{Ended, RunContext, tools};
use crate::digest::Hasher;
use crate::event::{Artifact, Outcome};
use crate::plan::fingerprint::Manifest;
use crate::plan::{Instance, Need};
use crate::workflow::expr::{ExprError, NeedsStatus, Scope, Template};
use crate::workflow::model::{Action, Node, OnConflict, OutputFrom, Workspace};

/// A node with nothing left to compute.
#[derive(Debug)]
pub struct Prepared {
    pub argv: Vec<OsString>,
    /// Declared environment in order of precedence, later ones win: workflow, copied, node.
    pub env: Vec<(OsString, OsString)>,
    /// Relative to the workspace.
    pub directory: String,
    pub manifest: Manifest,
    /// How the results of its needs are merged.
    pub rule: Rule,
    /// What settles their conflicts, for a rule that asks an agent.
    pub settler: Option<Settler>,
}

/// An agent, and what it is asked.
#[derive(Debug)]
pub struct Settler {
    pub name: String,
    /// Program and arguments, over `prompt` and what a run knows.
    pub command: Vec<Template>,
    pub prompt: String,
}

/// What an agent is asked whose author says nothing.
const PROMPT: &str = "\
Several changes to this repository were made at the same time, and git could not merge all of their lines. Resolve every \
conflict: keep what each side meant to do. Edit only the files listed below. Leave no conflict markers in them.";

/// Whether the node should run.
pub fn condition(run: &RunContext, instance: &Instance, ended: &[Option<Ended>]) -> Result<bool, ExprError> {
    let node = &run.plan.workflow.nodes[instance.node];
    let when = &node.when;
    if when.is_success() || run.is_same_node() {
        // The scheduler starts it only after all its needs succeeded, or it was asked of the node as a whole.
        return Ok(true);
    }
    let outcomes =
        || instance.needed().filter_map(|need| ended[run.first + need].as_ref()).map(|e| e.outcome);
    let status = NeedsStatus {
        all_succeeded: outcomes().all(Outcome::is_success),
        any_failed: outcomes().any(Outcome::is_failure),
    };
    when.holds(&scope(run, instance, ended), status)
}

/// Renders everything a node is made of.
pub fn prepare(
    run: &RunContext,
    instance: &Instance,
    ended: &[Option<Ended>],
    told: &[(String, Option<String>)],
) -> Result<Prepared, ExprError> {
    let node = &run.plan.workflow.nodes[instance.node];
    let scope = if is_constant(node) { Scope::default() } else { scope(run, instance, ended) };
    let mut manifest = Manifest::new(&instance.id);
    manifest.add("workspace", workspace_word(node.workspace));
    let argv = action(node, &scope, &mut manifest)?;
    let env = environment(run, node, &scope, &mut manifest)?;
    let directory = node.working_directory.render(&scope)?;
    if directory != "." {
        manifest.add("working_directory", &directory);
    }
    contract(node, &mut manifest);
    let (rule, settler) = settler(run, node, &scope, &mut manifest)?;
    for (command, output) in told {
        match output {
            Some(output) => manifest.add(format!("tool `{command}`"), output),
            None => manifest.doubt(tools::silence(command)),
        }
    }
    for (number, extra) in node.cache.extra.iter().enumerate() {
        manifest.add(format!("cache.extra {}", number + 1), extra.value(&scope)?.to_string());
    }
    if node.workspace.is_leased() {
        worktree(run, &mut manifest);
    }
    artifacts(run, instance, ended, &mut manifest);
    Ok(Prepared { argv, env, directory, manifest, rule, settler })
}

fn action(node: &Node, scope: &Scope, manifest: &mut Manifest) -> Result<Vec<OsString>, ExprError> {
    match &node.action {
        Action::Script { script, shell } => {
            manifest.add("script", script);
            manifest.add("shell", shell.join("\0"));
            Ok(shell.iter().map(OsString::from).chain([OsString::from(script)]).collect())
        }
        Action::Command { words } => {
            let mut argv = Vec::with_capacity(words.len());
            for (position, word) in words.iter().enumerate() {
                let text = word.render(scope)?;
                manifest.add(named_by_source(&format!("word {} of `run`", position + 1), word), &text);
                argv.push(OsString::from(text));
            }
            Ok(argv)
        }
        Action::Workflow(uses) => Err(ExprError {
            expression: format!("uses: {}", uses.workflow.source.path.display()),
            reason: "a bug in spb: its nodes run in its place".to_owned(),
        }),
        // Nobody's process: what is asked is rendered where it is asked.
        Action::Approve { .. } => Ok(Vec::new()),
    }
}

/// What a gate asks.
pub fn question(
    run: &RunContext,
    instance: &Instance,
    message: &Template,
    ended: &[Option<Ended>],
) -> Result<String, ExprError> {
    let text = match message.is_constant() {
        Some(text) => text.to_owned(),
        None => message.render(&scope(run, instance, ended))?,
    };
    Ok(run.mask.apply(text.trim()).into_owned())
}

fn environment(
    run: &RunContext,
    node: &Node,
    scope: &Scope,
    manifest: &mut Manifest,
) -> Result<Vec<(OsString, OsString)>, ExprError> {
    let mut env = Vec::with_capacity(run.env.len() + node.env.len() + run.pass_env.len());
    for (name, value) in &run.env {
        manifest.add(format!("environment variable {name} of the workflow"), value);
        env.push((OsString::from(name), OsString::from(value)));
    }
    for (name, value) in &run.pass_env {
        let what = format!("copied environment variable {name}");
        match value {
            Some(value) => {
                manifest.add(what, [b"=", value.as_bytes()].concat());
                env.push((OsString::from(name), value.clone()));
            }
            None => manifest.add(what, "unset"),
        }
    }
    for (name, template) in &node.env {
        let value = template.render(scope)?;
        manifest.add(named_by_source(&format!("environment variable {name}"), template), &value);
        env.push((OsString::from(name), OsString::from(value)));
    }
    Ok(env)
}

/// A value that comes from an output is named by it, so that the explanation says what really changed.
fn named_by_source(what: &str, template: &Template) -> String {
    let outputs: Vec<String> = template
        .references()
        .iter()
        .filter_map(|reference| {
            let [root, node, kind, output, ..] = reference.segments() else { return None };
            (root == "needs" && kind == "outputs").then(|| format!("output `{output}` of {node}"))
        })
        .collect();
    if outputs.is_empty() { what.to_owned() } else { format!("{} ({what})", outputs.join(", ")) }
}

/// What is promised is part of the key: an entry made under other promises may lack what this node must leave.
fn contract(node: &Node, manifest: &mut Manifest) {
    for (name, output) in &node.outputs {
        let from = match &output.from {
            OutputFrom::File(path) => format!("file {path}"),
            OutputFrom::Out(path) => format!("out {path}"),
            OutputFrom::Stdout => "stdout".to_owned(),
            OutputFrom::Line => "line".to_owned(),
        };
        let schema = output.contract.as_ref().map(|contract| format!(" {}", contract.canonical()));
        manifest.add(
            format!("declaration of output `{name}`"),
            format!("{from} {:?}{}", output.format, schema.unwrap_or_default()),
        );
    }
    if !node.artifacts.is_empty() {
        manifest.add("declaration of artifacts", node.artifacts.join("\0"));
    }
    if let Some(writes) = &node.writes {
        manifest.add("declaration of writes", writes.join("\0"));
    }
    if base::decides(node) {
        manifest.add("rule for conflicts", node.on_conflict.word());
    }
    if let Some(between) = &node.retry.between {
        // It works in the node's workspace: what it leaves may be part of the result.
        manifest.add("script between attempts", between);
    }
    if let Some(reads) = &node.reads {
        manifest.add("declaration of reads", reads.join("\0"));
    }
}

/// How conflicts among its needs are settled. Whatever an agent is told is part of the key: another prompt may well give
/// another base.
fn settler(
    run: &RunContext,
    node: &Node,
    scope: &Scope,
    manifest: &mut Manifest,
) -> Result<(Rule, Option<Settler>), ExprError> {
    let OnConflict::Agent(settler) = &node.on_conflict else { return Ok((Rule::of(node), None)) };
    let prompt = match &settler.prompt {
        Some(prompt) => prompt.render(scope)?,
        None => PROMPT.to_owned(),
    };
    let words = command(run, &settler.command, "${{ prompt }}")?;
    manifest.add("command of the agent for conflicts", words.join("\0"));
    manifest.add("prompt for conflicts", &prompt);
    let mut told = Hasher::new("agent for conflicts 1");
    for word in &words {
        told.field("word", word.as_bytes());
    }
    told.field("prompt", prompt.as_bytes());
    let settler = Settler { name: settler.name.clone(), command: settler.command.clone(), prompt };
    Ok((Rule::agent(told.finish()), Some(settler)))
}

/// The words of an agent's command.
pub fn command(run: &RunContext, words: &[Template], prompt: &str) -> Result<Vec<String>, ExprError> {
    let mut scope = run.scope.clone();
    scope.set("prompt", Value::String(prompt.to_owned()));
    words.iter().map(|word| word.render(&scope)).collect()
}

/// What a slot holds beside the files of the repository.
fn worktree(run: &RunContext, manifest: &mut Manifest) {
    if !run.workflow.worktrees.sparse.is_empty() {
        manifest.add("`worktrees.sparse`", run.workflow.worktrees.sparse.join("\0"));
    }
    if let Some(setup) = &run.workflow.worktrees.setup {
        manifest.add("script `worktrees.setup`", &setup.script);
    }
    for copied in run.copies.iter() {
        manifest.add(format!("copied file `{}`", copied.path.display()), copied.digest.as_bytes());
    }
}

fn artifacts(run: &RunContext, instance: &Instance, ended: &[Option<Ended>], manifest: &mut Manifest) {
    let mut add = |id: &str, artifact: &Artifact| {
        manifest.add(
            format!("artifact `{}` of {id}", artifact.path),
            match artifact.link {
                Some(_) => format!("{} link", artifact.digest),
                None => format!("{} {}", artifact.digest, artifact.executable),
            },
        );
    };
    for need in instance.needed() {
        let Some(done) = &ended[run.first + need] else { continue };
        for artifact in &done.result.artifacts {
            add(&run.plan.instances[need].id, artifact);
        }
    }
    if let Some(outer) = run.outer.as_ref().filter(|_| instance.needs.is_empty()) {
        for artifact in &outer.given {
            add("what came before", artifact);
        }
    }
}

fn is_constant(node: &Node) -> bool {
    let constant = |template: &Template| template.is_constant().is_some();
    let action = match &node.action {
        Action::Script { .. } | Action::Approve { .. } => true,
        Action::Command { words } => words.iter().all(constant),
        Action::Workflow(uses) => uses.with.values().all(constant),
    };
    let asks = matches!(&node.on_conflict, OnConflict::Agent(settler) if settler.prompt.is_some());
    action
        && !asks
        && node.env.values().all(constant)
        && constant(&node.working_directory)
        && node.cache.extra.iter().all(constant)
}

/// The names that a node's expressions may read.
pub fn scope(run: &RunContext, instance: &Instance, ended: &[Option<Ended>]) -> Scope {
    let mut scope = run.scope.clone();
    if !run.is_same_node() {
        let matrix = run.plan.workflow.nodes[instance.node].matrix.values(&instance.matrix);
        scope.set("matrix", Value::Object(matrix));
        scope.set("needs", needs(run, instance.needs.iter(), ended));
    }
    if let Some(item) = &instance.item {
        scope.set("item", item.clone());
    }
    scope
}

/// The names that the outputs of a workflow may read, when all of its nodes have ended.
pub fn scope_of_all(run: &RunContext, ended: &[Option<Ended>]) -> Scope {
    let mut scope = run.scope.clone();
    let all: Vec<Need> = (0..run.plan.workflow.nodes.len())
        .map(|node| Need {
            node,
            instances: run.plan.instances_of(node).collect(),
            is_list: !run.plan.workflow.nodes[node].matrix.is_empty(),
        })
        .collect();
    scope.set("needs", needs(run, all.iter(), ended));
    scope
}

fn needs<'n>(run: &RunContext, needs: impl Iterator<Item = &'n Need>, ended: &[Option<Ended>]) -> Value {
    let named = needs.map(|need| {
        let name = &run.plan.workflow.nodes[need.node].name;
        (name.clone(), need_value(run, need, ended))
    });
    Value::Object(named.collect())
}

/// Whether other nodes run in the place of the node.
fn is_several(node: &Node) -> bool {
    node.for_each.is_some() || node.repeat.is_some() || matches!(node.action, Action::Workflow(_))
}

fn need_value(run: &RunContext, need: &Need, ended: &[Option<Ended>]) -> Value {
    let node = &run.plan.workflow.nodes[need.node];
    let done: Vec<&Ended> =
        need.instances.iter().filter_map(|&instance| ended[run.first + instance].as_ref()).collect();
    let output = |one: &Ended, name: &str| one.result.outputs.get(name).cloned().unwrap_or(Value::Null);
    let names = node.output_names().into_iter();
    let outputs: Map<String, Value> = names
        .map(|name| {
            let value = match done.as_slice() {
                [one] if !need.is_list => output(one, name),
                several => several.iter().map(|one| output(one, name)).collect(),
            };
            (name.to_owned(), value)
        })
        .collect();
    let changed: Vec<&String> = done.iter().flat_map(|one| &one.result.changed).collect();
    let commits: Vec<&String> = done
        .iter()
        .flat_map(|one| match is_several(node) {
            // It has no commit of its own, and hands on those of the nodes in its place.
            true if one.result.changed_total > 0 => one.result.heads.iter().collect(),
            true => Vec::new(),
            false => one.result.commit.iter().collect::<Vec<_>>(),
        })
        .collect();
    json!({
        "outputs": outputs,
        "status": status(&done),
        "duration": done.iter().map(|one| one.duration_ms).sum::<u64>() as f64 / 1000.0,
        "changed_files": changed,
        "commit": match commits.as_slice() {
            several if need.is_list || node.for_each.is_some() => json!(several),
            [one] => json!(one),
            _ => Value::Null,
        },
    })
}

/// One word for all instances: the worst of them.
fn status(done: &[&Ended]) -> &'static str {
    let worst = |outcome: Outcome| match outcome {
        Outcome::Failed => 5,
        Outcome::TimedOut => 4,
        Outcome::Cancelled => 3,
        Outcome::Skipped => 2,
        Outcome::Succeeded | Outcome::Cached => 1,
    };
    match done.iter().map(|one| one.outcome).max_by_key(|&outcome| worst(outcome)) {
        // Whether a result was taken from the cache must not change what a dependent does.
        Some(Outcome::Cached) | None => Outcome::Succeeded.word(),
        Some(outcome) => outcome.word(),
    }
}

fn workspace_word(workspace: Workspace) -> &'static str {
    match workspace {
        Workspace::Worktree => "worktree",
        Workspace::Readonly => "readonly",
        Workspace::Scratch => "scratch",
        Workspace::Repo => "repo",
    }
}
