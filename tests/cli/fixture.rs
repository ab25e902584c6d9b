//! A repository in a directory of its own, with runs whose journals are written by hand. Nothing of the user's
//! environment or configuration is seen.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use indexmap::IndexMap;
use spb::event::*;
use spb::name::RunId;
use spb::store::{Store, journal};

pub const FIRST: &str = "20261124-131722-aaaa";
pub const SECOND: &str = "20261124-141722-bbbb";

pub struct Fixture {
    home: tempfile::TempDir,
}

/// What a command left.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Fixture {
    pub fn new() -> Self {
        let fixture = Self { home: tempfile::tempdir().unwrap() };
        std::fs::create_dir(fixture.repository()).unwrap();
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture.commit("a.txt", "one\n");
        fixture
    }

    pub fn repository(&self) -> PathBuf {
        self.home.path().join("repository")
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn store(&self) -> Store {
        Store::at(&self.repository().join(".git"))
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.repository()).env_clear();
        for (name, value) in [
            ("PATH", std::env::var("PATH").unwrap().as_str()),
            ("HOME", self.home.path().to_str().unwrap()),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "A"),
            ("GIT_AUTHOR_EMAIL", "a@localhost"),
            ("GIT_COMMITTER_NAME", "A"),
            ("GIT_COMMITTER_EMAIL", "a@localhost"),
            ("TZ", "UTC"),
        ] {
            command.env(name, value);
        }
        command
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        let ran = ran(self.command("git").args(arguments).output().unwrap());
        assert_eq!(ran.code, 0, "git {arguments:?}: {}", ran.stderr);
        ran.stdout.trim().to_owned()
    }

    /// Commits a file and gives the commit.
    pub fn commit(&self, name: &str, text: &str) -> String {
        std::fs::write(self.repository().join(name), text).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", name]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn spb_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_spb"));
        command.args(arguments);
        command
    }

    pub fn spb(&self, arguments: &[&str]) -> Ran {
        ran(self.spb_command(arguments).output().unwrap())
    }

    /// The same, which must succeed.
    #[track_caller]
    pub fn good(&self, arguments: &[&str]) -> String {
        let ran = self.spb(arguments);
        assert_eq!(ran.code, 0, "spb {arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.good(arguments)).unwrap()
    }

    /// Writes a run's journal.
    pub fn run(&self, run: &str, events: Vec<RunEvent>) {
        self.store().prepare().unwrap();
        let run = RunId::parse(run).unwrap();
        let path = self.store().journal(&run);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let time = "2026-11-24T13:17:22.000Z".to_owned();
        let lines = (1..).zip(events).map(|(seq, event)| {
            journal::encode(&Record { run: run.clone(), seq, time: time.clone(), event })
        });
        std::fs::write(path, lines.collect::<String>()).unwrap();
    }

    /// Adds a fact to a run, as its engine does.
    pub fn append(&self, run: &str, seq: u64, event: RunEvent) {
        let run = RunId::parse(run).unwrap();
        let time = "2026-11-24T13:17:25.000Z".to_owned();
        let line = journal::encode(&Record { run: run.clone(), seq, time, event });
        append(&self.store().journal(&run), line.as_bytes());
    }

    pub fn append_log(&self, run: &str, node: &str, bytes: &[u8]) {
        append(&self.store().log(&RunId::parse(run).unwrap(), node, 1), bytes);
    }

    pub fn log(&self, run: &str, node: &str, attempt: u32, bytes: &[u8]) {
        let path = self.store().log(&RunId::parse(run).unwrap(), node, attempt);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// A run of two stages that succeeded, with a checkpoint after each: the two commits.
    pub fn run_with_checkpoints(&self) -> (String, String) {
        let base = self.git(&["rev-parse", "HEAD"]);
        let first = self.commit("b.txt", "two\n");
        let second = self.commit("c.txt", "three\n");
        self.git(&["reset", "-q", "--hard", &base]);
        let stage = |stage: &str, commit: &str| RunEvent::StageFinished {
            stage: stage.to_owned(),
            commit: Some(commit.to_owned()),
            note: None,
        };
        let branch = format!("spb/feature/{FIRST}");
        let end = RunFinished {
            outcome: RunOutcome::Succeeded,
            duration_ms: 1_000,
            branch: Some(branch.clone()),
            commit: Some(second.clone()),
            message: String::new(),
        };
        self.git(&["branch", &branch, &second]);
        self.operation(&branch, None, Some(&second));
        self.run(
            FIRST,
            vec![
                started(&base, &[("plan", "early"), ("build", "late")]),
                stage("early", &first),
                stage("late", &second),
                RunEvent::RunFinished(end),
            ],
        );
        (first, second)
    }

    /// Notes what an apply did to a branch.
    pub fn operation(&self, branch: &str, before: Option<&str>, after: Option<&str>) {
        self.store().prepare().unwrap();
        let operation = spb::store::operations::Operation {
            time: "2026-11-24T13:17:22Z".to_owned(),
            what: "apply feature".to_owned(),
            reference: format!("refs/heads/{branch}"),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        spb::store::operations::add(&self.store(), operation).unwrap();
    }
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

pub fn ran(output: Output) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    Ran {
        code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The start of a run of these nodes and stages, by an engine that is gone.
pub fn started(base: &str, nodes: &[(&str, &str)]) -> RunEvent {
    started_by(base, nodes, Process { pid: 1, started: 1, boot: "another boot".to_owned() })
}

pub fn started_by(base: &str, nodes: &[(&str, &str)], process: Process) -> RunEvent {
    let mut stages: Vec<String> = nodes.iter().map(|(_, stage)| (*stage).to_owned()).collect();
    stages.dedup();
    let node = |(node, stage): &(&str, &str)| NodeSummary {
        node: (*node).to_owned(),
        stage: (*stage).to_owned(),
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
        base: base.to_owned(),
        base_revision: "HEAD".to_owned(),
        inputs: IndexMap::new(),
        jobs: 2,
        nodes: nodes.iter().map(node).collect(),
        stages,
        options: Options::default(),
        engine: Engine { process, host: "host".to_owned() },
        repeats: None,
    }))
}

pub fn ended(node: &str, outcome: Outcome, message: &str) -> RunEvent {
    RunEvent::NodeFinished(Box::new(finished(node, outcome, message)))
}

pub fn finished(node: &str, outcome: Outcome, message: &str) -> NodeFinished {
    let ran = matches!(outcome, Outcome::Succeeded | Outcome::Failed | Outcome::TimedOut);
    NodeFinished {
        attempts: u32::from(ran),
        duration_ms: if ran { 3_250 } else { 0 },
        ..NodeFinished::without_run(node, outcome, message)
    }
}
