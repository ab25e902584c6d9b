//! How changes travel: what a node starts from, and what happens where results do not fit together.

use crate::common::World;

#[test]
fn two_needs_are_merged() {
    let text: String = (1..=20).map(|line| format!("line {line}\n")).collect();
    let world = World::with(&[("shared.txt", &text)]);
    let run = world.apply(
        r#"
nodes:
  top: { run: 'sed -i "s/^line 2$/top/" shared.txt; echo a > a.txt' }
  end: { run: 'sed -i "s/^line 19$/end/" shared.txt; echo b > b.txt' }
  both: { needs: [top, end], run: 'grep -c -e top -e end shared.txt > count.txt; ls > list.txt' }
"#,
    );
    let branch = run.success().branch();
    assert_eq!(world.show(&branch, "count.txt").as_deref(), Some("2\n"));
    assert_eq!(
        world.show(&branch, "list.txt").as_deref(),
        Some("a.txt\nb.txt\ncount.txt\nlist.txt\nshared.txt\n")
    );
}

#[test]
fn a_conflict_names_both_nodes_and_every_file_before_anything_starts() {
    let world = World::with(&[("one.txt", "x\n"), ("two.txt", "x\n")]);
    let run = world.apply(
        r#"
nodes:
  left: { run: 'echo left | tee one.txt > two.txt' }
  apart: { run: 'echo apart > apart.txt' }
  right: { run: 'echo right | tee one.txt two.txt > new.txt' }
  both: { needs: [left, apart, right], run: 'echo both >> "$HOME/ran"' }
"#,
    );
    let run = run.exits(1).ended("apart succeeded, both failed, left succeeded, right succeeded");
    let message = run.message("both");
    for word in ["`left`", "`right`", "one.txt", "two.txt"] {
        assert!(message.contains(word), "{message}");
    }
    assert!(!message.contains("`apart`") && !message.contains("new.txt"), "{message}");
    assert_eq!(world.take_ran(), "");
    assert!(run.stderr.contains("one.txt"), "{run}");
}

#[test]
fn a_conflict_in_the_result_names_the_nodes_and_leaves_no_branch() {
    let world = World::with(&[("one.txt", "x\n")]);
    let run =
        world.apply("nodes:\n  left: { run: echo left > one.txt }\n  right: { run: echo right > one.txt }\n");
    let run = run.exits(1);
    let message = run.end()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("`left`") && message.contains("`right`") && message.contains("one.txt"),
        "{run}"
    );
    assert_eq!(world.git(&["for-each-ref", "refs/heads/spb"]), "");
}

#[test]
fn a_diamond_is_merged_once_and_two_joins_of_the_same_do_not_conflict() {
    let world = World::with(&[("list.txt", "0\n")]);
    let run = world.apply(
        r#"
nodes:
  a: { run: 'echo a >> list.txt' }
  b: { needs: [a], run: 'echo b > b.txt; sed -i "s/^a$/A/" list.txt' }
  c: { needs: [a], run: 'echo c > c.txt' }
  d: { needs: [b, c], run: 'echo d > d.txt' }
  e: { needs: [c, b], run: 'echo e > e.txt' }
  f: { needs: [d, e], run: 'cat list.txt > seen.txt; ls ?.txt >> seen.txt' }
"#,
    );
    let branch = run.success().branch();
    assert_eq!(world.show(&branch, "seen.txt").as_deref(), Some("0\nA\nb.txt\nc.txt\nd.txt\ne.txt\n"));
}

#[test]
fn a_deletion_against_an_edit_is_a_conflict_and_two_deletions_are_not() {
    let world = World::with(&[("gone.txt", "x\n"), ("both.txt", "x\n")]);
    let run = world.apply(
        r#"
nodes:
  delete: { run: 'rm gone.txt both.txt' }
  edit: { run: 'echo more >> gone.txt; rm both.txt' }
  join: { needs: [delete, edit], run: 'true' }
"#,
    );
    let message = run.exits(1).message("join");
    assert!(message.contains("gone.txt") && !message.contains("both.txt"), "{message}");
}

