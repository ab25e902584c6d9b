//! Death and storage: what is left when spb is killed at any step, when a system call fails, when bytes rot, and when
//! what a process needs runs out. With a small budget here; `FAULTS=N` (see `tests/faults/run`) looks N times as long.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

#[path = "../common/mod.rs"]
mod common;

mod corpus;

#[cfg(target_arch = "x86_64")]
mod every_step;
#[cfg(target_arch = "x86_64")]
mod failing_calls;
mod limits;
mod repair;
mod rot;
mod several;
#[cfg(target_arch = "x86_64")]
mod steps;
#[cfg(target_arch = "x86_64")]
mod victims;

/// How many times as long as usual to look.
fn budget() -> u64 {
    std::env::var("FAULTS").ok().and_then(|times| times.parse().ok()).unwrap_or(0)
}
