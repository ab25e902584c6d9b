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
