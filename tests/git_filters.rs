//! Slots of repositories whose files git converts, that have submodules, or that are large.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod git_support;

use std::path::Path;

use git_support::{TestRepo, git, lease, lease_is_fresh, recorded_by_git, write};
use spb::git::{Merged, Stamp, merge_heads};

const ATTRIBUTES: &str = "* text=auto\n*.rot filter=rot\n*.bat text eol=crlf\n*.id ident\n*.wide working-tree-encoding=UTF-16LE eol=lf text\n";

fn with_filters(files: &[(&str, &str)]) -> TestRepo {
    let test = TestRepo::new();
    for direction in ["clean", "smudge"] {
        test.git(&["config", &format!("filter.rot.{direction}"), "tr a-zA-Z n-za-mN-ZA-M"]);
    }
    test.git(&["config", "filter.rot.required", "true"]);
    test.commit("start", files);
    test
}

#[test]
fn converted_files_are_written_and_read_as_git_does() {
    let test = with_filters(&[
        (".gitattributes", ATTRIBUTES),
        ("secret.rot", "hello\n"),
        ("run.bat", "one\ntwo\n"),
        ("x.id", "$Id$\n"),
        ("plain", "plain\n"),
        ("sub/deep.rot", "deep\n"),
    ]);
    assert_eq!(test.git(&["show", "HEAD:secret.rot"]), "uryyb\n");
    let (pool, start) = (test.pool(), test.head());
    lease_is_fresh(&test, &pool, start).finish().unwrap();
    let mut first = lease(&pool, "node", start);
    let slot = first.path().to_owned();
    assert_eq!(std::fs::read(slot.join("run.bat")).unwrap(), b"one\r\ntwo\r\n");
    write(&slot.join("secret.rot"), b"changed\n");
    write(&slot.join("new \"one\"\n.rot"), b"new\n");
    write(&slot.join("new.bat"), b"crlf\r\nlf\n");
    write(&slot.join("auto"), b"crlf\r\n");
    write(&slot.join("binary"), b"crlf\r\n\0");
    write(&slot.join("x.id"), b"$Id: stale $\n");
    write(&slot.join("a.wide"), &"wide\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    let expect = recorded_by_git(&test, &slot, start);
    let tree = first.capture().unwrap().tree;
    assert_eq!(tree.to_string(), expect);
    first.finish().unwrap();
    let after = test.repo().commit(tree, &[start], "after", Stamp::Like(start)).unwrap();
    lease_is_fresh(&test, &pool, start).finish().unwrap();
    lease_is_fresh(&test, &pool, after).finish().unwrap();
    lease_is_fresh(&test, &test.pool(), start).finish().unwrap();
}

#[test]
fn a_change_of_the_attributes_reaches_files_that_did_not_change() {
    let test =
        with_filters(&[(".gitattributes", "*.bat eol=crlf\n"), ("run.bat", "one\n"), ("d/x.bat", "two\n")]);
    let start = test.head();
    let without = test.commit_on(start, &[(".gitattributes", Some("# nothing\n"))]);
    let deeper = test.commit_on(without, &[("d/.gitattributes", Some("*.bat eol=crlf\n"))]);
    let pool = test.pool();
    for commit in [start, without, deeper, start, deeper, without] {
        let mut lease = lease_is_fresh(&test, &pool, commit);
        assert_eq!(lease.capture().unwrap().tree, test.repo().tree_of(commit).unwrap());
        lease.finish().unwrap();
    }
}

#[test]
fn attributes_that_a_node_changes_hold_for_the_next_one() {
    let test = with_filters(&[("run.bat", "one\n"), ("other", "x\n")]);
    let (pool, start) = (test.pool(), test.head());
    let mut first = lease(&pool, "node", start);
    write(&first.path().join(".gitattributes"), b"*.bat eol=crlf\n");
    let tree = first.capture().unwrap().tree;
    first.finish().unwrap();
    let with = test.repo().commit(tree, &[start], "with", Stamp::Like(start)).unwrap();
    let mut second = lease_is_fresh(&test, &pool, with);
    std::fs::remove_file(second.path().join(".gitattributes")).unwrap();
    write(&second.path().join("run.bat"), b"one\n");
    assert_eq!(second.capture().unwrap().tree, test.repo().tree_of(start).unwrap());
    second.finish().unwrap();
    lease_is_fresh(&test, &pool, start).finish().unwrap();
}

#[test]
fn a_file_that_was_only_touched_is_no_change() {
    let test = with_filters(&[(".gitattributes", ATTRIBUTES), ("a.rot", "a\n"), ("b", "b\n")]);
    let pool = test.pool();
    let mut first = lease(&pool, "node", test.head());
    for name in ["a.rot", "b"] {
        let path = first.path().join(name);
        let content = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        write(&path, &content);
    }
    assert_eq!(first.capture().unwrap().tree, test.repo().tree_of(test.head()).unwrap());
    first.finish().unwrap();
    lease_is_fresh(&test, &pool, test.head()).finish().unwrap();
}

fn populate(submodule: &Path, from: &Path) {
    std::fs::remove_dir(submodule).unwrap();
    let arguments = ["clone", "-q", from.to_str().unwrap(), submodule.to_str().unwrap()];
    git(from, &arguments);
}

#[test]
fn submodules_are_empty_directories_and_a_node_may_move_them() {
    for plain in [false, true] {
        let inner = TestRepo::with(&[("file", "1")]);
        let (old, new) = (inner.head(), inner.commit("two", &[("file", "2")]));
        let test = TestRepo::with(&[("a", "a")]);
        if plain {
            test.git(&["config", "core.precomposeUnicode", "true"]);
        }
        std::fs::create_dir(test.path.join("sub")).unwrap();
        test.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{old},sub")]);
        test.git(&["commit", "-q", "-m", "submodule"]);
        let (pool, start) = (test.pool(), test.head());
        let mut first = lease_is_fresh(&test, &pool, start);
        assert!(first.path().join("sub").is_dir());
        assert_eq!(first.capture().unwrap().tree, test.repo().tree_of(start).unwrap());
        populate(&first.path().join("sub"), &inner.path);
        write(&first.path().join("sub/untracked"), b"");
        let captured = first.capture().unwrap();
        let listed = test.git(&["ls-tree", &captured.tree.to_string(), "sub"]);
        assert!(listed.starts_with(&format!("160000 commit {new}")), "{listed}");
        assert_eq!(captured.skipped, [""; 0]);
        first.finish().unwrap();
        lease_is_fresh(&test, &pool, start).finish().unwrap();
        // Added as one by the node: kept, although it is a repository inside the slot.
        let mut added = lease(&pool, "node", start);
        git(added.path(), &["clone", "-q", inner.path.to_str().unwrap(), "other"]);
        git(added.path(), &["add", "other"]);
        let captured = added.capture().unwrap();
        assert_eq!(test.listed(captured.tree), "a\nother\nsub\n");
        assert_eq!(captured.skipped, [""; 0]);
    }
}

#[test]
fn many_and_large_files_take_the_other_paths_to_the_same_result() {
    let test = TestRepo::new();
    for number in 0..2100 {
        write(
            &test.path.join(format!("d{}/e{}/f{number}", number % 7, number % 11)),
            format!("{number}").as_bytes(),
        );
    }
    let start = test.commit("many", &[]);
    let pool = test.pool();
    let mut first = lease_is_fresh(&test, &pool, start);
    for number in 0..3 {
        std::fs::remove_dir_all(first.path().join(format!("d{number}"))).unwrap();
        std::os::unix::fs::symlink("/etc", first.path().join(format!("d{number}"))).unwrap();
    }
    write(&first.path().join("large"), &vec![7; 17 << 20]);
    let expect = recorded_by_git(&test, first.path(), start);
    assert_eq!(first.capture().unwrap().tree.to_string(), expect);
    drop(first);
    let holder = git_support::holder("node");
    let again =
        git_support::lease_with(&test.pool(), "node", start, &|previous| assert_eq!(*previous, holder));
    again.finish().unwrap();
    lease_is_fresh(&test, &pool, start).finish().unwrap();
}

#[test]
fn a_partial_clone_fetches_what_it_needs() {
    let test = TestRepo::with(&[("a", "1\n2\n3\n4\n5\n"), ("d/b", "b\n")]);
    let (start, far) = (test.head(), test.temporary().join("partial"));
    let top = test.commit_on(start, &[("a", Some("one\n2\n3\n4\n5\n"))]);
    let end = test.commit_on(start, &[("a", Some("1\n2\n3\n4\nfive\n"))]);
    for (name, commit) in [("top", top), ("end", end)] {
        test.git(&["branch", name, &commit.to_string()]);
    }
    test.git(&["config", "uploadpack.allowFilter", "true"]);
    test.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let url = format!("file://{}", test.path.display());
    test.git(&["clone", "-q", "--filter=blob:none", "--no-checkout", &url, far.to_str().unwrap()]);
    git(&far, &["config", "extensions.partialClone", "origin"]);
    let path = spb::git::repo::discover(&far).unwrap();
    let repo = spb::git::Repo::open(&path).unwrap();
    let Merged::Clean(merged) = merge_heads(&repo, start, &[top, end]).unwrap() else { panic!() };
    let tree = repo.tree_of(merged).unwrap();
    assert_eq!(repo.read_file(tree, Path::new("a")).unwrap().unwrap(), b"one\n2\n3\n4\nfive\n");
    assert_eq!(repo.read_file(tree, Path::new("d/b")).unwrap().unwrap(), b"b\n");
    let pool = spb::git::Pool::open(&path, test.pool_directory()).unwrap();
    let mut lease = lease(&pool, "node", merged);
    assert_eq!(std::fs::read(lease.path().join("d/b")).unwrap(), b"b\n");
    write(&lease.path().join("new"), b"new");
    let captured = lease.capture().unwrap();
    assert_eq!(git(&far, &["ls-tree", "-r", "--name-only", &captured.tree.to_string()]), "a\nd/b\nnew\n");
}
