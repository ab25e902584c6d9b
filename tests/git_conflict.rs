//! Conflicts as files with markers, against real git: what `git merge` leaves in a work tree, with names for the sides.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod git_support;

use std::path::{Path, PathBuf};

use git_support::TestRepo;
use proptest::prelude::*;
use spb::git::conflict::{Marked, Marking, Unsettled, mark, settled};
use spb::git::{CommitId, Stamp};

#[track_caller]
fn marked(test: &TestRepo, ours: CommitId, theirs: CommitId) -> Marked {
    match mark(&test.repo(), (ours, theirs), ("left", "right"), Stamp::Like(ours)).unwrap() {
        Marking::Lines(marked) => marked,
        other => panic!("{other:?}"),
    }
}

fn show(test: &TestRepo, at: impl std::fmt::Display, path: &str) -> String {
    test.git(&["show", &format!("{at}:{path}")])
}

#[test]
fn lines_in_conflict_stand_between_markers_that_name_the_sides() {
    let test =
        TestRepo::with(&[("a", "1\n2\n3\n"), ("b", "b\n"), ("old name.txt", "1\n2\n3\n4\n5\n6\n7\n8\n")]);
    let base = test.head();
    let left = test.commit_on(
        base,
        &[("a", Some("1\nL\n3\n")), ("old name.txt", None), ("new.txt", Some("1\n2\n3\nleft\n5\n6\n7\n8\n"))],
    );
    let right = test.commit_on(
        base,
        &[
            ("a", Some("1\nR\n3\n")),
            ("b", Some("B\n")),
            ("old name.txt", Some("1\n2\n3\nright\n5\n6\n7\n8\n")),
        ],
    );
    let marked = marked(&test, left, right);
    assert_eq!(marked.files, [PathBuf::from("a"), PathBuf::from("new.txt")]);
    assert_eq!(
        show(&test, marked.commit, "a"),
        "1\n<<<<<<< left\nL\n||||||| base\n2\n=======\nR\n>>>>>>> right\n3\n"
    );
    // A file that one side moved is one file.
    assert_eq!(
        show(&test, marked.commit, "new.txt"),
        "1\n2\n3\n<<<<<<< left\nleft\n||||||| base\n4\n=======\nright\n>>>>>>> right\n5\n6\n7\n8\n"
    );
    assert_eq!(show(&test, marked.commit, "b"), "B\n", "what does not conflict is merged");
    assert_eq!(test.repo().parents(marked.commit).unwrap(), [left, right]);
    let (again, one) = (self::marked(&test, left, right), &marked);
    assert_eq!(&again, one, "the same again");
}

#[test]
fn what_no_markers_show_is_named() {
    let test = TestRepo::with(&[("gone", "1\n"), ("picture", "x\0base"), ("a", "1\n2\n3\n")]);
    let base = test.head();
    let left =
        test.commit_on(base, &[("gone", None), ("picture", Some("x\0left")), ("a", Some("1\nL\n3\n"))]);
    let right = test
        .commit_on(base, &[("gone", Some("2\n")), ("picture", Some("x\0right")), ("a", Some("1\nR\n3\n"))]);
    let marking = mark(&test.repo(), (left, right), ("left", "right"), Stamp::Like(left)).unwrap();
    assert_eq!(marking, Marking::Other(vec![PathBuf::from("gone"), PathBuf::from("picture")]));
}

#[test]
fn an_answer_changes_only_the_files_in_conflict_and_leaves_no_marker() {
    let test = TestRepo::with(&[("a", "1\n2\n3\n"), ("b", "b\n")]);
    let base = test.head();
    let left = test.commit_on(base, &[("a", Some("1\nL\n3\n"))]);
    let right = test.commit_on(base, &[("a", Some("1\nR\n3\n"))]);
    let marked = marked(&test, left, right);
    let answer = |files: &[(&str, Option<&str>)]| {
        let commit = test.commit_on(marked.commit, files);
        settled(&test.repo(), &marked, test.repo().tree_of(commit).unwrap()).unwrap()
    };
    assert_eq!(answer(&[("a", Some("1\nL\nR\n3\n"))]), Ok(()));
    assert_eq!(answer(&[("a", None)]), Ok(()));
    assert_eq!(
        settled(&test.repo(), &marked, marked.tree).unwrap(),
        Err(Unsettled::Markers(vec!["a".into()]))
    );
    let others = Unsettled::Others(vec!["b".into(), "c".into()]);
    assert_eq!(answer(&[("a", Some("x")), ("b", Some("x")), ("c", Some("x"))]), Err(others));
    for left in ["<<<<<<< left\n", "1\n=======\n", ">>>>>>> right", "||||||| base\r\n"] {
        assert_eq!(answer(&[("a", Some(left))]), Err(Unsettled::Markers(vec!["a".into()])), "{left:?}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(0..5u8, 0..8)
        .prop_map(|lines| lines.iter().map(|line| format!("line {line}\n")).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn markers_are_those_that_git_writes(base in text(), left in text(), right in text()) {
        let test = TestRepo::with(&[("a", &base), ("other", "something else\nentirely\n")]);
        let start = test.head();
        let ours = test.commit_on(start, &[("a", Some(&left)), ("l", Some("left\n"))]);
        let theirs = test.commit_on(start, &[("a", Some(&right)), ("r", Some("right\n"))]);
        let Marking::Lines(marked) = mark(&test.repo(), (ours, theirs), ("left", "right"), Stamp::Like(ours)).unwrap()
        else { panic!("lines only") };
        if marked.files.is_empty() {
            return Ok(());
        }
        prop_assert_eq!(&marked.files, &[Path::new("a").to_owned()]);
        test.git(&["branch", "-f", "left", &ours.to_string()]);
        test.git(&["branch", "-f", "right", &theirs.to_string()]);
        test.git(&["checkout", "-q", "-f", "left"]);
        let style = "merge.conflictStyle=diff3";
        git_support::git_output(&test.path, &[], &["-c", style, "-c", "user.name=x", "-c", "user.email=x", "merge", "-q", "right"]);
        let found = show(&test, marked.commit, "a");
        let expect = std::fs::read_to_string(test.path.join("a")).unwrap();
        // Git calls our side HEAD there, and the base by its commit.
        let expect: String = expect.lines().map(|line| match line {
            "<<<<<<< HEAD" => "<<<<<<< left\n".to_owned(),
            line if line.starts_with("|||||||") => "||||||| base\n".to_owned(),
            line => format!("{line}\n"),
        }).collect();
        prop_assert_eq!(found, expect);
    }
}
