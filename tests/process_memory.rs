//! Memory stays bounded whatever a node writes. A program of its own: it reads the program's peak.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]
#![cfg(target_os = "linux")]

mod process;

use std::sync::Arc;

use process::{finish, task};
use spb::executor::local::run;
use spb::executor::mask::Mask;
use spb::executor::{Ended, Stop, TAIL};
use tokio::sync::watch;

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[tokio::test]
async fn much_output_and_endless_lines_cost_no_memory() {
    let directory = tempfile::tempdir().unwrap();
    for (script, bytes) in [
        ("yes 'a line like many others' | head -c 200000000", 200_000_000),
        ("head -c 50000000 /dev/zero; echo; echo end", 50_000_005),
        ("seq 1 1000000", 6_888_896),
    ] {
        let before = peak_memory();
        let mut task = task(directory.path(), script);
        task.log = "/dev/null".into();
        let (mut lines, mut last) = (0, String::new());
        let (_never, stop) = watch::channel(Stop::Run);
        let on_line = |line: &str| {
            lines += 1;
            last = line.to_owned();
        };
        let finished = run(task, stop, |_| {}, on_line).await;
        assert_eq!((finished.ended, finished.log_bytes), (Ended::Exited(0), bytes), "{script}");
        assert!(finished.truncated && finished.tail.len() <= TAIL);
        assert!(
            finished.tail.ends_with(last.trim_end_matches('\n')) || finished.tail.trim_end().ends_with(&last)
        );
        assert!(lines < 100_000, "{script}: {lines} lines shown");
        assert!(peak_memory() - before < 10_000_000, "{script}: {} bytes", peak_memory() - before);
    }
}

#[tokio::test]
async fn a_long_secret_that_almost_comes_keeps_the_stream_moving() {
    let directory = tempfile::tempdir().unwrap();
    let mut task =
        task(directory.path(), "yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | tr -d '\n' | head -c 300000");
    task.mask = Arc::new(Mask::new([("S", "a".repeat(64) + "b")]));
    task.log = "/dev/null".into();
    assert_eq!(finish(task).await.log_bytes, 300_000);
}
