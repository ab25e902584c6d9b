//! What steers a terminal, wherever it comes from: on one, nothing of it arrives but colours.

use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};

use crate::common::{World, put};

/// Title, screen, clipboard, link, conceal, cursor, and text that runs backwards; in UTF-8's and ASCII's spelling.
const EVIL: &str = "\u{1b}]0;EVIL\u{7}\u{1b}[2J\u{1b}[1;1H\u{1b}]52;c;ZQ==\u{7}\u{202e}abc\u{9b}31m\r\u{8}\u{7f}\u{1b}]8;;http:e\u{1b}\\x\u{2066}";

/// Runs `spb` on a terminal; gives what reached it.
fn on_terminal(world: &World, words: &[&str]) -> String {
    let (mut main, mut side) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: two numbers that live for the call; the rest is left to the system.
    assert_eq!(unsafe { libc::openpty(&raw mut main, &raw mut side, null, null.cast(), null.cast()) }, 0);
    // SAFETY: both were opened just now, and nobody else has them.
    let (main, side) = unsafe { (OwnedFd::from_raw_fd(main), OwnedFd::from_raw_fd(side)) };
    let mut command = world.spb(words).command;
    command.env("TERM", "xterm").stdout(side.try_clone().unwrap()).stderr(side);
    let mut child = command.env("EVIL", EVIL).spawn().unwrap();
    drop(command);
    let mut bytes = Vec::new();
    // The end of a terminal is an error.
    std::fs::File::from(main).read_to_end(&mut bytes).ok();
    child.wait().unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What remains when colours, line ends and the marks of our own progress display are taken away must be text.
fn steering(shown: &str) -> Vec<String> {
    let own = regex::Regex::new(
        r"\x1b\[[0-9;:]*m|\r\n|\r\x1b\[2K|\x1b\[2K|\x1b\[[0-9]*[AB]|\r\x1b\[J|\x1b\[\?25[hl]|\r",
    )
    .unwrap();
    let shown = own.replace_all(shown, "");
    let steers = |c: &char| {
        (c.is_control() && !"\n\t".contains(*c))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let around =
        |(at, _): (usize, char)| shown[at..].chars().take(20).collect::<String>().escape_debug().to_string();
    shown.char_indices().filter(|(_, c)| steers(c)).map(around).take(3).collect()
}

const WORKFLOW: &str = r#"
description: "d\e[2J"
inputs: { x: { type: string, default: "d\e[2J\u202e" } }
pass_env: [EVIL]
nodes:
  out: { description: "d\e[2J", run: 'printf "%s\n" "$EVIL"; printf "%s\n" "$EVIL" >&2' }
  fail: { run: 'printf "%s\n" "$EVIL"; exit 3' }
  file: { run: 'echo "$EVIL" > "n$EVIL"; echo "$EVIL" >> src/one.txt' }
  stray: { writes: [], run: 'echo x > "n$EVIL"' }
  output: { outputs: { o: {} }, run: 'printf "o<<E_\n%s\nE_\n" "$EVIL" >> $SPB_OUTPUT' }
  undeclared: { run: 'printf "%s=1\n" "$EVIL" >> $SPB_OUTPUT' }
  broken: { run: 'printf "%s" "$EVIL" >> $SPB_OUTPUT' }
  json: { outputs: { o: { stdout: true, format: json } }, run: 'printf "%s\n" "$EVIL"' }
  each: { needs: [output], for_each: "${{ [needs.output.outputs.o] }}", run: 'true' }
  argv: { run: ["${{ inputs.x }}"] }
  directory: { working_directory: "${{ inputs.x }}", run: 'true' }
  when: { when: "inputs.x == 'q\e[2J'", run: 'true' }
  repository: { run: 'git init -q "r$EVIL"' }
  artifact: { artifacts: ["out/*"], run: 'mkdir -p out; echo > "out/$EVIL"' }
  left: { run: 'echo 1 > "c$EVIL"' }
  right: { run: 'echo 2 > "c$EVIL"' }
  conflict: { needs: [left, right], run: 'true' }
  ask: { needs: [output], approve: "Really ${{ needs.output.outputs.o }}" }
"#;

#[test]
fn nothing_that_a_node_says_or_makes_steers_a_terminal() {
    let world = World::with(&[("src/one.txt", "one\n"), (".gitignore", "out/\n")]);
    put(&world.repo.join(EVIL.replace('/', "_")), EVIL);
    world.commit(EVIL);
    let file = world.workflow(WORKFLOW);
    let file = file.to_str().unwrap();
    let mut wrong = Vec::new();
    let mut look = |words: &[&str]| {
        let shown = on_terminal(&world, words);
        assert!(!shown.is_empty(), "{words:?} says nothing");
        let found = steering(&shown);
        if !found.is_empty() {
            wrong.push(format!("{words:?}: {found:?}"));
        }
    };
    look(&["apply", file]);
    for words in [
        "status",
        "status --json",
        "logs",
        "logs out",
        "runs",
        "runs --json",
        "diff",
        "diff file",
        "cache",
        "checkpoint list",
        "worktrees list",
        "doctor",
        "why out",
        "why file",
        "status file",
        "status stray",
        "status ask",
        "resume",
    ] {
        look(&words.split(' ').collect::<Vec<_>>());
    }
    for verb in ["plan", "explain", "validate"] {
        look(&[verb, file]);
    }
    let given = format!("x={EVIL}");
    for words in [
        &[EVIL][..],
        &["apply", EVIL],
        &["apply", file, "-i", EVIL],
        &["plan", file, "-i", &given],
        &["status", EVIL],
        &["logs", EVIL],
        &["why", EVIL],
        &["diff", EVIL],
        &["explain", file, EVIL],
        &["apply", file, "--base", EVIL],
        &["approve", EVIL],
        &["resume", EVIL],
        &["cancel", EVIL],
        &["apply", file, "--only", EVIL],
        &["undo", EVIL],
        &["approve", "--message", EVIL],
    ] {
        look(words);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_in_a_workflow_file_steers_a_terminal() {
    let world = World::new();
    let escaped: String = EVIL.chars().fold(String::new(), |mut text, character| {
        match character {
            ' '..='~' if character != '\\' && character != '"' => text.push(character),
            other => text.push_str(&format!("\\u{:04x}", u32::from(other))),
        }
        text
    });
    let mut wrong = Vec::new();
    for text in [
        "name: \"%\"\nnodes: { a: { run: 'true' } }\n",
        "nodes: { \"%\": { run: 'true' } }\n",
        "nodes: { a: { needs: [\"%\"], run: 'true' } }\n",
        "nodes: { a: { env: { \"%\": x }, run: 'true' } }\n",
        "nodes: { a: { timeout: \"%\", run: 'true' } }\n",
        "nodes: { a: { when: \"%\", run: 'true' } }\n",
        "stages: [\"%\"]\nnodes: { a: { run: 'true' } }\n",
        "nodes: { a: { uses: \"./%\" } }\n",
        "result: { branch: \"%\" }\nnodes: { a: { run: 'true' } }\n",
        "worktrees: { base: \"%\" }\nnodes: { a: { run: 'true' } }\n",
        "inputs: { x: { type: string, default: \"%\", pattern: a } }\nnodes: { a: { env: { X: '${{ inputs.x }}' }, run: 'true' } }\n",
        "nodes: { a: { secrets: [\"%\"], run: 'true' } }\n",
        "nodes: { a: { reads: [\"%\"], run: [\"%\"] } }\n",
    ] {
        for evil in [EVIL, &escaped] {
            let file = world.workflow(&text.replace('%', evil));
            for verb in ["validate", "explain", "plan", "apply"] {
                let found = steering(&on_terminal(&world, &[verb, file.to_str().unwrap()]));
                wrong.extend((!found.is_empty()).then(|| format!("{verb} {text}: {found:?}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
