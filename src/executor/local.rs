//! Runs a task on this machine.
