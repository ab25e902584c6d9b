//! Signals and readers that go away: an orderly end, nothing left behind, and a run that can be carried on.

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{Gate, Running, World, is_alive, until};

/// `a` is done, `b` waits at the gate, `c` comes after it.
fn workflow(gate: &Gate) -> String {
    format!(
        r#"
nodes:
  a: {{ run: 'echo a >> "$HOME/ran"; echo a > a.txt' }}
  b: {{ needs: [a], run: "echo b >> $HOME/ran; sleep 1000 & echo $! > $HOME/child; {}; echo b > b.txt" }}
  c: {{ needs: [b], run: 'echo c >> "$HOME/ran"; echo c > c.txt' }}
"#,
        gate.script()
    )
}

fn child(world: &World) -> u32 {
    std::fs::read_to_string(world.home().join("child")).unwrap().trim().parse().unwrap()
}

#[track_caller]
fn started(world: &World, gate: &Gate) -> (Running, Vec<u32>) {
    let running = world.applying(&workflow(gate), &[]).begin();
    let node = gate.arrived();
    (running, vec![node, child(world)])
}

#[test]
fn int_term_and_hup_end_the_run_in_order_and_resume_finishes_it() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let world = World::new();
        let gate = world.gate("g");
        let (running, processes) = started(&world, &gate);
        running.signal(signal);
        let run = running.finish().exits(130).ended("a succeeded, b cancelled, c cancelled");
        assert!(processes.iter().all(|pid| !is_alive(*pid)), "a process survived signal {signal}");
        assert_eq!(run.end()["outcome"], "cancelled");
        assert!(run.stderr.contains("spb resume"), "{run}");
        assert_eq!(world.state(), "cancelled");
        assert_eq!(world.take_ran(), "a b");
        let running = world.spb(["resume", "--events", "ndjson"]).begin();
        gate.arrived();
        gate.open();
        let resumed = running.finish().success().ended("b succeeded, c succeeded");
        assert_eq!(resumed.id(), run.id());
        assert_eq!(world.take_ran(), "b c");
        assert_eq!(world.state(), "succeeded");
        assert_eq!(world.git(&["diff", "--name-only", "main", &resumed.branch()]), "a.txt\nb.txt\nc.txt");
        world.apply(&workflow(&gate)).success().ended("a cached, b cached, c cached");
    }
}

#[test]
fn a_node_that_does_not_end_when_asked_is_killed_by_the_second_signal() {
    let world = World::new();
    let (gate, asked) = (world.gate("g"), world.gate("asked"));
    let workflow = format!(
        "nodes:\n  n: {{ run: \"trap '{}' TERM; {}; while :; do sleep 1000 & wait $!; done\" }}\n",
        asked.announce().replace('\'', ""),
        gate.announce()
    );
    let running = world.applying(&workflow, &[]).begin();
    let node = gate.arrived();
    let began = Instant::now();
    running.signal(libc::SIGINT);
    asked.arrived();
    running.signal(libc::SIGINT);
    running.finish().exits(130).ended("n cancelled");
    assert!(!is_alive(node));
    assert!(began.elapsed() < Duration::from_secs(10), "the second signal waited for the grace of the first");
}

#[test]
fn cancel_stops_a_run_from_elsewhere() {
    let world = World::new();
    let gate = world.gate("g");
    let (running, processes) = started(&world, &gate);
    assert_eq!(world.state(), "running");
    // Read beside its living parent, a zombie would still look alive: reap it as a shell does.
    let waiting = std::thread::spawn(move || running.finish());
    let cancelled = world.spb(["cancel"]).run().success();
    waiting.join().unwrap().exits(130);
    assert!(cancelled.stdout.contains("spb resume"), "{cancelled}");
    assert!(processes.iter().all(|pid| !is_alive(*pid)));
    assert_eq!(world.state(), "cancelled");
    let again = world.spb(["cancel"]).run().success();
    assert!(again.stdout.contains("not running"), "{again}");
}

#[test]
fn a_cancelled_node_is_no_hit_although_it_exits_with_zero_when_asked_to_end() {
    let world = World::new();
    let gate = world.gate("g");
    let workflow = format!(
        "nodes:\n  n: {{ run: \"echo n >> $HOME/ran; echo n > n.txt; trap 'exit 0' TERM; {}\" }}\n",
        gate.script()
    );
    let running = world.applying(&workflow, &[]).begin();
    gate.arrived();
    running.signal(libc::SIGTERM);
    running.finish().exits(130).ended("n cancelled");
    let running = world.applying(&workflow, &[]).begin();
    gate.arrived();
    gate.open();
    running.finish().success().ended("n succeeded");
    assert_eq!(world.take_ran(), "n n");
}

