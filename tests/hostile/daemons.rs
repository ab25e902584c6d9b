//! Processes that want to outlive their node. Nothing in them tells whose they are: their environment is empty, their
//! session their own.

use crate::common::{Gate, Run, World, is_alive};

/// `%` is the daemon's program.
const ESCAPES: [(&str, &str); 8] = [
    ("single", "env -i setsid % >/dev/null 2>&1 &"),
    ("double", "(env -i setsid sh -c '(env -i setsid % &)' &) >/dev/null 2>&1"),
    ("holds", "env -i setsid % &"),
    ("stubborn", "env -i setsid sh -c 'trap \"\" TERM HUP INT; exec %' >/dev/null 2>&1 &"),
    ("moved", "cd /; env -i setsid % >/dev/null 2>&1 &"),
    ("forged", "env -i SPB_RUN=other SPB_NODE=other setsid % >/dev/null 2>&1 &"),
    ("renamed", "cp \"$(command -v sh)\" kworker; env -i setsid ./kworker % >/dev/null 2>&1 &"),
    (
        "family",
        "env -i setsid sh -c 'env -i setsid sh -c \"env -i setsid sleep 1000 & %\" & wait' >/dev/null 2>&1 &",
    ),
];

/// A script that leaves such a daemon behind, which has announced itself at the gate when the script goes on.
fn leave(world: &World, escape: &str, gate: &Gate) -> String {
    let (program, up) = (gate.path("daemon"), gate.path("up"));
    let text = format!("#!/bin/sh\n{}\necho up > '{}'\nexec sleep 1000\n", gate.announce(), up.display());
    crate::common::put(&program, text);
    assert!(world.command("chmod").arg("+x").arg(&program).status().unwrap().success());
    let up = up.display();
    format!(
        "rm -f {up}; mkfifo {up}; {} read -r _ < {up}",
        escape.replace('%', &program.display().to_string()) + "\n"
    )
}

fn script(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[track_caller]
fn all_gone(gate: &Gate, expect: usize, run: &Run) {
    let daemons: Vec<u32> = std::iter::from_fn(|| gate.next_if_any()).collect();
    assert_eq!(daemons.len(), expect, "{run}");
    let living: Vec<u32> = daemons.into_iter().filter(|pid| is_alive(*pid)).collect();
    assert_eq!(living, Vec::<u32>::new(), "survived\n{run}");
}

#[test]
fn a_daemon_with_nothing_to_tell_it_by_does_not_survive() {
    for (name, escape) in ESCAPES {
        for workspace in ["worktree", "scratch"] {
            let world = World::new();
            let gate = world.gate("g");
            let text = script(&leave(&world, escape, &gate));
            let run = world.apply(&format!(
                "nodes:\n  {name}: {{ workspace: {workspace}, run: {text} }}\n  next: {{ needs: [{name}], run: 'true' }}\n"
            ));
            all_gone(&gate, 1, &run.success());
        }
    }
}

#[test]
fn a_daemon_is_gone_before_what_its_node_left_is_used() {
    let world = World::new();
    let gate = world.gate("g");
    let text = script(&format!(
        "{}; cat {} > id.txt",
        leave(&world, ESCAPES[0].1, &gate),
        world.home().join("id").display()
    ));
    let program = std::fs::read_to_string(gate.path("daemon")).unwrap();
    let noted =
        program.replacen("echo $$", &format!("echo $$ > {}; echo $$", world.home().join("id").display()), 1);
    crate::common::put(&gate.path("daemon"), noted);
    let run = world.apply(&format!(
        "nodes:\n  a: {{ run: {text} }}\n  b: {{ needs: [a], run: 'test ! -d /proc/$(cat id.txt)' }}\n"
    ));
    all_gone(&gate, 1, &run.success());
}

#[test]
fn a_node_that_still_runs_keeps_its_daemon_when_another_ends() {
    let world = World::new();
    let (gate, mine, other) = (world.gate("g"), world.gate("mine"), world.gate("other"));
    let keeps = script(&format!("{}; {}", leave(&world, ESCAPES[1].1, &mine), gate.script()));
    let leaves = script(&leave(&world, ESCAPES[3].1, &other));
    let after = world.gate("after");
    let waits = script(&after.script());
    let workflow = format!(
        "nodes:\n  keeps: {{ run: {keeps} }}\n  leaves: {{ run: {leaves} }}\n  after: {{ needs: [leaves], run: {waits} }}\n"
    );
    let running = world.applying(&workflow, &["--jobs", "2"]).begin();
    gate.arrived();
    let (kept, left) = (mine.arrived(), other.arrived());
    // `leaves` has ended, and all that it left in its files has.
    after.arrived();
    assert!(is_alive(kept), "a daemon of a node that runs was ended");
    assert!(!is_alive(left), "a daemon of a node that has ended survives");
    after.open();
    gate.open();
    let run = running.finish().success();
    assert!(!is_alive(kept), "{run}");
}

#[test]
fn a_stopped_run_leaves_no_daemon() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let world = World::new();
        let (gate, daemons) = (world.gate("g"), world.gate("d"));
        let text = script(&format!("{}; {}", leave(&world, ESCAPES[1].1, &daemons), gate.script()));
        let running = world.applying(&format!("nodes:\n  a: {{ run: {text} }}\n"), &[]).begin();
        gate.arrived();
        running.signal(signal);
        all_gone(&daemons, 1, &running.finish().exits(130));
    }
}

