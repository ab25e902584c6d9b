//! One made-up run, shown by every report.
#![allow(clippy::disallowed_methods, reason = "tests write logs")]

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use super::lines::Lines;
use super::*;
use crate::event::*;
use crate::store::recorder::Notice;
use crate::store::{Store, journal};

const RUN: &str = "20261124-131722-k3f9";
const BASE: &str = "0123456789abcdef0123456789abcdef01234567";
const COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";

pub fn run_id() -> RunId {
    RunId::parse(RUN).unwrap()
}

fn started(nodes: &[&str]) -> RunEvent {
    let node = |name: &&str| NodeSummary {
        node: (*name).to_owned(),
        stage: "main".to_owned(),
        needs: Vec::new(),
        external: false,
        given: None,
    };
    RunEvent::RunStarted(Box::new(RunStarted {
        format: FORMAT,
        version: "0.1.0".to_owned(),
        workflow: "feature".to_owned(),
        file: "workflows/feature.yaml".to_owned(),
        source: "00".repeat(32),
        further_sources: IndexMap::new(),
        base: BASE.to_owned(),
        base_revision: "HEAD".to_owned(),
        inputs: IndexMap::new(),
        jobs: 2,
        nodes: nodes.iter().map(node).collect(),
        stages: vec!["main".to_owned()],
        options: Options::default(),
        engine: Engine {
            process: Process { pid: 1, started: 1, boot: "another boot".to_owned() },
            host: "host".to_owned(),
        },
        repeats: None,
    }))
}

fn begins(node: &str, why: &str) -> RunEvent {
    RunEvent::NodeStarted { node: node.to_owned(), attempt: 1, why: why.to_owned() }
}

fn ends(node: &str, outcome: Outcome, message: &str) -> NodeFinished {
    let ran = matches!(outcome, Outcome::Succeeded | Outcome::Failed | Outcome::TimedOut);
    NodeFinished {
        attempts: u32::from(ran),
        duration_ms: if ran { 3_250 } else { 0 },
        saved_ms: if outcome == Outcome::Cached { 65_000 } else { 0 },
        ..NodeFinished::without_run(node, outcome, message)
    }
}

fn ended(node: &str, outcome: Outcome, message: &str) -> RunEvent {
    RunEvent::NodeFinished(Box::new(ends(node, outcome, message)))
}

fn finished(outcome: RunOutcome, branch: Option<&str>, message: &str) -> RunEvent {
    RunEvent::RunFinished(RunFinished {
        outcome,
        duration_ms: 12_400,
        branch: branch.map(str::to_owned),
        commit: branch.map(|_| COMMIT.to_owned()),
        message: message.to_owned(),
    })
}

pub fn records(events: Vec<RunEvent>) -> Vec<Record> {
    let record =
        |(seq, event)| Record { run: run_id(), seq, time: "2026-11-24T13:17:22.000Z".to_owned(), event };
    (1..).zip(events).map(record).collect()
}

pub fn folded(events: Vec<RunEvent>) -> Runs {
    let mut runs = Runs::new();
    records(events).into_iter().for_each(|record| fold(&mut runs, &Notice::Fact(record)));
    runs
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

pub fn failing() -> Vec<RunEvent> {
    let allowed = NodeFinished {
        allowed_to_fail: true,
        exit_code: Some(7),
        ..ends("scout:tests", Outcome::Failed, "exit code 7")
    };
    vec![
        started(&["scout:tests", "plan", "build", "test", "document"]),
        begins("scout:tests", "never run before"),
        RunEvent::NodeFinished(Box::new(allowed)),
        ended("plan", Outcome::Cached, "nothing changed"),
        begins("build", "src/lib.rs changed"),
        RunEvent::NodeRetry {
            node: "build".to_owned(),
            attempt: 1,
            delay_ms: 500,
            because: "exit code 1".to_owned(),
        },
        RunEvent::NodeStarted { node: "build".to_owned(), attempt: 2, why: "src/lib.rs changed".to_owned() },
        ended("build", Outcome::Succeeded, ""),
        RunEvent::Warning {
            node: Some("build".to_owned()),
            message: "two\nlines \u{1b}[2J of \u{202e}warning".to_owned(),
        },
        begins("test", "never run before"),
        ended("test", Outcome::Failed, "exit code 101"),
        ended("document", Outcome::Skipped, "`test` failed"),
        RunEvent::StageFinished { stage: "main".to_owned(), commit: Some(COMMIT.to_owned()), note: None },
        finished(RunOutcome::Failed, None, ""),
    ]
}

/// A place that a sink on another thread writes to.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn shown(sink: impl FnOnce(Shared) -> Box<dyn Sink>, events: Vec<RunEvent>) -> String {
    let out = Shared::default();
    let (sender, receiver) = channel();
    let consumer = consume(receiver, vec![sink(out.clone())], Vec::new());
    records(events).into_iter().for_each(|record| sender.send(Notice::Fact(record)).unwrap());
    drop(sender);
    assert_eq!(consumer.join().len(), 1);
    out.text()
}

