//! Runs that repeat the last one: taken only while everything is as it was, and a run like any other to whoever looks at it.

use std::path::PathBuf;

use serde_json::Value;

use crate::common::{Run, World};

const CHAIN: &str = r#"
pass_env: [FLAVOUR]
inputs: { word: { type: string, default: none } }
stages: [make, join]
nodes:
  a: { stage: make, reads: [src/one.txt], artifacts: [out/a.bin], run: 'echo a >> "$HOME/ran"; mkdir -p out; echo bin > out/a.bin; cp src/one.txt a.txt' }
  b: { stage: make, reads: [src/two.txt], outputs: { v: {} }, env: { W: "${{ inputs.word }}" }, run: 'echo b >> "$HOME/ran"; echo "$FLAVOUR $W" > b.txt; echo v=1 >> "$SPB_OUTPUT"' }
  c: { stage: join, needs: [a, b], run: 'echo c >> "$HOME/ran"; cat a.txt b.txt > c.txt' }
  never: { stage: join, when: "inputs.word == 'go'", run: 'echo never >> "$HOME/ran"' }
"#;

/// Applies as a person does.
fn apply(world: &World, text: &str, more: &[&str]) -> Run {
    let file = world.workflow(text);
    let words = ["apply", file.to_str().unwrap()];
    world.spb(words.iter().chain(more)).run()
}

fn repeats(run: &Run) -> bool {
    run.stderr.contains("all unchanged since run")
}

/// A world in which the next question of this kind is answered by a repeat.
fn ready() -> World {
    let world = World::new();
    apply(&world, CHAIN, &[]).success();
    assert!(!repeats(&apply(&world, CHAIN, &[]).success()), "the first run that found all");
    world.take_ran();
    world
}

#[track_caller]
fn asked_anew(world: &World, text: &str, more: &[&str], ran: &str) {
    let run = apply(world, text, more).success();
    assert!(!repeats(&run), "{run}");
    assert_eq!(world.take_ran(), ran);
}

fn status(world: &World, run: &str) -> Value {
    let status = world.spb(["status", run, "--json"]).run().success();
    let mut status: Value = serde_json::from_str(&status.stdout).unwrap();
    for own in ["run", "began", "last", "duration_ms", "branch", "pid", "next"] {
        status.as_object_mut().unwrap().remove(own);
    }
    status
}

fn ids(world: &World) -> Vec<String> {
    let runs = world.spb(["runs", "--json"]).run().success();
    let runs: Value = serde_json::from_str(&runs.stdout).unwrap();
    let runs = runs.as_array().or_else(|| runs["runs"].as_array()).unwrap();
    runs.iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect()
}

