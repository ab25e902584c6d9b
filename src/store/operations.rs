//! The list of what spb did to branches, so that it can be taken back: `undo` and `redo` move along it.
//! Knows names and commits, moves nothing itself.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::disk::{DiskError, Lock};
use crate::git::CommitId;

/// One change of one branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// RFC 3339.
    pub time: String,
    /// What the user did: `apply feature`, `checkpoint restore`.
    pub what: String,
    /// Full name: `refs/heads/spb/feature/...`.
    pub reference: String,
    /// Absent where the branch did not exist.
    pub before: Option<String>,
    pub after: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
enum Line {
    Done { operation: Operation },
    Undone { number: usize },
    Redone { number: usize },
}

impl Operation {
    /// One that is done at this moment.
    pub fn now(what: String, reference: &str, before: Option<CommitId>, after: Option<CommitId>) -> Self {
        Self {
            time: format!("{:.0}", jiff::Timestamp::now()),
            what,
            reference: reference.to_owned(),
            before: before.map(|commit| commit.to_string()),
            after: after.map(|commit| commit.to_string()),
        }
    }
}

/// All operations, and which of them are taken back.
#[derive(Debug, Default)]
pub struct Operations {
    pub done: Vec<Operation>,
    pub undone: Vec<bool>,
}

impl Operations {
    /// Reads the list; unreadable lines (a torn tail) are passed over.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub fn read(store: &Store) -> Result<Self, StoreError> {
        let path = store.operations_path();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(DiskError::new("read", &path, error).into()),
        };
        let mut operations = Self::default();
        for line in text.lines() {
            match serde_json::from_str(line) {
                Ok(Line::Done { operation }) => {
                    // Something new ends the chance to redo: what was taken back is forgotten.
                    let standing =
                        operations.undone.iter().rposition(|undone| !undone).map_or(0, |number| number + 1);
                    operations.done.truncate(standing);
                    operations.undone.truncate(standing);
                    operations.done.push(operation);
                    operations.undone.push(false);
                }
                Ok(Line::Undone { number }) => operations.set(number, true),
                Ok(Line::Redone { number }) => operations.set(number, false),
                Err(_) => {}
            }
        }
        Ok(operations)
    }

    fn set(&mut self, number: usize, undone: bool) {
        if let Some(state) = self.undone.get_mut(number) {
            *state = undone;
        }
    }

    /// The last operation on a ref that still stands left it at this commit: what it holds is spb's, nobody else's work.
    /// An operation is noted before it is done: one that would start from this commit did not come to it.
    pub fn left_at(&self, reference: &str, commit: CommitId) -> bool {
        let commit = commit.to_string();
        let standing = self.done.iter().zip(&self.undone).filter(|(_, undone)| !**undone);
        let mut on_it = standing.map(|(one, _)| one).filter(|one| one.reference == reference).rev();
        let last =
            on_it.find(|one| one.after.as_ref() == Some(&commit) || one.before.as_ref() != Some(&commit));
        last.is_some_and(|one| one.after.as_ref() == Some(&commit))
    }

    /// The newest operation that still stands.
    pub fn to_undo(&self) -> Option<(usize, &Operation)> {
        let number = self.undone.iter().rposition(|undone| !undone)?;
        Some((number, &self.done[number]))
    }

    /// The operation taken back last, unless something new was done after it.
    pub fn to_redo(&self) -> Option<(usize, &Operation)> {
        let standing = self.undone.iter().rposition(|undone| !undone).map_or(0, |number| number + 1);
        (standing < self.done.len()).then(|| (standing, &self.done[standing]))
    }
}

/// Adds an operation.
///
/// # Errors
/// When it cannot be written.
pub fn add(store: &Store, operation: Operation) -> Result<(), StoreError> {
    append(store, &Line::Done { operation })
}

/// Notes that an operation was taken back.
///
/// # Errors
/// When it cannot be written.
pub fn mark_undone(store: &Store, number: usize) -> Result<(), StoreError> {
    append(store, &Line::Undone { number })
}

