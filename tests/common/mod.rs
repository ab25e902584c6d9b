//! A small world for black-box tests of the `spb` binary: a repository, a home and a pool of worktrees in one temporary
//! directory, nothing of the machine's configuration, and helpers to run, watch and question spb.

#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::disallowed_methods, reason = "tests start processes and write files as a user would")]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// Nothing a test waits for takes this long, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The temporary directory with everything in it:
/// `repo` (the repository), `home`, `pool` (worktrees), `wf` (workflow files, outside of the repository).
pub struct World {
    _temporary: tempfile::TempDir,
    pub root: PathBuf,
    pub repo: PathBuf,
}

impl World {
    /// A repository with one commit: `.gitignore` (`out/`, `*.log`), `src/one.txt`, `src/two.txt`.
    pub fn new() -> Self {
        Self::with(&[(".gitignore", "out/\n*.log\n"), ("src/one.txt", "one\n"), ("src/two.txt", "two\n")])
    }

    /// The same in memory, where that can be, so that a sync costs nothing: for what looks at hundreds of them.
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        let temporary = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap();
        let world = Self::empty_in(temporary);
        for (path, text) in [(".gitignore", "out/\n"), ("src/one.txt", "one\n")] {
            world.write(path, text);
        }
        world.commit("start");
        world
    }

    /// A repository with one commit of these files.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let world = Self::empty();
        for (path, text) in files {
            world.write(path, text);
        }
        world.commit("start");
        world
    }

    /// A repository without commits.
    pub fn empty() -> Self {
        Self::empty_in(tempfile::tempdir().unwrap())
    }

    fn empty_in(temporary: tempfile::TempDir) -> Self {
        let root = temporary.path().canonicalize().unwrap();
        for directory in ["repo", "home", "wf"] {
            std::fs::create_dir(root.join(directory)).unwrap();
        }
        let world = Self { _temporary: temporary, repo: root.join("repo"), root };
        world.git(&["init", "-q", "-b", "main"]);
        world.git(&["config", "user.name", "Tester"]);
        world.git(&["config", "user.email", "tester@example.org"]);
        world
    }

    /// A command with this world's environment and nothing else.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home())
            .env("TMPDIR", &self.root)
            .env("LC_ALL", "C.UTF-8")
            .env("SPB_WORKTREES", self.root.join("pool"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Tester")
            .env("GIT_AUTHOR_EMAIL", "tester@example.org")
            .env("GIT_COMMITTER_NAME", "Tester")
            .env("GIT_COMMITTER_EMAIL", "tester@example.org")
            .env("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z")
            .env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z")
            .current_dir(&self.repo)
            .stdin(Stdio::null());
        command
    }

    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// The store of the repository.
    pub fn store(&self) -> PathBuf {
        self.repo.join(".git/spb")
    }

    /// Runs git in the repository; it must succeed.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_in(&self.repo, arguments)
    }

    #[track_caller]
    pub fn git_in(&self, directory: &Path, arguments: &[&str]) -> String {
        let output = self.command("git").current_dir(directory).args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Writes a file of the checkout.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        put(&self.repo.join(path), text);
    }

    /// Commits everything in the checkout.
    #[track_caller]
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Writes a workflow file outside of the repository. Without a `version`, `name: t` is put in front.
    pub fn workflow(&self, text: &str) -> PathBuf {
        self.named_workflow("t", text)
    }

    pub fn named_workflow(&self, name: &str, text: &str) -> PathBuf {
        let path = self.root.join("wf").join(format!("{name}.yaml"));
        let text = if text.contains("version:") {
            text.to_owned()
        } else {
            format!("version: 1\nname: {name}\n{text}")
        };
        // Written once: another spb may be reading it.
        if std::fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            put(&path, text);
        }
        path
    }

    /// `spb` with these words, not yet started.
    pub fn spb<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Spb<'_> {
        let mut command = self.command(binary());
        command.args(words);
        Spb { world: self, command }
    }

    /// Runs a workflow with events.
    #[track_caller]
    pub fn apply(&self, workflow: &str) -> Run {
        self.apply_with(workflow, &[])
    }

    /// Runs a workflow with events and further words.
    #[track_caller]
    pub fn apply_with(&self, workflow: &str, words: &[&str]) -> Run {
        self.applying(workflow, words).run()
    }

    /// The same, not yet started.
    pub fn applying(&self, workflow: &str, words: &[&str]) -> Spb<'_> {
        let file = self.workflow(workflow);
        let mut all: Vec<&OsStr> =
            vec!["apply".as_ref(), file.as_ref(), "--events".as_ref(), "ndjson".as_ref()];
        all.extend(words.iter().map(OsStr::new));
        self.spb(all)
    }

    /// Runs `spb resume` with events.
    #[track_caller]
    pub fn resume(&self) -> Run {
        self.spb(["resume", "--events", "ndjson"]).run()
    }

    /// Nodes that ran since the last call, as they noted themselves by `echo NAME >> "$HOME/ran"`, sorted.
    pub fn take_ran(&self) -> String {
        let text = std::fs::read_to_string(self.home().join("ran")).unwrap_or_default();
        std::fs::remove_file(self.home().join("ran")).ok();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join(" ")
    }

    /// The text of a file in a revision; `None` when it has none.
    pub fn show(&self, revision: &str, path: &str) -> Option<String> {
        let output =
            self.command("git").args(["cat-file", "blob", &format!("{revision}:{path}")]).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// All files of a revision with mode and object, one a line.
    #[track_caller]
    pub fn files(&self, revision: &str) -> String {
        self.git(&["ls-tree", "-r", revision])
    }

    /// Everything that a lease would touch: the files beside the slots with their content and times.
    pub fn pool_state(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![self.root.join("pool")];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                use std::os::unix::fs::MetadataExt;
                let path = entry.path();
                let meta = entry.metadata().unwrap();
                let inside_slot = path.parent().unwrap().join(".git").exists();
                if meta.is_dir() && entry.file_name() != "rooms" && !inside_slot {
                    open.push(path.clone());
                }
                if meta.is_file() {
                    found.push(format!(
                        "{} {}.{} {}",
                        path.display(),
                        meta.mtime(),
                        meta.mtime_nsec(),
                        meta.ino()
                    ));
                }
            }
        }
        found.sort();
        found
    }

    /// Files left in the rooms where nodes write their outputs.
    pub fn rooms(&self) -> Vec<PathBuf> {
        let pools = std::fs::read_dir(self.root.join("pool")).into_iter().flatten().flatten();
        pools
            .flat_map(|pool| std::fs::read_dir(pool.path().join("rooms")).into_iter().flatten().flatten())
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect()
    }

    /// A gate that a node can wait at: `sh gate` line [`Gate::script`].
    pub fn gate(&self, name: &str) -> Gate {
        Gate::new(&self.home(), name)
    }

    /// Living processes that carry a run's mark.
    pub fn processes_of(&self, run: &str) -> Vec<u32> {
        let mark = format!("SPB_RUN={run}").into_bytes();
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| {
                let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|variable| variable == mark) && is_alive(*pid)
            })
            .collect()
    }

    /// All regular files below a directory.
    pub fn all_files(&self, directory: &Path) -> Vec<PathBuf> {
        snapshot(directory).into_keys().filter(|path| path.is_file()).collect()
    }

    /// The journal of a run.
    pub fn journal(&self, run: &str) -> PathBuf {
        self.store().join("runs").join(run).join("journal.ndjson")
    }

    /// The text of every journal.
    pub fn journals(&self) -> Vec<String> {
        let runs = std::fs::read_dir(self.store().join("runs")).into_iter().flatten().flatten();
        runs.filter_map(|run| std::fs::read_to_string(run.path().join("journal.ndjson")).ok()).collect()
    }

    /// The state of the newest run, as `spb status` says.
    #[track_caller]
    pub fn state(&self) -> String {
        let status = self.spb(["status", "--json"]).run().success();
        let status: Value = serde_json::from_str(&status.stdout).unwrap();
        status["state"].as_str().unwrap().to_owned()
    }
}

