//! Decides what runs next: `handle(Input) -> Vec<Command>`. Pure: no clock, no tasks, no files, no names.
//!
//! A node is decided when everything it waits for has ended. There are no layer barriers: of all decided nodes the one
//! with the longest remaining path starts first (list scheduling by critical path, Graham 1966), ties by declared
//! order, so the same inputs in the same order always give the same commands.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Position of a node in the [`Graph`].
pub type NodeId = usize;

/// What the scheduler must know of one node.
#[derive(Clone, Debug, Default)]
pub struct Vertex {
    /// Nodes whose success it builds on.
    pub needs: Vec<NodeId>,
    /// Nodes that only have to end first.
    pub after: Vec<NodeId>,
    /// Its own condition decides, even when a need did not succeed.
    pub decides_itself: bool,
    /// Of nodes with the same number only so many run at the same time as `Graph::room` says.
    pub group: Option<u32>,
    /// Expected duration in milliseconds, or 1 for all when nothing is known: then the priority is the depth.
    pub weight: u64,
    /// Which run it belongs to: a failure with fail-fast ends only its own run.
    pub run: usize,
    /// A failure of this node does not count for fail-fast.
    pub may_fail: bool,
}

/// Several runs side by side form one graph.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub vertices: Vec<Vertex>,
    /// How many nodes of a group run at the same time; one where it says nothing.
    pub room: HashMap<u32, usize>,
    /// By run: stop starting nodes of a run after its first failure.
    pub fail_fast: Vec<bool>,
}

/// How a node ended, as far as scheduling cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Succeeded,
    Failed,
    /// Skipped or cancelled: dependents do not run, the run did not fail by it.
    NotRun,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin; also used after nodes of an earlier engine were given as ended.
    Begin,
    Ended(NodeId, End),
    /// At most this many nodes at the same time from now on; at least 1.
    Jobs(usize),
    /// Start nothing more, in any run.
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Start(NodeId),
    /// It will not run because this need did not succeed.
    Skip(NodeId, NodeId),
    /// It will not run because its run is being stopped.
    Cancel(NodeId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// How many nodes it still waits for.
    Waiting(usize),
    Ready,
    Running,
    Ended(End),
}

/// The state of one scheduling problem. One owner, no interior mutability.
#[derive(Debug)]
pub struct Scheduler {
    graph: Graph,
    dependents: Vec<Vec<NodeId>>,
    /// Longest path from the node to the end of the graph, its own weight included.
    remaining: Vec<u64>,
    states: Vec<State>,
    ready: BinaryHeap<(u64, Reverse<NodeId>)>,
    /// Ready nodes whose group is full, by its number.
    held: Vec<(u32, NodeId)>,
    /// The group of each running node that has one.
    taken: Vec<u32>,
    running: usize,
    open: usize,
    jobs: usize,
    begun: bool,
    stopped: bool,
    stopped_runs: Vec<bool>,
}

impl Scheduler {
    /// `order` lists every node once, needs first.
    pub fn new(graph: Graph, order: &[NodeId], jobs: usize) -> Self {
        let count = graph.vertices.len();
        let mut dependents = vec![Vec::new(); count];
        let mut states = Vec::with_capacity(count);
        for (node, vertex) in graph.vertices.iter().enumerate() {
            for &before in vertex.needs.iter().chain(&vertex.after) {
                dependents[before].push(node);
            }
            states.push(State::Waiting(vertex.needs.len() + vertex.after.len()));
        }
        let mut remaining = vec![0; count];
        for &node in order.iter().rev() {
            let rest = dependents[node].iter().map(|&next| remaining[next]).max().unwrap_or(0);
            remaining[node] = rest + graph.vertices[node].weight;
        }
        let runs = graph.fail_fast.len();
        Self {
            graph,
            dependents,
            remaining,
            states,
            ready: BinaryHeap::new(),
            held: Vec::new(),
            taken: Vec::new(),
            running: 0,
            open: count,
            jobs: jobs.max(1),
            begun: false,
            stopped: false,
            stopped_runs: vec![false; runs],
        }
    }

    /// Takes one fact and says what to do about it.
    pub fn handle(&mut self, input: Input) -> Vec<Command> {
        let mut commands = Vec::new();
        match input {
            Input::Begin => self.begin(&mut commands),
            Input::Ended(node, end) => self.ended(node, end, &mut commands),
            Input::Jobs(jobs) => self.jobs = jobs.max(1),
            Input::Stop => {
                self.stopped = true;
                self.cancel_where(&mut commands, |_| true);
            }
        }
        self.start_ready(&mut commands);
        commands
    }

