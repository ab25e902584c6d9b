//! Gates among other nodes: jobs, matrices, conditions, failures, selections.

use serde_json::json;

use crate::SHIP;
use crate::common::World;

#[test]
fn a_gate_asks_while_every_job_is_taken() {
    let world = World::new();
    let busy = world.gate("busy");
    let workflow = format!(
        "nodes:
  busy: {{ run: \"{}\" }}
  gate: {{ approve: Now? }}
  next: {{ needs: [gate], run: 'echo next >> \"$HOME/ran\"' }}\n",
        busy.script()
    );
    let running = world.applying(&workflow, &["--jobs", "1"]).begin();
    busy.arrived();
    world.asked("gate", 1);
    let said = world.say(&["approve"]).success();
    assert!(said.stdout.contains("the run goes on"), "{said}");
    assert_eq!(world.node("gate")["state"], "succeeded");
    assert_eq!(world.take_ran(), "", "the job is still taken");
    busy.open();
    running.finish().success();
    assert_eq!(world.take_ran(), "next");
}

#[test]
fn each_instance_of_a_matrix_asks_for_itself() {
    let world = World::new();
    let workflow = r#"
nodes:
  gate:
    matrix: { place: [test, live] }
    approve: "To ${{ matrix.place }}?"
  ship:
    needs: [gate]
    env: { YES: "${{ needs.gate.outputs.approved }}", WORDS: "${{ needs.gate.outputs.message }}" }
    run: echo "$YES $WORDS" >> "$HOME/ran"
"#;
    let run = world.apply(workflow).exits(4);
    assert_eq!(run.end()["message"], "`gate:test` asks: To test?; `gate:live` asks: To live?");
    for words in [&["approve"][..], &["approve", "gate"], &["approve", &run.id()]] {
        let several = world.say(words).exits(2);
        assert!(several.stderr.contains("`gate:test`, `gate:live`"), "{several}");
    }
    world.say(&["approve", "gate:live", "-m", "b"]).success();
    world.resume().exits(4).ended("gate:live succeeded");
    world.say(&["approve", "gate", "-m", "a"]).success();
    world.resume().success().ended("gate:test succeeded, ship succeeded");
    assert_eq!(world.take_ran(), "[true,true] [\"a\",\"b\"]");
}

#[test]
fn the_changes_of_all_needs_pass_through_a_gate() {
    let world = World::new();
    let workflow = r#"
nodes:
  a: { run: echo a > a.txt }
  b: { run: echo b > b.txt }
  gate: { needs: [a, b], approve: Both? }
  both: { needs: [gate], run: cat a.txt b.txt > both.txt }
"#;
    world.apply(workflow).exits(4);
    let said = world.say(&["approve", "--resume"]).success();
    let id = world.status()["run"].as_str().unwrap().to_owned();
    assert_eq!(world.show(&format!("spb/t/{id}"), "both.txt").as_deref(), Some("a\nb\n"), "{said}");
    // The gate itself is never taken from an earlier run, its dependents are.
    let run = world.apply(workflow).exits(4).ended("a cached, b cached");
    world.say(&["approve", &run.id()]).success();
    world.resume().success().ended("both cached, gate succeeded");
}

#[test]
fn a_rejection_that_is_allowed_does_not_fail_the_run() {
    let world = World::new();
    let workflow = format!(
        "{}  anyway: {{ needs: [gate], when: always(), env: {{ YES: \"${{{{ needs.gate.outputs.approved }}}}\" }}, \
         run: 'echo \"$YES\" >> \"$HOME/ran\"' }}\n",
        SHIP.replace("Ship it?\"", "Ship it?\", allow_failure: true")
    );
    world.apply(&workflow).exits(4);
    world.say(&["reject"]).success();
    let run = world.resume().success().ended("anyway succeeded, gate failed, ship skipped");
    assert_eq!(run.node("gate")["allowed_to_fail"], json!(true));
    assert_eq!(world.show(&run.branch(), "b.txt").as_deref(), Some("b\n"));
    assert_eq!(world.take_ran(), "build false");
}

#[test]
fn a_gate_whose_condition_is_false_or_whose_need_failed_asks_nothing() {
    let world = World::new();
    let skipped = SHIP.replace("approve:", "when: \"false\", approve:");
    world.apply(&skipped).success().ended("build succeeded, gate skipped, ship skipped");
    let failed = SHIP.replace("echo b > b.txt", "exit 3");
    world.apply(&failed).exits(1).ended("build failed, gate skipped, ship skipped");
    assert_eq!(world.questions("gate"), 0);
}

#[test]
fn a_run_with_a_failure_still_waits_unless_it_is_to_fail_fast() {
    let workflow = format!("{SHIP}  bad: {{ run: test -e \"$HOME/ok\" }}\n");
    let world = World::new();
    let run = world.apply(&workflow).exits(4).ended("bad failed, build succeeded");
    assert!(run.stderr.contains("failed") && run.stderr.contains("spb approve"), "{run}");
    world.say(&["approve"]).success();
    world.resume().exits(1).ended("bad failed, gate succeeded, ship succeeded");
    crate::common::put(&world.home().join("ok"), "");
    world.resume().success().ended("bad succeeded");
    let world = World::new();
    let busy = world.gate("busy");
    let workflow = format!("{SHIP}  bad: {{ run: \"{}; exit 1\" }}\n", busy.script());
    let running = world.applying(&workflow, &["--fail-fast", "--jobs", "2"]).begin();
    busy.arrived();
    world.asked("gate", 1);
    busy.open();
    let run = running.finish().exits(1).ended("bad failed, build succeeded, gate cancelled, ship cancelled");
    assert_eq!(run.message("gate"), "another node failed");
}

#[test]
fn only_what_needs_a_gate_cannot_go_around_it() {
    let world = World::new();
    world.apply_with(SHIP, &["--until", "gate"]).exits(4).ended("build succeeded");
    world.say(&["approve", "--resume"]).success();
    assert_eq!(world.take_ran(), "build");
    let run =
        world.apply_with(SHIP, &["--only", "ship"]).exits(1).ended("build cached, gate failed, ship skipped");
    assert!(run.message("gate").contains("--only"), "{run}");
    assert_eq!(world.take_ran(), "");
}

#[test]
fn a_stop_leaves_the_question_to_the_next_engine() {
    let world = World::new();
    let running = world.waiting(SHIP, "gate");
    let stopped = world.say(&["cancel"]).success();
    assert!(stopped.stdout.contains("stopped run"), "{stopped}");
    running.finish().exits(130).ended("build succeeded, gate cancelled, ship cancelled");
    world.say(&["approve", "gate"]).success();
    world.resume().success().ended("gate succeeded, ship succeeded");
}

#[test]
fn two_runs_of_one_process_wait_together() {
    let world = World::new();
    let one = world.named_workflow("one", SHIP);
    let two = world.named_workflow("two", "nodes: { quick: { run: \"true\" } }\n");
    let words = ["apply", one.to_str().unwrap(), two.to_str().unwrap(), "--events", "ndjson"];
    let run = world.say(&words).exits(4);
    let ends: Vec<_> = run.events().into_iter().filter(|event| event["event"] == "run_finished").collect();
    assert_eq!((&ends[0]["outcome"], &ends[1]["outcome"]), (&json!("waiting"), &json!("succeeded")));
    world.say(&["approve", "--resume"]).success();
}

#[test]
fn a_secret_is_masked_in_question_and_answer() {
    let world = World::new();
    let workflow = r#"
secrets: [TOKEN]
nodes:
  gate: { approve: "Is s3cret-token yours?" }
"#;
    let applied = world.applying(workflow, &[]).env("TOKEN", "s3cret-token").run().exits(4);
    world.say(&["approve", "-m", "s3cret-token it is"]).success();
    let resumed = world.spb(["resume", "--events", "ndjson"]).env("TOKEN", "s3cret-token").run().success();
    for run in [&applied, &resumed] {
        assert!(!format!("{run}").contains("s3cret-token"), "{run}");
    }
    assert!(resumed.message("gate").contains("it is"), "{resumed}");
}

#[test]
fn gates_inside_of_other_workflows_and_of_lists_known_at_run_time_ask_and_carry_on() {
    let world = World::new();
    let inner = r#"
inputs: { what: { type: string } }
outputs: { who: "${{ needs.gate.outputs.by }}" }
nodes:
  first: { run: 'echo first >> "$HOME/ran"; echo first > first.txt' }
  gate: { needs: [first], approve: "Ship ${{ inputs.what }}?" }
  after: { needs: [gate], run: 'echo after >> "$HOME/ran"; cat first.txt > after.txt' }
"#;
    world.named_workflow("inner", inner);
    let workflow = r#"
nodes:
  list: { outputs: { all: { stdout: true, format: json } }, run: [echo, '["a","b"]'] }
  each: { needs: [list], for_each: "${{ needs.list.outputs.all }}", approve: "Item ${{ item }}?" }
  sub: { uses: inner.yaml, with: { what: it } }
  end:
    needs: [each, sub]
    env: { YES: "${{ needs.each.outputs.approved }}", WHO: "${{ needs.sub.outputs.who }}" }
    run: echo "$YES $WHO" > end.txt
"#;
    let running = world.applying(workflow, &["--wait"]).begin();
    for node in ["each:a", "each:b", "sub/gate"] {
        world.asked(node, 1);
    }
    running.signal(libc::SIGKILL);
    running.finish();
    world.say(&["approve", "sub/gate"]).success();
    world.say(&["approve", "each:b"]).success();
    let run = world.resume().exits(4);
    assert_eq!(run.end()["message"], "`each:a` asks: Item a?");
    assert_eq!(world.node("each")["state"], "waiting");
    world.say(&["reject", "each:a", "--resume"]).exits(1);
    assert_eq!(world.state(), "failed");
    world.resume().exits(4);
    world.say(&["approve"]).success();
    let run = world.resume().success();
    assert_eq!(world.show(&run.branch(), "end.txt").as_deref(), Some("[true,true] Tester\n"));
    assert_eq!(world.show(&run.branch(), "after.txt").as_deref(), Some("first\n"));
    assert_eq!(world.take_ran(), "after first");
    assert_eq!(world.questions("each:b"), 1, "what was answered is asked once");
}
