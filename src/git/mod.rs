//! The repository: objects, slots, leases, merges. Knows nothing of workflows.

pub mod lease;
pub mod merge;
pub mod repo;
pub mod slot;
pub mod tree;
