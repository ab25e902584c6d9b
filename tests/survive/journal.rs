//! Journals that were cut, damaged or written by another version.

use std::fs;
use std::path::PathBuf;

use crate::common::{Run, World};

const WORKFLOW: &str = r#"
nodes:
  a: { run: 'echo a >> "$HOME/ran"; echo a > a.txt' }
  b: { needs: [a], run: 'echo b >> "$HOME/ran"; test -e "$HOME/ok"; cat a.txt > b.txt' }
  c: { needs: [b], run: 'echo c >> "$HOME/ran"; cat b.txt > c.txt' }
"#;

/// A run that failed at `b`, so that it can be carried on.
fn failed() -> (World, Run, PathBuf) {
    let world = World::new();
    let run = world.apply(WORKFLOW).exits(1).ended("a succeeded, b failed, c skipped");
    world.take_ran();
    let journal = world.journal(&run.id());
    fs::write(world.home().join("ok"), "").unwrap();
    (world, run, journal)
}

#[track_caller]
fn readable(world: &World) {
    for words in [&["status"][..], &["status", "--json"], &["runs"], &["logs"], &["runs", "--json"]] {
        world.spb(words).run().success();
    }
}

#[test]
fn a_torn_tail_is_cut_and_the_run_carried_on() {
    for part in 1..12 {
        let (world, run, journal) = failed();
        let whole = fs::read(&journal).unwrap();
        let beginning = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let torn = &whole[..beginning + (whole.len() - beginning) * part / 12];
        fs::write(&journal, torn).unwrap();
        readable(&world);
        let resumed = world.resume().success();
        assert_eq!(resumed.id(), run.id());
        assert_eq!(world.show(&resumed.branch(), "c.txt").as_deref(), Some("a\n"));
        let lines = &torn[..torn.iter().rposition(|&byte| byte == b'\n').unwrap()];
        let had_a = String::from_utf8_lossy(lines).contains("\"event\":\"node_finished\",\"node\":\"a\"");
        // Without its record it runs again, or comes from the index, which has it already.
        let ran = world.take_ran();
        assert!(ran == "b c" || !had_a && ran == "a b c", "part {part}: {ran}");
        readable(&world);
        world.apply(WORKFLOW).success().ended("a cached, b cached, c cached");
    }
}

#[test]
fn a_journal_without_its_beginning_is_no_run_or_says_so() {
    for keep in [0, 1, 50, 300] {
        let (world, run, journal) = failed();
        let whole = fs::read(&journal).unwrap();
        fs::write(&journal, &whole[..keep]).unwrap();
        for words in [&["status"][..], &["runs"], &["resume"], &["logs"], &["cancel"]] {
            let answer = world.spb(words).run();
            assert!(matches!(answer.code(), Some(0 | 2 | 3)), "{words:?} {answer}");
            assert!(answer.code() == Some(0) || answer.stderr.contains("error:"), "{words:?} {answer}");
        }
        let again = world.apply(WORKFLOW).success();
        assert_ne!(again.id(), run.id());
        world.spb(["status"]).run().success();
    }
}

#[test]
fn damage_in_the_middle_is_told_with_its_line_and_nothing_is_restarted_silently() {
    let (world, run, journal) = failed();
    let whole = fs::read_to_string(&journal).unwrap();
    let damaged = whole.replacen("\"outcome\":\"succeeded\"", "\"outcome\":\"succeede!\"", 1);
    assert_ne!(whole, damaged);
    fs::write(&journal, &damaged).unwrap();
    let line = 1 + whole.lines().position(|line| line.contains("\"outcome\":\"succeeded\"")).unwrap();
    let id = run.id();
    for words in [&["status"][..], &["resume"], &["logs"], &["resume", &id], &["status", &id]] {
        let answer = world.spb(words).run().exits(3);
        assert!(answer.stderr.contains(&format!("line {line}")), "{words:?} {answer}");
        assert!(answer.stderr.contains("journal.ndjson"), "{words:?} {answer}");
    }
    assert_eq!(world.take_ran(), "");
    assert_eq!(fs::read_to_string(&journal).unwrap(), damaged, "a damaged journal was written to");
    // Other runs are not in its way.
    world.spb(["runs"]).run().success();
    world.apply(WORKFLOW).success();
    world.spb(["status"]).run().success();
}

#[test]
fn a_garbage_tail_is_cut() {
    for garbage in [&b"\0\0\0\0\0\0\0\0"[..], b"{\"run\":", b"garbage\n", b"\xff\xfe\n\n{}\n", &[b'\n'; 100]]
    {
        let (world, _, journal) = failed();
        let mut bytes = fs::read(&journal).unwrap();
        bytes.extend_from_slice(garbage);
        fs::write(&journal, bytes).unwrap();
        readable(&world);
        world.resume().success();
        assert_eq!(world.take_ran(), "b c");
        readable(&world);
    }
}

#[test]
fn a_changed_workflow_file_is_told_and_the_run_goes_on_with_its_own() {
    let (world, run, _) = failed();
    world.workflow(&WORKFLOW.replace("cat b.txt > c.txt", "echo other > c.txt"));
    let resumed = world.resume().success();
    assert!(resumed.stderr.contains("has changed since"), "{resumed}");
    assert_eq!(world.show(&resumed.branch(), "c.txt").as_deref(), Some("a\n"));
    let again = world.spb(["resume", &run.id()]).run().success();
    assert!(again.stderr.contains("succeeded already"), "{again}");
}

