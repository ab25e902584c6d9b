//! The only loop: feeds facts to the scheduler and carries its commands out. Hits are answered here at once, without a
//! task; misses become units. An error inside the loop becomes the end of a node or of the run, never a `?`.

mod asking;
mod end;
mod inside;
mod looking;
mod takeover;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};

use super::flights::{Boarding, Flights};
use super::gate::{Gates, Patience};
use super::graph::{Expected, graph};
use super::lookup;
use super::prepare;
use super::remote;
use super::setup;
use super::signals::Signals;
use super::stages::Stages;
use super::tools;
use super::unit::{self, Done, Job};
use super::workspace::Rooms;
use super::{Ended, EngineError, Keyed, RunContext, Shared};
use crate::disk::Lock;
use crate::event::{NodeFinished, Outcome, RunEvent, RunFinished};
use crate::executor::Stop;
use crate::git::Repo;
use crate::git::tree::ReadsMemo;
use crate::host;
use crate::name::RunId;
use crate::plan::{Layer, Role};
use crate::schedule::{Command, End, Input, NodeId, Scheduler};
use crate::store::cache::Cache;
use crate::store::index;
use crate::store::recorder::{Index, Objects, RecorderThread};
use crate::store::runs::RunView;
use crate::store::uses::Uses;
use crate::workflow::model::Action;
use inside::Open;

/// Several runs on their way, with everything they need.
pub struct Dispatcher {
    shared: Arc<Shared>,
    /// Those of the runs, then those inside of nodes as they come.
    graphs: Vec<Arc<RunContext>>,
    /// By run.
    expected: Vec<Expected>,
    /// Nodes that were taken apart, while what they consist of has not ended.
    open: HashMap<NodeId, Open>,
    /// Those of which all has ended.
    closing: VecDeque<NodeId>,
    commands: VecDeque<Command>,
    rooms: Arc<Rooms>,
    memo: Arc<ReadsMemo>,
    scheduler: Scheduler,
    /// By node of all graphs.
    ended: Vec<Option<Ended>>,
    cache: Option<Cache>,
    /// Of the index, before anything was looked up.
    generation: Option<i64>,
    repo: Repo,
    units: JoinSet<Done>,
    nodes_of_units: HashMap<Id, NodeId>,
    flights: Flights,
    uses: Uses,
    stages: Stages,
    gates: Gates,
    stop: watch::Sender<Stop>,
    inputs: VecDeque<Input>,
    tools: tools::Told,
    failed: mpsc::UnboundedReceiver<String>,
    began: std::time::Instant,
    has_started_units: bool,
    /// By run: what an earlier engine did of it.
    earlier: Vec<Option<RunView>>,
    _locks: Vec<Lock>,
    thread: RecorderThread,
    uploads: Option<remote::Uploads>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct RunReport {
    pub run: RunId,
    pub finished: RunFinished,
}

/// How all runs ended, or what kept the store from recording it.
#[derive(Debug)]
pub struct Report {
    pub runs: Vec<RunReport>,
    /// Nothing after this sentence was recorded.
    pub store_failed: Option<String>,
    /// What became of results for the remote cache, where it may be written.
    pub shared: Option<remote::Left>,
}

impl Dispatcher {
    #[expect(clippy::too_many_arguments, reason = "called once, by `setup`, which made them all")]
    pub(super) fn new(
        shared: Arc<Shared>,
        rooms: Rooms,
        jobs: usize,
        earlier: Vec<Option<RunView>>,
        repo: Repo,
        locks: Vec<Lock>,
        thread: RecorderThread,
        failed: mpsc::UnboundedReceiver<String>,
        patience: Patience,
        uploads: Option<remote::Uploads>,
    ) -> Result<Self, EngineError> {
        let cache = index::open_to_read(&shared.store).ok().flatten().map(Cache::new);
        let (graph, order, expected) = graph(&shared, cache.as_ref());
        let count = graph.vertices.len();
        let dispatcher = Self {
            graphs: shared.runs.clone(),
            expected,
            open: HashMap::new(),
            closing: VecDeque::new(),
            commands: VecDeque::new(),
            scheduler: Scheduler::new(graph, &order, jobs),
            ended: vec![None; count],
            generation: cache.as_ref().and_then(Cache::generation),
            cache,
            repo,
            units: JoinSet::new(),
            nodes_of_units: HashMap::new(),
            flights: Flights::default(),
            uses: Uses::default(),
            stages: Stages::new(&shared.runs),
            gates: Gates::new(&earlier, patience),
            stop: watch::Sender::new(Stop::Run),
            inputs: VecDeque::new(),
            tools: tools::outputs(&shared),
            failed,
            began: std::time::Instant::now(),
            has_started_units: false,
            earlier,
            _locks: locks,
            thread,
            uploads,
            memo: Arc::new(ReadsMemo::default()),
            rooms: Arc::new(rooms),
            shared,
        };
        setup::warn_of_short_secrets(&dispatcher.shared);
        Ok(dispatcher)
    }

