//! Nodes that commit themselves, move `HEAD`, and write into the configuration that all worktrees share.

use crate::common::{Run, World, put};

/// Messages and authors of a branch above `main`, newest first, `-` between them.
fn log(world: &World, branch: &str) -> String {
    world.git(&["log", "--format=%s by %an", &format!("main..{branch}")]).trim().replace('\n', " - ")
}

fn warnings(run: &Run) -> String {
    run.of_kind("warning")
        .map(|event| event["message"].as_str().unwrap().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Commits `first` and `second`, and leaves `rest.txt` uncommitted.
const COMMITS: &str = r#"
result: { commits: keep }
nodes:
  n:
    reads: [src/one.txt]
    run: |
      c() { git -c user.name=Node -c user.email=n@x commit -qm "$1"; }
      echo 1 > a.txt; git add a.txt; c first
      echo 2 > a.txt; git add a.txt; c second
      echo rest > rest.txt
"#;

#[test]
fn commits_that_a_node_made_are_its_result_with_the_rest_on_top() {
    let world = World::new();
    let run = world.apply(COMMITS).success();
    assert_eq!(log(&world, &run.branch()), "spb: n by spb - second by Node - first by Node");
    assert_eq!(run.node("n")["result"]["changed"], serde_json::json!(["a.txt", "rest.txt"]));
    assert_eq!(warnings(&run), "");
    // What shows a node's change shows all of it.
    let diff = world.spb(["diff", "n", "--name-only"]).run().success().stdout;
    assert_eq!(diff, "a.txt\nrest.txt\n");
    let script = world.root.join("look");
    put(&script, "test ! -e a.txt && git log -1 --format=%s\n");
    let mut shell = world.spb(["shell", "n", "--base"]);
    shell.command.stdin(std::fs::File::open(&script).unwrap());
    assert_eq!(shell.run().success().stdout, "start\n");
    // Nothing is left over: the last commit is the node's own.
    let all = COMMITS.replace("echo rest > rest.txt", "true");
    let run = world.apply(&all).success();
    assert_eq!(log(&world, &run.branch()), "second by Node - first by Node");
    let squashed = all.replace("commits: keep", "commits: squash, message: all of it");
    let run = world.apply(&squashed).success();
    assert_eq!(log(&world, &run.branch()), "all of it by Tester");
}

#[test]
fn commits_of_a_node_that_is_cached_move_one_by_one_to_another_base() {
    let world = World::new();
    let first = world.apply(COMMITS).success();
    world.write("src/two.txt", "another\n");
    world.commit("unrelated");
    let run = world.apply(COMMITS).success().ended("n cached");
    assert_ne!(run.branch(), first.branch());
    assert_eq!(log(&world, &run.branch()), "spb: n by spb - second by Node - first by Node");
    assert_eq!(world.show(&run.branch(), "src/two.txt").as_deref(), Some("another\n"));
    assert_eq!(world.show(&format!("{}~2", run.branch()), "a.txt").as_deref(), Some("1\n"));
    let diff = world.spb(["diff", "n", "--name-only"]).run().success().stdout;
    assert_eq!(diff, "a.txt\nrest.txt\n");
    // And again, by the key that is looked at first.
    let again = world.apply(COMMITS).success().ended("n cached");
    assert_eq!(again.node("n")["result"]["commit"], run.node("n")["result"]["commit"]);
}

#[test]
fn a_commit_in_the_middle_that_does_not_fit_to_the_new_base_makes_the_node_run_again() {
    let world = World::new();
    let workflow = r#"
result: { commits: keep }
nodes:
  n:
    reads: [src/one.txt]
    run: |
      c() { git -c user.name=Node -c user.email=n@x commit -qam "$1"; }
      echo x > a.txt; git add a.txt; cp src/two.txt kept; echo mine > src/two.txt; c first
      mv kept src/two.txt; c second
"#;
    world.apply(workflow).success();
    world.write("src/two.txt", "another\n");
    world.commit("in the way");
    let run = world.apply(workflow).success().ended("n succeeded");
    assert_eq!(log(&world, &run.branch()), "second by Node - first by Node");
    assert_eq!(world.show(&run.branch(), "src/two.txt").as_deref(), Some("another\n"));
}

#[test]
fn results_of_nodes_that_commit_are_merged_and_built_on() {
    let world = World::new();
    let workflow = r#"
result: { commits: keep }
nodes:
  a: { run: 'echo a > a.txt; git add a.txt; git -c user.name=A -c user.email=a@x commit -qm a' }
  b: { run: 'echo b > b.txt; git add b.txt; git -c user.name=B -c user.email=b@x commit -qm b; echo r > r.txt' }
  c: { needs: [a, b], run: 'cat a.txt b.txt r.txt > c.txt; git add c.txt; git -c user.name=C -c user.email=c@x commit -qm c' }
"#;
    let run = world.apply(workflow).success();
    let subjects = world.git(&[
        "log",
        "--topo-order",
        "--first-parent",
        "--format=%s",
        &format!("main..{}", run.branch()),
    ]);
    assert_eq!(subjects, "c\nspb: merge\na");
    let all = world.git(&["log", "--format=%s", &format!("main..{}", run.branch())]);
    assert_eq!(all.lines().count(), 5, "{all}");
    assert_eq!(world.show(&run.branch(), "c.txt").as_deref(), Some("a\nb\nr\n"));
}

#[test]
fn a_head_that_does_not_follow_from_the_base_counts_with_its_files_only_and_is_told() {
    let world = World::new();
    for script in [
        "git -c user.name=N -c user.email=n@x commit -q --amend --allow-empty -m amended; echo c > c.txt",
        "git checkout -q --orphan other; git -c user.name=N -c user.email=n@x commit -qm other; echo c > c.txt",
    ] {
        let workflow = format!("result: {{ commits: keep }}\nnodes:\n  n:\n    run: |\n      {script}\n");
        let run = world.apply(&workflow).success();
        assert_eq!(log(&world, &run.branch()), "spb: n by spb", "{script}");
        assert!(warnings(&run).contains("does not follow from its base"), "{run}");
    }
}

#[test]
fn what_would_break_the_checkout_is_put_back_and_other_settings_are_told() {
    let world = World::new();
    let config = world.repo.join(".git/config");
    let workflow = r#"
nodes:
  a: { run: 'git config core.bare true; git config core.worktree /nowhere; git config extensions.nosuch 1; echo a > a.txt' }
  b: { needs: [a], run: 'git config alias.x status; git remote add o /nowhere; exit 1' }
"#;
    let run = world.apply(workflow).exits(1);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(world.git(&["rev-parse", "--show-toplevel"]).trim(), world.repo.to_str().unwrap());
    let told = warnings(&run);
    assert!(told.contains("was put back: core.bare, core.worktree, extensions.nosuch"), "{told}");
    assert!(told.contains("was changed while it ran: alias.x") && !told.contains("remote.o"), "{told}");
    assert_eq!(world.git(&["config", "alias.x"]), "status");
    // One that nobody can read is put back whole.
    let before = std::fs::read_to_string(&config).unwrap();
    let run = world.apply(
        "nodes:\n  n: { run: 'echo \"[\" > \"$(git rev-parse --git-common-dir)/config\"; echo b > b.txt' }\n",
    );
    assert!(warnings(&run).contains("git could not read it"), "{run}");
    assert_eq!(std::fs::read_to_string(&config).unwrap(), before);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}