/// The program under test: `SPB_BINARY` takes another than the one just built.
pub fn binary() -> OsString {
    std::env::var_os("SPB_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_spb").into())
}

/// Says what differs between two snapshots.
#[track_caller]
pub fn assert_unchanged(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) {
    let names: std::collections::BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    let differs: Vec<&PathBuf> =
        names.into_iter().filter(|name| before.get(*name) != after.get(*name)).collect();
    assert!(differs.is_empty(), "changed: {differs:?}");
}

pub fn put(path: &Path, text: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A command that is about to run.
pub struct Spb<'a> {
    world: &'a World,
    pub command: Command,
}

impl Spb<'_> {
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Run {
        let stdout = Stdio::piped();
        self.stdout(stdout).start().finish()
    }

    /// Runs it with what was set as standard output; then nothing of that is known.
    #[track_caller]
    pub fn run_as_is(self) -> Run {
        self.start().finish()
    }

    /// Starts it in a process group of its own.
    #[track_caller]
    pub fn start(mut self) -> Running {
        // Whoever runs the tests may ignore it (`nohup`), and spb would as well.
        let hears = || {
            // SAFETY: the default action needs no handler.
            unsafe { libc::signal(libc::SIGHUP, libc::SIG_DFL) };
            Ok(())
        };
        // SAFETY: it is one system call.
        unsafe { self.command.pre_exec(hears) };
        let mut child = self.command.stderr(Stdio::piped()).process_group(0).spawn().unwrap();
        let stdout = child.stdout.take().map(reader);
        let stderr = child.stderr.take().map(reader);
        Running { child: Some(child), stdout, stderr }
    }

    /// Starts it with its output kept.
    #[track_caller]
    pub fn begin(self) -> Running {
        self.stdout(Stdio::piped()).start()
    }
}

