//! The keys of `worktrees`: how many slots there are, what stays in them, what is brought in, and what makes them ready.

use crate::common::World;

/// What the node `n` wrote to `seen.txt`.
#[track_caller]
fn seen(world: &World, workflow: &str) -> String {
    let branch = world.apply_with(workflow, &["--fresh"]).success().branch();
    world.show(&branch, "seen.txt").unwrap()
}

/// The names of all files of a revision.
#[track_caller]
fn names(world: &World, revision: &str) -> String {
    world.git(&["ls-tree", "-r", "--name-only", revision]).replace('\n', " ")
}

const LOOK: &str =
    "nodes:\n  n: { run: 'mkdir -p out/kept; ls out out/kept > seen.txt; touch out/a out/kept/b x.log' }\n";

#[test]
fn ignored_files_stay_unless_the_workflow_says_otherwise() {
    let world = World::new();
    assert_eq!(seen(&world, LOOK), "out:\nkept\n\nout/kept:\n");
    assert_eq!(seen(&world, LOOK), "out:\na\nkept\n\nout/kept:\nb\n");
    let keep = format!("worktrees: {{ keep: [out/kept/] }}\n{LOOK}");
    assert_eq!(seen(&world, &keep), "out:\nkept\n\nout/kept:\nb\n");
    let untracked = format!("worktrees: {{ clean: untracked }}\n{LOOK}");
    assert_eq!(seen(&world, &untracked), "out:\na\nkept\n\nout/kept:\nb\n");
    let all = format!("worktrees: {{ clean: all }}\n{LOOK}");
    assert_eq!(seen(&world, &all), "out:\nkept\n\nout/kept:\n");
}

#[test]
fn tracked_files_below_ignored_directories_survive_a_cleaning() {
    let world = World::with(&[(".gitignore", "out/\n")]);
    world.write("out/tracked.txt", "tracked\n");
    world.git(&["add", "-f", "."]);
    world.git(&["commit", "-qm", "forced"]);
    let workflow = "worktrees: { clean: all }\nnodes:\n  n: { run: 'ls out > seen.txt; touch out/junk' }\n";
    assert_eq!(seen(&world, workflow), "tracked.txt\n");
    assert_eq!(seen(&world, workflow), "tracked.txt\n");
}

#[test]
fn cleaning_works_where_slots_are_filled_by_git_too() {
    let world = World::new();
    world.git(&["config", "core.ignorecase", "true"]);
    let keep = format!("worktrees: {{ keep: [out/kept/] }}\n{LOOK}");
    seen(&world, &keep);
    assert_eq!(seen(&world, &keep), "out:\nkept\n\nout/kept:\nb\n");
}

#[test]
fn no_more_slots_are_leased_than_max() {
    let world = World::new();
    let workflow = r#"
limits: { jobs: 4 }
worktrees: { max: 1 }
nodes:
  a: { run: 'mkdir "$HOME/busy"; echo a > a.txt; rmdir "$HOME/busy"' }
  b: { run: 'mkdir "$HOME/busy"; echo b > b.txt; rmdir "$HOME/busy"' }
  c: { workspace: readonly, run: 'mkdir "$HOME/busy"; rmdir "$HOME/busy"' }
  d: { workspace: scratch, run: 'true' }
"#;
    world.apply(workflow).success();
    let list = world.spb(["worktrees", "list", "--json"]).run().success().stdout;
    assert_eq!(list.matches("\"number\"").count(), 1, "{list}");
}

const COPY: &str = "worktrees: { copy: [.env, src/one.txt, conf/] }\nnodes:\n  n: { run: 'cat .env conf/a src/one.txt > seen.txt; rm -f .env' }\n";

#[test]
fn files_of_the_checkout_are_copied_are_part_of_the_key_and_never_of_the_result() {
    let world = World::with(&[(".gitignore", ".env\n"), ("src/one.txt", "one\n")]);
    world.write(".env", "TOKEN=1\n");
    world.write("conf/a", "not ignored\n");
    world.write("src/one.txt", "edited in the checkout\n");
    let branch = world.apply(COPY).success().branch();
    assert_eq!(world.show(&branch, "seen.txt").as_deref(), Some("TOKEN=1\nnot ignored\none\n"));
    assert_eq!(names(&world, &branch), ".gitignore seen.txt src/one.txt");
    world.apply(COPY).success().ended("n cached");
    world.write(".env", "TOKEN=2\n");
    let run = world.apply(COPY).success().ended("n succeeded");
    assert_eq!(run.message("n"), "copied file `.env` changed");
    let plain = "nodes:\n  n: { run: 'test ! -e .env && test ! -e conf' }\n";
    world.apply(plain).success();
}

#[test]
fn what_was_copied_does_not_outlive_a_crash() {
    let world = World::with(&[(".gitignore", ".env\n")]);
    world.write(".env", "TOKEN=1\n");
    let crash =
        "worktrees: { copy: [.env] }\nnodes:\n  n: { run: 'test -e .env; kill -9 $PPID; sleep 60' }\n";
    assert_eq!(world.apply(crash).signal(), Some(9));
    world.apply("nodes:\n  n: { run: 'test ! -e .env' }\n").success();
}

#[test]
fn a_copy_does_not_leave_the_worktree_through_a_link() {
    let world = World::with(&[(".gitignore", "/conf/\n"), ("a.txt", "a\n")]);
    world.write("conf/local", "secret\n");
    let workflow = r#"
worktrees: { copy: [conf/] }
nodes:
  link: { run: 'rm -rf conf; ln -s "$HOME" conf; git add -f conf' }
  n: { needs: [link], run: 'true' }
"#;
    let run = world.apply(workflow).exits(1).ended("link succeeded, n failed");
    assert!(run.message("n").contains("leads out of the worktree"), "{run}");
    assert!(!world.home().join("local").exists());
}

