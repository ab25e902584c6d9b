//! Whether a node runs: conditions, failures, and what was asked for on the command line.

use crate::common::World;

#[test]
fn conditions_decide_by_the_ends_of_needs() {
    let world = World::new();
    let run = world.apply(
        r#"
inputs: { level: { type: integer, default: 2 } }
nodes:
  good: { run: 'true' }
  bad: { run: 'exit 1' }
  slow: { timeout: 200ms, run: 'sleep 1000' }
  off: { when: 'inputs.level > 5', run: 'true' }
  on: { when: 'inputs.level == 2', run: 'true' }
  after_good_failure: { needs: [good], when: failure(), run: 'true' }
  after_bad: { needs: [bad], run: 'true' }
  after_bad_failure: { needs: [bad, good], when: failure(), run: 'true' }
  after_slow_failure: { needs: [slow], when: failure(), run: 'true' }
  after_bad_always: { needs: [bad], when: always(), run: 'true' }
  after_bad_success: { needs: [good, bad], when: success(), run: 'true' }
  after_off: { needs: [off], run: 'true' }
  after_off_failure: { needs: [off], when: failure(), run: 'true' }
  after_off_always: { needs: [off], when: always(), run: 'true' }
  status: { needs: [bad], when: 'always() && needs.bad.status == "failed"', run: 'true' }
  behind_after_bad: { needs: [after_bad], run: 'true' }
  behind_recovery: { needs: [after_bad_failure], run: 'true' }
"#,
    );
    run.exits(1).ended(
        "after_bad skipped, after_bad_always succeeded, after_bad_failure succeeded, after_bad_success skipped, \
         after_good_failure skipped, after_off skipped, after_off_always succeeded, after_off_failure skipped, \
         after_slow_failure succeeded, bad failed, behind_after_bad skipped, behind_recovery succeeded, \
         good succeeded, off skipped, on succeeded, slow timed_out, status succeeded",
    );
}

#[test]
fn a_skip_says_why() {
    let world = World::new();
    let run = world.apply("nodes:\n  a: { run: exit 7 }\n  b: { needs: [a], run: 'true' }\n  c: { needs: [b], run: 'true' }\n  d: { when: '1 > 2', run: 'true' }\n");
    assert_eq!(run.message("a"), "exited with code 7");
    assert_eq!(run.message("b"), "needs `a`: failed");
    assert_eq!(run.message("c"), "needs `b`: skipped");
    assert_eq!(run.message("d"), "its `when` is false: 1 > 2");
}

#[test]
fn an_allowed_failure_does_not_fail_the_run_and_still_stops_its_dependents() {
    let world = World::new();
    let run = world.apply(
        "nodes:\n  a: { allow_failure: true, run: exit 1 }\n  b: { needs: [a], run: 'true' }\n  c: { run: 'echo c > c.txt' }\n",
    );
    let run = run.success().ended("a failed, b skipped, c succeeded");
    assert_eq!(run.end()["outcome"], "succeeded");
    assert_eq!(world.show(&run.branch(), "c.txt").as_deref(), Some("c\n"));
}

#[test]
fn after_orders_and_gives_nothing() {
    let world = World::new();
    let run = world.apply(
        "nodes:\n  z: { run: 'echo z >> $HOME/order; echo z > z.txt; exit 1' }\n  a: { after: [z], run: 'echo a >> $HOME/order; ls > list.txt' }\n",
    );
    run.exits(1).ended("a succeeded, z failed");
    assert_eq!(std::fs::read_to_string(world.home().join("order")).unwrap(), "z\na\n");
    assert_eq!(world.state(), "failed");
}

#[test]
fn fail_fast_starts_nothing_more() {
    let world = World::new();
    let workflow =
        "nodes:\n  a: { run: exit 1 }\n  b: { after: [a], run: 'true' }\n  c: { after: [b], run: 'true' }\n";
    world.apply(workflow).exits(1).ended("a failed, b succeeded, c succeeded");
    world
        .apply_with(workflow, &["--fail-fast", "--fresh"])
        .exits(1)
        .ended("a failed, b cancelled, c cancelled");
    let allowed = workflow.replace("run: exit 1", "allow_failure: true, run: exit 1");
    world
        .apply_with(&allowed, &["--fail-fast", "--fresh"])
        .success()
        .ended("a failed, b succeeded, c succeeded");
}

