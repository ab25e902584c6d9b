//! What `spb apply` promises, tested from outside: the binary, a real repository, real processes.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

#[path = "../common/mod.rs"]
mod common;

mod cache;
mod cache_damage;
mod cache_keep;
mod cache_keys;
mod cache_law;
mod cache_law_wide;
mod cache_share;
mod cache_why;
mod conditions;
mod merges;
mod outputs;
mod own_commits;
mod pool;
mod processes;
mod repeats;
mod repositories;
mod results;
mod retry;
mod reuse;
mod settle;
mod several;
mod single_flight;
mod used;
mod worktrees;
