//! When entries were used last, and how often the cache helped. A run whose results are all there must not pay for that: days
//! are fine enough, and a run that finds the same entries again on the same day writes one line.

use rusqlite::{Connection, params};
use serde::Serialize;

use crate::digest::Digest;
use crate::event::{NodeFinished, Outcome};

/// Milliseconds of a day.
pub const DAY: i64 = 86_400_000;

/// What a process took from the cache and what it had to run.
#[derive(Debug, Default)]
pub struct Uses {
    keys: Vec<Digest>,
    /// All keys together, in whatever order they came.
    together: [u8; 32],
    hits: u64,
    misses: u64,
    saved_ms: u64,
}

impl Uses {
    /// Notes how a node ended.
    pub fn note(&mut self, finished: &NodeFinished) {
        match (finished.outcome, finished.key.as_deref().and_then(Digest::from_hex)) {
            (Outcome::Cached, Some(key)) => {
                self.hits += 1;
                self.saved_ms += finished.saved_ms;
                for (sum, byte) in self.together.iter_mut().zip(key.as_bytes()) {
                    *sum ^= byte;
                }
                self.keys.push(key);
            }
            (Outcome::Succeeded, Some(_)) => self.misses += 1,
            _ => {}
        }
    }

    /// Notes results that an earlier run of the same day took as well, and noted then.
    pub fn note_again(&mut self, hits: usize, saved_ms: u64) {
        self.hits += hits as u64;
        self.saved_ms += saved_ms;
    }

    /// What the results that were taken had cost.
    pub fn saved_ms(&self) -> u64 {
        self.saved_ms
    }

    pub fn is_empty(&self) -> bool {
        self.hits + self.misses == 0
    }

    /// Writes it down, `now` being milliseconds since the epoch.
    pub fn write(&self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        let day = now / DAY;
        connection
            .prepare_cached(
                "insert into days values (?1, ?2, ?3, ?4) on conflict (day) do update set \
                 hits = hits + ?2, misses = misses + ?3, saved_ms = saved_ms + ?4",
            )?
            .execute(params![day, self.hits as i64, self.misses as i64, self.saved_ms as i64])?;
        if self.keys.is_empty() {
            return Ok(());
        }
        let known: Option<i64> = connection
            .prepare_cached("select day from seen where keys = ?1")?
            .query_map([self.together.as_slice()], |row| row.get(0))?
            .next()
            .transpose()?;
        if known == Some(day) {
            return Ok(());
        }
        let mut used = connection.prepare_cached("insert or replace into uses values (?1, ?2)")?;
        for key in &self.keys {
            used.execute(params![key.as_bytes().as_slice(), day])?;
        }
        connection
            .prepare_cached("insert or replace into seen values (?1, ?2)")?
            .execute(params![self.together.as_slice(), day])?;
        Ok(())
    }
}

/// How often the cache helped, over all days that are remembered.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Helped {
    pub hits: u64,
    pub misses: u64,
    /// What the hits would have taken, milliseconds.
    pub saved_ms: u64,
}

/// # Errors
/// When the index cannot be read; one that has no such tables yet gives zeros.
pub fn helped(connection: &Connection) -> rusqlite::Result<Helped> {
    let sums =
        "select coalesce(sum(hits), 0), coalesce(sum(misses), 0), coalesce(sum(saved_ms), 0) from days";
    match connection.query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))) {
        Ok((hits, misses, saved)) => {
            let positive = |number: i64| number.unsigned_abs();
            Ok(Helped { hits: positive(hits), misses: positive(misses), saved_ms: positive(saved) })
        }
        Err(rusqlite::Error::SqliteFailure(_, Some(message))) if message.contains("no such table") => {
            Ok(Helped::default())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, index};

    #[test]
    fn the_same_entries_on_the_same_day_are_noted_once_and_counted_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path());
        store.prepare().unwrap();
        let connection = index::open(&store).unwrap();
        let mut uses = Uses::default();
        for name in ["a", "b"] {
            let key = Digest::of_bytes(name.as_bytes()).to_hex();
            let finished = NodeFinished {
                key: Some(key),
                saved_ms: 10,
                ..NodeFinished::without_run(name, Outcome::Cached, "")
            };
            uses.note(&finished);
        }
        uses.write(&connection, DAY * 3).unwrap();
        connection.execute("delete from uses", []).unwrap();
        uses.write(&connection, DAY * 3 + 5).unwrap();
        let count =
            || connection.query_row("select count(*) from uses", [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count(), 0, "they were noted already");
        uses.write(&connection, DAY * 4).unwrap();
        assert_eq!(count(), 2);
        let helped = helped(&connection).unwrap();
        assert_eq!((helped.hits, helped.misses, helped.saved_ms), (6, 0, 60));
    }
}
