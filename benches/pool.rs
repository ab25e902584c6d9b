//! What leases, captures and merges cost, beside the git command in the same run. Makes repositories of small files in the
//! temporary directory, and removes them. Measures and judges nothing.
//!
//!     cargo bench --bench pool -- --files 1000,60000,100000 --repeat 5 [--only many,again,new,capture,merge]
//!
//! Every row is milliseconds, minimum median maximum, and the ratio of the medians. Both sides do the same work on the
//! same objects, turn by turn. The worktrees that both make stay until the end: on some file systems making files is
//! many times slower after many were deleted.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program that measures, prints, and may fail"
)]

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use spb::git::{CommitId, Holder, Lease, LeaseRequest, Pool, Repo, merge_heads, repo};

/// How many files differ, in the rows that have it as a variable.
const DISTANCES: [usize; 4] = [0, 1, 10, 1000];

/// Slots made at the same time.
const AT_ONCE: usize = 4;

/// Measures one thing and prints its rows.
type Part = fn(&Field);

fn main() {
    let options = Options::read();
    println!("| files | what | spb | git | ratio |\n|---|---|---|---|---|");
    for files in &options.files {
        let field = Field::new(*files, options.repeat);
        first(&field);
        let parts: [(&str, Part); 5] = [
            ("many", at_once),
            ("again", |field| again(field, Memory::Kept)),
            ("new", |field| again(field, Memory::New)),
            ("capture", capture),
            ("merge", merge),
        ];
        for (_, part) in parts.iter().filter(|(name, _)| options.asks_for(name)) {
            part(&field);
        }
    }
}

struct Options {
    files: Vec<usize>,
    repeat: usize,
    /// Parts to measure besides the first lease; empty: all.
    only: Vec<String>,
}

impl Options {
    fn asks_for(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == part)
    }

    fn read() -> Self {
        let mut options = Self { files: vec![1000, 60_000, 100_000], repeat: 5, only: Vec::new() };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().expect("a value follows");
            match argument.as_str() {
                "--files" => {
                    options.files = value().split(',').map(|number| number.parse().unwrap()).collect();
                }
                "--repeat" => options.repeat = value().parse().unwrap(),
                "--only" => options.only = value().split(',').map(str::to_owned).collect(),
                // From `cargo bench` itself.
                "--bench" => {}
                other => panic!("unknown argument `{other}`; there are --files, --repeat and --only"),
            }
        }
        options
    }
}

/// Times of one side, milliseconds.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn of<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let done = work();
        self.0.push(begin.elapsed().as_secs_f64() * 1000.0);
        done
    }

    fn median(&mut self) -> f64 {
        self.0.sort_by(f64::total_cmp);
        self.0[self.0.len() / 2]
    }

    fn show(&mut self) -> String {
        let median = self.median();
        let digits = if median < 20.0 { 2 } else { 0 };
        let (least, most) = (self.0[0], self.0[self.0.len() - 1]);
        format!("{least:.digits$} **{median:.digits$}** {most:.digits$}")
    }
}

fn row(field: &Field, what: &str, mut ours: Times, mut theirs: Times) {
    let ratio = ours.median() / theirs.median();
    println!("| {} | {what} | {} | {} | {ratio:.3} |", field.files, ours.show(), theirs.show());
}

/// A repository in a temporary directory, and the commits in it.
struct Field {
    files: usize,
    repeat: usize,
    root: tempfile::TempDir,
}

