//! What a process needs runs out: files, processes, a place to write to, a clock that can be trusted. Never a hang, never a
//! panic, a reason that says what to do, and a run that can be carried on.

use std::fs;
use std::process::Command;

use crate::common::{Run, World, binary, snapshot};

/// `count` nodes that all run at the same time if they may.
fn wide(count: usize) -> String {
    let node = |n: usize| format!("  n{n}: {{ run: 'sleep 0.02; echo {n} > {n}.txt' }}\n");
    format!("nodes:\n{}", (0..count).map(node).collect::<String>())
}

/// spb behind a command that limits it.
#[track_caller]
fn limited(world: &World, limiter: &[&str], words: &[&str]) -> Run {
    let mut spb = world.spb(words);
    let mut command = world.command(limiter[0]);
    command.args(&limiter[1..]).arg(binary()).args(words);
    spb.command = command;
    spb.run()
}

#[test]
fn with_few_open_files_fewer_nodes_run_at_once_and_all_of_them_run() {
    let world = World::in_memory();
    let file = world.workflow(&wide(80));
    let apply = ["apply", file.to_str().unwrap(), "--jobs", "80", "--fresh"];
    for (limit, told) in
        [("64:64", "no more than 1 nodes"), ("200:200", "no more than 9 nodes"), ("64:4096", "")]
    {
        let run = limited(&world, &["prlimit", &format!("--nofile={limit}")], &apply).success();
        assert!(run.stderr.contains(told), "{limit} {run}");
        assert!(!told.is_empty() || !run.stderr.contains("no more than"), "{limit} {run}");
        assert!(run.stderr.contains("80 ran"), "{limit} {run}");
    }
    let run = limited(&world, &["prlimit", "--nofile=32:32"], &apply).exits(3);
    assert!(
        run.stderr.contains("no more than 32 files may be open") && run.stderr.contains("ulimit -n"),
        "{run}"
    );
}

/// Words that run what follows as a user who has no rights and no other processes; `None` where that cannot be.
fn somebody(world: &World) -> Option<Vec<String>> {
    let id = "64210";
    // SAFETY: reads a number.
    let is_root = unsafe { libc::geteuid() } == 0;
    let given = is_root
        && Command::new("chown").args(["-R", id]).arg(&world.root).status().is_ok_and(|s| s.success());
    let words = ["setpriv", "--reuid", id, "--regid", id, "--clear-groups"].map(str::to_owned).to_vec();
    let reaches = given
        && world
            .command(&words[0])
            .args(&words[1..])
            .arg(binary())
            .arg("--version")
            .output()
            .is_ok_and(|o| o.status.success());
    reaches.then_some(words)
}

#[test]
fn with_few_processes_there_is_a_reason_and_no_hang() {
    let world = World::in_memory();
    let file = world.workflow(&wide(12));
    let Some(somebody) = somebody(&world) else {
        eprintln!("SKIP  a process limit needs another user, whom only root can be");
        return;
    };
    let apply = ["apply", file.to_str().unwrap(), "--jobs", "8"];
    let as_somebody = |more: &[&str]| -> Vec<String> {
        somebody.iter().cloned().chain(more.iter().map(|&word| word.to_owned())).collect()
    };
    for limit in 1..24 {
        let prlimit = as_somebody(&["prlimit", &format!("--nproc={limit}")]);
        let words: Vec<&str> = prlimit.iter().map(String::as_str).collect();
        let run = limited(&world, &words, &apply);
        assert!(matches!(run.code(), Some(0 | 1 | 3)), "{limit} {run}");
        let reasons = ["ulimit -u", "Cannot fork", "Resource temporarily unavailable", "fork"];
        assert!(
            run.code() == Some(0) || reasons.iter().any(|reason| run.stderr.contains(reason)),
            "{limit} {run}"
        );
    }
    let all = as_somebody(&[]);
    let words: Vec<&str> = all.iter().map(String::as_str).collect();
    let run = limited(&world, &words, &apply).success();
    assert!(run.stderr.contains("n11") || run.stderr.contains("12 cached"), "{run}");
}

