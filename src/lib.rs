//! `spb`: declarative workflows over git repositories. The layers, from the face down to the words, are listed in
//! `tests/tidy.rs`, which also checks them.

pub mod bench;
pub mod cli;
pub mod digest;
pub mod disk;
pub mod engine;
pub mod event;
pub mod executor;
pub mod git;
pub mod host;
pub mod lsp;
pub mod name;
pub mod plan;
pub mod process;
pub mod remote;
pub mod report;
pub mod schedule;
pub mod store;
pub mod workflow;
