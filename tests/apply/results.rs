//! What a run leaves: its branch, its checkpoints, and the way back.

use crate::common::{World, put};

const TWO: &str = r#"
nodes:
  a: { run: 'echo a > a.txt' }
  b: { needs: [a], run: 'echo b > b.txt' }
"#;

#[test]
fn squash_is_one_commit_and_keep_is_one_for_each_node() {
    let world = World::new();
    let branch = world.apply(TWO).success().branch();
    assert_eq!(world.git(&["rev-list", "--count", &format!("main..{branch}")]), "1");
    assert_eq!(world.git(&["log", "-1", "--format=%an", &branch]), "Tester");
    let keep = format!("result: {{ commits: keep, branch: kept }}\n{TWO}");
    let branch = world.apply(&keep).success().ended("a cached, b cached").branch();
    assert_eq!(branch, "kept");
    assert_eq!(world.git(&["log", "--format=%s", "main..kept"]), "spb: b\nspb: a");
    assert_eq!(world.git(&["merge-base", "main", "kept"]), world.git(&["rev-parse", "main"]));
}

#[test]
fn branch_and_message_may_hold_expressions() {
    let world = World::new();
    let workflow = format!(
        "inputs: {{ task: {{ type: string }} }}\nresult: {{ branch: 'work/${{{{ inputs.task }}}}', message: \"do ${{{{ inputs.task }}}}\\n\\nrun ${{{{ run.id }}}} of ${{{{ run.workflow }}}}\" }}\n{TWO}"
    );
    let run = world.apply_with(&workflow, &["-i", "task=it"]).success();
    assert_eq!(run.branch(), "work/it");
    let message = world.git(&["log", "-1", "--format=%B", "work/it"]);
    assert_eq!(message, format!("do it\n\nrun {} of t", run.id()));
    for bad in ["a b", "..", "x.lock", "-x", "@{", "~1", "\u{7}", ""] {
        let run = world.apply_with(&workflow, &["-i", &format!("task={bad}")]);
        assert_ne!(run.code(), Some(70), "{run}");
        assert!(
            world.git(&["for-each-ref", "--format=%(refname)", "refs/heads"]).lines().count() <= 3,
            "{bad:?}"
        );
    }
}

#[test]
fn only_the_nodes_asked_for_make_the_result() {
    let world = World::new();
    let workflow = "result: { from: [a, c] }\nnodes:\n  a: { run: 'echo a > a.txt' }\n  b: { needs: [a], run: 'echo b > b.txt' }\n  c: { run: 'echo c > c.txt' }\n";
    let branch = world.apply(workflow).success().branch();
    let names = world.git(&["diff", "--name-only", "main", &branch]);
    assert_eq!(names, "a.txt\nc.txt");
}

#[test]
fn a_run_that_changes_nothing_or_fails_leaves_no_branch() {
    let world = World::new();
    let run = world.apply("nodes:\n  a: { run: 'true' }\n").success();
    assert!(run.end()["branch"].is_null());
    let run = world
        .apply("nodes:\n  a: { run: 'echo x > x.txt' }\n  b: { needs: [a], run: 'rm x.txt' }\n")
        .success();
    assert!(run.end()["branch"].is_null(), "{run}");
    let run = world.apply("nodes:\n  a: { run: 'echo a > a.txt' }\n  b: { run: exit 1 }\n").exits(1);
    assert!(run.end()["branch"].is_null());
    assert_eq!(world.git(&["for-each-ref", "refs/heads"]).lines().count(), 1);
    // What finished is in the checkpoint all the same.
    let stages = world.spb(["checkpoint", "diff", "latest", "main", "--name-only"]).run().success();
    assert_eq!(stages.stdout.trim(), "a.txt");
}