impl Field {
    /// `main`, and for each distance `far/K` with so many other files; `left/N` and `right/N` to be merged.
    fn new(files: usize, repeat: usize) -> Self {
        let root = tempfile::Builder::new().prefix("spb-pool-").tempdir().unwrap();
        let field = Self { files, repeat, root };
        std::fs::create_dir(field.repository()).unwrap();
        field.git(&field.repository(), &["init", "-q", "-b", "main"]);
        let arguments = ["fast-import", "--quiet", "--depth=10"];
        let mut import =
            field.command(&field.repository(), &arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stream = BufWriter::new(import.stdin.take().unwrap());
        let all = (0..files).map(|number| (number, content(number, "first")));
        write_commit(&mut stream, "main", None, all);
        for distance in DISTANCES {
            let changed = field.spread(distance).map(|number| (number, content(number, "other")));
            write_commit(&mut stream, &format!("far/{distance}"), Some("main"), changed);
        }
        for turn in 0..repeat {
            for (side, shift) in [("left", 0), ("right", files / 20)] {
                let text = format!("{side} {turn}");
                let changed = field.spread(10).map(|number| (number + shift, content(number, &text)));
                write_commit(&mut stream, &format!("{side}/{turn}"), Some("main"), changed);
            }
        }
        drop(stream);
        assert!(import.wait().unwrap().success());
        field
    }

    /// So many files, evenly over the repository.
    fn spread(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let count = count.min(self.files);
        let step = self.files / count.max(1);
        (0..count).map(move |number| number * step)
    }

    fn repository(&self) -> PathBuf {
        self.root.path().join("repository")
    }

    fn commit(&self, name: &str) -> CommitId {
        self.open().resolve(name).unwrap()
    }

    fn open(&self) -> Repo {
        Repo::open(&repo::discover(&self.repository()).unwrap()).unwrap()
    }

    fn pool(&self, name: &str) -> Pool {
        let repository = repo::discover(&self.repository()).unwrap();
        Pool::open(&repository, self.root.path().join(name)).unwrap()
    }

    fn command(&self, directory: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.current_dir(directory).args(arguments);
        let fixed = [("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null")];
        command.envs(fixed).env("HOME", self.root.path()).stdout(Stdio::null());
        command
    }

    fn git(&self, directory: &Path, arguments: &[&str]) {
        let status = self.command(directory, arguments).status().unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    /// A worktree that git made at `main`.
    fn peer(&self, name: &str) -> PathBuf {
        let path = self.root.path().join(name);
        let text = path.to_str().unwrap();
        self.git(&self.repository(), &["worktree", "add", "-q", "--detach", text, "main"]);
        path
    }

    /// Changes so many files, each in its own way.
    fn change(&self, root: &Path, count: usize, text: &str) {
        for number in self.spread(count) {
            std::fs::write(root.join(path(number)), content(number, text)).unwrap();
        }
    }
}

/// A hundred files in a directory, thirty directories in one.
fn path(number: usize) -> String {
    let directory = number / 100;
    format!("part{}/group{directory}/file{}.txt", directory / 30, number % 100)
}

/// From 30 bytes to 2 KB.
fn content(number: usize, text: &str) -> String {
    format!("{text}: line of file {number}\n").repeat(1 + number % 70)
}

fn write_commit(
    stream: &mut impl Write,
    branch: &str,
    from: Option<&str>,
    files: impl Iterator<Item = (usize, String)>,
) {
    write!(stream, "commit refs/heads/{branch}\ncommitter b <b@b> 1700000000 +0000\ndata 1\nx\n").unwrap();
    if let Some(from) = from {
        writeln!(stream, "from refs/heads/{from}").unwrap();
    }
    for (number, content) in files {
        write!(stream, "M 644 inline {}\ndata {}\n{content}\n", path(number), content.len()).unwrap();
    }
}

fn lease(pool: &Pool, node: &str, commit: CommitId) -> Lease {
    let holder = Holder { run: "bench".to_owned(), node: node.to_owned() };
    pool.lease(&LeaseRequest { commit, holder: &holder, prefer: node, sweep: &|_| {} }).unwrap()
}

/// Captures what is there and gives the slot back, as after a node.
fn end(mut lease: Lease) {
    lease.capture().unwrap();
    lease.finish().unwrap();
}

fn first(field: &Field) {
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    let main = field.commit("main");
    for turn in 0..field.repeat.min(3) {
        theirs.of(|| field.peer(&format!("peer{turn}")));
        let pool = field.pool(&format!("pool{turn}"));
        ours.of(|| lease(&pool, "node", main)).finish().unwrap();
    }
    row(field, "first lease of a slot / `worktree add`", ours, theirs);
}

/// The first slots of one pool, made by threads; worktrees of one repository, made by processes.
fn at_once(field: &Field) {
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    let main = field.commit("main");
    for turn in 0..field.repeat.min(2) {
        let pool = &field.pool(&format!("many{turn}"));
        ours.of(|| {
            std::thread::scope(|scope| {
                for number in 0..AT_ONCE {
                    scope.spawn(move || lease(pool, &number.to_string(), main).finish().unwrap());
                }
            });
        });
        theirs.of(|| {
            std::thread::scope(|scope| {
                for number in 0..AT_ONCE {
                    scope.spawn(move || field.peer(&format!("many-peer{turn}-{number}")));
                }
            });
        });
    }
    row(field, &format!("{AT_ONCE} slots at once / `worktree add`"), ours, theirs);
}

/// Whether a lease is taken by the process that had the one before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    Kept,
    New,
}

fn again(field: &Field, memory: Memory) {
    let main = field.commit("main");
    let peer = field.root.path().join("peer0");
    for distance in DISTANCES {
        let (mut ours, mut theirs) = (Times::default(), Times::default());
        let mut floor = Times::default();
        let far = field.commit(&format!("far/{distance}"));
        let mut pool = field.pool("pool0");
        end(lease(&pool, "node", main));
        for turn in 0..field.repeat * 2 {
            let commit = if turn % 2 == 0 { far } else { main };
            if memory == Memory::New {
                pool = field.pool("pool0");
            }
            end(ours.of(|| lease(&pool, "node", commit)));
            theirs.of(|| {
                field.git(&peer, &["reset", "--hard", "-q", &commit.to_string()]);
                field.git(&peer, &["clean", "-ffdq"]);
            });
            floor.of(|| write_anew(field, distance));
        }
        let whose = if memory == Memory::Kept { "same process" } else { "new process" };
        let bare = floor.median();
        let what = format!(
            "lease {distance} files away, {whose} / `reset --hard` + `clean` (writing alone: {bare:.2})"
        );
        row(field, &what, ours, theirs);
    }
}

/// What any checkout has to do at least: so many files removed and made.
fn write_anew(field: &Field, count: usize) {
    let root = field.root.path().join("peer1");
    let root = if root.exists() { root } else { field.root.path().join("many-peer0-0") };
    for number in field.spread(count) {
        let path = root.join(path(number));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, content(number, "other")).unwrap();
    }
}

