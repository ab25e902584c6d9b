//! From YAML text to a checked [`model::Workflow`], or to every problem of the file at once.

pub mod expr;
pub mod model;
pub mod problem;
