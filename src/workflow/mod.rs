//! From YAML text to a checked [`model::Workflow`], or to every problem of the file at once.
//!
//! `parse` builds a positioned tree from one pass over the events of the YAML parser. `read` turns pieces of it into
//! the wire types (`file*`) with `serde_yaml`, `check*` gives them their meaning, `expr` owns the expressions, `files`
//! finds the further files that one names.

pub mod assist;
mod check;
mod check_advice;
mod check_agents;
mod check_env;
mod check_expr;
mod check_gate;
mod check_graph;
mod check_include;
mod check_inputs;
mod check_matrix;
mod check_names;
mod check_node;
mod check_outputs;
mod check_parallel;
mod check_repeat;
mod check_result;
mod check_scope;
mod check_sparse;
mod check_uses;
mod check_worktrees;
mod commands;
mod compiled;
pub mod contract;
pub mod expr;
mod file;
mod file_agent;
mod file_node;
mod file_reuse;
mod file_values;
mod files;
mod foreign;
pub mod input;
mod keys;
mod load;
pub mod model;
pub mod outline;
mod overlap;
mod parse;
mod parse_words;
pub mod problem;
mod read;
mod read_words;
pub mod reference;
pub mod schema;
pub mod show;
pub mod suggest;
mod yaml;

pub use compiled::Trees;
pub use file_values::period;
pub use files::{Fetch, ReadError, bytes_of, disk};
pub use load::{Loaded, load, load_from, load_with, read, read_kept, read_with};
