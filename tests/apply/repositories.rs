//! Repositories as they are found: in every state, started from everywhere, and left as they were.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::common::{World, assert_unchanged, os, put, snapshot};

const SMALL: &str = "nodes:\n  n: { run: 'ls > list.txt' }\n";

#[test]
fn a_repository_without_commits_is_refused_with_what_to_do() {
    let world = World::empty();
    let run = world.apply(SMALL).exits(3);
    assert!(run.stderr.contains("no commits yet") && run.stderr.contains("git commit"), "{run}");
    let nowhere = world.root.join("nowhere");
    std::fs::create_dir(&nowhere).unwrap();
    let run = world.applying(SMALL, &[]).directory(&nowhere).run().exits(3);
    assert!(run.stderr.contains("not in a git repository"), "{run}");
}

#[test]
fn a_detached_head_is_a_base_like_any_other() {
    let world = World::new();
    let first = world.git(&["rev-parse", "HEAD"]);
    world.write("later.txt", "later\n");
    world.commit("later");
    world.git(&["checkout", "-q", "--detach", &first]);
    let run = world.apply(SMALL).success();
    assert_eq!(world.show(&run.branch(), "list.txt").as_deref(), Some("list.txt\nsrc\n"));
    assert_eq!(world.git(&["rev-parse", "HEAD"]), first);
    assert_eq!(world.git(&["rev-parse", "--abbrev-ref", "HEAD"]), "HEAD");
    let run = world.apply_with(SMALL, &["--base", "main"]).success();
    assert_eq!(world.show(&run.branch(), "list.txt").as_deref(), Some("later.txt\nlist.txt\nsrc\n"));
    world.apply_with(SMALL, &["--base", "nothing-here"]).exits(2);
}

#[test]
fn a_dirty_checkout_is_left_exactly_as_it_is() {
    let world = World::new();
    world.write("staged.txt", "staged\n");
    world.git(&["add", "staged.txt"]);
    world.write("staged.txt", "staged and changed\n");
    world.write("src/one.txt", "changed\n");
    std::fs::remove_file(world.repo.join("src/two.txt")).unwrap();
    world.write("untracked.txt", "untracked\n");
    world.write("out/ignored", "ignored\n");
    world.git(&["stash", "list"]);
    let state = || {
        let mut files = snapshot(&world.repo);
        files.retain(|path, _| {
            !path.starts_with(world.repo.join(".git"))
                || path.ends_with(".git/index")
                || path.ends_with(".git/HEAD")
        });
        files
    };
    let before = state();
    let status = world.git(&["status", "--porcelain"]);
    let index = world.git(&["ls-files", "--stage", "--debug"]);
    let run =
        world.apply("nodes:\n  n: { run: 'cat src/* > all.txt; rm src/one.txt; ls > list.txt' }\n").success();
    assert_unchanged(&before, &state());
    assert_eq!(world.git(&["ls-files", "--stage", "--debug"]), index);
    assert_eq!(world.git(&["status", "--porcelain"]), status);
    assert_eq!(world.show(&run.branch(), "all.txt").as_deref(), Some("one\ntwo\n"));
    assert!(run.stderr.contains("not committed"), "{run}");
}

#[test]
fn it_starts_from_a_subdirectory_and_from_a_linked_worktree() {
    let world = World::new();
    let run = world.applying(SMALL, &[]).directory(&world.repo.join("src")).run().success();
    assert_eq!(world.show(&run.branch(), "list.txt").as_deref(), Some("list.txt\nsrc\n"));
    let linked = world.root.join("linked");
    world.git(&["worktree", "add", "-q", "-b", "side", linked.to_str().unwrap()]);
    put(&linked.join("side.txt"), "side\n");
    world.git_in(&linked, &["add", "-A"]);
    world.git_in(&linked, &["commit", "-q", "-m", "side"]);
    let run = world.applying(SMALL, &[]).directory(&linked).run().success();
    assert_eq!(world.show(&run.branch(), "list.txt").as_deref(), Some("list.txt\nside.txt\nsrc\n"));
    assert!(world.journal(&run.id()).exists(), "the store of a linked worktree is that of its repository");
    assert_eq!(world.git_in(&linked, &["status", "--porcelain"]), "");
}

