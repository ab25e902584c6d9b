//! Verbs that wait for the engine.

use super::{Exit, Failure};

pub fn not_yet(verb: &str) -> Result<Exit, Failure> {
    Err(Failure::bug(format!("`spb {verb}` is not connected to the engine yet")))
}
