//! Processes that lost their parent while a run goes on: daemons that nodes leave behind. Becoming their new parent makes
//! them cheap to notice: one small file tells whether there are any.

use rustix::process::{Pid, WaitOptions};

/// From now on, descendants whose parents end become our children instead of init's. Only where the system can.
pub fn adopt() {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).ok();
}

/// Whether somebody was adopted; `None` where the system does not tell (Linux without `CONFIG_PROC_CHILDREN`).
pub fn has_any() -> Option<bool> {
    children().map(|children| !children.is_empty())
}

/// Reaps adopted processes that have ended. Never waits; our own children belong to other threads and are not touched.
pub fn reap() {
    for pid in children().into_iter().flatten() {
        if let Some(pid) = Pid::from_raw(pid) {
            rustix::process::waitpid(Some(pid), WaitOptions::NOHANG).ok();
        }
    }
}

/// Children of the main thread: it starts none itself, so that these are the adopted ones.
#[cfg(target_os = "linux")]
fn children() -> Option<Vec<i32>> {
    let main = std::process::id();
    let text = std::fs::read_to_string(format!("/proc/self/task/{main}/children")).ok()?;
    Some(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

#[cfg(not(target_os = "linux"))]
fn children() -> Option<Vec<i32>> {
    None
}
