//! Why a node runs: `spb plan` before, the run itself, and `spb why` after say the same, in plain words.

use serde_json::Value;

use crate::common::{World, put};

/// What `spb plan` says of a node.
#[track_caller]
fn planned(world: &World, workflow: &str, node: &str) -> String {
    let file = world.workflow(workflow);
    let plan = world.spb(["plan", file.to_str().unwrap(), "--json"]).run().success();
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let nodes = plan["workflows"][0]["nodes"].as_array().unwrap().clone();
    let found = nodes.iter().find(|one| one["node"] == *node).unwrap();
    format!("{}: {}", found["state"].as_str().unwrap(), found["why"].as_str().unwrap())
}

/// The node runs for this reason, and everyone says so.
#[track_caller]
fn runs(world: &World, workflow: &str, node: &str, expect: &str) {
    let plan = planned(world, workflow, node);
    let expect = expect.replace("RUN", &newest(world));
    assert_eq!(plan, format!("runs: {expect}"), "spb plan");
    let run = world.apply(workflow);
    let started = run.of_kind("node_started").find(|event| event["node"] == *node);
    assert_eq!(started.unwrap_or_else(|| panic!("it does not start\n{run}"))["why"], *expect, "{run}");
    let why = world.spb(["why", node]).run().success();
    assert!(why.stdout.contains(&expect), "spb why: {}", why.stdout);
}

fn newest(world: &World) -> String {
    let status = world.spb(["status", "--json"]).run();
    let status: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
    status["run"].as_str().unwrap_or_default().to_owned()
}

fn node(keys: &str) -> String {
    format!("nodes:\n  n: {{ {keys} }}\n")
}

#[test]
fn the_first_difference_is_named_by_what_its_author_wrote() {
    for kind in ["worktree", "scratch"] {
        let world = World::new();
        let node = |keys: &str| node(&format!("workspace: {kind}, {keys}"));
        let tool = world.root.join("version");
        put(&tool, "1");
        let tools = format!("cache: {{ tools: [\"cat {}\"] }}", tool.display());
        runs(&world, &node("run: 'true'"), "n", "never run before");
        runs(
            &world,
            &node("run: 'true', env: { RUSTFLAGS: a }"),
            "n",
            "environment variable RUSTFLAGS added",
        );
        runs(
            &world,
            &node("run: 'true', env: { RUSTFLAGS: b }"),
            "n",
            "environment variable RUSTFLAGS changed",
        );
        runs(
            &world,
            &node("run: 'true', env: { RUSTFLAGS: b, X: '1' }"),
            "n",
            "environment variable X added",
        );
        runs(&world, &node("run: 'exit 0', env: { RUSTFLAGS: b, X: '1' }"), "n", "script changed");
        runs(
            &world,
            &node(&format!("run: 'true', {tools}")),
            "n",
            &format!("tool `cat {}` added", tool.display()),
        );
        put(&tool, "2");
        let changed = format!("tool `cat {}` changed", tool.display());
        runs(&world, &node(&format!("run: 'true', {tools}")), "n", &changed);
        runs(&world, &node("run: 'true', cache: { extra: [1] }"), "n", "cache.extra 1 added");
        runs(&world, &node("run: 'true', cache: { extra: [2] }"), "n", "cache.extra 1 changed");
        // The nearest earlier result, not the newest.
        runs(
            &world,
            &node("run: 'true', env: { RUSTFLAGS: c }"),
            "n",
            "environment variable RUSTFLAGS changed",
        );
        runs(&world, &node("run: 'true', cache: false"), "n", "its `cache` is false");
    }
}

#[test]
fn something_that_is_gone_is_named_as_well() {
    let world = World::new();
    let both = "nodes:\n  n: { run: 'true', env: { A: '1', B: '2' } }\n";
    world.apply(both).success();
    runs(&world, &node("run: 'true', env: { A: '1' }"), "n", "environment variable B removed");
}

#[test]
fn files_are_named_with_what_became_of_them() {
    let world = World::new();
    let workflow = node("run: 'true', reads: ['src/**']");
    runs(&world, &workflow, "n", "never run before");
    world.write("src/one.txt", "eins\n");
    world.commit("one");
    runs(&world, &workflow, "n", "src/one.txt changed");
    world.write("src/three.txt", "three\n");
    world.commit("three");
    runs(&world, &workflow, "n", "src/three.txt was added");
    std::fs::remove_file(world.repo.join("src/three.txt")).unwrap();
    world.commit("none");
    world.apply(&workflow).success().ended("n cached");
    std::fs::remove_file(world.repo.join("src/two.txt")).unwrap();
    world.commit("one less");
    runs(&world, &workflow, "n", "src/three.txt was deleted");
}

#[test]
fn a_value_of_a_need_is_named_by_its_output() {
    let world = World::new();
    let workflow = |text: &str| {
        format!(
            "nodes:\n  scout: {{ workspace: scratch, run: \"echo {text}\", outputs: {{ files: {{ stdout: true }} }} }}\n  \
             n: {{ needs: [scout], workspace: scratch, env: {{ F: \"${{{{ needs.scout.outputs.files }}}}\" }}, run: 'true' }}\n"
        )
    };
    world.apply(&workflow("a")).success();
    let run = world.apply(&workflow("b")).success();
    assert_eq!(run.message("n"), "output `files` of scout (environment variable F) changed");
}

#[test]
fn one_that_only_failed_before_has_run_before() {
    for kind in ["worktree", "scratch"] {
        let world = World::new();
        let fails = node(&format!("workspace: {kind}, run: 'exit 1'"));
        runs(&world, &fails, "n", "never run before");
        runs(&world, &fails, "n", "only failed before, last in run RUN");
        runs(
            &world,
            &node(&format!("workspace: {kind}, run: 'true'")),
            "n",
            "only failed before, last in run RUN",
        );
        runs(&world, &fails, "n", "script changed");
        runs(&world, &fails, "n", "it failed the last time, in run RUN");
        // What failed is known from the journals as well.
        for suffix in ["", "-wal", "-shm"] {
            std::fs::remove_file(world.store().join(format!("index.sqlite{suffix}"))).ok();
        }
        let run = world.apply(&fails).exits(1);
        let why = run.of_kind("node_started").next().unwrap()["why"].clone();
        assert!(why.as_str().unwrap().contains("only the journal is left"), "{why}");
    }
}

#[test]
fn an_entry_that_is_there_and_does_not_count_says_what_is_wrong_with_it() {
    for kind in ["worktree", "scratch"] {
        let world = World::new();
        let old = node(&format!("workspace: {kind}, run: 'true', cache: {{ ttl: 1ms }}"));
        world.apply(&old).success();
        runs(&world, &old, "n", "its cache entry expired (ttl 1ms)");
        let world = World::new();
        let made = node(&format!(
            "workspace: {kind}, artifacts: [out/tool], run: 'mkdir -p out; echo 1 > out/tool'"
        ));
        world.apply(&made).success();
        let stored = world.all_files(&world.store().join("artifacts")).pop().unwrap();
        std::fs::remove_file(&stored).unwrap();
        runs(&world, &made, "n", "its cache entry is damaged: its artifact `out/tool` is gone or damaged");
        assert!(planned(&world, &made, "n").starts_with("cached"));
        let connection = rusqlite::Connection::open(world.store().join("index.sqlite")).unwrap();
        connection.execute("update entries set body = replace(body, 'duration', 'duratioN')", []).unwrap();
        drop(connection);
        runs(&world, &made, "n", "its cache entry was damaged");
        assert!(planned(&world, &made, "n").starts_with("cached"));
    }
}
