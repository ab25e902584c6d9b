//! Finds and kills what a run left behind, by the environment that its processes inherited. Reads `/proc` directly:
//! a scan costs a few microseconds per process.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::identity::{hold, stat};

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
    let mut found = HashSet::new();
    let mut pause = Duration::from_millis(1);
    loop {
        let before = found.len();
        let living = kill_matching(&marks, &spared, &mut found);
        if living == 0 || started.elapsed() > PATIENCE {
            return found.len();
        }
        if found.len() == before {
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

fn marks(run: &str, node: Option<&str>) -> Vec<Vec<u8>> {
    let mut marks = vec![format!("SPB_RUN={run}").into_bytes()];
    marks.extend(node.map(|node| format!("SPB_NODE={node}").into_bytes()));
    marks
}

/// Signals what matches; returns how many live ones there were.
fn kill_matching(marks: &[Vec<u8>], spared: &HashSet<u32>, found: &mut HashSet<u32>) -> usize {
    let mut living = 0;
    for pid in processes().filter(|pid| !spared.contains(pid)) {
        // Held before it is looked at: what is signalled is what was looked at.
        let Some(send) = number(pid).and_then(hold) else { continue };
        if !matches(pid, marks) {
            continue;
        }
        living += 1;
        found.insert(pid);
        kill_group_of(pid, marks, spared);
        let _ = send(Signal::KILL);
    }
    living
}

fn kill_group_of(pid: u32, marks: &[Vec<u8>], spared: &HashSet<u32>) {
    let Some(group) = stat(pid).map(|stat| stat.group) else { return };
    let ours = rustix::process::getpgrp().as_raw_nonzero().get().unsigned_abs();
    if group != ours
        && !spared.contains(&group)
        && matches(group, marks)
        && let Some(group) = number(group)
    {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
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
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::geteuid().as_raw();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry)))
        .filter(move |(_, entry)| entry.metadata().is_ok_and(|meta| meta.uid() == user))
        .map(|(pid, _)| pid)
}

/// Whether each mark is one whole variable of the process's environment. A zombie has none.
#[cfg(target_os = "linux")]
fn matches(pid: u32, marks: &[Vec<u8>]) -> bool {
    let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else { return false };
    marks.iter().all(|mark| environment.split(|byte| *byte == 0).any(|variable| variable == mark))
}

#[cfg(not(target_os = "linux"))]
fn processes() -> impl Iterator<Item = u32> {
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};
    let mut system = System::new();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, ProcessRefreshKind::nothing());
    system.processes().keys().map(|pid| pid.as_u32()).collect::<Vec<_>>().into_iter()
}

#[cfg(not(target_os = "linux"))]
fn matches(pid: u32, marks: &[Vec<u8>]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};
    let id = sysinfo::Pid::from_u32(pid);
    let mut system = System::new();
    let kind = ProcessRefreshKind::nothing().with_environ(UpdateKind::Always);
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), true, kind);
    system.process(id).is_some_and(|process| {
        marks.iter().all(|mark| process.environ().iter().any(|variable| variable.as_bytes() == mark))
    })
}
