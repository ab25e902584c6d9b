//! A parent that ignored signals leaves that to its children: nodes are not to notice. A program of its own, because
//! dispositions hold for all of it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod process;

use process::{finish, task};
use spb::executor::Ended;

#[tokio::test]
async fn signals_that_our_parent_ignored_work_in_nodes_and_exits_are_told() {
    for signal in [libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: ignoring a signal touches no memory.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(finish(task(directory.path(), "exit 5")).await.ended, Ended::Exited(5));
    assert_eq!(finish(task(directory.path(), "kill -INT $$")).await.ended, Ended::Signalled(libc::SIGINT));
    assert_eq!(finish(task(directory.path(), "kill -TERM $$")).await.ended, Ended::Signalled(libc::SIGTERM));
}
