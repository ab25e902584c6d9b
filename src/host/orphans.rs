//! Processes that lost their parent while a run goes on: daemons that nodes leave behind. Becoming their new parent makes
//! them cheap to notice, one small file tells whether there are any, and lets none escape: a process can empty its
//! environment, leave its session and change its name, but not choose who adopts it.
//!
//! Whose an orphan is, nothing tells for sure. It cannot be of a node that began after it did, and is of the one whose
//! files it is in; one that may be of several nodes is ended when the last of them has ended.

use std::collections::HashSet;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};

use super::identity::{Stat, hold, stat};

/// How long killed processes, and those that they leave in turn, may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether we had no children when we began to adopt: with `exec spb`, a script hands us its own.
static WERE_ALONE: OnceLock<bool> = OnceLock::new();

/// From now on, descendants whose parents end become our children instead of init's. Only where the system can.
pub fn adopt() {
    WERE_ALONE.get_or_init(|| has_any() == Some(false));
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).ok();
}

/// Whether somebody was adopted; `None` where the system does not tell (Linux without `CONFIG_PROC_CHILDREN`).
pub fn has_any() -> Option<bool> {
    adopted().map(|children| !children.is_empty())
}

/// Kills adopted processes, and what they leave in turn, until none is left or five seconds have passed; those of nodes
/// that still run are spared. `place` holds files of the node that has just ended and of no other. Blocks. Returns how
/// many were found.
///
/// Does nothing where we have children that are no node's.
pub fn end(place: Option<&Path>) -> usize {
    let mut found = HashSet::new();
    if WERE_ALONE.get() != Some(&true) {
        return 0;
    }
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        reap();
        let leaders = leaders();
        let killed = adopted().into_iter().flatten().filter_map(|pid| kill(pid, &leaders, place));
        let before = found.len();
        let living = killed.map(|killed| found.insert(killed)).count();
        if living == 0 || began.elapsed() > PATIENCE {
            return found.len();
        }
        if found.len() == before {
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

/// Reaps adopted processes that have ended. Never waits; our own children belong to other threads and are not touched.
pub fn reap() {
    for pid in adopted().into_iter().flatten() {
        if let Some(pid) = number(pid) {
            rustix::process::waitpid(Some(pid), WaitOptions::NOHANG).ok();
        }
    }
}

/// Kills an adopted process unless it may be of a node that runs; gives its id and start time.
fn kill(pid: u32, leaders: &[(u32, u64)], place: Option<&Path>) -> Option<(u32, u64)> {
    // Held, then looked at: another thread may reap it, and its id go to a stranger.
    let send = number(pid).and_then(hold)?;
    let stat = stat(pid).filter(|stat| !stat.ended && stat.parent == std::process::id())?;
    let is_left_there = place.is_some_and(|place| is_in(pid, place)) && !leads(&stat, leaders);
    if may_be_of(&stat, leaders) && !is_left_there {
        return None;
    }
    send(Signal::KILL).ok().map(|()| (pid, stat.started))
}

/// Whether one of these nodes' processes ran when it began.
fn may_be_of(stat: &Stat, leaders: &[(u32, u64)]) -> bool {
    leaders.iter().any(|(_, started)| *started <= stat.started)
}

/// Whether one of these leads its session.
fn leads(stat: &Stat, leaders: &[(u32, u64)]) -> bool {
    leaders.iter().any(|(pid, _)| *pid == stat.session)
}

fn number(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Children of the main thread: it starts none itself, so that these are the adopted ones.
#[cfg(target_os = "linux")]
fn adopted() -> Option<Vec<u32>> {
    children_of(std::process::id())
}

/// Id and start time of the nodes' own processes: children of the other threads that lead a session.
#[cfg(target_os = "linux")]
fn leaders() -> Vec<(u32, u64)> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let threads = threads.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let children = threads.filter(|thread| *thread != std::process::id()).filter_map(children_of).flatten();
    let leader = |pid| stat(pid).filter(|stat| stat.session == pid).map(|stat| (pid, stat.started));
    children.filter_map(leader).collect()
}

#[cfg(target_os = "linux")]
fn children_of(thread: u32) -> Option<Vec<u32>> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/children")).ok()?;
    Some(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

#[cfg(target_os = "linux")]
fn is_in(pid: u32, place: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|directory| directory.starts_with(place))
}

#[cfg(not(target_os = "linux"))]
fn adopted() -> Option<Vec<u32>> {
    None
}

#[cfg(not(target_os = "linux"))]
fn leaders() -> Vec<(u32, u64)> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
fn is_in(_: u32, _: &Path) -> bool {
    false
}