#[test]
fn worktrees_of_the_user_are_not_touched_even_missing_ones() {
    let world = World::new();
    let (kept, missing) = (world.root.join("kept"), world.root.join("missing"));
    for path in [&kept, &missing] {
        world.git(&["worktree", "add", "-q", "--detach", path.to_str().unwrap()]);
    }
    put(&kept.join("dirty.txt"), "dirty\n");
    std::fs::remove_dir_all(&missing).unwrap();
    let before = snapshot(&kept);
    world.apply(SMALL).success();
    world.spb(["worktrees", "remove", "--all"]).run().success();
    world.apply_with(SMALL, &["--fresh"]).success();
    assert_unchanged(&before, &snapshot(&kept));
    let list = world.git(&["worktree", "list", "--porcelain"]);
    assert!(list.contains("/kept\n") && list.contains("/missing\n"), "{list}");
}

#[test]
fn a_bare_repository_is_worked_on_without_a_checkout() {
    let world = World::new();
    let bare = world.root.join("bare.git");
    world.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    let workflow = "nodes:\n  n: { run: 'ls > list.txt' }\n  r: { needs: [n], workspace: readonly, run: 'cat list.txt' }\n";
    let run = world.applying(workflow, &[]).directory(&bare).run().success();
    let text = world.git_in(&bare, &["show", &format!("{}:list.txt", run.branch())]);
    assert_eq!(text, "list.txt\nsrc");
    let run = world
        .applying("nodes:\n  n: { workspace: repo, run: 'true' }\n", &[])
        .directory(&bare)
        .run()
        .exits(1);
    assert!(run.message("n").contains("bare"), "{run}");
}

#[test]
fn a_shallow_clone_is_worked_on() {
    let world = World::new();
    for text in ["a", "b", "c"] {
        world.write("src/one.txt", text);
        world.commit(text);
    }
    let shallow = world.root.join("shallow");
    let source = format!("file://{}", world.repo.display());
    world.git(&["clone", "-q", "--depth", "1", &source, shallow.to_str().unwrap()]);
    let workflow = r#"
nodes:
  a: { run: 'echo a > a.txt' }
  b: { run: 'echo b > b.txt' }
  c: { needs: [a, b], reads: ['?.txt'], run: 'cat a.txt b.txt > c.txt' }
"#;
    let run = world.applying(workflow, &[]).directory(&shallow).run().success();
    assert_eq!(world.git_in(&shallow, &["show", &format!("{}:c.txt", run.branch())]), "a\nb");
    put(&shallow.join("new.txt"), "new\n");
    world.git_in(&shallow, &["add", "-A"]);
    world.git_in(&shallow, &["commit", "-q", "-m", "new"]);
    let run = world.applying(workflow, &[]).directory(&shallow).run().success();
    assert!(run.outcomes().contains("c cached"), "{run}");
}

#[test]
fn names_of_files_may_be_anything() {
    let names: [&[u8]; 11] = [
        b"with space",
        b"new\nline",
        b"quote\"'`$(x)",
        b"inv\xff\xfealid",
        b"-dash",
        b" lead",
        b"tr\tab",
        b"\xc3\xbcn\xc3\xafc\xc3\xb6de",
        b"back\\slash",
        b"*",
        b"#hash",
    ];
    let world = World::new();
    for name in names {
        put(&world.repo.join("odd").join(os(name)), name);
    }
    world.commit("odd");
    let workflow = r#"
nodes:
  copy: { reads: ["odd/**"], run: 'cp -r odd even; for f in odd/*; do mv "$f" "$f.moved"; done' }
  see: { needs: [copy], run: 'find even odd -type f -print0 | sort -z > list.bin' }
"#;
    let run = world.apply(workflow).success();
    let branch = run.branch();
    let list = world
        .command("git")
        .args(["cat-file", "blob", &format!("{branch}:list.bin")])
        .output()
        .unwrap()
        .stdout;
    let mut expect: Vec<Vec<u8>> = names
        .iter()
        .flat_map(|name| [[b"even/", *name].concat(), [b"odd/", *name, b".moved"].concat()])
        .collect();
    expect.sort();
    let found: Vec<Vec<u8>> =
        list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    assert_eq!(found, expect);
    let tree =
        world.command("git").args(["ls-tree", "-r", "-z", "--name-only", &branch]).output().unwrap().stdout;
    for name in &expect {
        assert!(tree.split(|byte| *byte == 0).any(|found| found == name), "{}", os(name).to_string_lossy());
    }
    world.apply(workflow).success().ended("copy cached, see cached");
    // Another slot content, then back: names are removed and made again.
    let run = world
        .apply("nodes:\n  n: { run: 'ls odd | wc -l | tr -d \" \" > count.txt; ! test -e even' }\n")
        .success();
    assert_eq!(world.show(&run.branch(), "count.txt").as_deref(), Some("12\n"));
}

