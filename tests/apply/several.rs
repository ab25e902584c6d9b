//! One node that is several at run time: the items of a `for_each`, the rounds of a `loop`.

use serde_json::{Value, json};

use crate::common::World;

#[test]
fn every_item_of_a_list_that_a_need_printed_runs_from_its_changes_and_outputs_keep_the_order() {
    let world = World::with(&[("a.txt", "a\n"), ("b.txt", "b\n"), ("c.txt", "c\n")]);
    let workflow = r#"
nodes:
  scan:
    run: 'echo seen > seen.txt; ls *.txt | grep -v seen'
    outputs: { files: { stdout: true, format: lines } }
  fix:
    needs: [scan]
    for_each: ${{ needs.scan.outputs.files }}
    env: { FILE: "${{ item }}" }
    run: |
      cat seen.txt >> "$FILE"
      test "$FILE" != a.txt || sleep 0.2
      echo "name=$FILE" >> "$SPB_OUTPUT"
      echo "$FILE" >> "$HOME/ran"
    outputs: { name: {} }
  all:
    needs: [fix]
    env: { NAMES: "${{ needs.fix.outputs.name }}" }
    run: 'echo "$NAMES" > names.txt; cat a.txt b.txt c.txt > all.txt'
"#;
    let run = world.apply_with(workflow, &["--jobs", "3"]);
    let run = run.success();
    assert_eq!(run.output("fix", "name"), json!(["a.txt", "b.txt", "c.txt"]));
    let branch = run.branch();
    assert_eq!(world.show(&branch, "names.txt").as_deref(), Some("[\"a.txt\",\"b.txt\",\"c.txt\"]\n"));
    assert_eq!(world.show(&branch, "all.txt").as_deref(), Some("a\nseen\nb\nseen\nc\nseen\n"));
    assert_eq!(world.take_ran(), "a.txt b.txt c.txt");

    let again = world
        .apply(workflow)
        .ended("all cached, fix cached, fix:a.txt cached, fix:b.txt cached, fix:c.txt cached, scan cached");
    assert_eq!(again.success().starts(), 0);
}

#[test]
fn a_new_item_runs_alone() {
    let world = World::new();
    let workflow = |items: &str| {
        format!(
            "nodes:\n  list: {{ workspace: scratch, run: \"printf '{items}'\", outputs: {{ l: {{ stdout: true, format: lines }} }} }}\n  \
             each: {{ needs: [list], workspace: scratch, for_each: \"${{{{ needs.list.outputs.l }}}}\", \
             env: {{ I: \"${{{{ item }}}}\" }}, run: 'echo $I >> \"$HOME/ran\"' }}\n"
        )
    };
    world.apply(&workflow("a\\nb\\n")).success();
    world.take_ran();
    world.apply(&workflow("b\\nnew\\na\\n")).success();
    assert_eq!(world.take_ran(), "new");
}

#[test]
fn an_empty_list_is_a_success_with_empty_outputs() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  list: { run: 'true', outputs: { l: { stdout: true, format: lines } } }
  each: { needs: [list], for_each: "${{ needs.list.outputs.l }}", run: 'exit 1', outputs: { x: {} } }
  after: { needs: [each], env: { X: "${{ needs.each.outputs.x }}" }, run: 'echo "$X" > x.txt' }
"#,
    );
    let run = run.ended("after succeeded, each succeeded, list succeeded").success();
    assert_eq!(run.output("each", "x"), json!([]));
    assert_eq!(world.show(&run.branch(), "x.txt").as_deref(), Some("[]\n"));
}

#[test]
fn what_is_no_list_or_too_long_fails_the_node_before_an_item_runs() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  give: { run: 'echo "{\"a\": 1}"', outputs: { map: { stdout: true, format: json } } }
  many: { run: 'seq 4', outputs: { lines: { stdout: true, format: lines } } }
  map: { needs: [give], for_each: "${{ needs.give.outputs.map }}", run: 'echo x >> "$HOME/ran"' }
  long: { needs: [many], for_each: "${{ needs.many.outputs.lines }}", max_items: 3, run: 'echo x >> "$HOME/ran"' }
"#,
    );
    let run = run.exits(1);
    assert_eq!(run.message("map"), "`for_each` takes a list, not {\"a\":1}");
    assert_eq!(run.message("long"), "`for_each` has 4 items, more than `max_items` allows: 3");
    assert_eq!(world.take_ran(), "");
}

