//! The prompt on a terminal: what is typed, what is not, and answers from elsewhere.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::SHIP;
use crate::common::{World, until};

/// `spb` on a terminal of its own.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    fn new(world: &World, words: &[&str]) -> Self {
        let (mut main, mut side) = (0, 0);
        let null = std::ptr::null_mut();
        // SAFETY: both numbers live for the call, the rest is left out.
        assert_eq!(unsafe { libc::openpty(&raw mut main, &raw mut side, null, null.cast(), null.cast()) }, 0);
        // SAFETY: the call above made them, and nobody else owns them.
        let (main, side) = unsafe { (File::from_raw_fd(main), OwnedFd::from_raw_fd(side)) };
        // SAFETY: as any descriptor of ours.
        unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&main), libc::F_SETFD, libc::FD_CLOEXEC) };
        let mut command = world.spb(words).command;
        command.env("TERM", "xterm");
        command.stdin(side.try_clone().unwrap()).stdout(side.try_clone().unwrap()).stderr(side);
        // SAFETY: only system calls between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop(command);
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut reader, shown) = (main.try_clone().unwrap(), Arc::clone(&screen));
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The other end is gone: an error.
            while let Ok(count) = reader.read(&mut bytes) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { child, keyboard: main, screen, reader }
    }

    fn shown(&self, words: &str) -> usize {
        self.screen.lock().unwrap().matches(words).count()
    }

    /// Waits until these words were shown so many times.
    #[track_caller]
    fn sees(&self, words: &str, times: usize) {
        until(|| self.shown(words) >= times);
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    #[track_caller]
    fn exits(mut self, code: i32) -> String {
        let status = self.child.wait().unwrap();
        // All that it wrote is on the screen.
        self.reader.join().unwrap();
        let screen = self.screen.lock().unwrap().clone();
        assert_eq!(status.code(), Some(code), "{screen}");
        screen
    }
}

const PROMPT: &str = "answers later >";

fn terminal(world: &World, workflow: &str, words: &[&str]) -> Terminal {
    let file = world.workflow(workflow);
    let mut all = vec!["apply", file.to_str().unwrap()];
    all.extend(words);
    Terminal::new(world, &all)
}

#[test]
fn a_yes_at_the_terminal_is_taken_with_its_words() {
    for words in [&[][..], &["--no-progress"]] {
        let world = World::new();
        let mut terminal = terminal(&world, SHIP, words);
        terminal.sees(PROMPT, 1);
        terminal.types("yes looks $(good) to me\n");
        let screen = terminal.exits(0);
        assert!(screen.contains("asks: Ship it?") && screen.contains("approved by Tester"), "{screen}");
        let outputs = &world.node("gate")["outputs"];
        assert_eq!((&outputs["message"], &outputs["by"]), (&"looks $(good) to me".into(), &"Tester".into()));
    }
}

#[test]
fn a_no_is_a_failure_and_an_unclear_word_is_asked_about_again() {
    let world = World::new();
    let mut terminal = terminal(&world, SHIP, &[]);
    terminal.sees(PROMPT, 1);
    terminal.types("ship\n");
    terminal.sees(PROMPT, 2);
    terminal.types("n never\n");
    let screen = terminal.exits(1);
    assert!(screen.contains("rejected by Tester: never"), "{screen}");
}

#[test]
fn enter_or_the_end_of_input_leaves_with_4_and_with_wait_it_stays() {
    for keys in ["\n", "\u{4}"] {
        let world = World::new();
        let mut terminal = terminal(&world, SHIP, &[]);
        terminal.sees(PROMPT, 1);
        terminal.types(keys);
        let screen = terminal.exits(4);
        assert!(screen.contains("spb approve"), "{screen}");
        assert_eq!(world.state(), "waiting");
    }
    let world = World::new();
    let mut terminal = terminal(&world, SHIP, &["--wait"]);
    terminal.sees(PROMPT, 1);
    terminal.types("\n");
    terminal.sees("waiting for an answer by `spb approve`", 1);
    world.say(&["approve"]).success();
    terminal.exits(0);
}

#[test]
fn ctrl_c_stops_the_run_and_the_question_stays() {
    let world = World::new();
    let mut terminal = terminal(&world, SHIP, &[]);
    terminal.sees(PROMPT, 1);
    terminal.types("\u{3}");
    terminal.exits(130);
    assert_eq!(world.state(), "cancelled");
    world.say(&["approve", "gate", "--resume"]).success();
}

#[test]
fn an_answer_from_elsewhere_ends_the_prompt() {
    let world = World::new();
    let mut terminal = terminal(&world, SHIP, &[]);
    terminal.sees(PROMPT, 1);
    terminal.types("half a li");
    let said = world.say(&["approve", "-m", "by another terminal"]).success();
    assert!(said.stdout.contains("the run goes on"), "{said}");
    let screen = terminal.exits(0);
    assert!(screen.contains("by another terminal"), "{screen}");
}

#[test]
fn two_questions_are_put_one_after_the_other() {
    let world = World::new();
    let workflow = "nodes:\n  one: { approve: First? }\n  two: { approve: Second? }\n";
    let mut terminal = terminal(&world, workflow, &[]);
    terminal.sees(PROMPT, 1);
    terminal.types("y a\n");
    terminal.sees(PROMPT, 2);
    terminal.types("y b\n");
    let screen = terminal.exits(0);
    assert!(screen.contains("asks: First?") && screen.contains("asks: Second?"), "{screen}");
    // In the order in which they were put.
    let words = ["one", "two"].map(|node| world.node(node)["outputs"]["message"].clone());
    assert_eq!(words, ["a", "b"]);
}

#[test]
fn with_wait_each_question_can_be_put_off() {
    let world = World::new();
    let workflow = "nodes:\n  one: { approve: First? }\n  two: { approve: Second? }\n";
    let mut terminal = terminal(&world, workflow, &["--wait"]);
    terminal.sees(PROMPT, 1);
    terminal.types("\n");
    terminal.sees(PROMPT, 2);
    terminal.types("y\n");
    crate::common::until(|| world.node("two")["state"] == "succeeded");
    world.say(&["approve", "one"]).success();
    terminal.exits(0);
}

#[test]
fn what_is_typed_before_the_question_is_no_answer() {
    let world = World::new();
    let busy = world.gate("busy");
    let workflow = format!("{SHIP}  busy: {{ run: \"{}\" }}\n", busy.script());
    let mut terminal = terminal(&world, &workflow, &[]);
    busy.arrived();
    terminal.types("y\ny\ny\n");
    terminal.sees("y", 3);
    assert_eq!(terminal.shown(PROMPT), 0, "something else still runs");
    busy.open();
    terminal.sees(PROMPT, 1);
    terminal.types("n not this\n");
    terminal.exits(1);
    assert_eq!(world.node("gate")["outputs"]["message"], "not this");
}

#[test]
fn nobody_is_asked_where_nobody_reads() {
    for words in [&["--json"][..], &["--events", "ndjson"], &["--quiet"]] {
        let world = World::new();
        let screen = terminal(&world, SHIP, words).exits(4);
        assert!(!screen.contains(PROMPT), "{screen}");
    }
}
