//! Finds and kills what a run left behind, by the environment that its processes inherited. Reads `/proc` directly:
//! a scan costs a few microseconds per process.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::identity::{hold, is_alive, signal, stat};
use crate::event::Process;

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills every process of this user whose environment holds `SPB_RUN=<run>` (and `SPB_NODE=<node>`), and its process
/// group when the group's leader matches too, until none is left or five seconds have passed. Never ourselves nor an
/// ancestor. Blocks. Returns how many were found.
///
/// A daemon that overwrites its own environment (some do, to show a title) is not found, unless its group leader is.
pub fn sweep(run: &str, node: Option<&str>) -> usize {
    let marks = marks(run, node);
    let spared = ourselves_and_ancestors();
    let started = Instant::now();
    let mut found = Found::default();
    let mut pause = Duration::from_millis(1);
    loop {
        let before = found.processes.len();
        let living = kill_matching(&marks, &spared, &mut found);
        if living == 0 && !found.remain() || started.elapsed() > PATIENCE {
            return found.processes.len();
        }
        if found.processes.len() == before {
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

/// Kills the process group that exactly this process leads, if it still runs, and waits (at most five seconds) until
/// the leader is gone. Blocks.
pub fn kill_group(leader: &Process) {
    let Some(pid) = number(leader.pid).filter(|_| is_alive(leader)) else { return };
    if rustix::process::getpgid(Some(pid)) == Ok(pid) {
        rustix::process::kill_process_group(pid, Signal::KILL).ok();
    } else {
        signal(leader, Signal::KILL).ok();
    }
    let started = Instant::now();
    while is_alive(leader) && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What was killed. It may take a moment to be gone, and shows no environment meanwhile.
#[derive(Default)]
struct Found {
    /// Process id and start time.
    processes: HashMap<u32, u64>,
    groups: HashSet<u32>,
}

impl Found {
    fn remain(&self) -> bool {
        let lives = |(pid, started): (&u32, &u64)| {
            stat(*pid).is_some_and(|stat| stat.started == *started && !stat.ended)
        };
        self.processes.iter().any(lives) || self.groups.iter().any(|group| group_lives(*group))
    }
}

fn marks(run: &str, node: Option<&str>) -> Vec<Vec<u8>> {
    let mut marks = vec![format!("SPB_RUN={run}").into_bytes()];
    marks.extend(node.map(|node| format!("SPB_NODE={node}").into_bytes()));
    marks
}

/// Whether a process group has a member that still runs; a zombie that nobody has reaped does not.
pub fn group_lives(group: u32) -> bool {
    processes().any(|pid| stat(pid).is_some_and(|stat| stat.group == group && !stat.ended))
}

/// Signals what matches; returns how many live ones there were.
fn kill_matching(marks: &[Vec<u8>], spared: &HashSet<u32>, found: &mut Found) -> usize {
    let mut living = 0;
    let mut environment = Vec::new();
    for pid in processes().filter(|pid| !spared.contains(pid)) {
        if !matches(pid, marks, &mut environment) {
            continue;
        }
        // Held, then looked at again: what is signalled is what was looked at, whoever gets the id later.
        let Some(send) = number(pid).and_then(hold) else { continue };
        let Some(stat) = stat(pid) else { continue };
        if !is_ours(pid) || !matches(pid, marks, &mut environment) {
            continue;
        }
        living += 1;
        found.processes.insert(pid, stat.started);
        if kill_matching_group(stat.group, marks, spared) {
            found.groups.insert(stat.group);
        }
        let _ = send(Signal::KILL);
    }
    living
}

/// Only where the leader belongs to the run as well: it vouches for the others.
fn kill_matching_group(group: u32, marks: &[Vec<u8>], spared: &HashSet<u32>) -> bool {
    let ours = rustix::process::getpgrp().as_raw_nonzero().get().unsigned_abs();
    let may = group != ours && !spared.contains(&group) && matches(group, marks, &mut Vec::new());
    may && number(group).is_some_and(|group| rustix::process::kill_process_group(group, Signal::KILL).is_ok())
}

fn number(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn ourselves_and_ancestors() -> HashSet<u32> {
    let mut spared = HashSet::new();
    let mut pid = std::process::id();
    while pid != 0 && spared.insert(pid) {
        pid = stat(pid).map_or(0, |stat| stat.parent);
    }
    spared
}

#[cfg(target_os = "linux")]
fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether it runs as our user: as root we can read the environment of everyone.
#[cfg(target_os = "linux")]
fn is_ours(pid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::geteuid().as_raw();
    std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| meta.uid() == user)
}

/// Whether each mark is one whole variable of the process's environment. A zombie has none.
#[cfg(target_os = "linux")]
fn matches(pid: u32, marks: &[Vec<u8>], environment: &mut Vec<u8>) -> bool {
    use std::io::Read;
    environment.clear();
    let read = std::fs::File::open(format!("/proc/{pid}/environ"))
        .and_then(|mut file| file.read_to_end(environment));
    read.is_ok()
        && marks.iter().all(|mark| environment.split(|byte| *byte == 0).any(|variable| variable == mark))
}

#[cfg(not(target_os = "linux"))]
fn processes() -> impl Iterator<Item = u32> {
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};
    let Ok(mut system) = System::new() else { return Vec::new().into_iter() };
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, ProcessRefreshKind::nothing());
    system.processes().keys().map(|pid| pid.as_u32()).collect::<Vec<_>>().into_iter()
}

#[cfg(not(target_os = "linux"))]
fn is_ours(pid: u32) -> bool {
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};
    let id = sysinfo::Pid::from_u32(pid);
    let Ok(mut system) = System::new() else { return false };
    let kind = ProcessRefreshKind::nothing().with_user(UpdateKind::Always);
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), true, kind);
    let user = system.process(id).and_then(|process| process.effective_user_id().or(process.user_id()));
    user.is_some_and(|user| **user == rustix::process::geteuid().as_raw())
}

#[cfg(not(target_os = "linux"))]
fn matches(pid: u32, marks: &[Vec<u8>], _: &mut Vec<u8>) -> bool {
    use std::os::unix::ffi::OsStrExt;
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};
    let id = sysinfo::Pid::from_u32(pid);
    let Ok(mut system) = System::new() else { return false };
    let kind = ProcessRefreshKind::nothing().with_environ(UpdateKind::Always);
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), true, kind);
    system.process(id).is_some_and(|process| {
        marks.iter().all(|mark| process.environ().iter().any(|variable| variable.as_bytes() == mark))
    })
}
