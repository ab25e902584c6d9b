//! That a process works here, for those who come after it: what it left is cleared by whoever finds that it died.
//!
//! `<store>/engines/<N>.lock` is held through the kernel while the process lives; `<N>.runs` names the runs it works on
//! and lies there, durably, from before its first node until it has ended in order; `<N>.group` names the kernel's group of
//! all its processes, where it could make one. A process that died, by whatever
//! means, is a number with runs that nobody holds. It left perhaps processes, rooms, and, when the machine stopped as
//! well, git objects and refs of which only the names are on disk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use super::workspace::remove_all;
use crate::disk::{self, DiskError, Durability, Lock};
use crate::git::{GitError, RepoPath, loose};
use crate::host;
use crate::host::cgroup::{self, Group};
use crate::name::RunId;
use crate::store::{Places, Store, processes};

/// The presence of this process.
#[derive(Debug)]
pub struct Presence {
    directory: PathBuf,
    runs: Vec<RunId>,
    /// Made for the first node: a run whose results are all in the cache leaves no trace here.
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    number: u32,
    group: Option<Group>,
    _lock: Lock,
}

/// How much earlier than its note a process may have begun to write, and clocks may differ.
const SLACK: Duration = Duration::from_secs(5);

impl Presence {
    pub fn new(store: &Store, runs: Vec<RunId>) -> Self {
        Self { directory: directory(store), runs, held: Mutex::new(None) }
    }

    /// The number of this process, which nobody else has while it lives. `clear` empties what a dead one left under it.
    ///
    /// # Errors
    /// When no number can be taken, noted or cleared.
    pub fn number(&self, clear: impl Fn(u32) -> Result<(), DiskError>) -> Result<u32, DiskError> {
        let mut held = self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(held) = &*held {
            return Ok(held.number);
        }
        disk::create_directory(&self.directory)?;
        let mut number = 1;
        let lock = loop {
            let runs = runs_file(&self.directory, number);
            match Lock::attempt(&lock_file(&self.directory, number))? {
                // What a dead one left there was not cleared at the start: its number stays for another time.
                Some(_) | None if runs.exists() => {}
                Some(lock) => break lock,
                None => {}
            }
            number += 1;
        };
        clear(number)?;
        let runs: String = self.runs.iter().map(|run| format!("{run}\n")).collect();
        disk::replace(&runs_file(&self.directory, number), runs.as_bytes(), Durability::PowerLoss)?;
        *held = Some(Held { number, group: self.group(number), _lock: lock });
        Ok(number)
    }

    /// Enters a group of its own, which is noted first. Without one the sweep by environment has to do.
    fn group(&self, number: u32) -> Option<Group> {
        let group = Group::planned()?;
        let note = group_file(&self.directory, number);
        disk::replace(&note, group.path().as_os_str().as_bytes(), Durability::Crash).ok()?;
        let is_in = group.enter();
        if !is_in {
            disk::remove(&note).ok();
        }
        is_in.then_some(group)
    }

    /// The end of this process's work: nothing is left to clear if `clear` succeeds.
    pub fn end(&self, clear: impl Fn(u32) -> Result<(), DiskError>) {
        let mut held = self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(Held { number, group, _lock }) = held.take() {
            // First what takes no time: whoever is killed here has recorded its end already, and nobody may come after it.
            let is_clear = clear(number).is_ok();
            if let Some(group) = group {
                group.leave();
                disk::remove(&group_file(&self.directory, number)).ok();
            }
            if is_clear {
                disk::remove(&runs_file(&self.directory, number)).ok();
            }
        }
    }
}

/// Clears what dead processes left: ends their processes, removes their rooms below `rooms`, and sets aside objects that
/// did not reach the disk. Returns a sentence for each thing that a person should know.
pub fn succeed_the_dead(store: &Store, repo: &RepoPath, rooms: &Path) -> Vec<String> {
    let directory = directory(store);
    let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
    let left = entries.filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.strip_suffix(".runs")?.parse::<u32>().ok()
    });
    let mut told = Vec::new();
    store.collect_half_made(Places::Near);
    let mut has_died = false;
    for number in left {
        has_died = true;
        match clear(&directory, number, store, repo, rooms) {
            Ok(said) => told.extend(said),
            // It is in nobody's way: it is tried again at the next start.
            Err(error) => told.push(format!("what a dead spb left cannot be cleared: {error}")),
        }
    }
    if has_died {
        store.collect_half_made(Places::Everywhere);
        disk::half_made::collect(rooms.parent().unwrap_or(rooms));
    }
    told
}

/// Ends what a dead engine left running of a run, before anything of it is used again: the processes that it noted, and
/// those that carry the run in their environment.
pub fn end_processes(store: &Store, run: &RunId) {
    for process in processes::read(store, run) {
        if host::is_alive(&process) {
            host::kill_group(&process);
        }
    }
    host::sweep(run.as_str(), None);
}

fn clear(
    directory: &Path,
    number: u32,
    store: &Store,
    repo: &RepoPath,
    rooms: &Path,
) -> Result<Option<String>, GitError> {
    let Some(_lock) = Lock::attempt(&lock_file(directory, number))? else { return Ok(None) };
    let runs = runs_file(directory, number);
    // Another spb was faster.
    let Ok(meta) = std::fs::metadata(&runs) else { return Ok(None) };
    let group = group_file(directory, number);
    if let Ok(path) = std::fs::read(&group) {
        cgroup::end(Path::new(OsStr::from_bytes(&path)));
        disk::remove(&group)?;
    }
    for run in std::fs::read_to_string(&runs).unwrap_or_default().lines().filter_map(RunId::parse) {
        end_processes(store, &run);
    }
    remove_all(&rooms.join(number.to_string()))?;
    let began = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let aside = store.root().join("damaged");
    let objects = loose::set_aside_damaged(repo, began - SLACK, &aside.join("objects"))?;
    let refs = loose::set_aside_lost_refs(repo, "refs", began - SLACK, &aside)?;
    disk::remove(&runs)?;
    Ok((objects + refs > 0).then(|| {
        format!(
            "the machine stopped while spb worked: {objects} objects and {refs} refs that had not reached the disk were \
             moved to `{}`",
            aside.display()
        )
    }))
}

fn directory(store: &Store) -> PathBuf {
    store.root().join("engines")
}

fn lock_file(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number}.lock"))
}

fn group_file(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number}.group"))
}

fn runs_file(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number}.runs"))
}
