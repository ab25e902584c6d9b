//! What is left after signals, crashes and damage, and what several spb do to each other, tested from outside.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

#[path = "../common/mod.rs"]
mod common;

mod crash;
mod disk;
mod external;
mod journal;
mod settle;
mod signals;
mod together;
