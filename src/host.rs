//! Reads the machine: cores, memory, boot, processes. Changes nothing.