    /// The ids of its runs.
    pub fn runs(&self) -> impl Iterator<Item = &RunId> {
        self.shared.runs.iter().map(|run| &run.id)
    }

    /// Runs everything to its end.
    ///
    /// # Errors
    /// When no runtime can be made. A failed node or a full disk is part of the report.
    pub fn run(self) -> Result<Report, EngineError> {
        let runtime = super::runtime::start()?;
        // As a task of its own it is woken on the worker that ends a unit: one thread switch less for each node.
        match runtime.block_on(async { tokio::spawn(self.work()).await }) {
            Ok(report) => Ok(report),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    async fn work(mut self) -> Report {
        self.take_over();
        self.take_from_earlier_runs();
        host::orphans::adopt();
        let mut signals = Signals::listen();
        let sending = self.uploads.take().map(remote::Uploads::begin);
        let mut store_failed = None;
        self.inputs.push_back(Input::Begin);
        loop {
            self.carry_out();
            if self.is_over() {
                break;
            }
            tokio::select! {
                Some(done) = self.units.join_next_with_id() => self.unit_ended(done),
                Some(end) = self.stages.next() => self.stages.tell(&self.shared, end),
                () = self.gates.look() => self.take_answers(),
                () = signals.next() => self.stop_more(),
                Some(message) = self.failed.recv() => {
                    store_failed.get_or_insert(message);
                    self.stop_more();
                }
            }
        }
        while let Some(end) = self.stages.next().await {
            self.stages.tell(&self.shared, end);
        }
        let runs = self.finish().await;
        let answer = self.answer(&runs);
        let shared = self.last_uploads(sending, &mut signals).await;
        let Self { shared: all, rooms, thread, mut failed, uses, _locks, .. } = self;
        if !uses.is_empty() {
            all.recorder.index(Index::Uses(uses));
        }
        rooms.remove();
        if !all.recorder.flush() && store_failed.is_none() {
            // The thread that records has failed just now, and its reason is on its way.
            let reason = failed.recv().await;
            store_failed = Some(reason.unwrap_or_else(|| "the thread that records has ended".to_owned()));
        }
        // The thread ends when the last recorder is gone; a unit that was given up may still hold one.
        let store = all.store.clone();
        if Arc::try_unwrap(all).map(drop).is_ok() {
            thread.join();
        }
        if let Some(answer) = answer.filter(|_| store_failed.is_none()) {
            answer.keep(&store);
        }
        Report { runs, store_failed, shared }
    }

    /// Feeds the scheduler until it has nothing more to say.
    fn carry_out(&mut self) {
        if !self.has_more() {
            return;
        }
        self.look(Cache::look_once);
        loop {
            if let Some(command) = self.commands.pop_front() {
                match command {
                    Command::Start(node) => self.start(node),
                    Command::Skip(node, need) => self.skip(node, need),
                    Command::Cancel(node) => self.cancel(node),
                }
            } else if let Some(node) = self.closing.pop_front() {
                self.close(node);
            } else if let Some(input) = self.inputs.pop_front() {
                self.commands.extend(self.scheduler.handle(input));
            } else {
                break;
            }
        }
        self.look(Cache::look_again);
    }

    /// Something has happened that was not yet acted on.
    fn has_more(&self) -> bool {
        !self.inputs.is_empty() || !self.commands.is_empty() || !self.closing.is_empty()
    }

    fn look(&self, how: fn(&Cache)) {
        if let Some(cache) = &self.cache {
            how(cache);
        }
    }

    fn start(&mut self, node: NodeId) {
        let (graph, instance) = self.place(node);
        let run = &*graph;
        let planned = &run.plan.instances[instance];
        match prepare::condition(run, planned, &self.ended) {
            Ok(true) => {}
            Ok(false) => {
                let message = format!("its `when` is false: {}", run.plan.node(instance).when.source());
                return self.tell(node, NodeFinished::without_run(&planned.id, Outcome::Skipped, message));
            }
            Err(error) => return self.fail(node, error.to_string()),
        }
        if planned.layer != Layer::Work {
            return self.take_apart(node);
        }
        if let Action::Approve { message } = &run.plan.node(instance).action {
            return self.ask(node, message);
        }
        let tools = tools::of(run.plan.node(instance), &self.tools);
        let prepared = match prepare::prepare(run, planned, &self.ended, &tools) {
            Ok(prepared) => prepared,
            Err(error) => return self.fail(node, error.to_string()),
        };
        let heads = run.heads(planned, &self.ended);
        let keyed = lookup::keyed(run.plan.node(instance), &prepared.manifest, run, &heads);
        if let Some(finished) = self.quick_hit(run, instance, (keyed, prepared.rule), &heads) {
            return self.tell(node, finished);
        }
        let why = self.early_why(run, instance, keyed, &prepared);
        let may_be_remote = self.shared.sharing.is_some() && keyed != Keyed::Never;
        if planned.role == Role::CacheOnly && !matches!(keyed, Keyed::Quick(_)) && !may_be_remote {
            return self.fail(node, unit::only_message(&why));
        }
        if !self.has_started_units
            && let Err(error) = self.rooms.announce()
        {
            return self.fail(node, error.to_string());
        }
        self.has_started_units = true;
        if let Some(key) = keyed.first()
            && self.flights.board(key, node) == Boarding::Waits
        {
            return;
        }
        let turn = unit::ask(&self.shared, keyed);
        if let Some(finished) = self.left_since(&turn, run, instance, (keyed, prepared.rule), &heads) {
            self.flights.landed(node, true);
            return self.tell(node, finished);
        }
        let job = Job {
            turn,
            rooms: Arc::clone(&self.rooms),
            memo: Arc::clone(&self.memo),
            stop: self.stop.subscribe(),
            graph: Arc::clone(&graph),
            instance,
            prepared,
            keyed,
            given: run.given(planned, &self.ended),
            why,
            makers: if heads.len() > 1 { self.makers(run.number) } else { Vec::new() },
            heads,
            settled: Vec::new(),
            shared: Arc::clone(&self.shared),
        };
        let id = self.units.spawn(unit::run(job)).id();
        self.nodes_of_units.insert(id, node);
    }

    fn unit_ended(&mut self, ended: Result<(Id, Done), tokio::task::JoinError>) {
        let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, _)| *id);
        let Some(node) = self.nodes_of_units.remove(&id) else { return };
        let made = matches!(&ended, Ok((_, done)) if done.finished.outcome.is_success());
        match ended {
            Ok((_, done)) => self.tell_all(node, done.finished, done.index, done.objects),
            Err(error) => self.fail(node, format!("a bug in spb: {error}")),
        }
        let waited = self.flights.landed(node, made);
        if !waited.is_empty() {
            // What they waited for is in the index only after this.
            self.shared.recorder.flush();
        }
        for node in waited {
            self.start(node);
        }
    }