#[test]
fn what_a_node_does_to_its_worktree_stays_there() {
    let world = World::new();
    world.git(&["branch", "side"]);
    let scripts = [
        (
            "commits",
            "git -c user.name=n -c user.email=e@x commit -q --allow-empty -m own; echo c > c.txt; git add c.txt; git -c user.name=n -c user.email=e@x commit -q -m c; echo d > d.txt",
            "c.txt d.txt",
        ),
        ("branches", "git checkout -q -b my-own; echo c > c.txt", "c.txt"),
        ("switches", "git checkout -q side; echo c > c.txt", "c.txt"),
        ("stages", "echo c > c.txt; git add c.txt; rm c.txt", ""),
        ("resets", "git rm -q -r --cached .; echo c > c.txt", "c.txt"),
        ("ungits", "rm -f .git; echo c > c.txt", "c.txt"),
        ("regits", "rm -f .git; git init -q; git add -A; echo c > c.txt", "c.txt"),
        ("locks", "touch \"$(git rev-parse --git-dir)/index.lock\"; echo c > c.txt", "c.txt"),
        ("spoils", "echo garbage > \"$(git rev-parse --git-dir)/index\"; echo c > c.txt", "c.txt"),
        (
            "closes",
            "mkdir -p shut/deep; echo x > shut/deep/x; chmod 0 shut/deep shut; echo c > c.txt",
            "c.txt shut/deep/x",
        ),
        ("readonly", "mkdir ro; echo x > ro/x; chmod 500 ro; echo c > c.txt", "c.txt ro/x"),
        ("nests", "git init -q nested; echo x > nested/x; echo c > c.txt", "c.txt"),
        ("ignores", "echo '*.tmp' >> .gitignore; echo c > c.txt; echo t > t.tmp", ".gitignore c.txt"),
    ];
    for (node, script, changed) in scripts {
        let workflow = format!("nodes:\n  {node}:\n    run: |\n      {script}\n");
        let refs = world.git(&["for-each-ref", "refs/heads/main", "refs/heads/side"]);
        let run = world.apply(&workflow);
        assert_eq!(world.git(&["for-each-ref", "refs/heads/main", "refs/heads/side"]), refs, "{node}");
        assert_eq!(world.git(&["symbolic-ref", "HEAD"]), "refs/heads/main");
        assert_eq!(world.git(&["status", "--porcelain"]), "", "{node}\n{run}");
        // As root nothing is closed to the capture; as a user it fails with a reason.
        if run.code() == Some(0) {
            let result = run.node(node)["result"]["changed"].clone();
            let names: Vec<&str> =
                result.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            assert_eq!(names.join(" "), changed, "{node}\n{run}");
        } else {
            panic!("{node}: {}", run.message(node));
        }
        // Whatever it left, the next one starts from its base, in the same slot.
        let next = world.apply_with("nodes:\n  next: { run: 'git status --porcelain; ls -A > list.txt; cat src/* >> list.txt; git rev-parse HEAD' }\n", &["--fresh"]);
        let next = next.success();
        let list = world.show(&next.branch(), "list.txt").unwrap();
        assert_eq!(list, ".git\n.gitignore\nlist.txt\nsrc\none\ntwo\n", "after {node}");
    }
    let branches = world.git(&["for-each-ref", "--format=%(refname)", "refs/heads"]);
    assert!(branches.contains("refs/heads/my-own"), "a node's own branch is its affair");
    world.git(&["fsck", "--no-dangling"]);
}

