//! A repository whose configuration, hooks and attributes name programs: spb runs none of them.

use crate::common::{World, put};

/// Every way in which a repository's own configuration can name a program, without filters and merge drivers, which git
/// runs because the content of files depends on them.
const SETTINGS: &[(&str, &str)] = &[
    ("core.fsmonitor", "%"),
    ("core.sshCommand", "%"),
    ("core.pager", "%"),
    ("core.editor", "%"),
    ("core.askPass", "%"),
    ("core.gitProxy", "%"),
    ("core.alternateRefsCommand", "%"),
    ("sequence.editor", "%"),
    ("pager.diff", "%"),
    ("pager.log", "%"),
    ("pager.show", "%"),
    ("diff.external", "%"),
    ("diff.x.command", "%"),
    ("diff.x.textconv", "%"),
    ("diff.trustExitCode", "true"),
    ("interactive.diffFilter", "%"),
    ("alias.diff", "!%"),
    ("alias.merge-tree", "!%"),
    ("alias.worktree", "!%"),
    ("alias.status", "!%"),
    ("gpg.program", "%"),
    ("gpg.ssh.program", "%"),
    ("commit.gpgSign", "true"),
    ("tag.gpgSign", "true"),
    ("credential.helper", "!%"),
    ("uploadpack.packObjectsHook", "%"),
    ("gc.recentObjectsHook", "%"),
    ("core.hooksPath", "@"),
    ("init.templateDir", "@"),
    ("trailer.x.command", "%"),
    ("browser.x.cmd", "%"),
    ("difftool.x.cmd", "%"),
    ("mergetool.x.cmd", "%"),
];

const HOOKS: &[&str] = &[
    "applypatch-msg",
    "pre-applypatch",
    "post-applypatch",
    "pre-commit",
    "pre-merge-commit",
    "prepare-commit-msg",
    "commit-msg",
    "post-commit",
    "pre-rebase",
    "post-checkout",
    "post-merge",
    "pre-push",
    "pre-receive",
    "update",
    "proc-receive",
    "post-receive",
    "post-update",
    "reference-transaction",
    "push-to-checkout",
    "pre-auto-gc",
    "post-rewrite",
    "fsmonitor-watchman",
    "post-index-change",
];

/// A world whose repository tells in `ran-by` of each program of its own that somebody ran.
fn hostile() -> World {
    let world = World::with(&[("a.txt", "a\n"), ("b.txt", "b\n"), (".gitattributes", "*.txt diff=x\n")]);
    let program = world.root.join("program");
    put(
        &program,
        format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\nexit 0\n", world.root.join("ran-by").display()),
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let elsewhere = world.root.join("hooks");
    std::fs::create_dir_all(&elsewhere).unwrap();
    for hook in HOOKS {
        for directory in [&elsewhere, &world.repo.join(".git/hooks")] {
            std::fs::create_dir_all(directory).unwrap();
            std::fs::copy(&program, directory.join(hook)).unwrap();
        }
    }
    let mut config = String::new();
    for (name, value) in SETTINGS {
        let value = value.replace('%', program.to_str().unwrap()).replace('@', elsewhere.to_str().unwrap());
        let (section, key) = name.rsplit_once('.').unwrap();
        let section = match section.split_once('.') {
            Some((section, part)) => format!("{section} \"{part}\""),
            None => section.to_owned(),
        };
        config.push_str(&format!("[{section}]\n\t{key} = {value}\n"));
    }
    let path = world.repo.join(".git/config");
    let before = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, before + &config).unwrap();
    world
}

const WORKFLOW: &str = r#"
nodes:
  one: { run: 'echo one >> a.txt' }
  two: { run: 'echo two >> b.txt; echo new > c.txt' }
  three: { needs: [one, two], run: 'cat a.txt b.txt c.txt > d.txt' }
  left: { run: 'echo left > e.txt' }
  right: { run: 'echo right > e.txt' }
  both: { needs: [left, right], on_conflict: union, run: 'cat e.txt' }
"#;

#[track_caller]
fn none_ran(world: &World, what: &str) {
    let ran = std::fs::read_to_string(world.root.join("ran-by")).unwrap_or_default();
    assert_eq!(ran, "", "{what} ran programs of the repository");
}

#[test]
fn no_program_that_the_repository_names_is_run() {
    let world = hostile();
    let run = world.apply(WORKFLOW).success();
    none_ran(&world, "apply");
    let branch = run.branch();
    for words in [
        &["status"][..],
        &["logs"],
        &["diff"],
        &["diff", "one"],
        &["diff", "--stat"],
        &["runs"],
        &["why", "one"],
        &["doctor"],
        &["worktrees", "list"],
        &["checkpoint", "list"],
        &["merge"],
        &["undo"],
        &["redo"],
        &["cache", "verify"],
        &["cache", "gc"],
    ] {
        // Whether they have something to do is not the question.
        world.spb(words).run();
        none_ran(&world, &format!("{words:?}"));
    }
    assert!(!branch.is_empty());
    // In a place that was used before, after the checkout has moved on.
    put(&world.repo.join("a.txt"), "changed\n");
    let mut quiet = world.command("git");
    quiet.args([
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "core.fsmonitor=false",
        "-c",
        "commit.gpgSign=false",
    ]);
    assert!(quiet.args(["commit", "-qam", "next"]).output().unwrap().status.success());
    std::fs::remove_file(world.root.join("ran-by")).ok();
    world.apply(WORKFLOW).success();
    world.spb(["worktrees", "clean"]).run();
    none_ran(&world, "a second run");
    // The trap does shut: git itself runs them.
    world.git(&["status"]);
    world.git(&["commit", "--allow-empty", "--no-gpg-sign", "-m", "next"]);
    let ran = std::fs::read_to_string(world.root.join("ran-by")).unwrap();
    assert!(ran.contains("program ") && ran.contains("post-commit"), "{ran}");
}

#[test]
fn a_caller_whose_environment_speaks_to_git_changes_nothing() {
    let world = hostile();
    let other = World::new();
    let program = world.root.join("program");
    let program = program.to_str().unwrap();
    let mut spb = world.applying(WORKFLOW, &[]);
    for (name, value) in [
        ("GIT_DIR", other.repo.join(".git").to_str().unwrap()),
        ("GIT_WORK_TREE", other.repo.to_str().unwrap()),
        ("GIT_INDEX_FILE", "/dev/null"),
        ("GIT_OBJECT_DIRECTORY", "/nowhere"),
        ("GIT_ALTERNATE_OBJECT_DIRECTORIES", "/nowhere"),
        ("GIT_COMMON_DIR", "/nowhere"),
        ("GIT_NAMESPACE", "other"),
        ("GIT_CEILING_DIRECTORIES", "/"),
        ("GIT_EXTERNAL_DIFF", program),
        ("GIT_PAGER", program),
        ("GIT_EDITOR", program),
        ("GIT_SSH_COMMAND", program),
        ("GIT_ASKPASS", program),
        ("GIT_PROXY_COMMAND", program),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "core.fsmonitor"),
        ("GIT_CONFIG_VALUE_0", program),
        ("GIT_CONFIG_PARAMETERS", "'core.hooksPath=/nowhere'"),
        ("GIT_TRACE", "1"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        ("GIT_QUARANTINE_PATH", "/nowhere"),
    ] {
        spb = spb.env(name, value);
    }
    let before = crate::common::snapshot(&other.repo);
    let run = spb.run().success();
    none_ran(&world, "apply");
    assert!(world.show(&run.branch(), "d.txt").is_some());
    crate::common::assert_unchanged(&before, &crate::common::snapshot(&other.repo));
}
