//! Running out of file descriptors is told, never a hang. One test in a program of its own: the limit holds for all.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod process;

use std::fs::File;

use process::{finish, task};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spb::executor::Ended;

#[tokio::test]
async fn too_few_descriptors_are_an_error_or_enough_and_never_a_hang() {
    let directory = tempfile::tempdir().unwrap();
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
    let mut open: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let mut ends = Vec::new();
    for _ in 0..12 {
        let finished = finish(task(directory.path(), "echo out; exit 3")).await;
        ends.push(match finished.ended {
            Ended::Exited(3) => {
                assert!(finished.tail == "out\n");
                "ran"
            }
            Ended::NotStarted(message) if message.starts_with("too many open files (`ulimit -n`)") => {
                "refused"
            }
            other => panic!("{other:?}"),
        });
        open.pop();
    }
    ends.dedup();
    assert_eq!(ends, ["refused", "ran"]);
}