#[test]
fn deletions_modes_and_links_travel() {
    let world = World::with(&[("gone.txt", "x\n"), ("tool", "#!/bin/sh\necho ran\n"), ("dir/file", "x\n")]);
    let run = world.apply(
        r#"
nodes:
  change: { run: 'rm gone.txt; chmod +x tool; ln -s tool link; rm -r dir; echo now a file > dir' }
  look: { needs: [change], run: '{ ./link; ls; cat dir; } > seen.txt' }
"#,
    );
    let branch = run.success().branch();
    assert_eq!(
        world.show(&branch, "seen.txt").as_deref(),
        Some("ran\ndir\nlink\nseen.txt\ntool\nnow a file\n")
    );
    let files = world.files(&branch);
    assert!(files.contains("100755 blob") && files.contains("120000 blob"), "{files}");
    let second = world.apply("nodes:\n  n: { run: 'ls > list.txt' }\n").success();
    assert_eq!(world.show(&second.branch(), "list.txt").as_deref(), Some("dir\ngone.txt\nlist.txt\ntool\n"));
}

#[test]
fn a_node_that_changes_nothing_passes_on_what_it_was_given() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  make: { run: 'echo made > made.txt' }
  quiet: { needs: [make], run: 'cat made.txt' }
  back: { needs: [quiet], run: 'echo x > made.txt; echo made > made.txt' }
  read: { needs: [back], workspace: readonly, run: 'cat made.txt; echo lost > lost.txt' }
  empty: { needs: [read], workspace: scratch, run: 'test ! -e made.txt; echo lost > lost.txt' }
  last: { needs: [empty], run: 'cat made.txt > last.txt; test ! -e lost.txt' }
"#,
    );
    let run = run.success();
    assert!(run.node("quiet")["result"]["commit"].is_null());
    assert!(run.node("read")["result"]["commit"].is_null());
    assert_eq!(world.show(&run.branch(), "last.txt").as_deref(), Some("made\n"));
    assert_eq!(world.show(&run.branch(), "lost.txt"), None);
}

#[test]
fn siblings_never_see_each_other() {
    let world = World::new();
    let (left, right) = (world.gate("l"), world.gate("r"));
    let workflow = format!(
        "nodes:\n  left: {{ run: \"echo left > left.txt; {}; ls > l.txt\" }}\n  right: {{ run: \"echo right > right.txt; {}; ls > r.txt\" }}\n",
        left.script(),
        right.script()
    );
    let running = world.applying(&workflow, &["--jobs", "2"]).begin();
    left.arrived();
    right.arrived();
    left.open();
    right.open();
    let branch = running.finish().success().branch();
    assert_eq!(world.show(&branch, "l.txt").as_deref(), Some("l.txt\nleft.txt\nsrc\n"));
    assert_eq!(world.show(&branch, "r.txt").as_deref(), Some("r.txt\nright.txt\nsrc\n"));
}

#[test]
fn outputs_of_a_matrix_come_in_declared_order_whatever_the_order_of_their_ends() {
    let world = World::new();
    let gates = ["b", "a", "c"].map(|name| (name, world.gate(name)));
    let wait =
        gates.iter().map(|(name, gate)| format!("{name}) {};;", gate.script())).collect::<Vec<_>>().join(" ");
    let workflow = format!(
        r#"
nodes:
  each:
    matrix: {{ name: [b, a, c] }}
    env: {{ NAME: "${{{{ matrix.name }}}}" }}
    outputs: {{ said: {{}} }}
    run: |
      case $NAME in {wait} esac
      echo "$NAME" > "$NAME.txt"; echo "said=<$NAME>" >> "$SPB_OUTPUT"
  all: {{ needs: [each], env: {{ SAID: "${{{{ needs.each.outputs.said }}}}" }}, run: 'echo "$SAID" > said.txt; cat ?.txt >> said.txt' }}
"#
    );
    let running = world.applying(&workflow, &["--jobs", "3"]).begin();
    for (_, gate) in &gates {
        gate.arrived();
    }
    for (_, gate) in gates.iter().rev() {
        gate.open();
    }
    let branch = running.finish().success().branch();
    assert_eq!(world.show(&branch, "said.txt").as_deref(), Some("[\"<b>\",\"<a>\",\"<c>\"]\na\nb\nc\n"));
}

