//! A control group of the kernel (version 2) for everything that this process starts: what is in one cannot leave it, so
//! that whoever comes after a killed engine finds also those of its daemons that emptied their environment and left
//! their session. Used where this process may make groups beside its own, which is for root and where a service manager
//! delegates; elsewhere the sweep by session, environment and parent has to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{is_alive, this_process};
use crate::event::Process;

/// How long the kernel may take to empty a group whose processes were killed.
const EMPTYING: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(2);

/// The file with a group's processes.
const MEMBERS: &str = "cgroup.procs";

/// First letters of the names of our groups: nothing else is ever touched.
const OURS: &str = "spb-";

/// A group that this process is in.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    before: PathBuf,
}

impl Group {
    /// Where this process could have a group of its own. Makes nothing.
    pub fn planned() -> Option<Self> {
        let before = own()?;
        let process = this_process();
        let boot: String = process.boot.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        let path = before.join(format!("{OURS}{boot}-{}-{}", process.pid, process.started));
        Some(Self { path, before })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the group and enters it, with all threads. False, and nothing made, where that is not allowed or the kernel
    /// cannot end a group at once.
    #[must_use]
    pub fn enter(&self) -> bool {
        if std::fs::create_dir(&self.path).is_err() {
            return false;
        }
        remove_forgotten(&self.before);
        let is_in = self.path.join("cgroup.kill").exists() && join(&self.path).is_ok();
        if !is_in {
            std::fs::remove_dir(&self.path).ok();
        }
        is_in
    }

    /// Goes back, and ends whatever stays behind.
    pub fn leave(self) {
        if join(&self.before).is_ok() {
            end(&self.path);
        }
    }
}

/// Ends everything in a group that [`Group::enter`] made, in groups below it as well, and removes it. Not there any more:
/// nothing to do.
pub fn end(path: &Path) {
    let is_ours = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(OURS));
    if !is_ours || !mount().is_some_and(|mount| path.starts_with(mount)) {
        return;
    }
    let began = Instant::now();
    let mut is_killed = false;
    while path.exists() && remove(path).is_err() && began.elapsed() < EMPTYING {
        if !is_killed {
            is_killed = write(&path.join("cgroup.kill"), "1").is_ok();
        }
        std::thread::sleep(LOOK);
    }
}

/// Removes the empty groups of processes that died and whose repository nobody came back to.
fn remove_forgotten(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let mut words =
            name.to_str().and_then(|name| name.strip_prefix(OURS)).unwrap_or("").split('-').skip(1);
        let pid = words.next().and_then(|pid| pid.parse().ok());
        let started = words.next().and_then(|started| started.parse().ok());
        if let (Some(pid), Some(started)) = (pid, started)
            && !is_alive(&Process { pid, started, boot: this_process().boot })
        {
            // Fails for one with processes in it, which whoever carries on with its runs ends.
            remove(&entry.path()).ok();
        }
    }
}

/// Groups are directories of which only the names can be removed, from below.
fn remove(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    std::fs::remove_dir(path)
}

fn join(group: &Path) -> io::Result<()> {
    write(&group.join(MEMBERS), &std::process::id().to_string())
}

#[expect(clippy::disallowed_methods, reason = "no file is stored: this is how the kernel is spoken to")]
fn write(path: &Path, text: &str) -> io::Result<()> {
    std::fs::write(path, text)
}

/// The directory of the group that this process is in.
fn own() -> Option<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let directory = mount()?.join(path);
    directory.join(MEMBERS).exists().then_some(directory)
}

/// Where the groups of version 2 are mounted.
fn mount() -> Option<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mounts").ok()?;
    text.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_of_ours_are_ended() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = directory.path().join("spb-1-2-3");
        std::fs::create_dir(&elsewhere).unwrap();
        end(&elsewhere);
        assert!(elsewhere.exists());
        if let Some(own) = own() {
            end(&own);
            assert!(own.exists());
        }
    }
}