fn capture(field: &Field) {
    let main = field.commit("main");
    let peer = field.root.path().join("peer0");
    let pool = field.pool("pool0");
    for count in DISTANCES {
        let (mut ours, mut theirs) = (Times::default(), Times::default());
        for turn in 0..field.repeat {
            let mut lease = lease(&pool, "node", main);
            // Not the same on both sides: whoever came second would find the objects written.
            field.change(lease.path(), count, &format!("ours {count} {turn}"));
            ours.of(|| lease.capture().unwrap());
            lease.finish().unwrap();
            field.git(&peer, &["reset", "--hard", "-q", "main"]);
            field.change(&peer, count, &format!("git's {count} {turn}"));
            theirs.of(|| {
                field.git(&peer, &["add", "-A"]);
                field.git(&peer, &["write-tree"]);
            });
        }
        row(field, &format!("capture, {count} files changed / `add -A` + `write-tree`"), ours, theirs);
    }
}

fn merge(field: &Field) {
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    let (main, repo) = (field.commit("main"), field.open());
    for turn in 0..field.repeat {
        let sides = ["left", "right"].map(|side| format!("{side}/{turn}"));
        let heads = sides.each_ref().map(|side| field.commit(side));
        // In turn, because whoever comes second finds the objects written.
        let by_git = || field.git(&field.repository(), &["merge-tree", "--write-tree", &sides[0], &sides[1]]);
        if turn % 2 == 0 {
            theirs.of(by_git);
            ours.of(|| merge_heads(&repo, main, &heads).unwrap());
        } else {
            ours.of(|| merge_heads(&repo, main, &heads).unwrap());
            theirs.of(by_git);
        }
    }
    row(field, "merge of two results, 10 files each / `merge-tree`", ours, theirs);
}