#[test]
fn items_are_data_whatever_they_hold_and_their_names_are_told_apart() {
    let world = World::new();
    let items = json!(["$(id)", "a b", "a_b", "", "../../x", "; rm -rf /", "日本\n\"'`", {"name": "n1", "v": [1]}, 7, null, "a b"]);
    let list = items.to_string().replace('\'', "'\\''");
    world.write("list.json", items.to_string());
    world.commit("a list");
    let run = world.apply(
        r#"
nodes:
  list: { workspace: readonly, run: cat list.json, outputs: { l: { stdout: true, format: json } } }
  each:
    needs: [list]
    workspace: scratch
    for_each: ${{ needs.list.outputs.l }}
    env: { I: "${{ item }}" }
    run: 'printf "%s" "$I" > "$SPB_OUT/i"'
    outputs: { back: { out: i, format: text } }
"#,
    );
    let run = run.success();
    let back = run.output("each", "back");
    let texts: Vec<Value> = items
        .as_array()
        .unwrap()
        .iter()
        .map(|item| match item {
            Value::String(text) => json!(text.trim_end_matches('\n')),
            Value::Null => json!(""),
            other => json!(other.to_string()),
        })
        .collect();
    assert_eq!(back, Value::Array(texts), "{list}");
    assert!(run.outcomes().contains("each:n1 succeeded"), "{}", run.outcomes());
}

#[test]
fn an_item_that_fails_fails_the_node_and_those_that_may_fail_leave_nothing_in_their_place() {
    let world = World::new();
    let workflow = |allow: bool| {
        format!(
            r#"
nodes:
  each:
    for_each: [good, bad, fine]
    allow_failure: {allow}
    env: {{ I: "${{{{ item }}}}" }}
    run: 'echo "name=$I" >> "$SPB_OUTPUT"; echo $I > $I.txt; test $I != bad'
    outputs: {{ name: {{}} }}
  skipped: {{ needs: [each], run: 'true' }}
  always: {{ needs: [each], when: always(), env: {{ N: "${{{{ needs.each.outputs.name }}}} ${{{{ needs.each.status }}}}" }}, run: 'echo "$N" > n.txt' }}
"#
        )
    };
    let as_matrix = workflow(true)
        .replace("for_each: [good, bad, fine]", "matrix: { i: [good, bad, fine] }")
        .replace("{ item }", "{ matrix.i }");
    let run = world.apply(&workflow(false)).exits(1).ended(
        "always succeeded, each failed, each:bad failed, each:fine succeeded, each:good succeeded, skipped skipped",
    );
    assert_eq!(run.message("each"), "`each:bad` failed");
    let run = world.apply(&workflow(true)).success();
    assert_eq!(world.show(&run.branch(), "n.txt").as_deref(), Some("[\"good\",null,\"fine\"] failed\n"));
    // As with a matrix, the changes of the others are there.
    assert_eq!(world.files(&run.branch()), world.files(&world.apply(&as_matrix).success().branch()));
    assert_eq!(world.show(&run.branch(), "fine.txt").as_deref(), Some("fine\n"));
}

#[test]
fn a_matrix_of_lists_gives_lists_of_lists() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  each:
    matrix: { os: [linux, mac] }
    for_each: [1, 2]
    workspace: scratch
    env: { V: "${{ matrix.os }}-${{ item }}" }
    run: 'echo "v=$V" >> "$SPB_OUTPUT"'
    outputs: { v: {} }
  all: { needs: [each], workspace: scratch, env: { V: "${{ needs.each.outputs.v }}" }, run: 'echo "$V"', outputs: { all: { stdout: true, format: json } } }
"#,
    );
    let run = run.success();
    assert_eq!(run.output("all", "all"), json!([["linux-1", "linux-2"], ["mac-1", "mac-2"]]));
    assert!(run.outcomes().contains("each:linux,2 succeeded"), "{}", run.outcomes());
}

#[test]
fn each_round_starts_from_what_the_last_one_left_until_the_condition_holds() {
    let world = World::new();
    let workflow = r#"
nodes:
  seed: { run: 'echo 0 > count.txt' }
  grow:
    needs: [seed]
    loop: { until: 'int(loop.last.outputs.n) >= 3', max: 9 }
    env: { ROUND: "${{ loop.index }}", LAST: "${{ loop.last.outputs.n }}", FILES: "${{ loop.last.changed_files }}" }
    run: |
      n=$(($(cat count.txt) + 1)); echo $n > count.txt
      echo "$ROUND last=$LAST files=$FILES" >> log.txt
      echo "n=$n" >> "$SPB_OUTPUT"
      echo "$ROUND" >> "$HOME/ran"
    outputs: { n: {} }
  done: { needs: [grow], env: { N: "${{ needs.grow.outputs.n }}" }, run: 'echo "$N" > n.txt' }
"#;
    let run = world.apply(workflow).success();
    let branch = run.branch();
    assert_eq!(world.show(&branch, "n.txt").as_deref(), Some("3\n"));
    assert_eq!(
        world.show(&branch, "log.txt").as_deref(),
        Some(
            "1 last= files=[]\n2 last=1 files=[\"count.txt\",\"log.txt\"]\n3 last=2 files=[\"count.txt\",\"log.txt\"]\n"
        )
    );
    assert_eq!(world.take_ran(), "1 2 3");
    let again = world.apply(workflow).success();
    assert_eq!((again.starts(), world.take_ran().as_str()), (0, ""));
}