#[test]
fn what_only_reads_works_where_nothing_can_be_written_and_writes_nothing() {
    let world = World::in_memory();
    let file = world.workflow("nodes:\n  n: { run: 'echo n > n.txt' }\n");
    let file = file.to_str().unwrap();
    world.apply("nodes:\n  n: { run: 'echo n > n.txt' }\n").success();
    let Some(somebody) = somebody(&world) else {
        eprintln!("SKIP  missing permissions need another user, whom only root can be");
        return;
    };
    // No permission: everything belongs to another, and may be read.
    let chown = |id: &str| Command::new("chown").args(["-R", id]).arg(&world.root).status().unwrap();
    chown("64211");
    Command::new("chmod").args(["-R", "a+rX,go-w"]).arg(&world.root).status().unwrap();
    let before = snapshot(&world.root);
    let trusted: Vec<String> = [
        &somebody[..],
        &[
            "env".into(),
            "GIT_CONFIG_COUNT=1".into(),
            "GIT_CONFIG_KEY_0=safe.directory".into(),
            "GIT_CONFIG_VALUE_0=*".into(),
        ],
    ]
    .concat();
    let trusted: Vec<&str> = trusted.iter().map(String::as_str).collect();
    let reading: &[&[&str]] = &[
        &["status"],
        &["logs"],
        &["runs"],
        &["validate", file],
        &["plan", file],
        &["why", "n"],
        &["cache", "stats"],
        &["explain", file],
        &["checkpoint", "list"],
        &["undo", "--list"],
        &["worktrees", "list"],
    ];
    let owner = limited(&world, &trusted, &["status"]);
    let is_trusted = !owner.stderr.contains("belongs to another user");
    if is_trusted {
        for words in reading {
            limited(&world, &trusted, words).success();
        }
        let run = limited(&world, &trusted, &["apply", file, "--fresh"]).exits(3);
        assert!(run.stderr.contains("ermission denied") && run.stderr.contains(".git/spb"), "{run}");
        crate::common::assert_unchanged(&before, &snapshot(&world.root));
    }
    // A file system that takes nothing.
    chown("0");
    let script = r#"mount --bind "$ROOT" "$ROOT" && mount -o remount,ro,bind "$ROOT" || exit 77; cd "$REPO"; exec "$@""#;
    let before = snapshot(&world.root);
    for words in reading {
        let output = world
            .command("unshare")
            .args(["-m", "sh", "-c", script, "sh"])
            .arg(binary())
            .args(*words)
            .env("ROOT", &world.root)
            .env("REPO", &world.repo)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(77) || said.contains("unshare:") {
            eprintln!("SKIP  a read-only file system needs a mount");
            return;
        }
        assert_eq!(output.status.code(), Some(0), "{words:?} {said}");
    }
    crate::common::assert_unchanged(&before, &snapshot(&world.root));
}

#[test]
fn a_clock_that_jumps_changes_neither_results_nor_what_is_kept() {
    let world = World::in_memory();
    if world.command("faketime").args(["-f", "+1y", "true"]).output().is_err() {
        eprintln!("SKIP  a clock of its own needs `faketime`");
        return;
    }
    let workflow = "nodes:\n  a: { run: 'echo a > a.txt' }\n  b: { needs: [a], run: 'test -e \"$HOME/ok\"; echo b > b.txt' }\n";
    let file = world.workflow(workflow);
    let apply = ["apply", file.to_str().unwrap()];
    // Far in the future it fails, in the past it is carried on, now all is still there.
    limited(&world, &["faketime", "-f", "+20y"], &apply).exits(1);
    fs::write(world.home().join("ok"), "").unwrap();
    let resumed = limited(&world, &["faketime", "-f", "-20y"], &["resume"]).success();
    assert!(resumed.stderr.contains("1 finished node"), "{resumed}");
    let again = world.apply(workflow).success().ended("a cached, b cached");
    assert_eq!(world.show(&again.branch(), "b.txt").as_deref(), Some("b\n"));
    // Clocks that jump at every look, forward and back, or run a thousand times too fast or too slow.
    for clock in ["+0 i3600", "+0 i-60", "+0 x1000", "-9d x0.001"] {
        let run = limited(&world, &["faketime", "-f", clock], &["apply", apply[1], "--fresh"]).success();
        assert!(run.stderr.contains("2 ran"), "{clock} {run}");
        for words in [&["status"][..], &["runs"], &["logs"], &["doctor"]] {
            limited(&world, &["faketime", "-f", clock], words).success();
        }
    }
    world.apply(workflow).success().ended("a cached, b cached");
}

/// A control group of its own, removed with it; `None` where none can be made.
struct Group(std::path::PathBuf);

impl Group {
    fn new(limit: &str) -> Option<Self> {
        // The second version of control groups, else the first.
        let (root, file) = match std::path::Path::new("/sys/fs/cgroup/memory").is_dir() {
            false => ("/sys/fs/cgroup", "memory.max"),
            true => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        };
        let path = std::path::Path::new(root).join(format!("spb-faults-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        let group = Self(path);
        fs::write(group.0.join(file), limit).ok()?;
        fs::write(group.0.join("memory.swap.max"), "0").ok();
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).ok();
    }
}

#[test]
fn a_node_that_the_kernel_kills_for_want_of_memory_says_so() {
    let Some(group) = Group::new("20M") else {
        eprintln!("SKIP  a memory limit needs a control group");
        return;
    };
    let world = World::in_memory();
    let enter = format!("echo $$ > {}/cgroup.procs", group.0.display());
    let workflow = format!(
        "nodes:\n  big: {{ run: '{enter}; exec tail /dev/zero' }}\n  small: {{ run: 'echo s > s.txt' }}\n"
    );
    let run = world.apply(&workflow).exits(1).ended("big failed, small succeeded");
    assert!(run.message("big").contains("memory"), "{run}");
}
