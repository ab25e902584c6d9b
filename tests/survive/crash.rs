//! The engine is killed at any moment: what was acknowledged stays, the rest is done again, the result is the same.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use crate::common::{Running, World, acknowledged, is_alive, kill, put, until};

const STAGES: &str = r#"
stages: [one, two]
nodes:
  a: { run: 'echo a >> "$HOME/ran"; sleep 0.02; echo a > a.txt' }
  b: { run: 'echo b >> "$HOME/ran"; sleep 0.02; echo b > b.txt' }
  c: { stage: two, needs: [a, b], run: 'echo c >> "$HOME/ran"; sleep 0.02; cat a.txt b.txt > c.txt' }
  d: { stage: two, needs: [c], artifacts: [out/d], run: 'echo d >> "$HOME/ran"; mkdir -p out; cat c.txt > out/d; echo d > d.txt' }
  e: { stage: two, needs: [d], run: 'echo e >> "$HOME/ran"; cat out/d d.txt > e.txt' }
"#;

const SEVERAL: &str = r#"
nodes:
  list: { workspace: readonly, run: 'echo $SPB_NODE >> "$HOME/ran"; seq 4', outputs: { l: { stdout: true, format: lines } } }
  each:
    needs: [list]
    for_each: ${{ needs.list.outputs.l }}
    env: { I: "${{ item }}" }
    run: 'echo $SPB_NODE >> "$HOME/ran"; sleep 0.02; echo $I > $I.txt; echo "i=$I" >> "$SPB_OUTPUT"'
    outputs: { i: {} }
  turn:
    needs: [each]
    loop: { until: 'loop.last.outputs.n == "3"', max: 4 }
    env: { R: "${{ loop.index }}" }
    run: 'echo $SPB_NODE >> "$HOME/ran"; sleep 0.02; echo $R >> turns.txt; echo "n=$R" >> "$SPB_OUTPUT"'
    outputs: { n: {} }
  end: { needs: [turn, each], env: { I: "${{ needs.each.outputs.i }}" }, run: 'echo $SPB_NODE >> "$HOME/ran"; echo "$I" > end.txt' }
"#;

#[track_caller]
fn kill_engine(running: Running) -> String {
    running.signal(libc::SIGKILL);
    running.finish().stdout
}

#[test]
fn killed_at_any_moment_it_resumes_to_the_same_result() {
    survives_kills(STAGES);
}

#[test]
fn killed_among_items_and_rounds_it_keeps_those_that_ended() {
    survives_kills(SEVERAL);
}

#[track_caller]
fn survives_kills(workflow: &str) {
    let undisturbed = World::new();
    let began = Instant::now();
    let branch = undisturbed.apply(workflow).success().branch();
    let whole = began.elapsed();
    let files = undisturbed.files(&branch);
    for step in 0..14 {
        let world = World::new();
        let running = world.applying(workflow, &["--jobs", "2"]).begin();
        // Any moment will do: nothing below depends on which one it was.
        std::thread::sleep(whole.mul_f64(f64::from(step) / 13.0));
        let acknowledged = acknowledged(&kill_engine(running));
        world.spb(["runs"]).run().success();
        let has_run = world.spb(["status", "--json"]).run().success().stdout.trim() != "null";
        let is_finished = has_run && world.state() == "succeeded";
        world.take_ran();
        let run = if has_run && !is_finished {
            assert_eq!(world.state(), "interrupted");
            world.resume().success()
        } else {
            world.apply(workflow).success()
        };
        let again = world.take_ran();
        for node in &acknowledged {
            assert!(!again.split(' ').any(|ran| ran == node), "{node} ran again: {again}\n{run}");
        }
        assert_eq!(world.files(&run.branch()), files, "step {step}\n{run}");
        assert_eq!(world.state(), "succeeded");
        let status = world.spb(["status", "--json"]).run().success().stdout;
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        for node in status["nodes"].as_array().unwrap() {
            assert!(["succeeded", "cached"].contains(&node["state"].as_str().unwrap()), "{node}\n{run}");
        }
        assert_eq!(world.processes_of(&run.id()), Vec::<u32>::new());
        world.git(&["fsck", "--no-dangling"]);
        assert_eq!(world.apply(workflow).success().starts(), 0, "step {step}");
        assert_eq!(world.take_ran(), "", "step {step}");
        assert_eq!(world.rooms(), Vec::<std::path::PathBuf>::new(), "step {step}");
    }
}

