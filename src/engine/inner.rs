//! Graphs inside of nodes: what a node with `for_each`, `loop` or `uses` is taken apart into, and what becomes of it when
//! they have ended. Pure: starts nothing and records nothing, so that `foresee` sees the same graphs as a run.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::{Ended, Outer, RunContext, base, finish, prepare, setup, unit};
use crate::digest::{Digest, Hasher};
use crate::event::{Artifact, MAX_CHANGED_LISTED, NodeFinished, NodeResult, Outcome};
use crate::plan::{self, Instance, Layer, Plan};
use crate::schedule::NodeId;
use crate::store::runs::{NodeState, RunView};
use crate::workflow::expr::{NeedsStatus, Scope};
use crate::workflow::input::{self, Given};
use crate::workflow::model::{Action, Axis, Node, Uses};

/// What follows when every node of a graph has ended.
pub enum Closed {
    /// The node around it ends so.
    Ended(Box<NodeFinished>),
    /// Its next round.
    Again(Box<RunContext>),
}

/// The first graph of a node that is not just its own work. Its nodes are numbered from `first`.
///
/// # Errors
/// A sentence: a list that is none or too long, inputs that do not fit, an expression without a value.
pub fn open(
    run: &RunContext,
    instance: usize,
    ended: &[Option<Ended>],
    first: NodeId,
) -> Result<RunContext, String> {
    let planned = &run.plan.instances[instance];
    let scope = prepare::scope(run, planned, ended);
    let node = run.plan.node(instance);
    // What it reads was counted when the node was taken apart first.
    let known = run.outer.as_ref().filter(|outer| outer.is_same_node).map(|outer| outer.names);
    let names = known.unwrap_or_else(|| names(&scope));
    let outer = |is_same_node, round| Outer {
        node: run.first + instance,
        stage: run.stage(instance),
        heads: run.heads(planned, ended),
        given: run.given(planned, ended),
        is_same_node,
        names,
        may_fail: node.allow_failure || run.outer.as_ref().is_some_and(|outer| outer.may_fail),
        round,
    };
    match (planned.layer, &node.action) {
        (Layer::Items, _) => {
            let plan = run.plan.items(instance, items(node, &scope)?).map_err(|error| error.to_string())?;
            Ok(within(run, plan, scope, outer(true, 0), first))
        }
        (Layer::Rounds, _) => {
            let plan = run.plan.round(instance, 1).map_err(|error| error.to_string())?;
            Ok(within(run, plan, with_round(scope, 1, no_round(node)), outer(true, 1), first))
        }
        (Layer::Graph, Action::Workflow(uses)) => used(run, instance, (uses, &scope), outer(false, 0), first),
        _ => Err("a bug in spb: nothing to take apart".to_owned()),
    }
}

