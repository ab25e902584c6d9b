//! The SQLite index: cache entries, durations, memoised merges. Derived from the journals, so a damaged one is set
//! aside and rebuilt, and what a power loss took from it is read again from them. The only owner of rusqlite's
//! connection settings.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::cache::{self, Entry};
use super::{Store, StoreError, journal};
use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::event::{Outcome, RunEvent};
use crate::name::RunId;

/// Raised when a table changes: an index of another format is rebuilt.
const FORMAT: i64 = 2;

const SCHEMA: &str = "
create table if not exists entries (
  key blob primary key, workflow text not null, node text not null, created integer not null,
  body text not null, sum blob not null) without rowid;
create index if not exists entries_by_node on entries (workflow, node, created);
create table if not exists quick (
  key blob primary key, entry blob not null, sum blob not null, heads text) without rowid;
create table if not exists merges (key blob primary key, result text not null) without rowid;
create table if not exists durations (
  workflow text not null, node text not null, recent text not null, primary key (workflow, node)) without rowid;
create table if not exists indexed (run text primary key, bytes integer not null) without rowid;
";

/// A connection that may write. Opening it brings the index up to date with the journals.
///
/// # Errors
/// When the index can neither be opened nor rebuilt.
pub fn open(store: &Store) -> Result<Connection, StoreError> {
    let path = store.index_path();
    let fail = |source| StoreError::Index { path: path.clone(), source };
    let up_to_date = || {
        let began = Instant::now();
        loop {
            let opened = connect(&path).and_then(|connection| {
                catch_up(store, &connection)?;
                Ok(connection)
            });
            match opened {
                // The change to a write-ahead log and its recovery do not wait for others that do the same.
                Err(error) if is_busy(&error) && began.elapsed() < BUSY => std::thread::sleep(BUSY_LOOK),
                done => return done,
            }
        }
    };
    if !damage_mark(store).exists() {
        match up_to_date() {
            Err(source) if is_damage(&source) => {}
            done => return done.map_err(fail),
        }
    }
    set_aside(&path)?;
    let connection = up_to_date().map_err(fail)?;
    disk::remove(&damage_mark(store))?;
    Ok(connection)
}

/// How long another spb may keep the index from us.
const BUSY: Duration = Duration::from_secs(20);
/// Between two attempts where the library does not wait itself.
const BUSY_LOOK: Duration = Duration::from_millis(10);

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Notes that the index is damaged: the next one who opens it rebuilds it. Whoever has it open goes on with it; what it
/// gives is checked wherever it is used.
pub fn mark_damaged(store_root: &Path) {
    drop(disk::replace(&store_root.join(DAMAGE_MARK), b"", Durability::Crash));
}

const DAMAGE_MARK: &str = "index.damaged";

fn damage_mark(store: &Store) -> PathBuf {
    store.root().join(DAMAGE_MARK)
}

/// A connection that only reads; `None` when there is no index yet. Never writes, not even a missing table.
///
/// # Errors
/// When there is an index that cannot be read.
pub fn open_to_read(store: &Store) -> Result<Option<Connection>, StoreError> {
    let path = store.index_path();
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(&path, flags).and_then(usable).or_else(|error| {
        // A log that was merged on closing leaves nothing to share, and where nothing can be written nothing can be
        // made to share either: then nobody else writes, and the file alone is the whole index.
        if error.sqlite_error_code() != Some(rusqlite::ErrorCode::CannotOpen)
            || beside(&path, "-wal").exists()
        {
            return Err(error);
        }
        Connection::open_with_flags(immutable(&path), flags | OpenFlags::SQLITE_OPEN_URI).and_then(usable)
    });
    opened.map(Some).map_err(|source| StoreError::Index { path, source })
}

/// Whether there is an index that SQLite finds nothing wrong with, or none yet. Writes nothing.
pub fn is_whole(store: &Store) -> bool {
    let look = |connection: Connection| -> rusqlite::Result<String> {
        connection.query_row("pragma quick_check(1)", [], |row| row.get(0))
    };
    match open_to_read(store) {
        Ok(None) => !damage_mark(store).exists(),
        Ok(Some(connection)) => {
            look(connection).is_ok_and(|found| found == "ok") && !damage_mark(store).exists()
        }
        Err(_) => false,
    }
}

