//! Rules for lines in conflict, against real git: `merge-tree -X ours`, `-X theirs`, and `merge-file --union`.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod git_support;

use git_support::TestRepo;
use proptest::prelude::*;
use spb::git::{CommitId, Favor, Merged, merge_heads_favoring as merge};

const ALL: [Favor; 3] = [Favor::Ours, Favor::Theirs, Favor::Union];

/// The text of `path` after a clean merge.
#[track_caller]
fn merged(test: &TestRepo, base: CommitId, heads: &[CommitId], favor: Favor, path: &str) -> String {
    match merge(&test.repo(), base, heads, favor).unwrap() {
        Merged::Clean(merged) => test.git(&["show", &format!("{merged}:{path}")]),
        conflict @ Merged::Conflict { .. } => panic!("{favor:?}: {conflict:?}"),
    }
}

#[test]
fn the_earlier_or_the_later_head_wins_its_lines_and_union_keeps_both() {
    let test = TestRepo::with(&[("a", "1\n2\n3\n4\n5\n6\n7\n8\n9\n")]);
    let base = test.head();
    let left = test.commit_on(base, &[("a", Some("1\nleft\n3\n4\n5\n6\n7\n8\nend\n"))]);
    let right = test.commit_on(base, &[("a", Some("one\n2\n3\n4\n5\n6\n7\n8\n9\n"))]);
    let third = test.commit_on(base, &[("a", Some("1\nthird\n3\n4\n5\n6\n7\n8\n9\n")), ("b", Some("b\n"))]);
    for (favor, expect) in [
        (Favor::Ours, "1\nleft\n3\n4\n5\n6\n7\n8\nend\n"),
        (Favor::Theirs, "1\nthird\n3\n4\n5\n6\n7\n8\nend\n"),
        (Favor::Union, "1\nleft\nthird\n3\n4\n5\n6\n7\n8\nend\n"),
    ] {
        assert_eq!(merged(&test, base, &[left, third], favor, "a"), expect, "{favor:?}");
        assert_eq!(merged(&test, base, &[left, third], favor, "b"), "b\n");
        let one = merge(&test.repo(), base, &[left, third], favor).unwrap();
        assert_eq!(merge(&test.repo(), base, &[left, third], favor).unwrap(), one, "the same commit again");
    }
    // What does not conflict is merged as always, and a third head meets what the first two gave.
    let three = merged(&test, base, &[left, right, third], Favor::Theirs, "a");
    assert!(three.contains("third") && three.contains("end"), "{three}");
}

#[test]
fn what_no_lines_decide_is_a_conflict_all_the_same() {
    let text = "1\n2\n3\n4\n5\n";
    let test = TestRepo::with(&[("gone", text), ("picture", "x\0base")]);
    let base = test.head();
    let removed = test.commit_on(base, &[("gone", None)]);
    let changed = test.commit_on(base, &[("gone", Some("1\n2\n3\n4\nfive\n"))]);
    for favor in ALL {
        let conflict = Merged::Conflict { first: removed, second: changed, files: vec!["gone".into()] };
        assert_eq!(merge(&test.repo(), base, &[removed, changed], favor).unwrap(), conflict, "{favor:?}");
    }
    let one = test.commit_on(base, &[("picture", Some("x\0one"))]);
    let two = test.commit_on(base, &[("picture", Some("x\0two"))]);
    let conflict = Merged::Conflict { first: one, second: two, files: vec!["picture".into()] };
    assert_eq!(merge(&test.repo(), base, &[one, two], Favor::Union).unwrap(), conflict);
    // Git takes a whole binary file for one hunk.
    assert_eq!(merged(&test, base, &[one, two], Favor::Ours, "picture"), "x\0one");
    assert_eq!(merged(&test, base, &[one, two], Favor::Theirs, "picture"), "x\0two");
}

#[test]
fn a_driver_that_the_attributes_name_counts_more_than_the_rule() {
    let test = TestRepo::with(&[
        (".gitattributes", "log merge=union\nlock -merge\n"),
        ("log", "0\n"),
        ("lock", "0\n"),
    ]);
    let base = test.head();
    let one = test.commit_on(base, &[("log", Some("0\none\n"))]);
    let two = test.commit_on(base, &[("log", Some("0\ntwo\n"))]);
    assert_eq!(merged(&test, base, &[one, two], Favor::Ours, "log"), "0\none\ntwo\n");
    let one = test.commit_on(base, &[("lock", Some("one\n"))]);
    let two = test.commit_on(base, &[("lock", Some("two\n"))]);
    assert!(matches!(
        merge(&test.repo(), base, &[one, two], Favor::Union).unwrap(),
        Merged::Conflict { files, .. } if files == ["lock"]
    ));
}

/// A text of a few short lines, so that most changes meet.
fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(0..5u8, 0..8)
        .prop_map(|lines| lines.iter().map(|line| format!("line {line}\n")).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_texts_merge_as_git_merges_them(base in text(), left in text(), right in text()) {
        // A second file, so that a commit is never empty and a removed file is never taken for a moved one.
        let test = TestRepo::with(&[("a", &base), ("other", "something else\nentirely\n")]);
        let start = test.head();
        let ours = test.commit_on(start, &[("a", Some(&left)), ("l", Some("left\n"))]);
        let theirs = test.commit_on(start, &[("a", Some(&right)), ("r", Some("right\n"))]);
        let plain = merge(&test.repo(), start, &[ours, theirs], Favor::Neither).unwrap();
        if matches!(plain, Merged::Clean(_)) {
            // Without a conflict no rule has a say.
            for favor in ALL {
                prop_assert_eq!(&merge(&test.repo(), start, &[ours, theirs], favor).unwrap(), &plain);
            }
            return Ok(());
        }
        for (favor, option) in [(Favor::Ours, "-Xours"), (Favor::Theirs, "-Xtheirs")] {
            let tree = test.git(&["merge-tree", "--write-tree", option, &ours.to_string(), &theirs.to_string()]);
            let expect = test.git(&["show", &format!("{}:a", tree.trim())]);
            prop_assert_eq!(merged(&test, start, &[ours, theirs], favor, "a"), expect, "{:?}", favor);
        }
        let files = [("left", &left), ("base", &base), ("right", &right)].map(|(name, text)| {
            let path = test.temporary().join(name);
            git_support::write(&path, text.as_bytes());
            path.to_str().unwrap().to_owned()
        });
        let expect = test.git(&["merge-file", "-p", "--union", "--diff-algorithm=histogram", &files[0], &files[1], &files[2]]);
        prop_assert_eq!(merged(&test, start, &[ours, theirs], Favor::Union, "a"), expect);
    }
}
