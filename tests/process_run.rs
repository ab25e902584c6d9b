//! Runs real processes through the executor: how they end, what they leave, what they are given.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod process;

use std::sync::Arc;
use std::time::Duration;

use process::{finish, task};
use spb::event::Process;
use spb::executor::local::run;
use spb::executor::mask::Mask;
use spb::executor::{Ended, Finished, Stop};
use spb::host;
use tokio::sync::watch;

async fn shell(script: &str) -> Finished {
    let directory = tempfile::tempdir().expect("a temporary directory");
    finish(task(directory.path(), script)).await
}

/// Gone, or a zombie that its new parent has not reaped yet.
fn is_gone(pid: &str) -> bool {
    host::process(pid.trim().parse().expect("a number")).is_none_or(|process| !host::is_alive(&process))
}

#[tokio::test]
async fn exit_codes_and_signals_are_told() {
    assert_eq!(shell("true").await.ended, Ended::Exited(0));
    assert_eq!(shell("exit 7").await.ended, Ended::Exited(7));
    assert_eq!(shell("kill -9 $$").await.ended, Ended::Signalled(9));
    assert_eq!(shell("kill -15 $$").await.ended, Ended::Signalled(15));
}

#[tokio::test]
async fn both_streams_are_in_log_and_tail_in_the_order_they_were_written() {
    let directory = tempfile::tempdir().unwrap();
    let finished = finish(task(directory.path(), "echo a; echo b >&2; echo c; printf d >&2")).await;
    assert_eq!(finished.tail, "a\nb\nc\nd");
    assert_eq!((finished.log_bytes, finished.truncated, finished.log_error), (7, false, None));
    assert_eq!(std::fs::read_to_string(directory.path().join("logs/log")).unwrap(), "a\nb\nc\nd");
}

#[tokio::test]
async fn a_task_that_writes_nothing_has_no_log_and_a_later_one_appends() {
    let directory = tempfile::tempdir().unwrap();
    finish(task(directory.path(), "true")).await;
    assert!(!directory.path().join("logs").exists());
    finish(task(directory.path(), "echo one")).await;
    assert_eq!(finish(task(directory.path(), "echo two")).await.log_bytes, 4);
    assert_eq!(std::fs::read_to_string(directory.path().join("logs/log")).unwrap(), "one\ntwo\n");
}

#[tokio::test]
async fn standard_output_alone_is_copied_unmasked() {
    let directory = tempfile::tempdir().unwrap();
    let mut task = task(directory.path(), "echo out hunter2; echo err hunter2 >&2");
    task.mask = Arc::new(Mask::new([("TOKEN", "hunter2")]));
    let copy = directory.path().join("copy");
    task.stdout_file = Some(copy.clone());
    let finished = finish(task).await;
    assert_eq!(std::fs::read_to_string(copy).unwrap(), "out hunter2\n");
    assert!(finished.tail.contains("out ***\n") && finished.tail.contains("err ***\n"), "{}", finished.tail);
}

#[tokio::test]
async fn a_secret_is_masked_in_log_tail_and_lines_also_when_it_is_written_in_parts() {
    let directory = tempfile::tempdir().unwrap();
    let mut task = task(directory.path(), "mkfifo f; printf 'key hun'; (printf 'te' >&2); printf 'r2 end\n'");
    task.mask = Arc::new(Mask::new([("TOKEN", "hunter2")]));
    let log = task.log.clone();
    let mut lines = Vec::new();
    let (_never, stop) = watch::channel(Stop::Run);
    let finished = run(task, stop, |_| {}, |line| lines.push(line.to_owned())).await;
    assert_eq!(finished.tail, "key *** end\n");
    assert_eq!(std::fs::read_to_string(log).unwrap(), "key *** end\n");
    assert_eq!(lines, ["key *** end"]);
}

#[tokio::test]
async fn bytes_that_are_no_text_reach_the_log_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let finished = finish(task(directory.path(), r"printf 'a\0b\377c\r\nd'")).await;
    assert_eq!(std::fs::read(directory.path().join("logs/log")).unwrap(), b"a\0b\xffc\r\nd");
    assert_eq!(finished.tail, "a\0b\u{fffd}c\r\nd");
}

#[tokio::test]
async fn a_task_gets_its_environment_directory_and_an_empty_input_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let mut task = task(directory.path(), "cat; /usr/bin/env | sort; pwd -P");
    task.env.push(("ODD".into(), "\";$(x)` ${IFS}\nnext".into()));
    let finished = finish(task).await;
    let expect = format!(
        "ODD=\";$(x)` ${{IFS}}\nPATH=/usr/local/bin:/usr/bin:/bin\nPWD={0}\nnext\n{0}\n",
        directory.path().canonicalize().unwrap().display()
    );
    let without_shell_variables: Vec<_> =
        finished.tail.lines().filter(|line| !line.starts_with("_=") && !line.starts_with("OLDPWD")).collect();
    assert_eq!(without_shell_variables, expect.lines().collect::<Vec<_>>());
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_task_leads_a_session_of_its_own_and_has_no_terminal() {
    let finished =
        shell("cut -d' ' -f6 /proc/$$/stat; echo $$; (: </dev/tty) 2>/dev/null || echo none").await;
    let lines: Vec<_> = finished.tail.lines().collect();
    assert_eq!(lines[0], lines[1], "session and process id");
    assert_eq!(lines[2], "none");
}

