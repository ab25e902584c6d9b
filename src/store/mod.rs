//! What spb remembers, all of it under `<git common dir>/spb/`: journals, the cache index, artifacts, checkpoints.
//! Journals are the truth; the index can always be rebuilt from them.

pub mod archive;
pub mod artifacts;
pub mod cache;
pub mod decisions;
pub mod entries;
pub mod envelope;
pub mod index;
pub mod journal;
pub mod operations;
pub mod packet;
pub mod processes;
pub mod recorder;
pub mod repeats;
pub mod runs;
pub mod uses;

use std::path::{Path, PathBuf};

use crate::disk::{self, DiskError, Durability};
use crate::event;
use crate::name::RunId;

/// A store that cannot be used, with the reason.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(
        "`{}` was written by a newer spb (format {found}, this one knows {known}); update spb, or move the folder away",
        path.display()
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("the index `{}`: {source}", path.display())]
    Index { path: PathBuf, source: rusqlite::Error },
}

/// How far to look for half-made files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    Near,
    Everywhere,
}

/// `runs/<run>/decisions` and what lies in folders of node ids.
const DEEPEST: usize = 4;

/// Where everything lies. Making one touches nothing.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    pub fn at(common_dir: &Path) -> Self {
        Self { root: common_dir.join("spb") }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folders and the format mark, or raises an older one; refuses a store of a newer format. For commands that write.
    ///
    /// # Errors
    /// When a folder cannot be made or the store is newer than this program.
    pub fn prepare(&self) -> Result<(), StoreError> {
        disk::create_directory(&self.runs_directory())?;
        disk::create_directory(&self.artifacts_directory())?;
        let mark = self.root.join("format");
        // An older spb must not take for whole what it knows only a part of.
        if self.check_format()?.is_none_or(|found| found < event::FORMAT) {
            disk::replace(&mark, format!("{}\n", event::FORMAT).as_bytes(), Durability::PowerLoss)?;
        }
        Ok(())
    }

    /// The format of the store; `None` when there is none yet. For every command.
    ///
    /// # Errors
    /// When the store is newer than this program or its mark cannot be read.
    pub fn check_format(&self) -> Result<Option<u32>, StoreError> {
        let mark = self.root.join("format");
        let text = match std::fs::read(&mark) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DiskError::new("read", &mark, error).into()),
        };
        match text.trim().parse::<u32>() {
            Ok(found) if found > event::FORMAT => {
                Err(StoreError::Newer { path: self.root.clone(), found, known: event::FORMAT })
            }
            Ok(found) => Ok(Some(found)),
            // The mark is replaced whole, so an unreadable one is rot, not a torn write: it can be written again.
            Err(_) => Ok(None),
        }
    }

    /// Removes what dead processes were making where every start looks, and after a death (`Everywhere`) also where
    /// looking takes time. Returns how many.
    pub fn collect_half_made(&self, which: Places) -> usize {
        self.places(which).iter().map(|place| disk::half_made::collect(place)).sum()
    }

    /// Folders in which half-made files may lie.
    pub fn places(&self, which: Places) -> Vec<PathBuf> {
        let mut places = vec![self.root.clone(), self.root.join("engines")];
        if which == Places::Everywhere {
            let mut open = vec![(self.root.clone(), 0)];
            while let Some((directory, depth)) = open.pop() {
                for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                    if depth < DEEPEST && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        places.push(entry.path());
                        open.push((entry.path(), depth + 1));
                    }
                }
            }
        }
        places
    }

    pub fn runs_directory(&self) -> PathBuf {
        self.root.join("runs")
    }

    pub fn run_directory(&self, run: &RunId) -> PathBuf {
        self.runs_directory().join(run.as_str())
    }

    pub fn journal(&self, run: &RunId) -> PathBuf {
        self.run_directory(run).join("journal.ndjson")
    }

    /// The facts that a run took from an earlier one.
    pub fn repeated(&self, run: &RunId) -> PathBuf {
        self.run_directory(run).join("repeats.ndjson")
    }

    /// What is known of runs that changed nothing: each file may be removed at any time.
    pub fn repeats_directory(&self) -> PathBuf {
        self.root.join("repeats")
    }

    pub fn workflows_directory(&self) -> PathBuf {
        self.root.join("workflows")
    }

    /// The text of a workflow that a run was started with, by its BLAKE3.
    pub fn workflow_copy(&self, digest: &str) -> PathBuf {
        self.workflows_directory().join(format!("{digest}.yaml"))
    }

    /// The parsed form of that text, if it is large.
    pub fn workflow_tree(&self, digest: &str) -> PathBuf {
        self.workflows_directory().join(format!("{digest}.tree"))
    }

    /// Held by the engine of a run for as long as it lives.
    pub fn run_lock(&self, run: &RunId) -> PathBuf {
        self.run_directory(run).join("lock")
    }

    /// What the node's processes wrote, by attempt. No node id holds `@`.
    pub fn log(&self, run: &RunId, node: &str, attempt: u32) -> PathBuf {
        let name = if attempt <= 1 { format!("{node}.log") } else { format!("{node}@{attempt}.log") };
        self.run_directory(run).join("logs").join(name)
    }

    /// The answer to a question of a gate. No node id holds `@`.
    pub fn decision(&self, run: &RunId, node: &str, number: u32) -> PathBuf {
        let name = if number <= 1 { format!("{node}.json") } else { format!("{node}@{number}.json") };
        self.run_directory(run).join("decisions").join(name)
    }

    /// Processes of the run's nodes, noted when they start.
    pub fn processes(&self, run: &RunId) -> PathBuf {
        self.run_directory(run).join("processes")
    }

    pub fn artifacts_directory(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// Held by every run, together; by whoever removes what runs may need, alone.
    pub fn in_use(&self) -> PathBuf {
        self.root.join("use.lock")
    }

    pub fn index_path(&self) -> PathBuf {
        self.root.join("index.sqlite")
    }

    pub fn operations_path(&self) -> PathBuf {
        self.root.join("operations.ndjson")
    }
}
