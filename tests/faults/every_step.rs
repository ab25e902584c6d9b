//! Killed at every single step that the disk sees, then carried on: the end is the one of a run that nobody disturbed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::budget;
use crate::common::{Run, World, acknowledged};
use crate::steps::{self, Act, Kind, Plan, Seen};

pub const SMALL: &str = r#"
stages: [one, two]
nodes:
  a: { run: 'echo a >> "$HOME/ran"; echo a > a.txt' }
  b: { stage: two, needs: [a], artifacts: [out/b], run: 'echo b >> "$HOME/ran"; mkdir -p out; cat a.txt > out/b; echo v=1 >> "$SPB_OUTPUT"', outputs: { v: {} } }
  c: { stage: two, needs: [b], env: { V: "${{ needs.b.outputs.v }}" }, run: 'echo c >> "$HOME/ran"; cat out/b > c.txt; echo $V >> c.txt' }
"#;

const LARGE: &str = r#"
stages: [one, two]
nodes:
  a: { run: 'echo a >> "$HOME/ran"; echo a > a.txt' }
  b: { run: 'echo b >> "$HOME/ran"; echo b > b.txt' }
  list: { workspace: readonly, run: 'echo list >> "$HOME/ran"; seq 3', outputs: { l: { stdout: true, format: lines } } }
  each:
    needs: [list, a, b]
    for_each: ${{ needs.list.outputs.l }}
    env: { I: "${{ item }}" }
    run: 'echo $SPB_NODE >> "$HOME/ran"; cat a.txt > $I.txt; echo "i=$I" >> "$SPB_OUTPUT"'
    outputs: { i: {} }
  turn:
    stage: two
    needs: [each]
    loop: { until: 'loop.last.outputs.n == "2"', max: 3 }
    env: { R: "${{ loop.index }}" }
    run: 'echo $SPB_NODE >> "$HOME/ran"; echo $R >> turns.txt; echo "n=$R" >> "$SPB_OUTPUT"'
    outputs: { n: {} }
  end: { stage: two, needs: [turn, each], artifacts: [out/e], run: 'echo end >> "$HOME/ran"; mkdir -p out; cat *.txt > out/e; cp out/e end.txt' }
"#;

const STEPS: &[Kind] = &[Kind::Sync, Kind::Name, Kind::Directory];
const ALL_STEPS: &[Kind] = &[Kind::Sync, Kind::Name, Kind::Directory, Kind::Write, Kind::OpenToWrite];

/// What must be the same, however often it was killed.
#[derive(Debug, PartialEq, Eq)]
struct End {
    files: String,
    outcomes: BTreeSet<String>,
}

fn end(world: &World, branch: &str) -> End {
    let status = world.spb(["status", "--json"]).run().success().stdout;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["state"], "succeeded", "{status:#}");
    let done = |node: &serde_json::Value| {
        let state = node["state"].as_str().unwrap().replace("cached", "succeeded");
        format!("{} {state} {}", node["node"], node["outputs"])
    };
    let outcomes = status["nodes"].as_array().unwrap().iter().map(done).collect();
    End { files: world.files(branch), outcomes }
}

/// Runs it with the plan; `None`: nothing can be traced here.
pub fn applied(world: &World, workflow: &str, plan: &Plan<'_>) -> Option<Seen> {
    steps::run(world.applying(workflow, &["--jobs", "2"]).command, plan)
}

/// Carries on whatever there is.
#[track_caller]
pub fn carried_on(world: &World, workflow: &str, said: &str) -> Run {
    let has_run = world.spb(["status", "--json"]).run().success().stdout.trim() != "null";
    let run = match has_run && world.state() != "succeeded" {
        true => world.resume(),
        false => world.apply(workflow),
    };
    assert_eq!(run.code(), Some(0), "{run}\nafter\n{said}");
    run
}

