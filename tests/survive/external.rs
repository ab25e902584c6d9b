//! An external effect happens at most once: what a crash leaves open is asked, and nothing goes on without the answer.

use crate::common::{Gate, Run, Running, World, is_alive, kill};

/// `push` has an external effect, between a node that changes a file and one that needs both.
fn workflow(push: &str) -> String {
    format!(
        r#"
nodes:
  build: {{ run: 'echo build >> "$HOME/ran"; echo b > b.txt' }}
  push:
    needs: [build]
    effect: external
    outputs: {{ url: {{}} }}
    run: |
      echo push >> "$HOME/ran"
      {push}
      echo "url=there" >> "$SPB_OUTPUT"
  tell:
    needs: [push]
    env: {{ URL: "${{{{ needs.push.outputs.url }}}}" }}
    run: 'echo tell >> "$HOME/ran"; echo "<$URL>" > url.txt; test -e b.txt'
"#
    )
}

fn resume(world: &World, words: &[&str]) -> Run {
    world.spb(["resume", "--events", "ndjson"].iter().chain(words)).run()
}

fn kill_inside(world: &World, gate: &Gate, running: Running) -> Run {
    let process = gate.arrived();
    running.signal(libc::SIGKILL);
    let run = running.finish();
    kill(process, libc::SIGKILL);
    crate::common::until(|| !is_alive(process));
    assert_eq!(world.state(), "interrupted");
    run
}

fn state_of(world: &World, node: &str) -> String {
    let status = world.spb(["status", "--json"]).run().success();
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().find(|one| one["node"] == *node).unwrap()["state"].as_str().unwrap().to_owned()
}

#[test]
fn it_runs_each_time_and_is_never_taken_from_the_cache() {
    let world = World::new();
    let workflow = workflow("true");
    let run = world.apply(&workflow).success().ended("build succeeded, push succeeded, tell succeeded");
    assert_eq!(world.show(&run.branch(), "url.txt").as_deref(), Some("<there>\n"));
    world.apply(&workflow).success().ended("build cached, push succeeded, tell cached");
    assert_eq!(world.take_ran(), "build push push tell");
}

#[test]
fn killed_while_it_runs_the_resume_asks_and_done_goes_on_without_it() {
    let world = World::new();
    let gate = world.gate("g");
    let run = kill_inside(&world, &gate, world.applying(&workflow(&gate.script()), &[]).begin());
    let id = run.id();
    assert_eq!(state_of(&world, "push"), "unknown");
    let before = std::fs::read(world.journal(&id)).unwrap();
    for _ in 0..2 {
        let asked = resume(&world, &[]).exits(3);
        assert!(asked.stderr.contains("the external effect of `push` came about is unknown"), "{asked}");
        assert!(asked.stderr.contains(&format!("spb resume {id} --assume push=done")), "{asked}");
        assert!(asked.stderr.contains(&format!("spb resume {id} --assume push=again")), "{asked}");
        assert_eq!(std::fs::read(world.journal(&id)).unwrap(), before, "the question changed the run");
    }
    let shown = world.spb(["status"]).run().success().stdout;
    assert!(shown.contains(&format!("spb resume {id} --assume push=done")), "{shown}");
    let done = resume(&world, &["--assume", "push=done"]).success();
    assert_eq!(world.take_ran(), "build push tell");
    assert_eq!(world.show(&done.branch(), "url.txt").as_deref(), Some("<>\n"), "it has no outputs");
    assert_eq!(world.show(&done.branch(), "b.txt").as_deref(), Some("b\n"), "what it needs passes through");
    assert_eq!(state_of(&world, "push"), "succeeded");
}

#[test]
fn again_runs_it_again_and_each_further_crash_asks_again() {
    let world = World::new();
    let gate = world.gate("g");
    kill_inside(&world, &gate, world.applying(&workflow(&gate.script()), &[]).begin());
    for _ in 0..2 {
        let again = world.spb(["resume", "--assume", "push=again", "--events", "ndjson"]).begin();
        kill_inside(&world, &gate, again);
        resume(&world, &[]).exits(3);
    }
    assert_eq!(world.take_ran(), "build push push push");
    let last = world.spb(["resume", "--assume", "push=again", "--events", "ndjson"]).begin();
    gate.arrived();
    gate.open();
    let run = last.finish().success();
    assert_eq!(world.show(&run.branch(), "url.txt").as_deref(), Some("<there>\n"));
    assert_eq!(world.take_ran(), "push tell");
}

