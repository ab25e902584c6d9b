//! Slots whose nodes, and repositories whose commits, try to reach what is not theirs or to make spb wait for ever.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod git_support;

use std::path::{Path, PathBuf};

use git_support::{TestRepo, git, lease, lease_is_fresh, lease_with, write};
use spb::git::{CommitId, GitError, LeaseRequest, Stamp, TreeId};

fn pipe(path: &Path) {
    let _absent = std::fs::remove_file(path);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

fn admin(slot: &Path) -> PathBuf {
    git(slot, &["rev-parse", "--absolute-git-dir"]).trim().into()
}

#[test]
fn pipes_in_the_place_of_gits_files_make_nobody_wait() {
    for plain in [false, true] {
        let files = [
            (".gitattributes", "*.x filter=none\n"),
            (".gitignore", "o\n"),
            ("d/.gitignore", "o\n"),
            ("a", "a"),
        ];
        let test = if plain { TestRepo::plain(&files) } else { TestRepo::with(&files) };
        let pool = test.pool();
        let mut first = lease(&pool, "node", test.head());
        let slot = first.path().to_owned();
        for name in [".gitattributes", ".gitignore", "d/.gitignore", "new"] {
            pipe(&slot.join(name));
        }
        write(&slot.join("b.x"), b"b");
        let captured = first.capture().unwrap();
        assert_eq!(test.listed(captured.tree), "a\nb.x\n");
        first.finish().unwrap();
        lease_is_fresh(&test, &pool, test.head()).finish().unwrap();
        let mut second = lease(&pool, "node", test.head());
        let admin = admin(second.path());
        for name in ["index", "HEAD", "ORIG_HEAD", "commondir"] {
            pipe(&admin.join(name));
        }
        pipe(&slot.join(".git"));
        assert_eq!(second.capture().unwrap().tree, test.repo().tree_of(test.head()).unwrap());
        second.finish().unwrap();
        assert_eq!(test.repo().checked_out_at("elsewhere").unwrap(), None);
        lease_is_fresh(&test, &pool, test.head()).finish().unwrap();
        lease_is_fresh(&test, &test.pool(), test.head()).finish().unwrap();
    }
}

#[test]
fn an_index_with_paths_outside_of_the_slot_reaches_nothing() {
    let test = TestRepo::with(&[("aa/bb/v", "x\n"), ("c", "c\n")]);
    let victim = test.temporary().join("v");
    write(&victim, b"precious");
    let pool = test.pool();
    let mut first = lease(&pool, "node", test.head());
    let index = admin(first.path()).join("index");
    let mut bytes = std::fs::read(&index).unwrap();
    let at = bytes.windows(7).position(|window| window == b"aa/bb/v").unwrap();
    bytes[at..at + 7].copy_from_slice(b"../../v");
    let end = bytes.len() - 20;
    bytes[end..].fill(0);
    write(&index, &bytes);
    let tree = first.capture().unwrap().tree;
    assert_eq!(test.listed(tree), "aa/bb/v\nc\n");
    write(&index, &bytes);
    drop(first);
    // A process that knows the slot by that index alone.
    let next = lease_with(&test.pool(), "node", test.head(), &|_| {});
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    next.finish().unwrap();
    lease_is_fresh(&test, &test.pool(), test.head()).finish().unwrap();
}

/// A tree with one entry of this name, which git itself would refuse to make.
fn tree(test: &TestRepo, mode: &str, name: &str, id: &str) -> String {
    let bytes: Vec<u8> =
        (0..40).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()).collect();
    let file = test.temporary().join("raw");
    write(&file, &[format!("{mode} {name}\0").as_bytes(), &bytes].concat());
    let arguments = ["hash-object", "-t", "tree", "-w", "--literally", file.to_str().unwrap()];
    test.git(&arguments).trim().to_owned()
}

#[test]
fn a_commit_with_paths_that_no_checkout_may_have_is_refused_by_name() {
    let test = TestRepo::with(&[("a", "a\n")]);
    let (repo, pool, start) = (test.repo(), test.pool(), test.head());
    let blob = test.git(&["rev-parse", "HEAD:a"]).trim().to_owned();
    write(&test.temporary().join("a"), b"precious");
    for name in [".git", "..", ".GIT"] {
        let inner = tree(&test, "100644", "a", &blob);
        let outer: TreeId = tree(&test, "40000", name, &inner).parse().unwrap();
        let commit: CommitId = repo.commit(outer, &[start], "hostile", Stamp::Like(start)).unwrap();
        let holder = git_support::holder("node");
        let request = LeaseRequest { commit, holder: &holder, prefer: "node", sweep: &|_| {} };
        let error = pool.lease(&request).unwrap_err();
        assert!(matches!(error, GitError::UnsafePath { .. }), "{error}");
        assert!(error.to_string().contains(&format!("\"{name}/a\"")), "{error}");
    }
    assert_eq!(std::fs::read(test.temporary().join("a")).unwrap(), b"precious");
    let next = lease_with(&pool, "node", start, &|_| {});
    assert_eq!(git(next.path(), &["status", "--porcelain"]), "");
}

#[test]
fn a_name_that_git_keeps_for_itself_is_left_out_in_any_case() {
    for test in
        [TestRepo::with(&[("a", "a\n"), ("d/b", "b\n")]), TestRepo::plain(&[("a", "a\n"), ("d/b", "b\n")])]
    {
        let pool = test.pool();
        let mut first = lease(&pool, "node", test.head());
        for name in [".Git/config", "d/.GIT/config", "new/.gIt", "d/.git"] {
            write(&first.path().join(name), b"x");
        }
        write(&first.path().join("new/file"), b"x");
        assert_eq!(test.listed(first.capture().unwrap().tree), "a\nd/b\nnew/file\n");
        first.finish().unwrap();
        lease_is_fresh(&test, &pool, test.head()).finish().unwrap();
    }
}

#[test]
fn a_pool_that_is_removed_while_it_is_open_is_made_again() {
    let test = TestRepo::with(&[("a", "a\n")]);
    let pool = test.pool();
    lease(&pool, "node", test.head()).finish().unwrap();
    std::fs::remove_dir_all(test.pool_directory()).unwrap();
    std::fs::remove_dir_all(test.path.join(".git/spb")).unwrap();
    test.git(&["worktree", "prune"]);
    lease_is_fresh(&test, &pool, test.head()).finish().unwrap();
}

#[test]
fn a_sparse_checkout_of_the_user_does_not_reach_slots() {
    let test = TestRepo::with(&[("a", "a\n"), ("d/b", "b\n"), ("e/c", "c\n")]);
    test.git(&["sparse-checkout", "set", "d"]);
    assert!(!test.path.join("e").exists());
    let pool = test.pool();
    let mut first = lease(&pool, "node", test.head());
    assert!(first.path().join("e/c").exists());
    assert_eq!(git(first.path(), &["status", "--porcelain"]), "");
    // A node may have one of its own: what it leaves out is not removed.
    git(first.path(), &["sparse-checkout", "set", "e"]);
    assert!(!first.path().join("d").exists());
    assert_eq!(first.capture().unwrap().tree, test.repo().tree_of(test.head()).unwrap());
    first.finish().unwrap();
    let next = lease(&pool, "node", test.head());
    assert!(next.path().join("d/b").exists() && next.path().join("e/c").exists());
    assert_eq!(git(next.path(), &["status", "--porcelain"]), "");
}