#[tokio::test]
async fn the_start_names_a_process_that_lives_and_the_end_leaves_none() {
    let directory = tempfile::tempdir().unwrap();
    let mut started: Option<Process> = None;
    let mut lived = false;
    let (_never, stop) = watch::channel(Stop::Run);
    let on_start = |process: Process| {
        lived = host::is_alive(&process);
        started = Some(process);
        std::fs::create_dir(directory.path().join("go")).unwrap();
    };
    run(task(directory.path(), "until [ -d go ]; do sleep 0.01; done"), stop, on_start, |_| {}).await;
    assert!(lived);
    assert_eq!(host::process(started.unwrap().pid), None);
}

#[tokio::test]
async fn what_a_task_used_is_told_its_children_included() {
    let finished = shell("head -c 2000000 /dev/zero | sort | wc -c").await;
    assert!(finished.usage.peak_memory > 5_000_000, "{:?}", finished.usage);
    assert!(finished.usage.cpu_ms > 0, "{:?}", finished.usage);
    assert!(!finished.duration.is_zero());
}

#[tokio::test]
async fn a_polite_stop_lets_the_task_clean_up() {
    let directory = tempfile::tempdir().unwrap();
    let script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let (send, stop) = watch::channel(Stop::Run);
    let on_line = |line: &str| {
        if line == "ready" {
            send.send(Stop::Polite).unwrap();
        }
    };
    let finished = run(task(directory.path(), script), stop, |_| {}, on_line).await;
    assert_eq!(finished.ended, Ended::Stopped);
    // The shell may also tell that its child was terminated.
    assert!(finished.tail.ends_with("bye\n"), "{}", finished.tail);
}

#[tokio::test]
async fn a_task_that_ignores_the_polite_stop_is_killed_after_the_grace() {
    let directory = tempfile::tempdir().unwrap();
    let mut task = task(directory.path(), "trap '' TERM; echo ready; while :; do sleep 0.01; done");
    task.grace = Duration::from_millis(50);
    let (send, stop) = watch::channel(Stop::Run);
    let on_line = |line: &str| {
        if line == "ready" {
            send.send(Stop::Polite).unwrap();
        }
    };
    assert_eq!(run(task, stop, |_| {}, on_line).await.ended, Ended::Stopped);
}

#[tokio::test]
async fn a_second_stop_kills_without_grace() {
    let directory = tempfile::tempdir().unwrap();
    let script = "trap 'echo again' TERM; echo ready; while :; do sleep 0.01; done";
    let (send, stop) = watch::channel(Stop::Run);
    let on_line = |line: &str| match line {
        "ready" => send.send(Stop::Polite).unwrap(),
        _ => send.send(Stop::Now).unwrap(),
    };
    // Would last for the helper's grace of an hour.
    let finished = run(task(directory.path(), script), stop, |_| {}, on_line).await;
    assert_eq!(finished.ended, Ended::Stopped);
}

#[tokio::test]
async fn a_task_that_is_stopped_before_it_starts_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    for wanted in [Stop::Polite, Stop::Now] {
        let (_send, stop) = watch::channel(wanted);
        let finished = run(task(directory.path(), "touch started"), stop, |_| {}, |_| {}).await;
        assert_eq!(finished.ended, Ended::Stopped);
    }
    assert!(!directory.path().join("started").exists());
}

#[tokio::test]
async fn a_stopped_process_is_stopped_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (send, stop) = watch::channel(Stop::Run);
    let on_line = |_: &str| send.send(Stop::Polite).unwrap();
    let finished =
        run(task(directory.path(), "echo ready; kill -STOP $$; sleep 60"), stop, |_| {}, on_line).await;
    assert_eq!(finished.ended, Ended::Stopped);
}

#[tokio::test]
async fn a_timeout_reaches_a_group_that_ignores_the_polite_signal() {
    let directory = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; echo $$; sh -c 'echo $$; while :; do sleep 0.01; done'";
    let mut task = task(directory.path(), script);
    task.timeout = Some(Duration::from_millis(100));
    task.grace = Duration::from_millis(50);
    let finished = finish(task).await;
    assert_eq!(finished.ended, Ended::TimedOut);
    for pid in finished.tail.lines() {
        assert!(is_gone(pid));
    }
}

#[tokio::test]
async fn a_child_that_holds_the_pipe_ends_with_its_leader() {
    // The child says that it runs through the pipe `f`, so the leader cannot end before.
    let finished = shell("mkfifo f; sh -c 'echo $$ >f; exec sleep 1000' & cat f").await;
    assert_eq!(finished.ended, Ended::Exited(0));
    assert!(is_gone(&finished.tail));
}

#[tokio::test]
async fn dropping_a_running_task_kills_its_group() {
    let directory = tempfile::tempdir().unwrap();
    let (_never, stop) = watch::channel(Stop::Run);
    let (send, mut started) = watch::channel(None);
    let task = task(directory.path(), "sleep 1000");
    let running = run(task, stop, |process| drop(send.send(Some(process))), |_| {});
    tokio::select! {
        _ = running => unreachable!("it sleeps"),
        _ = started.wait_for(Option::is_some) => {}
    }
    let process = started.borrow().clone().unwrap();
    assert_eq!(host::process(process.pid), None);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_told_and_hinders_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut task = task(directory.path(), "seq 1 50000; echo end");
    task.log = "/dev/full".into();
    let finished = finish(task).await;
    assert_eq!(finished.ended, Ended::Exited(0));
    assert!(finished.tail.ends_with("50000\nend\n"));
    assert_eq!(finished.log_bytes, 0);
    let error = finished.log_error.unwrap();
    assert!(error.starts_with("cannot write the log `/dev/full`: No space left"), "{error}");
}