#[test]
fn a_branch_with_other_work_is_not_moved() {
    let world = World::new();
    world.git(&["branch", "theirs"]);
    world.git(&["checkout", "-q", "theirs"]);
    world.write("theirs.txt", "theirs\n");
    let theirs = world.commit("theirs");
    world.git(&["checkout", "-q", "main"]);
    let run = world.apply(&format!("result: {{ branch: theirs }}\n{TWO}")).exits(1);
    assert_eq!(world.git(&["rev-parse", "theirs"]), theirs);
    assert!(run.end()["branch"].is_null());
    assert_eq!(run.end()["outcome"], "failed");
    assert!(run.stderr.contains("the result is on no branch: branch `theirs` holds other work"), "{run}");
    // What was made is kept, and the message says how to get at it.
    let commit = run.end()["commit"].as_str().unwrap().to_owned();
    world.git(&["-c", "gc.reflogExpire=now", "gc", "-q", "--prune=now"]);
    assert!(run.stderr.contains(&format!("`git branch NAME {}`", &commit[..12])), "{run}");
    assert_eq!(world.show(&commit, "b.txt").as_deref(), Some("b\n"));
    // Once the way is free, the run is carried on to its end.
    world.git(&["branch", "-m", "theirs", "elsewhere"]);
    let run = world.resume().success().ended("");
    assert_eq!(run.branch(), "theirs");
    assert_eq!(world.git(&["rev-parse", "theirs"]), commit);
    world.git(&["branch", "-m", "elsewhere", "theirs", "--force"]);
    // The branch that is checked out is not moved behind its checkout either.
    let run = world.apply(&format!("result: {{ branch: main }}\n{TWO}")).exits(1);
    assert!(run.end()["message"].as_str().unwrap().contains("checked out"), "{run}");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    // One that we made ourselves is moved along.
    let ours = format!("result: {{ branch: ours }}\n{TWO}");
    world.apply(&ours).success();
    world.apply(&ours.replace("echo b", "echo bb")).success();
    assert_eq!(world.show("ours", "b.txt").as_deref(), Some("bb\n"));
    // Unless someone added to it.
    world.git(&["checkout", "-q", "ours"]);
    world.write("more.txt", "more\n");
    let more = world.commit("more");
    world.git(&["checkout", "-q", "main"]);
    let run = world.apply(&ours.replace("echo b", "echo bbb")).exits(1);
    assert_eq!(world.git(&["rev-parse", "ours"]), more, "{run}");
}

#[test]
fn a_clean_checkout_is_moved_forward_when_asked_and_a_dirty_one_is_not() {
    let world = World::new();
    let workflow = format!("result: {{ into: current }}\n{TWO}");
    world.write("dirty.txt", "dirty\n");
    let before = world.git(&["rev-parse", "HEAD"]);
    let run = world.apply(&workflow).success();
    assert_eq!(world.git(&["rev-parse", "HEAD"]), before);
    assert!(run.end()["message"].as_str().unwrap().contains("left alone"), "{run}");
    assert!(!world.repo.join("a.txt").exists());
    std::fs::remove_file(world.repo.join("dirty.txt")).unwrap();
    let run = world.apply(&workflow).success().ended("a cached, b cached");
    assert_eq!(world.git(&["rev-parse", "HEAD"]), world.git(&["rev-parse", &run.branch()]));
    assert_eq!(std::fs::read_to_string(world.repo.join("b.txt")).unwrap(), "b\n");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(world.git(&["symbolic-ref", "--short", "HEAD"]), "main");
}

