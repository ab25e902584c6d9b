//! Runs real processes through the executor.

use std::sync::Arc;
use std::time::Duration;

use spb::executor::local::run;
use spb::executor::mask::Mask;
use spb::executor::{Ended, Finished, Stop, Task};
use tokio::sync::watch;

fn task(directory: &std::path::Path, script: &str) -> Task {
    Task {
        argv: ["sh", "-c", script].map(Into::into).into(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        directory: directory.into(),
        timeout: None,
        grace: Duration::from_millis(100),
        log: directory.join("logs/log"),
        stdout_file: None,
        mask: Arc::new(Mask::none()),
    }
}

async fn simple(script: &str) -> Finished {
    let directory = tempfile::tempdir().unwrap();
    let (_send, stop) = watch::channel(Stop::Run);
    run(task(directory.path(), script), stop, |_| {}, |_| {}).await
}

#[tokio::test]
async fn exit_codes_and_signals_are_told() {
    assert_eq!(simple("true").await.ended, Ended::Exited(0));
    assert_eq!(simple("exit 7").await.ended, Ended::Exited(7));
    assert_eq!(simple("kill -9 $$").await.ended, Ended::Signalled(9));
}

#[tokio::test]
async fn output_is_in_the_tail_in_order() {
    let finished = simple("echo a; echo b >&2; echo c").await;
    assert_eq!(finished.tail, "a\nb\nc\n");
    assert_eq!(finished.log_bytes, 6);
}
