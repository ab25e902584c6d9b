//! The remote cache, from outside: clones that share results through directories, git repositories and real servers, which
//! the tests start. A server that this machine does not have is skipped with a printed reason; with
//! `SPB_REQUIRE_SERVERS=1` that is a failure.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests may fail, make what they look at, and say what they skip"
)]

#[path = "../common/mod.rs"]
mod common;

mod clones;
mod failing;
mod hostile;
mod servers;
mod settings;
