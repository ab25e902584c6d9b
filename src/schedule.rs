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
    /// It starts as soon as it may, whatever runs: a person works on it, or the nodes that it is taken apart into. It ends as
    /// any other; `Stop` and fail-fast leave that to whoever started it.
    pub takes_no_job: bool,
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
    /// Started, and takes no job.
    Parked,
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
    /// Ready nodes that take no job.
    free: Vec<NodeId>,
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
            free: Vec::new(),
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
            Input::Stop => {
                self.stopped = true;
                self.cancel_where(&mut commands, 0..self.states.len(), |_| true);
            }
        }
        self.start_ready(&mut commands);
        commands
    }

    /// Adds the graph that a started node has been taken apart into. Its nodes come after all that are there, they need
    /// only each other, and `order` lists them all, needs first; those in `ended` have ended already.
    pub fn grow(
        &mut self,
        inside: NodeId,
        vertices: Vec<Vertex>,
        order: &[NodeId],
        ended: &[(NodeId, End)],
    ) -> Vec<Command> {
        let first = self.states.len();
        let all = first..first + vertices.len();
        self.dependents.resize(all.end, Vec::new());
        self.open += vertices.len();
        for (node, vertex) in all.clone().zip(vertices) {
            for &before in vertex.needs.iter().chain(&vertex.after) {
                self.dependents[before].push(node);
            }
            self.states.push(State::Waiting(vertex.needs.len() + vertex.after.len()));
            self.graph.vertices.push(vertex);
        }
        // Whoever waits for the node waits for all of them.
        let behind = self.remaining[inside];
        self.remaining.resize(all.end, 0);
        for &node in order.iter().rev() {
            let rest = self.dependents[node].iter().map(|&next| self.remaining[next]).max().unwrap_or(behind);
            self.remaining[node] = rest + self.graph.vertices[node].weight;
        }
        let mut commands = Vec::new();
        let begun = std::mem::replace(&mut self.begun, false);
        for &(node, end) in ended {
            self.settle(node, end, &mut commands);
        }
        self.begun = begun;
        if self.stopped || self.stopped_runs[self.graph.vertices[inside].run] {
            self.cancel_where(&mut commands, all, |_| true);
        } else if self.begun {
            all.for_each(|node| self.decide_if_free(node, &mut commands));
        }
        self.start_ready(&mut commands);
        commands
    }

    /// Nothing is left to wait for.
    pub fn is_done(&self) -> bool {
        self.open == 0
    }

    /// Nodes that take a job each.
    pub fn running(&self) -> usize {
        self.running
    }

    fn begin(&mut self, commands: &mut Vec<Command>) {
        self.begun = true;
        (0..self.states.len()).for_each(|node| self.decide_if_free(node, commands));
    }

    fn decide_if_free(&mut self, node: NodeId, commands: &mut Vec<Command>) {
        if self.states[node] == State::Waiting(0) {
            self.decide(node, commands);
        }
    }

    fn ended(&mut self, node: NodeId, end: End, commands: &mut Vec<Command>) {
        match self.states[node] {
            State::Ended(_) => return,
            State::Running => self.give_back(node),
            State::Waiting(_) | State::Ready | State::Parked => {}
        }
        self.settle(node, end, commands);
        let run = self.graph.vertices[node].run;
        let fails_run = end == End::Failed && !self.graph.vertices[node].may_fail;
        if fails_run && self.graph.fail_fast[run] && !self.stopped_runs[run] {
            self.stopped_runs[run] = true;
            self.cancel_where(commands, 0..self.states.len(), |vertex| vertex.run == run);
        }
    }

    /// The job of a node that no longer runs, and its place in its group.
    fn give_back(&mut self, node: NodeId) {
        self.running -= 1;
        if let Some(number) = self.graph.vertices[node].group {
            self.release(number);
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
        if self.graph.vertices[node].takes_no_job {
            self.free.push(node);
            return;
        }
        self.ready.push((self.remaining[node], Reverse(node)));
    }

    fn cancel_where(
        &mut self,
        commands: &mut Vec<Command>,
        among: std::ops::Range<NodeId>,
        matches: impl Fn(&Vertex) -> bool,
    ) {
        for node in among {
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
        for node in std::mem::take(&mut self.free) {
            if self.states[node] == State::Ready {
                self.states[node] = State::Parked;
                commands.push(Command::Start(node));
            }
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
mod tests;