#[test]
fn a_node_that_takes_its_worktree_apart_does_not_break_the_next() {
    let world = World::new();
    for script in [
        "rm -rf ./* ./.[!.]*",
        "d=$PWD; cd /; rm -rf \"$d\"",
        "d=$PWD; cd /; rm -rf \"$d\"; echo a file > \"$d\"",
        "d=$PWD; cd /; rm -rf \"$d\"; ln -s \"$HOME\" \"$d\"",
        "rm -rf \"$(git rev-parse --git-dir)\"",
        "rm -rf src; ln -s \"$HOME\" src",
    ] {
        put(&world.home().join("precious.txt"), "precious");
        let workflow = format!("nodes:\n  n:\n    run: |\n      {script}\n");
        let run = world.apply(&workflow);
        assert!(matches!(run.code(), Some(0 | 1)), "{script}\n{run}");
        let next = world.apply_with("nodes:\n  n: { run: 'cat src/* > all.txt' }\n", &["--fresh"]).success();
        assert_eq!(world.show(&next.branch(), "all.txt").as_deref(), Some("one\ntwo\n"), "{script}");
        assert_eq!(
            std::fs::read_to_string(world.home().join("precious.txt")).unwrap(),
            "precious",
            "{script}"
        );
    }
}

#[test]
fn hooks_and_the_monitor_of_the_repository_do_not_run() {
    let world = World::new();
    let hook = format!("#!/bin/sh\necho \"$0\" >> {}/hooked\n", world.home().display());
    for name in [
        "pre-commit",
        "post-commit",
        "commit-msg",
        "post-checkout",
        "post-merge",
        "reference-transaction",
        "post-index-change",
        "pre-auto-gc",
        "post-rewrite",
        "prepare-commit-msg",
        "fsmonitor",
    ] {
        let path = world.repo.join(".git/hooks").join(name);
        put(&path, &hook);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let hooks = world.repo.join(".git/hooks/fsmonitor");
    world.git(&["config", "core.fsmonitor", hooks.to_str().unwrap()]);
    std::fs::remove_file(world.home().join("hooked")).ok();
    let run = world.apply("result: { into: current }\nnodes:\n  a: { run: 'echo a > a.txt' }\n  b: { run: 'echo b > b.txt' }\n  c: { needs: [a, b], run: 'echo c > c.txt' }\n");
    run.success();
    let ran = std::fs::read_to_string(world.home().join("hooked")).unwrap_or_default();
    assert_eq!(ran, "");
}

#[test]
fn filters_and_line_ends_of_the_repository_hold() {
    let world = World::with(&[
        (".gitattributes", "*.up filter=up\n*.crlf text eol=crlf\n"),
        ("a.crlf", "one\ntwo\n"),
    ]);
    world.git(&["config", "filter.up.clean", "tr a-z A-Z"]);
    world.git(&["config", "filter.up.smudge", "tr A-Z a-z"]);
    let run = world.apply(
        "nodes:\n  a: { run: 'echo text > x.up; cat a.crlf > raw.bin; echo three >> a.crlf' }\n  b: { needs: [a], run: 'cat x.up > seen.txt' }\n",
    );
    let branch = run.success().branch();
    assert_eq!(world.show(&branch, "x.up").as_deref(), Some("TEXT\n"));
    assert_eq!(world.show(&branch, "seen.txt").as_deref(), Some("text\n"));
    assert_eq!(world.show(&branch, "raw.bin").as_deref(), Some("one\r\ntwo\r\n"));
    assert_eq!(world.show(&branch, "a.crlf").as_deref(), Some("one\ntwo\nthree\n"));
}

#[test]
fn a_repository_with_sha256_or_a_reftable_works_or_says_that_it_cannot() {
    for option in ["--object-format=sha256", "--ref-format=reftable"] {
        let world = World::empty();
        let other = world.root.join("other");
        let made =
            world.command("git").args(["init", "-q", "-b", "main", option]).arg(&other).output().unwrap();
        if !made.status.success() {
            continue; // This git does not know it.
        }
        put(&other.join("f"), "x\n");
        world.git_in(&other, &["add", "-A"]);
        world.git_in(&other, &["commit", "-q", "-m", "start"]);
        let before = snapshot(&other);
        let run = world.applying(SMALL, &[]).directory(&other).run();
        if run.code() != Some(0) {
            assert_eq!(run.code(), Some(3), "{run}");
            assert!(run.stderr.contains("cannot read yet"), "{option}: {run}");
            assert_unchanged(&before, &snapshot(&other));
            // What is told to do helps.
            let (_, told) = run.stderr.split_once(": `").expect("it is told what to do");
            let told = told.split('`').next().unwrap().replace("NEW", "../new");
            let done = world.command("sh").arg("-c").arg(&told).current_dir(&other).output().unwrap();
            // An older git cannot convert the one.
            assert!(done.status.success() || option.contains("reftable"), "{done:?}");
            if done.status.success() {
                let place = if told.contains("../new") { world.root.join("new") } else { other };
                world.applying(SMALL, &["--base", "main"]).directory(&place).run().success();
            }
        }
    }
}

#[test]
fn odd_paths_of_the_repository_itself_are_no_problem() {
    let world = World::new();
    for name in [&b"with space"[..], b"new\nline", b"quote'\"$x", b"\xc3\xbc", b"inv\xff"] {
        let path = world.root.join(os(name));
        let source = world.repo.clone();
        let output = world
            .command("git")
            .current_dir("/")
            .args(["clone", "-q"])
            .arg(source)
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for _ in 0..2 {
            let run = world
                .applying(
                    "nodes:\n  a: { run: 'echo a > a.txt' }\n  b: { needs: [a], run: 'cat a.txt > b.txt' }\n",
                    &["--fresh"],
                )
                .directory(&path)
                .run();
            assert_eq!(run.code(), Some(0), "{}\n{run}", path.display());
            let branch = run.branch();
            let seen = world.git_in(&path, &["show", &format!("{branch}:b.txt")]);
            assert_eq!(seen, "a");
        }
    }
}

#[test]
fn reading_commands_work_on_a_store_that_cannot_be_written() {
    let world = World::new();
    world.apply(SMALL).success();
    let file = world.workflow(SMALL);
    let spb = env!("CARGO_BIN_EXE_spb");
    let script = format!(
        "mount --bind '{0}' '{0}' && mount -o remount,ro,bind '{0}' && for c in status runs logs 'runs --json' 'validate {1}' 'plan {1}' 'cache stats' 'checkpoint list' 'why n' 'worktrees list'; do '{2}' $c > /dev/null || {{ echo \"failed: $c\"; exit 9; }}; done; '{2}' apply {1}; test $? = 3 || {{ echo apply; exit 9; }}",
        world.repo.display(),
        file.display(),
        spb
    );
    let output = world.command("unshare").args(["-rm", "sh", "-c", &script]).output();
    let Ok(output) = output else { return };
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if said.contains("unshare failed") || said.contains("mount:") {
        return; // No rights for it here.
    }
    assert!(output.status.success(), "{said}");
}

#[test]
fn a_node_in_the_checkout_works_there_one_at_a_time() {
    let world = World::new();
    world.write("out/mine", "mine\n");
    let run = world.apply_with(
        r#"
nodes:
  make: { artifacts: [out/tool], run: 'mkdir -p out; echo tool > out/tool' }
  a: { needs: [make], workspace: repo, run: 'mkdir "$HOME/busy"; cat out/tool out/mine > out/seen; echo a >> note.txt; sleep 0.1; rmdir "$HOME/busy"' }
  b: { workspace: repo, run: 'mkdir "$HOME/busy"; echo b >> note.txt; sleep 0.1; rmdir "$HOME/busy"' }
"#,
        &["--jobs", "4"],
    );
    run.success().ended("a succeeded, b succeeded, make succeeded");
    let mut lines: Vec<String> =
        std::fs::read_to_string(world.repo.join("note.txt")).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["a", "b"]);
    assert_eq!(std::fs::read_to_string(world.repo.join("out/seen")).unwrap(), "tool\nmine\n");
    assert_eq!(world.git(&["status", "--porcelain"]), "?? note.txt");
}

