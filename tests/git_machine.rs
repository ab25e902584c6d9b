//! Random leases by two processes that are killed again and again, beside worktrees and a checkout of the user: in the end
//! there is nothing that spb left, everything works, and what is the user's is as it was. `SPB_TEST_LEASES=1000` looks
//! longer.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod git_support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufReader, Bytes, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use git_support::{TestRepo, git, git_output, holder, lease_with, snapshot, write};
use spb::git::collect::{Act, Bounds};
use spb::git::{CommitId, Cone, LeaseRequest, Pool, Repo, SlotState, repo};

const VICTIM: &str = "SPB_TEST_MACHINE";
const TEST: &str = "a_thousand_leases_with_crashes_leave_nothing_behind";

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn a_thousand_leases_with_crashes_leave_nothing_behind() {
    if let Some(told) = std::env::var_os(VICTIM) {
        victim(told.to_str().unwrap());
    }
    let budget: usize =
        std::env::var("SPB_TEST_LEASES").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let test = TestRepo::new();
    for number in 0..60 {
        write(&test.path.join(format!("d{}/f{number}", number % 7)), format!("{number}\n").as_bytes());
    }
    write(&test.path.join(".gitignore"), b"cache\n");
    let start = test.commit("start", &[]);
    test.commit_on(start, &[("d1/f1", Some("other\n")), ("d2/f2", None), ("new/file", Some("new\n"))]);
    let home = test.temporary().join("home");
    for name in ["own", "lost"] {
        test.git(&["worktree", "add", "-q", "--detach", home.join(name).to_str().unwrap()]);
    }
    std::fs::remove_dir_all(home.join("lost")).unwrap();
    write(&test.path.join("d0/f0"), b"not committed\n");
    write(&test.path.join("untracked"), b"mine\n");
    write(&test.path.join("staged"), b"mine\n");
    test.git(&["add", "staged"]);
    let before = users(&test);

    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut victims: Vec<Victim> = (0..2).map(|number| Victim::start(&test, number + 1)).collect();
    let (mut leases, mut next) = (0, 3);
    while leases < budget {
        let which = usize::try_from(dice.roll(2)).unwrap();
        for _ in 0..=dice.roll(12) {
            leases += usize::from(victims[which].step() == b'L');
        }
        if dice.roll(3) == 0 {
            victims[which].kill();
            victims[which] = Victim::start(&test, next);
            next += 1;
        }
    }
    victims.iter_mut().for_each(Victim::kill);

    assert_eq!(users(&test), before);
    check_slots(&test, start);
    assert_eq!(users(&test), before);
    assert_eq!(left_behind(&test), Vec::<PathBuf>::new());
    test.git(&["fsck", "--strict", "--no-dangling"]);
}

/// Every slot can be leased and is as a fresh checkout; git knows those, the user's, and no others.
fn check_slots(test: &TestRepo, start: CommitId) {
    let pool = test.pool();
    let count = pool.list().unwrap().len();
    assert!(count <= 4, "slots were lost: {count}");
    let fresh: BTreeMap<_, _> = tracked(test, start);
    let leases: Vec<_> = (0..count).map(|_| lease_with(&pool, "last", start, &|_| {})).collect();
    for lease in &leases {
        let mut there = snapshot(lease.path());
        there.retain(|path, kind| path != "cache" && kind != "directory");
        assert_eq!(there, fresh);
        assert_eq!(git(lease.path(), &["status", "--porcelain"]), "");
    }
    leases.into_iter().for_each(|lease| lease.finish().unwrap());
    let listed = test.git(&["worktree", "list", "--porcelain"]);
    let mut listed: Vec<PathBuf> =
        listed.lines().filter_map(|line| line.strip_prefix("worktree ")).map(PathBuf::from).collect();
    listed.sort();
    let home = test.temporary().join("home");
    let slots = pool.list().unwrap();
    assert!(slots.iter().all(|slot| slot.state == SlotState::Free), "{slots:?}");
    let mut expect: Vec<PathBuf> = slots.into_iter().map(|slot| slot.path).collect();
    expect.extend([test.path.clone(), home.join("own"), home.join("lost")]);
    expect.sort();
    assert_eq!(listed, expect);
}

fn tracked(test: &TestRepo, commit: CommitId) -> BTreeMap<OsString, String> {
    let path = test.temporary().join("fresh");
    let output = git_output(&test.path, &[], &["archive", &commit.to_string()]).stdout;
    std::fs::create_dir_all(&path).unwrap();
    let mut tar = std::process::Command::new("tar")
        .args(["-x", "-C"])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    tar.stdin.take().unwrap().write_all(&output).unwrap();
    assert!(tar.wait().unwrap().success());
    let mut files = snapshot(&path);
    files.retain(|_, kind| kind != "directory");
    files
}

