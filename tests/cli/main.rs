//! The reading verbs and those that move branches, through the built binary, on stores made by hand.
#![allow(clippy::disallowed_methods, reason = "tests start processes and write files")]
#![allow(clippy::unwrap_used)]

mod bench;
mod branches;
mod fixture;
mod nodes;
mod reading;
