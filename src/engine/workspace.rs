//! Directories a node works in: a leased slot, an empty directory, or the user's checkout; and its `$SPB_OUT`.
//! Scratch rooms are used again when a node left them empty, because making directories is most of what they cost.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::disk::{self, DiskError, Durability, Lock};
use crate::git::lease::Lease;
use crate::host;
use crate::name::RunId;

/// Where one node works.
#[derive(Debug)]
pub enum Place {
    Slot(Box<Lease>),
    /// The room's own empty directory.
    Scratch,
    /// The user's checkout, with the lock that keeps other spb processes away.
    Repo {
        path: PathBuf,
        _lock: Lock,
    },
}

/// A node's place and its room for outputs.
#[derive(Debug)]
pub struct Workspace {
    pub place: Place,
    pub room: Room,
}

impl Workspace {
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Slot(lease) => lease.path(),
            Place::Scratch => &self.room.work,
            Place::Repo { path, .. } => path,
        }
    }
}

/// A small directory of its own for one running node: `work` (scratch), `out` (`$SPB_OUT`), `output` (`$SPB_OUTPUT`).
#[derive(Debug)]
pub struct Room {
    root: PathBuf,
    pub work: PathBuf,
    pub out: PathBuf,
    pub output: PathBuf,
    pub stdout: PathBuf,
    /// Something of its node may still run: it is not used again.
    pub is_doubtful: bool,
}

/// Hands out rooms under one directory of this process: `<rooms>/<N>/`. Beside it lie `<N>.lock`, held through the kernel
/// while the process lives, and `<N>.runs`, which names the runs it works on until it ends in order: whoever comes next
/// sees from the two that it died, and of what.
#[derive(Debug)]
pub struct Rooms {
    parent: PathBuf,
    runs: Vec<RunId>,
    /// Only rooms known to be empty; the one thing that units hand back and forth.
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    /// Made for the first node that needs a room: a run whose results are all in the cache leaves no trace here.
    own: Option<(PathBuf, Lock)>,
    rooms: Vec<Room>,
    made: usize,
}

impl Rooms {
    /// Rooms below `parent` for a process that works on `runs`. Ends what dead processes left running, and removes
    /// their rooms.
    pub fn open(parent: PathBuf, runs: Vec<RunId>) -> Self {
        let entries = std::fs::read_dir(&parent).into_iter().flatten().flatten();
        let left = entries.filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.strip_suffix(".runs")?.parse::<u32>().ok()
        });
        for number in left {
            // What cannot be removed now is in nobody's way: it is tried again by whoever takes the number.
            drop(take_over(&parent, number));
        }
        Self { parent, runs, free: Mutex::new(Free::default()) }
    }

    /// # Errors
    /// When a directory cannot be made.
    pub fn take(&self) -> Result<Room, DiskError> {
        let root = {
            let mut free = self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(room) = free.rooms.pop() {
                return Ok(room);
            }
            free.made += 1;
            let made = free.made;
            self.own(&mut free)?.join(made.to_string())
        };
        let room = Room {
            work: root.join("work"),
            out: root.join("out"),
            output: root.join("output"),
            stdout: root.join("stdout"),
            root,
            is_doubtful: false,
        };
        disk::create_directory(&room.work)?;
        disk::create_directory(&room.out)?;
        Ok(room)
    }

    fn own<'a>(&self, free: &'a mut Free) -> Result<&'a Path, DiskError> {
        if free.own.is_none() {
            disk::create_directory(&self.parent)?;
            let mut number = 1;
            let lock = loop {
                match take_over(&self.parent, number)? {
                    Some(lock) => break lock,
                    None => number += 1,
                }
            };
            let runs: String = self.runs.iter().map(|run| format!("{run}\n")).collect();
            disk::replace(&runs_file(&self.parent, number), runs.as_bytes(), Durability::Crash)?;
            free.own = Some((self.parent.join(number.to_string()), lock));
        }
        Ok(free.own.as_ref().map(|(directory, _)| &**directory).expect("it was made just now"))
    }

    /// Takes a room back. One that is doubtful or cannot be emptied is not used again.
    pub fn give_back(&self, room: Room) {
        if room.is_doubtful {
            disk::remove(&room.root).ok();
        } else if room.clear().is_ok() {
            self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner).rooms.push(room);
        }
    }

    /// Removes all rooms.
    pub fn remove(&self) {
        let mut free = self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((directory, lock)) = free.own.take() {
            make_removable(&directory);
            if disk::remove(&directory).is_ok() {
                disk::remove(&directory.with_extension("runs")).ok();
            }
            drop(lock);
        }
    }
}

fn runs_file(parent: &Path, number: u32) -> PathBuf {
    parent.join(format!("{number}.runs"))
}

/// Locks a number and clears what a dead process left under it; `None` when a living one has it.
fn take_over(parent: &Path, number: u32) -> Result<Option<Lock>, DiskError> {
    let Some(lock) = Lock::attempt(&parent.join(format!("{number}.lock")))? else { return Ok(None) };
    let runs = runs_file(parent, number);
    for run in std::fs::read_to_string(&runs).unwrap_or_default().lines() {
        host::sweep(run, None);
    }
    let directory = parent.join(number.to_string());
    make_removable(&directory);
    disk::remove(&directory)?;
    disk::remove(&runs)?;
    Ok(Some(lock))
}

impl Room {
    /// Empties it; cheap when nothing is in it.
    pub fn clear(&self) -> Result<(), DiskError> {
        for directory in [&self.work, &self.out] {
            let mut entries = match std::fs::read_dir(directory) {
                Ok(entries) => entries,
                Err(_) => {
                    disk::create_directory(directory)?;
                    continue;
                }
            };
            if entries.next().is_some() {
                make_removable(directory);
                disk::remove(directory)?;
                disk::create_directory(directory)?;
            }
        }
        for file in [&self.output, &self.stdout] {
            // One call: a node that wrote nothing has no such file.
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => disk::remove(file)?,
                _ => {}
            }
        }
        Ok(())
    }

    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Gives back the permissions that a node took from its own directories, so that they can be removed.
fn make_removable(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(meta) = std::fs::symlink_metadata(&directory) else { continue };
        if meta.permissions().mode() & 0o700 != 0o700 {
            std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).ok();
        }
        let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        open.extend(
            entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()),
        );
    }
}