#[test]
fn plain_lines_tell_every_fact_once() {
    let text = shown(|out| Box::new(Lines::new(out)), failing());
    insta::assert_snapshot!(plain(&text).trim_start(), @r"
    feature: run 20261124-131722-k3f9 of 5 nodes from 0123456789ab (HEAD), 2 at the same time
      start     scout:tests  never run before
      failed    scout:tests  exit code 7, allowed, 3.2s
      cached    plan
      start     build  src/lib.rs changed
      retry     build  attempt 1: exit code 1; again in 500ms
      start     build  attempt 2
      ok        build  3.2s
      warning   build: two lines  of <U+202E>warning
      start     test  never run before
      failed    test  exit code 101, 3.2s
      skipped   document  `test` failed
      stage     main  checkpoint 89abcdef0123
    feature: failed in 12.4s
    ");
}

#[test]
fn events_are_the_lines_of_the_journal() {
    let text = shown(|out| Box::new(json::Events::new(out, std::sync::mpsc::channel().0)), failing());
    let expect: String = records(failing()).iter().map(journal::encode).collect();
    assert_eq!(text, expect);
}

/// Notes every attempt to write, and fails it.
struct Closed(Shared);

impl std::io::Write for Closed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        self.0.write_all(b"x")?;
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_is_not_written_to_again() {
    let attempts = Shared::default();
    let mut sink = json::Events::new(Closed(attempts.clone()), std::sync::mpsc::channel().0);
    let runs = folded(failing());
    for record in records(failing()) {
        sink.notice(&Notice::Fact(record), &runs);
        sink.idle(&runs);
    }
    sink.end(&runs);
    assert_eq!(attempts.text(), "x");
}

#[test]
fn the_summary_of_a_failed_run_shows_what_failed_and_what_to_type() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::at(directory.path());
    let log = store.log(&run_id(), "test", 1);
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::fs::write(&log, "running 1 test\n\u{1b}[31mFAILED\u{1b}[0m\u{1b}[2J\n10%\r100%\r\nlast").unwrap();
    let runs = folded(failing());
    let text = summary::render(runs.values(), &store, |_| None);
    insta::assert_snapshot!(plain(&text).trim_start(), @r"
    failed scout:tests: exit code 7, allowed, 3.2s

    failed test: exit code 101, 3.2s
        running 1 test
        FAILED
        100%
        last

    feature failed in 12.4s  20261124-131722-k3f9
      nodes        1 ran, 1 cached, 2 failed, 1 skipped
      saved        1m 05s by the cache
      checkpoints  main
      warning      build: two lines  of <U+202E>warning
      next         spb logs 20261124-131722-k3f9 test
                   spb resume 20261124-131722-k3f9
    ");
    assert!(text.contains("\u{1b}[31mFAILED") && !text.contains("\u{1b}[2J"), "{text:?}");
}

#[test]
fn long_output_is_cut_at_its_beginning_with_a_pointer_to_all_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::at(directory.path());
    let log = store.log(&run_id(), "test", 1);
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    let long: String = (1..=1000).map(|number| format!("line {number}\n")).collect();
    std::fs::write(&log, long).unwrap();
    let text = plain(&summary::render(folded(failing()).values(), &store, |_| None));
    assert!(
        text.contains(
            "    ... the end of its output; all of it: spb logs 20261124-131722-k3f9 test\n    line 801\n"
        ),
        "{text}"
    );
    assert!(text.contains("    line 1000\n\nfeature failed"), "{text}");
}

#[test]
fn the_summary_of_a_good_run_ends_with_the_branch() {
    let store = Store::at(std::path::Path::new("/nowhere"));
    let branch = "spb/feature/20261124-131722-k3f9";
    let runs = folded(vec![
        started(&["plan", "build"]),
        ended("plan", Outcome::Cached, ""),
        begins("build", ""),
        ended("build", Outcome::Succeeded, ""),
        finished(RunOutcome::Succeeded, Some(branch), ""),
    ]);
    let text = summary::render(runs.values(), &store, |_| Some(7));
    insta::assert_snapshot!(plain(&text).trim_start(), @r"
    feature succeeded in 12.4s  20261124-131722-k3f9
      nodes        1 ran, 1 cached
      saved        1m 05s by the cache
      branch       spb/feature/20261124-131722-k3f9 at 89abcdef0123, 7 files changed
      next         git diff HEAD...spb/feature/20261124-131722-k3f9
                   git merge spb/feature/20261124-131722-k3f9
    ");
}

#[test]
fn json_has_the_counts_the_nodes_and_the_next_commands() {
    let runs = folded(failing());
    let value = serde_json::to_value(summary::json(runs.values(), |_| None)).unwrap();
    let run = &value["runs"][0];
    insta::assert_json_snapshot!(run["counts"], @r#"
    {
      "total": 5,
      "ran": 1,
      "cached": 1,
      "failed": 2,
      "skipped": 1,
      "cancelled": 0,
      "running": 0,
      "asking": 0,
      "waiting": 0
    }
    "#);
    assert_eq!(run["state"], "failed");
    assert_eq!(run["nodes"][3]["why"], "exit code 101");
    assert_eq!(run["next"][1], "spb resume 20261124-131722-k3f9");
    assert_eq!(run["changed_files"], serde_json::Value::Null);
}

#[test]
fn several_runs_name_the_workflow_before_the_node() {
    let mut runs = folded(failing());
    let mut other = runs[&run_id()].clone();
    other.run = RunId::parse("20261124-131722-zzzz").unwrap();
    runs.insert(other.run.clone(), other);
    let record = records(failing()).remove(10);
    let line = lines::line(&record, &runs, lines::Marks::Ticks).unwrap();
    assert_eq!(plain(&line), "  ✗ feature/test  exit code 101, 3.2s");
}

#[test]
fn a_resumed_run_waits_again_for_what_had_not_succeeded() {
    let mut events = failing();
    let RunEvent::RunStarted(first) = &events[0] else { unreachable!() };
    let engine = first.engine.clone();
    events.push(RunEvent::RunResumed { engine, finished: 2, assumed: Vec::new(), again: Vec::new() });
    let runs = folded(events);
    let counts = shape::counts(&runs[&run_id()]);
    assert_eq!((counts.ran, counts.cached, counts.failed, counts.waiting), (1, 1, 0, 3));
}
