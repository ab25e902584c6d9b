//! Leases of a part of the tree: what is there, what is taken back, and that the rest counts as unchanged.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod git_support;

use git_support::{TestRepo, git, holder, lease_is_fresh, snapshot, write};
use spb::git::{CommitId, Cone, Lease, LeaseRequest, Pool};

const FILES: &[(&str, &str)] = &[
    ("top", "t\n"),
    (".gitignore", "*.o\n"),
    ("a/file", "a\n"),
    ("a/b/one", "1\n"),
    ("a/b/deep/two", "2\n"),
    ("a/c/three", "3\n"),
    ("z/four", "4\n"),
];

fn part(pool: &Pool, commit: CommitId, paths: &[&str]) -> Lease {
    let holder = holder("node");
    let request = LeaseRequest { commit, holder: &holder, prefer: "node", sweep: &|_| {} };
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    pool.lease_part(&request, Cone::new(&paths)).unwrap()
}

fn there(lease: &Lease) -> String {
    let files = snapshot(lease.path()).into_iter().filter(|(_, kind)| kind != "directory");
    files.map(|(path, _)| path.into_string().unwrap()).collect::<Vec<_>>().join(" ")
}

fn both(scenario: impl Fn(&TestRepo)) {
    scenario(&TestRepo::with(FILES));
    scenario(&TestRepo::plain(FILES));
}

#[test]
fn a_part_holds_what_git_would_and_what_is_left_out_is_unchanged() {
    both(|test| {
        let (pool, start) = (test.pool(), test.head());
        let mut lease = part(&pool, start, &["a/b"]);
        assert_eq!(there(&lease), ".gitignore a/b/deep/two a/b/one a/file top");
        assert_eq!(git(lease.path(), &["status", "--porcelain"]), "");
        assert_eq!(lease.capture().unwrap().tree, test.repo().tree_of(start).unwrap());
        // Inside, outside at a new place, and outside at the place of a file that is left out.
        write(&lease.path().join("a/b/one"), b"changed\n");
        write(&lease.path().join("z/new"), b"new\n");
        write(&lease.path().join("a/c/three"), b"other\n");
        std::fs::remove_file(lease.path().join("top")).unwrap();
        let tree = lease.capture().unwrap().tree;
        let expect = test.commit_on(
            start,
            &[
                ("a/b/one", Some("changed\n")),
                ("z/new", Some("new\n")),
                ("a/c/three", Some("other\n")),
                ("top", None),
            ],
        );
        assert_eq!(tree, test.repo().tree_of(expect).unwrap());
        lease.finish().unwrap();
        // The next one has nothing of it, here and in another process.
        let lease = part(&pool, start, &["a/b"]);
        assert_eq!(there(&lease), ".gitignore a/b/deep/two a/b/one a/file top");
        lease.finish().unwrap();
        let lease = part(&test.pool(), expect, &["z"]);
        assert_eq!(there(&lease), ".gitignore z/four z/new");
        assert_eq!(git(lease.path(), &["status", "--porcelain"]), "");
        lease.finish().unwrap();
    });
}

#[test]
fn parts_and_wholes_follow_each_other_in_one_slot() {
    both(|test| {
        let (pool, start) = (test.pool(), test.head());
        let next = test.commit_on(start, &[("z/four", Some("new\n")), ("a/b/one", None)]);
        lease_is_fresh(test, &pool, start).finish().unwrap();
        part(&pool, start, &["z"]).finish().unwrap();
        lease_is_fresh(test, &pool, next).finish().unwrap();
        let lease = part(&pool, next, &["a/b/deep", "z"]);
        assert_eq!(there(&lease), ".gitignore a/b/deep/two a/file top z/four");
        drop(lease);
        lease_is_fresh_after_a_crash(test, start);
        part(&test.pool(), start, &["a"]).finish().unwrap();
        lease_is_fresh(test, &test.pool(), next).finish().unwrap();
    });
}

fn lease_is_fresh_after_a_crash(test: &TestRepo, commit: CommitId) {
    git_support::lease_with(&test.pool(), "node", commit, &|_| {}).finish().unwrap();
    lease_is_fresh(test, &test.pool(), commit).finish().unwrap();
}

#[test]
fn commits_that_a_node_makes_in_a_part_are_whole() {
    both(|test| {
        let mut lease = part(&test.pool(), test.head(), &["a/b"]);
        write(&lease.path().join("a/b/new"), b"new\n");
        git(lease.path(), &["add", "-A"]);
        git(lease.path(), &["-c", "user.name=n", "-c", "user.email=n@x", "commit", "-qm", "own"]);
        let captured = lease.capture().unwrap();
        let head = captured.head.unwrap();
        assert_eq!(test.repo().tree_of(head).unwrap(), captured.tree);
        let changed = test.git(&["diff", "--name-only", "HEAD", &head.to_string()]);
        assert_eq!(changed, "a/b/new\n");
        lease.finish().unwrap();
    });
}