/// Notes that the newest operation was not done after all. Under the lock under which it was added.
///
/// # Errors
/// When the list cannot be read or written.
pub fn take_back(store: &Store) -> Result<(), StoreError> {
    match Operations::read(store)?.to_undo() {
        Some((number, _)) => mark_undone(store, number),
        None => Ok(()),
    }
}

/// Notes that an operation was done again.
///
/// # Errors
/// When it cannot be written.
pub fn mark_redone(store: &Store, number: usize) -> Result<(), StoreError> {
    append(store, &Line::Redone { number })
}

/// Held while an operation is looked up, done and noted, so that two commands do not take the same one.
///
/// # Errors
/// When the lock file cannot be made.
pub fn lock(store: &Store) -> Result<Lock, StoreError> {
    Ok(Lock::wait(&store.root().join("operations.lock"))?)
}

fn append(store: &Store, line: &Line) -> Result<(), StoreError> {
    let path = store.operations_path();
    let fail = |source| DiskError::new("append to", &path, source);
    let mut text = serde_json::to_string(line).expect("an operation has only string keys");
    text.push('\n');
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(fail)?;
    if is_torn(&mut file).map_err(fail)? {
        // A line that a crash cut off must not swallow this one.
        text.insert(0, '\n');
    }
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(fail)?;
    crate::disk::sync_directory(store.root())?;
    Ok(())
}

fn is_torn(file: &mut File) -> std::io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(what: &str) -> Operation {
        Operation {
            time: "2026-11-24T13:17:22Z".to_owned(),
            what: what.to_owned(),
            reference: "refs/heads/x".to_owned(),
            before: None,
            after: None,
        }
    }

    #[test]
    fn undo_and_redo_walk_the_list() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path());
        store.prepare().unwrap();
        let state = || {
            let operations = Operations::read(&store).unwrap();
            let what = |found: Option<(usize, &Operation)>| found.map(|(_, one)| one.what.clone());
            (what(operations.to_undo()), what(operations.to_redo()))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(state(), (None, None));
        add(&store, operation("a")).unwrap();
        add(&store, operation("b")).unwrap();
        assert_eq!(state(), (some("b"), None));
        mark_undone(&store, 1).unwrap();
        assert_eq!(state(), (some("a"), some("b")));
        mark_undone(&store, 0).unwrap();
        assert_eq!(state(), (None, some("a")));
        mark_redone(&store, 0).unwrap();
        assert_eq!(state(), (some("a"), some("b")));
        mark_redone(&store, 1).unwrap();
        assert_eq!(state(), (some("b"), None));
        mark_undone(&store, 1).unwrap();
        add(&store, operation("c")).unwrap();
        assert_eq!(state(), (some("c"), None));
        let (number, _) = Operations::read(&store).unwrap().to_undo().unwrap();
        mark_undone(&store, number).unwrap();
        assert_eq!(state(), (some("a"), some("c")));
    }

    #[test]
    fn a_branch_is_ours_where_the_last_standing_operation_left_it() {
        let commit = |digit: char| digit.to_string().repeat(40).parse::<CommitId>().unwrap();
        let (first, second, theirs) = (commit('1'), commit('2'), commit('3'));
        let made = Operation::now("a".to_owned(), "refs/heads/x", Some(theirs), Some(first));
        let moved = Operation::now("b".to_owned(), "refs/heads/x", Some(first), Some(second));
        let mut operations = Operations { done: vec![made, moved], undone: vec![false, false] };
        let ours = |operations: &Operations, commit| operations.left_at("refs/heads/x", commit);
        assert!(ours(&operations, second) && !operations.left_at("refs/heads/y", second));
        assert!(ours(&operations, first), "noted, and the engine died before it moved the branch");
        assert!(!ours(&operations, theirs));
        operations.undone[1] = true;
        assert!(ours(&operations, first) && !ours(&operations, second) && !ours(&operations, theirs));
        operations.undone[0] = true;
        assert!(!ours(&operations, first) && !ours(&operations, theirs));
    }
}
