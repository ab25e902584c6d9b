//! Merges in memory against real git.

mod git_support;

use git_support::TestRepo;
use spb::git::{Merged, merge_heads};

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