fn records(world: &World) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(world.store().join("repeats")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// The summary without what is each run's own.
fn summary(run: &Run) -> Vec<String> {
    let lines = run.stderr.lines().skip_while(|line| !line.contains("succeeded in")).skip(1);
    let lines = lines.skip_while(|line| !line.contains("succeeded in")).skip(1);
    lines
        .map(|line| line.split(" spb/").next().unwrap().to_owned())
        .filter(|line| !line.contains("git "))
        .collect()
}

#[test]
fn the_third_run_is_a_repeat_and_shows_what_the_second_shows() {
    let world = World::new();
    apply(&world, CHAIN, &[]).success();
    let second = apply(&world, CHAIN, &[]).success();
    let third = apply(&world, CHAIN, &[]).success();
    let fourth = apply(&world, CHAIN, &[]).success();
    assert!(!repeats(&second), "{second}");
    assert!(repeats(&third) && repeats(&fourth), "{third}\n{fourth}");
    assert_eq!(world.take_ran(), "a b c");
    assert_eq!(summary(&second), summary(&third));
    let ids = ids(&world);
    let [fourth, third, second, _] = ids.as_slice() else { panic!("{ids:?}") };
    for run in [third, fourth] {
        assert_eq!(status(&world, run), status(&world, second));
        let branch = |run: &str| world.git(&["rev-parse", &format!("spb/t/{run}")]);
        let there = world.git(&["for-each-ref", "--format=%(refname)"]);
        assert!(there.contains(&format!("refs/spb/checkpoints/{run}/join")), "{there}");
        if there.contains(&format!("spb/t/{run}")) {
            assert_eq!(branch(run), branch(second));
        }
        let text = std::fs::read_to_string(world.journal(run)).unwrap();
        assert!(text.contains("\"repeats\"") && !text.contains("node_finished"), "{text}");
        for verb in ["logs", "diff", "why"] {
            let shown = |run: &String| {
                let place = if verb == "logs" { [run.as_str(), "a"] } else { ["a", run.as_str()] };
                world.spb([verb].into_iter().chain(place)).run().success().stdout.replace(run.as_str(), "RUN")
            };
            assert_eq!(shown(run), shown(second), "{verb}");
        }
        world.spb(["checkpoint", "list", run]).run().success();
        world.spb(["resume", run]).run().success();
    }
    // What the other one recorded is in each run's own folder.
    let before = status(&world, fourth);
    std::fs::remove_dir_all(world.store().join("runs").join(second)).unwrap();
    assert_eq!(status(&world, fourth), before);
    asked_anew(&world, CHAIN, &[], "");
    assert!(repeats(&apply(&world, CHAIN, &[]).success()));
    let doctor = world.spb(["doctor"]).run();
    assert!(!doctor.stdout.contains("damaged"), "{doctor}");
}

#[test]
fn another_text_input_base_or_variable_is_another_question() {
    let world = ready();
    asked_anew(&world, &CHAIN.replace("echo v=1", "echo v=2"), &[], "b");
    assert!(repeats(&apply(&world, CHAIN, &[]).success()), "what was asked before still holds");
    asked_anew(&world, CHAIN, &["-i", "word=other"], "b c");
    assert!(repeats(&apply(&world, CHAIN, &[]).success()));
    world.write("src/two.txt", "zwei\n");
    world.commit("two");
    asked_anew(&world, CHAIN, &[], "b c");
    asked_anew(&world, CHAIN, &[], "");
    assert!(repeats(&apply(&world, CHAIN, &[]).success()));
    let file = world.workflow(CHAIN);
    let other = || world.spb(["apply", file.to_str().unwrap()]).env("FLAVOUR", "sweet").run().success();
    assert!(!repeats(&other()));
    assert_eq!(world.take_ran(), "a b c");
    assert!(!repeats(&other()));
    assert!(repeats(&other()));
    asked_anew(&world, CHAIN, &[], "");
    asked_anew(&world, CHAIN, &["--fresh"], "a b c");
    asked_anew(&world, CHAIN, &[], "");
    asked_anew(&world, CHAIN, &["--until", "a"], "");
}

#[test]
fn an_included_file_is_looked_at_again() {
    let world = World::new();
    let part = |text: &str| {
        world.named_workflow(
            "part",
            &format!("nodes:\n  p: {{ run: 'echo p >> \"$HOME/ran\"; echo {text} > p.txt' }}\n"),
        );
    };
    let whole = "include: [part.yaml]\nnodes:\n  q: { run: 'echo q >> \"$HOME/ran\"' }\n";
    part("one");
    for _ in 0..2 {
        assert!(!repeats(&apply(&world, whole, &[]).success()));
    }
    assert!(repeats(&apply(&world, whole, &[]).success()));
    world.take_ran();
    part("two");
    asked_anew(&world, whole, &[], "p");
}

#[test]
fn a_repeat_warns_of_what_is_not_committed_as_any_run_does() {
    let world = ready();
    world.write("new.txt", "x");
    let run = apply(&world, CHAIN, &[]).success();
    assert!(repeats(&run) && run.stderr.contains("1 change not committed"), "{run}");
}

#[test]
fn what_is_gone_is_made_again() {
    let world = ready();
    let artifacts = world.store().join("artifacts");
    std::fs::remove_dir_all(&artifacts).unwrap();
    asked_anew(&world, CHAIN, &[], "a");
    asked_anew(&world, CHAIN, &[], "");
    assert!(repeats(&apply(&world, CHAIN, &[]).success()));
    world.spb(["cache", "clear", "--yes"]).run().success();
    asked_anew(&world, CHAIN, &[], "a b c");
    asked_anew(&world, CHAIN, &[], "");
    assert!(repeats(&apply(&world, CHAIN, &[]).success()));
    world.spb(["cache", "gc", "--max-size", "1"]).run().success();
    asked_anew(&world, CHAIN, &[], "a b c");
    asked_anew(&world, CHAIN, &[], "");
    assert!(repeats(&apply(&world, CHAIN, &[]).success()));
    // A commit that no ref keeps any more.
    let refs = world.git(&["for-each-ref", "--format=%(refname)", "refs/spb", "refs/heads/spb"]);
    for name in refs.lines() {
        world.git(&["update-ref", "-d", name]);
    }
    world.git(&["-c", "gc.reflogExpire=now", "reflog", "expire", "--expire=now", "--all"]);
    world.git(&["-c", "gc.pruneExpire=now", "gc", "-q", "--prune=now"]);
    // Worktrees of the pool still hold some of them.
    assert!(!repeats(&apply(&world, CHAIN, &[]).success()));
    assert!(!world.take_ran().is_empty());
    // An index that was thrown away.
    asked_anew(&world, CHAIN, &[], "");
    for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        std::fs::remove_file(world.store().join(name)).ok();
    }
    asked_anew(&world, CHAIN, &[], "");
}

