//! Cache truth: what runs again, what does not, and that a hit is what a run would have given.

use crate::common::World;

const CHAIN: &str = r#"
nodes:
  a: { reads: [src/one.txt], run: 'echo a >> "$HOME/ran"; cp src/one.txt a.txt' }
  b: { needs: [a], reads: [a.txt], run: 'echo b >> "$HOME/ran"; tr a-z A-Z < a.txt > b.txt' }
  c: { reads: [src/two.txt], run: 'echo c >> "$HOME/ran"; cp src/two.txt c.txt' }
  d: { needs: [b, c], reads: [b.txt, c.txt], run: 'echo d >> "$HOME/ran"; cat b.txt c.txt > d.txt' }
"#;

#[test]
fn a_second_run_starts_no_process_and_takes_no_lease() {
    let world = World::new();
    let first = world.apply(CHAIN).success();
    assert_eq!(world.take_ran(), "a b c d");
    let pool = world.pool_state();
    assert!(!pool.is_empty());
    let second = world.apply(CHAIN).success().ended("a cached, b cached, c cached, d cached");
    assert_eq!(world.take_ran(), "");
    assert_eq!(second.starts(), 0);
    assert_eq!(world.pool_state(), pool, "a lease was taken");
    assert_eq!(world.files(&first.branch()), world.files(&second.branch()));
    assert_eq!(world.show(&second.branch(), "d.txt").as_deref(), Some("ONE\ntwo\n"));
}

#[test]
fn only_nodes_that_read_a_changed_file_run_again() {
    let world = World::new();
    world.apply(CHAIN).success();
    world.take_ran();
    world.write("src/two.txt", "zwei\n");
    world.write("unread.txt", "new\n");
    world.commit("two");
    let run = world.apply(CHAIN).success().ended("a cached, b cached, c succeeded, d succeeded");
    assert_eq!(world.take_ran(), "c d");
    assert_eq!(world.show(&run.branch(), "d.txt").as_deref(), Some("ONE\nzwei\n"));
    assert_eq!(world.show(&run.branch(), "unread.txt").as_deref(), Some("new\n"));
}

#[test]
fn a_need_that_ran_again_and_gave_the_same_does_not_make_its_dependent_run() {
    let world = World::new();
    let workflow = r#"
nodes:
  count: { reads: ["src/**"], run: 'echo count >> "$HOME/ran"; ls src | wc -l | tr -d " " > count.txt' }
  use: { needs: [count], reads: [count.txt], run: 'echo use >> "$HOME/ran"; sed s/^/n=/ count.txt > use.txt' }
"#;
    world.apply(workflow).success();
    assert_eq!(world.take_ran(), "count use");
    world.write("src/one.txt", "another one\n");
    world.commit("one");
    let run = world.apply(workflow).success().ended("count succeeded, use cached");
    assert_eq!(world.take_ran(), "count");
    assert_eq!(world.show(&run.branch(), "use.txt").as_deref(), Some("n=2\n"));
    assert_eq!(world.show(&run.branch(), "src/one.txt").as_deref(), Some("another one\n"));
    world.apply(workflow).success().ended("count cached, use cached");
    assert_eq!(world.take_ran(), "");
}

#[test]
fn a_hit_on_another_base_carries_both_the_change_and_the_base() {
    let world = World::new();
    world.apply(CHAIN).success();
    world.take_ran();
    world.write("unrelated.txt", "unrelated\n");
    world.commit("unrelated");
    for _ in 0..2 {
        let run = world.apply(CHAIN).success().ended("a cached, b cached, c cached, d cached");
        assert_eq!(world.take_ran(), "");
        assert_eq!(world.show(&run.branch(), "d.txt").as_deref(), Some("ONE\ntwo\n"));
        assert_eq!(world.show(&run.branch(), "unrelated.txt").as_deref(), Some("unrelated\n"));
        let base = world.git(&["rev-parse", "HEAD"]);
        assert_eq!(world.git(&["merge-base", &run.branch(), "HEAD"]), base);
    }
}

#[test]
fn an_earlier_change_is_not_blended_with_a_file_that_was_edited_since() {
    let text: String = (1..=20).map(|line| format!("line {line}\n")).collect();
    let world = World::with(&[("src.txt", "v1\n"), ("page.txt", &text)]);
    // Writes the whole page from what it reads, whatever the page held before.
    let workflow = r#"
nodes:
  page: { reads: [src.txt], run: 'echo page >> "$HOME/ran"; { cat src.txt; seq -f "line %g" 2 20; } > page.txt' }
"#;
    let first = world.apply(workflow).success();
    let page = world.show(&first.branch(), "page.txt");
    world.write("page.txt", format!("{text}edited by hand\n"));
    world.commit("edit");
    let second = world.apply(workflow).success();
    assert_eq!(
        world.show(&second.branch(), "page.txt"),
        page,
        "not what the node would have written\n{second}"
    );
}

