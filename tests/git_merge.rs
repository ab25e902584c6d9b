//! Merges in memory against real git.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod git_support;

use git_support::TestRepo;
use proptest::prelude::*;
use spb::git::{CommitId, Merged, Stamp, merge_heads, transplant};

#[test]
fn results_are_joined_in_order_and_a_conflict_names_the_two_heads_and_the_files() {
    let test = TestRepo::with(&[("a", "1\n2\n3\n4\n5\n6\n7\n8\n9\n"), ("b", "b\n")]);
    let (repo, base) = (test.repo(), test.head());
    let top = test.commit_on(base, &[("a", Some("one\n2\n3\n4\n5\n6\n7\n8\n9\n"))]);
    let bottom = test.commit_on(base, &[("a", Some("1\n2\n3\n4\n5\n6\n7\n8\nnine\n"))]);
    let other = test.commit_on(base, &[("c", Some("c\n"))]);
    let clash = test.commit_on(base, &[("a", Some("1\n2\n3\n4\n5\n6\n7\n8\nneuf\n"))]);
    assert_eq!(merge_heads(&repo, base, &[]).unwrap(), Merged::Clean(base));
    assert_eq!(merge_heads(&repo, base, &[top]).unwrap(), Merged::Clean(top));
    assert_eq!(merge_heads(&repo, base, &[top, base, top]).unwrap(), Merged::Clean(top));
    let Merged::Clean(joined) = merge_heads(&repo, base, &[top, bottom, other]).unwrap() else { panic!() };
    assert_eq!(merge_heads(&repo, base, &[top, bottom, other]).unwrap(), Merged::Clean(joined));
    assert_eq!(test.git(&["show", &format!("{joined}:a")]), "one\n2\n3\n4\n5\n6\n7\n8\nnine\n");
    assert_eq!(
        merge_heads(&repo, base, &[top, other, bottom, clash]).unwrap(),
        Merged::Conflict { first: bottom, second: clash, files: vec!["a".into()] }
    );
}

#[test]
fn a_change_is_carried_to_another_base_with_its_message() {
    let test = TestRepo::with(&[("a", "1\n2\n3\n4\n5\n6\n7\n8\n9\n"), ("b", "b\n")]);
    let (repo, base) = (test.repo(), test.head());
    let change = test.commit_on(base, &[("a", Some("1\n2\n3\n4\n5\n6\n7\n8\nnine\n")), ("new/x", Some("x"))]);
    let onto = test.commit_on(base, &[("a", Some("one\n2\n3\n4\n5\n6\n7\n8\n9\n")), ("b", None)]);
    assert_eq!(transplant(&repo, change, base).unwrap(), Merged::Clean(change));
    let Merged::Clean(moved) = transplant(&repo, change, onto).unwrap() else { panic!() };
    assert_eq!(transplant(&repo, change, onto).unwrap(), Merged::Clean(moved));
    assert_eq!(repo.parents(moved).unwrap(), [onto]);
    assert_eq!(repo.message(moved).unwrap(), "change\n");
    assert_eq!(test.listed(repo.tree_of(moved).unwrap()), "a\nnew/x\n");
    let clash = test.commit_on(base, &[("a", Some("eins\n2\n3\n4\n5\n6\n7\n8\n9\n"))]);
    let conflict = Merged::Conflict { first: onto, second: clash, files: vec!["a".into()] };
    assert_eq!(transplant(&repo, clash, onto).unwrap(), conflict);
}

#[test]
fn a_file_moved_on_one_side_and_changed_on_the_other_is_no_conflict() {
    let text = "a line\nand another\nand a third\nso that it is recognised\n";
    let test = TestRepo::with(&[("old", text)]);
    let (repo, base) = (test.repo(), test.head());
    let moved = test.commit_on(base, &[("old", None), ("new", Some(text))]);
    let changed = test.commit_on(base, &[("old", Some(&format!("{text}more\n")))]);
    let Merged::Clean(merged) = merge_heads(&repo, base, &[moved, changed]).unwrap() else { panic!() };
    assert_eq!(test.git(&["show", &format!("{merged}:new")]), format!("{text}more\n"));
    let Merged::Clean(merged) = transplant(&repo, changed, moved).unwrap() else { panic!() };
    assert_eq!(test.git(&["show", &format!("{merged}:new")]), format!("{text}more\n"));
}

#[test]
fn attributes_of_the_commits_decide_how_files_are_merged() {
    let test = TestRepo::with(&[
        (".gitattributes", "log merge=union\nlock -merge\n"),
        ("log", "0\n"),
        ("lock", "1\n2\n3\n4\n5\n"),
    ]);
    let (repo, base) = (test.repo(), test.head());
    let one = test.commit_on(base, &[("log", Some("0\none\n"))]);
    let two = test.commit_on(base, &[("log", Some("0\ntwo\n"))]);
    let Merged::Clean(merged) = merge_heads(&repo, base, &[one, two]).unwrap() else { panic!() };
    assert_eq!(test.git(&["show", &format!("{merged}:log")]), "0\none\ntwo\n");
    let top = test.commit_on(base, &[("lock", Some("x\n2\n3\n4\n5\n"))]);
    let end = test.commit_on(base, &[("lock", Some("1\n2\n3\n4\nx\n"))]);
    let conflict = Merged::Conflict { first: top, second: end, files: vec!["lock".into()] };
    assert_eq!(merge_heads(&repo, base, &[top, end]).unwrap(), conflict);
}

