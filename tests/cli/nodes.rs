//! Verbs about one node of a run, and about its result: what it changed, a shell in its files, its way into the checkout.

use std::io::Write;
use std::process::Stdio;

use crate::fixture::*;

/// Runs a workflow; gives the run's id.
#[track_caller]
fn apply(fixture: &Fixture, workflow: &str) -> String {
    let file = fixture.home().join("wf.yaml");
    std::fs::write(&file, format!("version: 1\nname: wf\n{workflow}")).unwrap();
    let ran = fixture.spb(&["apply", file.to_str().unwrap(), "--no-progress"]);
    assert!([0, 1].contains(&ran.code), "{}", ran.stderr);
    fixture.json(&["runs", "--json"])[0]["run"].as_str().unwrap().to_owned()
}

const GRAPH: &str = "
env: { WIDE: wide }
secrets: [HOME2]
nodes:
  first: { run: 'echo two > b.txt', outputs: { word: { stdout: true } } }
  second: { needs: [first], run: 'echo three > c.txt; rm a.txt' }
  other: { run: 'echo x > x.txt' }
  same: { needs: [second, other], run: 'true' }
  broken: { needs: [second, other], allow_failure: true, env: { OWN: own }, run: 'exit 3' }
  count: { matrix: { n: [1, 2] }, workspace: scratch, run: 'true' }
";