#[test]
fn failed_and_timed_out_nodes_are_never_hits() {
    let world = World::new();
    let workflow = r#"
nodes:
  fails: { run: 'echo fails >> "$HOME/ran"; touch x.txt; exit 3' }
  hangs: { timeout: 300ms, run: 'echo hangs >> "$HOME/ran"; touch y.txt; sleep 1000' }
  empty: { workspace: scratch, run: 'echo empty >> "$HOME/ran"; kill -9 $$' }
"#;
    for _ in 0..2 {
        world.apply(workflow).exits(1).ended("empty failed, fails failed, hangs timed_out");
        assert_eq!(world.take_ran(), "empty fails hangs");
    }
}

#[test]
fn a_promise_that_is_not_kept_fails_the_node_and_is_no_hit() {
    let world = World::new();
    let cases = [
        ("outputs: { o: { file: out/o.txt } }", "true", "output `o`"),
        ("outputs: { o: { out: o.txt } }", "true", "output `o`"),
        ("outputs: { o: {} }", "true", "output `o`"),
        (
            "outputs: { o: { out: o.json, format: json } }",
            r#"printf '{\"half\": ' > "$SPB_OUT/o.json""#,
            "not JSON",
        ),
        ("artifacts: [out/tool]", "mkdir -p out", "out/tool"),
        ("artifacts: ['out/*.bin']", "mkdir -p out; touch out/x.txt", "out/*.bin"),
        ("writes: ['docs/**']", "touch surprise.txt", "surprise.txt"),
        ("outputs: { o: { file: o.txt } }", "mkfifo o.txt", "not a regular file"),
        ("outputs: { o: { file: o.txt } }", "ln -s /etc/passwd o.txt", "outside"),
        ("outputs: { o: { file: o.txt } }", "mkdir o.txt", "directory"),
    ];
    for (promise, script, expect) in cases {
        let workflow = format!(
            "nodes:\n  n:\n    {promise}\n    run: |\n      echo n >> \"$HOME/ran\"\n      {script}\n"
        );
        let script = script.replace("\\\"", "\"");
        let workflow = workflow.replace(&script.replace('"', "\\\""), &script).replace("\\\"", "\"");
        for _ in 0..2 {
            let run = world.apply(&workflow).exits(1).ended("n failed");
            assert!(run.message("n").contains(expect), "{promise} {script}: {}", run.message("n"));
            assert_eq!(world.take_ran(), "n");
        }
    }
}

#[test]
fn a_file_that_an_earlier_lease_left_is_not_taken_for_an_output() {
    let world = World::new();
    let workflow = |text: &str| {
        format!(
            "nodes:\n  n:\n    outputs: {{ o: {{ file: out/o.txt }} }}\n    artifacts: ['out/*.bin']\n    run: '{text}'\n"
        )
    };
    world.apply(&workflow("mkdir -p out; echo 1 > out/o.txt; echo 1 > out/a.bin")).success();
    let run = world.apply(&workflow("mkdir -p out; echo 2 > out/a.bin")).exits(1);
    assert!(run.message("n").contains("output `o`"), "{}", run.message("n"));
    let run = world.apply(&workflow("mkdir -p out; echo 3 > out/o.txt")).exits(1);
    assert!(run.message("n").contains("out/*.bin"), "{}", run.message("n"));
}

#[test]
fn a_file_that_an_earlier_attempt_left_is_not_taken_for_an_output() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  n:
    retry: { max: 1 }
    outputs: { o: { file: out/o.txt } }
    run: |
      if [ "$SPB_ATTEMPT" = 1 ]; then mkdir -p out; echo half > out/o.txt; exit 1; fi
"#,
    );
    let run = run.exits(1).ended("n failed");
    assert!(run.message("n").contains("output `o`"), "{}", run.message("n"));
}

#[test]
fn a_ttl_ends_a_result() {
    let world = World::new();
    let workflow = |ttl: &str| {
        format!(
            "nodes:\n  n: {{ cache: {{ ttl: {ttl} }}, run: 'echo n >> \"$HOME/ran\"' }}\n  s: {{ cache: {{ ttl: {ttl} }}, workspace: scratch, run: 'echo s >> \"$HOME/ran\"' }}\n"
        )
    };
    world.apply(&workflow("1h")).success();
    assert_eq!(world.take_ran(), "n s");
    world.apply(&workflow("1h")).success().ended("n cached, s cached");
    let run = world.apply(&workflow("1ms")).success().ended("n succeeded, s succeeded");
    assert_eq!(world.take_ran(), "n s");
    assert!(run.message("n").contains("ttl"), "{}", run.message("n"));
}

