//! Reads the machine: cores, memory, boot, processes. Changes nothing.
use crate::event::Process;
pub fn is_alive(_p: &Process) -> bool { false }
