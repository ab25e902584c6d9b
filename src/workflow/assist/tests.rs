//! Completion, hover and names over files as they are while being typed. `|` is the cursor.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::workflow::schema;

const FILE: &str = "\
version: 1
inputs:
  task: { type: string, description: What to build. }
  parts: { type: array, items: string, default: [core] }
env: { LEVEL: high }
stages: [plan, build]
nodes:
  plan:
    description: Writes the plan.
    run: make plan
    outputs: { spec: { file: spec.md }, files: { out: f, format: lines } }
  my-scout:
    run: make scout
  build:
    stage: build
    needs: [plan, my-scout]
    matrix: { os: [linux, macos] }
    when: needs.plan.outputs.spec != \"\"
    env: { SPEC: \"${{ needs.plan.outputs.spec }}\" }
    run: make
";

/// `FILE` with a line put at its end, and the cursor in it.
fn ending(line: &str) -> String {
    format!("{FILE}{line}\n")
}

fn cut(text: &str) -> (String, usize) {
    let at = text.rfind('|').expect("a cursor");
    (format!("{}{}", &text[..at], &text[at + 1..]), at)
}

fn offered(text: &str) -> Vec<Completion> {
    let (text, at) = cut(text);
    complete(Path::new("a.yaml"), &text, at)
}

#[track_caller]
fn check(text: &str, expect: &[&str]) {
    let labels: Vec<String> = offered(text).into_iter().map(|item| item.label).collect();
    assert_eq!(labels, expect, "{}", text.lines().find(|line| line.contains('|')).unwrap_or_default());
}

/// At least these, and none of those.
#[track_caller]
fn check_some(text: &str, some: &[&str], none: &[&str]) {
    let labels: Vec<String> = offered(text).into_iter().map(|item| item.label).collect();
    for label in some {
        assert!(labels.iter().any(|found| found == label), "{label} is not offered: {labels:?}");
    }
    for label in none {
        assert!(!labels.iter().any(|found| found == label), "{label} is offered: {labels:?}");
    }
}

/// What a completion makes of the text.
fn accepted(text: &str, label: &str) -> String {
    let item = offered(text).into_iter().find(|item| item.label == label).expect("it is offered");
    let (text, _) = cut(text);
    format!("{}{}{}", &text[..item.replace.start], item.insert, &text[item.replace.end..])
}

#[test]
fn nodes_are_offered_where_nodes_are_named() {
    check(&ending("  last: { run: x, needs: [|"), &["plan", "my-scout", "build"]);
    check(&ending("  last:\n    run: x\n    needs: [plan, |"), &["my-scout", "build"]);
    check(&ending("  last:\n    run: x\n    needs: [plan, |]\n    env: { A: b }"), &["my-scout", "build"]);
    check(&ending("  last:\n    needs:\n      - plan\n      - m|\n    run: x"), &["my-scout", "build"]);
    check(&ending("  last:\n    after: |\n    run: x"), &["plan", "my-scout", "build"]);
    check(&ending("result: { from: [|] }"), &["plan", "my-scout", "build"]);
    let text = ending("  last:\n    after: |\n    run: x");
    assert!(accepted(&text, "plan").ends_with("    after: [plan]\n    run: x\n"));
}

#[test]
fn stages_and_words_are_offered() {
    check(&ending("  last: { run: x, stage: |"), &["plan", "build"]);
    check(&ending("  last:\n    workspace: r|\n    run: x"), &["worktree", "readonly", "scratch", "repo"]);
    check(&ending("  last:\n    allow_failure: |\n    run: x"), &["true", "false"]);
    check(&ending("limits: { jobs: |"), &["auto"]);
}

#[test]
fn keys_are_offered_with_their_words() {
    check_some(&ending("  last:\n    run: x\n    ne|"), &["needs", "when", "timeout"], &["run"]);
    check_some(&ending("  last:\n    run: x\n    |\n    timeout: 1m"), &["needs"], &["run", "timeout"]);
    check_some(&ending("  last: { run: x, |"), &["needs"], &["version"]);
    check_some(&ending("def|"), &["defaults", "result"], &["nodes", "needs"]);
    check_some(&ending("  last:\n    run: x\n    cache: { | }"), &["ttl", "tools"], &["run"]);
    check_some(
        &ending("  last:\n    run: x\n    outputs:\n      a:\n        |"),
        &["file", "stdout"],
        &["run"],
    );
    assert!(
        accepted(&ending("  last:\n    run: x\n    ne|"), "needs").ends_with("    run: x\n    needs: \n")
    );
    assert!(accepted(&ending("  last: { run: x, ti|: 1m }"), "timeout").contains("{ run: x, timeout: 1m }"));
    check(&ending("  last: |"), &[]);
    check(&ending("  last: { run: |"), &[]);
    check(&ending("  # |"), &[]);
}

#[test]
fn expressions_offer_what_the_place_may_read() {
    check_some(
        &ending("  last:\n    run: x\n    env: { A: \"${{ |"),
        &["inputs", "env", "needs", "run", "size"],
        &["matrix", "success", "lower"],
    );
    check(&ending("  last:\n    run: x\n    env: { A: \"${{ inputs.|"), &["task", "parts"]);
    check(&ending("  last:\n    run: x\n    env:\n      A: x ${{ inputs.t|\n      B: y"), &["task", "parts"]);
    check(&ending("  last:\n    run: x\n    needs: [plan]\n    env: { A: \"${{ needs.| }}\" }"), &["plan"]);
    check(
        &ending("  last:\n    run: x\n    needs: [plan]\n    env: { A: '${{ needs.plan.|"),
        &["outputs", "status", "duration", "changed_files", "commit"],
    );
    check(
        &ending("  last:\n    needs: [plan]\n    run: [echo, \"${{ needs.plan.outputs.|"),
        &["spec", "files"],
    );
    check(&ending("  last:\n    needs: [my-scout]\n    when: needs[\"|"), &["my-scout"]);
    check(&ending("  last:\n    matrix: { a: [1], b: [2] }\n    when: matrix.|\n    run: x"), &["a", "b"]);
    check_some(&ending("  last:\n    when: |\n    run: x"), &["success", "always", "inputs"], &["lower"]);
    check_some(
        &ending("  last:\n    when: inputs.task.|\n    run: x"),
        &["lower", "contains"],
        &["join", "size("],
    );
    check_some(
        &ending("  last:\n    when: inputs.parts.|\n    run: x"),
        &["join", "exists", "size"],
        &["lower"],
    );
    check(&ending("  last:\n    matrix: { a: \"${{ inputs.|"), &["task", "parts"]);
    check(&ending("result: { branch: \"x/${{ run.|"), &["id", "workflow", "base", "branch"]);
    check(&ending("  last:\n    run: |"), &[]);
    check_some(
        &ending("  last:\n    for_each: \"${{ inputs.parts }}\"\n    run: [echo, \"${{ |"),
        &["item"],
        &["loop"],
    );
    check_some(
        &ending("  last:\n    run: x\n    loop: { max: 2, until: lo|"),
        &["loop", "inputs"],
        &["item"],
    );
    check_some(
        &ending("  last:\n    run: x\n    loop: { max: 2, until: loop.last.|"),
        &["outputs", "status"],
        &["max"],
    );
    let text = ending("  last:\n    needs: [my-scout]\n    when: needs[\"my|");
    assert!(accepted(&text, "my-scout").ends_with("when: needs[\"my-scout\"]\n"));
}

#[test]
fn what_is_wrong_elsewhere_does_not_stop_completion() {
    let broken = FILE.replace("    run: make scout\n", "    run: [make, \n    neeeds\n");
    check(&format!("{broken}  last: {{ run: x, needs: [|"), &["plan", "my-scout", "build"]);
    check(&format!("{broken}  last:\n    run: x\n    env: {{ A: \"${{{{ inputs.|"), &["task", "parts"]);
}

fn hovered(text: &str) -> String {
    let (text, at) = cut(text);
    hover(&text, at).map(|(card, _)| card).unwrap_or_default()
}

#[test]
fn hovering_tells_what_a_key_is_for() {
    let text = FILE.replace("    stage: build", "    st|age: build");
    let shown = hovered(&text);
    let description =
        schema::at(&[schema::Step::Key("nodes"), schema::Step::Key("x"), schema::Step::Key("stage")])
            .unwrap()["description"]
            .as_str()
            .unwrap();
    assert!(shown.contains(description) && shown.contains("stage: verify"), "{shown}");
    let shown = hovered(&ending("  last: { run: x, workspace: read|only }"));
    assert_eq!(shown, "`readonly`: A git worktree of its own; changes are thrown away.");
    assert_eq!(hovered(&ending("# noth|ing")), "");
}

#[test]
fn hovering_tells_what_a_name_stands_for() {
    insta::assert_snapshot!(hovered(&FILE.replace("needs: [plan", "needs: [pl|an")), @"
    node `plan`

    Writes the plan.

    - run: `make plan`
    - outputs: `spec`, `files`
    ");
    insta::assert_snapshot!(hovered(&ending("  last: { run: [\"${{ inputs.pa|rts }}\"] }")), @r#"
    input `parts`: array

    - default: `["core"]`
    - items: `string`
    "#);
    insta::assert_snapshot!(hovered(&FILE.replace("outputs.spec }}", "outputs.sp|ec }}")), @"
    output `spec` of node `plan`
    - file: `spec.md`
    ");
    insta::assert_snapshot!(hovered(&FILE.replace("stage: build", "stage: b|uild")), @"stage `build`, 2 of 2. A checkpoint is recorded after it.");
}

/// The text with every place of the name at the cursor in angle brackets.
fn marked(text: &str) -> String {
    let (text, at) = cut(text);
    let symbols = Symbols::of(&text);
    let Some(found) = symbols.at(at) else { return "nothing".to_owned() };
    let mut marked = text.clone();
    let places: Vec<&Occurrence> = symbols.of_symbol(&found.symbol).collect();
    for place in places.iter().rev() {
        marked.insert(place.span.end, '>');
        marked.insert_str(place.span.start, if place.is_definition { "<!" } else { "<" });
    }
    let lines = marked.lines().filter(|line| line.contains('<'));
    lines.map(str::trim).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_place_of_a_name_is_found() {
    let text = format!(
        "{}  last:\n    needs: [\"plan\", build]\n    after:\n      - plan\n    when: >-\n      needs[\"plan\"].status == \
         \"plan\"\n      && planner\n    run: [a, '${{{{ needs[''plan''].commit }}}}', \"${{{{ needs[\\\"plan\\\"].x }}}}\"]\nresult: {{ from: [plan] }}\n",
        FILE.replace("  plan:", "  pl|an:")
    );
    insta::assert_snapshot!(marked(&text), @r#"
    <!plan>:
    needs: [<plan>, my-scout]
    when: needs.<plan>.outputs.spec != ""
    env: { SPEC: "${{ needs.<plan>.outputs.spec }}" }
    needs: ["<plan>", build]
    - <plan>
    needs["<plan>"].status == "plan"
    run: [a, '${{ needs[''<plan>''].commit }}', "${{ needs[\"<plan>\"].x }}"]
    result: { from: [<plan>] }
    "#);
    insta::assert_snapshot!(marked(&FILE.replace("outputs.spec !=", "outputs.sp|ec !=")), @r#"
    outputs: { <!spec>: { file: spec.md }, files: { out: f, format: lines } }
    when: needs.plan.outputs.<spec> != ""
    env: { SPEC: "${{ needs.plan.outputs.<spec> }}" }
    "#);
    insta::assert_snapshot!(marked(&FILE.replace("stages: [plan, build]", "stages: [plan, bu|ild]")), @"
    stages: [plan, <!build>]
    stage: <build>
    ");
    insta::assert_snapshot!(marked(&ending("  last:\n    matrix: { os: [a] }\n    run: [\"${{ matrix.o|s }}\"]")), @r#"
    matrix: { <!os>: [a] }
    run: ["${{ matrix.<os> }}"]
    "#);
    assert_eq!(marked(&ending("# noth|ing")), "nothing");
}

#[test]
fn a_name_is_renamed_everywhere_or_not_at_all() {
    let at = FILE.find("plan:").unwrap();
    let symbols = Symbols::of(FILE);
    let places = symbols.rename(FILE, at, "draft").unwrap();
    let mut renamed = FILE.to_owned();
    places.into_iter().rev().for_each(|place| renamed.replace_range(place, "draft"));
    let loaded = crate::workflow::load(Path::new("a.yaml"), renamed.clone().into_bytes());
    assert!(loaded.workflow.is_some(), "{renamed}");
    assert_eq!(symbols.rename(FILE, at, "build"), Err(RenameError::Taken("build".to_owned())));
    assert!(matches!(symbols.rename(FILE, at, "a b"), Err(RenameError::Invalid(..))));
    assert_eq!(symbols.rename(FILE, 0, "x"), Err(RenameError::Nothing));
    let odd = ending("  last: { run: x, needs: [\"pl\\u0061n\"] }");
    assert_eq!(Symbols::of(&odd).rename(&odd, at, "draft"), Err(RenameError::Spelled(21)));
}

#[test]
fn the_outline_shows_nodes_and_inputs() {
    let outline = Symbols::of(FILE).outline;
    let shown = |items: &[Item]| items.iter().map(|item| item.name.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(shown(&outline), "version inputs env stages nodes");
    assert_eq!(shown(&outline[1].children), "task parts");
    assert_eq!(shown(&outline[4].children), "plan my-scout build");
    assert_eq!(shown(&outline[4].children[0].children), "spec files");
    assert_eq!(outline[4].children[0].detail, "Writes the plan.");
}

#[test]
fn only_workflows_are_looked_at() {
    for text in [
        FILE,
        "# yaml-language-server: $schema=../schema/workflow.schema.json\n",
        "{\"version\": 1, \"nodes\": {}}",
    ] {
        assert!(is_workflow(text), "{text}");
    }
    for text in ["", "services:\n  nodes: x\n", "jobs:\n  build:\n    steps: []\n"] {
        assert!(!is_workflow(text), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_question_about_any_text_has_an_answer(
        start in 0..FILE.len(), length in 0usize..60, put in "[\\[\\]{}\"'|:>&*<! \\-\n\ta-z$é𝄞]{0,12}|\\PC{0,8}", at in 0usize..900,
    ) {
        let end = (start + length).min(FILE.len());
        let mut text = FILE.to_owned();
        text.replace_range(start..end, &put);
        let at = text.floor_char_boundary(at.min(text.len()));
        let symbols = Symbols::of(&text);
        for place in &symbols.occurrences {
            prop_assert!(text.get(place.span.start..place.span.end).is_some());
            if place.is_plain {
                prop_assert_eq!(&text[place.span.start..place.span.end], place.symbol.name());
            }
        }
        for item in complete(Path::new("a.yaml"), &text, at) {
            prop_assert!(text.get(item.replace.clone()).is_some());
        }
        hover(&text, at);
        drop(symbols.rename(&text, at, "other"));
    }
}
