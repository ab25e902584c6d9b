//! `spb explain`: what nodes resolve to before anything runs.

use crate::fixture::*;

const WORKFLOW: &str = r#"version: 1
inputs:
  who: { type: string, default: world }
  parts: { type: array, items: string, default: [core] }
env: { GREETING: "hello ${{ inputs.who }}" }
defaults: { timeout: 90m, retry: { max: 2 }, env: { CI: "true" } }
stages: [make, ship]
nodes:
  build:
    matrix: { part: "${{ inputs.parts }}", include: [{ part: core, flag: --fast }] }
    when: matrix.part != "docs"
    env: { PART: "${{ matrix.part }}", WHERE: "${{ run.id }}/${{ matrix.part }}" }
    run: [make, "${{ matrix.flag }}", "${{ env.GREETING }}!"]
    outputs: { size: {} }
  push:
    stage: ship
    needs: [build]
    effect: external
    env: { SIZES: "${{ needs.build.outputs.size }}" }
    run: |
      make push
      make tell
"#;

fn fixture() -> Fixture {
    let fixture = Fixture::new();
    std::fs::write(fixture.home().join("w.yaml"), WORKFLOW).unwrap();
    fixture
}

#[test]
fn a_node_is_shown_as_it_would_run() {
    let fixture = fixture();
    let shown = fixture.good(&["explain", "../w.yaml", "build:core", "-i", "who=you"]);
    assert_eq!(
        shown,
        r#"build:core:
  stage: make
  matrix:
    part: core
    flag: --fast
  when: matrix.part != "docs"
  run:
  - make
  - --fast
  - hello you!
  env:
    GREETING: hello you
    CI: 'true'
    PART: core
    WHERE: ${{ run.id }}/${{ matrix.part }}
  workspace: worktree
  working_directory: .
  outputs:
    size:
      format: text
  timeout: 1h30m
  retry:
    max: 2
    delay: 0s
    factor: 1.0
    jitter: 0.0
  allow_failure: false
  cache: true
  effect: local
  on_conflict: fail
"#
    );
    let shown = fixture.good(&["explain", "../w.yaml", "push"]);
    assert_eq!(
        shown,
        r#"push:
  stage: ship
  needs:
  - build:core
  when: success()
  run: |
    make push
    make tell
  shell:
  - sh
  - -e
  - -c
  env:
    GREETING: hello world
    CI: 'true'
    SIZES: ${{ needs.build.outputs.size }}
  workspace: worktree
  working_directory: .
  timeout: 1h30m
  allow_failure: false
  cache: false
  effect: external
  on_conflict: fail
"#
    );
}

#[test]
fn as_json_it_names_inputs_and_every_instance_and_what_is_skipped_already() {
    let fixture = fixture();
    let shown = fixture.json(&["explain", "../w.yaml", "--json", "-i", "parts=core,docs"]);
    let nodes = shown["nodes"].as_array().unwrap();
    let names: Vec<&str> = nodes.iter().map(|node| node["node"].as_str().unwrap()).collect();
    assert_eq!(names, ["build:core", "build:docs", "push"]);
    assert_eq!((&nodes[0]["skipped"], &nodes[1]["skipped"]), (&serde_json::Value::Null, &true.into()));
    assert_eq!(nodes[1]["run"], serde_json::json!(["make", null, "hello world!"]));
    assert_eq!(nodes[2]["needs"], serde_json::json!(["build:core", "build:docs"]));
    assert_eq!((&shown["inputs"]["who"], &shown["workflow"]), (&"world".into(), &"w".into()));
}

#[test]
fn it_needs_no_repository_and_writes_nothing() {
    let fixture = fixture();
    let mut command = fixture.spb_command(&["explain", "w.yaml", "build"]);
    let output = command.current_dir(fixture.home()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!fixture.repository().join(".git/spb").exists());
}

#[test]
fn a_wrong_name_a_wrong_input_and_a_wrong_file_are_told() {
    let fixture = fixture();
    for (arguments, told) in [
        (&["explain", "../w.yaml", "biuld"][..], "did you mean `build`?"),
        (&["explain", "../w.yaml", "-i", "whom=x"], "whom"),
        (&["explain", "../none.yaml"], "none.yaml"),
    ] {
        let ran = fixture.spb(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(ran.stderr.contains(told), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn warnings_are_errors_where_they_are_asked_to_be() {
    let fixture = fixture();
    let file = fixture.home().join("warns.yaml");
    std::fs::write(&file, "version: 1\nnodes:\n  a: { run: \"git push\", when: \"false\" }\n").unwrap();
    for verb in ["validate", "plan", "apply"] {
        let shown = fixture.spb(&[verb, "../warns.yaml"]);
        assert_eq!(shown.code, 0, "{verb}: {}", shown.stderr);
        assert!(shown.stderr.contains("2 warnings"), "{verb}: {}", shown.stderr);
        let shown = fixture.spb(&[verb, "--strict", "../warns.yaml"]);
        assert_eq!((shown.code, shown.stdout.as_str()), (2, ""), "{verb}");
        assert!(shown.stderr.contains("spb::effect::undeclared"), "{verb}: {}", shown.stderr);
    }
    let shown = fixture.spb(&["validate", "--strict", "--json", "../warns.yaml"]);
    assert!(shown.code == 2 && shown.stdout.contains("\"severity\": \"warning\""), "{}", shown.stdout);
}