#[test]
fn a_reader_that_goes_away_does_not_stop_the_run() {
    let world = World::new();
    let gate = world.gate("g");
    let mut spb = world.applying(&workflow(&gate), &[]);
    spb.command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = spb.command.spawn().unwrap();
    gate.arrived();
    drop(child.stdout.take());
    drop(child.stderr.take());
    gate.open();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(world.state(), "succeeded");
    for words in [&["status"][..], &["runs"], &["logs"], &["status", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let run = world.spb(words).stdout(writer).run_as_is();
        assert!(run.code() == Some(0) && run.stderr.is_empty(), "{words:?} {run}");
    }
}

#[test]
fn an_output_that_is_full_does_not_stop_the_run_and_is_told_by_reading_commands() {
    let world = World::new();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = world.applying("nodes:\n  n: { run: 'echo n > n.txt' }\n", &[]).stdout(full()).run_as_is();
    let run = run.exits(3);
    assert!(
        run.stderr.contains("not all events could be written to standard output: No space left"),
        "{run}"
    );
    assert_eq!(world.state(), "succeeded");
    let run = world.spb(["status"]).stdout(full()).run_as_is().exits(3);
    assert!(run.stderr.contains("standard output"), "{run}");
}

#[test]
fn a_run_that_waits_for_the_checkout_can_be_stopped() {
    let world = World::new();
    let gate = world.gate("g");
    let holds = format!("nodes:\n  n: {{ workspace: repo, run: \"{}\" }}\n", gate.script());
    let first = world.applying(&holds, &[]).begin();
    gate.arrived();
    let file = world.named_workflow(
        "second",
        "nodes:\n  first: { run: 'echo $$ > $HOME/first.txt' }\n  n: { after: [first], workspace: repo, run: 'echo ran >> $HOME/ran' }\n",
    );
    let words = ["apply".as_ref(), file.as_os_str(), "--events".as_ref(), "ndjson".as_ref()];
    let second = world.spb(words).begin();
    until(|| world.home().join("first.txt").exists());
    second.signal(libc::SIGTERM);
    let second = second.finish().exits(130);
    assert!(second.outcomes().contains("n cancelled"), "{second}");
    assert_eq!(world.take_ran(), "");
    gate.open();
    first.finish().success();
}

#[test]
fn a_stopped_engine_carries_on() {
    let world = World::new();
    let gate = world.gate("g");
    let (running, processes) = started(&world, &gate);
    running.signal(libc::SIGSTOP);
    gate.open();
    until(|| !is_alive(processes[0]));
    running.signal(libc::SIGCONT);
    running.finish().success().ended("a succeeded, b succeeded, c succeeded");
}

#[test]
fn secrets_are_not_shown_by_a_run_that_is_stopped() {
    let world = World::new();
    let gate = world.gate("g");
    let secret = "super-secret-value";
    let workflow = format!(
        "secrets: [TOKEN]\nnodes:\n  n: {{ run: \"printf 'half of %s' $TOKEN; {}\" }}\n",
        gate.script()
    );
    let running = world.applying(&workflow, &[]).env("TOKEN", secret).begin();
    gate.arrived();
    running.signal(libc::SIGINT);
    let run = running.finish().exits(130);
    assert!(!format!("{run}").contains(secret), "{run}");
    for path in world.all_files(&world.store()) {
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", path.display());
    }
}

#[test]
fn a_reader_that_does_not_read_does_not_make_spb_deaf_to_signals() {
    let world = World::new();
    let nodes: String =
        (0..400).map(|n| format!("  n{n}: {{ workspace: scratch, run: 'true' }}\n")).collect();
    let mut spb = world.applying(&format!("nodes:\n{nodes}"), &["--quiet"]);
    // Nobody reads the other end, and the events are more than a pipe holds.
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut child = spb.command.stdout(writer).stderr(Stdio::null()).process_group(0).spawn().unwrap();
    until(|| world.journals().iter().any(|journal| journal.contains("\"event\":\"run_finished\"")));
    // The record is written a moment before signals are given back to the system.
    until(|| {
        crate::common::kill(child.id(), libc::SIGINT);
        child.try_wait().unwrap().is_some()
    });
    assert_eq!(world.state(), "succeeded");
}
