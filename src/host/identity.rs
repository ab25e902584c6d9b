//! Which process is meant: an id alone may be reused, an id with start time and boot is not. Starts nothing.

use std::io;

use rustix::process::{Pid, Signal};

use super::boot_id;
use crate::event::Process;

/// A process that could not be signalled.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("process {0} has ended")]
    Ended(u32),
    #[error("cannot signal process {pid}: {source}")]
    Signal { pid: u32, source: io::Error },
}

/// Ourselves.
pub fn this_process() -> Process {
    let pid = std::process::id();
    process(pid).unwrap_or_else(|| Process { pid, started: 0, boot: boot_id().to_owned() })
}

/// The process that has this id now; a zombie is one too.
pub fn process(pid: u32) -> Option<Process> {
    let started = stat(pid)?.started;
    Some(Process { pid, started, boot: boot_id().to_owned() })
}

/// Whether exactly this process still runs: same boot, same start time, not a zombie.
pub fn is_alive(process: &Process) -> bool {
    process.boot == boot_id()
        && stat(process.pid).is_some_and(|stat| stat.started == process.started && !stat.ended)
}

/// Signals exactly this process, never a later one with the same id.
///
/// # Errors
/// When it has ended or may not be signalled.
pub fn signal(process: &Process, signal: Signal) -> Result<(), HostError> {
    let pid = process.pid;
    let ended = || HostError::Ended(pid);
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(ended)?;
    let send = hold(number).ok_or_else(ended)?;
    if !is_alive(process) {
        return Err(ended());
    }
    send(signal).map_err(|error| match error {
        rustix::io::Errno::SRCH => ended(),
        error => HostError::Signal { pid, source: error.into() },
    })
}

/// A way to signal the process that has this id at the moment of the call, whatever gets the id later.
pub(super) fn hold(pid: Pid) -> Option<impl Fn(Signal) -> rustix::io::Result<()>> {
    #[cfg(target_os = "linux")]
    {
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
        Some(move |signal| rustix::process::pidfd_send_signal(&pidfd, signal))
    }
    #[cfg(not(target_os = "linux"))]
    Some(move |signal| rustix::process::kill_process(pid, signal))
}

/// What the system tells of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    pub ended: bool,
    pub parent: u32,
    pub group: u32,
    pub session: u32,
    pub started: u64,
}

#[cfg(target_os = "linux")]
pub(super) fn stat(pid: u32) -> Option<Stat> {
    use std::io::Read;
    // It fits: a name of 64 bytes at most and fifty numbers. One read gives all.
    let mut text = [0; 1024];
    let length =
        std::fs::File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut text)).ok()?;
    parse(&text[..length])
}

/// `pid (name) state parent group session ...`, start time is field 22. The name may hold anything, `)` too.
#[cfg(target_os = "linux")]
fn parse(text: &[u8]) -> Option<Stat> {
    let after_name = text.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = std::str::from_utf8(&text[after_name..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    // Fields 7 to 21 lie between.
    let started = fields.nth(15)?.parse().ok()?;
    Some(Stat { ended: matches!(state, "Z" | "X" | "x"), parent, group, session, started })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn stat(pid: u32) -> Option<Stat> {
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};
    let id = sysinfo::Pid::from_u32(pid);
    let mut system = System::new().ok()?;
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), true, ProcessRefreshKind::nothing());
    let process = system.process(id)?;
    let group = Pid::from_raw(pid as i32).and_then(|pid| rustix::process::getpgid(Some(pid)).ok());
    Some(Stat {
        ended: matches!(process.status(), sysinfo::ProcessStatus::Zombie | sysinfo::ProcessStatus::Dead),
        parent: process.parent().map_or(0, sysinfo::Pid::as_u32),
        group: group.map_or(0, |group| group.as_raw_nonzero().get() as u32),
        session: 0,
        started: process.start_time(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_name_with_brackets_and_spaces_is_no_obstacle() {
        let line = b"42 (a) R 1 2 (b) S 7 40 3 0 -1 1 2 3 4 5 6 7 8 9 20 0 1 0 12345 99 100";
        let stat = parse(line).unwrap();
        assert_eq!(
            (stat.parent, stat.group, stat.session, stat.started, stat.ended),
            (7, 40, 3, 12345, false)
        );
    }

    #[test]
    fn we_are_alive_and_another_start_time_or_boot_is_not_us() {
        let us = this_process();
        assert!(us.started > 0);
        assert!(is_alive(&us));
        assert!(!is_alive(&Process { started: us.started + 1, ..us.clone() }));
        assert!(!is_alive(&Process { boot: "another".into(), ..us }));
    }

    #[test]
    fn a_stranger_with_the_same_id_is_not_signalled() {
        let us = Process { started: 1, ..this_process() };
        assert!(matches!(signal(&us, Signal::KILL), Err(HostError::Ended(_))));
    }
}
