//! Makes facts durable, in order, on a thread of its own: objects, then the journal record, then the index, then
//! whoever listens. Knows the order, not the meaning.
//!
//! Facts that arrive while the disk is busy go out together (group commit): one fdatasync for all of them. The
//! scheduler does not wait for it: a dependent's record always follows its need's in the same file, so a power loss
//! takes both or the dependent only, and nothing was said to anyone about either. What must not start before its past
//! is durable waits with [`Recorder::flush`].

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::{StoreError, cache, index, journal};
use crate::digest::Digest;
use crate::disk::DiskError;
use crate::event::{LiveEvent, Record, RunEvent};
use crate::name::RunId;

/// What a listener receives.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Durable: no crash takes it back.
    Fact(Record),
    Live(RunId, LiveEvent),
}

/// What goes into the index together with a fact.
#[derive(Debug)]
pub enum Index {
    Entry(Box<cache::Saved>),
    Quick {
        quick_key: Digest,
        key: Digest,
        commit: Option<String>,
    },
    Merge {
        key: Digest,
        result: String,
    },
    /// A node ran and failed.
    Failure {
        workflow: String,
        node: String,
        failure: index::Failure,
    },
    /// What was taken from the cache.
    Uses(super::uses::Uses),
    /// Nothing to store: others may have their turn once everything before it can be found.
    Release(crate::disk::Turn),
}

/// One journal that a recorder appends to.
#[derive(Debug)]
pub struct JournalFile {
    run: RunId,
    path: PathBuf,
    file: File,
    length: u64,
    seq: u64,
}

impl JournalFile {
    /// Opens for appending after `whole` bytes and `seq` records; a torn tail behind them is cut.
    ///
    /// # Errors
    /// When the file cannot be opened or cut.
    pub fn open(run: RunId, path: &Path, whole: u64, seq: u64) -> Result<Self, StoreError> {
        let fail = |source| DiskError::new("open the journal", path, source);
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(fail)?;
        if file.metadata().map_err(fail)?.len() > whole {
            file.set_len(whole).map_err(fail)?;
        }
        Ok(Self { run, path: path.to_owned(), file, length: whole, seq })
    }
}

/// How long a batch is kept open for more.
const LINGER: std::time::Duration = std::time::Duration::from_millis(2);

enum Message {
    Fact { journal: usize, event: Box<RunEvent>, index: Vec<Index>, objects: Objects },
    Index(Index),
    Flush(Sender<()>),
}

/// Whether a fact speaks of objects that must be durable first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objects {
    None,
    /// Git objects or artifacts were written: the file system is synced before the record.
    Written,
}

/// The sending side. Dropping it (and its clones) ends the thread after everything was written.
#[derive(Clone, Debug)]
pub struct Recorder {
    sender: Sender<Message>,
    /// Objects were written that no sync has covered yet.
    unsynced: Arc<AtomicBool>,
    store_root: PathBuf,
}

/// The receiving side: joined after the last [`Recorder`] is gone.
#[derive(Debug)]
pub struct RecorderThread(JoinHandle<()>);

impl RecorderThread {
    /// Waits until everything is written.
    pub fn join(self) {
        drop(self.0.join());
    }
}

/// Starts the thread. `store_root` lies on the file system of the objects. `failed` is called once, with a sentence, when something cannot
/// be written: nothing after it is recorded or told.
pub fn start(
    journals: Vec<JournalFile>,
    connection: Connection,
    store_root: PathBuf,
    listener: Sender<Notice>,
    failed: impl FnOnce(String) + Send + 'static,
) -> (Recorder, RecorderThread) {
    let (sender, receiver) = channel();
    let root = store_root.clone();
    let writer = Writer { journals, connection, store_root, listener, batch: Vec::new() };
    let thread = std::thread::spawn(move || {
        if let Err(error) = writer.run(&receiver) {
            failed(error.to_string());
            // Whoever waits for a flush must not wait for ever.
            for message in receiver {
                drop(message);
            }
        }
    });
    (Recorder { sender, unsynced: Arc::default(), store_root: root }, RecorderThread(thread))
}

impl Recorder {
    /// Records nothing: for looking ahead.
    pub fn nowhere() -> Self {
        Self { sender: channel().0, unsynced: Arc::default(), store_root: PathBuf::new() }
    }

    pub fn fact(&self, journal: usize, event: RunEvent, index: Vec<Index>, objects: Objects) {
        if objects == Objects::Written {
            self.wrote_objects();
        }
        // A closed channel means the thread failed and said so.
        drop(self.sender.send(Message::Fact { journal, event: Box::new(event), index, objects }));
    }

    /// Objects were written that a ref may soon name.
    pub fn wrote_objects(&self) {
        self.unsynced.store(true, Ordering::Release);
    }

    /// To be called before a ref is set: a power loss must not leave a ref to objects that are gone with it.
    ///
    /// # Errors
    /// When the file system reports a write that failed.
    pub fn sync_objects(&self) -> Result<(), DiskError> {
        if self.unsynced.swap(false, Ordering::AcqRel) {
            crate::disk::sync_file_system(&self.store_root)?;
        }
        Ok(())
    }

