//! Workflows made of several files: values go in and outputs come out, changes travel through, and nothing else does.

use serde_json::json;

use crate::common::World;

/// Takes every type, hands on what it got, and leaves a file.
const INNER: &str = r#"
inputs:
  text: { type: string }
  count: { type: integer, default: 1 }
  ratio: { type: number, default: 0.5 }
  flag: { type: boolean, default: false }
  list: { type: array, items: string, default: [] }
  map: { type: object, default: {} }
env: { WHERE: inner, TEXT: "${{ inputs.text }}" }
outputs:
  text: "${{ needs.first.outputs.text }}"
  sum: "${{ inputs.count + int(needs.last.outputs.lines) }}"
  all: "${{ [inputs.ratio, inputs.flag, inputs.list, inputs.map] }}"
  status: { value: "${{ needs.last.status }} in ${{ env.WHERE }}" }
nodes:
  first:
    outputs: { text: { out: text } }
    run: |
      printf %s "$TEXT" > "$SPB_OUT/text"
      printf '%s\n' "$TEXT" >> inner.txt
      echo "first ${WHERE-} ${OUTER-none}" >> "$HOME/ran"
  last:
    needs: [first]
    outputs: { lines: { stdout: true } }
    run: 'wc -l < inner.txt; cat base.txt before.txt >> inner.txt'
"#;

#[test]
fn values_go_in_and_outputs_and_changes_come_out() {
    let world = World::with(&[("base.txt", "base\n")]);
    world.named_workflow("inner", INNER);
    let workflow = r#"
env: { OUTER: outer }
nodes:
  before:
    outputs: { list: { stdout: true, format: lines }, hostile: { out: hostile } }
    run: |
      echo before > before.txt
      printf 'a b\nc"d\n'
      printf '%s' '$(id) `id` "; $''{{ inputs.text }}' > "$SPB_OUT/hostile"
  inner:
    needs: [before]
    uses: ./inner.yaml
    with:
      text: "${{ needs.before.outputs.hostile }}"
      count: 41
      ratio: 2
      flag: "${{ needs.before.status == \"succeeded\" }}"
      list: "${{ needs.before.outputs.list }}"
      map: { a: [1, x], b: { c: null } }
  after:
    needs: [inner]
    when: needs.inner.outputs.sum == 42
    env: { TEXT: "${{ needs.inner.outputs.text }}", ALL: "${{ needs.inner.outputs.all }}", STATUS: "${{ needs.inner.outputs.status }}" }
    run: printf '%s\n' "$TEXT" "$ALL" "$STATUS" "${WHERE-none}" > after.txt; test -e before.txt
"#;
    let run = world.apply(workflow).success();
    let run = run.ended(
        "after succeeded, before succeeded, inner succeeded, inner/first succeeded, inner/last succeeded",
    );
    let hostile = "$(id) `id` \"; ${{ inputs.text }}";
    assert_eq!(run.output("inner", "text"), json!(hostile));
    assert_eq!(run.output("inner", "sum"), json!(42));
    let all = json!([2.0, true, ["a b", "c\"d"], { "a": [1, "x"], "b": { "c": null } }]);
    assert_eq!(run.output("inner", "all"), all);
    assert_eq!(run.output("inner", "status"), json!("succeeded in inner"));
    let branch = run.branch();
    assert_eq!(world.show(&branch, "inner.txt"), Some(format!("{hostile}\nbase\nbefore\n")));
    let after = world.show(&branch, "after.txt").unwrap();
    assert!(after.starts_with(hostile) && after.ends_with("succeeded in inner\nnone\n"), "{after}");
    assert_eq!(world.take_ran(), "first inner none", "`env` of the file around did not stay there");

    assert_eq!(world.apply(workflow).success().starts(), 0);
}

#[test]
fn values_that_only_a_run_knows_are_checked_when_they_are_there() {
    let world = World::new();
    world.named_workflow(
        "inner",
        "inputs: { level: { type: integer, maximum: 3 } }\nnodes: { a: { env: { L: \"${{ inputs.level }}\" }, run: 'echo $L >> \"$HOME/ran\"' } }",
    );
    let workflow = |value: &str| {
        format!(
            "nodes:\n  find: {{ run: 'echo {value} > \"$SPB_OUT/v\"', outputs: {{ v: {{ out: v, format: json }} }} }}\n  \
             inner: {{ needs: [find], uses: ./inner.yaml, with: {{ level: \"${{{{ needs.find.outputs.v }}}}\" }} }}\n  \
             after: {{ needs: [inner], run: make }}\n"
        )
    };
    let run = world.apply(&workflow("7")).exits(1).ended("after skipped, find succeeded, inner failed");
    let message = run.message("inner");
    assert!(message.contains("the input `level` takes at most 3, not 7"), "{message}");
    let run = world.apply(&workflow("true")).exits(1).ended("after skipped, find succeeded, inner failed");
    assert!(
        run.message("inner").contains("takes a whole number, not the boolean `true`"),
        "{}",
        run.message("inner")
    );
    assert_eq!(world.take_ran(), "");
}

