//! The expanded DAG: matrices become instances, needs become edges, and a selection keeps what was asked for.
//! The only owner of petgraph. Reads no disk and knows no results; `fingerprint` gives the nodes their keys.

pub mod cycle;
pub mod expand;
pub mod explain;
pub mod fingerprint;
mod inner;

pub use inner::is_part;

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use serde_json::{Map, Value};

use crate::workflow::model::{Action, Node, Workflow};
use crate::workflow::suggest;

/// Why an edge is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Changes and outputs flow along it.
    Needs,
    /// Order only.
    After,
}

/// A workflow with its inputs, ready to run.
#[derive(Debug)]
pub struct Plan {
    pub workflow: Arc<Workflow>,
    pub inputs: IndexMap<String, Value>,
    /// Instances in file order, a matrix expanded in place.
    pub instances: Vec<Instance>,
    /// Needs before dependents.
    pub order: Vec<usize>,
    /// Instances that nobody in the plan needs, in file order.
    pub leaves: Vec<usize>,
    /// Most nodes that the widest depth may come to have: more jobs than this never help.
    pub width: usize,
    by_id: HashMap<String, usize>,
}

/// One node to run: a node of the file, or one combination of its matrix.
#[derive(Debug)]
pub struct Instance {
    /// `build`, or `scout:tests` for an instance of a matrix.
    pub id: String,
    /// Position in `workflow.nodes`.
    pub node: usize,
    /// Axis values; empty without a matrix.
    pub matrix: Map<String, Value>,
    /// In declared order.
    pub needs: Vec<Need>,
    pub after: Vec<usize>,
    pub role: Role,
    /// What of the node it is.
    pub layer: Layer,
    /// The item of a `for_each` that it is for.
    pub item: Option<Value>,
}

/// A node that is several at run time is taken apart from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// All items of its `for_each`.
    Items,
    /// All rounds of its `loop`.
    Rounds,
    /// All nodes of the workflow that it uses.
    Graph,
    /// Nothing but its own work.
    Work,
}

impl Layer {
    /// The outermost layer of a node that lies within `outside`.
    fn within(node: &Node, outside: Option<Self>) -> Self {
        let layers = [
            (Self::Items, node.for_each.is_some()),
            (Self::Rounds, node.repeat.is_some()),
            (Self::Graph, matches!(node.action, Action::Workflow(_))),
        ];
        let inside =
            layers.into_iter().find(|(layer, there)| *there && outside.is_none_or(|out| *layer > out));
        inside.map_or(Self::Work, |(layer, _)| layer)
    }
}

/// Whether an instance was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Run,
    /// Outside `--only`: its result is taken from the cache and it never runs.
    CacheOnly,
}

/// One name in `needs`, with its instances.
#[derive(Debug)]
pub struct Need {
    /// Position in `workflow.nodes`.
    pub node: usize,
    pub instances: Vec<usize>,
    /// A node with a matrix gives its dependents lists.
    pub is_list: bool,
}

/// What part of the plan to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// This node (or instance) and everything it needs.
    pub until: Option<String>,
    /// These nodes; what they need comes from the cache.
    pub only: Vec<String>,
}

/// Why there is no plan, with sentences for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("`{name}` is not a node of this workflow{}", suggest(.nearest.as_deref()))]
    UnknownNode { name: String, nearest: Option<String> },
    #[error("the matrix of `{node}`: {reason}")]
    Matrix { node: String, reason: String },
    #[error("the workflow has a cycle: {0}")]
    Cycle(String),
    #[error("the workflow expands to {0} nodes, more than the {limit} that one run may have", limit = expand::MAX_INSTANCES)]
    TooLarge(usize),
}

fn suggest(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

impl Plan {
    /// Expands a checked workflow with resolved inputs.
    ///
    /// # Errors
    /// A matrix that is not a list or too large, a cycle, or a selected node that does not exist.
    pub fn new(
        workflow: Arc<Workflow>,
        inputs: IndexMap<String, Value>,
        selection: &Selection,
    ) -> Result<Self, PlanError> {
        let mut instances = expand::instances(&workflow, &inputs)?;
        if *selection != Selection::default() {
            instances = select(&workflow, instances, selection)?;
        }
        Self::of(workflow, inputs, instances)
    }

    fn of(
        workflow: Arc<Workflow>,
        inputs: IndexMap<String, Value>,
        instances: Vec<Instance>,
    ) -> Result<Self, PlanError> {
        let graph = graph(&instances);
        let order = topological(&graph, &workflow, &instances)?;
        let leaves = (0..instances.len())
            .filter(|&node| {
                !graph.edges(NodeIndex::new(node)).any(|edge| {
                    *edge.weight() == Edge::Needs && instances[edge.target().index()].role == Role::Run
                }) && instances[node].role == Role::Run
            })
            .collect();
        let by_id = instances.iter().enumerate().map(|(at, instance)| (instance.id.clone(), at)).collect();
        let (order, width) = by_depth(&workflow, &instances, order);
        Ok(Self { workflow, inputs, instances, order, leaves, width, by_id })
    }

    /// A plan of which only the end is left to do: no instances, and how wide they were.
    pub fn outline(workflow: Arc<Workflow>, inputs: IndexMap<String, Value>, width: usize) -> Self {
        let (instances, order, leaves, by_id) = (Vec::new(), Vec::new(), Vec::new(), HashMap::new());
        Self { workflow, inputs, instances, order, leaves, width, by_id }
    }

    pub fn node(&self, instance: usize) -> &Node {
        &self.workflow.nodes[self.instances[instance].node]
    }

    /// The instances that a name means: one, or all of a node.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn named(&self, name: &str) -> Result<Vec<usize>, PlanError> {
        named_instances(&self.workflow, &self.instances, name)
    }

    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The instances of a node of the file, in matrix order.
    pub fn instances_of(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        self.instances.iter().enumerate().filter(move |(_, instance)| instance.node == node).map(|(at, _)| at)
    }

    pub fn stage(&self, instance: usize) -> &str {
        &self.workflow.stages[self.node(instance).stage]
    }
}

