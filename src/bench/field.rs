//! The throw-away repository that everything is measured in, and one run of the engine in it. Nothing outside of its
//! temporary directory is touched; dropping it removes everything.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use indexmap::IndexMap;

use super::BenchError;
use crate::disk::{self, DiskError, Durability};
use crate::engine::gate::Patience;
use crate::engine::setup::{self, Request, Settings};
use crate::event::{NodeFinished, Options, Outcome, RunEvent, RunOutcome};
use crate::git::{self, CommitId, Pool, Repo, RepoPath, command};
use crate::name::RunId;
use crate::plan::{Plan, Selection, cycle};
use crate::store::recorder::Notice;
use crate::workflow;

/// Files of the repository that a lease brings up.
pub const FILES: usize = 200;

/// The repository with its own pool.
#[derive(Debug)]
pub struct Field {
    directory: tempfile::TempDir,
    pub repo: RepoPath,
    pub base: CommitId,
    base_env: Vec<(OsString, OsString)>,
}

/// What one run of the engine took and did.
#[derive(Debug)]
pub struct Ran {
    /// From reading the workflow files to the last durable record, milliseconds.
    pub wall_ms: f64,
    /// Nodes whose process was started.
    pub started: usize,
    /// Most nodes between their start and their end at the same time, by the order of the journal.
    pub peak: usize,
    pub ended: Vec<(RunId, NodeFinished)>,
}

impl Field {
    /// Makes it in the system's temporary directory.
    ///
    /// # Errors
    /// When git or the disk fails.
    pub fn new(base_env: Vec<(OsString, OsString)>) -> Result<Self, BenchError> {
        let fail = |source| DiskError::new("make a directory in", &std::env::temp_dir(), source);
        let directory = tempfile::Builder::new().prefix("spb-bench-").tempdir().map_err(fail)?;
        let root = directory.path().join("repository");
        for at in 0..FILES {
            let folder = root.join(format!("src/{}", at % 20));
            disk::create_directory(&folder)?;
            let text = format!("{at}\n").repeat(200);
            disk::replace(&folder.join(format!("{at}.txt")), text.as_bytes(), Durability::Crash)?;
        }
        let git = |arguments: &[&str]| command::run(command::git(&root), arguments);
        git(&["init", "-q"])?;
        for (name, value) in [
            ("user.name", "spb"),
            ("user.email", "spb@localhost"),
            ("commit.gpgsign", "false"),
            ("core.autocrlf", "false"),
            ("gc.auto", "0"),
        ] {
            git(&["config", name, value])?;
        }
        git(&["add", "-A"])?;
        git(&["commit", "-q", "-m", "base"])?;
        let repo = git::repo::discover(&root)?;
        let base = Repo::open(&repo)?.resolve("HEAD")?;
        Ok(Self { directory, repo, base, base_env })
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    fn pool_directory(&self) -> PathBuf {
        self.root().join("pool")
    }

    /// # Errors
    /// When its directories cannot be made.
    pub fn pool(&self) -> Result<Pool, BenchError> {
        Ok(Pool::open(&self.repo, self.pool_directory())?)
    }

    /// Puts a workflow file beside the repository.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, BenchError> {
        let path = self.root().join(name);
        disk::replace(&path, text.as_bytes(), Durability::Crash)?;
        Ok(path)
    }

    /// Runs workflow files in one engine, as `spb apply` does.
    ///
    /// # Errors
    /// When a node does not succeed, the run is interrupted, or the engine fails.
    pub fn run(&self, files: &[PathBuf], jobs: usize) -> Result<Ran, BenchError> {
        let (listener, notices) = channel();
        let began = Instant::now();
        let requests = files.iter().map(|file| self.request(file)).collect::<Result<Vec<_>, _>>()?;
        let pool_directory = self.pool_directory();
        let settings = Settings {
            repo: self.repo.clone(),
            cache_directory: pool_directory.join("cache"),
            pool_directory,
            base_env: self.base_env.clone(),
            environment: Vec::new(),
            jobs: Some(jobs),
            auto_jobs: false,
            patience: Patience::none(),
            listener,
            sharing: None,
        };
        let report = setup::start(settings, requests)?.run()?;
        let wall_ms = began.elapsed().as_secs_f64() * 1000.0;
        if let Some(reason) = report.store_failed {
            return Err(BenchError::Unrecorded(reason));
        }
        if report.runs.iter().any(|run| run.finished.outcome == RunOutcome::Cancelled) {
            return Err(BenchError::Interrupted);
        }
        let ran = told(wall_ms, &notices);
        match ran.ended.iter().find(|(_, node)| !node.outcome.is_success()) {
            Some((_, node)) => Err(BenchError::Node(node.node.clone(), node.message.clone())),
            None => Ok(ran),
        }
    }

    fn request(&self, file: &Path) -> Result<Request, BenchError> {
        let workflow = workflow::read_with(file, cycle::problems)?.workflow.ok_or(BenchError::Workflow)?;
        Ok(Request {
            plan: Plan::new(Arc::new(workflow), IndexMap::new(), &Selection::default())?,
            file: file.to_string_lossy().into_owned(),
            base: self.base,
            base_revision: "HEAD".to_owned(),
            options: Options::default(),
            resume: None,
            answers: IndexMap::new(),
            repeat: None,
            remember: None,
        })
    }
}

/// Reads the events of a run that is over.
fn told(wall_ms: f64, notices: &Receiver<Notice>) -> Ran {
    let mut ran = Ran { wall_ms, started: 0, peak: 0, ended: Vec::new() };
    let mut running = 0;
    for notice in notices.try_iter() {
        let Notice::Fact(record) = notice else { continue };
        match record.event {
            RunEvent::NodeStarted { .. } => {
                ran.started += 1;
                running += 1;
                ran.peak = ran.peak.max(running);
            }
            RunEvent::NodeFinished(finished) => {
                if finished.outcome != Outcome::Cached && finished.attempts > 0 {
                    running -= 1;
                }
                ran.ended.push((record.run, *finished));
            }
            _ => {}
        }
    }
    ran
}
