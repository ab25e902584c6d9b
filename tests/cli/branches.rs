//! Verbs that move branches: never one that is checked out or was changed by someone else, and always back again.

use crate::fixture::*;

#[test]
fn checkpoints_are_listed_and_compared() {
    let fixture = Fixture::new();
    let (first, second) = fixture.run_with_checkpoints();
    let list = fixture.json(&["checkpoint", "list", "--json"]);
    assert_eq!((&list[0]["commit"], &list[0]["changed_files"]), (&first.into(), &1.into()));
    assert_eq!((&list[1]["commit"], &list[1]["changed_files"]), (&second.into(), &2.into()));
    let diff = fixture.good(&["checkpoint", "diff", "latest", "early"]);
    assert!(diff.contains("+two") && !diff.contains("+three"), "{diff}");
    let diff = fixture.good(&["checkpoint", "diff", "latest", "early", "late"]);
    assert!(diff.contains("+three") && !diff.contains("+two"), "{diff}");
    assert_eq!(fixture.good(&["checkpoint", "diff", "latest", "late", "--name-only"]), "b.txt\nc.txt\n");
    let files = fixture.json(&["checkpoint", "diff", "latest", "late", "--json"]);
    assert_eq!(files[1], serde_json::json!({ "path": "c.txt", "change": "A" }));
    let ran = fixture.spb(&["checkpoint", "diff", "latest", "erly"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("help: did you mean `early`?"), "{}", ran.stderr);
}

#[test]
fn restore_undo_and_redo_move_the_branch_to_and_fro() {
    let fixture = Fixture::new();
    let (first, second) = fixture.run_with_checkpoints();
    let branch = format!("spb/feature/{FIRST}");
    let at = || fixture.git(&["for-each-ref", "--format=%(objectname)", &format!("refs/heads/{branch}")]);
    assert_eq!(at(), second);
    let told = fixture.good(&["checkpoint", "restore", "latest", "early"]);
    assert!(told.contains("`spb undo` takes it back"), "{told}");
    assert_eq!(at(), first);
    assert!(fixture.good(&["checkpoint", "restore", "latest", "early"]).contains("already"));
    fixture.good(&["undo"]);
    assert_eq!(at(), second);
    fixture.good(&["undo"]);
    assert_eq!(at(), "", "the apply made the branch");
    assert_eq!(fixture.spb(&["undo"]).code, 2);
    // Even a collection takes nothing that may be wanted back.
    fixture.git(&["reflog", "expire", "--expire=now", "--all"]);
    fixture.git(&["gc", "-q", "--prune=now"]);
    fixture.good(&["redo"]);
    assert_eq!(at(), second);
    fixture.good(&["redo"]);
    assert_eq!(at(), first);
    assert_eq!(fixture.spb(&["redo"]).code, 2);
    let list = fixture.json(&["undo", "--list", "--json"]);
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(
        (&list[0]["before"], &list[0]["after"], &list[0]["undone"]),
        (&second.into(), &first.into(), &false.into())
    );
}

#[test]
fn another_branch_can_be_made_at_a_checkpoint() {
    let fixture = Fixture::new();
    let (first, _) = fixture.run_with_checkpoints();
    let made = fixture.json(&["checkpoint", "restore", "latest", "early", "--branch", "try", "--json"]);
    assert_eq!(
        (&made["branch"], &made["before"], &made["changed"]),
        (&"try".into(), &serde_json::Value::Null, &true.into())
    );
    assert_eq!(fixture.git(&["rev-parse", "try"]), first);
    let ran = fixture.spb(&["checkpoint", "restore", "latest", "early", "--branch", "a..b"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
}

#[test]
fn a_branch_that_is_checked_out_or_holds_other_work_stays() {
    let fixture = Fixture::new();
    let (first, second) = fixture.run_with_checkpoints();
    let branch = format!("spb/feature/{FIRST}");
    let at = || fixture.git(&["rev-parse", &branch]);
    fixture.git(&["checkout", "-q", &branch]);
    for arguments in [&["checkpoint", "restore", "latest", "early"][..], &["undo"]] {
        let ran = fixture.spb(arguments);
        assert_eq!(ran.code, 3, "{arguments:?}");
        assert!(ran.stderr.contains("is checked out at") && ran.stderr.contains("help: "), "{}", ran.stderr);
        assert_eq!(at(), second);
    }
    let mine = fixture.commit("mine.txt", "mine\n");
    fixture.git(&["checkout", "-q", "main"]);
    let ran = fixture.spb(&["undo"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.stderr.contains("was changed by someone else") && ran.stderr.contains(&second),
        "{}",
        ran.stderr
    );
    let ran = fixture.spb(&["checkpoint", "restore", "latest", "early"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("holds other work"), "{}", ran.stderr);
    assert_eq!(at(), mine);
    // Moving forward loses nothing, whoever made the branch.
    fixture.git(&["branch", "behind", "main"]);
    fixture.good(&["checkpoint", "restore", "latest", "early", "--branch", "behind"]);
    assert_eq!(fixture.git(&["rev-parse", "behind"]), first);
}

#[test]
fn clearing_the_cache_needs_a_yes_and_frees_what_it_kept() {
    let fixture = Fixture::new();
    fixture.store().prepare().unwrap();
    fixture.git(&["update-ref", "refs/spb/cache", "HEAD"]);
    let folder = fixture.store().artifacts_directory().join("ab");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("cd.zst"), vec![0; 2048]).unwrap();
    let ran = fixture.spb(&["cache", "clear"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("add `--yes`"), "{}", ran.stderr);
    assert_eq!(fixture.json(&["cache", "stats", "--json"])["artifact_bytes"], 2048);
    let cleared = fixture.json(&["cache", "clear", "--yes", "--json"]);
    assert_eq!((&cleared["artifacts"], &cleared["entries"]), (&1.into(), &0.into()));
    assert_eq!(fixture.json(&["cache", "stats", "--json"])["artifacts"], 0);
    assert_eq!(fixture.git(&["for-each-ref", "refs/spb/cache"]), "");
}

#[test]
fn worktrees_are_listed_and_removed_but_not_those_in_use() {
    let fixture = Fixture::new();
    let path = spb::git::repo::discover(&fixture.repository()).unwrap();
    let directory = spb::git::default_directory(&path, &fixture.home().join(".cache"));
    let pool = spb::git::Pool::open(&path, directory).unwrap();
    let commit = fixture.git(&["rev-parse", "HEAD"]).parse().unwrap();
    let holder = spb::git::Holder { run: FIRST.to_owned(), node: "build".to_owned() };
    let request = spb::git::LeaseRequest { commit, holder: &holder, prefer: "build", sweep: &|_| {} };
    let busy = pool.lease(&request).unwrap();
    pool.lease(&request).unwrap().finish().unwrap();
    let list = fixture.json(&["worktrees", "list", "--json"]);
    assert_eq!((&list[0]["state"], &list[0]["run"]), (&"busy".into(), &FIRST.into()));
    assert_eq!((&list[1]["state"], &list[1]["run"]), (&"free".into(), &serde_json::Value::Null));
    assert_eq!(fixture.spb(&["worktrees", "remove", "9"]).code, 2);
    let ran = fixture.spb(&["worktrees", "remove", "1"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("kept what a node runs in: 1"), "{}", ran.stderr);
    let ran = fixture.spb(&["worktrees", "remove", "--all", "--json"]);
    assert_eq!(ran.code, 0);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap(),
        serde_json::json!({ "removed": [2], "busy": [1] })
    );
    busy.finish().unwrap();
    fixture.good(&["worktrees", "remove", "1"]);
    assert_eq!(fixture.good(&["worktrees", "list"]), "no worktrees yet\n");
}