/// Everything that is the user's: files, index, configuration, refs, and what git keeps of the user's worktrees.
fn users(test: &TestRepo) -> BTreeMap<OsString, String> {
    let mut all = snapshot(&test.temporary().join("home"));
    all.retain(|path, _| {
        let path = path.to_str().unwrap();
        let is_ours =
            path.contains(".git/objects") || path.contains(".git/spb") || path.contains("worktrees/spb-");
        !is_ours
    });
    all.insert("refs".into(), test.git(&["for-each-ref"]));
    all
}

/// Locks and half-made things, in the repository and in the pool.
fn left_behind(test: &TestRepo) -> Vec<PathBuf> {
    let mut open = vec![test.path.join(".git"), test.pool_directory()];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let in_pool = directory == test.pool_directory() || directory.ends_with("permits");
            let is_lock = name.ends_with(".lock") && !in_pool;
            let is_half_made = name.starts_with("worktree-")
                || (name.starts_with(".new-") && !directory.starts_with(test.path.join(".git/objects")));
            if is_lock || is_half_made {
                found.push(entry.path());
            }
            let is_slot = directory == test.pool_directory() && name.parse::<u32>().is_ok();
            if entry.file_type().unwrap().is_dir() && !is_slot {
                open.push(entry.path());
            }
        }
    }
    found
}

struct Victim {
    child: Child,
    said: Bytes<BufReader<ChildStdout>>,
}

impl Victim {
    fn start(test: &TestRepo, seed: u64) -> Self {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(VICTIM, format!("{seed} {}", test.temporary().display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).bytes();
        Self { child, said }
    }

    /// Waits for its next step: `L` before a lease, `@` before another.
    fn step(&mut self) -> u8 {
        let mut bytes = self.said.by_ref().map(Result::unwrap);
        bytes.find(|byte| matches!(byte, b'L' | b'@')).expect("a victim ended by itself")
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Works for ever.
fn victim(told: &str) -> ! {
    let (seed, directory) = told.split_once(' ').unwrap();
    let directory = Path::new(directory);
    let mut dice = Dice(seed.parse::<u64>().unwrap().wrapping_mul(0x2545_f491_4f6c_dd1d) | 1);
    let path = repo::discover(&directory.join("home/repo")).unwrap();
    let repo = Repo::open(&path).unwrap();
    let start = repo.resolve("HEAD").unwrap();
    let pool = Pool::open(&path, directory.join("pool")).unwrap();
    let mut commits = vec![start];
    loop {
        round(&mut dice, &repo, &pool, &mut commits);
    }
}

fn say(byte: u8) {
    let mut out = std::io::stdout();
    out.write_all(&[byte]).unwrap();
    out.flush().unwrap();
}

fn round(dice: &mut Dice, repo: &Repo, pool: &Pool, commits: &mut Vec<CommitId>) {
    let base = commits[usize::try_from(dice.roll(commits.len() as u64)).unwrap()];
    let holder = holder(&format!("n{}", dice.roll(4)));
    let request = LeaseRequest { commit: base, holder: &holder, prefer: &holder.node, sweep: &|_| {} };
    let cone = if dice.roll(4) == 0 { Cone::new(&["d1".to_owned()]) } else { None };
    let mut waiting = pool.permit(2);
    let _permit = loop {
        if let Some(permit) = waiting.attempt().unwrap() {
            break permit;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    say(b'L');
    let mut lease = pool.lease_part(&request, cone).unwrap();
    say(b'@');
    let slot = lease.path().to_owned();
    write(&slot.join(format!("d1/f{}", dice.roll(20))), format!("{}", dice.roll(1000)).as_bytes());
    write(&slot.join("cache"), b"warm");
    match dice.roll(7) {
        0 => {
            git(&slot, &["add", "-A"]);
            git(
                &slot,
                &["-c", "user.name=n", "-c", "user.email=n@x", "commit", "-q", "--allow-empty", "-m", "own"],
            );
        }
        1 => std::fs::remove_file(slot.join(".git")).unwrap(),
        2 => {
            let admin = git(&slot, &["rev-parse", "--git-dir"]);
            write(&Path::new(admin.trim()).join("index.lock"), b"");
        }
        3 => std::fs::remove_dir_all(slot.join("d0")).unwrap_or_default(),
        _ => {}
    }
    say(b'@');
    let tree = lease.capture().unwrap().tree;
    say(b'@');
    if commits.len() < 6 {
        commits.push(repo.commit(tree, &[base], "round", spb::git::Stamp::Like(base)).unwrap());
    }
    say(b'@');
    match dice.roll(6) {
        // As an engine that has no time left.
        0 => drop(lease),
        _ => lease.finish().unwrap(),
    }
    if dice.roll(8) == 0 {
        say(b'@');
        pool.collect(Bounds { unused_for: None, size: Some(0) }, Act::Remove, &|_| {}).unwrap();
    }
}