/// Counts its runs outside, and leaves something ignored, something new and something changed.
fn setup(script: &str) -> String {
    format!(
        r#"
worktrees:
  setup: |
    echo ran >> "$HOME/ran"; mkdir -p out; {script}
    cp src/one.txt out/made; echo changed > src/two.txt; echo new > new.txt
  setup_reads: [src/one.txt]
nodes:
  n: {{ run: 'cat out/made > seen.txt' }}
"#
    )
}

#[test]
fn the_setup_runs_once_for_a_slot_and_again_when_it_or_what_it_reads_changes() {
    let world = World::new();
    let first = setup("true");
    let branch = world.apply(&first).success().branch();
    assert_eq!(world.show(&branch, "seen.txt").as_deref(), Some("one\n"));
    assert_eq!(names(&world, &branch), ".gitignore seen.txt src/one.txt src/two.txt");
    assert_eq!(world.show(&branch, "src/two.txt").as_deref(), Some("two\n"));
    assert_eq!(world.take_ran(), "ran");
    assert_eq!(seen(&world, &first), "one\n");
    world.write("src/two.txt", "2\n");
    world.commit("another file");
    assert_eq!(seen(&world, &first), "one\n");
    assert_eq!(world.take_ran(), "");
    world.write("src/one.txt", "uno\n");
    world.commit("what it reads");
    assert_eq!(seen(&world, &first), "uno\n");
    assert_eq!(world.take_ran(), "ran");
    let second = setup("echo other");
    world.apply(&second).success().ended("n succeeded");
    assert_eq!(world.take_ran(), "ran");
    world.spb(["worktrees", "remove", "--all"]).run().success();
    assert_eq!(seen(&world, &second), "uno\n");
    assert_eq!(world.take_ran(), "ran");
}

#[test]
fn a_setup_that_fails_fails_the_node_and_is_tried_again() {
    let world = World::new();
    let workflow = r#"
worktrees: { setup: 'echo ran >> "$HOME/ran"; echo "no network"; test -e "$HOME/network"' }
nodes:
  n: { retry: { max: 1 }, run: 'echo node >> "$HOME/ran"' }
"#;
    let run = world.apply(workflow).exits(1).ended("n failed");
    assert_eq!(run.message("n"), "the script `worktrees.setup`: exited with code 1");
    assert!(run.stderr.contains("no network"), "{run}");
    assert_eq!(world.take_ran(), "ran");
    std::fs::write(world.home().join("network"), "").unwrap();
    world.apply(workflow).success();
    assert_eq!(world.take_ran(), "node ran");
}

#[test]
fn the_setup_sees_neither_secrets_nor_what_belongs_to_one_node() {
    let world = World::new();
    let workflow = r#"
secrets: [TOKEN]
pass_env: [REGION]
env: { WIDE: wide }
worktrees: { setup: 'mkdir out; echo "${TOKEN-no} ${REGION-no} ${WIDE-no} ${OWN-no}" > out/env' }
nodes:
  n: { env: { OWN: own }, run: 'cat out/env > seen.txt' }
"#;
    let spb = world.applying(workflow, &[]).env("TOKEN", "secret-token").env("REGION", "north");
    let branch = spb.run().success().branch();
    assert_eq!(world.show(&branch, "seen.txt").as_deref(), Some("no north no no\n"));
}

#[test]
fn a_cleaning_by_another_workflow_makes_the_setup_run_again() {
    let world = World::new();
    let workflow = setup("true");
    world.apply(&workflow).success();
    let other = "worktrees: { clean: all }\nnodes:\n  n: { run: 'test ! -e out' }\n";
    world.apply(other).success();
    world.take_ran();
    assert_eq!(seen(&world, &workflow), "one\n");
    assert_eq!(world.take_ran(), "ran");
}

#[test]
fn a_sparse_worktree_holds_the_directories_named_and_is_part_of_the_key() {
    let world = World::with(&[("top.txt", "t\n"), ("a/b/one", "1\n"), ("a/two", "2\n"), ("z/three", "3\n")]);
    let workflow = |sparse: &str| {
        format!(
            "worktrees: {{ sparse: [{sparse}] }}\nnodes:\n  n: {{ run: 'find . -name .git -prune -o -type f -print > \"$HOME/all\"; sort \"$HOME/all\" > seen.txt' }}\n  w: {{ needs: [n], run: 'echo new > z/other || {{ mkdir z; echo new > z/other; }}' }}\n"
        )
    };
    let run = world.apply(&workflow("a/b")).success();
    assert_eq!(world.show(&run.branch(), "seen.txt").as_deref(), Some("./a/b/one\n./a/two\n./top.txt\n"));
    assert_eq!(names(&world, &run.branch()), "a/b/one a/two seen.txt top.txt z/other z/three");
    world.apply(&workflow("a/b")).success().ended("n cached, w cached");
    let run = world.apply(&workflow("z")).success().ended("n succeeded, w succeeded");
    assert_eq!(run.message("n"), "`worktrees.sparse` changed");
    let script = world.root.join("look");
    crate::common::put(&script, "ls\n");
    let mut shell = world.spb(["shell", "n", "--base"]);
    shell.command.stdin(std::fs::File::open(&script).unwrap());
    assert_eq!(shell.run().success().stdout, "top.txt\nz\n");
}
