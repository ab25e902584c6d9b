//! Processes that leave their group are found and ended.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]
#![cfg(target_os = "linux")]

mod process;

use process::{finish, task};
use spb::executor::Ended;
use spb::host;

/// Starts a daemon in a session of its own, which tells its id through the pipe `f`; the leader prints that and ends.
const DAEMON: &str = "mkfifo f; setsid sh -c 'echo $$ >f; exec sleep 1000' & cat f";

#[tokio::test]
async fn a_daemon_that_holds_the_output_is_found_and_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut task = task(directory.path(), DAEMON);
    task.env.push(("SPB_RUN".into(), "sweep-test-held".into()));
    task.env.push(("SPB_NODE".into(), "a".into()));
    let finished = finish(task).await;
    assert_eq!((finished.ended, finished.escaped), (Ended::Exited(0), 1));
    let daemon = finished.tail.trim().parse().unwrap();
    assert!(host::process(daemon).is_none_or(|process| !host::is_alive(&process)));
}

#[tokio::test]
async fn a_daemon_without_a_mark_cannot_hold_up_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let finished = finish(task(directory.path(), DAEMON)).await;
    assert_eq!((finished.ended, finished.escaped), (Ended::Exited(0), 0));
    let daemon = host::process(finished.tail.trim().parse().unwrap()).unwrap();
    assert!(host::is_alive(&daemon));
    host::signal(&daemon, host::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_sweep_ends_exactly_what_belongs_to_the_run_and_node() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemons = Vec::new();
    for (place, (run, node)) in [("one", "a"), ("one", "b"), ("one-more", "a")].into_iter().enumerate() {
        let home = directory.path().join(place.to_string());
        std::fs::create_dir(&home).unwrap();
        let mut task = task(&home, &DAEMON.replace("sleep 1000", "sleep 1000 >/dev/null 2>&1"));
        task.env.push(("SPB_RUN".into(), format!("sweep-test-{run}").into()));
        task.env.push(("SPB_NODE".into(), node.into()));
        let finished = finish(task).await;
        assert_eq!(finished.escaped, 0, "it gave up the output");
        daemons.push(host::process(finished.tail.trim().parse().unwrap()).unwrap());
    }
    let alive = || daemons.iter().map(host::is_alive).collect::<Vec<_>>();
    assert_eq!(alive(), [true, true, true]);
    assert_eq!(host::sweep("sweep-test-one", Some("b")), 1);
    assert_eq!(alive(), [true, false, true]);
    assert_eq!(host::sweep("sweep-test-one", None), 1);
    assert_eq!(alive(), [false, false, true]);
    assert_eq!(host::sweep("sweep-test-one-more", None), 1);
    assert_eq!(host::sweep("sweep-test-one-more", None), 0);
}

#[tokio::test]
async fn a_sweep_takes_the_group_of_a_marked_leader_with_it() {
    let directory = tempfile::tempdir().unwrap();
    // The child in the daemon's group has no environment at all.
    let script = "mkfifo f; setsid sh -c 'env -i sh -c \"echo \\$\\$ >f; exec sleep 1000\" & wait' >/dev/null 2>&1 & cat f";
    let mut task = task(directory.path(), script);
    task.env.push(("SPB_RUN".into(), "sweep-test-group".into()));
    let finished = finish(task).await;
    let child = host::process(finished.tail.trim().parse().unwrap()).unwrap();
    assert!(host::is_alive(&child));
    assert_eq!(host::sweep("sweep-test-group", None), 1);
    assert!(!host::is_alive(&child));
}
