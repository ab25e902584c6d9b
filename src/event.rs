//! Everything a reader may learn of a run: the one event enum that the journal stores, `--events ndjson` prints
//! and every report consumes. Knows nothing of who produces or who shows it.
//!
//! The journal *is* the event stream, so these types carry their own stored form; each stored line is one
//! [`Record`] (`store::journal` adds the checksum).

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::RunId;

/// Version of the stored form of [`Record`]. A reader refuses a newer one by name, and reads all older ones.
///
/// 2 has [`RunEvent::ApprovalAsked`] and [`RunOutcome::Waiting`], 3 has [`RunStarted::repeats`].
pub const FORMAT: u32 = 3;

/// One fact of one run, in the order it became durable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub run: RunId,
    /// 1, 2, 3 ... within the run.
    pub seq: u64,
    /// Wall clock, RFC 3339 in UTC with milliseconds. For people: durations come from a monotonic clock.
    pub time: String,
    pub event: RunEvent,
}

/// What happened. Serialised as `{"event": "node_finished", "node": "build", ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    RunStarted(Box<RunStarted>),
    /// Another engine carries on with a run that stopped.
    RunResumed {
        engine: Engine,
        /// Nodes that are finished and stay so.
        finished: usize,
        /// External effects of unknown outcome that a person said are done.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        assumed: Vec<NodeFinished>,
        /// Those that a person said are to happen again.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        again: Vec<String>,
    },
    /// The node is about to run. Its process is noted apart, in `store::processes`, the moment it exists.
    NodeStarted {
        node: String,
        /// 1 for the first try.
        attempt: u32,
        /// Why it was not taken from the cache, in plain words: `never run before`, `src/lib.rs changed`.
        why: String,
    },
    /// What the node needs does not merge, and an agent settles it first.
    NodeSettling {
        node: String,
        agent: String,
        /// At most [`MAX_CHANGED_LISTED`].
        files: Vec<String>,
    },
    /// An attempt failed and another will follow.
    NodeRetry {
        node: String,
        attempt: u32,
        delay_ms: u64,
        because: String,
    },
    /// A gate asks a person. The answer is a file of its own, `store::decisions`, until the node's end is recorded.
    ApprovalAsked {
        node: String,
        /// 1 for its first question. An engine that carries on puts the same question under the same number again; one
        /// that was answered, or is about something else by now, counts on.
        number: u32,
        message: String,
        /// Digest of what the answer holds for, the question and the commits that the gate hands on, hexadecimal.
        about: String,
        /// From then on nobody can answer any more, RFC 3339.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<String>,
    },
    NodeFinished(Box<NodeFinished>),
    /// A node was taken apart: the items of its `for_each`, the next round of its `loop`, or the nodes of the workflow
    /// that it uses. It ends when they have.
    NodeExpanded {
        node: String,
        /// In topological order.
        into: Vec<NodeSummary>,
        /// Of a `loop`, from 1: the rounds before it stay a part of the node.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        round: Option<u32>,
    },
    /// Every node of a stage has ended.
    StageFinished {
        stage: String,
        /// The commit of everything merged so far; absent where the results do not merge or nothing is there to merge.
        commit: Option<String>,
        /// Why there is no commit.
        note: Option<String>,
    },
    Warning {
        node: Option<String>,
        message: String,
    },
    RunFinished(RunFinished),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// [`FORMAT`] of the engine that wrote this journal.
    pub format: u32,
    pub version: String,
    pub workflow: String,
    /// The workflow file as the user named it.
    pub file: String,
    /// BLAKE3 of its text, hexadecimal; the text itself is kept in the store, so that a resume runs the same graph.
    pub source: String,
    /// The files that it includes and uses, by the paths under which they were found, each with the BLAKE3 of its text.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub further_sources: IndexMap<String, String>,
    /// Commit that the run starts from, hexadecimal.
    pub base: String,
    /// The revision that named it, such as `HEAD`.
    pub base_revision: String,
    pub inputs: IndexMap<String, Value>,
    pub jobs: usize,
    /// In topological order. Empty for a run that repeats another one, which has them.
    pub nodes: Vec<NodeSummary>,
    pub stages: Vec<String>,
    pub options: Options,
    pub engine: Engine,
    /// What this run says of its nodes is what an earlier one said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Box<Repeats>>,
}

/// The facts that a run takes from an earlier one of which all results came from the cache. They lie in the run's own folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeats {
    /// The run that recorded them.
    pub run: RunId,
    /// Bytes of them, and their BLAKE3, hexadecimal.
    pub length: u64,
    pub sum: String,
    /// How many nodes there are, and how many of them came from the cache; all others were skipped.
    pub nodes: usize,
    pub cached: usize,
    /// What the cached ones took when they were made, milliseconds.
    pub saved_ms: u64,
}

/// One node instance of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeSummary {
    pub node: String,
    pub stage: String,
    /// Instances named in `needs` and `after`.
    pub needs: Vec<String>,
    /// Its effect cannot be undone nor repeated at will.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// Of a node inside of another: a digest of all that it is given, so that a resume keeps its result only while that
    /// is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<String>,
}