fn items(node: &Node, scope: &Scope) -> Result<Vec<Value>, String> {
    let Some(for_each) = &node.for_each else { return Ok(Vec::new()) };
    let items = match &for_each.items {
        Axis::Values(values) => values.clone(),
        Axis::Expression(template) => match template.value(scope).map_err(|error| error.to_string())? {
            Value::Array(items) => items,
            other => return Err(format!("`for_each` takes a list, not {}", shown(&other))),
        },
    };
    match items.len() > for_each.max {
        true => Err(format!(
            "`for_each` has {} items, more than `max_items` allows: {}",
            items.len(),
            for_each.max
        )),
        false => Ok(items),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

/// A graph inside of a node of `run`, with what all graphs of a run have in common, and the environment of that one.
fn within(run: &RunContext, plan: Plan, scope: Scope, outer: Outer, first: NodeId) -> RunContext {
    RunContext {
        id: run.id.clone(),
        number: run.number,
        workflow: run.workflow.clone(),
        plan: Arc::new(plan),
        base: run.base,
        base_tree: run.base_tree,
        base_revision: run.base_revision.clone(),
        options: run.options.clone(),
        env: run.env.clone(),
        pass_env: run.pass_env.clone(),
        caller: run.caller.clone(),
        copies: run.copies.clone(),
        mask: run.mask.clone(),
        scope,
        branch: run.branch.clone(),
        journal: run.journal,
        processes: run.processes.clone(),
        first,
        outer: Some(outer),
        repeat: None,
        remember: None,
    }
}

fn with_round(mut scope: Scope, index: u32, last: Value) -> Scope {
    scope.set("loop", json!({ "index": index, "last": last }));
    scope
}

/// `loop.last` in the first round: every name is there, without a value.
fn no_round(node: &Node) -> Value {
    let outputs = outputs(node, |_| Value::Null);
    json!({ "outputs": outputs, "status": null, "duration": 0.0, "changed_files": [], "commit": null })
}

fn used(
    run: &RunContext,
    instance: usize,
    (uses, scope): (&Uses, &Scope),
    outer: Outer,
    first: NodeId,
) -> Result<RunContext, String> {
    let mut given = IndexMap::new();
    for (name, template) in &uses.with {
        let value = template.value(scope).map_err(|error| error.to_string())?;
        given.insert(name.clone(), Given::Value(value));
    }
    let inputs = input::resolve(&uses.workflow, &given).map_err(|problems| {
        let all: Vec<String> = problems
            .iter()
            .map(|problem| format!("the input `{}` {}", problem.name, problem.message))
            .collect();
        format!("{} cannot be used so: {}", uses.workflow.source.path.display(), all.join("; "))
    })?;
    let plan = run.plan.used(instance, &uses.workflow, inputs).map_err(|error| error.to_string())?;
    let mut inner = Scope::default();
    inner.set("inputs", Value::Object(plan.inputs.clone().into_iter().collect()));
    inner.share("run", scope);
    let env = setup::workflow_env(&uses.workflow, &mut inner).map_err(|error| error.to_string())?;
    let outer = Outer { names: names(&inner), ..outer };
    Ok(RunContext {
        env,
        pass_env: run.caller.pass_env_of(&uses.workflow),
        ..within(run, plan, inner, outer, first)
    })
}

/// What a resume compares before it keeps a result: all that a graph gives its nodes, but for their definitions.
pub fn given(inner: &RunContext) -> Digest {
    let mut hasher = Hasher::new("given 1");
    hasher.field("base", inner.base.to_string().as_bytes());
    for head in inner.outer.iter().flat_map(|outer| &outer.heads) {
        hasher.field("head", head.as_bytes());
    }
    for artifact in inner.outer.iter().flat_map(|outer| &outer.given) {
        hasher.field("artifact", format!("{} {}", artifact.digest, artifact.path).as_bytes());
    }
    if let Some(outer) = &inner.outer {
        hasher.field("names", outer.names.as_bytes());
    }
    for name in BY_GRAPH {
        if let Some(value) = inner.scope.get(name) {
            hasher.field(name, value.to_string().as_bytes());
        }
    }
    hasher.finish()
}

/// The names that the graphs inside of one node differ in.
const BY_GRAPH: [&str; 2] = ["item", "loop"];

/// A digest of all other names: once for all graphs of a node, because they may hold long lists.
fn names(scope: &Scope) -> Digest {
    let mut hasher = Hasher::new("names 1");
    for (name, value) in scope.iter().filter(|(name, _)| !BY_GRAPH.contains(name)) {
        hasher.field(name, value.to_string().as_bytes());
    }
    hasher.finish()
}

/// The same for one of its nodes.
pub fn given_to(graph: Digest, instance: &Instance) -> Digest {
    let Some(item) = &instance.item else { return graph };
    let mut hasher = Hasher::new("given item 1");
    hasher.field("graph", graph.as_bytes());
    hasher.field("item", item.to_string().as_bytes());
    hasher.finish()
}

/// Ends a node whose graph has ended, or goes on with it. `first` numbers the nodes of what follows.
pub fn close(
    run: &RunContext,
    instance: usize,
    inner: &RunContext,
    ended: &[Option<Ended>],
    first: NodeId,
) -> Closed {
    let nodes = &ended[inner.first..inner.first + inner.plan.instances.len()];
    let mut finished = NodeFinished {
        allowed_to_fail: run.plan.node(instance).allow_failure,
        ..NodeFinished::without_run(&run.plan.instances[instance].id, Outcome::Succeeded, "")
    };
    let took = nodes.iter().flatten().map(|node| node.duration_ms).sum();
    if let Some((outcome, message)) = unsuccessful(inner, nodes) {
        finished.outcome = outcome;
        finished.message = message;
        finished.duration_ms = took;
        finished.result = match run.plan.instances[instance].layer {
            // As the instances of a matrix: what did not fail is there for whoever wants it.
            Layer::Items => Some(items_left(run.plan.node(instance), inner, nodes)),
            Layer::Rounds | Layer::Graph | Layer::Work => None,
        };
        return Closed::Ended(Box::new(finished));
    }
    let left = match run.plan.instances[instance].layer {
        Layer::Items => Ok(joined(inner, nodes, lists(run.plan.node(instance), nodes))),
        Layer::Rounds => match after_round(run, instance, inner, nodes) {
            Ok(After::Enough(result)) => Ok(result),
            Ok(After::Again(next)) => {
                return Closed::Again(Box::new(RunContext { first, ..*next }));
            }
            Err(message) => Err(message),
        },
        Layer::Graph | Layer::Work => outputs_of_used(run.plan.node(instance), inner, ended)
            .map(|outputs| joined(inner, nodes, outputs)),
    };
    match left {
        Ok(result) => {
            finished.message = summary(run.plan.instances[instance].layer, inner);
            if is_cached(nodes) {
                finished.outcome = Outcome::Cached;
                finished.saved_ms = took;
            } else {
                finished.duration_ms = took;
            }
            finished.result = Some(result);
        }
        Err(message) => {
            finished.outcome = Outcome::Failed;
            finished.duration_ms = took;
            finished.message = message;
        }
    }
    Closed::Ended(Box::new(finished))
}

/// Nothing in the graph had to run, and something might have had to.
fn is_cached(nodes: &[Option<Ended>]) -> bool {
    let outcomes = || nodes.iter().flatten().map(|node| node.outcome);
    outcomes().any(|outcome| outcome == Outcome::Cached)
        && outcomes().all(|outcome| matches!(outcome, Outcome::Cached | Outcome::Skipped))
}

/// Why a graph was no success.
fn unsuccessful(inner: &RunContext, nodes: &[Option<Ended>]) -> Option<(Outcome, String)> {
    let with = |matches: &dyn Fn(Outcome) -> bool| -> Vec<&str> {
        let both = inner.plan.instances.iter().zip(nodes).enumerate();
        let found = both.filter(|(at, (_, ended))| {
            let counts = inner.is_same_node() || !inner.plan.node(*at).allow_failure;
            let outcome = ended.as_ref().map_or(Outcome::Cancelled, |ended| ended.outcome);
            matches(outcome) && (counts || outcome == Outcome::Cancelled)
        });
        found.map(|(_, (instance, _))| instance.id.as_str()).collect()
    };
    let failed = with(&Outcome::is_failure);
    if let [first, ..] = failed.as_slice() {
        let message = match failed.len() {
            1 => format!("`{first}` failed"),
            count => format!("{count} of {} failed, the first is `{first}`", nodes.len()),
        };
        return Some((Outcome::Failed, message));
    }
    let cancelled = with(&|outcome| outcome == Outcome::Cancelled);
    (!cancelled.is_empty()).then(|| (Outcome::Cancelled, "the run was stopped".to_owned()))
}

fn summary(layer: Layer, inner: &RunContext) -> String {
    let count = inner.plan.instances.len();
    let several = |word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match (layer, inner.outer.as_ref().map_or(0, |outer| outer.round)) {
        (Layer::Rounds, round) => format!("`until` holds after round {round}"),
        (Layer::Items, _) => several("item"),
        _ => several("node"),
    }
}

/// The outputs of all items, each a list in the order of the items.
fn lists(node: &Node, nodes: &[Option<Ended>]) -> IndexMap<String, Value> {
    outputs(node, |name| nodes.iter().map(|ended| output(ended.as_ref(), name)).collect())
}

/// Every output that the node has.
fn outputs(node: &Node, value: impl Fn(&str) -> Value) -> IndexMap<String, Value> {
    node.output_names().into_iter().map(|name| (name.to_owned(), value(name))).collect()
}

/// `null` where there is none.
fn output(ended: Option<&Ended>, name: &str) -> Value {
    ended.and_then(|ended| ended.result.outputs.get(name)).cloned().unwrap_or_default()
}

/// What items left of which some failed: the outputs of all, `null` for those, and where the node may fail the changes of
/// the others.
fn items_left(node: &Node, inner: &RunContext, nodes: &[Option<Ended>]) -> NodeResult {
    let outputs = lists(node, nodes);
    match node.allow_failure {
        true => left_in(inner, nodes, outputs),
        false => NodeResult { outputs, ..NodeResult::default() },
    }
}

/// What a graph hands on: what was left in it, or what it was given.
fn joined(inner: &RunContext, nodes: &[Option<Ended>], outputs: IndexMap<String, Value>) -> NodeResult {
    let mut result = left_in(inner, nodes, outputs);
    if let Some(outer) = inner.outer.as_ref().filter(|_| result.heads.is_empty()) {
        result.heads.clone_from(&outer.heads);
    }
    result
}

/// The results that nothing in a graph builds on.
fn left_in(inner: &RunContext, nodes: &[Option<Ended>], outputs: IndexMap<String, Value>) -> NodeResult {
    let last = finish::last_of(inner, nodes, usize::MAX);
    let results = || nodes.iter().flatten().filter(|node| node.gives()).map(|node| &node.result);
    let changed = base::distinct(results().flat_map(|result| &result.changed));
    NodeResult {
        commit: None,
        commits_below: 0,
        heads: base::distinct(last.iter().flat_map(|node| &node.result.heads)),
        changed_total: changed.len().max(results().map(|result| result.changed_total).max().unwrap_or(0)),
        changed: changed.into_iter().take(MAX_CHANGED_LISTED).collect(),
        outputs,
        artifacts: last.into_iter().flat_map(|node| node.result.artifacts.iter().cloned()).collect(),
    }
}

enum After {
    Enough(NodeResult),
    Again(Box<RunContext>),
}

/// Whether the round that has just ended was the last one.
fn after_round(
    run: &RunContext,
    instance: usize,
    inner: &RunContext,
    nodes: &[Option<Ended>],
) -> Result<After, String> {
    let node = run.plan.node(instance);
    let (Some(repeat), Some(outer)) = (&node.repeat, &inner.outer) else {
        return Err("a bug in spb: a round without a loop".to_owned());
    };
    let ended = nodes.first().and_then(Option::as_ref);
    let result = joined(inner, nodes, outputs(node, |name| output(ended, name)));
    let last = json!({
        "outputs": result.outputs,
        "status": Outcome::Succeeded.word(),
        "duration": nodes.iter().flatten().map(|node| node.duration_ms).sum::<u64>() as f64 / 1000.0,
        "changed_files": result.changed,
        "commit": nodes.iter().flatten().find_map(|node| node.result.commit.clone()),
    });
    let scope = with_round(inner.scope.clone(), outer.round, last.clone());
    let fine = NeedsStatus { all_succeeded: true, any_failed: false };
    if repeat.until.holds(&scope, fine).map_err(|error| error.to_string())? {
        return Ok(After::Enough(result));
    }
    if outer.round >= repeat.max {
        return Err(format!(
            "`{}` does not hold after round {}, the last one",
            repeat.until.source(),
            outer.round
        ));
    }
    let next = outer.round + 1;
    let plan = run.plan.round(instance, next).map_err(|error| error.to_string())?;
    let given = with_newer(&outer.given, result.artifacts);
    let outer = Outer { heads: result.heads, given, round: next, ..outer.clone() };
    let scope = with_round(inner.scope.clone(), next, last);
    Ok(After::Again(Box::new(within(inner, plan, scope, outer, inner.first))))
}

/// What the first round was given stays there for all of them, unless a round left something else in its place.
fn with_newer(given: &[Artifact], newer: Vec<Artifact>) -> Vec<Artifact> {
    let is_replaced = |old: &Artifact| newer.iter().any(|new| new.path == old.path);
    let kept: Vec<Artifact> = given.iter().filter(|old| !is_replaced(old)).cloned().collect();
    kept.into_iter().chain(newer).collect()
}

/// The outputs of a used workflow, which may read every node of it.
fn outputs_of_used(
    node: &Node,
    inner: &RunContext,
    ended: &[Option<Ended>],
) -> Result<IndexMap<String, Value>, String> {
    let Action::Workflow(uses) = &node.action else { return Ok(IndexMap::new()) };
    let scope = prepare::scope_of_all(inner, ended);
    let value = |(name, template): (&String, &crate::workflow::expr::Template)| {
        let value = template.value(&scope);
        value.map(|value| (name.clone(), value)).map_err(|error| format!("the output `{name}`: {error}"))
    };
    uses.workflow.outputs.iter().map(value).collect()
}

/// A node of a recorded run, wherever it lies: its graph, its position there, and how the nodes of that graph ended.
pub fn find(
    run: &Arc<RunContext>,
    view: &RunView,
    id: &str,
) -> Option<(Arc<RunContext>, usize, Vec<Option<Ended>>)> {
    let mut graph = Arc::clone(run);
    loop {
        let ended = ended_in(&graph, view);
        if let Some(instance) = graph.plan.find(id) {
            return Some((graph, instance, ended));
        }
        graph = Arc::new(around(&graph, view, &ended, id)?);
    }
}

/// The graph inside of a node of this one that the node lies in.
fn around(run: &RunContext, view: &RunView, ended: &[Option<Ended>], id: &str) -> Option<RunContext> {
    let is_around = |instance: &Instance| {
        instance.layer != Layer::Work && id != instance.id && plan::is_part(id, &instance.id)
    };
    // `n:pear,cat` is around its items, not `n:pear`.
    let around = run.plan.instances.iter().enumerate().filter(|(_, instance)| is_around(instance));
    let (outer, _) = around.max_by_key(|(_, instance)| instance.id.len())?;
    let mut graph = open(run, outer, ended, 0).ok()?;
    loop {
        if graph.plan.instances.iter().any(|instance| instance.id == id || is_around(instance)) {
            return Some(graph);
        }
        graph = match close(run, outer, &graph, &ended_in(&graph, view), 0) {
            Closed::Again(next) => *next,
            Closed::Ended(_) => return None,
        };
    }
}

fn ended_in(graph: &RunContext, view: &RunView) -> Vec<Option<Ended>> {
    let mut ended = vec![None; graph.first + graph.plan.instances.len()];
    for (at, instance) in graph.plan.instances.iter().enumerate() {
        if let Some(NodeState::Finished(finished)) = view.nodes.get(&instance.id).map(|view| &view.state) {
            ended[graph.first + at] = Some(unit::seen(finished));
        }
    }
    ended
}
