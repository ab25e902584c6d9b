//! One system call fails, once, at every place where that can be: nothing is swallowed, nothing is called a success that
//! is none, nothing half-made stays, and the next attempt does it.

use crate::budget;
use crate::common::World;
use crate::every_step::{SMALL, applied, carried_on, leftovers};
use crate::steps::{Act, Kind, Plan, Seen};

/// Lets the `at`-th call of these kinds fail, for every `at` from `first` in steps of `stride`.
fn survives(kinds: &[Kind], error: i32, stride: u64) {
    let first = if stride > 1 { u64::from(std::process::id()) % stride + 1 } else { 1 };
    let (mut at, mut calm, mut hits, mut told) = (first, 0, 0, 0);
    while calm < 2 {
        let world = World::in_memory();
        let plan = Plan { below: &world.root, kinds, at, act: Act::Fail(error) };
        let Some(seen) = applied(&world, SMALL, &plan) else {
            eprintln!("SKIP  processes cannot be traced here");
            return;
        };
        let said = format!("{kinds:?} {at} failed with {error}\n{seen}");
        if seen.hit.is_none() {
            assert_eq!(seen.code, 0, "{said}");
            calm += 1;
        }
        hits += u64::from(seen.hit.is_some());
        told += u64::from(seen.code != 0);
        check(&world, &seen, &said);
        at += stride;
    }
    eprintln!("{hits} calls of {kinds:?} failed, {told} ended the run");
}

#[track_caller]
fn check(world: &World, seen: &Seen, said: &str) {
    let is_input = seen.hit.as_deref().is_some_and(|hit| hit.ends_with("/wf/t.yaml"));
    assert!(matches!(seen.code, 0 | 1 | 3) || (seen.code == 2 && is_input), "{said}");
    assert!(!seen.stderr.contains("panicked"), "{said}");
    if seen.code != 0 {
        assert!(
            seen.stderr.contains("error") || seen.stderr.contains("failed"),
            "no reason was given: {said}"
        );
    }
    let first = (seen.code == 0).then(|| branch_of(&seen.stdout));
    world.take_ran();
    let run = carried_on(world, SMALL, said);
    let again = world.apply(SMALL).success();
    assert_eq!(again.starts(), 0, "{again}\n{said}");
    let branch = again.branch();
    assert_eq!(world.show(&branch, "c.txt").as_deref(), Some("a\n1\n"), "{run}\n{said}");
    if let Some(first) = first {
        let first = first.unwrap_or_else(|| panic!("a success without its branch: {said}"));
        assert_eq!(world.files(&first), world.files(&branch), "{said}");
    }
    world.git(&["fsck", "--no-dangling"]);
    assert_eq!(leftovers(world), Vec::<std::path::PathBuf>::new(), "{said}");
}

fn branch_of(events: &str) -> Option<String> {
    let mut end =
        events.lines().rev().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let end = end.find(|event| event["event"] == "run_finished")?;
    end["branch"].as_str().map(str::to_owned)
}

/// As often as there is time for.
fn stride(usual: u64) -> u64 {
    if budget() > 0 { 1 } else { usual }
}

#[test]
fn a_sync_that_fails_once_is_never_swallowed() {
    survives(&[Kind::Sync], libc::EIO, 1);
}

#[test]
fn a_name_that_cannot_be_given_once_is_no_success_and_no_end() {
    survives(&[Kind::Name, Kind::Directory], libc::ENOSPC, stride(5));
}

#[test]
fn a_write_that_fails_once_is_no_success_and_no_end() {
    survives(&[Kind::Write], libc::ENOSPC, stride(7));
}

#[test]
fn a_file_that_cannot_be_made_once_is_no_success_and_no_end() {
    survives(&[Kind::OpenToWrite], libc::EMFILE, stride(7));
}

#[test]
fn a_file_that_cannot_be_read_once_is_no_success_and_no_end() {
    survives(&[Kind::OpenToRead], libc::EIO, stride(29));
    if budget() > 0 {
        survives(&[Kind::OpenToRead], libc::EMFILE, 1);
        survives(&[Kind::Write], libc::EIO, 1);
    }
}
