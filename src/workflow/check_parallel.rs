//! Warnings about nodes that may run at the same time, or in an order that is hardly meant: overlapping `writes`, and
//! effects before the question whether they may happen. Only what a graph without cycles shows; the work is bounded, so
//! that of very many overlaps not all are told.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::check::{Check, Draft};
use super::model::{Effect, Node, OnConflict};
use super::overlap::{self, Pattern};
use super::problem::{Problem, Span};
use super::yaml::{Yaml, shorten};

/// Overlaps that are told of one file, and of one pair of globs.
const MAX_TOLD: usize = 30;
const MAX_TOLD_OF_PAIR: usize = 3;

/// Pairs of globs that are compared, and steps that are taken in the graph, of one file.
const MAX_COMPARED: usize = 5_000;
const MAX_STEPS: usize = 300_000;

impl Check<'_> {
    pub(super) fn advise_on_several(&mut self, drafts: &[Draft<'_, '_>], nodes: &IndexMap<String, Node>) {
        let writers = nodes.values().filter(|node| node.writes.is_some()).count();
        let has = |what: fn(&Node) -> bool| nodes.values().any(what);
        let asks_after_effects = has(Node::is_gate) && has(|node| node.effect == Effect::External);
        if writers < 2 && !asks_after_effects {
            return;
        }
        let Some(mut order) = Order::new(nodes) else { return };
        if writers >= 2 {
            self.overlapping_writes(drafts, nodes, &mut order);
        }
        if asks_after_effects {
            self.effects_before_gates(nodes, &order);
        }
    }

    /// An effect that no question comes before, and whose dependents include a question that nothing external waits
    /// for: what may still be refused has already happened. A question between two effects is about the second.
    fn effects_before_gates(&mut self, nodes: &IndexMap<String, Node>, order: &Order) {
        let is_external = |at: usize| nodes[at].effect == Effect::External;
        let mut asked_before = vec![false; nodes.len()];
        for &at in &order.list {
            for &later in &order.before[at] {
                asked_before[later] |= asked_before[at] || nodes[at].is_gate();
            }
        }
        let mut effect_after = vec![false; nodes.len()];
        let mut gate_after: Vec<Option<usize>> = vec![None; nodes.len()];
        for &at in order.list.iter().rev() {
            for &later in &order.before[at] {
                effect_after[at] |= effect_after[later] || is_external(later);
                let last_word = nodes[later].is_gate() && !effect_after[later];
                let gate = if last_word { Some(later) } else { gate_after[later] };
                gate_after[at] = gate_after[at].or(gate);
            }
        }
        for (at, gate) in gate_after.into_iter().enumerate() {
            let Some(gate) = gate.filter(|_| is_external(at) && !asked_before[at]) else { continue };
            let names = [at, gate].map(|at| shorten(&nodes[at].name));
            self.problems.push(
                Problem::warning(
                    "spb::effect::before_gate",
                    nodes[at].span,
                    format!(
                        "`{}` has its effect before `{}` asks, and nothing external comes after the answer",
                        names[0], names[1]
                    ),
                )
                .label("happens first")
                .also(nodes[gate].span, "asks later")
                .help(format!(
                    "if the question is about it, let it wait for the answer: `needs: [{}]`",
                    names[1]
                )),
            );
        }
    }

    fn overlapping_writes(
        &mut self,
        drafts: &[Draft<'_, '_>],
        nodes: &IndexMap<String, Node>,
        order: &mut Order,
    ) {
        let globs = globs(nodes, order);
        let mut seen: HashSet<(usize, usize)> = HashSet::new();
        let mut told = 0;
        for (one, other, path) in overlaps(&globs) {
            if told >= MAX_TOLD {
                break;
            }
            let pairs = unordered(&globs[one], &globs[other], order);
            let mut left = MAX_TOLD_OF_PAIR;
            for (a, b) in pairs {
                let pair = (a.min(b), a.max(b));
                if left == 0 || !seen.insert(pair) {
                    continue;
                }
                if order.is_settled(nodes, pair) || both_are_conditional(nodes, pair) {
                    continue;
                }
                left -= 1;
                told += 1;
                self.problems.push(overlap_problem(drafts, pair, &path));
            }
        }
    }
}

