//! Cache entries: what a node left under a key. A hit is only given when the entry is whole (its checksum) and not
//! older than the node allows; only a miss gives the right to save.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::index;
use crate::digest::Digest;
use crate::event::{LogPlace, NodeFinished, NodeResult, Record, Usage};
use crate::plan::fingerprint::StoredManifest;

/// What a node left, independent of the run that used it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub result: NodeResult,
    /// Tree of the base it ran on, hexadecimal; absent for a node that saw no files.
    pub base_tree: Option<String>,
    pub duration_ms: u64,
    pub usage: Usage,
    pub log: Option<LogPlace>,
    /// Milliseconds since the epoch.
    pub created: i64,
    pub manifest: StoredManifest,
}

/// The right to save under these keys: made by a miss only.
#[derive(Debug)]
#[must_use]
pub struct Right {
    key: Digest,
    quick_key: Digest,
}

impl Right {
    pub fn key(&self) -> Digest {
        self.key
    }

    pub fn quick_key(&self) -> Digest {
        self.quick_key
    }

    /// Turns it into something the recorder stores after the journal has it.
    pub fn save(self, workflow: &str, node: &str, entry: Entry) -> Saved {
        Saved {
            key: self.key,
            quick_keys: vec![self.quick_key],
            workflow: workflow.to_owned(),
            node: node.to_owned(),
            entry,
        }
    }
}

/// What a lookup found.
#[derive(Debug)]
pub enum Lookup {
    Hit(Box<Entry>),
    Miss(Right),
    /// There is an entry, but its bytes are not what was stored.
    Damaged(Right),
    /// There is an entry, but older than the node's `ttl`.
    Expired(Right),
}

/// Reads entries. One connection, one owner.
#[derive(Debug)]
pub struct Cache {
    connection: Connection,
}

impl Cache {
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Everything until [`Cache::look_again`] sees the index as it is now: one lock for many lookups.
    pub fn look_once(&self) {
        // Without it each lookup locks for itself: slower, not wrong.
        self.connection.execute_batch("begin").ok();
    }

    pub fn look_again(&self) {
        self.connection.execute_batch("commit").ok();
    }

    /// From here on what others have written since [`Cache::look_once`] is seen as well.
    pub fn look_anew(&self) {
        if !self.connection.is_autocommit() {
            self.look_again();
            self.look_once();
        }
    }