#[test]
fn a_timeout_and_an_attempt_that_failed_leave_no_daemon() {
    let world = World::new();
    let (slow, gate) = (world.gate("s"), world.gate("g"));
    let timeout = script(&format!("{}; exec sleep 1000", leave(&world, ESCAPES[1].1, &slow)));
    let failing = script(&format!("{}; exit 1", leave(&world, ESCAPES[0].1, &gate)));
    let run = world.apply(&format!(
        "nodes:\n  t: {{ timeout: 1s, run: {timeout} }}\n  f: {{ retry: {{ max: 1 }}, run: {failing} }}\n"
    ));
    let run = run.exits(1).ended("f failed, t timed_out");
    all_gone(&gate, 2, &run);
    all_gone(&slow, 1, &run);
}

/// Where the kernel lets us make a group (root, or where a service manager delegates one): it holds the daemon that
/// nothing else finds once its engine is dead.
#[test]
fn a_daemon_of_a_killed_engine_is_gone_before_the_next_run_begins() {
    let world = World::new();
    let gate = world.gate("g");
    let (_, escape) = ESCAPES[1];
    let text = script(&(leave(&world, escape, &gate) + "; exec sleep 1000"));
    let file = world.workflow(&format!("nodes:\n  a: {{ run: {text} }}\n"));
    let running = world.spb(["apply".as_ref(), file.as_os_str()]).start();
    let daemon = gate.arrived();
    let group = std::fs::read_dir(world.store().join("engines"))
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
        .find(|text| text.contains("/spb-"));
    crate::common::kill(running.pid(), libc::SIGKILL);
    assert_eq!(running.finish().signal(), Some(libc::SIGKILL));
    let Some(group) = group else {
        eprintln!("skipped: no control group can be made here");
        return;
    };
    assert!(is_alive(daemon) && std::path::Path::new(&group).exists());
    world.apply("nodes:\n  b: { run: 'true' }\n").success();
    assert!(!is_alive(daemon), "survived");
    assert!(!std::path::Path::new(&group).exists());
}

#[test]
fn what_a_script_ran_before_it_became_spb_is_not_touched() {
    let world = World::new();
    let file = world.workflow("nodes:\n  a: { run: 'true' }\n  b: { run: 'true' }\n");
    let script = "sleep 1000 >/dev/null 2>&1 & echo $! > \"$HOME/id\"; exec \"$SPB\" apply \"$FILE\"";
    let mut command = world.command("sh");
    command.args(["-c", script]).env("SPB", env!("CARGO_BIN_EXE_spb")).env("FILE", file);
    assert!(command.output().unwrap().status.success());
    let pid = std::fs::read_to_string(world.home().join("id")).unwrap().trim().parse().unwrap();
    assert!(is_alive(pid));
    crate::common::kill(pid, libc::SIGKILL);
}
