//! The signals that stop a run: INT, TERM and HUP. Only counts them; the ladder is the dispatcher's.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals as they arrive.
pub struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hang_up: Option<Signal>,
}

impl Signals {
    /// From now on these signals no longer end the process by themselves. A HUP that the caller told us to ignore
    /// (`nohup`) stays ignored.
    pub fn listen() -> Self {
        let hang_up = if ignores_hang_up() { None } else { signal(SignalKind::hangup()).ok() };
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
            hang_up,
        }
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            () = one(&mut self.interrupt) => {}
            () = one(&mut self.terminate) => {}
            () = one(&mut self.hang_up) => {}
        }
    }
}

/// When the run has ended, a signal ends the process again: it may have nothing left to do but to write to a reader that
/// does not read.
impl Drop for Signals {
    fn drop(&mut self) {
        let listened = [
            (&self.interrupt, libc::SIGINT),
            (&self.terminate, libc::SIGTERM),
            (&self.hang_up, libc::SIGHUP),
        ];
        for (signal, number) in listened {
            if signal.is_some() {
                // SAFETY: the default action needs no handler.
                unsafe { libc::signal(number, libc::SIG_DFL) };
            }
        }
    }
}

async fn one(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn ignores_hang_up() -> bool {
    // The mask of ignored signals, hexadecimal; bit 0 is signal 1, HUP.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
