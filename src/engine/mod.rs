//! Runs plans: one dispatcher loop, one unit per node. Tells everything through the recorder and knows nothing of how it
//! is shown.

pub mod audit;
pub mod base;
pub mod collect;
pub mod copies;
pub mod dispatcher;
pub mod evict;
pub mod export;
pub mod finish;
mod flights;
pub mod foresee;
pub mod gate;
mod graph;
pub mod inner;
pub mod keep;
pub mod lookup;
pub mod prepare;
pub mod presence;
pub mod refs;
pub mod remote;
pub mod repeat;
mod runtime;
pub mod setup;
mod signals;
mod stages;
mod tools;
pub mod unit;
pub mod unknown;
mod why;
pub mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use indexmap::IndexMap;

use crate::digest::Digest;
use crate::event::{Artifact, NodeResult, Options, Outcome};
use crate::executor::mask::Mask;
use crate::git::Pool;
use crate::git::{CommitId, RepoPath, TreeId};
use crate::name::RunId;
use crate::plan::{Instance, Plan};
use crate::schedule::NodeId;
use crate::store::Store;
use crate::store::processes::ProcessList;
use crate::store::recorder::{Notice, Recorder};
use crate::workflow::expr::Scope;
use crate::workflow::model::Workflow;

/// An engine that cannot start or go on, with a sentence for a person. A failed node is not one of these.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error(transparent)]
    Disk(#[from] crate::disk::DiskError),
    #[error(transparent)]
    Git(#[from] crate::git::GitError),
    #[error(transparent)]
    Expression(#[from] crate::workflow::expr::ExprError),
    #[error("`result.branch` gives `{0}`, which is no name for a branch")]
    Branch(String),
    #[error("input `{0}` holds a secret; inputs are stored and shown, secrets never are")]
    SecretInput(String),
    #[error("run {0} is being run by another spb (process {1}); wait for it, or `spb cancel {0}`")]
    Busy(RunId, u32),
    /// The external effects of these nodes began and nobody knows how they ended; `alive` are processes of the run that
    /// still work.
    #[error("run {run} cannot go on by itself: whether the external effect of {} came about is unknown{}", named(.nodes), still(.alive))]
    Unknown { run: RunId, nodes: Vec<String>, alive: Vec<u32> },
    #[error("`{node}` of run {run} takes no answer: {}", open_questions(.unknown))]
    NotAsked { run: RunId, node: String, unknown: Vec<String> },
    #[error("the remote cache: {0}")]
    Remote(#[from] crate::remote::RemoteError),
    #[error("cannot start the threads that a run needs: {0}")]
    Runtime(std::io::Error),
    #[error("no more than {limit} files may be open, and a run needs {needed}")]
    OpenFiles { limit: u64, needed: u64 },
}

fn named(nodes: &[String]) -> String {
    nodes.iter().map(|node| format!("`{node}`")).collect::<Vec<_>>().join(", ")
}

fn still(alive: &[u32]) -> String {
    match alive {
        [] => String::new(),
        [first, ..] => format!(" (its process {first} still works)"),
    }
}

fn open_questions(unknown: &[String]) -> String {
    match unknown {
        [] => "no node of the run has an unknown outcome".to_owned(),
        some => format!("only the outcome of {} is unknown", named(some)),
    }
}

/// What the whole process shares, for all its runs. Never changes after the start.
#[derive(Debug)]
pub struct Shared {
    pub store: Store,
    pub repo: RepoPath,
    /// Absent when spb only looks ahead: then nothing may be written.
    pub pool: Option<Pool>,
    /// Given to nodes as `$SPB_CACHE_DIR`.
    pub cache_directory: PathBuf,
    /// The small environment that every process gets.
    pub base_env: Vec<(OsString, OsString)>,
    /// The graph of each run as its file has it; those inside of nodes come later, and the dispatcher has them.
    pub runs: Vec<Arc<RunContext>>,
    pub recorder: Recorder,
    pub listener: Sender<Notice>,
    /// The remote cache, if there is one.
    pub sharing: Option<remote::Sharing>,
}

/// One graph of a run on its base: the run's own, or one that a node of it was taken apart into.
#[derive(Debug)]
pub struct RunContext {
    pub id: RunId,
    /// Position of the run among those of this process.
    pub number: usize,
    /// The workflow of the run: its name, `worktrees` and `result` count for all of its graphs.
    pub workflow: Arc<Workflow>,
    pub plan: Arc<Plan>,
    pub base: CommitId,
    pub base_tree: TreeId,
    /// As it was named.
    pub base_revision: String,
    pub options: Options,
    /// `env` of the workflow, rendered.
    pub env: IndexMap<String, String>,
    /// `pass_env` as found: `None` where the caller has no such variable.
    pub pass_env: Vec<(String, Option<OsString>)>,
    pub caller: Arc<Caller>,
    /// Files of `worktrees.copy` as they were when the run began.
    pub copies: Arc<[copies::Copied]>,
    pub mask: Arc<Mask>,
    /// `inputs`, `env` and `run`, for expressions.
    pub scope: Scope,
    /// Branch that will hold the result.
    pub branch: String,
    /// Position of its journal in the recorder.
    pub journal: usize,
    /// Absent when spb only looks ahead.
    pub processes: Option<Arc<ProcessList>>,
    /// Position of its first node among the nodes of all graphs.
    pub first: usize,
    /// Absent for the run's own graph.
    pub outer: Option<Outer>,
    /// The earlier run that this one repeats.
    pub repeat: Option<repeat::Repeat>,
    /// What was asked, if the answer may be kept for the next time.
    pub remember: Option<repeat::Question>,
}

/// The variables of the caller's environment that some workflow of the run asks for.
#[derive(Debug, Default)]
pub struct Caller {
    pub pass_env: Vec<(String, Option<OsString>)>,
    pub secrets: Vec<(String, OsString)>,
}

/// What a graph inside of a node starts from.
#[derive(Clone, Debug)]
pub struct Outer {
    /// The node that was taken apart, among the nodes of all graphs.
    pub node: NodeId,
    /// Stage of that node in the run's workflow.
    pub stage: usize,
    /// What its nodes start from that need no other one in it.
    pub heads: Vec<String>,
    pub given: Vec<Artifact>,
    /// Its nodes are that node itself, and read the names that it reads.
    pub is_same_node: bool,
    /// A failure inside is a failure of a node that may fail.
    pub may_fail: bool,
    /// A digest of the names that its nodes read, but for `item` and `loop`.
    pub names: Digest,
    /// Of a `loop`, from 1; 0 for everything else.
    pub round: u32,
}

impl RunContext {
    /// Commits that a node starts from, in order.
    pub fn heads(&self, instance: &Instance, ended: &[Option<Ended>]) -> Vec<String> {
        let heads = base::distinct(self.done(instance, ended).flat_map(|need| &need.result.heads));
        match &self.outer {
            Some(outer) if heads.is_empty() => outer.heads.clone(),
            _ => heads,
        }
    }

    /// Artifacts that a node finds in its workspace.
    pub fn given(&self, instance: &Instance, ended: &[Option<Ended>]) -> Vec<Artifact> {
        match &self.outer {
            Some(outer) if instance.needs.is_empty() => outer.given.clone(),
            _ => self.done(instance, ended).flat_map(|need| need.result.artifacts.iter().cloned()).collect(),
        }
    }

    /// Its needs that succeeded.
    fn done<'e>(
        &self,
        instance: &'e Instance,
        ended: &'e [Option<Ended>],
    ) -> impl Iterator<Item = &'e Ended> + use<'e> {
        let first = self.first;
        let needed = instance.needed().filter_map(move |need| ended[first + need].as_ref());
        needed.filter(|need| need.gives())
    }

    /// Position of a node's stage in the run's workflow.
    pub fn stage(&self, instance: usize) -> usize {
        self.outer.as_ref().map_or_else(|| self.plan.node(instance).stage, |outer| outer.stage)
    }

    pub fn is_same_node(&self) -> bool {
        self.outer.as_ref().is_some_and(|outer| outer.is_same_node)
    }
}

/// How a node ended, as its dependents see it.
#[derive(Clone, Debug)]
pub struct Ended {
    pub outcome: Outcome,
    pub result: Arc<NodeResult>,
    pub duration_ms: u64,
    /// Its commit, if any, was made by this run: nothing older keeps it.
    pub is_new: bool,
}

impl Ended {
    /// Dependents start from its results: it succeeded, or it may fail and some of its items succeeded.
    pub fn gives(&self) -> bool {
        self.outcome.is_success() || self.outcome.is_failure() && !self.result.heads.is_empty()
    }
}

/// What the key of a node covers, once its expressions have values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyed {
    /// Neither looked up nor saved.
    Never,
    /// It sees no files: one key says all.
    Fileless(Digest),
    /// It sees files: this key covers the commits it starts from.
    Quick(Digest),
}

impl Keyed {
    /// The key that is looked at first.
    pub fn first(self) -> Option<Digest> {
        match self {
            Self::Never => None,
            Self::Fileless(key) | Self::Quick(key) => Some(key),
        }
    }
}
