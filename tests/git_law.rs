//! Laws of slots, against real git: whatever nodes do in whatever order, a lease is as a fresh checkout, and a capture is
//! what `git add -A` and `git write-tree` give.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod git_support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use git_support::{TestRepo, git, git_output, lease_with, recorded_by_git, set_mode, snapshot, write};
use proptest::prelude::*;
use spb::git::{CommitId, Pool, Stamp};

const PATHS: [&str; 12] =
    ["a", "b c", "d", "d/x", "d/y", "d/e/z", "d-e", "link", "o/1.o", "o/2", "o/p/3", ".gitignore"];
const CONTENTS: [&str; 7] = ["", "one\n", "two\n", "*.o\n", "o/\n!o/2\n", "/d/e\nlink\n", "p\n!*.o\n"];

#[derive(Clone, Debug)]
enum Act {
    Write(usize, usize),
    Remove(usize),
    Directory(usize),
    Symlink(usize, usize),
    Executable(usize, bool),
}

#[derive(Clone, Debug)]
struct Round {
    base: prop::sample::Index,
    acts: Vec<Act>,
    /// Looked at with `git status` before it is captured, which rewrites the index.
    status: bool,
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    Finished,
    /// Given back without a look.
    Uncaptured,
    /// The process dies.
    Dropped,
    /// The process ends, and another one goes on.
    OtherProcess,
}

fn act() -> impl Strategy<Value = Act> {
    let path = 0..PATHS.len();
    prop_oneof![
        6 => (path.clone(), 0..CONTENTS.len()).prop_map(|(path, content)| Act::Write(path, content)),
        3 => path.clone().prop_map(Act::Remove),
        1 => path.clone().prop_map(Act::Directory),
        2 => (path.clone(), 0..PATHS.len()).prop_map(|(path, target)| Act::Symlink(path, target)),
        2 => (path, any::<bool>()).prop_map(|(path, on)| Act::Executable(path, on)),
    ]
}

fn round() -> impl Strategy<Value = Round> {
    let end = prop_oneof![
        4 => Just(End::Finished),
        1 => Just(End::Uncaptured),
        1 => Just(End::Dropped),
        2 => Just(End::OtherProcess),
    ];
    let acts = prop::collection::vec(act(), 0..8);
    (any::<prop::sample::Index>(), acts, any::<bool>(), end).prop_map(|(base, acts, status, end)| Round {
        base,
        acts,
        status,
        end,
    })
}

fn clear(path: &Path) {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path).unwrap(),
        Ok(_) => std::fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Makes room for a path without ever following a symlink.
fn make_room(root: &Path, path: &str) -> std::path::PathBuf {
    for (slash, _) in path.match_indices('/') {
        let parent = root.join(&path[..slash]);
        if !std::fs::symlink_metadata(&parent).is_ok_and(|meta| meta.is_dir()) {
            clear(&parent);
            std::fs::create_dir(&parent).unwrap();
        }
    }
    let target = root.join(path);
    clear(&target);
    target
}

fn perform(root: &Path, act: &Act) {
    match act {
        Act::Write(path, content) => write(&make_room(root, PATHS[*path]), CONTENTS[*content].as_bytes()),
        Act::Remove(path) => drop(make_room(root, PATHS[*path])),
        Act::Directory(path) => std::fs::create_dir(make_room(root, PATHS[*path])).unwrap(),
        Act::Symlink(path, target) => {
            std::os::unix::fs::symlink(PATHS[*target], make_room(root, PATHS[*path])).unwrap();
        }
        Act::Executable(path, on) => {
            let path = root.join(PATHS[*path]);
            if std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()) {
                set_mode(&path, if *on { 0o755 } else { 0o644 });
            }
        }
    }
}

/// The slot is as a fresh checkout of the commit, but for files that git ignores.
fn check_lease(test: &TestRepo, slot: &Path, commit: CommitId) {
    let fresh = test.temporary().join("fresh");
    git(&test.path, &["worktree", "add", "-q", "--detach", fresh.to_str().unwrap(), &commit.to_string()]);
    let (mut here, there) = (snapshot(slot), snapshot(&fresh));
    clear(&fresh);
    git(&test.path, &["worktree", "prune"]);
    let kept: BTreeMap<OsString, String> =
        there.keys().filter_map(|path| Some((path.clone(), here.remove(path)?))).collect();
    assert_eq!(kept, there);
    assert_eq!(git(slot, &["status", "--porcelain", "-uall"]), "");
    for (path, kind) in here {
        let ask = ["check-ignore", "-q", "--no-index", "--", path.to_str().unwrap()];
        let ignored = git_output(slot, &[], &ask).status.success()
            || kind == "directory" && std::fs::read_dir(slot.join(&path)).unwrap().count() > 0;
        assert!(ignored, "{path:?} ({kind}) stayed");
    }
}

fn check(test: &TestRepo, rounds: &[Round]) {
    let repo = test.repo();
    let mut commits = vec![test.head()];
    let mut pool: Pool = test.pool();
    for round in rounds {
        let base = *round.base.get(&commits);
        let mut lease = lease_with(&pool, "node", base, &|_| {});
        assert_eq!(lease.number(), 1);
        let slot = lease.path().to_owned();
        check_lease(test, &slot, base);
        round.acts.iter().for_each(|act| perform(&slot, act));
        if round.status {
            git(&slot, &["status", "--porcelain"]);
        }
        if !matches!(round.end, End::Uncaptured) {
            let expect = recorded_by_git(test, &slot, base);
            let tree = lease.capture().unwrap().tree;
            assert_eq!(
                tree.to_string(),
                expect,
                "{}",
                git(&slot, &["diff-tree", "-r", &tree.to_string(), &expect])
            );
            commits.push(repo.commit(tree, &[base], "round", Stamp::Like(base)).unwrap());
        }
        match round.end {
            End::Finished | End::Uncaptured => lease.finish().unwrap(),
            End::Dropped => drop(lease),
            End::OtherProcess => {
                lease.finish().unwrap();
                pool = test.pool();
            }
        }
    }
}

const START: &[(&str, &str)] =
    &[("a", "one\n"), ("d/x", "one\n"), ("d/e/z", "two\n"), (".gitignore", "*.o\n"), ("o/2", "two\n")];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn leases_are_fresh_and_captures_are_what_git_records(rounds in prop::collection::vec(round(), 1..7)) {
        check(&TestRepo::with(START), &rounds);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_holds_with_the_git_command(rounds in prop::collection::vec(round(), 1..5)) {
        check(&TestRepo::plain(START), &rounds);
    }
}
