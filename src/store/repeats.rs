//! What a run takes from an earlier one of which every result came from the cache: the facts of that one's nodes, as its
//! journal has them, in the run's own folder. So ten thousand nodes that did nothing again cost no ten thousand records, and
//! a reader sees them all the same. Knows nothing of when a run may be repeated.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::journal::{self, Journal};
use super::{Store, StoreError};
use crate::digest::Digest;
use crate::disk::{self, DiskError};
use crate::event::{NodeFinished, NodeSummary, Repeats, RunEvent};
use crate::name::RunId;

/// The nodes of a run that repeats another one.
#[derive(Debug)]
pub struct Facts {
    pub nodes: Vec<NodeSummary>,
    /// How each of them ended.
    pub finished: Vec<NodeFinished>,
}

/// Reads the facts that a run took.
///
/// # Errors
/// When they are gone or not what they were.
pub fn facts(store: &Store, run: &RunId, repeats: &Repeats) -> Result<Facts, StoreError> {
    let path = store.repeated(run);
    let bytes = sound(&path, repeats)?;
    let mut facts = Facts { nodes: Vec::new(), finished: Vec::new() };
    for record in journal::parse(&path, &bytes)?.records {
        match record.event {
            RunEvent::RunStarted(started) => facts.nodes = started.nodes,
            RunEvent::NodeFinished(finished) => facts.finished.push(*finished),
            _ => {}
        }
    }
    Ok(facts)
}

/// Whether a run has the facts that its journal says it took.
///
/// # Errors
/// As [`facts`].
pub fn check(store: &Store, run: &RunId, journal: &Journal) -> Result<(), StoreError> {
    match journal.records.first().map(|record| &record.event) {
        Some(RunEvent::RunStarted(started)) => match &started.repeats {
            Some(repeats) => sound(&store.repeated(run), repeats).map(drop),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// The facts of a run that was not told by another one, so that others can take them.
///
/// # Errors
/// When its journal cannot be read.
pub fn measure(store: &Store, run: &RunId) -> Result<(u64, String), DiskError> {
    let path = store.journal(run);
    let bytes = std::fs::read(&path).map_err(|source| DiskError::new("read", &path, source))?;
    Ok((bytes.len() as u64, Digest::of_bytes(&bytes).to_hex()))
}

/// Whether the run that recorded the facts still has them.
pub fn are_there(store: &Store, repeats: &Repeats) -> bool {
    sound(&store.journal(&repeats.run), repeats).is_ok()
}

/// Gives a run the facts of another one: as a second name of the same file where that is possible, else as a copy. They are
/// durable when the names in the run's folder are.
///
/// # Errors
/// When they are gone or cannot be written.
pub fn take(store: &Store, run: &RunId, repeats: &Repeats) -> Result<(), StoreError> {
    let (from, to) = (store.journal(&repeats.run), store.repeated(run));
    if std::fs::hard_link(&from, &to).is_err() {
        disk::replace(&to, &sound(&from, repeats)?, disk::Durability::PowerLoss)?;
    }
    Ok(())
}

/// The bytes that count, if they are what they were.
fn sound(path: &Path, repeats: &Repeats) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::with_capacity(usize::try_from(repeats.length).unwrap_or(0).min(LARGEST));
    File::open(path)
        .and_then(|file| file.take(repeats.length).read_to_end(&mut bytes))
        .map_err(|source| DiskError::new("read", path, source))?;
    if bytes.len() as u64 != repeats.length || Digest::of_bytes(&bytes).to_hex() != repeats.sum {
        let reason = format!("it is not what run {} recorded", repeats.run);
        return Err(StoreError::Damaged { path: path.to_owned(), reason });
    }
    Ok(bytes)
}

/// A length that is damaged must not take all memory.
const LARGEST: usize = 1 << 26;