/// The first read tells whether a file can be used at all.
fn usable(connection: Connection) -> rusqlite::Result<Connection> {
    settle(&connection)?;
    connection.query_row("select count(*) from sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

fn immutable(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri + "?immutable=1"
}

/// Tables that came later: an index without them is whole, and says nothing of what they hold.
const LATER: &str = "
create table if not exists failures (
  workflow text not null, node text not null, run text not null, key blob, time integer not null,
  primary key (workflow, node)) without rowid;
create table if not exists uses (key blob primary key, used integer not null) without rowid;
create table if not exists days (
  day integer primary key, hits integer not null, misses integer not null, saved_ms integer not null) without rowid;
create table if not exists seen (keys blob primary key, day integer not null) without rowid;
create table if not exists generation (number integer not null);
insert into generation select random() where not exists (select 1 from generation);
create trigger if not exists entry_replaced before insert on entries
  when exists (select 1 from entries where key = new.key and sum is not new.sum)
  begin update generation set number = random(); end;
create trigger if not exists entry_changed after update on entries
  begin update generation set number = random(); end;
create trigger if not exists entry_removed after delete on entries
  begin update generation set number = random(); end;
create trigger if not exists quick_replaced before insert on quick
  when exists (select 1 from quick where key = new.key
    and (entry is not new.entry or sum is not new.sum or heads is not new.heads))
  begin update generation set number = random(); end;
create trigger if not exists quick_removed after delete on quick
  begin update generation set number = random(); end;
";

/// A number that is another one as soon as a lookup that found something may find something else: an entry was replaced or
/// removed, or the index made anew. Entries that only came do not change it.
pub fn generation(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("select number from generation", [], |row| row.get(0))
}

fn beside(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    settle(&connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A commit survives a killed process; after a power loss `catch_up` reads the journals again.
    connection.pragma_update(None, "synchronous", "normal")?;
    let format = |connection: &Connection| -> rusqlite::Result<i64> {
        connection.pragma_query_value(None, "user_version", |row| row.get(0))
    };
    if format(&connection)? != FORMAT {
        connection.execute_batch("begin immediate")?;
        // Another spb may have made the tables meanwhile.
        if format(&connection)? != FORMAT {
            connection.execute_batch(
                "drop table if exists entries; drop table if exists quick; drop table if exists merges;
                 drop table if exists durations; drop table if exists indexed; drop table if exists generation;",
            )?;
            connection.execute_batch(SCHEMA)?;
            connection.pragma_update(None, "user_version", FORMAT)?;
        }
        connection.execute_batch("commit")?;
    }
    connection.execute_batch(LATER)?;
    Ok(connection)
}

fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(32);
    // Without it a statement is compiled again for each value that a parameter is given.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // KiB, negative as SQLite wants it: the entries of some ten thousand nodes.
    connection.pragma_update(None, "cache_size", -16_000)
}

/// Whether an error says that the file is not what was written: also a table that is not there, or a value of another
/// kind.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    match error {
        Error::SqliteFailure(cause, _) => {
            matches!(cause.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
        }
        Error::SqlInputError { .. }
        | Error::InvalidColumnType(..)
        | Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::Utf8Error(..) => true,
        _ => false,
    }
}

fn set_aside(path: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut from = path.as_os_str().to_owned();
        from.push(suffix);
        let mut to = from.clone();
        to.push(".damaged");
        match std::fs::rename(&from, &to) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(crate::disk::DiskError::new("set aside", Path::new(&from), source).into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads every journal that is longer than what the index has of it.
fn catch_up(store: &Store, connection: &Connection) -> rusqlite::Result<()> {
    let known = connection
        .prepare("select run, bytes from indexed")?
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?
        .collect::<rusqlite::Result<std::collections::HashMap<_, _>>>()?;
    let Ok(directory) = std::fs::read_dir(store.runs_directory()) else { return Ok(()) };
    for entry in directory.flatten() {
        let Some(run) = entry.file_name().to_str().and_then(RunId::parse) else { continue };
        let path = store.journal(&run);
        let length = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        if known.get(run.as_str()).is_some_and(|&bytes| bytes >= length as i64) || length == 0 {
            continue;
        }
        // A journal that cannot be read is for `doctor` to report; its results are simply not in the cache.
        let Ok(journal) = journal::read(&path) else { continue };
        connection.execute_batch("begin immediate")?;
        add_journal(connection, &journal)?;
        set_indexed(connection, &run, journal.whole)?;
        connection.execute_batch("commit")?;
    }
    Ok(())
}

/// How much of a run's journal the index has seen, in bytes.
pub fn set_indexed(connection: &Connection, run: &RunId, bytes: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("insert into indexed values (?1, ?2) on conflict (run) do update set bytes = ?2")?
        .execute(params![run.as_str(), bytes as i64])?;
    Ok(())
}

fn add_journal(connection: &Connection, journal: &journal::Journal) -> rusqlite::Result<()> {
    let mut workflow = String::new();
    for record in &journal.records {
        match &record.event {
            RunEvent::RunStarted(started) => workflow.clone_from(&started.workflow),
            RunEvent::NodeFinished(finished) if finished.outcome == Outcome::Succeeded => {
                if let Some(saved) = cache::Saved::from_journal(&workflow, record, finished) {
                    saved.insert_if_newer(connection)?;
                }
            }
            RunEvent::NodeFinished(finished) if finished.outcome.is_failure() && finished.attempts > 0 => {
                let time = record.time.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
                let failure = Failure { run: record.run.to_string(), key: None, time };
                add_failure(connection, &workflow, &finished.node, &failure)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The last time that a node ran and failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub run: String,
    /// Under which its result would have been saved.
    pub key: Option<Digest>,
    /// Milliseconds since the epoch.
    pub time: i64,
}

/// Remembers a failure, unless a later one is known.
pub fn add_failure(
    connection: &Connection,
    workflow: &str,
    node: &str,
    failure: &Failure,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "insert into failures values (?1, ?2, ?3, ?4, ?5) on conflict (workflow, node) do update set \
             run = ?3, key = ?4, time = ?5 where time <= ?5",
        )?
        .execute(params![
            workflow,
            node,
            failure.run,
            failure.key.as_ref().map(|key| key.as_bytes().as_slice()),
            failure.time
        ])?;
    Ok(())
}

pub fn failure(connection: &Connection, workflow: &str, node: &str) -> rusqlite::Result<Option<Failure>> {
    connection
        .prepare_cached("select run, key, time from failures where workflow = ?1 and node = ?2")?
        .query_map([workflow, node], |row| {
            let key: Option<Vec<u8>> = row.get(1)?;
            let key = key.and_then(|key| Digest::from_slice(&key));
            Ok(Failure { run: row.get(0)?, key, time: row.get(2)? })
        })?
        .next()
        .transpose()
}

/// The median of the recent durations of each node of a workflow, milliseconds.
pub fn durations(
    connection: &Connection,
    workflow: &str,
) -> rusqlite::Result<std::collections::HashMap<String, u64>> {
    connection
        .prepare_cached("select node, recent from durations where workflow = ?1")?
        .query_map([workflow], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
        .map(|row| row.map(|(node, recent)| (node, median(&numbers(&recent)))))
        .collect()
}

/// How many durations are kept for each node.
const KEPT_DURATIONS: usize = 7;

pub fn add_duration(
    connection: &Connection,
    workflow: &str,
    node: &str,
    milliseconds: u64,
) -> rusqlite::Result<()> {
    let recent: Option<String> = connection
        .prepare_cached("select recent from durations where workflow = ?1 and node = ?2")?
        .query_map([workflow, node], |row| row.get(0))?
        .next()
        .transpose()?;
    let mut recent = numbers(recent.as_deref().unwrap_or(""));
    recent.push(milliseconds);
    let from = recent.len().saturating_sub(KEPT_DURATIONS);
    let text = recent[from..].iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
    connection
        .prepare_cached("insert or replace into durations values (?1, ?2, ?3)")?
        .execute(params![workflow, node, text])?;
    Ok(())
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

fn median(numbers: &[u64]) -> u64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// The newest entries of a node, newest first, for explanations.
pub fn latest(
    connection: &Connection,
    workflow: &str,
    node: &str,
    count: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = connection.prepare_cached(
        "select body from entries where workflow = ?1 and node = ?2 order by created desc limit ?3",
    )?;
    let bodies = statement.query_map(params![workflow, node, count as i64], |row| row.get::<_, String>(0))?;
    Ok(bodies.flatten().filter_map(|body| serde_json::from_str(&body).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_in_a_folder_of_any_name_is_read_as_a_whole_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a b?mode=memory#%41é.sqlite");
        drop(connect(&path).unwrap());
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(immutable(&path), flags).and_then(usable).unwrap();
        let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(format, FORMAT);
        assert!(!beside(&path, "-shm").exists(), "reading an immutable file leaves nothing");
    }
}
