//! Directories a node works in: a leased slot, an empty directory, or the user's checkout; and its `$SPB_OUT`.
//! Scratch rooms are used again when a node left them empty, because making directories is most of what they cost.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::presence::Presence;
use crate::disk::{self, DiskError, Lock};
use crate::git::lease::Lease;
use crate::git::permit::Permit;

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
    /// Given back after the place.
    pub permit: Option<Permit>,
}

impl Workspace {
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Slot(lease) => lease.path(),
            Place::Scratch => &self.room.work,
            Place::Repo { path, .. } => path,
        }
    }

    /// The same, unless others may work there as well.
    pub fn files_of_its_own(&self) -> Option<&Path> {
        match &self.place {
            Place::Slot(_) | Place::Scratch => Some(self.path()),
            Place::Repo { .. } => None,
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

/// Hands out rooms under one directory of this process: `<rooms>/<N>/`.
#[derive(Debug)]
pub struct Rooms {
    parent: PathBuf,
    presence: Presence,
    /// Only rooms known to be empty; the one thing that units hand back and forth.
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    rooms: Vec<Room>,
    made: usize,
}

impl Rooms {
    /// Rooms below `parent`. Those that dead processes left go when their number is taken.
    pub fn new(parent: PathBuf, presence: Presence) -> Self {
        Self { parent, presence, free: Mutex::new(Free::default()) }
    }

    /// Makes it known, durably, that this process is at work: before anything is made that a crash could leave half done.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn announce(&self) -> Result<(), DiskError> {
        self.own().map(drop)
    }

    /// This process's directory.
    fn own(&self) -> Result<PathBuf, DiskError> {
        let clear = |number: u32| remove_all(&self.parent.join(number.to_string()));
        Ok(self.parent.join(self.presence.number(clear)?.to_string()))
    }

    /// # Errors
    /// When a directory cannot be made.
    pub fn take(&self) -> Result<Room, DiskError> {
        let number = {
            let mut free = self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(room) = free.rooms.pop() {
                return Ok(room);
            }
            free.made += 1;
            free.made
        };
        let root = self.own()?.join(number.to_string());
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
        self.presence.end(|number| remove_all(&self.parent.join(number.to_string())));
    }
}

/// Removes a directory of rooms, whatever nodes did to its permissions.
pub fn remove_all(directory: &Path) -> Result<(), DiskError> {
    make_removable(directory);
    disk::remove(directory)
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
