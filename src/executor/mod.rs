//! Where a node's process runs. Knows nothing of keys, caches or merges.

pub mod local;
pub mod mask;