#[test]
fn slots_are_outside_of_the_repository_and_used_again() {
    let world = World::new();
    for round in 0..3 {
        let text = format!(
            "nodes:\n  a: {{ run: 'echo {round} > a.txt' }}\n  b: {{ needs: [a], run: 'echo {round} > b.txt' }}\n"
        );
        world.apply(&text).success();
    }
    let list = world.git(&["worktree", "list", "--porcelain"]);
    let slots: Vec<&str> = list.lines().filter_map(|line| line.strip_prefix("worktree ")).skip(1).collect();
    assert_eq!(slots.len(), 1, "{list}");
    assert!(Path::new(slots[0]).starts_with(world.root.join("pool")));
    assert!(!slots[0].as_bytes().starts_with(world.repo.as_os_str().as_bytes()));
    assert_eq!(world.rooms(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_collection_of_garbage_in_the_middle_of_a_run_loses_nothing() {
    let world = World::new();
    let workflow = r#"
nodes:
  a: { run: 'mkdir d; echo one > d/one.txt' }
  gc: { after: [a], run: 'git reflog expire --expire=now --all; git gc -q --prune=now; echo g > g.txt' }
  c: { needs: [a, gc], run: 'cat d/one.txt g.txt > c.txt; git gc -q --prune=now' }
  d: { needs: [c], workspace: readonly, run: 'git gc -q --prune=now; test -e d/one.txt' }
"#;
    let run = world.apply(workflow).success();
    assert_eq!(world.show(&run.branch(), "c.txt").as_deref(), Some("one\ng\n"));
    world.git(&["fsck", "--no-dangling"]);
    assert_eq!(world.git(&["for-each-ref", "refs/spb/live"]), "");
    assert!(!world.repo.join(".git/refs/spb/live").exists());
    // Nor does one between a crash and the resume.
    let crash = "nodes:\n  a: { run: 'echo x > x.txt' }\n  b: { needs: [a], run: 'test -e \"$HOME/again\" || { touch \"$HOME/again\"; kill -9 $PPID; sleep 60; }; cat x.txt' }\n";
    assert_eq!(world.apply(crash).signal(), Some(9));
    world.git(&["gc", "-q", "--prune=now"]);
    world.resume().success().ended("b succeeded");
    world.apply(crash).success().ended("a cached, b cached");
}

#[test]
fn locks_of_others_and_names_that_differ_in_case_are_no_obstacle() {
    let world = World::with(&[("Name", "big\n"), ("name", "small\n"), ("dir/x", "x\n"), ("Dir/x", "X\n")]);
    let locks = ["index.lock", "packed-refs.lock", "HEAD.lock", "config.lock", "refs/heads/main.lock"];
    for lock in locks {
        put(&world.repo.join(".git").join(lock), "");
    }
    let workflow = r#"
result: { commits: keep }
nodes:
  a: { run: 'cat Name name dir/x Dir/x > all.txt; echo more >> name; git rm -q --cached Dir/x; rm Dir/x' }
  b: { needs: [a], run: 'cat name >> all.txt; git add -A; git -c user.name=b -c user.email=b@x commit -qm own' }
"#;
    let run = world.apply(workflow).success();
    assert_eq!(world.show(&run.branch(), "all.txt").as_deref(), Some("big\nsmall\nx\nX\nsmall\nmore\n"));
    assert_eq!(world.show(&run.branch(), "Dir/x"), None);
    for lock in locks {
        assert!(world.repo.join(".git").join(lock).exists(), "{lock} was removed");
    }
}
