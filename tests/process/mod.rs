//! Shared by the tests that run real processes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spb::executor::local::run;
use spb::executor::mask::Mask;
use spb::executor::{Finished, Stop, Task};
use tokio::sync::watch;

/// A task in `directory` that runs `script` in a shell. Its log is `logs/log` there.
pub fn task(directory: &Path, script: &str) -> Task {
    Task {
        argv: ["sh", "-c", script].map(Into::into).into(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        directory: directory.into(),
        timeout: None,
        grace: Duration::from_secs(3600),
        log: directory.join("logs/log"),
        stdout_file: None,
        mask: Arc::new(Mask::none()),
    }
}

/// Runs a task that nobody stops or watches.
pub async fn finish(task: Task) -> Finished {
    let (_never, stop) = watch::channel(Stop::Run);
    run(task, stop, |_| {}, |_| {}).await
}
