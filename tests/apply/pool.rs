//! The disk that worktrees take: shown, bounded, given back; and where they cannot be.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::common::{World, put, until};

/// Two nodes that wait for each other, so that there are two slots.
const TWO: &str = r#"
nodes:
  a: { run: 'mkdir -p out; head -c 300000 /dev/zero > out/big; touch "$HOME/a"; while ! test -e "$HOME/b"; do sleep 0.01; done' }
  b: { run: 'touch "$HOME/b"; while ! test -e "$HOME/a"; do sleep 0.01; done' }
"#;

/// The one directory of slots.
fn pool(world: &World) -> PathBuf {
    let mut pools = std::fs::read_dir(world.root.join("pool")).unwrap().map(|entry| entry.unwrap().path());
    pools.next().unwrap()
}

/// Slots as `spb worktrees` lists them: number and bytes.
fn slots(world: &World) -> Vec<(u64, u64)> {
    let list = world.spb(["worktrees", "--json"]).run().success().stdout;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    let number = |slot: &serde_json::Value, key: &str| slot[key].as_u64().unwrap();
    list.iter().map(|slot| (number(slot, "number"), number(slot, "disk_bytes"))).collect()
}

/// Makes a slot look as if nobody had used it for so many days.
fn age(world: &World, number: u32, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    for extension in ["json", "dirty"] {
        let path = pool(world).join(format!("{number}.{extension}"));
        std::fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    }
}

fn with_two() -> World {
    let world = World::new();
    world.apply_with(TWO, &["--jobs", "2"]).success();
    assert_eq!(slots(&world).len(), 2);
    world
}

const ONE: &str = "nodes:\n  one: { cache: false, run: 'true' }\n";

#[test]
fn what_nobody_used_for_a_month_goes_when_a_run_ends_and_the_limits_can_be_set() {
    let world = with_two();
    world.apply(ONE).success();
    assert_eq!(slots(&world).len(), 2, "they are not old");
    let last = slots(&world)[1].0 as u32;
    age(&world, last, 31);
    world.applying(ONE, &[]).env("SPB_WORKTREES_MAX_AGE", "never").run().success();
    assert_eq!(slots(&world).len(), 2);
    world.apply(ONE).success();
    assert_eq!(slots(&world).len(), 1);
    assert_eq!(world.git(&["worktree", "list"]).lines().count(), 2);
    world.applying(ONE, &[]).env("SPB_WORKTREES_MAX_SIZE", "1KB").run().success();
    assert!(slots(&world).is_empty());
    for (name, value) in [("SPB_WORKTREES_MAX_AGE", "soon"), ("SPB_WORKTREES_MAX_SIZE", "big")] {
        let run = world.applying(ONE, &[]).env(name, value).run().exits(2);
        assert!(run.stderr.contains(name), "{run}");
    }
}

#[test]
fn a_collection_takes_the_least_used_and_counts_what_git_ignores() {
    let world = with_two();
    let before = slots(&world);
    let (big, _) = *before.iter().max_by_key(|(_, bytes)| *bytes).unwrap();
    assert!(before.iter().any(|(_, bytes)| *bytes > 300_000), "{before:?}");
    age(&world, big as u32, 2);
    let told = world.spb(["worktrees", "gc", "--max-size", "250KB", "--dry-run"]).run().success().stdout;
    assert!(told.contains("would remove 1 item"), "{told}");
    assert_eq!(slots(&world).len(), 2);
    let told = world.spb(["worktrees", "gc", "--max-size", "250KB", "--json"]).run().success().stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(told["freed_bytes"].as_u64().unwrap() > 300_000, "{told}");
    assert!(slots(&world).iter().all(|(number, _)| *number != big));
    let none = world.spb(["worktrees", "gc", "--older-than", "1d"]).run().success().stdout;
    assert_eq!(none, "nothing to remove\n");
    world.spb(["worktrees", "gc", "--older-than", "0s"]).run().success();
    assert!(slots(&world).is_empty());
    world.apply(ONE).success();
}

#[test]
fn worktrees_of_a_repository_that_is_gone_are_found_and_removed_and_nothing_else_is() {
    let (world, lost) = (World::new(), with_two());
    world.apply(ONE).success();
    let shared = world.root.join("pool");
    let orphan = shared.join(pool(&lost).file_name().unwrap());
    std::fs::rename(pool(&lost), &orphan).unwrap();
    std::fs::remove_dir_all(&lost.repo).unwrap();
    // Of the shape of ours, and not ours: another digest, another content, a file of somebody.
    for (name, file) in
        [("repo-01234567", "1/keep"), ("notes", "repository"), ("repo-89abcdef", "repository")]
    {
        put(&shared.join(name).join(file), lost.repo.join(".git").to_str().unwrap());
    }
    let doctor = world.spb(["doctor"]).run().stdout;
    assert!(doctor.contains("spb worktrees gc --all"), "{doctor}");
    let told = world.spb(["worktrees", "gc", "--all", "--dry-run"]).run().success().stdout;
    assert!(told.contains("would remove 1 item") && told.contains("is gone"), "{told}");
    put(&orphan.join("mine.txt"), "mine");
    let kept = world.spb(["worktrees", "gc", "--all"]).run().success();
    assert!(kept.stderr.contains("that spb did not make"), "{kept}");
    assert!(orphan.join("mine.txt").exists());
    std::fs::remove_file(orphan.join("mine.txt")).unwrap();
    world.spb(["worktrees", "gc", "--all"]).run().success();
    assert!(!orphan.exists());
    for kept in ["repo-01234567/1/keep", "notes/repository", "repo-89abcdef/repository"] {
        assert!(shared.join(kept).exists(), "{kept}");
    }
    assert_eq!(slots(&world).len(), 1);
    assert!(!world.spb(["doctor"]).run().stdout.contains("gc --all"));
}

