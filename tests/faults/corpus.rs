//! Runs that earlier versions left, in `corpus/format-N/<state>`: each is read and carried on by this one, and what a newer
//! one left is refused by name, untouched. `UPDATE_CORPUS=1` writes those of the present format.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{World, put, snapshot};

/// A state, the workflow that a run came into it with, what its nodes wait for, and what a resume runs again.
struct Case {
    state: &'static str,
    workflow: &'static str,
    /// Nodes that a resume runs, by what they note.
    again: &'static str,
}

const CASES: &[Case] = &[
    Case {
        state: "succeeded",
        workflow: "nodes:\n  a: { run: 'echo a >> \"$HOME/ran\"; echo a > a.txt' }\n  b: { needs: [a], artifacts: [out/b], run: 'echo b >> \"$HOME/ran\"; mkdir -p out; cp a.txt out/b; echo v=1 >> \"$SPB_OUTPUT\"', outputs: { v: {} } }\n",
        again: "",
    },
    Case {
        state: "failed",
        workflow: "stages: [one, two]\nnodes:\n  a: { run: 'echo a >> \"$HOME/ran\"; echo a > a.txt; echo said' }\n  b: { stage: two, needs: [a], retry: { max: 1 }, run: 'echo b >> \"$HOME/ran\"; test -e \"$HOME/ok\"; cat a.txt > b.txt' }\n  c: { stage: two, needs: [b], run: 'echo c >> \"$HOME/ran\"; cat b.txt' }\n",
        again: "b c",
    },
    Case {
        state: "interrupted",
        workflow: "nodes:\n  a: { run: 'echo a >> \"$HOME/ran\"; echo a > a.txt' }\n  b: { needs: [a], run: 'echo b >> \"$HOME/ran\"; test -e \"$HOME/ok\" || { echo > \"$HOME/here\"; sleep 1000; }; cat a.txt > b.txt' }\n",
        again: "b",
    },
    Case {
        state: "waiting",
        workflow: "nodes:\n  a: { run: 'echo a >> \"$HOME/ran\"; echo a > a.txt' }\n  ask: { needs: [a], approve: Go on }\n  b: { needs: [ask], run: 'echo b >> \"$HOME/ran\"; cat a.txt > b.txt' }\n",
        again: "b",
    },
    Case {
        state: "taken-apart",
        workflow: "nodes:\n  l: { workspace: readonly, run: 'echo l >> \"$HOME/ran\"; seq 3', outputs: { l: { stdout: true, format: lines } } }\n  each: { needs: [l], for_each: \"${{ needs.l.outputs.l }}\", env: { I: \"${{ item }}\" }, run: 'echo $I >> \"$HOME/ran\"; [ $I != 2 ] || test -e \"$HOME/ok\"; echo $I > $I.txt' }\n  turn: { needs: [each], loop: { until: 'loop.last.outputs.n == \"2\"', max: 3 }, env: { R: \"${{ loop.index }}\" }, run: 'echo turn >> \"$HOME/ran\"; echo n=$R >> \"$SPB_OUTPUT\"', outputs: { n: {} } }\n",
        again: "2 turn turn",
    },
];

/// Makes something in a world newer than it is.
type Break<'a> = &'a dyn Fn(&World);

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/corpus")
}

/// Brings a new world into the state.
fn make(case: &Case) -> World {
    let world = World::in_memory();
    if case.state == "interrupted" {
        let running = world.applying(case.workflow, &[]).begin();
        crate::common::until(|| world.home().join("here").exists());
        running.signal(libc::SIGKILL);
        let run = running.finish();
        let id =
            run.stdout.lines().next().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        for pid in world.processes_of(id.unwrap()["run"].as_str().unwrap()) {
            crate::common::kill(pid, libc::SIGKILL);
        }
    } else {
        let run = world.apply(case.workflow);
        assert!(matches!(run.code(), Some(0 | 1 | 4)), "{run}");
    }
    world
}

/// Keeps what a run left, without anything of this machine.
fn keep(world: &World, to: &Path) {
    fs::remove_dir_all(to).ok();
    fs::create_dir_all(to).unwrap();
    // One that was killed has named its results only in its journal.
    for journal in world.journals() {
        for (at, _) in journal.match_indices("\"commit\":\"") {
            let id = &journal[at + 10..at + 50];
            world.git(&["update-ref", &format!("refs/spb/corpus/{id}"), id]);
        }
    }
    world.git(&["bundle", "create", "-q", to.join("repo.bundle").to_str().unwrap(), "--all"]);
    for part in ["runs", "workflows", "artifacts", "format"] {
        let from = world.store().join(part);
        let files = if from.is_file() { vec![from] } else { world.all_files(&from) };
        for file in files {
            let name = file.file_name().unwrap().to_str().unwrap();
            let target = to.join("store").join(file.strip_prefix(world.store()).unwrap());
            match name {
                "lock" | "processes" => {}
                "journal.ndjson" => put(&target, neutral(&fs::read_to_string(&file).unwrap(), world)),
                _ => put(&target, fs::read(&file).unwrap()),
            }
        }
    }
}