impl Instance {
    /// Instances whose results it starts from, in declared order.
    pub fn needed(&self) -> impl Iterator<Item = usize> + '_ {
        self.needs.iter().flat_map(|need| need.instances.iter().copied())
    }
}

/// An edge goes from what is needed to what needs it.
fn graph(instances: &[Instance]) -> DiGraph<(), Edge> {
    let edges = instances.iter().map(|instance| instance.needed().count() + instance.after.len()).sum();
    let mut graph = DiGraph::with_capacity(instances.len(), edges);
    for _ in instances {
        graph.add_node(());
    }
    for (at, instance) in instances.iter().enumerate() {
        for need in instance.needed() {
            graph.add_edge(NodeIndex::new(need), NodeIndex::new(at), Edge::Needs);
        }
        for &before in &instance.after {
            graph.add_edge(NodeIndex::new(before), NodeIndex::new(at), Edge::After);
        }
    }
    graph
}

fn topological(
    graph: &DiGraph<(), Edge>,
    workflow: &Workflow,
    instances: &[Instance],
) -> Result<Vec<usize>, PlanError> {
    match petgraph::algo::toposort(graph, None) {
        Ok(order) => Ok(order.into_iter().map(NodeIndex::index).collect()),
        Err(at) => {
            let path =
                cycle::first_path(workflow).unwrap_or_else(|| instances[at.node_id().index()].id.clone());
            Err(PlanError::Cycle(path))
        }
    }
}

/// The order by depth, then by place in the file, and how many nodes the widest depth may come to have.
fn by_depth(workflow: &Workflow, instances: &[Instance], mut order: Vec<usize>) -> (Vec<usize>, usize) {
    let mut depth = vec![0_usize; instances.len()];
    let mut count = vec![0_usize; instances.len() + 1];
    for &at in &order {
        let before = instances[at].needed().chain(instances[at].after.iter().copied());
        depth[at] = before.map(|earlier| depth[earlier] + 1).max().unwrap_or(0);
        let node = &workflow.nodes[instances[at].node];
        let items = node.for_each.as_ref().filter(|_| instances[at].layer == Layer::Items);
        let inside = match &node.action {
            Action::Workflow(uses) => uses.workflow.nodes.len().max(1),
            _ => 1,
        };
        count[depth[at]] += items.map_or(1, |items| items.max).saturating_mul(inside);
    }
    order.sort_unstable_by_key(|&at| (depth[at], at));
    (order, count.into_iter().max().unwrap_or(0).max(1))
}

/// Keeps what the selection names and what that needs, renumbering positions.
fn select(
    workflow: &Workflow,
    instances: Vec<Instance>,
    selection: &Selection,
) -> Result<Vec<Instance>, PlanError> {
    let mut role: Vec<Option<Role>> = vec![None; instances.len()];
    let named = |name: &String| named_instances(workflow, &instances, name);
    if let Some(until) = &selection.until {
        spread(&instances, named(until)?, |at| role[at].replace(Role::Run).is_none());
    }
    if !selection.only.is_empty() {
        let mut chosen = Vec::new();
        for name in &selection.only {
            chosen.extend(named(name)?);
        }
        spread(&instances, chosen.clone(), |at| {
            let seen = role[at].is_some();
            role[at].get_or_insert(Role::CacheOnly);
            !seen
        });
        for at in chosen {
            role[at] = Some(Role::Run);
        }
    }
    let mut renumbered = vec![usize::MAX; instances.len()];
    let kept = role.iter().enumerate().filter(|(_, role)| role.is_some());
    for (new, (old, _)) in kept.enumerate() {
        renumbered[old] = new;
    }
    let keep = |position: &usize| (renumbered[*position] != usize::MAX).then(|| renumbered[*position]);
    let mut result = Vec::new();
    for (mut instance, role) in instances.into_iter().zip(&role) {
        let Some(role) = *role else { continue };
        instance.role = role;
        instance.after = instance.after.iter().filter_map(keep).collect();
        for need in &mut instance.needs {
            need.instances = need.instances.iter().filter_map(keep).collect();
        }
        result.push(instance);
    }
    Ok(result)
}

fn named_instances(workflow: &Workflow, instances: &[Instance], name: &str) -> Result<Vec<usize>, PlanError> {
    let found: Vec<usize> = instances
        .iter()
        .enumerate()
        .filter(|(_, instance)| instance.id == name || workflow.nodes[instance.node].name == name)
        .map(|(at, _)| at)
        .collect();
    if found.is_empty() {
        let candidates = instances.iter().map(|instance| instance.id.as_str());
        let nearest = suggest::nearest(name, candidates.chain(workflow.nodes.keys().map(String::as_str)));
        let nearest = nearest.map(str::to_owned);
        return Err(PlanError::UnknownNode { name: name.to_owned(), nearest });
    }
    Ok(found)
}

/// Visits the given instances and everything they need, until `first_visit` says it was there before.
fn spread(instances: &[Instance], from: Vec<usize>, mut first_visit: impl FnMut(usize) -> bool) {
    let mut open = from;
    while let Some(at) = open.pop() {
        if first_visit(at) {
            open.extend(instances[at].needed());
        }
    }
}