#[test]
fn a_need_that_failed_and_was_allowed_to_gives_nothing() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  bad: { allow_failure: true, outputs: { v: {} }, run: 'echo bad > bad.txt; echo v=1 >> "$SPB_OUTPUT"; exit 1' }
  good: { run: 'echo good > good.txt' }
  end: { needs: [bad, good], when: always(), env: { NONE: "${{ needs.bad.outputs.v == null }}", S: "${{ needs.bad.status }}" }, run: 'ls > list.txt; echo "$S $NONE" >> list.txt' }
"#,
    );
    let text = world.show(&run.success().branch(), "list.txt").unwrap();
    assert_eq!(text, "good.txt\nlist.txt\nsrc\nfailed true\n");
}

/// Two nodes that write the same line, and one with a rule that only looks, with dependents of its own.
fn with_rule(rule: &str, workspace: &str) -> String {
    format!(
        r#"
nodes:
  left: {{ run: 'echo left > one.txt; echo l > l.txt' }}
  right: {{ run: 'echo right > one.txt; echo r > r.txt' }}
  both: {{ needs: [left, right], on_conflict: {rule}, workspace: {workspace}, run: 'echo both >> "$HOME/ran"' }}
  next: {{ needs: [both, left], run: 'echo next >> "$HOME/ran"; cp one.txt seen.txt' }}
"#
    )
}

#[test]
fn a_rule_settles_lines_in_conflict_once_for_all_that_follow() {
    for workspace in ["worktree", "readonly"] {
        for (rule, expect) in [("ours", "left\n"), ("theirs", "right\n"), ("union", "left\nright\n")] {
            let world = World::with(&[("one.txt", "x\n")]);
            let workflow = with_rule(rule, workspace);
            let run = world.apply(&workflow).success();
            for (file, text) in
                [("one.txt", expect), ("seen.txt", expect), ("l.txt", "l\n"), ("r.txt", "r\n")]
            {
                assert_eq!(world.show(&run.branch(), file).as_deref(), Some(text), "{rule} {file}");
            }
            assert_eq!(world.take_ran(), "both next");
            let all = "both cached, left cached, next cached, right cached";
            let again = world.apply(&workflow).success().ended(all);
            assert_eq!(world.show(&again.branch(), "seen.txt").as_deref(), Some(expect));
            // What the cache knows of merges is only a memory: without it everything is found by content.
            world.git(&["commit", "-q", "--allow-empty", "-m", "another base"]);
            let moved = world.apply(&workflow).success().ended(all);
            assert_eq!(world.show(&moved.branch(), "seen.txt").as_deref(), Some(expect));
        }
    }
}

#[test]
fn another_rule_is_another_key_and_what_no_lines_decide_names_the_rule() {
    let world = World::with(&[("one.txt", "x\n")]);
    for (rule, expect) in [("ours", "left\n"), ("union", "left\nright\n"), ("ours", "left\n")] {
        let run = world.apply(&with_rule(rule, "worktree")).success();
        assert_eq!(world.show(&run.branch(), "seen.txt").as_deref(), Some(expect), "{rule}");
    }
    assert_eq!(world.take_ran(), "both both next next");
    let removed = with_rule("theirs", "worktree").replace("echo right > one.txt", "git rm -q one.txt");
    let run = world.apply(&removed).exits(1);
    let message = run.message("both");
    for word in ["`left`", "`right`", "one.txt", "on_conflict: theirs"] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(world.take_ran(), "");
}