    /// Something worth remembering that is not a fact of the run.
    pub fn index(&self, index: Index) {
        drop(self.sender.send(Message::Index(index)));
    }

    /// Returns when everything given so far is durable and told: true; or when the thread has failed: false.
    pub fn flush(&self) -> bool {
        let (sender, receiver) = channel();
        self.sender.send(Message::Flush(sender)).is_ok() && receiver.recv().is_ok()
    }
}

struct Writer {
    journals: Vec<JournalFile>,
    connection: Connection,
    store_root: PathBuf,
    listener: Sender<Notice>,
    batch: Vec<Record>,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>) -> Result<(), StoreError> {
        while let Ok(first) = receiver.recv() {
            let mut messages: Vec<Message> = std::iter::once(first).chain(receiver.try_iter()).collect();
            if !messages.iter().any(|message| matches!(message, Message::Flush(_))) {
                // Nobody waits: what comes in the next moment shares the sync, and its sender does not wake us.
                std::thread::sleep(LINGER);
                messages.extend(receiver.try_iter());
            }
            let waiting = self.write(messages)?;
            for reply in waiting {
                reply.send(()).ok();
            }
        }
        Ok(())
    }

    /// Writes one batch and returns who waits for it.
    fn write(&mut self, messages: Vec<Message>) -> Result<Vec<Sender<()>>, StoreError> {
        let mut waiting = Vec::new();
        let mut indexed = Vec::new();
        let mut texts: Vec<String> = vec![String::new(); self.journals.len()];
        let mut must_sync_objects = false;
        for message in messages {
            match message {
                Message::Fact { journal, event, index, objects } => {
                    must_sync_objects |= objects == Objects::Written;
                    indexed.extend(index);
                    let target = &mut self.journals[journal];
                    target.seq += 1;
                    let record =
                        Record { run: target.run.clone(), seq: target.seq, time: now(), event: *event };
                    texts[journal].push_str(&journal::encode(&record));
                    self.batch.push(record);
                }
                Message::Index(index) => indexed.push(index),
                Message::Flush(reply) => waiting.push(reply),
            }
        }
        if must_sync_objects {
            crate::disk::sync_file_system(&self.store_root)?;
        }
        let mut grown = Vec::new();
        for (journal, text) in self.journals.iter_mut().zip(&texts) {
            if !text.is_empty() {
                append(journal, text)?;
                grown.push((journal.run.clone(), journal.length));
            }
        }
        self.index(&indexed, &grown);
        for record in self.batch.drain(..) {
            drop(self.listener.send(Notice::Fact(record)));
        }
        Ok(waiting)
    }

    /// The index can be rebuilt, so a failure here costs time later and is not a failure of the run.
    fn index(&self, indexed: &[Index], grown: &[(RunId, u64)]) {
        let all = || -> rusqlite::Result<()> {
            self.connection.execute_batch("begin immediate")?;
            for index in indexed {
                match index {
                    Index::Entry(saved) => saved.insert(&self.connection)?,
                    Index::Quick { quick_key, key, commit } => {
                        cache::add_quick(&self.connection, *quick_key, *key, commit.as_deref())?;
                    }
                    Index::Merge { key, result } => cache::add_merge(&self.connection, *key, result)?,
                    Index::Failure { workflow, node, failure } => {
                        index::add_failure(&self.connection, workflow, node, failure)?;
                    }
                    Index::Uses(uses) => {
                        uses.write(&self.connection, jiff::Timestamp::now().as_millisecond())?;
                    }
                    Index::Release(_) => {}
                }
            }
            for (run, length) in grown {
                index::set_indexed(&self.connection, run, *length)?;
            }
            self.connection.execute_batch("commit")
        };
        if indexed.is_empty() && grown.is_empty() {
            return;
        }
        if let Err(error) = all() {
            drop(self.connection.execute_batch("rollback"));
            if index::is_damage(&error) {
                index::mark_damaged(&self.store_root);
            }
        }
    }
}

fn append(journal: &mut JournalFile, text: &str) -> Result<(), StoreError> {
    let fail = |source| DiskError::new("append to", &journal.path, source);
    let written = journal.file.write_all(text.as_bytes()).and_then(|()| journal.file.sync_data());
    if let Err(source) = written {
        // Half a batch must not be taken for facts by the next reader: nobody was told of any of it.
        drop(journal.file.set_len(journal.length));
        return Err(fail(source).into());
    }
    if journal.length == 0 {
        // The names of a new journal and of its folder must survive as well.
        let directory = journal.path.parent().unwrap_or(Path::new("."));
        crate::disk::sync_directory(directory)?;
        crate::disk::sync_directory(directory.parent().unwrap_or(Path::new(".")))?;
    }
    journal.length += text.len() as u64;
    Ok(())
}

/// RFC 3339 in UTC with milliseconds.
fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
