//! Workflows in the place of nodes: what goes in, what comes out, and what becomes of their failures.

use serde_json::json;

use crate::common::World;

/// A used file beside the workflow of the test.
fn with_used(name: &str, text: &str) -> World {
    let world = World::with(&[("a.txt", "a\n"), ("b.txt", "b\n")]);
    world.named_workflow(name, text);
    world
}

const LINT: &str = r#"
version: 1
inputs:
  files: { type: array, items: string }
  word: { type: string, default: linted }
env: { WORD: "${{ inputs.word }}" }
nodes:
  one:
    for_each: ${{ inputs.files }}
    env: { FILE: "${{ item }}" }
    run: 'echo "$WORD" >> "$FILE"; echo "name=$FILE" >> "$SPB_OUTPUT"; echo "$SPB_NODE" >> "$HOME/ran"'
    outputs: { name: {} }
  count: { needs: [one], run: 'cat *.txt | wc -l | tr -d " " > count.out; echo "n=$(cat count.out)" >> "$SPB_OUTPUT"', outputs: { n: {} } }
outputs:
  names: ${{ needs.one.outputs.name }}
  lines: ${{ needs.count.outputs.n }}
"#;

#[test]
fn a_used_workflow_starts_from_the_needs_and_gives_its_outputs_and_changes() {
    let world = with_used("lint", LINT);
    let workflow = r#"
env: { WORD: outside }
nodes:
  list: { run: 'echo first >> a.txt; ls *.txt', outputs: { files: { stdout: true, format: lines } } }
  lint:
    needs: [list]
    uses: ./lint.yaml
    with: { files: "${{ needs.list.outputs.files }}" }
  end:
    needs: [lint]
    env: { N: "${{ needs.lint.outputs.names }} ${{ needs.lint.outputs.lines }} ${{ needs.lint.status }}" }
    run: 'echo "$N" > end.out; cat a.txt >> end.out'
"#;
    let run = world.apply(workflow).success();
    let branch = run.branch();
    assert_eq!(
        world.show(&branch, "end.out").as_deref(),
        Some("[\"a.txt\",\"b.txt\"] 5 succeeded\na\nfirst\nlinted\n")
    );
    assert_eq!(world.take_ran(), "lint/one:a.txt lint/one:b.txt");
    let again = world.apply(workflow).success();
    assert_eq!((again.starts(), world.take_ran().as_str()), (0, ""));
    assert_eq!(again.node("lint")["outcome"], "cached");
    let plan = world.spb(["plan", world.workflow(workflow).to_str().unwrap(), "--json"]).run().success();
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    let lint =
        plan["workflows"][0]["nodes"].as_array().unwrap().iter().find(|node| node["node"] == "lint").unwrap();
    let inside: Vec<&str> =
        lint["inside"].as_array().unwrap().iter().map(|node| node["node"].as_str().unwrap()).collect();
    assert_eq!(inside, ["lint/one", "lint/one:a.txt", "lint/one:b.txt", "lint/count"]);
}

#[test]
fn it_can_be_used_for_every_item_and_in_every_round() {
    let world = with_used("lint", LINT);
    let run = world.apply(
        r#"
nodes:
  each:
    for_each: [a.txt, b.txt]
    uses: ./lint.yaml
    with: { files: "${{ [item] }}", word: "w-${{ item }}" }
  turn:
    needs: [each]
    loop: { until: 'loop.last.outputs.lines == "7"', max: 4 }
    uses: ./lint.yaml
    with: { files: [a.txt], word: "r${{ loop.index }}" }
"#,
    );
    let run = run.success();
    assert_eq!(run.output("each", "names"), json!([["a.txt"], ["b.txt"]]));
    assert_eq!(run.output("turn", "lines"), json!("7"));
    let branch = run.branch();
    assert_eq!(world.show(&branch, "a.txt").as_deref(), Some("a\nw-a.txt\nr1\nr2\nr3\n"));
    assert_eq!(world.show(&branch, "b.txt").as_deref(), Some("b\nw-b.txt\n"));
}

