//! The stored form of an answer: one file for each question, a checksum in front. Knows what is in it, not what it means.

use std::path::Path;
use std::time::SystemTime;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::event::{Artifact, Repeats};
use crate::workflow::outline::Outline;

/// What a run gave that took everything from the cache, and what that rests on. Its form may change with the version, which
/// is part of the question.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// Digest of what was asked.
    pub question: String,
    /// Of the index, when nothing had been looked up yet.
    pub generation: i64,
    /// Since the epoch.
    pub day: i64,
    pub facts: Repeats,
    pub outline: Outline,
    pub inputs: IndexMap<String, Value>,
    pub width: usize,
    pub base: String,
    pub base_revision: String,
    /// Included files by path, with the digests of their texts.
    pub further: IndexMap<String, String>,
    /// Copied variables by name, with digests of what they hold.
    pub pass_env: IndexMap<String, String>,
    /// Commits and artifacts that results name.
    pub commits: Vec<String>,
    pub artifacts: Vec<Artifact>,
    /// Stages in the order in which they ended, with what their checkpoints are merged from.
    pub stages: Vec<(usize, Vec<String>)>,
    /// What the result is merged from.
    pub heads: Vec<String>,
    /// Some node may have had files of the repository.
    pub sees_files: bool,
}

/// Most answers that are kept.
const MOST: usize = 64;

impl Record {
    /// `None` when it is not whole or for another question.
    pub fn read(path: &Path, question: &str) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let (sum, body) = text.split_once('\n')?;
        if Digest::of_bytes(body.as_bytes()).to_hex() != sum {
            return None;
        }
        let record: Self = serde_json::from_str(body).ok()?;
        (record.question == question).then_some(record)
    }

    /// Writes it, if that is possible, and makes room for it.
    pub fn write(&self, directory: &Path, path: &Path) {
        let Ok(body) = serde_json::to_string(self) else { return };
        let text = format!("{}\n{body}", Digest::of_bytes(body.as_bytes()).to_hex());
        if disk::create_directory(directory).is_err() {
            return;
        }
        make_room(directory);
        disk::replace(path, text.as_bytes(), Durability::Crash).ok();
    }
}

/// Forgets an answer that does not hold any more.
pub fn remove(path: &Path) {
    disk::remove(path).ok();
}

/// The oldest ones go.
fn make_room(directory: &Path) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut all: Vec<_> = entries
        .map(|entry| {
            let modified = entry.metadata().and_then(|meta| meta.modified());
            (modified.unwrap_or(SystemTime::UNIX_EPOCH), entry.path())
        })
        .collect();
    all.sort();
    for (_, path) in all.iter().take((all.len() + 1).saturating_sub(MOST)) {
        remove(path);
    }
}