#[test]
fn failures_inside_are_failures_of_the_node() {
    let world = World::new();
    world.named_workflow("inner", "nodes: { bad: { run: exit 3 }, skipped: { needs: [bad], run: make }, good: { run: echo good > good.txt } }");
    let run = world.apply("nodes: { u: { uses: ./inner.yaml }, after: { needs: [u], run: make } }").exits(1);
    let run = run.ended("after skipped, u failed, u/bad failed, u/good succeeded, u/skipped skipped");
    assert!(run.message("u").contains("bad"), "{}", run.message("u"));
    let allowed = "nodes: { u: { uses: ./inner.yaml, allow_failure: true }, after: { needs: [u], when: failure(), run: 'echo after > after.txt' } }";
    world
        .apply(allowed)
        .success()
        .ended("after succeeded, u failed, u/bad failed, u/good cached, u/skipped skipped");
    let never = "nodes: { u: { uses: ./inner.yaml, when: 1 > 2 } }";
    world.apply(never).success().ended("u skipped");
}

#[test]
fn each_file_gets_its_own_secrets_and_all_are_masked() {
    let world = World::new();
    let show = r#"run: 'echo "outer=${OUTER_SECRET-none} inner=${INNER_SECRET-none} passed=${PASSED-none}"'"#;
    world.named_workflow(
        "inner",
        &format!("secrets: [INNER_SECRET]\npass_env: [PASSED]\nnodes: {{ a: {{ {show} }} }}"),
    );
    let workflow = format!(
        "secrets: [OUTER_SECRET]\nnodes:\n  u: {{ uses: ./inner.yaml }}\n  b: {{ needs: [u], {show} }}\n  \
         c: {{ needs: [b], run: 'echo leak-\"of-inner\" leak-\"of-outer\"' }}\n"
    );
    let run = world
        .applying(&workflow, &[])
        .env("OUTER_SECRET", "leak-of-outer")
        .env("INNER_SECRET", "leak-of-inner")
        .env("PASSED", "passed")
        .run()
        .success();
    let log = |node: &str| world.spb(["logs", &run.id(), node]).run().success().stdout;
    assert!(log("u/a").contains("outer=none inner=***"), "{}", log("u/a"));
    assert!(log("u/a").contains("passed=passed"), "{}", log("u/a"));
    assert!(log("b").contains("outer=*** inner=none passed=none"), "{}", log("b"));
    assert!(!log("c").contains("leak"), "{}", log("c"));
    for path in world.all_files(&world.store()) {
        let text = std::fs::read(&path).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains("leak-of-"), "{}", path.display());
    }
}

#[test]
fn included_nodes_are_nodes_of_the_workflow() {
    let world = World::new();
    let part = r#"
inputs: { word: { type: string, default: x } }
env: { WORD: "${{ inputs.word }}" }
defaults: { env: { FROM: part } }
nodes:
  one: { run: 'echo "$WORD" > "one-$SPB_NODE.txt"; echo text=$FROM >> "$SPB_OUTPUT"', outputs: { text: {} } }
  two:
    needs: [one]
    env: { TEXT: "${{ needs.one.outputs.text }}" }
    run: 'cat one-*.txt > "two-$SPB_NODE.txt"; echo "$TEXT ${WORD}" >> "two-$SPB_NODE.txt"'
"#;
    world.named_workflow("part", part);
    let workflow = r#"
include: [./part.yaml, { file: ./part.yaml, prefix: p }]
nodes:
  all: { needs: [two, p-two], run: 'cat two-*.txt > all.txt; echo "${FROM-none} $WORD" >> all.txt' }
"#;
    let run = world.apply_with(workflow, &["-i", "word=hello"]).success();
    let run = run.ended("all succeeded, one succeeded, p-one succeeded, p-two succeeded, two succeeded");
    let all = world.show(&run.branch(), "all.txt");
    assert_eq!(all.as_deref(), Some("hello\npart hello\nhello\npart hello\nnone hello\n"));
    world
        .apply_with(workflow, &["-i", "word=hello", "--until", "p-two"])
        .success()
        .ended("p-one cached, p-two cached");
}

#[test]
fn problems_of_all_files_are_shown_and_nothing_is_touched() {
    let world = World::new();
    world.named_workflow("inner", "nodes: { a: { run: make, nedds: [] } }");
    let run = world.apply("nodes: { u: { uses: ./inner.yaml, with: { x: 1 } } }").exits(2);
    for words in ["t.yaml:3:43", "`x`", "inner.yaml:3:26", "did you mean `needs`?", "2 errors"] {
        assert!(run.stderr.contains(words), "{words}\n{run}");
    }
    assert!(!world.store().join("runs").exists() && !world.store().join("workflows").exists());
}
