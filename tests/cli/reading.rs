//! Verbs that only read: they work on anything that can be read, and never write.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use spb::event::*;
use spb::name::RunId;

use crate::fixture::*;

/// A failed run, with logs.
fn failed(fixture: &Fixture, run: &str) {
    let base = fixture.git(&["rev-parse", "HEAD"]);
    let cached = NodeFinished {
        log: Some(LogPlace { run: RunId::parse(FIRST).unwrap(), node: "plan".to_owned() }),
        ..finished("plan", Outcome::Cached, "nothing changed")
    };
    let plan = if run == FIRST {
        ended("plan", Outcome::Succeeded, "")
    } else {
        RunEvent::NodeFinished(Box::new(cached))
    };
    let end = RunFinished {
        outcome: RunOutcome::Failed,
        duration_ms: 12_400,
        branch: None,
        commit: None,
        message: String::new(),
    };
    fixture.run(
        run,
        vec![
            started(
                &base,
                &[("scout:a", "early"), ("scout:b", "early"), ("plan", "early"), ("test", "late")],
            ),
            ended("scout:a", Outcome::Succeeded, ""),
            ended("scout:b", Outcome::Succeeded, ""),
            plan,
            RunEvent::StageFinished {
                stage: "early".to_owned(),
                commit: None,
                note: Some("nothing changed".to_owned()),
            },
            RunEvent::NodeStarted { node: "test".to_owned(), attempt: 2, why: "never run before".to_owned() },
            ended("test", Outcome::Failed, "exit code 101"),
            RunEvent::RunFinished(end),
        ],
    );
    for (node, text) in [("scout:a", "scouted a\n"), ("scout:b", "scouted b\n"), ("test", "first try\n")] {
        fixture.log(run, node, 1, text.as_bytes());
    }
    fixture.log(run, "test", 2, b"second try \x1b[2J\xff\n");
    if run == FIRST {
        fixture.log(run, "plan", 1, b"planned\n");
    }
}

#[test]
fn a_repository_without_a_store_has_no_runs_and_gets_no_store() {
    let fixture = Fixture::new();
    for (arguments, expect) in [
        (&["runs"][..], "no runs yet\n"),
        (&["runs", "--json"], "[]\n"),
        (&["status"], "no runs yet\n"),
        (&["status", "--json"], "null\n"),
        (&["checkpoint", "list"], "no runs yet\n"),
        (&["checkpoint", "list", "--json"], "[]\n"),
        (&["worktrees", "list"], "no worktrees yet\n"),
        (&["worktrees", "list", "--json"], "[]\n"),
        (&["undo", "--list", "--json"], "[]\n"),
    ] {
        assert_eq!(fixture.good(arguments), expect, "{arguments:?}");
    }
    fixture.good(&["cache", "stats", "--json"]);
    fixture.good(&["doctor"]);
    for arguments in [&["logs"][..], &["cancel"], &["undo"], &["redo"], &["logs", "x"]] {
        let ran = fixture.spb(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.stderr.starts_with("error: "), "{arguments:?}: {}", ran.stderr);
    }
    assert!(!fixture.store().root().exists(), "something was written");
    assert!(!fixture.home().join(".cache").exists(), "something was written");
}