/// The journal as if it came from elsewhere, with its sums put right.
fn neutral(journal: &str, world: &World) -> String {
    let root = world.root.to_str().unwrap();
    let host = spb::host::hostname();
    let text = journal
        .replace(root, "/elsewhere")
        .replace(&format!("\"host\":\"{host}\""), "\"host\":\"elsewhere\"");
    let text = text.replace(spb::host::boot_id(), "00000000-0000-0000-0000-000000000000");
    text.lines().map(resummed).collect()
}

fn resummed(line: &str) -> String {
    let body = line.rsplit_once(",\"sum\":\"").unwrap().0;
    format!("{body},\"sum\":\"{}\"}}\n", &blake3::hash(body.as_bytes()).to_hex()[..16])
}

/// A new repository with the store of the corpus in it.
fn restored(kept: &Path) -> World {
    let world = World::in_memory();
    let bundle = kept.join("repo.bundle");
    world.git(&["fetch", "-q", bundle.to_str().unwrap(), "refs/spb/*:refs/spb/*"]);
    let done = world.command("cp").arg("-r").arg(kept.join("store")).arg(world.store()).status().unwrap();
    assert!(done.success());
    world
}

fn kept_cases() -> Vec<PathBuf> {
    let below = |path: PathBuf| fs::read_dir(path).unwrap().flatten().map(|entry| entry.path());
    let mut cases: Vec<PathBuf> = below(corpus()).flat_map(below).collect();
    cases.sort();
    cases
}

#[test]
fn runs_of_every_earlier_format_are_read_and_carried_on() {
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        for case in CASES {
            let to = corpus().join(format!("format-{}", spb::event::FORMAT)).join(case.state);
            keep(&make(case), &to);
        }
    }
    let kept = kept_cases();
    assert!(kept.len() >= CASES.len(), "{kept:?}");
    for path in kept {
        let state = path.file_name().unwrap().to_str().unwrap();
        let case = CASES.iter().find(|case| case.state == state).unwrap();
        let world = restored(&path);
        let expect = if state == "taken-apart" { "failed" } else { state };
        let before = snapshot(&world.store());
        assert_eq!(world.state(), expect, "{}", path.display());
        for words in [&["status"][..], &["logs"], &["runs"], &["doctor"]] {
            world.spb(words).run().success();
        }
        crate::common::assert_unchanged(&before, &snapshot(&world.store()));
        fs::write(world.home().join("ok"), "").unwrap();
        let resumed = match state {
            "waiting" => world.spb(["approve", "--resume"]).run(),
            _ => world.spb(["resume"]).run(),
        };
        let resumed = resumed.success();
        assert_eq!(world.take_ran(), case.again, "{}\n{resumed}", path.display());
        assert_eq!(world.state(), "succeeded", "{}", path.display());
        // What it had made counts for the cache as well.
        let again = world.apply(case.workflow);
        assert!(again.starts() == 0 || state == "waiting", "{}\n{again}", path.display());
    }
}

#[test]
fn everything_that_a_newer_version_left_is_refused_by_name_and_untouched() {
    let newer_journal = |world: &World| {
        let run = fs::read_dir(world.store().join("runs")).unwrap().next().unwrap().unwrap().path();
        let journal = run.join("journal.ndjson");
        let text = fs::read_to_string(&journal).unwrap();
        let now = format!("\"format\":{}", spb::event::FORMAT);
        let text: String =
            text.lines().map(|line| resummed(&line.replacen(&now, "\"format\":99", 1))).collect();
        fs::write(journal, text).unwrap();
    };
    let newer_mark = |world: &World| fs::write(world.store().join("format"), "99\n").unwrap();
    let newer_answer = |world: &World| {
        world.spb(["approve"]).run();
        let answer = world
            .all_files(&world.store())
            .into_iter()
            .find(|path| path.ends_with("decisions/ask.json"))
            .unwrap();
        let text = fs::read_to_string(&answer).unwrap();
        fs::write(answer, text.replace("\"format\":1", "\"format\":99")).unwrap();
    };
    let breaks: &[(&str, Break<'_>)] =
        &[("journal.ndjson", &newer_journal), (".git/spb", &newer_mark), ("ask.json", &newer_answer)];
    let waiting = CASES.iter().find(|case| case.state == "waiting").unwrap();
    for (name, make_newer) in breaks {
        let world = make(waiting);
        make_newer(&world);
        let before = snapshot(&world.store().join("runs"));
        let run = world.spb(["resume"]).run();
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(matches!(run.code(), Some(3 | 4 | 1)), "{name} {run}");
        for expect in [name, "newer spb", "format 99", "update spb"] {
            assert!(said.contains(expect), "{name}: {expect}\n{run}");
        }
        if *name != "ask.json" {
            crate::common::assert_unchanged(&before, &snapshot(&world.store().join("runs")));
        }
    }
}