/// Conditions may exclude each other.
fn both_are_conditional(nodes: &IndexMap<String, Node>, pair: (usize, usize)) -> bool {
    [pair.0, pair.1].iter().all(|at| !nodes[*at].when.references().is_empty())
}

fn overlap_problem(drafts: &[Draft<'_, '_>], (first, second): (usize, usize), path: &str) -> Problem {
    let names = [first, second].map(|at| shorten(&drafts[at].name));
    let span = |at: usize| glob_span(&drafts[at], path);
    Problem::warning(
        "spb::writes::overlap",
        span(second),
        format!("`{}` and `{}` may run at the same time, and both may change `{path}`", names[0], names[1]),
    )
    .label(format!("`{}` may change it", names[1]))
    .also(span(first), format!("`{}` may change it", names[0]))
    .help("let one need the other, make `writes` narrower, or let a node that needs both say what becomes of lines that both change: `on_conflict: union`")
}

/// The item of `writes` that matches a path.
fn glob_span(draft: &Draft<'_, '_>, path: &str) -> Span {
    let Some(writes) = draft.yaml.get("writes") else { return draft.span };
    let matches = |item: &&Yaml<'_>| {
        let alternatives = item.text().map(overlap::alternatives).unwrap_or_default();
        alternatives.iter().filter_map(|glob| Pattern::new(glob)).any(|glob| glob.matches(path))
    };
    writes.items().iter().find(matches).map_or(writes.span, |item| item.span)
}

/// One glob, and the nodes that write by it, in topological order.
struct Writers {
    pattern: Pattern,
    nodes: Vec<usize>,
}

fn globs(nodes: &IndexMap<String, Node>, order: &Order) -> Vec<Writers> {
    let mut known: IndexMap<String, Option<Writers>> = IndexMap::new();
    for &at in &order.list {
        for glob in nodes[at].writes.iter().flatten().flat_map(|glob| overlap::alternatives(glob)) {
            let entry = known.entry(glob);
            let pattern = match &entry {
                indexmap::map::Entry::Vacant(vacant) => Pattern::new(vacant.key()),
                indexmap::map::Entry::Occupied(_) => None,
            };
            let writers =
                entry.or_insert_with(|| pattern.map(|pattern| Writers { pattern, nodes: Vec::new() }));
            if let Some(writers) = writers
                && writers.nodes.last() != Some(&at)
            {
                writers.nodes.push(at);
            }
        }
    }
    known.into_values().flatten().collect()
}

/// Pairs of globs with a path in common; a glob that several nodes name is a pair with itself. Two globs are compared
/// only if what one of them spells out at its start is the start of the other.
fn overlaps(globs: &[Writers]) -> Vec<(usize, usize, String)> {
    let mut by_start: HashMap<String, Vec<usize>> = HashMap::new();
    let starts: Vec<Vec<String>> = globs.iter().map(|glob| glob.pattern.fixed()).collect();
    for (at, start) in starts.iter().enumerate() {
        by_start.entry(start.join("/")).or_default().push(at);
    }
    let mut found = Vec::new();
    let mut left = MAX_COMPARED;
    for (at, start) in starts.iter().enumerate() {
        for length in 0..=start.len() {
            for &other in by_start.get(&start[..length].join("/")).into_iter().flatten() {
                // Those with the same start meet once; one with itself counts for several nodes.
                let is_own = length == start.len();
                if is_own && (other > at || other == at && globs[at].nodes.len() < 2) {
                    continue;
                }
                if left == 0 {
                    return found;
                }
                left -= 1;
                if let Some(path) = globs[other].pattern.common_path(&globs[at].pattern) {
                    found.push((other, at, path));
                }
            }
        }
    }
    found
}