#[test]
fn fresh_runs_again_and_replaces_what_was_stored() {
    let world = World::new();
    let workflow = r#"
nodes:
  n:
    outputs: { count: {} }
    run: |
      echo n >> "$HOME/ran"; echo x >> "$HOME/count"
      wc -l < "$HOME/count" | tr -d " " > count.txt
      echo "count=$(cat count.txt)" >> "$SPB_OUTPUT"
"#;
    assert_eq!(world.apply(workflow).success().output("n", "count"), "1");
    assert_eq!(world.apply(workflow).success().output("n", "count"), "1");
    let fresh = world.apply_with(workflow, &["--fresh"]).success().ended("n succeeded");
    assert_eq!(fresh.output("n", "count"), "2");
    let last = world.apply(workflow).success().ended("n cached");
    assert_eq!(last.output("n", "count"), "2");
    assert_eq!(world.show(&last.branch(), "count.txt").as_deref(), Some("2\n"));
    std::fs::remove_file(world.store().join("index.sqlite")).unwrap();
    let rebuilt = world.apply(workflow).success().ended("n cached");
    assert_eq!(rebuilt.output("n", "count"), "2", "the rebuilt index knows an older result");
}

#[test]
fn an_edit_of_the_checkout_while_a_node_runs_changes_neither_it_nor_its_key() {
    let world = World::new();
    let gate = world.gate("g");
    let workflow = format!(
        "nodes:\n  n: {{ reads: ['src/**'], run: \"{}; cat src/one.txt > n.txt\" }}\n",
        gate.script()
    );
    let running = world.applying(&workflow, &[]).begin();
    gate.arrived();
    world.write("src/one.txt", "edited\n");
    world.commit("edit");
    gate.open();
    let first = running.finish().success();
    assert_eq!(world.show(&first.branch(), "n.txt").as_deref(), Some("one\n"));
    let running = world.applying(&workflow, &[]).begin();
    gate.arrived();
    gate.open();
    let second = running.finish().success().ended("n succeeded");
    assert_eq!(world.show(&second.branch(), "n.txt").as_deref(), Some("edited\n"));
}

#[test]
fn an_artifact_that_git_does_not_ignore_stays_in_the_result() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  make: { artifacts: [tool.sh, out/x.bin], run: 'echo tool > tool.sh; mkdir -p out; echo x > out/x.bin' }
  use: { needs: [make], run: 'cat tool.sh out/x.bin > used.txt' }
"#,
    );
    let run = run.success();
    assert_eq!(world.show(&run.branch(), "used.txt").as_deref(), Some("tool\nx\n"));
    assert_eq!(world.show(&run.branch(), "tool.sh").as_deref(), Some("tool\n"));
    assert_eq!(world.show(&run.branch(), "out/x.bin"), None);
}

#[test]
fn every_attempt_gets_the_artifacts_of_its_needs_as_they_were() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  make: { artifacts: [out/x.bin], run: 'mkdir -p out; echo x > out/x.bin' }
  use:
    needs: [make]
    retry: { max: 1 }
    run: |
      cat out/x.bin > used.txt
      echo spoiled > out/x.bin
      test "$SPB_ATTEMPT" = 2
"#,
    );
    let run = run.success();
    assert_eq!(world.show(&run.branch(), "used.txt").as_deref(), Some("x\n"));
}

#[test]
fn promises_are_not_cleared_through_a_link_that_leads_out_of_the_worktree() {
    let world = World::new();
    let outside = world.root.join("outside");
    crate::common::put(&outside.join("o.txt"), "precious");
    crate::common::put(&outside.join("sub/a.bin"), "precious");
    std::os::unix::fs::symlink(&outside, world.repo.join("link")).unwrap();
    world.commit("link");
    let run = world.apply(
        r#"
nodes:
  o: { outputs: { o: { file: link/o.txt } }, run: 'true' }
  a: { artifacts: ['link/sub/*.bin'], run: 'true' }
"#,
    );
    assert_eq!(std::fs::read_to_string(outside.join("o.txt")).unwrap(), "precious");
    assert_eq!(std::fs::read_to_string(outside.join("sub/a.bin")).unwrap(), "precious");
    run.exits(1).ended("a failed, o failed");
}

#[test]
fn the_same_node_in_two_runs_of_one_process_runs_once() {
    let world = World::new();
    let workflow = "nodes:\n  n: { run: 'echo n >> \"$HOME/ran\"; touch n.txt' }\n  s: { workspace: scratch, run: 'echo s >> \"$HOME/ran\"' }\n";
    let file = world.workflow(workflow);
    let file = file.to_str().unwrap();
    world.spb(["apply", file, file, "--jobs", "4"]).run().success();
    assert_eq!(world.take_ran(), "n s");
}