#[test]
fn a_failure_inside_fails_the_node_unless_it_is_allowed_inside_or_outside() {
    let world = with_used(
        "inner",
        "version: 1\ninputs: { hard: { type: boolean } }\nnodes:\n  soft: { allow_failure: true, run: exit 3 }\n  \
         hard: { when: inputs.hard, run: exit 4 }\n  next: { needs: [hard], run: echo x > x.txt }\n",
    );
    let workflow = |hard: bool, allow: bool| {
        format!(
            "nodes:\n  u: {{ uses: ./inner.yaml, with: {{ hard: {hard} }}, allow_failure: {allow} }}\n  \
             other: {{ run: sleep 0.3 }}\n  after: {{ needs: [u], run: 'true' }}\n"
        )
    };
    let fine = world.apply(&workflow(false, false)).success();
    assert_eq!(fine.node("u")["outcome"], "succeeded");
    let failed = world
        .apply(&workflow(true, false))
        .exits(1)
        .ended("after skipped, other cached, u failed, u/hard failed, u/next skipped, u/soft failed");
    assert_eq!(failed.message("u"), "`u/hard` failed");
    // Allowed from outside: neither the run nor what goes on beside it ends by it.
    world
        .apply_with(&workflow(true, true), &["--fail-fast", "--fresh"])
        .success()
        .ended("after skipped, other succeeded, u failed, u/hard failed, u/next skipped, u/soft failed");
}

#[test]
fn inputs_that_fit_only_on_paper_fail_the_node_before_anything_in_it_runs() {
    let world = with_used("lint", LINT);
    let run = world.apply(
        r#"
nodes:
  give: { run: 'echo "{\"files\": 5}"', outputs: { v: { stdout: true, format: json } } }
  lint: { needs: [give], uses: ./lint.yaml, with: { files: "${{ needs.give.outputs.v.files }}" } }
"#,
    );
    let message = run.exits(1).message("lint");
    assert!(message.contains("the input `files` takes a list") && message.contains("lint.yaml"), "{message}");
    assert_eq!(world.take_ran(), "");
}

#[test]
fn it_has_its_own_environment_and_only_the_secrets_that_it_names() {
    let world = with_used(
        "inner",
        "version: 1\nsecrets: [TOKEN]\npass_env: [PLACE]\nenv: { OWN: inner }\nnodes:\n  show: { workspace: scratch, \
         run: 'echo \"$OWN/$OUTER/$PLACE/$OTHER/${#TOKEN}/$TOKEN\"', outputs: { o: { stdout: true } } }\n  \
         quiet: { workspace: scratch, run: 'echo \"$OWN/$OUTER/$PLACE/$OTHER/${#TOKEN}\"', outputs: { o: { stdout: true } } }\n\
         outputs: { o: '${{ needs.quiet.outputs.o }}' }\n",
    );
    let run = world
        .applying(
            "secrets: [OTHER]\nenv: { OUTER: outer }\nnodes:\n  u: { uses: ./inner.yaml, allow_failure: true }\n",
            &[],
        )
        .env("TOKEN", "sesame-open-12")
        .env("OTHER", "not-for-inside")
        .env("PLACE", "here")
        .run();
    assert_eq!(run.output("u/quiet", "o"), json!("inner//here//14"), "{run}");
    // Printed and refused as an output: masked wherever it is told.
    assert!(!run.stdout.contains("sesame") && !run.stderr.contains("sesame"), "{run}");
    let log = world.spb(["logs", "latest", "u/show"]).run();
    assert!(!log.stdout.contains("sesame") && log.stdout.contains("***"), "{log}");
}

#[test]
fn the_verbs_find_nodes_inside_of_others() {
    let world = with_used("lint", LINT);
    world
        .apply("nodes:\n  turn: { loop: { until: 'loop.index == 2', max: 2 }, uses: ./lint.yaml, with: { files: [a.txt], word: 'r${{ loop.index }}' } }\n")
        .success();
    let out = |words: &[&str]| world.spb(words).run().success().stdout;
    assert!(out(&["diff", "turn#2/one:a.txt"]).contains("+r2"));
    let several = world.spb(["diff", "turn"]).run().exits(2);
    assert!(several.stderr.contains("4 instances"), "{several}");
    assert!(out(&["why", "turn"]).contains("turn#1/count"));
    let mut shell = world.command(env!("CARGO_BIN_EXE_spb"));
    shell
        .args(["shell", "turn#2/one:a.txt"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    std::io::Write::write_all(&mut shell.stdin.take().unwrap(), b"echo \"$FILE $WORD\"; cat a.txt\n")
        .unwrap();
    let shell = shell.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&shell.stdout), "a.txt r2\na\nr1\nr2\n");
}