#[test]
fn a_loop_whose_condition_never_holds_fails_and_says_so() {
    let world = World::new();
    let run = world.apply(
        "nodes:\n  turn: { workspace: scratch, run: 'echo x >> \"$HOME/ran\"', loop: { until: 'loop.index > 5', max: 3 } }\n",
    );
    let run = run.exits(1);
    assert_eq!(run.message("turn"), "`loop.index > 5` does not hold after round 3, the last one");
    assert_eq!(world.take_ran(), "x x x");
    assert!(run.stderr.contains("does not hold after round 3"), "{run}");
}

#[test]
fn a_round_that_fails_ends_the_loop() {
    let world = World::new();
    let run = world.apply(
        "nodes:\n  turn: { env: { R: \"${{ loop.index }}\" }, run: 'test $R != 2', loop: { until: 'loop.index > 5', max: 9 } }\n",
    );
    let run = run.exits(1).ended("turn failed, turn#1 succeeded, turn#2 failed");
    assert_eq!(run.message("turn"), "`turn#2` failed");
}

#[test]
fn every_item_has_rounds_of_its_own() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  each:
    for_each: [1, 2]
    loop: { until: 'string(loop.index) == string(item)', max: 3 }
    env: { V: "${{ item }}.${{ loop.index }}" }
    run: 'echo "$V" >> f${V%.*}.txt; echo "v=$V" >> "$SPB_OUTPUT"'
    outputs: { v: {} }
"#,
    );
    let run = run.success().ended(
        "each succeeded, each:1 succeeded, each:1#1 succeeded, each:2 succeeded, each:2#1 succeeded, each:2#2 succeeded",
    );
    assert_eq!(run.output("each", "v"), json!(["1.1", "2.2"]));
    assert_eq!(world.show(&run.branch(), "f2.txt").as_deref(), Some("2.1\n2.2\n"));
}

#[test]
fn artifacts_go_from_round_to_round_and_from_items_to_dependents() {
    let world = World::with(&[(".gitignore", "out/\n")]);
    let run = world.apply(
        r#"
nodes:
  turn:
    loop: { until: 'loop.index == 2', max: 2 }
    run: 'mkdir -p out; echo x >> out/turn'
    artifacts: [out/turn]
  each:
    for_each: [a, b]
    env: { I: "${{ item }}" }
    run: 'mkdir -p out; echo $I > out/$I'
    artifacts: ["out/*"]
  end: { needs: [turn, each], run: 'cat out/turn out/a out/b > all.txt' }
"#,
    );
    let run = run.success();
    assert_eq!(world.show(&run.branch(), "all.txt").as_deref(), Some("x\nx\na\nb\n"));
}

#[test]
fn the_artifacts_of_its_needs_are_there_in_every_round() {
    let world = World::with(&[(".gitignore", "out/\n")]);
    let run = world.apply(
        r#"
nodes:
  build: { run: 'mkdir -p out; echo tool > out/tool', artifacts: [out/tool] }
  turn:
    needs: [build]
    loop: { until: 'loop.index == 3', max: 3 }
    run: 'cat out/tool >> all.txt; rm -r out'
"#,
    );
    let run = run.success();
    assert_eq!(world.show(&run.branch(), "all.txt").as_deref(), Some("tool\ntool\ntool\n"));
}

#[test]
fn an_item_never_has_the_name_of_another_instance() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  each:
    matrix: { fruit: [apple], include: [{ fruit: pear }, { fruit: pear, animal: cat }] }
    for_each: [cat, dog]
    workspace: scratch
    run: 'echo "$SPB_NODE" >> "$HOME/ran"'
"#,
    );
    run.success();
    assert_eq!(
        world.take_ran(),
        "each:apple,cat each:apple,dog each:pear,1 each:pear,cat,cat each:pear,cat,dog each:pear,dog"
    );
}

#[test]
fn items_that_conflict_are_named() {
    let world = World::with(&[("f.txt", "x\n")]);
    let run = world.apply(
        r#"
nodes:
  each: { for_each: [a, b], env: { I: "${{ item }}" }, run: 'echo $I > f.txt' }
  end: { needs: [each], run: 'true' }
"#,
    );
    let run = run.exits(1);
    let message = run.message("end");
    assert!(
        message.contains("`each:a`") && message.contains("`each:b`") && message.contains("f.txt"),
        "{message}"
    );
}

#[test]
fn items_run_side_by_side_as_jobs_and_worktrees_allow() {
    let world = World::new();
    let gate = world.gate("gate");
    let script = gate.script().replace('"', "\\\"");
    let workflow = format!(
        "worktrees: {{ max: 2 }}\nnodes:\n  each: {{ for_each: [1, 2, 3], env: {{ I: \"${{{{ item }}}}\" }}, run: \"{script}\" }}\n"
    );
    let running = world.applying(&workflow, &["--jobs", "3"]).start();
    gate.arrived();
    gate.arrived();
    assert_eq!(gate.next_if_any(), None);
    gate.open();
    gate.arrived();
    gate.open();
    gate.open();
    running.finish().success();
}
