//! Runs a plan: one dispatcher loop, one unit per node.