fn reader(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).ok();
        bytes
    })
}

/// A command that runs. A test that fails before its end does not leave it behind.
pub struct Running {
    child: Option<Child>,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends a signal to spb alone.
    pub fn signal(&self, signal: i32) {
        kill(self.pid(), signal);
    }

    /// Waits for its end. One that does not come fails the test.
    #[track_caller]
    pub fn finish(mut self) -> Run {
        let pid = self.pid();
        let (ended, end) = channel();
        let watchdog = std::thread::spawn(move || {
            let hangs = end.recv_timeout(PATIENCE).is_err();
            if hangs {
                kill(pid, libc::SIGABRT);
            }
            hangs
        });
        let status = self.child.take().unwrap().wait().unwrap();
        ended.send(()).ok();
        let hangs = watchdog.join().unwrap();
        let text = |thread: Option<JoinHandle<Vec<u8>>>| {
            let bytes = thread.map(|thread| thread.join().unwrap()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let run = Run { pid, status, stdout: text(self.stdout.take()), stderr: text(self.stderr.take()) };
        assert!(!hangs, "spb did not end within {PATIENCE:?}\n{run}");
        assert_ne!(run.code(), Some(70), "a bug in spb\n{run}");
        assert!(!run.stderr.contains("panicked"), "{run}");
        run
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Politely first, so that it ends its nodes.
            kill(child.id(), libc::SIGTERM);
            child.wait().ok();
        }
    }
}

/// Nodes that the events so far say have succeeded.
pub fn acknowledged(stdout: &str) -> Vec<String> {
    let whole = &stdout[..stdout.rfind('\n').map_or(0, |end| end + 1)];
    whole
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["event"] == "node_finished" && event["outcome"] == "succeeded")
        .map(|event| event["node"].as_str().unwrap().to_owned())
        .collect()
}

pub fn kill(pid: u32, signal: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid as i32, signal) };
}

/// Whether a process runs; a zombie does not.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// What a command left.
pub struct Run {
    pub pid: u32,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--- {}\n--- stdout\n{}\n--- stderr\n{}", self.status, self.stdout, self.stderr)
    }
}