#[test]
fn what_a_node_changed_is_shown_against_its_own_base() {
    let fixture = Fixture::new();
    let run = apply(&fixture, GRAPH);
    let patch = fixture.good(&["diff", "second"]);
    assert!(patch.contains("+three") && patch.contains("-one") && !patch.contains("two"), "{patch}");
    assert_eq!(fixture.good(&["diff", "second", &run, "--name-only"]), "a.txt\nc.txt\n");
    let stat = fixture.good(&["diff", "second", "--stat"]);
    assert!(stat.contains("2 files changed, 1 insertion(+), 1 deletion(-)"), "{stat}");
    let json = fixture.json(&["diff", "first", "--json"]);
    assert_eq!((&json["run"], &json["node"]), (&run.as_str().into(), &"first".into()));
    assert_eq!(json["files"], serde_json::json!([{ "path": "b.txt", "change": "A" }]));
    assert_eq!(json["commit"].as_str().unwrap().len(), 40);
    let ran = fixture.spb(&["diff", "same"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert!(ran.stderr.contains("changed no files"), "{}", ran.stderr);
    assert_eq!(fixture.json(&["diff", "broken", "--json"])["files"], serde_json::json!([]));
    // What the cache gave is the same change.
    apply(&fixture, GRAPH);
    assert_eq!(fixture.good(&["diff", "second", "--name-only"]), "a.txt\nc.txt\n");
}

#[test]
fn a_node_that_cannot_be_meant_is_refused_with_what_to_type() {
    let fixture = Fixture::new();
    apply(&fixture, GRAPH);
    for (node, help) in [("secnd", "`second`"), ("count", "such as `count:"), ("count:1", "spb why count:1")]
    {
        for verb in ["diff", "shell"] {
            let ran = fixture.spb(&[verb, node]);
            assert_eq!(ran.code, 2, "{verb} {node}: {}", ran.stderr);
            assert!(
                ran.stderr.contains("help: ") && ran.stderr.contains(help),
                "{verb} {node}: {}",
                ran.stderr
            );
        }
    }
}

/// What a shell prints for these commands, and its exit code.
#[track_caller]
fn shell(fixture: &Fixture, arguments: &[&str], commands: &str) -> (String, i32) {
    let mut command = fixture.spb_command(arguments);
    command.env("SHELL", "/bin/false").env("HOME2", "secret");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

#[test]
fn a_shell_has_the_files_and_the_environment_of_the_node_without_secrets() {
    let fixture = Fixture::new();
    let run = apply(&fixture, GRAPH);
    let (printed, code) = shell(&fixture, &["shell", "second"], "ls; git status --short");
    assert_eq!((printed.as_str(), code), ("b.txt\nc.txt\n", 0));
    let (printed, _) = shell(&fixture, &["shell", "second", "--base"], "ls");
    assert_eq!(printed, "a.txt\nb.txt\n");
    // The base of a node that failed was merged from two others.
    let told = "ls; echo $WIDE $OWN ${HOME2-none} $SPB_RUN; test -n \"$SPB_BASE$SPB_CACHE_DIR\"";
    let (printed, code) = shell(&fixture, &["shell", "broken"], told);
    assert_eq!((printed.as_str(), code), (format!("b.txt\nc.txt\nx.txt\nwide own none {run}\n").as_str(), 0));
    let ran = fixture.spb(&["shell", "broken", "--result"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}

#[test]
fn what_is_done_in_a_shell_is_thrown_away_and_its_worktree_given_back() {
    let fixture = Fixture::new();
    apply(&fixture, GRAPH);
    let before = fixture.git(&["for-each-ref"]);
    let (_, code) = shell(&fixture, &["shell", "first"], "rm b.txt; echo mine > mine.txt; exit 7");
    assert_eq!(code, 1);
    let (printed, _) = shell(&fixture, &["shell", "first"], "ls");
    assert_eq!(printed, "a.txt\nb.txt\n");
    assert_eq!(fixture.git(&["for-each-ref"]), before);
    assert_eq!(fixture.git(&["status", "--porcelain"]), "");
    let list = fixture.json(&["worktrees", "list", "--json"]);
    assert!(list.as_array().unwrap().iter().all(|one| one["state"] == "free"), "{list}");
}

#[test]
fn a_result_is_merged_forward_and_undo_tells_how_to_go_back() {
    let fixture = Fixture::new();
    let run = apply(&fixture, "nodes: { n: { run: 'echo two > b.txt' } }\n");
    let before = fixture.git(&["rev-parse", "HEAD"]);
    std::fs::write(fixture.repository().join("mine.txt"), "mine\n").unwrap();
    let ran = fixture.spb(&["merge"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("uncommitted changes"), "{}", ran.stderr);
    assert_eq!(fixture.git(&["rev-parse", "HEAD"]), before);
    std::fs::remove_file(fixture.repository().join("mine.txt")).unwrap();
    let told = fixture.good(&["merge", &run]);
    assert!(told.contains("moved branch `main`"), "{told}");
    assert_eq!(std::fs::read_to_string(fixture.repository().join("b.txt")).unwrap(), "two\n");
    assert_eq!(fixture.json(&["merge", "--json"])["changed"], false);
    let ran = fixture.spb(&["undo"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains(&format!("reset --keep {before}")), "{}", ran.stderr);
    fixture.git(&["reset", "-q", "--keep", &before]);
    assert!(fixture.good(&["undo"]).contains(&format!("undone: merge {run}")));
    assert_eq!(fixture.git(&["rev-parse", "HEAD"]), before);
}

#[test]
fn a_branch_that_went_on_is_left_alone_and_the_merge_to_type_is_shown() {
    let fixture = Fixture::new();
    let run = apply(&fixture, "nodes: { n: { run: 'echo two > b.txt' } }\n");
    let mine = fixture.commit("mine.txt", "mine\n");
    let ran = fixture.spb(&["merge"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains(&format!("git merge spb/wf/{run}")), "{}", ran.stderr);
    assert_eq!(fixture.git(&["rev-parse", "HEAD"]), mine);
    fixture.git(&["checkout", "-q", "--detach"]);
    assert!(fixture.spb(&["merge"]).stderr.contains("on no branch"));
    fixture.git(&["checkout", "-q", "main"]);
    fixture.git(&["branch", "-q", "-D", &format!("spb/wf/{run}")]);
    let ran = fixture.spb(&["merge"]);
    assert!(ran.code == 3 && ran.stderr.contains("was removed"), "{}", ran.stderr);
    apply(&fixture, "nodes: { n: { workspace: scratch, run: 'true' } }\n");
    let ran = fixture.spb(&["merge"]);
    assert!(ran.code == 2 && ran.stderr.contains("left no branch"), "{}", ran.stderr);
}
