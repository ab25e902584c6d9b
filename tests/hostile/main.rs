//! Nodes, values and files that mean harm: what they try, and that it comes to nothing.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;

mod daemons;
mod input;
mod output;
mod repository;
mod secrets;
mod terminal;
mod values;

/// How many random cases a test looks at: `SPB_TEST_CASES`, else as many as there is time for every day.
fn cases(usual: u32) -> u32 {
    std::env::var("SPB_TEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