#[test]
fn a_place_for_worktrees_that_cannot_be_is_named_with_the_way_out() {
    let world = World::new();
    let file = world.root.join("a-file");
    put(&file, "");
    for place in [&*file.join("x"), Path::new("/proc/nothing"), &*file] {
        let run = world.applying(ONE, &[]).env("SPB_WORKTREES", place).run();
        assert_ne!(run.code(), Some(0));
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains(place.to_str().unwrap()) && said.contains("set SPB_WORKTREES"), "{run}");
    }
}

#[test]
fn worktrees_live_on_another_file_system_too() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).ok();
    let other = ["/dev/shm", "/tmp", "/var/tmp"].map(Path::new).into_iter().find(|path| {
        device(path).is_some_and(|there| Some(there) != device(&world.repo))
            && tempfile::tempdir_in(path).is_ok()
    });
    let Some(other) = other else { return };
    let place = tempfile::tempdir_in(other).unwrap();
    let workflow = "nodes:\n  a: { run: 'echo a > a.txt' }\n  b: { needs: [a], run: 'cat a.txt > b.txt' }\n";
    for _ in 0..2 {
        let run = world.applying(workflow, &["--fresh"]).env("SPB_WORKTREES", place.path()).run().success();
        assert_eq!(world.show(&run.branch(), "b.txt").as_deref(), Some("a\n"));
    }
    let gone = world.spb(["worktrees", "remove", "--all"]).env("SPB_WORKTREES", place.path()).run();
    gone.success();
    assert_eq!(world.git(&["worktree", "list"]).lines().count(), 1);
}

/// Nodes of which each fails if two others are at work.
fn bounded(world: &World, count: usize) -> String {
    let nodes = (0..count).map(|number| {
        format!(
            "  n{number}: {{ cache: false, run: 'd=$(mktemp -u); for s in 1 2; do mkdir \"$HOME/s$s\" 2>/dev/null && d=$HOME/s$s && break; done; test -d \"$d\"; echo x >> \"$HOME/ran\"; sleep 0.02; rmdir \"$d\"' }}\n"
        )
    });
    let text =
        format!("limits: {{ jobs: 4 }}\nworktrees: {{ max: 2 }}\nnodes:\n{}", nodes.collect::<String>());
    world.named_workflow("bounded", &text).to_str().unwrap().to_owned()
}

#[test]
fn all_spb_of_a_repository_together_lease_no_more_than_max() {
    let world = World::new();
    let file = bounded(&world, 8);
    let start = || world.spb(["apply", &file, "--fresh", "--events", "ndjson"]).begin();
    let all: Vec<_> = (0..3).map(|_| start()).collect();
    for one in all {
        one.finish().success();
    }
    assert_eq!(world.take_ran().split(' ').count(), 24);
    assert!(slots(&world).len() <= 2, "more were made than may be leased");
}

#[test]
fn who_waits_for_a_worktree_says_so_and_gets_it_when_the_other_is_killed() {
    let world = World::new();
    let gate = world.gate("g");
    let text = format!(
        "worktrees: {{ max: 1 }}\nnodes:\n  n:\n    cache: false\n    run: |\n      {}\n",
        gate.script()
    );
    let first = world.applying(&text, &[]).begin();
    gate.arrived();
    let other = "worktrees: { max: 1 }\nnodes:\n  m: { cache: false, run: 'true' }\n";
    let other = world.named_workflow("other", other);
    let second = world.spb(["apply", other.to_str().unwrap(), "--events", "ndjson"]).begin();
    until(|| world.journals().iter().any(|journal| journal.contains("waits for a worktree")));
    first.signal(9);
    first.finish();
    let second = second.finish().success().ended("m succeeded");
    assert!(second.stdout.contains("waits for a worktree"), "{second}");
    // One that is stopped while it waits does not wait on.
    let again = world.gate("h");
    let text = text.replace(&gate.script(), &again.script());
    let first = world.applying(&text, &[]).begin();
    again.arrived();
    let second = world.spb(["apply", other.to_str().unwrap(), "--events", "ndjson", "--fresh"]).begin();
    let waits = || world.journals().iter().filter(|journal| journal.contains("waits for a worktree")).count();
    until(|| waits() == 2);
    second.signal(2);
    second.finish().exits(130);
    again.open();
    first.finish().success();
}

#[test]
fn nodes_without_files_start_no_git_and_have_no_worktree() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    // Not committed: with files to see it would be told, for which git is asked.
    world.write("src/one.txt", "edited\n");
    let (bin, calls) = (world.root.join("bin"), world.root.join("calls"));
    let path = std::env::var("PATH").unwrap();
    put(
        &bin.join("git"),
        format!("#!/bin/sh\necho \"$@\" >> '{}'\nPATH='{path}' exec git \"$@\"\n", calls.display()),
    );
    std::fs::set_permissions(bin.join("git"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{path}", bin.display());
    let text = "nodes:\n  a: { workspace: scratch, run: 'test -z \"$(ls -A)\"; echo 1 > x', outputs: { x: { file: x } } }\n  b: { workspace: scratch, needs: [a], cache: false, env: { X: '${{ needs.a.outputs.x }}' }, run: 'test \"$X\" = 1' }\n";
    for _ in 0..2 {
        world.applying(text, &[]).env("PATH", &path).run().success();
    }
    assert!(!calls.exists(), "{}", std::fs::read_to_string(&calls).unwrap());
    assert!(slots(&world).is_empty());
    let run = world.applying(ONE, &[]).env("PATH", &path).run().success();
    assert!(calls.exists() && run.stderr.contains("not committed"), "{run}");
}
