//! Gives back the disk that slots take: those that are asked for, those that nobody used for long, and the least used
//! beyond a size. A slot that is leased is never touched. Knows nothing of why somebody wants the room.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::slot::{HALF_WRITTEN, Inner, LENT, Numbers, Place, READY};
use super::{GitError, Holder, Pool, SlotInfo, SlotState, files, worktree};
use crate::disk::{self, Lock};

/// Which slots to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    Number(u32),
}

/// What became of a slot that was to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    Removed(u32),
    /// In use by someone.
    Busy(u32),
}

/// What a pool may keep. Slots in use count, and stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Free slots that were not used for longer go.
    pub unused_for: Option<Duration>,
    /// Of the others, those used least recently go until all together are not larger. Bytes on disk.
    pub size: Option<u64>,
}

/// A slot that is to go, or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    pub slot: SlotInfo,
    pub bytes: u64,
}

/// Whether something is done, or only told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Remove,
    Tell,
}

impl SlotInfo {
    /// Bytes on disk, counted now: this reads the whole slot's directories.
    pub fn disk_bytes(&self) -> u64 {
        directory_bytes(&self.path)
    }
}

impl Pool {
    /// Removes free slots with everything in them; those in use stay and are reported.
    ///
    /// # Errors
    /// When something of a free slot cannot be removed.
    pub fn remove(&self, which: Which) -> Result<Vec<Removal>, GitError> {
        let numbers = match which {
            Which::All => self.inner.numbers(Numbers::Existing)?,
            Which::Number(number) => {
                self.inner.numbers(Numbers::Existing)?.into_iter().filter(|n| *n == number).collect()
            }
        };
        numbers.into_iter().map(|number| self.inner.remove(number)).collect()
    }

    /// Removes what is beyond the bounds. `sweep` ends whatever is left of a holder that died with its slot. Without a
    /// bound on the size this looks at one file for each slot.
    ///
    /// # Errors
    /// When the pool cannot be read, or something of a free slot cannot be removed.
    pub fn collect(
        &self,
        bounds: Bounds,
        act: Act,
        sweep: &dyn Fn(&Holder),
    ) -> Result<Vec<Collected>, GitError> {
        let mut gone = Vec::new();
        for slot in self.beyond(bounds)? {
            let bytes = slot.disk_bytes();
            if act == Act::Tell || self.inner.remove_unused(&slot, sweep)? {
                gone.push(Collected { slot, bytes });
            }
        }
        Ok(gone)
    }

    fn beyond(&self, bounds: Bounds) -> Result<Vec<SlotInfo>, GitError> {
        let slots = self.list()?;
        let now = SystemTime::now();
        let is_old = |slot: &SlotInfo| {
            let age = slot.used.and_then(|used| now.duration_since(used).ok());
            matches!((bounds.unused_for, age), (Some(limit), Some(age)) if age > limit)
        };
        let (mut gone, kept): (Vec<_>, Vec<_>) =
            slots.into_iter().partition(|slot| slot.state != SlotState::Busy && is_old(slot));
        if let Some(limit) = bounds.size {
            let mut sized: Vec<(u64, SlotInfo)> =
                kept.into_iter().map(|slot| (slot.disk_bytes(), slot)).collect();
            let mut total: u64 = sized.iter().map(|(bytes, _)| bytes).sum();
            sized.sort_by_key(|(_, slot)| slot.used);
            for (bytes, slot) in sized {
                if total > limit && slot.state != SlotState::Busy {
                    total -= bytes;
                    gone.push(slot);
                }
            }
        }
        Ok(gone)
    }
}

impl Inner {
    fn remove(&self, number: u32) -> Result<Removal, GitError> {
        let slot = self.place(number);
        let Some(_lock) = Lock::attempt(&slot.beside("lock"))? else { return Ok(Removal::Busy(number)) };
        self.remove_locked(&slot)?;
        Ok(Removal::Removed(number))
    }

    /// Removes a slot that nobody has used since it was listed.
    fn remove_unused(&self, listed: &SlotInfo, sweep: &dyn Fn(&Holder)) -> Result<bool, GitError> {
        let slot = self.place(listed.number);
        let Some(_lock) = Lock::attempt(&slot.beside("lock"))? else { return Ok(false) };
        if slot.used() != listed.used {
            return Ok(false);
        }
        if let Some(holder) = slot.mark().and_then(|mark| mark.holder) {
            sweep(&holder);
        }
        self.remove_locked(&slot)?;
        Ok(true)
    }

    fn remove_locked(&self, slot: &Place) -> Result<(), GitError> {
        slot.mark_dirty(slot.mark().and_then(|mark| mark.holder).as_ref())?;
        files::clear(&slot.path)?;
        worktree::forget(&self.repo, &worktree::admin_name(&self.directory, slot.number))?;
        for file in ["json", READY, LENT, "dirty"] {
            disk::remove(&slot.beside(&format!("{file}.{HALF_WRITTEN}")))?;
            disk::remove(&slot.beside(file))?;
        }
        Ok(())
    }
}

/// Bytes on disk of a directory and everything below; what cannot be read counts as nothing.
pub fn directory_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(meta) = std::fs::symlink_metadata(path) else { return 0 };
    let own = meta.blocks() * 512;
    if !meta.is_dir() {
        return own;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    own + entries.map(|entry| directory_bytes(&entry.path())).sum::<u64>()
}
