//! Repositories as spb finds and reads them: where they are, refs, commits, differences, globs, the user's checkout.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod git_support;

use std::path::Path;

use git_support::{TestRepo, git, git_output, write};
use proptest::prelude::*;
use spb::git::tree::{self, ReadsMemo};
use spb::git::{CommitId, Expect, GitError, Globs, Head, Kind, Repo, Stamp, default_directory, repo};

#[test]
fn a_repository_is_found_from_everywhere_in_it() {
    let test = TestRepo::with(&[("a", "a"), ("d/e/f", "f")]);
    let linked = test.temporary().join("linked");
    test.git(&["worktree", "add", "-q", "-b", "side", linked.to_str().unwrap()]);
    let bare = test.temporary().join("bare.git");
    test.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    let top = test.repo_path();
    assert_eq!((&*top.git_dir, top.work_dir.as_deref()), (&*test.path.join(".git"), Some(&*test.path)));
    assert_eq!(repo::discover(&test.path.join("d/e")).unwrap(), top);
    let side = repo::discover(&linked).unwrap();
    assert_eq!((side.work_dir.as_deref(), &side.common_dir), (Some(&*linked), &top.common_dir));
    assert_ne!(side.git_dir, top.git_dir);
    let bare = repo::discover(&bare).unwrap();
    assert_eq!((&bare.work_dir, bare.name()), (&None, "bare".to_owned()));
    assert_eq!(Repo::open(&bare).unwrap().resolve("HEAD").unwrap(), test.head());
    assert!(matches!(Repo::open(&bare).unwrap().checkout(), Err(GitError::Bare)));
    let cache = Path::new("/cache");
    assert_eq!(default_directory(&side, cache), default_directory(&top, cache));
    assert_ne!(default_directory(&bare, cache), default_directory(&top, cache));
    assert!(default_directory(&top, cache).starts_with("/cache/spb"));
}

#[test]
fn what_cannot_be_opened_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = repo::discover(directory.path()).unwrap_err();
    assert!(matches!(error, GitError::NotARepository(_)), "{error}");
    assert!(error.help().unwrap().contains("git init"));
    let cases: [(&[&str], &str); 2] =
        [(&["--object-format=sha256"], "SHA-256"), (&["--ref-format=reftable"], "reftable")];
    for (format, expect) in cases {
        let place = tempfile::tempdir().unwrap();
        let init = [&["init", "-q"], format].concat();
        if git_output(place.path(), &[], &init).status.success() {
            let error = repo::discover(place.path()).unwrap_err();
            assert!(matches!(error, GitError::Unsupported { .. }), "{error}");
            assert!(error.to_string().contains(expect), "{error}");
        }
    }
}

