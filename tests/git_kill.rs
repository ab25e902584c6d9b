//! Processes that are killed while they lease, run, capture and give back: whoever comes next finds nothing in the way.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod git_support;

use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::process::Stdio;

use git_support::{TestRepo, git, lease_with, snapshot, write};
use spb::git::{CommitId, Pool, Repo, repo};

const VICTIM: &str = "SPB_TEST_VICTIM";

#[test]
fn a_killed_process_leaves_slots_that_the_next_one_can_use() {
    if let Some(directory) = std::env::var_os(VICTIM) {
        victim(Path::new(&directory));
    }
    let test = TestRepo::new();
    for number in 0..300 {
        write(&test.path.join(format!("d{}/f{number}", number % 9)), format!("{number}\n").as_bytes());
    }
    write(&test.path.join(".gitignore"), b"cache\n");
    let start = test.commit("start", &[]);
    let fresh = snapshot(&test.path);
    for kill_after in 1..40 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_process_leaves_slots_that_the_next_one_can_use", "--nocapture"])
            .env(VICTIM, test.temporary())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).bytes().map(Result::unwrap);
        for _ in 0..kill_after {
            output.by_ref().find(|byte| *byte == b'@').expect("the victim ended by itself");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let pool = test.pool();
        let mut leases: Vec<_> = (0..2).map(|_| lease_with(&pool, "node", start, &|_| {})).collect();
        for lease in &mut leases {
            assert_eq!(snapshot_without_cache(lease.path()), fresh, "after {kill_after}");
            assert_eq!(git(lease.path(), &["status", "--porcelain"]), "", "after {kill_after}");
            assert_eq!(lease.capture().unwrap().tree, test.repo().tree_of(start).unwrap());
        }
        leases.into_iter().for_each(|lease| lease.finish().unwrap());
        assert!(pool.list().unwrap().len() <= 3, "slots were lost");
        assert_eq!(test.git(&["status", "--porcelain"]), "");
    }
    test.git(&["fsck", "--strict"]);
}

fn snapshot_without_cache(path: &Path) -> std::collections::BTreeMap<std::ffi::OsString, String> {
    let mut found = snapshot(path);
    found.remove(std::ffi::OsStr::new("cache"));
    found
}

/// Works for ever, and says `@` before each step.
fn victim(directory: &Path) -> ! {
    let path = repo::discover(&directory.join("home/repo")).unwrap();
    let repo = Repo::open(&path).unwrap();
    let start = repo.resolve("HEAD").unwrap();
    let pool = Pool::open(&path, directory.join("pool")).unwrap();
    let say = || {
        let mut out = std::io::stdout();
        out.write_all(b"@").unwrap();
        out.flush().unwrap();
    };
    let mut commits: Vec<CommitId> = vec![start];
    for round in 0_usize.. {
        say();
        let base = commits[round % commits.len()];
        let mut lease = lease_with(&pool, "victim", base, &|_| {});
        say();
        for number in 0..20 {
            write(
                &lease.path().join(format!("d{}/f{number}", (number + round) % 9)),
                format!("{round}").as_bytes(),
            );
        }
        write(&lease.path().join("cache"), b"warm");
        say();
        let tree = lease.capture().unwrap().tree;
        commits.push(repo.commit(tree, &[base], "round", spb::git::Stamp::Like(base)).unwrap());
        say();
        lease.finish().unwrap();
    }
    unreachable!("the rounds do not end")
}