#[test]
fn outside_a_repository_the_error_says_what_to_do() {
    let fixture = Fixture::new();
    let ran = ran(fixture.spb_command(&["runs"]).current_dir(fixture.home()).output().unwrap());
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("is not in a git repository\nhelp: run `git init`"), "{}", ran.stderr);
    let elsewhere = fixture.repository();
    let ran = fixture.spb(&["-C", elsewhere.to_str().unwrap(), "runs"]);
    assert_eq!(ran.stdout, "no runs yet\n");
    let ran = fixture.spb(&["-C", "/nowhere", "runs"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}

#[test]
fn runs_and_status_tell_the_same_story_to_people_and_programs() {
    let fixture = Fixture::new();
    failed(&fixture, FIRST);
    failed(&fixture, SECOND);
    insta::assert_snapshot!(fixture.good(&["runs"]), @r"
    run                   workflow  state   began                 took  nodes                      branch
    20261124-141722-bbbb  feature   failed  2026-11-24 13:17:22  12.4s  2 ran, 1 cached, 1 failed
    20261124-131722-aaaa  feature   failed  2026-11-24 13:17:22  12.4s  3 ran, 1 failed
    ");
    insta::assert_snapshot!(fixture.good(&["status", "aaaa"]), @r"
    feature failed in 12.4s, began 2026-11-24 13:17:22  20261124-131722-aaaa
    3 ran, 1 failed

    node     stage  state      took  why
    scout:a  early  succeeded  3.2s
    scout:b  early  succeeded  3.2s
    plan     early  succeeded  3.2s
    test     late   failed     3.2s  exit code 101

    stage  checkpoint  note
    early  none        nothing changed

    next  spb logs 20261124-131722-aaaa test
          spb resume 20261124-131722-aaaa
    ");
    let runs = fixture.json(&["runs", "--json", "--limit", "1"]);
    assert_eq!(runs[0]["run"], SECOND);
    assert_eq!(runs[0]["counts"]["cached"], 1);
    assert_eq!(runs.as_array().unwrap().len(), 1);
    let status = fixture.json(&["status", "--json"]);
    assert_eq!(status["nodes"][3]["state"], "failed");
    assert_eq!(status["nodes"][2]["log"]["run"], FIRST);
    assert_eq!(fixture.json(&["runs", "--json", "--state", "succeeded"]), serde_json::json!([]));
    assert_eq!(
        fixture.json(&["runs", "--json", "--workflow", "feature", "-n0"]).as_array().unwrap().len(),
        2
    );
    let ran = fixture.spb(&["status", "2026"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("fits several runs"), "{}", ran.stderr);
}

#[test]
fn a_run_without_an_engine_is_interrupted_and_says_how_to_carry_on() {
    let fixture = Fixture::new();
    let begun =
        RunEvent::NodeStarted { node: "test".to_owned(), attempt: 1, why: "never run before".to_owned() };
    fixture.run(FIRST, vec![started(&"0".repeat(40), &[("test", "late")]), begun]);
    let status = fixture.json(&["status", "--json"]);
    assert_eq!(
        (&status["state"], &status["nodes"][0]["state"]),
        (&"interrupted".into(), &"interrupted".into())
    );
    assert_eq!(status["next"][0], format!("spb resume {FIRST}"));
    let told = fixture.good(&["cancel"]);
    assert_eq!(told, format!("run {FIRST} is not running: it is interrupted\n"));
    let ran = fixture.spb(&["logs", "test"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert_eq!(fixture.json(&["doctor", "--json"])["state"], "warn");
}

#[test]
fn logs_are_found_by_node_by_run_and_by_both() {
    let fixture = Fixture::new();
    failed(&fixture, FIRST);
    failed(&fixture, SECOND);
    let raw = |arguments: &[&str]| {
        let output = fixture.spb_command(arguments).output().unwrap();
        (output.status.code().unwrap(), output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(raw(&["logs", "test"]).1, b"second try \x1b[2J\xff\n");
    assert_eq!(raw(&["logs", "aaaa", "test", "--attempt", "1"]).1, b"first try\n");
    assert_eq!(raw(&["logs", "scout"]).1, b"==> scout:a <==\nscouted a\n\n==> scout:b <==\nscouted b\n");
    assert_eq!(raw(&["logs", "scout:b"]).1, b"scouted b\n");
    let (code, stdout, stderr) = raw(&["logs", "plan"]);
    assert_eq!((code, stdout), (0, b"planned\n".to_vec()));
    assert_eq!(stderr, format!("`plan` came from the cache: this is the log of run {FIRST}\n"));
    let (_, all, _) = raw(&["logs", "aaaa"]);
    assert!(all.starts_with(b"==> scout:a <==\n"));
    assert!(all.ends_with(b"\n==> test (attempt 2) <==\nsecond try \x1b[2J\xff\n"));
    for (arguments, code, message) in [
        (&["logs", "tset"][..], 2, "help: did you mean `test`?"),
        (&["logs", "aaaa", "zzz"], 2, "neither a run nor a node"),
        (&["logs", "test", "--attempt", "9"], 2, "it had 2 attempts"),
        (&["logs", "test", "--attempt", "0"], 2, "invalid value"),
    ] {
        let ran = fixture.spb(arguments);
        assert_eq!(ran.code, code, "{arguments:?}");
        assert!(ran.stderr.contains(message), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn following_ends_when_the_node_has_ended() {
    let fixture = Fixture::new();
    // An engine that lives: this test.
    let us = spb::host::this_process();
    let begun = RunEvent::NodeStarted { node: "test".to_owned(), attempt: 1, why: String::new() };
    fixture.run(FIRST, vec![started_by(&"0".repeat(40), &[("test", "late")], us), begun]);
    fixture.log(FIRST, "test", 1, b"one\n");
    let mut child =
        fixture.spb_command(&["logs", "test", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "one\n");
    // What is written before the end is shown, whenever the other side looks.
    fixture.append_log(FIRST, "test", b"two\n");
    fixture.append(FIRST, 3, ended("test", Outcome::Failed, "exit code 1"));
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "two\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_read_only_store_is_read() {
    let fixture = Fixture::new();
    failed(&fixture, FIRST);
    // As root no mode keeps from writing, so what counts is that nothing changes.
    let tree = |fixture: &Fixture| {
        fixture.command("find").args([".git/spb", "-printf", "%p %s %T@\n"]).output().unwrap().stdout
    };
    fixture.command("chmod").args(["-R", "a-w", ".git/spb"]).status().unwrap();
    let before = tree(&fixture);
    for arguments in [
        &["runs"][..],
        &["status"],
        &["logs", "test"],
        &["cache", "stats"],
        &["checkpoint", "list"],
        &["undo", "--list"],
    ] {
        fixture.good(arguments);
    }
    fixture.spb(&["doctor"]);
    assert_eq!(tree(&fixture), before);
    fixture.command("chmod").args(["-R", "u+w", ".git/spb"]).status().unwrap();
}

#[test]
fn a_damaged_journal_is_named_and_hides_no_other_run() {
    let fixture = Fixture::new();
    failed(&fixture, FIRST);
    failed(&fixture, SECOND);
    let path = fixture.store().journal(&RunId::parse(SECOND).unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"seq\":2", "\"seq\":7", 1)).unwrap();
    let ran = fixture.spb(&["runs"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains(FIRST) && !ran.stdout.contains(SECOND), "{}", ran.stdout);
    assert!(ran.stderr.contains("line 2: the checksum does not match"), "{}", ran.stderr);
    let ran = fixture.spb(&["status"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("is damaged: line 2") && ran.stderr.contains("help: "), "{}", ran.stderr);
    let ran = fixture.spb(&["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &report["state"]), (3, &"fail".into()));
}

#[test]
fn a_torn_or_newer_journal_is_told_apart() {
    let fixture = Fixture::new();
    failed(&fixture, FIRST);
    let path = fixture.store().journal(&RunId::parse(FIRST).unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 10]).unwrap();
    assert_eq!(fixture.json(&["status", "--json"])["state"], "interrupted");
    let report = fixture.json(&["doctor", "--json"]);
    let found = report["checks"].as_array().unwrap().iter().any(|check| check["name"] == "journal");
    assert!(found, "{report}");
    std::fs::write(fixture.store().root().join("format"), "99\n").unwrap();
    let ran = fixture.spb(&["runs"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("written by a newer spb"), "{}", ran.stderr);
}

#[test]
fn text_from_a_journal_cannot_move_the_cursor() {
    let fixture = Fixture::new();
    let evil = "\u{1b}]0;title\u{7}\u{1b}[2Jx\r\u{202e}";
    let warning = RunEvent::Warning { node: None, message: evil.to_owned() };
    fixture.run(
        FIRST,
        vec![started(&"0".repeat(40), &[("test", "late")]), warning, ended("test", Outcome::Failed, evil)],
    );
    for arguments in [&["--color", "always", "status"][..], &["--color", "always", "runs"]] {
        let text = fixture.good(arguments);
        let without_colours = anstream::adapter::strip_str(&text).to_string();
        let control = without_colours.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "{arguments:?}: {text:?}");
        assert!(!text.contains("[2J") && !text.contains('\u{202e}'), "{text:?}");
    }
}

#[test]
fn a_closed_or_full_standard_output_is_no_panic() {
    let fixture = Fixture::new();
    failed(&fixture, FIRST);
    for arguments in
        [&["status"][..], &["runs", "--json"], &["completions", "bash"], &["--help"], &["logs", "test"]]
    {
        let mut child =
            fixture.spb_command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Whether it writes before or after this, nothing is said and nothing fails.
        drop(child.stdout.take());
        let closed = ran(child.wait_with_output().unwrap());
        assert_eq!((closed.code, closed.stderr.as_str()), (0, ""), "{arguments:?}");
        if cfg!(target_os = "linux") {
            let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
            let full = ran(fixture.spb_command(arguments).stdout(full).output().unwrap());
            assert_eq!(full.code, 3, "{arguments:?}");
            assert!(full.stderr.starts_with("error: cannot write to standard output"), "{}", full.stderr);
        }
    }
}

#[test]
fn usage_errors_exit_with_2_and_every_verb_teaches_by_example() {
    let fixture = Fixture::new();
    for arguments in [
        &["bogus"][..],
        &[],
        &["apply"],
        &["apply", "x", "-i", "novalue"],
        &["apply", "x", "-j", "0"],
        &["worktrees", "remove"],
    ] {
        assert_eq!(fixture.spb(arguments).code, 2, "{arguments:?}");
    }
    let help = fixture.good(&["--help"]);
    let verbs = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.split_whitespace().next());
    let verbs: Vec<&str> = verbs.filter(|verb| *verb != "help").collect();
    assert!(verbs.len() >= 18, "{verbs:?}");
    for verb in verbs {
        let help = fixture.good(&[verb, "--help"]);
        assert!(help.contains(&format!("Examples:\n  spb {verb}")), "{verb}: {help}");
    }
}

#[test]
fn init_makes_a_workflow_once() {
    let fixture = Fixture::new();
    let told = fixture.good(&["init"]);
    assert!(told.starts_with("made workflows/hello.yaml\n"), "{told}");
    let path = fixture.repository().join("workflows/hello.yaml");
    std::fs::write(&path, "mine").unwrap();
    let ran = fixture.spb(&["init"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("exists already"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    for template in ["hello", "feature"] {
        fixture.good(&["init", "--template", template, &format!("more/{template}.yaml")]);
        let text =
            std::fs::read_to_string(fixture.repository().join(format!("more/{template}.yaml"))).unwrap();
        assert!(!text.contains("$schema") && text.starts_with("# "), "{text}");
    }
}
