//! What this process may have: open files, threads. Finds out before work depends on it.

use std::io;
use std::sync::Mutex;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files this process may have open, and up to where that can be raised; `None` is without limit.
pub fn open_file_limit() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

/// Sees to it that `wanted` files may be open at the same time, as far as the hard limit allows. Returns how many may be.
/// What is started later inherits the limit, so it is raised no further than needed.
pub fn allow_open_files(wanted: u64) -> u64 {
    let (current, maximum) = open_file_limit();
    let Some(current) = current.filter(|&current| current < wanted) else { return wanted };
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted)).max(current);
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(_) => current,
    }
}

/// Whether `count` threads can be started at the same time: starts them, and lets them end.
///
/// # Errors
/// What the system says when it refuses one.
pub fn check_threads(count: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        let held = gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let one = || drop(gate.lock());
        let started: io::Result<Vec<_>> =
            (0..count).map(|_| std::thread::Builder::new().spawn_scoped(scope, one)).collect();
        drop(held);
        started.map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_already_is_left_as_it_is() {
        let before = open_file_limit();
        assert_eq!(allow_open_files(8), 8);
        assert_eq!(open_file_limit(), before);
        check_threads(4).unwrap();
    }
}