impl Run {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// It must have exited with 0.
    #[track_caller]
    pub fn success(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self}");
        self
    }

    /// The events that were written as lines.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = Value> {
        let kind = kind.to_owned();
        self.events().into_iter().filter(move |event| event["event"] == *kind)
    }

    /// `a cached, b succeeded`: the last end of every node, by name.
    pub fn outcomes(&self) -> String {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let ended: BTreeMap<String, String> = self
            .of_kind("node_finished")
            .map(|event| (text(&event["node"]), text(&event["outcome"])))
            .collect();
        ended.iter().map(|(node, outcome)| format!("{node} {outcome}")).collect::<Vec<_>>().join(", ")
    }

    /// Checks the ends of all nodes.
    #[track_caller]
    pub fn ended(self, expect: &str) -> Self {
        assert_eq!(self.outcomes(), expect, "{self}");
        self
    }

    /// The last record of a node's end.
    #[track_caller]
    pub fn node(&self, node: &str) -> Value {
        let found = self.of_kind("node_finished").filter(|event| event["node"] == *node).last();
        found.unwrap_or_else(|| panic!("{node} did not end\n{self}"))
    }

    #[track_caller]
    pub fn message(&self, node: &str) -> String {
        self.node(node)["message"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn output(&self, node: &str, name: &str) -> Value {
        self.node(node)["result"]["outputs"][name].clone()
    }

    /// The record of the run's end.
    #[track_caller]
    pub fn end(&self) -> Value {
        self.of_kind("run_finished").last().unwrap_or_else(|| panic!("the run has no end\n{self}"))
    }

    #[track_caller]
    pub fn branch(&self) -> String {
        self.end()["branch"].as_str().unwrap_or_else(|| panic!("no branch\n{self}")).to_owned()
    }

    #[track_caller]
    pub fn id(&self) -> String {
        let events = self.events();
        let first = events.first().unwrap_or_else(|| panic!("no events\n{self}"));
        first["run"].as_str().unwrap().to_owned()
    }

    /// How many processes the run started.
    pub fn starts(&self) -> usize {
        self.of_kind("node_started").count()
    }
}

/// Two FIFOs: a node says at one that it is there, and waits at the other to be let through.
pub struct Gate {
    here: PathBuf,
    go: PathBuf,
    arrivals: Receiver<String>,
}

impl Gate {
    fn new(directory: &Path, name: &str) -> Self {
        let (here, go) = (directory.join(format!("{name}.here")), directory.join(format!("{name}.go")));
        for path in [&here, &go] {
            let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
            // SAFETY: the path is a C string.
            assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        }
        let (arrived, arrivals) = channel();
        // Opened for both directions, so that neither side waits for the other to open.
        let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&here).unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 256];
            while let Ok(count) = file.read(&mut bytes) {
                for line in String::from_utf8_lossy(&bytes[..count]).lines() {
                    if arrived.send(line.to_owned()).is_err() {
                        return;
                    }
                }
            }
        });
        Self { here, go, arrivals }
    }

    /// A file of the gate's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.here.with_extension(name)
    }

    /// For the node: says its process id, then waits.
    pub fn script(&self) -> String {
        format!("echo $$ > '{}'; read -r _ < '{}'", self.here.display(), self.go.display())
    }

    /// For a node that only says that it is there.
    pub fn announce(&self) -> String {
        format!("echo $$ > '{}'", self.here.display())
    }

    /// Waits until a node is there; gives its process id.
    #[track_caller]
    pub fn arrived(&self) -> u32 {
        let line = self.arrivals.recv_timeout(PATIENCE).expect("a node comes to the gate");
        line.trim().parse().unwrap()
    }

    /// Someone who came and was not waited for.
    pub fn next_if_any(&self) -> Option<u32> {
        self.arrivals.try_recv().ok().map(|line| line.trim().parse().unwrap())
    }

    /// Lets one node through.
    pub fn open(&self) {
        let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&self.go).unwrap();
        std::io::Write::write_all(&mut file, b"go\n").unwrap();
        // The line is lost when the last end is closed: keep ours.
        std::mem::forget(file);
    }
}

/// A name for files that no test would choose by accident.
pub fn os(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}

/// Every file below a directory with a digest of its content, without times: for "nothing was written".
pub fn snapshot(directory: &Path) -> BTreeMap<PathBuf, String> {
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex()[..12].to_owned();
    let mut files = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                files.insert(path.clone(), "directory".to_owned());
                open.push(path);
            } else if kind.is_symlink() {
                let target = std::fs::read_link(&path).unwrap();
                files.insert(path, format!("link to {}", target.display()));
            } else if kind.is_file() {
                files.insert(path.clone(), digest(&std::fs::read(&path).unwrap()));
            }
        }
    }
    files
}

/// Waits for something that another process does.
#[track_caller]
pub fn until(mut happened: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !happened() {
        assert!(began.elapsed() < PATIENCE, "it does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}
