//! Finds cycles among the nodes of a file and words them as a path, one problem for each.

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::workflow::model::Workflow;
use crate::workflow::problem::{Problem, Span};

/// Every cycle of the file, each once, pointing at the references that close it.
pub fn problems(workflow: &Workflow) -> Vec<Problem> {
    cycles(workflow).into_iter().map(|cycle| problem(workflow, &cycle)).collect()
}

/// The first cycle as `a -> b -> a`, if there is one.
pub fn first_path(workflow: &Workflow) -> Option<String> {
    cycles(workflow).first().map(|cycle| worded(workflow, cycle))
}

/// A cycle as steps: node, and the place where it names the next one.
type Cycle = Vec<(usize, Span)>;

fn cycles(workflow: &Workflow) -> Vec<Cycle> {
    let graph = graph(workflow);
    // `kosaraju_scc` is iterative; `tarjan_scc` would overflow the stack on a long chain.
    let mut found: Vec<Cycle> = kosaraju_scc(&graph)
        .into_iter()
        // A node that names itself is found when the file is checked.
        .filter(|component| component.len() > 1)
        .map(|component| shortest_cycle(&graph, &component))
        .collect();
    found.sort_by_key(|cycle| cycle[0].0);
    found
}

/// An edge goes from a node to what it names.
fn graph(workflow: &Workflow) -> DiGraph<(), Span> {
    let mut graph = DiGraph::new();
    for _ in &workflow.nodes {
        graph.add_node(());
    }
    for (at, node) in workflow.nodes.values().enumerate() {
        for reference in node.needs.iter().chain(&node.after) {
            if let Some(target) = workflow.nodes.get_index_of(&reference.node) {
                graph.add_edge(NodeIndex::new(at), NodeIndex::new(target), reference.span);
            }
        }
    }
    graph
}

/// Breadth first from the component's first node in file order back to itself.
fn shortest_cycle(graph: &DiGraph<(), Span>, component: &[NodeIndex]) -> Cycle {
    let start = component.iter().copied().min().expect("a component has at least one node");
    let mut came_from: Vec<Option<(NodeIndex, Span)>> = vec![None; graph.node_count()];
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for edge in graph.edges(at) {
            let next = edge.target();
            if came_from[next.index()].is_none() {
                came_from[next.index()] = Some((at, *edge.weight()));
                queue.push_back(next);
            }
        }
        if came_from[start.index()].is_some() {
            break;
        }
    }
    let mut steps = Vec::new();
    let mut at = start;
    while let Some((before, span)) = came_from[at.index()] {
        steps.push((before.index(), span));
        at = before;
        if at == start {
            break;
        }
    }
    steps.reverse();
    steps
}

fn worded(workflow: &Workflow, cycle: &Cycle) -> String {
    let name = |node: usize| workflow.nodes[node].name.as_str();
    let mut path: Vec<&str> = cycle.iter().map(|&(node, _)| name(node)).collect();
    path.push(name(cycle[0].0));
    if path.len() > 12 {
        let skipped = format!("... {} more ...", path.len() - 10);
        return [&path[..6], &[skipped.as_str()], &path[path.len() - 4..]].concat().join(" -> ");
    }
    path.join(" -> ")
}

fn problem(workflow: &Workflow, cycle: &Cycle) -> Problem {
    let (last, span) = *cycle.last().expect("a cycle has at least one step");
    let name = |node: usize| workflow.nodes[node].name.as_str();
    let mut problem = Problem::error(
        "spb::needs::cycle",
        span,
        format!("these nodes wait for each other: {}", worded(workflow, cycle)),
    )
    .label(format!("`{}` waits for `{}`: this closes the cycle", name(last), name(cycle[0].0)))
    .help("remove one of these references");
    for (step, &(node, span)) in cycle.iter().enumerate().take(cycle.len() - 1).take(8) {
        let next = name(cycle[step + 1].0);
        problem = problem.also(span, format!("`{}` waits for `{next}`", name(node)));
    }
    problem
}