#[test]
fn an_orphan_of_a_killed_engine_is_ended_before_its_node_runs_again() {
    let world = World::new();
    let gate = world.gate("g");
    let workflow = format!(
        "nodes:\n  n: {{ run: \"echo start >> $HOME/order; {}; echo late >> $HOME/order; echo n > n.txt\" }}\n",
        gate.script()
    );
    let running = world.applying(&workflow, &[]).begin();
    let orphan = gate.arrived();
    kill_engine(running);
    assert!(is_alive(orphan), "the test needs an orphan");
    assert_eq!(world.state(), "interrupted");
    let running = world.spb(["resume", "--events", "ndjson"]).begin();
    let second = gate.arrived();
    assert!(!is_alive(orphan), "two of one node at a time");
    assert_ne!(orphan, second);
    gate.open();
    running.finish().success().ended("n succeeded");
    assert_eq!(std::fs::read_to_string(world.home().join("order")).unwrap(), "start\nstart\nlate\n");
}

#[test]
fn orphans_and_rooms_of_a_killed_engine_are_gone_when_the_next_run_starts() {
    let world = World::new();
    let gate = world.gate("g");
    let workflow = format!(
        "nodes:\n  s:\n    workspace: scratch\n    run: |\n      echo stale > $SPB_OUT/o.txt\n      setsid sh -c \"{}\" &\n      {}\n",
        gate.script().replace("$$", "\\$\\$"),
        gate.script()
    );
    let running = world.applying(&workflow, &[]).begin();
    let orphans = [gate.arrived(), gate.arrived()];
    kill_engine(running);
    assert_eq!(world.rooms().len(), 1);
    // Another workflow, whose node promises a file of the same name and does not write it.
    let next = "nodes:\n  x: { workspace: scratch, outputs: { o: { out: o.txt } }, run: 'true' }\n";
    world.apply(next).exits(1).ended("x failed");
    for orphan in orphans {
        assert!(!is_alive(orphan), "an orphan lives on");
    }
    assert_eq!(world.rooms(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_second_resume_is_refused_while_the_first_runs() {
    let world = World::new();
    let gate = world.gate("g");
    let workflow =
        format!("nodes:\n  n: {{ run: \"echo n >> $HOME/ran; {}; echo n > n.txt\" }}\n", gate.script());
    let running = world.applying(&workflow, &[]).begin();
    gate.arrived();
    let refused = world.spb(["resume"]).run().exits(3);
    assert!(refused.stderr.contains("still running"), "{refused}");
    kill_engine(running);
    let first = world.spb(["resume", "--events", "ndjson"]).begin();
    gate.arrived();
    let second = world.spb(["resume"]).run().exits(3);
    assert!(second.stderr.contains(&format!("process {}", first.pid())), "{second}");
    gate.open();
    first.finish().success();
    assert_eq!(world.take_ran(), "n n");
}

#[test]
fn resumes_that_race_run_every_node_once() {
    let world = World::new();
    let workflow = r#"
nodes:
  a: { run: 'echo a >> "$HOME/ran"; echo a > a.txt' }
  b: { needs: [a], run: 'echo b >> "$HOME/ran"; test -e "$HOME/ok"; mkdir "$HOME/busy"; sleep 0.05; rmdir "$HOME/busy"; echo b > b.txt' }
"#;
    for _ in 0..3 {
        world.apply_with(workflow, &["--fresh"]).exits(1);
        world.take_ran();
        std::fs::write(world.home().join("ok"), "").unwrap();
        let racers: Vec<Running> = (0..3).map(|_| world.spb(["resume", "latest"]).begin()).collect();
        for racer in racers {
            let run = racer.finish();
            assert!(matches!(run.code(), Some(0 | 3)), "{run}");
        }
        assert_eq!(world.take_ran(), "b");
        assert_eq!(world.state(), "succeeded");
        std::fs::remove_file(world.home().join("ok")).unwrap();
    }
}

#[test]
fn what_a_kill_inside_the_making_of_a_worktree_leaves_is_mended() {
    let world = World::new();
    world.apply(STAGES).success();
    let admins = || std::fs::read_dir(world.repo.join(".git/worktrees")).unwrap().flatten();
    let pool = std::fs::read_dir(world.root.join("pool")).unwrap().next().unwrap().unwrap().path();
    for what in ["locked", "gitdir", "commondir", "HEAD", "index", "all", "slot", ".git"] {
        for admin in admins().map(|entry| entry.path()) {
            match what {
                "locked" => put(&admin.join("locked"), "initializing"),
                "all" => std::fs::remove_dir_all(&admin).unwrap(),
                "slot" | ".git" => {}
                file => std::fs::remove_file(admin.join(file)).unwrap(),
            }
        }
        for slot in ["1", "2"].map(|number| pool.join(number)).iter().filter(|slot| slot.exists()) {
            match what {
                "slot" => std::fs::remove_dir_all(slot).unwrap(),
                ".git" => std::fs::remove_file(slot.join(".git")).unwrap(),
                _ => put(&slot.join("half-made"), "x"),
            }
        }
        let run = world.apply_with(STAGES, &["--fresh"]).success();
        assert_eq!(world.show(&run.branch(), "e.txt").as_deref(), Some("a\nb\nd\n"), "{what}");
        assert_eq!(world.show(&run.branch(), "half-made"), None, "{what}");
        let list = world.git(&["worktree", "list", "--porcelain"]);
        assert!(!list.contains("prunable") && !list.contains("initializing"), "{what}\n{list}");
    }
}

#[test]
fn locks_that_are_not_ours_are_left_and_named() {
    let world = World::new();
    let lock = world.repo.join(".git/refs/heads/spb/held.lock");
    put(&lock, "");
    put(&world.repo.join(".git/index.lock"), "");
    let run = world.apply("nodes:\n  n: { run: 'echo n > n.txt' }\n").success();
    assert_eq!(world.show(&run.branch(), "n.txt").as_deref(), Some("n\n"));
    let held = world.apply("result: { branch: spb/held }\nnodes:\n  n: { run: 'echo n > n.txt' }\n");
    assert!(held.end()["message"].as_str().unwrap().contains("spb/held"), "{held}");
    assert!(lock.exists() && world.repo.join(".git/index.lock").exists());
}

#[test]
fn a_lock_that_an_engine_left_which_was_killed_while_it_wrote_a_ref_is_in_nobody_s_way() {
    let workflow = "result: { branch: spb/held }\nnodes:\n  n: { run: 'echo n > n.txt' }\n";
    for name in ["refs/heads/spb/held", "refs/spb/cache"] {
        let world = World::new();
        world.apply("nodes:\n  other: { run: 'echo o > o.txt' }\n").success();
        let lock = world.repo.join(format!(".git/{name}.lock"));
        put(&lock, "");
        put(&world.repo.join(".git/spb/writing-ref"), name);
        let run = world.apply(workflow).success();
        assert_eq!(world.show(&run.branch(), "n.txt").as_deref(), Some("n\n"), "{name}");
        assert!(!lock.exists() && !world.repo.join(".git/spb/writing-ref").exists(), "{name}");
    }
}

#[test]
fn a_git_that_hangs_is_ended_with_the_engine() {
    let world = World::new();
    world.git(&["config", "core.precomposeUnicode", "true"]);
    let real = world.command("sh").args(["-c", "command -v git"]).output().unwrap().stdout;
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *' add -A'*|*'worktree add'*|*reset*) echo $$ > \"$HOME/inside\"; exec sleep 1000;; esac\nexec {} \"$@\"\n",
        String::from_utf8(real).unwrap().trim()
    );
    let bin = world.root.join("bin");
    put(&bin.join("git"), script);
    std::fs::set_permissions(bin.join("git"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let running = world.applying(STAGES, &[]).env("PATH", path).begin();
    let inside = world.home().join("inside");
    until(|| std::fs::read_to_string(&inside).is_ok_and(|text| text.ends_with('\n')));
    let git: u32 = std::fs::read_to_string(&inside).unwrap().trim().parse().unwrap();
    kill_engine(running);
    kill(git, libc::SIGKILL);
    let run = world.resume().success();
    assert_eq!(world.show(&run.branch(), "e.txt").as_deref(), Some("a\nb\nd\n"));
}

#[test]
fn objects_and_refs_that_were_lost_with_the_power_are_made_again() {
    let world = World::new();
    let gate = world.gate("g");
    let workflow =
        format!("nodes:\n  n: {{ run: \"{}; echo n > n.txt; seq 1 5000 > m.txt\" }}\n", gate.script());
    let running = world.applying(&workflow, &[]).begin();
    gate.arrived();
    kill_engine(running);
    // Names without content are what a power cut leaves of files that were renamed and not synced.
    let object = |text: &str| {
        put(&world.home().join("text"), text);
        let id = world.git(&["hash-object", "-w", world.home().join("text").to_str().unwrap()]);
        let path = world.repo.join(".git/objects").join(&id[..2]).join(&id[2..]);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::OpenOptions::new().write(true).open(path).unwrap()
    };
    object("n\n").set_len(0).unwrap();
    let numbers: String = (1..=5000).map(|number| format!("{number}\n")).collect();
    object(&numbers).set_len(1000).unwrap();
    put(&world.repo.join(".git/refs/spb/cache"), "");
    let running = world.spb(["resume", "--events", "ndjson"]).begin();
    gate.arrived();
    gate.open();
    let run = running.finish().success();
    assert!(run.stderr.contains("2 objects and 1 refs"), "{run}");
    assert_eq!(run.end()["message"], "", "{run}");
    assert_eq!(world.show(&run.branch(), "n.txt").as_deref(), Some("n\n"));
    assert_eq!(world.show(&run.branch(), "m.txt"), Some(numbers));
    world.git(&["fsck", "--no-dangling"]);
}
