//! An agent that settles a conflict is a process like a node's: stopped with the run, ended after a crash, asked again only
//! where it had not answered.

use crate::common::{Gate, World, is_alive, kill, until};

fn world() -> World {
    World::with(&[("shared.txt", "1\n2\n3\n")])
}

/// The agent notes that it was asked, waits at the gate, and settles; the node notes that it ran, and does `node`.
fn workflow(gate: &Gate, node: &str) -> String {
    format!(
        r#"
agents:
  helper:
    command:
      - sh
      - -e
      - -c
      - |
        echo settle >> "$HOME/ran"
        sleep 1000 & echo $! > "$HOME/child"
        {}
        printf '1\nsettled\n3\n' > shared.txt
nodes:
  left: {{ run: 'printf "1\nleft\n3\n" > shared.txt' }}
  right: {{ run: 'printf "1\nright\n3\n" > shared.txt' }}
  both: {{ needs: [left, right], on_conflict: {{ agent: helper }}, run: "echo both >> $HOME/ran; {node}" }}
"#,
        gate.script()
    )
}

fn child(world: &World) -> u32 {
    std::fs::read_to_string(world.home().join("child")).unwrap().trim().parse().unwrap()
}

#[test]
fn killed_while_it_works_it_is_ended_and_asked_again_by_the_resume() {
    let world = world();
    let gate = world.gate("g");
    let text = workflow(&gate, "cat shared.txt > seen.txt");
    let running = world.applying(&text, &[]).begin();
    let agent = gate.arrived();
    let child = child(&world);
    running.signal(libc::SIGKILL);
    running.finish();
    assert_eq!(world.state(), "interrupted");
    let resumed = world.spb(["resume", "--events", "ndjson"]).begin();
    gate.arrived();
    until(|| !is_alive(agent) && !is_alive(child));
    gate.open();
    let run = resumed.finish().success();
    assert_eq!(world.take_ran(), "both settle settle");
    assert_eq!(world.show(&run.branch(), "seen.txt").as_deref(), Some("1\nsettled\n3\n"));
    assert!(world.rooms().is_empty(), "a room was left");
    assert_eq!(world.processes_of(&run.id()), Vec::<u32>::new());
    world.apply(&text).success().ended("both cached, left cached, right cached");
}

#[test]
fn killed_after_it_answered_the_resume_does_not_ask_again() {
    let world = world();
    let (asked, inside) = (world.gate("asked"), world.gate("inside"));
    let running = world.applying(&workflow(&asked, &inside.script()), &[]).begin();
    asked.arrived();
    asked.open();
    let node = inside.arrived();
    running.signal(libc::SIGKILL);
    running.finish();
    kill(node, libc::SIGKILL);
    until(|| !is_alive(node));
    let resumed = world.spb(["resume", "--events", "ndjson"]).begin();
    inside.arrived();
    inside.open();
    let run = resumed.finish().success();
    assert!(asked.next_if_any().is_none(), "the agent was asked again");
    assert_eq!(world.take_ran(), "both both settle");
    assert_eq!(world.show(&run.branch(), "shared.txt").as_deref(), Some("1\nsettled\n3\n"));
}

#[test]
fn a_signal_ends_it_in_order() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let world = world();
        let gate = world.gate("g");
        let running = world.applying(&workflow(&gate, "true"), &[]).begin();
        let agent = gate.arrived();
        let child = child(&world);
        running.signal(signal);
        let run = running.finish().exits(130).ended("both cancelled, left succeeded, right succeeded");
        assert!(!is_alive(agent) && !is_alive(child), "a process survived signal {signal}");
        assert!(run.stderr.contains("spb resume"), "{run}");
        assert!(world.rooms().is_empty(), "a room was left");
    }
}

#[test]
fn two_spb_with_one_conflict_ask_once() {
    let world = world();
    let gate = world.gate("g");
    let text = workflow(&gate, "true");
    let first = world.applying(&text, &[]).begin();
    gate.arrived();
    // Another node, so that only the conflict is the same.
    let second = world.applying(&text.replace("$HOME/ran; true", "$HOME/ran; true true"), &[]).begin();
    let is_at_the_conflict = |journal: &String| journal.matches("node_finished").count() == 2;
    until(|| world.journals().iter().filter(|journal| is_at_the_conflict(journal)).count() == 2);
    gate.open();
    first.finish().success();
    second.finish().success();
    assert_eq!(world.take_ran(), "both both settle");
}
