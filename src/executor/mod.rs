//! Where a node's process runs. Knows nothing of keys, caches or merges.

pub mod clean;
mod countdown;
pub mod local;
pub mod mask;
mod output;
mod pipes;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Usage;
use crate::executor::mask::Mask;

/// One process to run to its end.
#[derive(Clone, Debug)]
pub struct Task {
    /// Program and arguments. A program without `/` is looked up in the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The whole environment: nothing is inherited. `SPB_RUN` and `SPB_NODE` in it are what finds processes that
    /// escape.
    pub env: Vec<(OsString, OsString)>,
    pub directory: PathBuf,
    /// Running time, without time in which the machine or the engine was suspended.
    pub timeout: Option<Duration>,
    /// From the polite signal to the kill; [`Task::GRACE`] unless the user says otherwise.
    pub grace: Duration,
    /// Everything written, masked. Appended; created (with its directory) at the first byte.
    pub log: PathBuf,
    /// An unmasked copy of standard output alone, made anew. Costs a second pipe: the order of the two streams in the
    /// log is then only roughly kept.
    pub stdout_file: Option<PathBuf>,
    pub mask: Arc<Mask>,
}

impl Task {
    pub const GRACE: Duration = Duration::from_secs(10);
}

/// What the engine wants of running tasks. Only ever rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    #[default]
    Run,
    /// TERM, and KILL after the grace.
    Polite,
    /// KILL.
    Now,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    TimedOut,
    Stopped,
    /// Why, and what to do: one line.
    NotStarted(String),
}

/// What a task left.
#[derive(Clone, Debug)]
pub struct Finished {
    pub ended: Ended,
    /// From start to the exit of the leader.
    pub duration: Duration,
    /// The last of the masked output, at most [`TAIL`] bytes, whole lines where there are any.
    pub tail: String,
    /// There was more than the tail holds.
    pub truncated: bool,
    /// Bytes written to the log by this task.
    pub log_bytes: u64,
    /// The log is incomplete: why, with its path.
    pub log_error: Option<String>,
    /// The copy of standard output is incomplete: why, with its path.
    pub stdout_error: Option<String>,
    /// Processes that left the task's session and were found holding its output; they were killed.
    pub escaped: usize,
    /// It was killed, and the kernel has killed something for want of memory meanwhile: most likely this.
    pub out_of_memory: bool,
    pub usage: Usage,
}

/// Largest tail, bytes.
pub const TAIL: usize = 64 * 1024;

impl Finished {
    pub fn without_process(ended: Ended) -> Self {
        Self {
            ended,
            duration: Duration::ZERO,
            tail: String::new(),
            truncated: false,
            log_bytes: 0,
            log_error: None,
            stdout_error: None,
            escaped: 0,
            out_of_memory: false,
            usage: Usage::default(),
        }
    }
}
