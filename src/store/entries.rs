//! All entries of the index, for those who look after the cache as a whole: what there is, when it was used last, and the
//! removal of some. Knows nothing of what they name.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, params};

use super::cache::Entry;
use super::uses::DAY;
use crate::digest::Digest;

/// One entry.
#[derive(Debug)]
pub struct Row {
    pub key: Digest,
    /// Quick keys that find it with the commit that it has.
    pub quick_keys: Vec<Digest>,
    /// Commits that are its change on other bases.
    pub moved: Vec<String>,
    pub workflow: String,
    pub node: String,
    /// Its size in the index.
    pub bytes: u64,
    /// Made or used last, milliseconds since the epoch, to the day.
    pub used: i64,
    /// `None` when it is not what was stored.
    pub entry: Option<Entry>,
}

/// Reads them all, those first that were made first.
///
/// # Errors
/// When the index cannot be read.
pub fn all(connection: &Connection) -> rusqlite::Result<Vec<Row>> {
    let days = used(connection)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut sums = Vec::new();
    let mut statement = connection
        .prepare("select key, workflow, node, created, body, sum from entries order by created, key")?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let Some(key) = Digest::from_slice(&row.get::<_, Vec<u8>>(0)?) else { continue };
        let body = row.get_ref(4)?.as_bytes().unwrap_or_default();
        let sum = row.get_ref(5)?.as_bytes().unwrap_or_default();
        let is_whole = Digest::of_bytes(body).as_bytes() == sum;
        let created: i64 = row.get(3)?;
        sums.push(sum.to_vec());
        rows.push(Row {
            key,
            quick_keys: Vec::new(),
            moved: Vec::new(),
            workflow: row.get(1)?,
            node: row.get(2)?,
            bytes: body.len() as u64,
            used: created.max(days.get(&key).copied().unwrap_or(0)),
            entry: if is_whole { serde_json::from_slice(body).ok() } else { None },
        });
    }
    let places: HashMap<Digest, usize> = rows.iter().enumerate().map(|(at, row)| (row.key, at)).collect();
    let mut statement = connection.prepare("select key, entry, sum, heads from quick")?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let quick_key = Digest::from_slice(&row.get::<_, Vec<u8>>(0)?);
        let key = Digest::from_slice(&row.get::<_, Vec<u8>>(1)?);
        let (Some(quick_key), Some(&at)) = (quick_key, key.as_ref().and_then(|key| places.get(key))) else {
            continue;
        };
        let row_sum: Vec<u8> = row.get(2)?;
        let heads: Option<String> = row.get(3)?;
        let entry = &mut rows[at];
        entry.used = entry.used.max(days.get(&quick_key).copied().unwrap_or(0));
        let own = entry.entry.as_ref().and_then(|entry| entry.result.commit.clone());
        if row_sum != sums[at] {
            // It speaks of an entry that was there before.
        } else if heads.is_none() || heads == own {
            entry.quick_keys.push(quick_key);
        } else {
            entry.moved.extend(heads);
        }
    }
    Ok(rows)
}

/// When each key was used last, milliseconds since the epoch: the start of the day.
fn used(connection: &Connection) -> rusqlite::Result<HashMap<Digest, i64>> {
    let mut used = HashMap::new();
    // An index from before has no such table.
    let Ok(mut statement) = connection.prepare("select key, used from uses") else { return Ok(used) };
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(key) = Digest::from_slice(&row.get::<_, Vec<u8>>(0)?) {
            used.insert(key, row.get::<_, i64>(1)? * DAY);
        }
    }
    Ok(used)
}

/// Removes entries, with everything that finds them.
///
/// # Errors
/// When the index refuses: then all are there.
pub fn remove(connection: &mut Connection, keys: &HashSet<Digest>) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    {
        let mut entries = transaction.prepare("delete from entries where key = ?1")?;
        for key in keys {
            entries.execute(params![key.as_bytes().as_slice()])?;
        }
    }
    transaction.execute_batch(
        "delete from quick where entry not in (select key from entries);
         delete from uses where key not in (select key from entries) and key not in (select key from quick);
         delete from seen;",
    )?;
    transaction.commit()
}

/// What merges gave, by key.
///
/// # Errors
/// When the index cannot be read.
pub fn merges(connection: &Connection) -> rusqlite::Result<Vec<(Vec<u8>, String)>> {
    let mut statement = connection.prepare("select key, result from merges")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Forgets merges.
///
/// # Errors
/// When the index refuses.
pub fn forget_merges(connection: &mut Connection, keys: &[Vec<u8>]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for key in keys {
        transaction.execute("delete from merges where key = ?1", [key])?;
    }
    transaction.commit()
}
