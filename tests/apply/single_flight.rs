//! Two spb processes that want the same key at the same time: one runs it, the other waits and takes what it left.

use crate::common::{Run, World, until};

/// A node with files and one without, each at a gate of its own.
fn workflow(kind: &str, script: &str) -> String {
    format!(
        "nodes:\n  n: {{ workspace: {kind}, outputs: {{ v: {{}} }}, run: \"{script}\" }}\n  m: {{ cache: false, workspace: scratch, run: 'true' }}\n"
    )
}

/// Starts the same workflow twice; the second has begun its nodes when this returns.
fn started_twice(
    world: &World,
    text: &str,
    words: &[&str],
) -> (crate::common::Running, crate::common::Running) {
    let gate = world.gate("g");
    let first = world.applying(&text.replace("GATE", &gate.script()), words).begin();
    gate.arrived();
    let runs = world.journals().len();
    let second = world.applying(&text.replace("GATE", &gate.script()), words).begin();
    // `m` ends in a moment, and was started behind `n`.
    until(|| {
        let journals = world.journals();
        journals.len() > runs
            && journals.iter().filter(|text| text.contains(r#""node_finished""#)).count() > runs
    });
    gate.open();
    (first, second)
}

#[test]
fn of_two_processes_one_runs_a_node_and_the_other_takes_what_it_left() {
    for kind in ["worktree", "readonly", "scratch"] {
        let world = World::new();
        let script = "echo n >> $HOME/ran; GATE; echo v=$SPB_RUN >> $SPB_OUTPUT";
        let (first, second) = started_twice(&world, &workflow(kind, script), &["--jobs", "2"]);
        let (first, second) = (first.finish().success(), second.finish().success());
        assert_eq!(world.take_ran(), "n", "{kind}\n{first}\n{second}");
        assert_eq!(first.outcomes(), "m succeeded, n succeeded");
        assert_eq!(second.outcomes(), "m succeeded, n cached", "{kind}\n{second}");
        assert_eq!(first.output("n", "v"), second.output("n", "v"));
        // One empty file stands for all keys.
        let turns = world.store().join("turns.lock");
        assert_eq!(std::fs::metadata(turns).unwrap().len(), 0);
    }
}

#[test]
fn when_the_one_that_runs_fails_the_other_runs_it_itself() {
    for kind in ["worktree", "scratch"] {
        let world = World::new();
        let script =
            "echo n >> $HOME/ran; if mkdir $HOME/first; then GATE; exit 3; fi; echo v=1 >> $SPB_OUTPUT";
        let (first, second) = started_twice(&world, &workflow(kind, script), &["--jobs", "2"]);
        first.finish().exits(1).ended("m succeeded, n failed");
        second.finish().success().ended("m succeeded, n succeeded");
        assert_eq!(world.take_ran(), "n n");
    }
}

#[test]
fn when_the_one_that_runs_is_killed_the_other_runs_it_itself() {
    for kind in ["worktree", "scratch"] {
        let world = World::new();
        let gate = world.gate("g");
        let never = world.gate("never");
        let script = format!(
            "echo n >> $HOME/ran; if mkdir $HOME/first; then {}; {}; fi; echo v=1 >> $SPB_OUTPUT",
            gate.announce(),
            never.script()
        );
        let text = workflow(kind, &script);
        let first = world.applying(&text, &["--jobs", "2"]).begin();
        let node = gate.arrived();
        let second = world.applying(&text, &["--jobs", "2"]).begin();
        until(|| world.journals().iter().filter(|text| text.contains(r#""node_finished""#)).count() > 1);
        first.signal(libc::SIGKILL);
        second.finish().success().ended("m succeeded, n succeeded");
        assert_eq!(world.take_ran(), "n n");
        // SAFETY: the process is the node of this test.
        unsafe { libc::kill(node as i32, libc::SIGKILL) };
        drop(first);
    }
}

#[test]
fn whoever_waits_can_be_stopped() {
    for kind in ["worktree", "scratch"] {
        let world = World::new();
        let gate = world.gate("g");
        let text = workflow(kind, &format!("{}; echo v=1 >> $SPB_OUTPUT", gate.script()));
        let first = world.applying(&text, &["--jobs", "2"]).begin();
        gate.arrived();
        let second = world.applying(&text, &["--jobs", "2"]).begin();
        until(|| world.journals().iter().filter(|text| text.contains(r#""node_finished""#)).count() > 1);
        second.signal(libc::SIGINT);
        let second = second.finish().exits(130);
        assert_eq!(second.outcomes(), "m succeeded, n cancelled", "{second}");
        gate.open();
        first.finish().success();
    }
}

#[test]
fn two_that_wait_for_each_others_nodes_both_end() {
    let world = World::new();
    let (a, b) = (world.gate("a"), world.gate("b"));
    let node = |name: &str, gate: &crate::common::Gate, needs: &str| {
        format!(
            "  {name}: {{ {needs} run: \"echo {name} >> $HOME/ran; {}; touch {name}.txt\" }}\n",
            gate.script()
        )
    };
    // The same two nodes in the opposite order, with one job each: neither reads what the other left.
    let workflow = |first: String, second: String| format!("nodes:\n{first}{second}");
    let one =
        workflow(node("a", &a, "reads: [src/one.txt],"), node("b", &b, "reads: [src/one.txt], after: [a],"));
    let other =
        workflow(node("b", &b, "reads: [src/one.txt],"), node("a", &a, "reads: [src/one.txt], after: [b],"));
    let (one, other) = (world.named_workflow("one", &one), world.named_workflow("other", &other));
    let apply = |file: &std::path::Path| {
        world.spb(["apply", file.to_str().unwrap(), "--jobs", "1", "--events", "ndjson"]).begin()
    };
    let (one, other) = (apply(&one), apply(&other));
    a.arrived();
    b.arrived();
    a.open();
    b.open();
    let (one, other): (Run, Run) = (one.finish().success(), other.finish().success());
    assert_eq!(world.take_ran(), "a b", "{one}\n{other}");
}

#[test]
fn items_and_rounds_are_run_once_by_several_processes() {
    let world = World::new();
    let text = r#"
nodes:
  list: { workspace: scratch, run: "printf 'a\nb\nc\nd\n'", outputs: { l: { stdout: true, format: lines } } }
  each: { needs: [list], for_each: "${{ needs.list.outputs.l }}", env: { I: "${{ item }}" }, run: 'echo $I >> "$HOME/ran"; sleep 0.05; echo $I > $I.txt' }
  bare: { needs: [list], workspace: scratch, for_each: "${{ needs.list.outputs.l }}", env: { I: "${{ item }}" }, run: 'echo s$I >> "$HOME/ran"; sleep 0.05' }
  turns: { loop: { until: "loop.index == 3", max: 3 }, env: { R: "${{ loop.index }}" }, run: 'echo r$R >> "$HOME/ran"; echo $R >> rounds.txt' }
"#;
    let runs: Vec<_> = (0..4).map(|_| world.applying(text, &["--jobs", "4"]).begin()).collect();
    let runs: Vec<Run> = runs.into_iter().map(|run| run.finish().success()).collect();
    assert_eq!(world.take_ran(), "a b c d r1 r2 r3 sa sb sc sd");
    let files: Vec<String> = runs.iter().map(|run| world.files(&run.branch())).collect();
    assert!(files.windows(2).all(|pair| pair[0] == pair[1]), "{files:#?}");
}
