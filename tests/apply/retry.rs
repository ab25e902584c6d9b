//! Further attempts: how long is waited, after what, and what happens between them.

use crate::common::{Run, World};

/// The waits before further attempts of a node, milliseconds.
fn delays(run: &Run, node: &str) -> Vec<u64> {
    let retries =
        run.events().into_iter().filter(|event| event["event"] == "node_retry" && event["node"] == *node);
    retries.map(|event| event["delay_ms"].as_u64().unwrap()).collect()
}

#[test]
fn the_wait_grows_by_its_factor_and_jitter_only_adds() {
    let world = World::new();
    let run = world
        .apply(
            r#"
nodes:
  plain: { workspace: scratch, retry: { max: 2 }, run: exit 1 }
  grows: { workspace: scratch, retry: { max: 3, delay: 10ms, factor: 3 }, run: exit 1 }
  jitters: { workspace: scratch, retry: { max: 4, delay: 20ms, jitter: 0.5 }, run: exit 1 }
"#,
        )
        .exits(1);
    assert_eq!(delays(&run, "plain"), [0, 0]);
    assert_eq!(delays(&run, "grows"), [10, 30, 90]);
    let jittered = delays(&run, "jitters");
    assert!(jittered.len() == 4 && jittered.iter().all(|delay| (20..=30).contains(delay)), "{jittered:?}");
    assert_eq!(run.node("grows")["attempts"], 4);
    assert!(run.stderr.contains("attempt 1: exited with code 1; again in 10ms"), "{run}");
}

#[test]
fn a_timeout_and_an_exit_code_are_told_apart() {
    let world = World::new();
    let run = world
        .apply(
            r#"
defaults: { workspace: scratch }
nodes:
  late_by_code: { timeout: 100ms, retry: { max: 2, on: [75] }, run: exec sleep 100 }
  code_by_late: { timeout: 100s, retry: { max: 2, on: [timeout] }, run: exit 75 }
  late: { timeout: 100ms, retry: { max: 1, on: [timeout] }, run: exec sleep 100 }
  code: { retry: { max: 1, on: [74, 75] }, run: exit 75 }
  signal: { retry: { max: 1, on: [9, 137] }, run: kill -KILL $$ }
  any: { retry: { max: 1 }, run: kill -KILL $$ }
  promise: { retry: { max: 1 }, run: "true", outputs: { x: {} } }
"#,
        )
        .exits(1);
    let attempts = |node: &str| run.node(node)["attempts"].as_u64().unwrap();
    let all = ["late_by_code", "code_by_late", "late", "code", "signal", "any", "promise"];
    assert_eq!(all.map(attempts), [1, 1, 2, 2, 1, 2, 1], "{run}");
}

#[test]
fn what_runs_between_works_for_the_next_attempt_and_its_failure_is_the_nodes() {
    let world = World::new();
    let run = world
        .apply(
            r#"
nodes:
  mended:
    retry: { max: 1, between: 'test ! -e left.txt; echo "mended for $SPB_ATTEMPT" > mended.txt' }
    run: 'echo x > left.txt; test -e mended.txt'
  broken: { retry: { max: 3, between: exit 9 }, run: 'echo x >> "$HOME/broken"; exit 1' }
"#,
        )
        .exits(1)
        .ended("broken failed, mended succeeded");
    assert_eq!(run.message("broken"), "the script `retry.between`: exited with code 9");
    assert_eq!(std::fs::read_to_string(world.home().join("broken")).unwrap(), "x\n");
    let commit = run.node("mended")["result"]["commit"].as_str().unwrap().to_owned();
    assert_eq!(world.show(&commit, "mended.txt").as_deref(), Some("mended for 2\n"));
    assert_eq!(world.show(&commit, "left.txt").as_deref(), Some("x\n"));
}

#[test]
fn a_stop_does_not_wait_for_the_next_attempt() {
    let world = World::new();
    let workflow = "nodes:\n  a: { retry: { max: 1, delay: 1h }, run: exit 1 }\n";
    let running = world.applying(workflow, &[]).begin();
    crate::common::until(|| world.journals().concat().contains("node_retry"));
    running.signal(libc::SIGINT);
    let run = running.finish().exits(130).ended("a cancelled");
    assert_eq!(run.message("a"), "stopped before its next attempt");
}

#[test]
fn a_promise_not_kept_is_no_failure_that_another_attempt_mends() {
    let world = World::new();
    let run = world
        .apply("nodes:\n  n: { retry: { max: 3 }, outputs: { o: {} }, run: 'echo x >> \"$HOME/ran\"' }\n");
    run.exits(1);
    assert_eq!(world.take_ran(), "x");
}

#[test]
fn artifacts_of_several_needs_at_one_path_are_those_of_the_need_named_last() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  a: { artifacts: [out/x], run: 'mkdir -p out; echo a > out/x' }
  b: { artifacts: [out/x], run: 'mkdir -p out; echo b > out/x' }
  ab: { needs: [a, b], run: 'cat out/x > ab.txt' }
  ba: { needs: [b, a], run: 'cat out/x > ba.txt' }
  far: { needs: [ab], run: 'test ! -e out/x; echo far > far.txt' }
worktrees: { clean: all }
"#,
    );
    let branch = run.success().branch();
    assert_eq!(world.show(&branch, "ab.txt").as_deref(), Some("b\n"));
    assert_eq!(world.show(&branch, "ba.txt").as_deref(), Some("a\n"));
}