#[test]
fn before_the_first_commit_there_is_nothing_to_resolve() {
    let test = TestRepo::new();
    let repo = test.repo();
    assert!(matches!(repo.resolve("HEAD"), Err(GitError::Unborn)));
    let state = repo.checkout().unwrap();
    assert_eq!((state.head, state.commit), (Head::Unborn("main".into()), None));
    let test = TestRepo::with(&[("a", "a")]);
    let error = test.repo().resolve("no\u{1b}[31msuch").unwrap_err().to_string();
    assert_eq!(error, r#"unknown revision "no\u{1b}[31msuch""#);
}

#[test]
fn equal_inputs_give_equal_commits_and_the_users_name_is_used_when_asked() {
    let test = TestRepo::with(&[("a", "a")]);
    let (repo, head) = (test.repo(), test.head());
    let tree = repo.tree_of(head).unwrap();
    let make = |stamp| repo.commit(tree, &[head], "message\n", stamp).unwrap();
    assert_eq!(make(Stamp::Like(head)), make(Stamp::Like(head)));
    let author = |commit: CommitId| test.git(&["log", "-1", "--format=%an <%ae> %at", &commit.to_string()]);
    assert_eq!(author(make(Stamp::Like(head))), "spb <spb@localhost> 1704067200\n");
    assert!(author(make(Stamp::Now)).starts_with("Tester <tester@example.org> "));
    assert_eq!(repo.message(make(Stamp::Now)).unwrap(), "message\n");
    assert_eq!(repo.parents(make(Stamp::Now)).unwrap(), [head]);
    test.git(&["fsck", "--strict"]);
}

#[test]
fn refs_move_only_from_where_they_are_expected() {
    let test = TestRepo::with(&[("a", "a")]);
    let (repo, one) = (test.repo(), test.head());
    let two = test.commit("two", &[("a", "b")]);
    let name = "refs/spb/runs/x";
    let is_moved = |result: Result<(), GitError>| matches!(result, Err(GitError::RefMoved { .. }));
    assert_eq!(repo.read_ref(name).unwrap(), None);
    assert!(is_moved(repo.set_ref(name, two, Expect::Is(one), "x")));
    repo.set_ref(name, one, Expect::Absent, "x").unwrap();
    assert!(is_moved(repo.set_ref(name, two, Expect::Absent, "x")));
    assert!(is_moved(repo.set_ref(name, one, Expect::Is(two), "x")));
    repo.set_ref(name, two, Expect::Is(one), "x").unwrap();
    repo.set_ref("refs/spb/runs/y", one, Expect::Any, "x").unwrap();
    test.git(&["pack-refs", "--all"]);
    repo.set_ref(name, one, Expect::Is(two), "x").unwrap();
    let listed = repo.refs("refs/spb/").unwrap();
    assert_eq!(listed, [(name.to_owned(), one), ("refs/spb/runs/y".to_owned(), one)]);
    repo.delete_ref(name).unwrap();
    repo.delete_ref(name).unwrap();
    assert_eq!(repo.read_ref(name).unwrap(), None);
    assert!(repo.contains(two, one).unwrap() && !repo.contains(one, two).unwrap());
}

#[test]
fn differences_are_listed_printed_and_explained() {
    let test = TestRepo::with(&[("a", "a\n"), ("d/x", "x\n"), ("d/y", "y\n"), ("e", "e\n")]);
    let (repo, old) = (test.repo(), test.repo().tree_of(test.head()).unwrap());
    std::fs::remove_file(test.path.join("e")).unwrap();
    let new = test.commit("new", &[("d/x", "changed\n"), ("d-z", "z\n"), ("e/f", "f\n")]);
    let new = repo.tree_of(new).unwrap();
    let changes = repo.changes(old, new).unwrap();
    let listed: Vec<String> =
        changes.iter().map(|change| format!("{} {}", change.kind.letter(), change.name())).collect();
    assert_eq!(listed, ["A d-z", "M d/x", "D e", "A e/f"]);
    let patch = repo.diff_text(old, new, repo::Colour::Never).unwrap();
    assert!(String::from_utf8(patch).unwrap().contains("-x\n+changed\n"));
    assert_eq!(repo.read_file(new, Path::new("d/x")).unwrap(), Some(b"changed\n".to_vec()));
    assert_eq!(repo.read_file(new, Path::new("d")).unwrap(), None);
    assert_eq!(repo.read_file(new, Path::new("none")).unwrap(), None);
    let globs = |patterns: &[&str]| {
        Globs::compile(&patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>()).unwrap()
    };
    let first = |globs: Option<&Globs>| tree::first_difference(&repo, old, new, globs).unwrap();
    assert_eq!(first(None), Some(("d-z".into(), Kind::Added)));
    assert_eq!(first(Some(&globs(&["d/**"]))), Some(("d/x".into(), Kind::Modified)));
    assert_eq!(first(Some(&globs(&["d/y", "a"]))), None);
    assert_eq!(tree::unexpected(&changes, &globs(&["d/**", "e"])), ["d-z"]);
    let names: Vec<_> = tree::matching(&repo, new, &globs(&["**/x", "a"])).unwrap();
    assert_eq!(names.iter().map(|entry| &*entry.path).collect::<Vec<_>>(), [&b"a"[..], b"d/x"]);
}

#[test]
fn the_checkout_is_described_and_moved_only_when_nothing_can_be_lost() {
    let test = TestRepo::with(&[("a", "a\n")]);
    let (repo, start) = (test.repo(), test.head());
    let next = test.commit_on(start, &[("a", Some("b\n")), ("new", Some("n\n"))]);
    let state = repo.checkout().unwrap();
    assert_eq!((state.head, state.commit, state.changed), (Head::Branch("main".into()), Some(start), 0));
    write(&test.path.join("new"), b"mine\n");
    assert_eq!(repo.checkout().unwrap().changed, 1);
    let refused = repo.fast_forward_checkout(next);
    assert!(matches!(refused, Err(GitError::DirtyCheckout { changed: 1, .. })), "{refused:?}");
    assert_eq!(std::fs::read(test.path.join("new")).unwrap(), b"mine\n");
    std::fs::remove_file(test.path.join("new")).unwrap();
    let hook = test.path.join(".git/hooks/post-merge");
    write(&hook, format!("#!/bin/sh\ntouch {}\n", test.temporary().join("hooked").display()).as_bytes());
    git_support::set_mode(&hook, 0o755);
    repo.fast_forward_checkout(next).unwrap();
    assert_eq!((test.head(), repo.checkout().unwrap().changed), (next, 0));
    assert!(test.path.join("new").exists() && !test.temporary().join("hooked").exists());
    let other = test.commit_on(start, &[("a", Some("c\n"))]);
    let refused = repo.fast_forward_checkout(other);
    assert!(matches!(refused, Err(GitError::NotFastForward { .. })), "{refused:?}");
    git_output(&test.path, &[], &["merge", &other.to_string()]);
    let state = repo.checkout().unwrap();
    assert_eq!((state.in_progress, state.changed), (Some("merge"), 1));
    test.git(&["merge", "--abort"]);
    test.git(&["checkout", "-q", "--detach"]);
    assert_eq!(repo.checkout().unwrap().head, Head::Detached);
}

#[test]
fn a_branch_is_found_where_it_is_checked_out() {
    let test = TestRepo::with(&[("a", "a\n")]);
    let linked = test.temporary().join("linked");
    test.git(&["worktree", "add", "-q", "-b", "side/one", linked.to_str().unwrap()]);
    test.git(&["branch", "free"]);
    for place in [&test.path, &linked] {
        let repo = Repo::open(&repo::discover(place).unwrap()).unwrap();
        assert_eq!(repo.checked_out_at("main").unwrap().as_ref(), Some(&test.path));
        assert_eq!(repo.checked_out_at("refs/heads/side/one").unwrap().as_ref(), Some(&linked));
        assert_eq!(repo.checked_out_at("free").unwrap(), None);
    }
    let bare = test.temporary().join("bare.git");
    test.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    let repo = Repo::open(&repo::discover(&bare).unwrap()).unwrap();
    assert_eq!(repo.checked_out_at("main").unwrap(), None);
}

#[test]
fn a_slot_of_a_repository_without_checkout_works_too() {
    let test = TestRepo::with(&[("a", "a\n")]);
    let bare = test.temporary().join("bare.git");
    test.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    let pool = spb::git::Pool::open(&repo::discover(&bare).unwrap(), test.pool_directory()).unwrap();
    let mut lease = git_support::lease(&pool, "node", test.head());
    assert_eq!(git(lease.path(), &["status", "--porcelain"]), "");
    write(&lease.path().join("b"), b"b");
    let tree = lease.capture().unwrap().tree;
    assert_eq!(git(&bare, &["ls-tree", "--name-only", &tree.to_string()]), "a\nb\n");
}

#[test]
fn a_digest_is_taken_once_for_each_tree_and_globs() {
    let test = TestRepo::with(&[("a", "a\n"), ("src/b", "b\n")]);
    let (repo, memo) = (test.repo(), ReadsMemo::default());
    let globs = Globs::compile(&["src/**".to_owned()]).unwrap();
    let digest = |commit| memo.digest(&repo, repo.tree_of(commit).unwrap(), &globs).unwrap();
    let first = digest(test.head());
    assert_eq!(first, digest(test.head()));
    assert_eq!(first, digest(test.commit("elsewhere", &[("a", "changed")])));
    assert_ne!(first, digest(test.commit("here", &[("src/c", "")])));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_digest_is_equal_exactly_when_the_globs_see_no_difference(
        patterns in prop::collection::vec(pattern(), 1..3),
        old in prop::collection::vec(0..3u8, FILES.len()),
        new in prop::collection::vec(0..3u8, FILES.len()),
    ) {
        let test = TestRepo::with(&[]);
        let tree = |contents: &[u8]| {
            let files: Vec<(&str, Option<String>)> =
                FILES.iter().zip(contents).map(|(path, content)| (*path, (*content > 0).then(|| content.to_string()))).collect();
            for (path, content) in &files {
                let path = test.path.join(path);
                match content {
                    Some(content) => write(&path, content.as_bytes()),
                    None => drop(std::fs::remove_file(&path)),
                }
            }
            let commit = test.commit("x", &[]);
            test.repo().tree_of(commit).unwrap()
        };
        let globs = Globs::compile(&patterns).unwrap();
        let (before, after) = (tree(&old), tree(&new));
        let repo = test.repo();
        let digest = |tree| tree::reads_digest(&repo, tree, &globs).unwrap();
        let differs = FILES.iter().zip(old.iter().zip(&new)).any(|(path, (old, new))| old != new && globs.matches(path.as_bytes()));
        prop_assert_eq!(digest(before) != digest(after), differs);
        prop_assert_eq!(tree::first_difference(&repo, before, after, Some(&globs)).unwrap().is_some(), differs);
        let mut expect: Vec<&str> = FILES.iter().zip(&new).filter(|(path, content)| **content > 0 && globs.matches(path.as_bytes())).map(|(path, _)| *path).collect();
        let mut found: Vec<String> = tree::matching(&repo, after, &globs).unwrap().into_iter().map(|entry| String::from_utf8(entry.path).unwrap()).collect();
        found.sort();
        expect.sort_unstable();
        prop_assert_eq!(found, expect);
    }
}

const FILES: [&str; 8] = ["a.rs", "b.md", "c/a.rs", "c/b/a.rs", "c/b/b.md", "c-d", "d/e/f/g", "d/h"];

fn pattern() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a.rs", "*.rs", "c", "b", "**", "*", "d", "{c,d}", "?", "[a-c]*"]);
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

#[test]
fn a_commit_that_cannot_be_written_is_an_error_and_no_id() {
    let test = TestRepo::with(&[("a", "1\n")]);
    let (base, repo) = (test.head(), test.repo());
    let tree = repo.tree_of(base).unwrap();
    // The same input gives the same id, so the place of the object is known before it is in the way.
    let directory = (0..100)
        .find_map(|number| {
            let message = format!("message {number}");
            let id = repo.commit(tree, &[base], &message, Stamp::Like(base)).unwrap().to_string();
            let directory = test.repo_path().common_dir.join("objects").join(&id[..2]);
            let is_alone = std::fs::read_dir(&directory).unwrap().count() == 1;
            is_alone.then_some((directory, message))
        })
        .expect("one of a hundred ids shares its first byte with no other object");
    let (directory, message) = directory;
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::write(&directory, "in the way").unwrap();
    let written = test.repo().commit(tree, &[base], &message, Stamp::Like(base));
    assert!(matches!(&written, Err(GitError::Write { .. })), "{written:?}");
}