const CHAIN: &str = r#"
nodes:
  a: { run: 'echo a >> "$HOME/ran"; echo a > a.txt' }
  b: { needs: [a], run: 'echo b >> "$HOME/ran"; echo b > b.txt' }
  c: { needs: [b], run: 'echo c >> "$HOME/ran"; echo c > c.txt' }
  other: { run: 'echo other >> "$HOME/ran"; echo other > other.txt' }
"#;

#[test]
fn until_runs_a_node_and_what_it_needs() {
    let world = World::new();
    let run = world.apply_with(CHAIN, &["--until", "b"]).success().ended("a succeeded, b succeeded");
    assert_eq!(world.show(&run.branch(), "b.txt").as_deref(), Some("b\n"));
    assert_eq!(world.show(&run.branch(), "other.txt"), None);
    world.apply(CHAIN).success().ended("a cached, b cached, c succeeded, other succeeded");
}

#[test]
fn only_takes_needs_from_the_cache_and_never_runs_them() {
    let world = World::new();
    let run = world.apply_with(CHAIN, &["--only", "b"]).exits(1).ended("a failed, b skipped");
    assert!(run.message("a").contains("outside --only"), "{run}");
    assert!(run.message("a").contains("--until"), "{run}");
    assert_eq!(world.take_ran(), "");
    world.apply(CHAIN).success();
    world.take_ran();
    let run = world
        .apply_with(CHAIN, &["--only", "c", "--fresh"])
        .success()
        .ended("a cached, b cached, c succeeded");
    assert_eq!(world.take_ran(), "c");
    assert_eq!(world.show(&run.branch(), "a.txt").as_deref(), Some("a\n"));
    world.write("src/one.txt", "changed\n");
    world.commit("change");
    world.apply_with(CHAIN, &["--only", "c"]).exits(1).ended("a failed, b skipped, c skipped");
    assert_eq!(world.take_ran(), "");
    let run = world.apply_with(CHAIN, &["--only", "nobody"]).exits(2);
    assert!(run.stderr.contains("nobody"), "{run}");
}

#[test]
fn several_files_share_one_run_queue_and_each_has_its_result() {
    let world = World::new();
    let one = world.named_workflow("one", "nodes:\n  n: { run: 'echo 1 > one.txt' }\n");
    let two = world.named_workflow(
        "two",
        "nodes:\n  n: { run: 'echo 2 > two.txt' }\n  bad: { needs: [n], run: 'exit 1' }\n",
    );
    let run = world.spb([one.as_os_str(), two.as_os_str()].into_iter().fold(
        vec!["apply".as_ref(), "--events".as_ref(), "ndjson".as_ref()],
        |mut words, file| {
            words.push(file);
            words
        },
    ));
    let run = run.run().exits(1);
    let ends: Vec<_> = run.events().into_iter().filter(|event| event["event"] == "run_finished").collect();
    assert_eq!(ends.len(), 2);
    let outcomes: Vec<_> = ends.iter().map(|end| end["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["succeeded", "failed"]);
    assert_eq!(world.show(ends[0]["branch"].as_str().unwrap(), "one.txt").as_deref(), Some("1\n"));
}

#[test]
fn a_failure_while_an_expression_is_evaluated_fails_its_node_only() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  a: { outputs: { v: {} }, run: 'echo v=many >> "$SPB_OUTPUT"' }
  b: { needs: [a], when: 'int(needs.a.outputs.v) > 1', run: 'true' }
  c: { needs: [a], env: { N: "${{ int(needs.a.outputs.v) }}" }, run: 'true' }
  d: { needs: [a], run: 'true' }
"#,
    );
    run.exits(1).ended("a succeeded, b failed, c failed, d succeeded");
}