#[test]
fn included_files_that_changed_are_told_and_the_run_goes_on_with_its_own() {
    let world = World::new();
    let nodes = |text: &str| format!("version: 1\n{}", text.trim_start());
    let included = world.named_workflow("part", &nodes(&WORKFLOW.replace("needs: [b]", "needs: [b, own]")));
    let further = world.named_workflow("further", "nodes: { own: { run: 'echo own >> \"$HOME/ran\"' } }");
    let main = "include: [{ file: ./part.yaml, prefix: p }, ./further.yaml]";
    let run = world.apply(main).exits(1).ended("own succeeded, p-a succeeded, p-b failed, p-c skipped");
    world.take_ran();
    fs::write(world.home().join("ok"), "").unwrap();
    let text = fs::read_to_string(&included).unwrap();
    fs::write(&included, text.replace("cat b.txt > c.txt", "echo other > c.txt")).unwrap();
    fs::remove_file(further).unwrap();
    let resumed = world.resume().success();
    assert_eq!(resumed.id(), run.id());
    assert!(resumed.stderr.contains("wf/part.yaml` has changed since"), "{resumed}");
    assert_eq!(world.take_ran(), "b c");
    assert_eq!(world.show(&resumed.branch(), "c.txt").as_deref(), Some("a\n"));
}

#[test]
fn used_files_that_changed_are_told_and_the_run_goes_on_with_its_own() {
    let world = World::new();
    let outputs = "outputs: { text: \"${{ needs.c.outputs.text }}\" }\n";
    let inner = WORKFLOW.replace(
        "cat b.txt > c.txt' }",
        "cat b.txt > c.txt; echo text=c >> \"$SPB_OUTPUT\"', outputs: { text: {} } }",
    );
    let used = world.named_workflow("inner", &format!("{outputs}{inner}"));
    world.named_workflow(
        "middle",
        "outputs: { text: \"${{ needs.m.outputs.text }}\" }\nnodes: { m: { uses: ./inner.yaml } }",
    );
    let main = r#"
nodes:
  u: { uses: ./middle.yaml }
  last: { needs: [u], env: { TEXT: "${{ needs.u.outputs.text }}" }, run: 'echo "$TEXT" > text.txt' }
"#;
    let run = world.apply(main).exits(1);
    assert_eq!(world.take_ran(), "a b", "{run}");
    fs::write(world.home().join("ok"), "").unwrap();
    fs::write(&used, "version: 1\nnodes: { other: { run: make } }\n").unwrap();
    let resumed = world.resume().success();
    assert!(resumed.stderr.contains("wf/inner.yaml` has changed since"), "{resumed}");
    assert_eq!(world.take_ran(), "b c");
    assert_eq!(world.show(&resumed.branch(), "c.txt").as_deref(), Some("a\n"));
    assert_eq!(world.show(&resumed.branch(), "text.txt").as_deref(), Some("c\n"));
}

#[test]
fn a_missing_or_damaged_copy_of_the_workflow_is_told() {
    let (world, _, _) = failed();
    let copy = world.all_files(&world.store().join("workflows")).remove(0);
    let text = fs::read_to_string(&copy).unwrap();
    fs::write(&copy, text.replace("a.txt", "x.txt")).unwrap();
    let run = world.spb(["resume"]).run().exits(3);
    assert!(run.stderr.contains("damaged") && run.stderr.contains("spb apply"), "{run}");
    fs::remove_file(&copy).unwrap();
    let run = world.spb(["resume"]).run().exits(3);
    assert!(run.stderr.contains("spb apply"), "{run}");
    assert_eq!(world.take_ran(), "");
    // A new run writes it again, damaged or missing.
    fs::write(&copy, "damaged").unwrap();
    world.apply(WORKFLOW).success();
    assert_eq!(fs::read_to_string(&copy).unwrap(), text);
}

#[test]
fn a_journal_of_a_newer_version_is_refused_by_name() {
    let (world, run, journal) = failed();
    let text = fs::read_to_string(&journal).unwrap();
    let first =
        text.lines().next().unwrap().replace(&format!("\"format\":{}", spb::event::FORMAT), "\"format\":99");
    let body = first.rsplit_once(",\"sum\":\"").unwrap().0;
    let sum = &blake3::hash(body.as_bytes()).to_hex()[..16];
    let rest: String = text.lines().skip(1).map(|line| format!("{line}\n")).collect();
    fs::write(&journal, format!("{body},\"sum\":\"{sum}\"}}\n{rest}")).unwrap();
    for words in [&["status", &run.id()][..], &["resume", &run.id()]] {
        let answer = world.spb(words).run().exits(3);
        assert!(answer.stderr.contains("newer"), "{answer}");
    }
}

#[test]
fn a_finished_node_whose_commit_is_gone_runs_again() {
    let (world, _, _) = failed();
    let refs = world.git(&["for-each-ref", "--format=%(refname)", "refs/spb"]);
    for name in refs.lines() {
        world.git(&["update-ref", "-d", name]);
    }
    world.spb(["worktrees", "remove", "--all"]).run().success();
    world.git(&["gc", "-q", "--prune=now"]);
    let run = world.resume().success();
    assert_eq!(world.take_ran(), "a b c");
    assert_eq!(world.show(&run.branch(), "c.txt").as_deref(), Some("a\n"));
}