/// What the command line chose for a run: a resume keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Only this node and what it needs.
    pub until: Option<String>,
    /// Only these nodes.
    pub only: Vec<String>,
    /// Look nothing up in the cache.
    pub fresh: bool,
    pub fail_fast: bool,
}

/// The process that runs a run. Alive only if a process of this id, boot and start time exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    pub process: Process,
    pub host: String,
}

/// A process that cannot be mistaken for a later one with the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// Start time in clock ticks since boot (Linux) or seconds since the epoch elsewhere.
    pub started: u64,
    /// Identity of the machine's current boot.
    pub boot: String,
}

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ran and everything it promised is there.
    Succeeded,
    /// An earlier result was taken.
    Cached,
    /// It ran and failed, or what it promised is missing, or its base does not merge.
    Failed,
    TimedOut,
    /// Never started: a need did not succeed, or its `when` is false.
    Skipped,
    /// The run was stopped while it ran or before it could start.
    Cancelled,
}

impl Outcome {
    /// Its result may be used by dependents.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Succeeded | Self::Cached)
    }

    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }

    /// The word that people and `needs.<node>.status` read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Cached => "cached",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeFinished {
    pub node: String,
    pub outcome: Outcome,
    /// Attempts made; 0 when nothing ran.
    pub attempts: u32,
    /// Wall time of the node's process, milliseconds; 0 when nothing ran.
    pub duration_ms: u64,
    /// For a cached node: what its run took, which this one did not have to spend.
    pub saved_ms: u64,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// Why it failed, was skipped or cancelled, in one sentence; why it was cached or not, otherwise.
    pub message: String,
    pub allowed_to_fail: bool,
    /// Content key and quick key, hexadecimal; absent for nodes that are never cached.
    pub key: Option<String>,
    pub quick_key: Option<String>,
    /// Tree it ran on, hexadecimal; absent when it saw no files or nothing ran.
    pub base_tree: Option<String>,
    pub result: Option<NodeResult>,
    /// Where its log is: the run and node whose process wrote it, which for a cached node are earlier ones.
    pub log: Option<LogPlace>,
    pub usage: Usage,
    /// Of a cached one: its result came from the remote cache.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remote: bool,
}

impl NodeFinished {
    /// The record of a node of which no process ran: everything else is for those that did.
    pub fn without_run(node: &str, outcome: Outcome, message: impl Into<String>) -> Self {
        Self {
            node: node.to_owned(),
            outcome,
            attempts: 0,
            duration_ms: 0,
            saved_ms: 0,
            exit_code: None,
            signal: None,
            message: message.into(),
            allowed_to_fail: false,
            key: None,
            quick_key: None,
            base_tree: None,
            result: None,
            log: None,
            usage: Usage::default(),
            remote: false,
        }
    }
}

/// What a node leaves for its dependents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeResult {
    /// The node's own commit; absent when it changed nothing.
    pub commit: Option<String>,
    /// Commits of the node below that one, along first parents: 0 unless it committed itself. Its base is before them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub commits_below: usize,
    /// Commits that a dependent starts from, to be merged in order: `[commit]`, or those of its needs.
    pub heads: Vec<String>,
    /// Paths that the commit changed, at most [`MAX_CHANGED_LISTED`].
    pub changed: Vec<String>,
    /// All of them.
    pub changed_total: usize,
    pub outputs: IndexMap<String, Value>,
    pub artifacts: Vec<Artifact>,
}

impl NodeResult {
    /// How many first parents lead from `commit` to what the node started from.
    pub fn commits(&self) -> usize {
        self.commits_below + 1
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// How many changed paths a record lists.
pub const MAX_CHANGED_LISTED: usize = 1000;

/// A file that git ignores and that belongs to a node's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// Relative to the worktree, `/` between parts.
    pub path: String,
    /// BLAKE3 of the content, hexadecimal.
    pub digest: String,
    pub size: u64,
    pub executable: bool,
    /// Of a symlink, where it leads: then nothing is stored, and the digest is that of these words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogPlace {
    pub run: RunId,
    pub node: String,
}

/// What the node's processes used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    pub cpu_ms: u64,
    /// Largest resident size of one process, bytes.
    pub peak_memory: u64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    Succeeded,
    Failed,
    /// Stopped by a signal or `spb cancel`; `spb resume` carries on.
    Cancelled,
    /// Nothing is left to do but what needs a person's answer; `spb resume` carries on after it.
    Waiting,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFinished {
    pub outcome: RunOutcome,
    pub duration_ms: u64,
    /// The branch that holds the result; absent when nothing changed or the run did not succeed.
    pub branch: Option<String>,
    pub commit: Option<String>,
    /// What a person should know of the result: why there is no branch, or what to type.
    pub message: String,
}

/// What happens too often or too briefly to be kept: shown live, never stored.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveEvent {
    /// One line that a node wrote, masked, without its line end, raw otherwise.
    Output { node: String, line: String },
    /// Nothing runs any more in this process, which stays for the answers to what the run asks.
    OnlyAsks,
}