#[test]
fn an_answer_that_nobody_asked_for_is_refused() {
    let world = World::new();
    let gate = world.gate("g");
    kill_inside(&world, &gate, world.applying(&workflow(&gate.script()), &[]).begin());
    let refused = resume(&world, &["--assume", "build=done"]).exits(2);
    assert!(refused.stderr.contains("only the outcome of `push` is unknown"), "{refused}");
    for bad in ["push", "push=maybe", "=done"] {
        resume(&world, &["--assume", bad]).exits(2);
    }
    assert_eq!(world.take_ran(), "build push");
}

#[test]
fn the_question_names_a_process_that_still_works() {
    let world = World::new();
    let gate = world.gate("g");
    let running = world.applying(&workflow(&gate.script()), &[]).begin();
    let process = gate.arrived();
    // The engine notes a process right after it has started it.
    crate::common::until(|| {
        let runs = std::fs::read_dir(world.store().join("runs")).unwrap().flatten();
        let noted = runs.filter_map(|run| std::fs::read_to_string(run.path().join("processes")).ok());
        noted.into_iter().any(|list| list.lines().any(|line| line.starts_with(&format!("{process} "))))
    });
    running.signal(libc::SIGKILL);
    running.finish();
    let asked = resume(&world, &[]).exits(3);
    assert!(asked.stderr.contains(&format!("its process {process} still works")), "{asked}");
    assert!(is_alive(process), "the question ended it");
    resume(&world, &["--assume", "push=done"]).success();
    assert!(!is_alive(process));
}

#[test]
fn what_was_stopped_timed_out_or_killed_is_unknown_and_what_failed_by_its_code_is_not() {
    for (push, setting, code) in [
        ("kill -KILL $$", "", 1),
        ("sleep 1000", "timeout: 50ms", 1),
        // It has done its work, and lacks the promised output.
        ("exit 0", "", 1),
    ] {
        let world = World::new();
        let workflow =
            workflow(push).replace("effect: external", &format!("effect: external\n    {setting}"));
        world.apply(&workflow).exits(code);
        resume(&world, &[]).exits(3);
        assert_eq!(world.take_ran(), "build push", "{push}");
    }
    let world = World::new();
    let gate = world.gate("g");
    let running = world.applying(&workflow(&gate.script()), &[]).begin();
    gate.arrived();
    running.signal(libc::SIGINT);
    running.finish().exits(130);
    resume(&world, &[]).exits(3);
    assert_eq!(world.take_ran(), "build push");
    let world = World::new();
    world.apply(&workflow("exit 7")).exits(1);
    resume(&world, &[]).exits(1);
    assert_eq!(world.take_ran(), "build push push", "a failure that it told is no question");
}

#[test]
fn killed_at_any_moment_it_never_runs_twice_without_the_answer() {
    let workflow = workflow("sleep 0.03");
    let undisturbed = World::new();
    let began = std::time::Instant::now();
    undisturbed.apply(&workflow).success();
    let whole = began.elapsed();
    for step in 0..12 {
        let world = World::new();
        let running = world.applying(&workflow, &[]).begin();
        // Any moment will do: nothing below depends on which one it was.
        std::thread::sleep(whole.mul_f64(f64::from(step) / 11.0));
        running.signal(libc::SIGKILL);
        running.finish();
        let status = world.spb(["status", "--json"]).run().success();
        if status.stdout.trim() == "null" || world.state() != "interrupted" {
            continue;
        }
        let is_unknown = state_of(&world, "push") == "unknown";
        let resumed = resume(&world, &[]);
        if is_unknown {
            let resumed = resumed.exits(3);
            assert!(resumed.stderr.contains("push=done"), "{resumed}");
            resume(&world, &["--assume", "push=done"]).success();
        } else {
            resumed.success();
        }
        let ran = world.take_ran();
        let pushed = ran.split(' ').filter(|name| *name == "push").count();
        assert!(pushed <= 1, "step {step}: {ran}");
        assert!(pushed == 1 || is_unknown, "step {step}: {ran}");
    }
}
