//! The pool of worktrees against real git.

mod git_support;

use git_support::{TestRepo, lease, write};
use spb::git::{SlotState, slot::Which};

#[test]
fn a_lease_holds_the_commit_and_what_the_node_leaves_becomes_a_tree() {
    let test = TestRepo::with(&[("a", "one\n"), ("dir/b", "two\n"), (".gitignore", "target\n")]);
    let pool = test.pool();
    let mut first = lease(&pool, "build", test.head());
    assert_eq!(std::fs::read(first.path().join("dir/b")).unwrap(), b"two\n");
    write(&first.path().join("a"), b"changed\n");
    write(&first.path().join("new/file"), b"new\n");
    write(&first.path().join("target/cache"), b"ignored\n");
    std::fs::remove_file(first.path().join("dir/b")).unwrap();
    let captured = first.capture().unwrap();
    assert_eq!(captured.head, None);
    let listed = test.git(&["ls-tree", "-r", "--name-only", &captured.tree.to_string()]);
    assert_eq!(listed, ".gitignore\na\nnew/file\n");
    first.finish().unwrap();

    let second = lease(&pool, "build", test.head());
    assert_eq!(second.number(), 1);
    assert_eq!(std::fs::read(second.path().join("a")).unwrap(), b"one\n");
    assert!(!second.path().join("new").exists());
    assert_eq!(std::fs::read(second.path().join("target/cache")).unwrap(), b"ignored\n");
    let third = lease(&pool, "other", test.head());
    assert_eq!(third.number(), 2);
    second.finish().unwrap();
    drop(third);
    let states: Vec<SlotState> = pool.list().unwrap().into_iter().map(|slot| slot.state).collect();
    assert_eq!(states, [SlotState::Free, SlotState::Dirty]);
    assert_eq!(pool.remove(Which::All).unwrap().len(), 2);
    assert_eq!(test.git(&["worktree", "list"]).lines().count(), 1);
    assert_eq!(test.git(&["status", "--porcelain"]), "");
}