    /// Nothing is left to wait for.
    pub fn is_done(&self) -> bool {
        self.open == 0
    }

    pub fn running(&self) -> usize {
        self.running
    }

    fn begin(&mut self, commands: &mut Vec<Command>) {
        self.begun = true;
        for node in 0..self.states.len() {
            if self.states[node] == State::Waiting(0) {
                self.decide(node, commands);
            }
        }
    }

    fn ended(&mut self, node: NodeId, end: End, commands: &mut Vec<Command>) {
        match self.states[node] {
            State::Ended(_) => return,
            State::Running => {
                self.running -= 1;
                if let Some(number) = self.graph.vertices[node].group {
                    self.release(number);
                }
            }
            State::Waiting(_) | State::Ready => {}
        }
        self.settle(node, end, commands);
        let run = self.graph.vertices[node].run;
        let fails_run = end == End::Failed && !self.graph.vertices[node].may_fail;
        if fails_run && self.graph.fail_fast[run] && !self.stopped_runs[run] {
            self.stopped_runs[run] = true;
            self.cancel_where(commands, |vertex| vertex.run == run);
        }
    }

    /// Marks a node as ended and decides whoever waited only for it; a worklist, because chains are long.
    fn settle(&mut self, node: NodeId, end: End, commands: &mut Vec<Command>) {
        let mut ended = vec![(node, end)];
        while let Some((node, end)) = ended.pop() {
            self.states[node] = State::Ended(end);
            self.open -= 1;
            for position in 0..self.dependents[node].len() {
                let dependent = self.dependents[node][position];
                let State::Waiting(count) = self.states[dependent] else { continue };
                self.states[dependent] = State::Waiting(count - 1);
                if count == 1 && self.begun {
                    if let Some(need) = self.blocking_need(dependent) {
                        commands.push(Command::Skip(dependent, need));
                        ended.push((dependent, End::NotRun));
                    } else {
                        self.make_ready(dependent);
                    }
                }
            }
        }
    }

    fn decide(&mut self, node: NodeId, commands: &mut Vec<Command>) {
        if let Some(need) = self.blocking_need(node) {
            commands.push(Command::Skip(node, need));
            self.settle(node, End::NotRun, commands);
        } else {
            self.make_ready(node);
        }
    }

    fn blocking_need(&self, node: NodeId) -> Option<NodeId> {
        let vertex = &self.graph.vertices[node];
        if vertex.decides_itself {
            return None;
        }
        vertex.needs.iter().copied().find(|&need| self.states[need] != State::Ended(End::Succeeded))
    }

    fn make_ready(&mut self, node: NodeId) {
        self.states[node] = State::Ready;
        self.ready.push((self.remaining[node], Reverse(node)));
    }

    fn cancel_where(&mut self, commands: &mut Vec<Command>, matches: impl Fn(&Vertex) -> bool) {
        for node in 0..self.states.len() {
            let waits = matches!(self.states[node], State::Waiting(_) | State::Ready);
            if waits && matches(&self.graph.vertices[node]) {
                self.states[node] = State::Ended(End::NotRun);
                self.open -= 1;
                commands.push(Command::Cancel(node));
            }
        }
    }

    fn start_ready(&mut self, commands: &mut Vec<Command>) {
        if !self.begun || self.stopped {
            return;
        }
        while self.running < self.jobs {
            let Some((_, Reverse(node))) = self.ready.pop() else { return };
            if self.states[node] != State::Ready {
                continue;
            }
            if let Some(number) = self.graph.vertices[node].group {
                let taken = self.taken.iter().filter(|&&taken| taken == number).count();
                if taken >= self.graph.room.get(&number).copied().unwrap_or(1) {
                    self.held.push((number, node));
                    continue;
                }
                self.taken.push(number);
            }
            self.states[node] = State::Running;
            self.running += 1;
            commands.push(Command::Start(node));
        }
    }

