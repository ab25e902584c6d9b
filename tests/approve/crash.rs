//! Kills, races, damage and other versions: a question is never lost, an answer never changed.

use std::fs;

use serde_json::json;

use crate::SHIP;
use crate::common::{World, until};

#[test]
fn killed_while_it_waits_the_question_stays_and_so_does_an_answer() {
    let world = World::new();
    let running = world.waiting(SHIP, "gate");
    running.signal(libc::SIGKILL);
    running.finish();
    assert_eq!(world.state(), "interrupted");
    assert_eq!(world.node("gate")["state"], "asking");
    world.say(&["approve", "gate", "-m", "later"]).success();
    assert_eq!(world.node("gate")["state"], "answered");
    let run = world.resume().success().ended("gate succeeded, ship succeeded");
    assert_eq!(run.output("gate", "message"), json!("later"));
    assert_eq!(world.questions("gate"), 1, "an answered question is not put again");
    assert_eq!(world.take_ran(), "build ship");
}

#[test]
fn killed_while_it_waits_and_resumed_it_asks_the_same() {
    let world = World::new();
    let running = world.waiting(SHIP, "gate");
    running.signal(libc::SIGKILL);
    running.finish();
    let running = world.spb(["resume", "--wait", "--events", "ndjson"]).begin();
    world.asked("gate", 2);
    world.say(&["approve"]).success();
    let run = running.finish().success();
    let asked = run.events().into_iter().find(|event| event["event"] == "approval_asked").unwrap();
    assert_eq!(asked["number"], 1);
    assert_eq!(world.take_ran(), "build ship");
}

#[test]
fn killed_at_any_moment_around_the_answer_it_counts_once() {
    let undisturbed = World::new();
    let began = std::time::Instant::now();
    let running = undisturbed.waiting(SHIP, "gate");
    undisturbed.say(&["approve"]).success();
    running.finish().success();
    let whole = began.elapsed();
    for step in 0..12 {
        let world = World::new();
        let running = world.applying(SHIP, &["--wait"]).begin();
        let approved = std::thread::scope(|scope| {
            let answer = scope.spawn(|| {
                // Before the question is there, nothing asks.
                world.asked("gate", 1);
                world.say(&["approve", "-m", "once"])
            });
            // Any moment will do: nothing below depends on which one it was.
            std::thread::sleep(whole.mul_f64(f64::from(step) / 11.0));
            running.signal(libc::SIGKILL);
            running.finish();
            if world.questions("gate") == 0 {
                // Killed before it asked: only a second engine does.
                let began = world.say(&["status", "--json"]).success().stdout.trim() != "null";
                let again = if began { world.resume() } else { world.apply(SHIP) };
                again.exits(4);
            }
            answer.join().unwrap()
        });
        approved.success();
        if world.state() != "succeeded" {
            world.resume().success();
        }
        assert_eq!(world.state(), "succeeded", "step {step}");
        assert_eq!(world.node("gate")["outputs"]["message"], "once", "step {step}");
        let journal = world.journals().concat();
        let ends = journal.matches("\"event\":\"node_finished\",\"node\":\"gate\"").count();
        assert_eq!(ends, 1, "step {step}: the answer was acted on {ends} times");
        let ran = world.take_ran();
        assert!(ran.starts_with("build") && ran.ends_with("ship"), "step {step}: {ran}");
    }
}