    /// Looks under the key that needs no tree. An entry's commit may have been made on another base; `heads` then
    /// holds the one for this base. A quick key speaks of the very entry that it was added for, not of a later one.
    pub fn quick(&self, key: Digest, oldest: i64) -> rusqlite::Result<Option<Box<Entry>>> {
        let mut statement = self.connection.prepare_cached(
            "select e.body, e.sum, q.heads from quick q join entries e \
             on e.key = q.entry and e.sum = q.sum where q.key = ?1",
        )?;
        let mut rows = statement.query([key.as_bytes().as_slice()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let Some(mut entry) = without_manifest(row)? else { return Ok(None) };
        if entry.created < oldest {
            return Ok(None);
        }
        if let Some(commit) = row.get::<_, Option<String>>(2)? {
            entry.result.commit = Some(commit);
        }
        Ok(Some(entry))
    }

    /// Looks under the key over content. `oldest` is the earliest acceptable creation, milliseconds since the epoch.
    pub fn content(&self, key: Digest, quick_key: Digest, oldest: i64) -> rusqlite::Result<Lookup> {
        let right = Right { key, quick_key };
        let mut statement = self.connection.prepare_cached("select body, sum from entries where key = ?1")?;
        let mut rows = statement.query([key.as_bytes().as_slice()])?;
        let Some(row) = rows.next()? else { return Ok(Lookup::Miss(right)) };
        Ok(match whole(row)? {
            None => Lookup::Damaged(right),
            Some(entry) if entry.created < oldest => Lookup::Expired(right),
            Some(entry) => Lookup::Hit(entry),
        })
    }

    /// The right to save without looking: for `--fresh`, and for a hit whose objects are gone.
    pub fn ignore(key: Digest, quick_key: Digest) -> Right {
        Right { key, quick_key }
    }

    /// The newest entries of a node, newest first.
    pub fn latest(&self, workflow: &str, node: &str, count: usize) -> Vec<Entry> {
        index::latest(&self.connection, workflow, node, count).unwrap_or_default()
    }

    /// When a node failed last, as far as that is known.
    pub fn failure(&self, workflow: &str, node: &str) -> Option<index::Failure> {
        index::failure(&self.connection, workflow, node).ok().flatten()
    }

    pub fn merge(&self, key: Digest) -> Option<String> {
        let mut statement =
            self.connection.prepare_cached("select result from merges where key = ?1").ok()?;
        let mut rows = statement.query([key.as_bytes().as_slice()]).ok()?;
        rows.next().ok()??.get(0).ok()
    }

    /// See [`index::generation`]; `None` when the index has none.
    pub fn generation(&self) -> Option<i64> {
        index::generation(&self.connection).ok()
    }

    pub fn durations(&self, workflow: &str) -> std::collections::HashMap<String, u64> {
        index::durations(&self.connection, workflow).unwrap_or_default()
    }

    pub fn stats(&self) -> rusqlite::Result<Stats> {
        let count = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        Ok(Stats {
            entries: count("select count(*) from entries")?,
            entry_bytes: count("select coalesce(sum(length(body)), 0) from entries")?,
            saved_ms: count("select coalesce(sum(json_extract(body, '$.duration_ms')), 0) from entries")?,
            oldest: self
                .connection
                .query_row("select min(created) from entries", [], |row| row.get(0))
                .unwrap_or(None),
        })
    }
}

/// What the index holds.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    pub entries: i64,
    pub entry_bytes: i64,
    /// What making all entries took, milliseconds.
    pub saved_ms: i64,
    /// Creation of the oldest entry, milliseconds since the epoch.
    pub oldest: Option<i64>,
}

fn whole(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Box<Entry>>> {
    Ok(sound(row)?.and_then(|body| serde_json::from_slice(body).ok()))
}

/// The same without the explanation of its key, which a hit has no use for.
fn without_manifest(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Box<Entry>>> {
    #[derive(Deserialize)]
    struct Body {
        result: NodeResult,
        base_tree: Option<String>,
        duration_ms: u64,
        usage: Usage,
        log: Option<LogPlace>,
        created: i64,
    }
    let Some(body) = sound(row)? else { return Ok(None) };
    let Ok(Body { result, base_tree, duration_ms, usage, log, created }) = serde_json::from_slice(body)
    else {
        return Ok(None);
    };
    let manifest = StoredManifest::default();
    Ok(Some(Box::new(Entry { result, base_tree, duration_ms, usage, log, created, manifest })))
}

/// The bytes of an entry, if they are what was stored.
fn sound<'r>(row: &'r rusqlite::Row<'_>) -> rusqlite::Result<Option<&'r [u8]>> {
    let body = row.get_ref(0)?.as_bytes().unwrap_or_default();
    let sum = row.get_ref(1)?.as_bytes().unwrap_or_default();
    Ok((Digest::of_bytes(body).as_bytes() == sum).then_some(body))
}

/// An entry on its way into the index.
#[derive(Debug)]
pub struct Saved {
    key: Digest,
    quick_keys: Vec<Digest>,
    workflow: String,
    node: String,
    entry: Entry,
}

impl Saved {
    /// What a journal record says of an entry: everything but the explanation of its key.
    pub fn from_journal(workflow: &str, record: &Record, finished: &NodeFinished) -> Option<Self> {
        let key = Digest::from_hex(finished.key.as_deref()?)?;
        let quick_key = Digest::from_hex(finished.quick_key.as_deref()?)?;
        let created = record.time.parse::<jiff::Timestamp>().ok()?.as_millisecond();
        let entry = Entry {
            result: finished.result.clone()?,
            base_tree: finished.base_tree.clone(),
            duration_ms: finished.duration_ms,
            usage: finished.usage,
            log: finished.log.clone(),
            created,
            manifest: StoredManifest::default(),
        };
        let node = finished.node.clone();
        Some(Self { key, quick_keys: vec![quick_key], workflow: workflow.to_owned(), node, entry })
    }

    /// An entry that another clone made, whose objects are here.
    pub fn from_elsewhere(keys: (Digest, Vec<Digest>), workflow: String, node: String, entry: Entry) -> Self {
        Self { key: keys.0, quick_keys: keys.1, workflow, node, entry }
    }

    pub fn key(&self) -> Digest {
        self.key
    }

    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Puts it into the index, in place of whatever is there.
    pub fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.put(connection, "insert or replace into entries values (?1, ?2, ?3, ?4, ?5, ?6)")
    }

    /// Puts it into the index, unless what is there is newer: journals may be read in any order.
    pub fn insert_if_newer(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.put(
            connection,
            "insert into entries values (?1, ?2, ?3, ?4, ?5, ?6) on conflict (key) do update set \
             created = ?4, body = ?5, sum = ?6 where created <= ?4",
        )
    }

    fn put(&self, connection: &Connection, statement: &str) -> rusqlite::Result<()> {
        let body = serde_json::to_string(&self.entry).expect("an entry has only string keys");
        connection.prepare_cached(statement)?.execute(params![
            self.key.as_bytes().as_slice(),
            self.workflow,
            self.node,
            self.entry.created,
            body,
            Digest::of_bytes(body.as_bytes()).as_bytes().as_slice(),
        ])?;
        for quick_key in &self.quick_keys {
            add_quick(connection, *quick_key, self.key, None)?;
        }
        index::add_duration(connection, &self.workflow, &self.node, self.entry.duration_ms)
    }
}

/// Lets a quick key find an entry; `commit` is the entry's change on the base that the quick key stands for.
pub fn add_quick(
    connection: &Connection,
    quick_key: Digest,
    key: Digest,
    commit: Option<&str>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("insert or replace into quick select ?1, key, sum, ?3 from entries where key = ?2")?
        .execute(params![quick_key.as_bytes().as_slice(), key.as_bytes().as_slice(), commit])?;
    Ok(())
}

/// Remembers what a merge gave.
pub fn add_merge(connection: &Connection, key: Digest, result: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("insert or replace into merges values (?1, ?2)")?
        .execute(params![key.as_bytes().as_slice(), result])?;
    Ok(())
}

/// Forgets every entry and merge; durations stay.
///
/// # Errors
/// When the index refuses.
pub fn clear(connection: &Connection) -> rusqlite::Result<usize> {
    let entries = connection.execute("delete from entries", [])?;
    connection.execute_batch("delete from quick; delete from merges; delete from uses; delete from seen;")?;
    Ok(entries)
}
