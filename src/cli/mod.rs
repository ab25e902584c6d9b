//! The command line: one file per verb. Knows how arguments become calls and how errors become exit codes.
//!
//! `env` is the only reader of the environment, `exit` names the codes, `out` prints.

pub mod answer;
pub mod apply;
pub mod bench;
mod branch;
pub mod cache;
pub mod cancel;
pub mod checkpoint;
pub mod completions;
pub mod diff;
pub mod doctor;
pub mod env;
pub mod exit;
pub mod explain;
pub mod init;
pub mod load;
pub mod logs;
pub mod lsp;
mod main;
pub mod merge;
mod node;
pub mod operations;
pub mod out;
pub mod plan;
mod prompt;
pub mod remote;
pub mod resume;
pub mod runs;
pub mod schema;
pub mod shell;
pub mod status;
pub mod validate;
pub mod why;
pub mod worktrees;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

pub use env::Env;
pub use exit::{Exit, Failure};
pub use main::main;

use crate::git::{self, Pool, RepoPath};
use crate::store::Store;

/// Declarative workflows for git repositories.
///
/// A YAML file describes a graph of nodes. Nodes that do not depend on each other run at the same time, each in its own
/// git worktree; results are cached, every stage leaves a checkpoint, and a run that was stopped is carried on.
#[derive(Debug, Parser)]
#[command(name = "spb", version, max_term_width = 100, propagate_version = false, after_help = EXAMPLES)]
pub struct Cli {
    /// Act as if started in DIR
    #[arg(short = 'C', value_name = "DIR", global = true, help_heading = "Global options", value_hint = clap::ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
    /// When to use colours; NO_COLOR is respected
    #[arg(
        long,
        value_name = "WHEN",
        global = true,
        help_heading = "Global options",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub color: When,
    #[command(subcommand)]
    pub verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  spb init                                  make a first workflow
  spb apply workflows/hello.yaml            run it
  spb apply workflows/hello.yaml            again: everything comes from the cache
  spb plan workflows/hello.yaml             what would run, and why
  spb logs hello                            what a node printed
  spb resume                                carry on with a run that was stopped
  spb approve                               say yes to what a run asks

Exit codes:
  0 all good   1 a node failed   2 invalid workflow or arguments   3 environment (git, disk, lock)
  4 waiting for approval   70 a bug in spb   130 interrupted";

/// `auto`, `always` or `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Apply(apply::Args),
    Resume(resume::Args),
    Plan(plan::Args),
    Validate(validate::Args),
    Schema(schema::Args),
    Lsp(lsp::Args),
    Runs(runs::Args),
    Status(status::Args),
    Logs(logs::Args),
    Approve(answer::ApproveArgs),
    Reject(answer::RejectArgs),
    Cancel(cancel::Args),
    Diff(diff::Args),
    Shell(shell::Args),
    Merge(merge::Args),
    Checkpoint(checkpoint::Args),
    Undo(operations::UndoArgs),
    Redo(operations::RedoArgs),
    Worktrees(worktrees::Args),
    Cache(cache::Args),
    Why(why::Args),
    Explain(explain::Args),
    Init(init::Args),
    Doctor(doctor::Args),
    Bench(bench::Args),
    Completions(completions::Args),
}

/// What every verb is given.
#[derive(Debug)]
pub struct Context {
    pub env: Env,
    /// Where the command acts: the current directory, after `-C`.
    pub directory: PathBuf,
}

impl Context {
    /// The repository that the command acts on.
    ///
    /// # Errors
    /// When there is none, or one that cannot be read.
    pub fn repository(&self) -> Result<RepoPath, Failure> {
        Ok(git::repo::discover(&self.directory)?)
    }

    /// The repository and its store, which may not exist yet. Writes nothing.
    ///
    /// # Errors
    /// When there is no repository, or the store is newer than this program.
    pub fn store(&self) -> Result<(RepoPath, Store), Failure> {
        let repository = self.repository()?;
        let store = Store::at(&repository.common_dir);
        store.check_format()?;
        Ok((repository, store))
    }

    /// Where the repository's worktrees live: a folder of its own among those of all repositories.
    ///
    /// # Errors
    /// As [`Context::pools_directory`].
    pub fn pool_directory(&self, repository: &RepoPath) -> Result<PathBuf, Failure> {
        let own = git::default_directory(repository, Path::new(""));
        let name = own.file_name().expect("a pool's directory has a name");
        Ok(self.pools_directory()?.join(name))
    }

    /// Where the worktrees of all repositories live: `$SPB_WORKTREES`, else a folder in the cache.
    ///
    /// # Errors
    /// When the environment names neither.
    pub fn pools_directory(&self) -> Result<PathBuf, Failure> {
        if let Some(worktrees) = &self.env.worktrees {
            return Ok(self.directory.join(worktrees));
        }
        let cache = self.env.cache_home.as_deref().ok_or_else(|| {
            Failure::environment("cannot tell where worktrees may live: there is no home directory")
                .with_help("set HOME, XDG_CACHE_HOME or SPB_WORKTREES")
        })?;
        Ok(cache.join("spb"))
    }

    /// The pool of the repository, made when needed. For commands that write.
    ///
    /// # Errors
    /// When its directories cannot be made.
    pub fn pool(&self, repository: &RepoPath) -> Result<Pool, Failure> {
        Ok(Pool::open(repository, self.pool_directory(repository)?)?)
    }
}

impl Verb {
    fn run(&self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Apply(args) => apply::run(args, context),
            Self::Resume(args) => resume::run(args, context),
            Self::Plan(args) => plan::run(args, context),
            Self::Validate(args) => validate::run(args, context),
            Self::Schema(args) => schema::run(args, context),
            Self::Lsp(args) => lsp::run(args, context),
            Self::Runs(args) => runs::run(args, context),
            Self::Status(args) => status::run(args, context),
            Self::Logs(args) => logs::run(args, context),
            Self::Approve(args) => answer::approve(args, context),
            Self::Reject(args) => answer::reject(args, context),
            Self::Cancel(args) => cancel::run(args, context),
            Self::Diff(args) => diff::run(args, context),
            Self::Shell(args) => shell::run(args, context),
            Self::Merge(args) => merge::run(args, context),
            Self::Checkpoint(args) => checkpoint::run(args, context),
            Self::Undo(args) => operations::undo(args, context),
            Self::Redo(args) => operations::redo(args, context),
            Self::Worktrees(args) => worktrees::run(args, context),
            Self::Cache(args) => cache::run(args, context),
            Self::Why(args) => why::run(args, context),
            Self::Explain(args) => explain::run(args, context),
            Self::Init(args) => init::run(args, context),
            Self::Doctor(args) => doctor::run(args, context),
            Self::Bench(args) => bench::run(args, context),
            Self::Completions(args) => completions::run(args, context),
        }
    }
}
