//! How the command ends: the exit codes, and the failure that a person reads. Knows how the errors of the other modules
//! map to codes; prints nothing.

use std::process::ExitCode;

use crate::disk::DiskError;
use crate::engine::EngineError;
use crate::event::RunOutcome;
use crate::git::GitError;
use crate::report::next;
use crate::store::StoreError;
use crate::store::runs::FindError;

/// What the process exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything that was asked for is done.
    Done = 0,
    /// A node failed.
    NodeFailed = 1,
    /// The workflow or the arguments are invalid; nothing was touched.
    Invalid = 2,
    /// Git, the disk, a lock or another part of the environment failed.
    Environment = 3,
    /// The run waits for a person's approval.
    Waiting = 4,
    /// A bug in spb (`EX_SOFTWARE` of `sysexits.h`).
    Bug = 70,
    /// Stopped by a signal or `spb cancel` (128 + `SIGINT`).
    Interrupted = 130,
}

impl Exit {
    /// What a finished run means for the exit code.
    pub fn of_run(outcome: RunOutcome) -> Self {
        match outcome {
            RunOutcome::Succeeded => Self::Done,
            RunOutcome::Failed => Self::NodeFailed,
            RunOutcome::Cancelled => Self::Interrupted,
            RunOutcome::Waiting => Self::Waiting,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do what it was asked for: printed as `error: ...` and `help: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    /// Lower case, no full stop. Empty: nothing is printed.
    pub message: String,
    /// The next step.
    pub help: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: None }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Exit::Invalid, message)
    }

    pub fn environment(message: impl Into<String>) -> Self {
        Self::new(Exit::Environment, message)
    }

    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Exit::Bug, message)
    }

    /// Ends the command without a word: the reason was told already, or nobody listens.
    pub fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        let exit = match error {
            GitError::UnknownRevision(_) | GitError::BadPattern { .. } => Exit::Invalid,
            _ => Exit::Environment,
        };
        Self { exit, message: error.to_string(), help: error.help() }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let help = match &error {
            StoreError::Damaged { .. } | StoreError::Index { .. } => {
                Some("`spb doctor` says what can be done".to_owned())
            }
            StoreError::Disk(_) | StoreError::Newer { .. } => None,
        };
        Self { exit: Exit::Environment, message: error.to_string(), help }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::Disk(error) => error.into(),
            EngineError::Git(error) => error.into(),
            EngineError::Expression(error) => Self::invalid(error.to_string()),
            EngineError::SecretInput(_) => Self::invalid(error.to_string())
                .with_help("name the variable under `secrets` only: nodes find it in their environment"),
            EngineError::Branch(_) => Self::invalid(error.to_string())
                .with_help("see `git help check-ref-format`; inputs in it may need a `pattern`"),
            EngineError::Unknown { ref run, ref nodes, .. } => {
                let all = |answer| next::assume(run, nodes.iter().map(String::as_str), answer);
                let help = format!(
                    "find out what happened, then `{}`, which takes it for done, or `{}`, which runs it again",
                    all("done"),
                    all("again")
                );
                Self::environment(error.to_string()).with_help(help)
            }
            EngineError::NotAsked { .. } => Self::invalid(error.to_string()),
            EngineError::Remote(_) => Self::environment(error.to_string())
                .with_help("docs/cache.md lists the settings; without `SPB_REMOTE_CACHE` nothing is shared"),
            EngineError::Busy(..) => Self::environment(error.to_string()),
            EngineError::Runtime(_) => Self::environment(error.to_string()).with_help(
                "allow more processes and threads: `ulimit -u`, a cgroup's `pids.max`; then the same command again",
            ),
            EngineError::OpenFiles { .. } => {
                Self::environment(error.to_string()).with_help("allow more: `ulimit -n 1024`")
            }
        }
    }
}

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Self {
        Self::environment(error.to_string())
    }
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        let help = match &error {
            FindError::None => "start one with `spb apply FILE`",
            FindError::Unknown(_) => "`spb runs` lists them",
            FindError::Ambiguous(..) => "give more of the id",
        };
        Self::invalid(error.to_string()).with_help(help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_words_and_get_the_code_of_their_kind() {
        let failure = Failure::from(GitError::UnknownRevision("mian".to_owned()));
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Invalid, "unknown revision \"mian\""));
        let failure = Failure::from(FindError::Unknown("zz".to_owned()));
        assert_eq!(failure.help.as_deref(), Some("`spb runs` lists them"));
        assert_eq!(Exit::of_run(RunOutcome::Cancelled) as u8, 130);
    }
}