    fn release(&mut self, number: u32) {
        if let Some(position) = self.taken.iter().position(|&taken| taken == number) {
            self.taken.swap_remove(position);
        }
        let (back, keep): (Vec<_>, Vec<_>) = self.held.drain(..).partition(|&(held, _)| held == number);
        self.held = keep;
        for (_, node) in back {
            self.ready.push((self.remaining[node], Reverse(node)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph(needs: &[&[NodeId]]) -> Graph {
        let vertices = needs
            .iter()
            .map(|needs| Vertex { needs: needs.to_vec(), weight: 1, ..Vertex::default() })
            .collect();
        Graph { vertices, fail_fast: vec![false], ..Graph::default() }
    }

    fn scheduler(graph: Graph, jobs: usize) -> Scheduler {
        let order: Vec<_> = (0..graph.vertices.len()).collect();
        Scheduler::new(graph, &order, jobs)
    }

    #[test]
    fn the_longest_remaining_path_starts_first() {
        // 0 stands alone; 1 -> 2 -> 3 is a chain: with one job the chain's head goes first.
        let mut scheduler = scheduler(graph(&[&[], &[], &[1], &[2]]), 1);
        assert_eq!(scheduler.handle(Input::Begin), [Command::Start(1)]);
        assert_eq!(scheduler.handle(Input::Ended(1, End::Succeeded)), [Command::Start(2)]);
    }

    #[test]
    fn a_failed_need_skips_its_dependents_and_nothing_else() {
        let mut scheduler = scheduler(graph(&[&[], &[0], &[1], &[]]), 2);
        assert_eq!(scheduler.handle(Input::Begin), [Command::Start(0), Command::Start(3)]);
        assert_eq!(
            scheduler.handle(Input::Ended(0, End::Failed)),
            [Command::Skip(1, 0), Command::Skip(2, 1)]
        );
        assert!(!scheduler.is_done());
        assert_eq!(scheduler.handle(Input::Ended(3, End::Succeeded)), []);
        assert!(scheduler.is_done());
    }

    #[test]
    fn a_node_that_decides_itself_starts_after_a_failed_need() {
        let mut graph = graph(&[&[], &[0]]);
        graph.vertices[1].decides_itself = true;
        let mut scheduler = scheduler(graph, 1);
        scheduler.handle(Input::Begin);
        assert_eq!(scheduler.handle(Input::Ended(0, End::Failed)), [Command::Start(1)]);
    }

    #[test]
    fn after_orders_without_needing_success() {
        let mut graph = graph(&[&[], &[]]);
        graph.vertices[1].after = vec![0];
        let mut scheduler = scheduler(graph, 2);
        assert_eq!(scheduler.handle(Input::Begin), [Command::Start(0)]);
        assert_eq!(scheduler.handle(Input::Ended(0, End::Failed)), [Command::Start(1)]);
    }

    #[test]
    fn exclusive_nodes_run_one_at_a_time_and_let_others_pass() {
        let mut graph = graph(&[&[], &[], &[]]);
        graph.vertices[0].group = Some(7);
        graph.vertices[1].group = Some(7);
        let mut scheduler = scheduler(graph, 3);
        assert_eq!(scheduler.handle(Input::Begin), [Command::Start(0), Command::Start(2)]);
        assert_eq!(scheduler.handle(Input::Ended(0, End::Succeeded)), [Command::Start(1)]);
    }

    #[test]
    fn a_group_with_more_room_runs_so_many_at_a_time() {
        let mut graph = graph(&[&[], &[], &[], &[]]);
        graph.room.insert(7, 2);
        for node in 0..3 {
            graph.vertices[node].group = Some(7);
        }
        let mut scheduler = scheduler(graph, 4);
        let first = [Command::Start(0), Command::Start(1), Command::Start(3)];
        assert_eq!(scheduler.handle(Input::Begin), first);
        assert_eq!(scheduler.handle(Input::Ended(3, End::Succeeded)), []);
        assert_eq!(scheduler.handle(Input::Ended(1, End::Failed)), [Command::Start(2)]);
    }

    #[test]
    fn fail_fast_cancels_the_rest_of_its_own_run_only() {
        let mut graph = graph(&[&[], &[], &[]]);
        graph.fail_fast = vec![true, false];
        graph.vertices[2].run = 1;
        let mut scheduler = scheduler(graph, 1);
        assert_eq!(scheduler.handle(Input::Begin), [Command::Start(0)]);
        assert_eq!(scheduler.handle(Input::Ended(0, End::Failed)), [Command::Cancel(1), Command::Start(2)]);
    }

    #[test]
    fn stop_cancels_what_has_not_started_and_waits_for_the_rest() {
        let mut scheduler = scheduler(graph(&[&[], &[], &[0]]), 1);
        scheduler.handle(Input::Begin);
        assert_eq!(scheduler.handle(Input::Stop), [Command::Cancel(1), Command::Cancel(2)]);
        assert!(!scheduler.is_done());
        assert_eq!(scheduler.handle(Input::Ended(0, End::NotRun)), []);
        assert!(scheduler.is_done());
    }

    #[test]
    fn nodes_ended_by_an_earlier_engine_are_not_started_again() {
        let mut scheduler = scheduler(graph(&[&[], &[0], &[1]]), 1);
        assert_eq!(scheduler.handle(Input::Ended(0, End::Succeeded)), []);
        assert_eq!(scheduler.handle(Input::Begin), [Command::Start(1)]);
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_neither_recurses_nor_crawls() {
        let count = 100_000;
        let vertices = (0..count)
            .map(|node: usize| Vertex {
                needs: node.checked_sub(1).into_iter().collect(),
                weight: 1,
                ..Vertex::default()
            })
            .collect();
        let mut scheduler = scheduler(Graph { vertices, fail_fast: vec![false], ..Graph::default() }, 4);
        scheduler.handle(Input::Begin);
        let commands = scheduler.handle(Input::Ended(0, End::Failed));
        assert_eq!(commands.len(), count - 1);
        assert!(scheduler.is_done());
    }

    /// Random graphs whose edges point to earlier nodes, with random ends.
    fn cases() -> impl Strategy<Value = (Vec<Vec<NodeId>>, Vec<u8>, usize, Vec<bool>, usize)> {
        (1_usize..40).prop_flat_map(|count| {
            let needs = (0..count)
                .map(|node| proptest::collection::vec(0..node.max(1), 0..3.min(node + 1)))
                .map(|needs| needs.prop_map(|needs| needs))
                .collect::<Vec<_>>();
            (
                needs,
                proptest::collection::vec(0_u8..10, count),
                1_usize..6,
                proptest::collection::vec(any::<bool>(), count),
                0_usize..80,
            )
        })
    }

    proptest! {
        #[test]
        fn every_node_ends_once_after_its_needs_within_the_limit(
            (needs, ends, jobs, choices, stop_at) in cases()
        ) {
            let vertices: Vec<Vertex> = needs
                .iter()
                .enumerate()
                .map(|(node, needs)| {
                    let mut needs: Vec<_> = needs.iter().copied().filter(|&need| need < node).collect();
                    needs.sort_unstable();
                    needs.dedup();
                    Vertex { needs, weight: u64::from(ends[node]), group: choices[node].then_some(1), ..Vertex::default() }
                })
                .collect();
            let count = vertices.len();
            let order: Vec<_> = (0..count).collect();
            let mut scheduler =
                Scheduler::new(Graph { vertices: vertices.clone(), fail_fast: vec![false], ..Graph::default() }, &order, jobs);
            let mut ended: Vec<Option<End>> = vec![None; count];
            let mut running: Vec<NodeId> = Vec::new();
            let mut queue = scheduler.handle(Input::Begin);
            let mut stopped = false;
            for step in 0..=(2 * count + 2) {
                for command in queue.drain(..) {
                    match command {
                        Command::Start(node) => {
                            prop_assert!(!stopped);
                            prop_assert!(ended[node].is_none() && !running.contains(&node));
                            for &need in &vertices[node].needs {
                                prop_assert_eq!(ended[need], Some(End::Succeeded));
                            }
                            running.push(node);
                        }
                        Command::Skip(node, need) => {
                            prop_assert!(ended[node].is_none());
                            prop_assert!(matches!(ended[need], Some(End::Failed | End::NotRun)));
                            ended[node] = Some(End::NotRun);
                        }
                        Command::Cancel(node) => {
                            prop_assert!(stopped && ended[node].is_none());
                            ended[node] = Some(End::NotRun);
                        }
                    }
                }
                prop_assert!(running.len() <= jobs);
                prop_assert!(running.iter().filter(|&&node| choices[node]).count() <= 1);
                prop_assert_eq!(running.len(), scheduler.running());
                if running.is_empty() {
                    break;
                }
                if step == stop_at {
                    stopped = true;
                    queue = scheduler.handle(Input::Stop);
                    continue;
                }
                let node = running.remove(step % running.len());
                let end = if ends[node] == 0 { End::Failed } else { End::Succeeded };
                ended[node] = Some(end);
                queue = scheduler.handle(Input::Ended(node, end));
            }
            prop_assert!(scheduler.is_done());
            prop_assert!(ended.iter().all(Option::is_some));
        }
    }
}
