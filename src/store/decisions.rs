//! What persons answered to the questions of gates: one file for each answer, written once and never changed. It is there
//! before anything acts on it, and whether an engine lives or not; the first of several answers is the answer. Knows
//! nothing of who asks.

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::disk::{self, Created};
use crate::name::RunId;

/// Version of the stored form of a [`Decision`].
const FORMAT: u32 = 1;

/// Longest message, bytes: it becomes an output, and may become part of an environment.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    format: u32,
    pub node: String,
    /// Which of its questions, from 1.
    pub number: u32,
    pub verdict: Verdict,
    pub message: String,
    /// Who answered, in their own words; empty for nobody.
    pub by: String,
    /// RFC 3339 in UTC.
    pub time: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Approved,
    Rejected,
    /// Nobody answered in time.
    Expired,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }
}

impl Decision {
    /// An answer of this moment.
    pub fn now(node: &str, number: u32, verdict: Verdict, message: &str, by: &str) -> Self {
        Self {
            format: FORMAT,
            node: node.to_owned(),
            number,
            verdict,
            message: message.to_owned(),
            by: by.to_owned(),
            time: format!("{:.3}", jiff::Timestamp::now()),
        }
    }
}

/// What became of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It is the answer, and no crash takes it back.
    Now,
    /// Another one was there before.
    Before(Decision),
}

/// Answers, unless that was done before.
///
/// # Errors
/// When it cannot be written, or the earlier one cannot be read.
pub fn decide(store: &Store, run: &RunId, decision: &Decision) -> Result<Decided, StoreError> {
    let path = store.decision(run, &decision.node, decision.number);
    let directory = path.parent().unwrap_or(store.root());
    if !directory.exists() {
        disk::create_directory(directory)?;
        // The names of all that was made must survive a power loss as well.
        let (made, kept) = (directory, store.run_directory(run));
        for parent in made.ancestors().skip(1).take_while(|parent| parent.starts_with(&kept)) {
            disk::sync_directory(parent)?;
        }
    }
    disk::half_made::collect(directory);
    let mut text = serde_json::to_string(decision).expect("a decision is plain data");
    text.push('\n');
    match disk::create(&path, text.as_bytes())? {
        Created::Now => Ok(Decided::Now),
        Created::WasThere => match read(store, run, &decision.node, decision.number)? {
            Some(earlier) => Ok(Decided::Before(earlier)),
            None => Err(StoreError::Damaged { path, reason: "it was there, and is gone".to_owned() }),
        },
    }
}

/// The answer to a question, if there is one. Writes nothing.
///
/// # Errors
/// When it cannot be read, is none, or was written by a newer spb.
pub fn read(store: &Store, run: &RunId, node: &str, number: u32) -> Result<Option<Decision>, StoreError> {
    let path = store.decision(run, node, number);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(disk::DiskError::new("read", &path, source).into()),
    };
    let damaged = |reason: String| StoreError::Damaged { path: path.clone(), reason };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    if let Some(found) = value["format"].as_u64().filter(|&found| found > u64::from(FORMAT)) {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        return Err(StoreError::Newer { path, found, known: FORMAT });
    }
    let decision: Decision = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
    if (decision.node.as_str(), decision.number) != (node, number) {
        return Err(damaged(format!("it answers question {} of `{}`", decision.number, decision.node)));
    }
    Ok(Some(decision))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> (tempfile::TempDir, Store, RunId) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path());
        let run = RunId::parse("20261124-131722-k3f9").unwrap();
        std::fs::create_dir_all(store.run_directory(&run)).unwrap();
        (directory, store, run)
    }

    #[test]
    fn the_first_answer_is_the_answer_and_each_question_has_its_own() {
        let (_directory, store, run) = world();
        let yes = Decision::now("gate:a,b", 1, Verdict::Approved, "fine \u{1b}[2J\n\"x\"", "Ann");
        let no = Decision::now("gate:a,b", 1, Verdict::Rejected, "", "Ben");
        assert_eq!(read(&store, &run, "gate:a,b", 1).unwrap(), None);
        assert_eq!(decide(&store, &run, &yes).unwrap(), Decided::Now);
        assert_eq!(decide(&store, &run, &no).unwrap(), Decided::Before(yes.clone()));
        assert_eq!(read(&store, &run, "gate:a,b", 1).unwrap(), Some(yes));
        let second = Decision { number: 2, ..no };
        assert_eq!(decide(&store, &run, &second).unwrap(), Decided::Now);
        assert_eq!(read(&store, &run, "gate:a,b", 2).unwrap(), Some(second));
        assert_eq!(read(&store, &run, "gate", 1).unwrap(), None);
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_refused_with_its_path() {
        let (_directory, store, run) = world();
        let path = store.decision(&run, "gate", 1);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let other = serde_json::to_string(&Decision::now("other", 1, Verdict::Approved, "", "")).unwrap();
        let newer = other.replace("\"format\":1", "\"format\":2");
        for (text, expect) in [
            ("", "is damaged: EOF"),
            ("{}", "is damaged: missing field"),
            (&other, "it answers question 1 of `other`"),
            (&newer, "written by a newer spb"),
        ] {
            disk::replace(&path, text.as_bytes(), disk::Durability::Crash).unwrap();
            let error = read(&store, &run, "gate", 1).unwrap_err().to_string();
            assert!(error.contains(expect) && error.contains("gate.json"), "{error}");
        }
    }
}