#[test]
fn of_many_who_answer_at_once_one_is_heard_and_all_are_told_who() {
    let world = World::new();
    let running = world.waiting(SHIP, "gate");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let world = &world;
        let one = |number: usize| {
            let verb = if number.is_multiple_of(2) { "approve" } else { "reject" };
            (verb, world.say(&[verb, "gate", "-m", &format!("by {number}")]))
        };
        let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || one(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let run = running.finish();
    let verdict = if run.code() == Some(0) { "approve" } else { "reject" };
    let words = run.output("gate", "message");
    let heard = answers.iter().filter(|(_, run)| run.code() == Some(0) && !run.stdout.contains("already"));
    assert_eq!(heard.count(), 1);
    for (verb, answer) in &answers {
        let told = format!("{}{}", answer.stdout, answer.stderr);
        let is_same = *verb == verdict;
        // Whoever came when the run had taken the answer up is told the end of the node.
        let late = answer.stderr.contains("has its answer");
        assert!(late || answer.code() == Some(if is_same { 0 } else { 2 }), "{words} {verb} {answer}");
        assert!(told.contains(if verdict == "approve" { "approved by" } else { "rejected by" }), "{answer}");
    }
}

#[test]
fn an_answer_holds_for_the_work_that_it_was_given_for() {
    let world = World::new();
    let workflow =
        SHIP.replace("echo b > b.txt'", "date +%s%N > b.txt', cache: false").replace("cat b.txt", "true");
    world.apply(&workflow).exits(4);
    world.say(&["approve", "-m", "the first"]).success();
    // What was made is lost, as after a careless cleanup: it is made again, and is something else.
    for name in world.git(&["for-each-ref", "--format=%(refname)", "refs/spb"]).lines() {
        world.git(&["update-ref", "-d", name]);
    }
    world.git(&["-c", "gc.reflogExpire=now", "gc", "-q", "--prune=now"]);
    let run = world.resume().exits(4).ended("build succeeded");
    let asked = run.events().into_iter().find(|event| event["event"] == "approval_asked").unwrap();
    assert_eq!(asked["number"], 2, "{run}");
    world.say(&["approve", "-m", "the second"]).success();
    assert_eq!(world.resume().success().output("gate", "message"), json!("the second"));
}

#[test]
fn an_answer_that_cannot_be_read_fails_the_node_by_its_path_and_is_asked_for_anew() {
    let world = World::new();
    world.apply(SHIP).exits(4);
    world.say(&["approve"]).success();
    let run = world.status()["run"].as_str().unwrap().to_owned();
    let path = world.store().join("runs").join(&run).join("decisions/gate.json");
    let whole = fs::read_to_string(&path).unwrap();
    for damaged in [&whole[..20], "", "{\"format\":1}", &whole.replace("approved", "whatever")] {
        fs::write(&path, damaged).unwrap();
        world.say(&["status"]).success();
        world.say(&["approve", "gate"]).exits(3);
    }
    let failed = world.resume().exits(1);
    assert!(failed.message("gate").contains("decisions/gate.json"), "{failed}");
    world.resume().exits(4);
    world.say(&["approve", "--resume"]).success();
}

#[test]
fn a_full_or_read_only_store_takes_no_answer_and_says_so() {
    let world = World::new();
    world.apply(SHIP).exits(4);
    let run = world.status()["run"].as_str().unwrap().to_owned();
    // Something else stands where the answers go.
    let directory = world.store().join("runs").join(&run).join("decisions");
    fs::write(&directory, "").unwrap();
    let refused = world.say(&["approve"]).exits(3);
    assert!(refused.stderr.contains("decisions"), "{refused}");
    fs::remove_file(&directory).unwrap();
    world.say(&["approve", "--resume"]).success();
}

#[test]
fn an_engine_that_lives_takes_an_answer_up_while_other_nodes_work() {
    let world = World::new();
    let busy = world.gate("busy");
    let workflow = format!("{SHIP}  busy: {{ run: \"{}\" }}\n", busy.script());
    let running = world.applying(&workflow, &[]).begin();
    busy.arrived();
    world.asked("gate", 1);
    world.say(&["reject", "gate"]).success();
    until(|| world.node("ship")["state"] == "skipped");
    busy.open();
    running.finish().exits(1);
}

/// A run of format 1, as an spb wrote it that knew no gates; it was killed between its two nodes.
#[test]
fn a_journal_of_the_first_format_is_read_and_carried_on() {
    let world = World::new();
    let kept = std::path::Path::new("tests/approve/format-1");
    let run = "20261124-175833-z7by";
    for (from, to) in [
        ("format", "format".to_owned()),
        ("journal.ndjson", format!("runs/{run}/journal.ndjson")),
        ("workflow.yaml", {
            let digest = blake3::hash(&fs::read(kept.join("workflow.yaml")).unwrap()).to_hex().to_string();
            format!("workflows/{digest}.yaml")
        }),
    ] {
        crate::common::put(&world.store().join(to), fs::read(kept.join(from)).unwrap());
    }
    assert_eq!(world.state(), "interrupted");
    assert_eq!(world.node("one")["state"], "succeeded");
    for words in [&["runs"][..], &["status"], &["logs"], &["why", "one"]] {
        world.say(words).success();
    }
    assert_eq!(fs::read_to_string(world.store().join("format")).unwrap(), "1\n", "readers write nothing");
    let resumed = world.resume().success();
    assert_eq!(resumed.id(), run);
    assert_eq!(world.show(&resumed.branch(), "two.txt").as_deref(), Some("1\n"));
    let now = format!("{}\n", spb::event::FORMAT);
    assert_eq!(fs::read_to_string(world.store().join("format")).unwrap(), now);
}