#[test]
fn an_answer_that_is_damaged_is_no_answer() {
    let world = ready();
    let [record] = records(&world).try_into().unwrap();
    let whole = std::fs::read(&record).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 12) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&record, bytes).unwrap();
        asked_anew(&world, CHAIN, &[], "");
    }
    for cut in [0, 1, 64, 65, whole.len() / 2] {
        std::fs::write(&record, &whole[..cut]).unwrap();
        asked_anew(&world, CHAIN, &[], "");
    }
    assert!(repeats(&apply(&world, CHAIN, &[]).success()));
    // Nor is one whose facts are.
    let facts: Vec<PathBuf> = ids(&world).iter().map(|run| world.journal(run)).collect();
    for path in facts.iter().filter(|path| std::fs::read_to_string(path).unwrap().contains("node_finished")) {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    asked_anew(&world, CHAIN, &[], "");
}

#[test]
fn what_is_not_looked_at_again_is_never_repeated() {
    let plain = "run: 'echo n >> \"$HOME/ran\"'";
    for (top, node) in [
        ("", "cache: { ttl: 1h }"),
        ("", "cache: { tools: ['cat \"$HOME/version\"'] }"),
        ("", "cache: false"),
        ("", "for_each: [x, y]"),
        ("secrets: [TOKEN]\n", ""),
        ("worktrees: { copy: ['*.log'] }\n", ""),
        ("result: { into: current }\n", ""),
    ] {
        let world = World::new();
        let comma = if node.is_empty() { "" } else { ", " };
        let text = format!("{top}nodes:\n  n: {{ {node}{comma}{plain} }}\n");
        for _ in 0..3 {
            let run = apply(&world, &text, &[]).success();
            assert!(!repeats(&run), "{text}\n{run}");
        }
        assert!(records(&world).is_empty(), "{text}");
    }
}

#[test]
fn two_at_once_both_repeat() {
    let world = ready();
    let file = world.workflow(CHAIN);
    let start = || world.spb(["apply", file.to_str().unwrap()]).begin();
    let both = [start(), start()].map(|running| running.finish().success());
    assert!(both.iter().all(repeats));
    assert_eq!(world.take_ran(), "");
}

#[test]
fn one_that_is_killed_is_carried_on() {
    let world = ready();
    let file = world.workflow(CHAIN);
    for micros in (0..20).map(|step| step * 1500) {
        let running = world.spb(["apply", file.to_str().unwrap()]).begin();
        std::thread::sleep(std::time::Duration::from_micros(micros));
        running.signal(libc::SIGKILL);
        running.finish();
        let resumed = world.spb(["resume"]).run().success();
        assert_eq!(world.state(), "succeeded", "{resumed}");
    }
    assert!(apply(&world, CHAIN, &[]).success().stderr.contains("3 cached, 1 skipped"));
    assert_eq!(world.take_ran(), "");
}

#[test]
fn random_edits_give_what_a_fresh_run_gives() {
    let world = ready();
    let mut state = 7_u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    let mut flavour = "none".to_owned();
    let mut repeated = 0;
    for _ in 0..10 {
        match random(6) {
            0 => {
                world.write("src/one.txt", format!("{}\n", random(3)));
                world.commit("one");
            }
            1 => flavour = format!("f{}", random(2)),
            2 => drop(std::fs::remove_dir_all(world.store().join("artifacts"))),
            _ => {}
        }
        let file = world.workflow(CHAIN);
        let run = |more: &[&str]| {
            let words = ["apply", file.to_str().unwrap()];
            world.spb(words.iter().chain(more)).env("FLAVOUR", &flavour).run().success()
        };
        for _ in 0..3 {
            repeated += usize::from(repeats(&run(&[])));
        }
        let newest = ids(&world)[0].clone();
        let tree = |run: &str| world.git(&["ls-tree", "-r", &format!("refs/spb/checkpoints/{run}/join")]);
        let kept = tree(&newest);
        let other = world.named_workflow("other", &CHAIN.replace("echo a >>", "echo fresh >>"));
        world.spb(["apply", other.to_str().unwrap(), "--fresh"]).env("FLAVOUR", &flavour).run().success();
        assert_eq!(tree(&ids(&world)[0]), kept);
    }
    assert!(repeated > 0, "nothing was repeated");
}