/// Names that nothing may leave behind: locks, half-made files, rooms, marks of the living.
pub fn leftovers(world: &World) -> Vec<PathBuf> {
    let is_left = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        let is_lock = name.ends_with(".lock") && !path.starts_with(world.store());
        let relative = path.strip_prefix(world.root.join("pool"));
        let is_slot_lock = relative
            .is_ok_and(|path| path.components().count() == 2 || path.iter().any(|part| part == "rooms"));
        name.starts_with(".new-")
            || name.starts_with(".tmp")
            || name.ends_with(".runs")
            || name == "writing-ref"
            || (is_lock && !is_slot_lock)
    };
    let mut found: Vec<PathBuf> = world.all_files(&world.root).into_iter().filter(is_left).collect();
    found.extend(world.rooms());
    found
}

/// Everything that holds after any death, once the run was carried on.
#[track_caller]
fn check_whole(world: &World, said: &str) {
    let list = world.git(&["worktree", "list", "--porcelain"]);
    assert!(!list.contains("prunable") && !list.contains("initializing"), "{list}\n{said}");
    world.git(&["fsck", "--no-dangling"]);
    assert_eq!(leftovers(world), Vec::<PathBuf>::new(), "{said}");
}

/// Kills at `first` and at every `stride`-th step after it.
fn survives_every_step(workflow: &str, kinds: &[Kind], act: Act, first: u64, stride: u64) {
    let undisturbed = World::in_memory();
    let branch = undisturbed.apply(workflow).success().branch();
    let expect = end(&undisturbed, &branch);
    let (mut at, mut calm, mut deaths) = (first, 0, 0);
    // Threads may come in another order: one undisturbed end could be luck.
    while calm < 2 {
        let world = World::in_memory();
        let plan = Plan { below: &world.root, kinds, at, act };
        let Some(seen) = applied(&world, workflow, &plan) else {
            eprintln!("SKIP  processes cannot be traced here");
            return;
        };
        let said = format!("killed at step {at}\n{seen}");
        if seen.hit.is_none() {
            assert_eq!(seen.code, 0, "{said}");
            calm += 1;
        }
        deaths += u64::from(seen.hit.is_some());
        let words = [&["runs"][..], &["logs"], &["doctor"]][at as usize % 3];
        assert!(matches!(world.spb(words).run().code(), Some(0 | 2)), "{words:?} {said}");
        let before = acknowledged(&seen.stdout);
        world.take_ran();
        let run = carried_on(&world, workflow, &said);
        let again = world.take_ran();
        for node in &before {
            assert!(!again.split(' ').any(|ran| ran == node), "{node} ran again: {again}\n{run}\n{said}");
        }
        assert_eq!(end(&world, &run.branch()), expect, "{run}\n{said}");
        assert_eq!(world.processes_of(&run.id()), Vec::<u32>::new(), "{said}");
        assert_eq!(world.apply(workflow).success().starts(), 0, "{said}");
        check_whole(&world, &said);
        at += stride;
    }
    eprintln!("{deaths} deaths, the last step was {at}");
}

#[test]
fn killed_at_every_durable_step_it_carries_on_to_the_same_end() {
    survives_every_step(SMALL, STEPS, Act::Kill, 1, 2);
}

// The other half, beside the first.
#[test]
fn killed_at_every_other_durable_step_it_carries_on_to_the_same_end() {
    survives_every_step(SMALL, STEPS, Act::Kill, 2, 2);
}

#[test]
fn killed_with_all_it_started_at_every_durable_step_it_carries_on_to_the_same_end() {
    let stride = if budget() > 0 { 1 } else { 7 };
    survives_every_step(SMALL, STEPS, Act::KillAll, 1, stride);
}

#[test]
fn a_graph_with_items_and_rounds_carries_on_from_any_step() {
    let stride = if budget() > 0 { 1 } else { 29 };
    survives_every_step(LARGE, STEPS, Act::Kill, 1, stride);
    if budget() > 0 {
        survives_every_step(LARGE, ALL_STEPS, Act::KillAll, 1, 1);
    }
}
