//! The runtime that the dispatcher and its units live on, and what it needs of the machine. It has no way to say that it
//! cannot have a thread (it panics, or waits for ever), so that is found out before. Knows nothing of runs.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::EngineError;
use crate::host;

/// Threads without which nothing can be done: of the runtime, for blocking work, for records, reports and signals.
const THREADS: usize = 8;

/// Longer than any run.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

/// Tries whether there can be as many threads as a run needs.
///
/// # Errors
/// When there cannot.
pub fn check() -> Result<(), EngineError> {
    host::check_threads(THREADS).map_err(EngineError::Runtime)
}

/// # Errors
/// When the system refuses something.
pub fn start() -> Result<Runtime, EngineError> {
    let mut builder = Builder::new_multi_thread();
    // The first thread for blocking work stays: while there is one, work that finds no further thread waits for it.
    let builder = builder.worker_threads(2).thread_keep_alive(LONG).enable_all();
    let runtime = builder.build().map_err(EngineError::Runtime)?;
    drop(runtime.spawn_blocking(|| {}));
    Ok(runtime)
}
