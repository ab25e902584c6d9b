//! Which processes a run started, noted the moment they exist, so that whoever carries on after a crash can end what is
//! left of them. Survives a killed engine, not a power loss: after that there are no processes.

use std::fs::{File, OpenOptions};
use std::io::Write;

use super::{Store, StoreError};
use crate::disk::DiskError;
use crate::event::Process;
use crate::name::RunId;

/// Appends to a run's list.
#[derive(Debug)]
pub struct ProcessList {
    file: File,
}

impl ProcessList {
    /// Opens the list of a run, making it when needed.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(store: &Store, run: &RunId) -> Result<Self, StoreError> {
        let path = store.processes(run);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        Ok(Self { file: file.map_err(|source| DiskError::new("open", &path, source))? })
    }

    /// Notes a process. One short append, so that writers on several threads never mix lines. A failure is not
    /// reported: the environment of the process names its run as well.
    pub fn note(&self, process: &Process) {
        let line = format!("{} {} {}\n", process.pid, process.started, process.boot);
        (&self.file).write_all(line.as_bytes()).ok();
    }
}

/// Every process noted for a run.
pub fn read(store: &Store, run: &RunId) -> Vec<Process> {
    let text = std::fs::read_to_string(store.processes(run)).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let pid = words.next()?.parse().ok()?;
            let started = words.next()?.parse().ok()?;
            Some(Process { pid, started, boot: words.next()?.to_owned() })
        })
        .collect()
}
