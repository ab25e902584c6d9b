//! The commands beside a run are killed at every step as well: said again, each comes to its end, and nothing is in the way
//! of anybody after it.

use std::path::PathBuf;

use crate::budget;
use crate::common::World;
use crate::every_step::leftovers;
use crate::steps::{self, Act, Kind, Plan};

const WORKFLOW: &str = r#"
stages: [one, two]
result: { branch: spb/kept }
nodes:
  a: { run: 'echo a > a.txt' }
  b: { stage: two, needs: [a], artifacts: [out/b], run: 'mkdir -p out; cp a.txt out/b; cp a.txt b.txt' }
"#;

const GATE: &str = r#"
nodes:
  a: { run: 'echo a > a.txt' }
  ask: { needs: [a], approve: Go on }
  b: { needs: [ask], run: 'cp a.txt b.txt' }
"#;

const KINDS: &[Kind] = &[Kind::Sync, Kind::Name, Kind::Directory, Kind::Write];

/// Kills `words` at each step, says them again, and looks with `holds` whether they have done what they say.
fn survives(workflow: &str, before: &[&[&str]], words: &[&str], holds: impl Fn(&World) -> bool) {
    let stride = if budget() > 0 { 1 } else { 3 };
    let mut at = 1 + u64::from(std::process::id()) % stride;
    let mut deaths = 0;
    loop {
        let world = World::in_memory();
        let run = world.apply(workflow);
        assert!(matches!(run.code(), Some(0 | 4)), "{run}");
        for words in before {
            world.spb(*words).run().success();
        }
        let plan = Plan { below: &world.root, kinds: KINDS, at, act: Act::Kill };
        let Some(seen) = steps::run(world.spb(words).command, &plan) else {
            eprintln!("SKIP  processes cannot be traced here");
            return;
        };
        let said = format!("{words:?} killed at step {at}\n{seen}");
        assert!(seen.hit.is_some() || matches!(seen.code, 0 | 4), "{said}");
        for reading in [&["status"][..], &["runs"], &["undo", "--list"]] {
            world.spb(reading).run().success();
        }
        // Done already, or done now: there may be nothing left to do.
        let again = world.spb(words).run();
        assert!(matches!(again.code(), Some(0 | 2)), "{again}\n{said}");
        assert!(holds(&world), "{again}\n{said}");
        // Nobody after it is disturbed, and what it was making does not stay.
        let run = world.apply_with(workflow, &["--fresh"]);
        assert!(matches!(run.code(), Some(0 | 4)), "{run}\n{said}");
        world.spb(["doctor", "--repair"]).run().success();
        assert_eq!(leftovers(&world), Vec::<PathBuf>::new(), "{said}");
        world.git(&["fsck", "--no-dangling"]);
        if seen.hit.is_none() {
            break;
        }
        deaths += 1;
        at += stride;
    }
    eprintln!("{deaths} deaths of {words:?}");
}

fn branch(world: &World) -> Option<String> {
    let refs = world.git(&["for-each-ref", "--format=%(objectname)", "refs/heads/spb/kept"]);
    Some(refs).filter(|id| !id.is_empty())
}

#[test]
fn an_answer_that_is_killed_is_given_or_not() {
    survives(GATE, &[], &["approve"], |world| {
        let resumed = world.resume();
        resumed.code() == Some(0)
    });
}

#[test]
fn an_undo_that_is_killed_takes_back_once() {
    survives(WORKFLOW, &[], &["undo"], |world| branch(world).is_none());
}

#[test]
fn a_restore_that_is_killed_is_done_or_not_and_can_be_taken_back() {
    survives(WORKFLOW, &[], &["checkpoint", "restore", "latest", "one"], |world| {
        let at_checkpoint = branch(world);
        world.spb(["undo"]).run().success();
        at_checkpoint.is_some() && branch(world) != at_checkpoint
    });
}

#[test]
fn a_merge_that_is_killed_is_done_or_not() {
    survives(WORKFLOW, &[], &["merge"], |world| {
        world.git(&["status", "--porcelain"]).is_empty() && world.repo.join("b.txt").exists()
    });
}

#[test]
fn a_cache_that_is_killed_while_it_is_cleared_gives_nothing_wrong() {
    survives(WORKFLOW, &[], &["cache", "clear", "--yes"], |world| world.apply(WORKFLOW).code() == Some(0));
}

#[test]
fn worktrees_that_were_being_removed_are_made_again() {
    survives(WORKFLOW, &[], &["worktrees", "remove", "--all"], |world| {
        !world.git(&["worktree", "list", "--porcelain"]).contains("prunable")
    });
}
