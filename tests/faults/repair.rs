//! `spb doctor --repair`: each thing that it mends is broken, mended, and works again; what is whole is left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::{World, put, snapshot};

const WORKFLOW: &str = r#"
nodes:
  a: { run: 'echo a > a.txt' }
  b: { needs: [a], run: 'test -e "$HOME/ok"; echo b > b.txt' }
"#;

/// A world with a run that failed, and its id.
fn failed() -> (World, String) {
    let world = World::in_memory();
    let run = world.apply(WORKFLOW).exits(1);
    let id = run.id();
    fs::write(world.home().join("ok"), "").unwrap();
    (world, id)
}

#[track_caller]
fn repaired(world: &World) -> String {
    let said = world.spb(["doctor", "--repair"]).run().success().stdout;
    let again = world.spb(["doctor", "--repair"]).run().success().stdout;
    assert!(again.starts_with("nothing needed to be repaired"), "{again}");
    said
}

#[test]
fn what_is_whole_is_left_alone() {
    let (world, _) = failed();
    world.spb(["doctor"]).run().success();
    let before = snapshot(&world.repo.join(".git"));
    let said = repaired(&world);
    assert!(said.starts_with("nothing needed to be repaired"), "{said}");
    crate::common::assert_unchanged(&before, &snapshot(&world.repo.join(".git")));
    world.resume().success();
}

#[test]
fn a_torn_journal_is_cut_and_one_that_cannot_be_read_is_moved_away() {
    let (world, id) = failed();
    let journal = world.journal(&id);
    let whole = fs::read(&journal).unwrap();
    fs::write(&journal, [&whole[..], b"{\"run\":\"torn"].concat()).unwrap();
    assert!(repaired(&world).contains("cut 12 bytes"));
    assert_eq!(fs::read(&journal).unwrap(), whole);
    let mut broken = whole.clone();
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    fs::write(&journal, &broken).unwrap();
    world.spb(["status"]).run().exits(3);
    let said = repaired(&world);
    assert!(said.contains(&format!("moved run {id}")), "{said}");
    let moved = world.store().join("damaged/runs").join(&id).join("journal.ndjson");
    assert_eq!(fs::read(moved).unwrap(), broken);
    // What it had made is still in the cache.
    world.apply(WORKFLOW).success().ended("a cached, b succeeded");
}

#[test]
fn a_damaged_index_is_made_again_from_the_journals() {
    let (world, _) = failed();
    let index = world.store().join("index.sqlite");
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(world.store().join(format!("index.sqlite{suffix}"))).ok();
    }
    let mut bytes = fs::read(&index).unwrap();
    let length = bytes.len();
    bytes[4096..length].fill(0x5a);
    fs::write(&index, bytes).unwrap();
    assert!(repaired(&world).contains("index"));
    world.apply(WORKFLOW).success().ended("a cached, b succeeded");
}

#[test]
fn damaged_objects_are_moved_away_and_made_again() {
    let (world, _) = failed();
    put(&world.home().join("text"), "a\n");
    let id = world.git(&["hash-object", world.home().join("text").to_str().unwrap()]);
    let object = world.repo.join(".git/objects").join(&id[..2]).join(&id[2..]);
    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
    let bytes = fs::read(&object).unwrap();
    fs::write(&object, &bytes[..bytes.len() - 3]).unwrap();
    let said = repaired(&world);
    assert!(said.contains("1 damaged object"), "{said}");
    let run = world.apply_with(WORKFLOW, &["--fresh"]).success();
    assert_eq!(world.show(&run.branch(), "a.txt").as_deref(), Some("a\n"));
    world.git(&["fsck", "--no-dangling"]);
}

#[test]
fn leftovers_of_the_dead_go_and_what_is_not_ours_stays() {
    let (world, id) = failed();
    let git = world.repo.join(".git");
    let pool = fs::read_dir(world.root.join("pool")).unwrap().next().unwrap().unwrap().path();
    let run = git.join("spb/runs").join(&id);
    for place in [run.clone(), git.join("spb/workflows"), pool.clone()] {
        put(&place.join(".new-dead"), "half");
    }
    put(&git.join("refs/heads/spb/x.lock"), "");
    std::os::unix::fs::symlink("refs/heads/spb/x", git.join("spb/writing-ref")).unwrap();
    put(&git.join("refs/heads/other.lock"), "");
    fs::create_dir_all(git.join("spb/runs/20260101-000000-aaaa")).unwrap();
    let head = world.git(&["rev-parse", "HEAD"]);
    for name in
        ["runs/20260101-000001-aaaa", "checkpoints/20260101-000001-aaaa/main", "results/20260101-000001-aaaa"]
    {
        world.git(&["update-ref", &format!("refs/spb/{name}"), &head]);
    }
    let said = repaired(&world);
    for expect in
        ["3 half-made files", "lock of a ref", "20260101-000000-aaaa, which never began", "2 refs of runs"]
    {
        assert!(said.contains(expect), "{expect}\n{said}");
    }
    assert!(git.join("refs/heads/other.lock").exists() && !git.join("refs/heads/spb/x.lock").exists());
    assert!(!git.join("spb/runs/20260101-000000-aaaa").exists() && run.exists());
    let refs = world.git(&["for-each-ref", "--format=%(refname)", "refs/spb"]);
    assert!(refs.contains("refs/spb/results/20260101-000001-aaaa"), "{refs}");
    assert!(!refs.contains("refs/spb/runs/20260101-000001-aaaa"), "{refs}");
    world.resume().success();
}

#[test]
fn a_worktree_that_nobody_gave_back_is_removed_and_made_again() {
    let (world, _) = failed();
    let pool = fs::read_dir(world.root.join("pool")).unwrap().next().unwrap().unwrap().path();
    let mark = fs::read_to_string(pool.join("1.dirty")).unwrap();
    let held =
        mark.replace("\"holder\":null", "\"holder\":{\"run\":\"20260101-000000-aaaa\",\"node\":\"n\"}");
    assert_ne!(mark, held, "{mark}");
    fs::write(pool.join("1.dirty"), held).unwrap();
    assert!(repaired(&world).contains("1 worktree"));
    assert!(!pool.join("1").exists());
    world.resume().success();
}

#[test]
fn a_format_mark_that_is_no_number_is_written_again() {
    let (world, _) = failed();
    let mark = world.store().join("format");
    let whole = fs::read(&mark).unwrap();
    for rot in [&b"\xff\xfe\x00"[..], b"", b"two\n"] {
        fs::write(&mark, rot).unwrap();
        world.spb(["status"]).run().success();
        repaired(&world);
        assert_eq!(fs::read(&mark).unwrap(), whole);
    }
}

#[test]
fn a_newer_store_is_not_touched() {
    let (world, _) = failed();
    fs::write(world.store().join("format"), "99\n").unwrap();
    let before = snapshot(&world.store());
    let run = world.spb(["doctor", "--repair"]).run().exits(3);
    assert!(run.stderr.contains("newer spb (format 99"), "{run}");
    crate::common::assert_unchanged(&before, &snapshot(&world.store()));
}
