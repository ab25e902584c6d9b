//! Several spb on one repository at once.

use crate::common::{Running, World};

fn begin(world: &World, name: &str, text: &str, words: &[&str]) -> Running {
    let file = world.named_workflow(name, text);
    let mut all = vec!["apply".as_ref(), file.as_os_str(), "--events".as_ref(), "ndjson".as_ref()];
    all.extend(words.iter().map(std::ffi::OsStr::new));
    world.spb(all).begin()
}

#[test]
fn the_same_workflow_many_times_at_once_gives_the_same_result_each_time() {
    let world = World::new();
    let workflow = r#"
nodes:
  a: { run: 'mkdir busy; echo a > a.txt; rmdir busy' }
  b: { run: 'mkdir busy; echo b > b.txt; rmdir busy' }
  c: { needs: [a, b], artifacts: [out/c], run: 'mkdir -p out; cat a.txt b.txt > out/c' }
  d: { needs: [c], run: 'cat out/c > d.txt; echo d >> d.txt' }
"#;
    for count in [2, 4] {
        let together: Vec<Running> = (0..count).map(|_| begin(&world, "t", workflow, &["--fresh"])).collect();
        let runs: Vec<_> = together.into_iter().map(|running| running.finish().success()).collect();
        let ids: std::collections::BTreeSet<String> = runs.iter().map(|run| run.id()).collect();
        assert_eq!(ids.len(), count);
        for run in &runs {
            assert_eq!(world.show(&run.branch(), "d.txt").as_deref(), Some("a\nb\nd\n"), "{run}");
        }
    }
    let all = "a cached, b cached, c cached, d cached";
    world.apply(workflow).success().ended(all);
    world.git(&["reflog", "expire", "--expire=now", "--all"]);
    world.git(&["gc", "-q", "--prune=now"]);
    world.apply(workflow).success().ended(all);
    world.git(&["fsck", "--no-dangling"]);
}

#[test]
fn different_workflows_at_once_do_not_see_each_other() {
    let world = World::new();
    let runs: Vec<(usize, Running)> = (0..4)
        .map(|number| {
            let text = format!(
                "nodes:\n  n: {{ run: 'for i in 1 2 3; do echo {number} >> n.txt; sleep 0.02; done; ls > list.txt' }}\n  m: {{ needs: [n], run: 'cat n.txt > m.txt' }}\n"
            );
            (number, begin(&world, &format!("w{number}"), &text, &[]))
        })
        .collect();
    for (number, running) in runs {
        let branch = running.finish().success().branch();
        assert_eq!(world.show(&branch, "m.txt"), Some(format!("{number}\n{number}\n{number}\n")));
        assert_eq!(world.show(&branch, "list.txt").as_deref(), Some("list.txt\nn.txt\nsrc\n"));
    }
    let list = world.spb(["runs", "--json"]).run().success();
    assert_eq!(list.stdout.matches("\"succeeded\"").count(), 4, "{list}");
}

#[test]
fn what_others_do_to_pool_cache_and_objects_does_not_disturb_a_run() {
    let world = World::new();
    let gate = world.gate("g");
    let workflow = format!(
        "nodes:\n  a: {{ run: 'echo a > a.txt' }}\n  b: {{ needs: [a], run: \"{}; cat a.txt > b.txt\" }}\n  c: {{ needs: [b], run: 'cat b.txt > c.txt' }}\n",
        gate.script()
    );
    let running = world.applying(&workflow, &[]).begin();
    gate.arrived();
    let busy = world.spb(["worktrees", "remove", "--all"]).run();
    assert!(busy.stderr.contains("runs in"), "{busy}");
    world.spb(["cache", "clear"]).run();
    world.git(&["worktree", "prune"]);
    world.git(&["gc", "-q"]);
    gate.open();
    let run = running.finish().success();
    assert_eq!(world.show(&run.branch(), "c.txt").as_deref(), Some("a\n"));
}

#[test]
fn results_of_runs_at_once_under_one_branch_are_not_lost() {
    let world = World::new();
    let runs: Vec<Running> = (0..3)
        .map(|number| {
            let text =
                format!("result: {{ branch: shared }}\nnodes:\n  n: {{ run: 'echo {number} > n.txt' }}\n");
            begin(&world, &format!("w{number}"), &text, &[])
        })
        .collect();
    let runs: Vec<_> = runs.into_iter().map(Running::finish).collect();
    let moved = runs.iter().filter(|run| !run.end()["branch"].is_null()).count();
    assert!(moved >= 1);
    for run in &runs {
        let commit = run.end()["commit"].as_str().unwrap().to_owned();
        assert!(world.show(&commit, "n.txt").is_some(), "{run}");
    }
    for _ in 0..moved {
        world.spb(["undo"]).run().success();
    }
    assert_eq!(world.git(&["for-each-ref", "refs/heads/shared"]), "");
}