    fn fail(&mut self, node: NodeId, message: String) {
        let (run, instance) = self.place(node);
        let message = run.mask.apply(&message).into_owned();
        let id = &run.plan.instances[instance].id;
        let finished = NodeFinished {
            allowed_to_fail: run.plan.node(instance).allow_failure,
            ..NodeFinished::without_run(id, Outcome::Failed, message)
        };
        self.tell(node, finished);
    }

    fn tell(&mut self, node: NodeId, finished: NodeFinished) {
        self.tell_all(node, finished, Vec::new(), Objects::None);
    }

    /// Record first, then the scheduler.
    fn tell_all(&mut self, node: NodeId, finished: NodeFinished, index: Vec<Index>, objects: Objects) {
        let end = match finished.outcome {
            Outcome::Succeeded | Outcome::Cached => End::Succeeded,
            Outcome::Failed | Outcome::TimedOut => End::Failed,
            Outcome::Skipped | Outcome::Cancelled => End::NotRun,
        };
        let (run, _) = self.place(node);
        let may_fail = finished.allowed_to_fail || run.outer.as_ref().is_some_and(|outer| outer.may_fail);
        let ends_run = end == End::Failed && run.options.fail_fast && !may_fail;
        self.record(node, finished, index, objects);
        self.inputs.push_back(Input::Ended(node, end));
        if ends_run {
            self.stop_asking(Some(run.number), "another node failed");
        }
    }

    fn record(&mut self, node: NodeId, finished: NodeFinished, index: Vec<Index>, objects: Objects) {
        let journal = self.place(node).0.journal;
        let ended = unit::seen(&finished);
        self.uses.note(&finished);
        self.shared.recorder.fact(journal, RunEvent::NodeFinished(Box::new(finished)), index, objects);
        self.note_end(node, ended);
    }

    fn note_end(&mut self, node: NodeId, ended: Ended) {
        self.ended[node] = Some(ended);
        let (run, instance) = self.place(node);
        if let Some(outer) = &run.outer {
            return self.inner_ended(outer.node);
        }
        for stage in self.stages.node_ended(run.number, run.plan.node(instance).stage) {
            self.checkpoint(run.number, stage);
        }
    }

    /// The first time politely, then at once.
    fn stop_more(&mut self) {
        let next = if *self.stop.borrow() == Stop::Run { Stop::Polite } else { Stop::Now };
        self.stop.send_replace(next);
        self.inputs.push_back(Input::Stop);
        self.stop_asking(None, "the run was stopped");
    }

    /// The graph of a node, and its position in the plan of that.
    fn place(&self, node: NodeId) -> (Arc<RunContext>, usize) {
        let at = self.graphs.partition_point(|graph| graph.first <= node) - 1;
        let graph = &self.graphs[at];
        (Arc::clone(graph), node - graph.first)
    }
}