/// Pairs of nodes, one of each glob, of which neither waits for the other. In topological order only neighbours are
/// looked at: if each reaches the next, all are ordered.
fn unordered(one: &Writers, other: &Writers, order: &mut Order) -> Vec<(usize, usize)> {
    let Some(steps_left) = order.steps_left.checked_sub(one.nodes.len() + other.nodes.len()) else {
        return Vec::new();
    };
    order.steps_left = steps_left;
    let mut merged: Vec<usize> = one.nodes.iter().chain(&other.nodes).copied().collect();
    merged.sort_by_key(|at| order.place[*at]);
    merged.dedup();
    let writes = |writers: &Writers, order: &Order, at: usize| {
        writers.nodes.binary_search_by_key(&order.place[at], |node| order.place[*node]).is_ok()
    };
    let mut pairs = Vec::new();
    for pair in merged.windows(2) {
        let &[a, b] = pair else { continue };
        let meet = writes(one, order, a) && writes(other, order, b)
            || writes(other, order, a) && writes(one, order, b);
        if meet && order.reaches(a, b) == Some(false) {
            pairs.push((a, b));
        }
    }
    pairs
}

/// The graph of the file: who waits for whom.
struct Order {
    /// Nodes, what is waited for first.
    list: Vec<usize>,
    /// Place of each node in `list`.
    place: Vec<usize>,
    /// Who waits for each node, by `needs` and by either.
    needed_by: Vec<Vec<usize>>,
    before: Vec<Vec<usize>>,
    /// The walk that last saw each node.
    seen: Vec<usize>,
    walk: usize,
    steps_left: usize,
}

impl Order {
    /// None for a graph with a cycle.
    fn new(nodes: &IndexMap<String, Node>) -> Option<Self> {
        let mut needed_by = vec![Vec::new(); nodes.len()];
        let mut before = vec![Vec::new(); nodes.len()];
        let mut waits_for = vec![0_usize; nodes.len()];
        for (at, node) in nodes.values().enumerate() {
            for reference in &node.needs {
                needed_by[nodes.get_index_of(&reference.node)?].push(at);
            }
            for reference in node.needs.iter().chain(&node.after) {
                before[nodes.get_index_of(&reference.node)?].push(at);
                waits_for[at] += 1;
            }
        }
        let mut list: Vec<usize> = (0..nodes.len()).filter(|at| waits_for[*at] == 0).collect();
        let mut next = 0;
        while let Some(&at) = list.get(next) {
            next += 1;
            for &later in &before[at] {
                waits_for[later] -= 1;
                if waits_for[later] == 0 {
                    list.push(later);
                }
            }
        }
        let mut place = vec![0; nodes.len()];
        for (index, &at) in list.iter().enumerate() {
            place[at] = index;
        }
        let seen = vec![0; nodes.len()];
        let is_whole = list.len() == nodes.len();
        is_whole.then_some(Self { list, place, needed_by, before, seen, walk: 0, steps_left: MAX_STEPS })
    }

    /// Whether `to` waits for `from`, which comes earlier; unknown when that would take too long.
    fn reaches(&mut self, from: usize, to: usize) -> Option<bool> {
        self.walk += 1;
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            for &later in &self.before[at] {
                if later == to {
                    return Some(true);
                }
                self.steps_left = self.steps_left.checked_sub(1)?;
                if self.place[later] < self.place[to] && self.seen[later] != self.walk {
                    self.seen[later] = self.walk;
                    open.push(later);
                }
            }
        }
        Some(false)
    }

    /// Whether every node where the changes of two first come together says what becomes of a conflict.
    fn is_settled(&mut self, nodes: &IndexMap<String, Node>, (a, b): (usize, usize)) -> bool {
        let (Some(of_a), Some(of_b)) = (self.dependents(a), self.dependents(b)) else { return true };
        let both: HashSet<usize> = of_a.intersection(&of_b).copied().collect();
        let is_first = |at: &&usize| {
            !nodes[**at]
                .needs
                .iter()
                .any(|need| nodes.get_index_of(&need.node).is_some_and(|need| both.contains(&need)))
        };
        let mut first = both.iter().filter(is_first).peekable();
        first.peek().is_some() && first.all(|at| !matches!(nodes[*at].on_conflict, OnConflict::Fail))
    }

    /// The nodes that changes of one reach; unknown when that would take too long.
    fn dependents(&mut self, of: usize) -> Option<HashSet<usize>> {
        let mut found = HashSet::new();
        let mut open = vec![of];
        while let Some(at) = open.pop() {
            for &later in &self.needed_by[at] {
                self.steps_left = self.steps_left.checked_sub(1)?;
                if found.insert(later) {
                    open.push(later);
                }
            }
        }
        Some(found)
    }
}
