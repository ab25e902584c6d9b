//! A store that was damaged: a miss or a rebuilt index, the right result, never a crash.

use std::path::{Path, PathBuf};

use crate::common::{Run, World, put};

const WORKFLOW: &str = r#"
nodes:
  make: { reads: [src/one.txt], artifacts: [out/tool], outputs: { v: {} }, run: 'echo make >> "$HOME/ran"; mkdir -p out; head -c 100000 /dev/zero > out/tool; echo tool >> out/tool; cp src/one.txt made.txt; echo v=7 >> "$SPB_OUTPUT"' }
  use: { needs: [make], reads: [made.txt, src/two.txt], env: { V: "${{ needs.make.outputs.v }}" }, run: 'echo use >> "$HOME/ran"; { tail -n 1 out/tool | tr -d "\0"; cat made.txt src/two.txt; echo $V; } > used.txt' }
"#;

fn prepared() -> (World, String) {
    let world = World::new();
    let run = world.apply(WORKFLOW).success();
    world.take_ran();
    let files = world.files(&run.branch());
    (world, files)
}

#[track_caller]
fn applies(world: &World, files: &str) -> Run {
    let run = world.apply(WORKFLOW).success();
    assert_eq!(world.files(&run.branch()), files, "{run}");
    run
}

fn index(world: &World) -> PathBuf {
    world.store().join("index.sqlite")
}

#[test]
fn a_deleted_index_is_rebuilt_from_the_journals() {
    let (world, files) = prepared();
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", index(&world).display())).ok();
    }
    applies(&world, &files).ended("make cached, use cached");
    assert_eq!(world.take_ran(), "");
}

#[test]
fn an_index_that_is_no_index_is_rebuilt_from_the_journals() {
    let (world, files) = prepared();
    for bytes in [&b"garbage"[..], b"", &[0; 8192], b"SQLite format 3\0garbage"] {
        for suffix in ["-wal", "-shm"] {
            std::fs::remove_file(format!("{}{suffix}", index(&world).display())).ok();
        }
        std::fs::write(index(&world), bytes).unwrap();
        world.spb(["plan".as_ref(), world.workflow(WORKFLOW).as_os_str()]).run();
        world.spb(["status"]).run().success();
        world.spb(["cache", "stats"]).run();
        applies(&world, &files).ended("make cached, use cached");
        assert_eq!(world.take_ran(), "", "{bytes:?}");
    }
}

#[test]
fn a_truncated_index_is_rebuilt_from_the_journals() {
    let (world, files) = prepared();
    let whole = settled_index(&world);
    for part in [100, 4096, whole.len() / 2, whole.len() - 1] {
        place_index(&world, &whole[..part]);
        applies(&world, &files);
        // Whatever the first run made of it, the second finds a sound one.
        applies(&world, &files).ended("make cached, use cached");
    }
}

#[test]
fn flipped_bytes_of_the_index_never_change_a_result_and_are_mended() {
    let (world, files) = prepared();
    let whole = settled_index(&world);
    for page in 0..whole.len() / 4096 {
        for offset in [0, 100, 2048] {
            let mut damaged = whole.clone();
            for byte in &mut damaged[page * 4096 + offset..][..16] {
                *byte ^= 0x55;
            }
            place_index(&world, &damaged);
            applies(&world, &files);
            let run = applies(&world, &files);
            assert_eq!(run.outcomes(), "make cached, use cached", "page {page} offset {offset}\n{run}");
        }
    }
}

/// The index with everything in one file.
fn settled_index(world: &World) -> Vec<u8> {
    let connection = rusqlite::Connection::open(index(world)).unwrap();
    connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).unwrap();
    drop(connection);
    std::fs::read(index(world)).unwrap()
}

fn place_index(world: &World, bytes: &[u8]) {
    for suffix in ["-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", index(world).display())).ok();
    }
    std::fs::write(index(world), bytes).unwrap();
}

fn stored_artifact(world: &World) -> PathBuf {
    let mut open = vec![world.store().join("artifacts")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap().flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                return entry.path();
            }
        }
    }
    panic!("no artifact is stored");
}

#[track_caller]
fn damaged_artifact(damage: impl Fn(&Path)) {
    let (world, _) = prepared();
    damage(&stored_artifact(&world));
    world.write("src/two.txt", "zwei\n");
    world.commit("two");
    let run = world.apply(WORKFLOW).success();
    let expect = "tool\none\nzwei\n7\n";
    assert_eq!(world.show(&run.branch(), "used.txt").as_deref(), Some(expect), "{run}");
    let run = run.ended("make succeeded, use succeeded");
    assert!(run.message("make").contains("gone") || run.message("make").contains("damaged"), "{run}");
    world.apply(WORKFLOW).success().ended("make cached, use cached");
}

#[test]
fn a_missing_artifact_is_a_miss() {
    damaged_artifact(|path| std::fs::remove_file(path).unwrap());
}

#[test]
fn an_empty_artifact_is_a_miss() {
    damaged_artifact(|path| std::fs::write(path, "").unwrap());
}

#[test]
fn a_truncated_artifact_is_a_miss() {
    damaged_artifact(|path| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    });
}

#[test]
fn a_damaged_artifact_is_a_miss() {
    damaged_artifact(|path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        std::fs::write(path, &bytes).unwrap();
    });
}

#[test]
fn an_artifact_with_other_content_is_a_miss() {
    damaged_artifact(|path| {
        let other = zstd::encode_all(&b"other content"[..], 1).unwrap();
        std::fs::write(path, other).unwrap();
    });
}

#[test]
fn a_missing_commit_is_a_miss() {
    let (world, files) = prepared();
    let refs = world.git(&["for-each-ref", "--format=%(refname)", "refs/spb", "refs/heads/spb"]);
    for name in refs.lines() {
        world.git(&["update-ref", "-d", name]);
    }
    let pool = world.root.join("pool");
    world.spb(["worktrees", "remove", "--all"]).run().success();
    std::fs::remove_dir_all(&pool).unwrap();
    world.git(&["reflog", "expire", "--expire=now", "--all"]);
    world.git(&["gc", "-q", "--prune=now"]);
    applies(&world, &files).ended("make succeeded, use succeeded");
    assert_eq!(world.take_ran(), "make use");
    applies(&world, &files).ended("make cached, use cached");
}

#[test]
fn garbage_collection_after_a_run_costs_nothing() {
    let (world, files) = prepared();
    world.git(&["reflog", "expire", "--expire=now", "--all"]);
    world.git(&["gc", "-q", "--prune=now"]);
    applies(&world, &files).ended("make cached, use cached");
    let branch = world.apply(WORKFLOW).success().branch();
    world.git(&["branch", "-q", "-D", &branch]);
    world.git(&["gc", "-q", "--prune=now"]);
    applies(&world, &files).ended("make cached, use cached");
    assert_eq!(world.take_ran(), "");
    world.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_damaged_format_mark_or_a_newer_store_is_told_apart() {
    let (world, files) = prepared();
    put(&world.store().join("format"), "??");
    applies(&world, &files).ended("make cached, use cached");
    put(&world.store().join("format"), "99\n");
    let run = world.apply(WORKFLOW).exits(3);
    assert!(run.stderr.contains("newer"), "{run}");
}
