//! What is left after signals, crashes and damage, and what several spb do to each other, tested from outside.

#[path = "../common/mod.rs"]
mod common;

mod crash;
mod journal;
mod signals;
mod together;