#[test]
fn a_checkout_that_went_another_way_is_left_alone_and_told_what_to_type() {
    let world = World::new();
    world.write("later.txt", "later\n");
    let later = world.commit("later");
    let workflow = format!("result: {{ into: current }}\n{TWO}");
    let run = world.apply_with(&workflow, &["--base", "HEAD~1"]).success();
    assert_eq!(world.git(&["rev-parse", "HEAD"]), later);
    let message = run.end()["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("to merge: `git merge {}`", run.branch())), "{message}");
    world.git(&["merge", "-q", "--no-edit", &run.branch()]);
    assert_eq!(std::fs::read_to_string(world.repo.join("b.txt")).unwrap(), "b\n");
    // Where no branch is checked out, only the checkout moves.
    world.git(&["checkout", "-q", "--detach"]);
    let main = world.git(&["rev-parse", "main"]);
    let run = world.apply(&workflow.replace("echo b", "echo bb")).success();
    assert_eq!(world.git(&["rev-parse", "HEAD"]), world.git(&["rev-parse", &run.branch()]));
    assert_eq!(world.git(&["rev-parse", "main"]), main);
}

#[test]
fn undo_takes_the_branch_back_and_redo_does_it_again() {
    let world = World::new();
    let ours = format!("result: {{ branch: ours }}\n{TWO}");
    world.apply(&ours).success();
    let first = world.git(&["rev-parse", "ours"]);
    world.apply(&ours.replace("echo b", "echo bb")).success();
    let second = world.git(&["rev-parse", "ours"]);
    let at = || world.command("git").args(["rev-parse", "-q", "--verify", "ours"]).output().unwrap();
    let at = || String::from_utf8(at().stdout).unwrap().trim().to_owned();
    world.spb(["undo"]).run().success();
    assert_eq!(at(), first);
    world.spb(["undo"]).run().success();
    assert_eq!(at(), "");
    world.spb(["undo"]).run().exits(2);
    world.git(&["reflog", "expire", "--expire=now", "--all"]);
    world.git(&["gc", "-q", "--prune=now"]);
    world.spb(["redo"]).run().success();
    assert_eq!(at(), first);
    world.spb(["redo"]).run().success();
    assert_eq!(at(), second);
    world.spb(["redo"]).run().exits(2);
    // Not over something that someone else did meanwhile.
    world.git(&["update-ref", "refs/heads/ours", "main"]);
    let run = world.spb(["undo"]).run().exits(3);
    assert!(run.stderr.contains("ours"), "{run}");
    assert_eq!(at(), world.git(&["rev-parse", "main"]));
}

#[test]
fn checkpoints_hold_everything_up_to_their_stage_and_can_be_restored() {
    let world = World::new();
    let workflow = r#"
stages: [one, two, three]
nodes:
  a: { stage: one, run: 'echo a > a.txt' }
  b: { stage: one, run: 'echo b > b.txt' }
  c: { stage: two, needs: [a], run: 'echo c > c.txt' }
  d: { stage: three, needs: [b, c], run: 'echo d > d.txt; rm a.txt' }
"#;
    let run = world.apply(workflow).success();
    let stages: Vec<_> =
        run.events().into_iter().filter(|event| event["event"] == "stage_finished").collect();
    let names: Vec<_> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(names, ["one", "two", "three"]);
    let files =
        |stage: usize| world.git(&["diff", "--name-only", "main", stages[stage]["commit"].as_str().unwrap()]);
    assert_eq!(
        [files(0), files(1), files(2)],
        ["a.txt\nb.txt", "a.txt\nb.txt\nc.txt", "b.txt\nc.txt\nd.txt"]
    );
    world.git(&["reflog", "expire", "--expire=now", "--all"]);
    world.git(&["gc", "-q", "--prune=now"]);
    let branch = run.branch();
    let top = world.git(&["rev-parse", &branch]);
    world.spb(["checkpoint", "restore", "latest", "one"]).run().success();
    assert_eq!(world.git(&["diff", "--name-only", "main", &branch]), "a.txt\nb.txt");
    world.spb(["undo"]).run().success();
    assert_eq!(world.git(&["rev-parse", &branch]), top);
    let diff = world.spb(["checkpoint", "diff", "latest", "one", "three", "--name-only"]).run().success();
    assert_eq!(diff.stdout, "a.txt\nc.txt\nd.txt\n");
}

#[test]
fn a_failed_stage_leaves_the_checkpoint_of_what_succeeded() {
    let world = World::new();
    let workflow = r#"
stages: [one, two]
nodes:
  a: { stage: one, run: 'echo a > a.txt' }
  b: { stage: two, needs: [a], run: 'echo b > b.txt; exit 1' }
  c: { stage: two, run: 'echo c > c.txt' }
"#;
    let run = world.apply(workflow).exits(1);
    let list = world.spb(["checkpoint", "list", "--json"]).run().success();
    assert!(list.stdout.contains("\"one\"") && list.stdout.contains("\"two\""), "{list}");
    let commit = run.events().into_iter().rfind(|event| event["event"] == "stage_finished").unwrap();
    let commit = commit["commit"].as_str().unwrap().to_owned();
    assert_eq!(world.git(&["diff", "--name-only", "main", &commit]), "a.txt\nc.txt");
}

#[test]
fn a_lock_that_a_killed_undo_left_is_in_nobodys_way_and_one_of_others_stays() {
    let world = World::new();
    let branch = world.apply("nodes:\n  n: { run: 'echo a > a.txt' }\n").success().branch();
    let lock = world.repo.join(format!(".git/refs/heads/{branch}.lock"));
    put(&lock, "");
    put(&world.store().join("writing-ref"), format!("refs/heads/{branch}"));
    world.spb(["undo"]).run().success();
    assert!(!lock.exists());
    assert_eq!(world.git(&["for-each-ref", "refs/heads/spb"]), "");
    put(&lock, "");
    let run = world.spb(["redo"]).run();
    assert_ne!(run.code(), Some(0), "{run}");
    assert!(lock.exists(), "a lock of somebody else was removed");
    std::fs::remove_file(&lock).unwrap();
    world.spb(["redo"]).run().success();
    assert_eq!(world.show(&branch, "a.txt").as_deref(), Some("a\n"));
}