#[test]
fn criss_cross_and_unrelated_histories_are_merged() {
    let test = TestRepo::with(&[("a", "1\n2\n3\n4\n5\n6\n7\n8\n9\n")]);
    let (repo, base) = (test.repo(), test.head());
    let commit = |tree, parents: &[_]| repo.commit(tree, parents, "x", Stamp::Like(base)).unwrap();
    let one = test.commit_on(base, &[("a", Some("one\n2\n3\n4\n5\n6\n7\n8\n9\n"))]);
    let two = test.commit_on(base, &[("a", Some("1\n2\n3\n4\n5\n6\n7\n8\nnine\n"))]);
    let Merged::Clean(both) = merge_heads(&repo, base, &[one, two]).unwrap() else { panic!() };
    let tree = repo.tree_of(both).unwrap();
    let (left, right) = (commit(tree, &[one, two]), commit(tree, &[two, one]));
    let left = test.commit_on(left, &[("l", Some("l"))]);
    let right = test.commit_on(right, &[("r", Some("r"))]);
    let Merged::Clean(merged) = merge_heads(&repo, base, &[left, right]).unwrap() else { panic!() };
    assert_eq!(test.listed(repo.tree_of(merged).unwrap()), "a\nl\nr\n");
    test.git(&["checkout", "-q", "--orphan", "other"]);
    test.git(&["rm", "-rfq", "."]);
    let unrelated = test.commit("unrelated", &[("u", "u")]);
    let Merged::Clean(merged) = merge_heads(&repo, base, &[one, unrelated]).unwrap() else { panic!() };
    assert_eq!(test.listed(repo.tree_of(merged).unwrap()), "a\nu\n");
    let clash = test.commit("clash", &[("a", "clash\n")]);
    let conflict = Merged::Conflict { first: one, second: clash, files: vec!["a".into()] };
    assert_eq!(merge_heads(&repo, base, &[one, clash]).unwrap(), conflict);
}

/// A tree over a small world of paths: `None` is absent.
fn tree() -> impl Strategy<Value = Vec<Option<(u8, usize)>>> {
    prop::collection::vec(prop::option::weighted(0.7, (0..3u8, 0..CONTENTS.len())), PATHS.len())
}

/// The same with some paths changed.
fn changed(tree: &[Option<(u8, usize)>], by: &[Option<Option<(u8, usize)>>]) -> Vec<Option<(u8, usize)>> {
    tree.iter().zip(by).map(|(old, new)| new.unwrap_or(*old)).collect()
}

fn change() -> impl Strategy<Value = Vec<Option<Option<(u8, usize)>>>> {
    let file = prop::option::weighted(0.7, (0..3u8, 0..CONTENTS.len()));
    prop::collection::vec(prop::option::weighted(0.25, file), PATHS.len())
}

const PATHS: [&str; 9] = ["a", "b", "d/x", "d/y", "d-e", "d/e/z", "e/1", "e/2", "f/g/h"];
// Unlike one another, so that none is taken for a moved one, but for the two that merge.
const CONTENTS: [&str; 6] = [
    "",
    "1\n2\n3\n4\n5\n6\n7\n8\n9\n",
    "one\n2\n3\n4\n5\n6\n7\n8\n9\n",
    "1\n2\n3\n4\n5\n6\n7\n8\nnine\n",
    "quite\nanother\ntext\n",
    "with\0zero\n",
];

/// A commit of such a tree. Where a file and a directory meet, the first path wins.
fn commit(test: &TestRepo, tree: &[Option<(u8, usize)>], parent: Option<CommitId>) -> CommitId {
    test.git(&["read-tree", "--empty"]);
    for (path, file) in PATHS.iter().zip(tree) {
        let Some((kind, content)) = file else { continue };
        let blob = test.temporary().join("blob");
        git_support::write(&blob, CONTENTS[*content].as_bytes());
        let id = test.git(&["hash-object", "-w", blob.to_str().unwrap()]);
        let mode = ["100644", "100755", "120000"][usize::from(*kind)];
        test.git(&[
            "update-index",
            "--add",
            "--replace",
            "--cacheinfo",
            &format!("{mode},{},{path}", id.trim()),
        ]);
    }
    let tree = test.git(&["write-tree"]).trim().parse().unwrap();
    let parents: Vec<CommitId> = parent.into_iter().collect();
    let repo = test.repo();
    let like = parent.unwrap_or(test.head());
    repo.commit(tree, &parents, "tree", Stamp::Like(like)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_trees_merge_as_git_merges_them(base in tree(), ours in change(), theirs in change()) {
        let test = TestRepo::with(&[("a", "a")]);
        let (ours, theirs) = (changed(&base, &ours), changed(&base, &theirs));
        let base = commit(&test, &base, None);
        let (ours, theirs) = (commit(&test, &ours, Some(base)), commit(&test, &theirs, Some(base)));
        let merged = merge_heads(&test.repo(), base, &[ours, theirs]).unwrap();
        let sides = [ours.to_string(), theirs.to_string()];
        let output = git_support::git_output(&test.path, &[], &["merge-tree", "--write-tree", &sides[0], &sides[1]]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match merged {
            Merged::Clean(merged) if output.status.success() => {
                prop_assert_eq!(test.repo().tree_of(merged).unwrap().to_string(), text.trim());
            }
            // Git takes a file for a moved one that was also removed: no content is lost if both just happen.
            Merged::Clean(_) => prop_assert!(text.contains("rename") || text.contains("file location"), "{}", text),
            Merged::Conflict { files, .. } => {
                prop_assert!(!output.status.success() && !files.is_empty(), "{:?}", files);
            }
        }
    }
}
