//! How many slots may be leased at the same time, by all processes of a repository together: a lease goes with one of as
//! many permits, which are locks of the kernel and so end with their process. Whoever wants one waits in line, so that a
//! process that gives one back and wants it again is not always first. Knows nothing of slots.

use crate::disk::{self, Lock};

use super::{GitError, Pool};

/// The right to hold a slot, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    _lock: Lock,
}

/// A place among those that wait for a permit.
#[derive(Debug)]
pub struct Waiting {
    pool: Pool,
    max: usize,
    /// Held by the one that is first in line.
    turn: Option<Lock>,
}

impl Pool {
    /// Asks for one of `max` permits. Those who ask for fewer have theirs among those of the ones who ask for more.
    pub fn permit(&self, max: usize) -> Waiting {
        Waiting { pool: self.clone(), max, turn: None }
    }
}

impl Waiting {
    /// Takes a permit, if one is free and nobody is before us. Never waits itself.
    ///
    /// # Errors
    /// When a lock file cannot be made.
    pub fn attempt(&mut self) -> Result<Option<Permit>, GitError> {
        let directory = self.pool.directory().join("permits");
        disk::create_directory(&directory).map_err(GitError::NoPool)?;
        if self.turn.is_none() {
            self.turn = Lock::attempt(&directory.join("turn.lock"))?;
        }
        if self.turn.is_some() {
            for number in 1..=self.max {
                if let Some(lock) = Lock::attempt(&directory.join(format!("{number}.lock")))? {
                    self.turn = None;
                    return Ok(Some(Permit { _lock: lock }));
                }
            }
        }
        Ok(None)
    }
}
