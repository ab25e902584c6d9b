//! The cache as one file: what one clone computed another one finds, on whatever base and in whatever place; and what a file may
//! not do.

use std::path::{Path, PathBuf};

use crate::common::{Run, World};

const WORKFLOW: &str = r#"
nodes:
  make: { reads: [src/one.txt], artifacts: ["out/**"], outputs: { v: {} }, run: 'echo make >> "$HOME/ran"; mkdir -p out/d; echo tool > out/d/tool; chmod 755 out/d/tool; ln -s d/tool out/link; cp src/one.txt made.txt; echo v=7 >> "$SPB_OUTPUT"' }
  other: { reads: [src/two.txt], run: 'echo other >> "$HOME/ran"; tr a-z A-Z < src/two.txt > "other file.txt"; git rm -q src/two.txt; ln -s made.txt link' }
  bare: { workspace: scratch, outputs: { w: { stdout: true } }, run: 'echo bare >> "$HOME/ran"; echo 5' }
  use: { needs: [make, other, bare], reads: [made.txt, "other file.txt"], env: { V: "${{ needs.make.outputs.v }}" }, run: 'echo use >> "$HOME/ran"; { out/link 2>/dev/null || cat out/link; test -x out/d/tool; cat made.txt; echo $V; } > used.txt' }
  check: { needs: [use], workspace: readonly, reads: [used.txt], run: 'echo check >> "$HOME/ran"; grep 7 used.txt' }
"#;

const ALL: &str = "bare cached, check cached, make cached, other cached, use cached";

fn clone(world: &World, name: &str, words: &[&str]) -> PathBuf {
    let to = world.root.join(name);
    let from = format!("file://{}", world.repo.display());
    let all = [&["clone", "-q"], words, &[&from, to.to_str().unwrap()]].concat();
    world.git_in(&world.root, &all);
    to
}

fn apply(world: &World, clone: &Path) -> Run {
    world.applying(WORKFLOW, &[]).directory(clone).run()
}

fn export(world: &World) -> PathBuf {
    let file = world.root.join("cache.spb");
    let run = world.spb(["cache", "export", file.to_str().unwrap()]).run().success();
    assert!(run.stdout.starts_with("wrote 5 results"), "{run}");
    file
}

fn import(world: &World, clone: &Path, file: &Path) -> Run {
    world.spb(["cache", "import", file.to_str().unwrap()]).directory(clone).run()
}

fn files(world: &World, clone: &Path, branch: &str) -> String {
    world.git_in(clone, &["ls-tree", "-r", branch])
}

#[test]
fn a_clone_of_the_same_commit_gets_the_same_results_without_running_anything() {
    let world = World::new();
    let first = world.apply(WORKFLOW).success();
    world.take_ran();
    let file = export(&world);
    let there = clone(&world, "there", &[]);
    let took = import(&world, &there, &file).success();
    assert_eq!(took.stdout, "took 5 results; 0 were here already, 0 refused\n");
    let run = apply(&world, &there).success().ended(ALL);
    assert_eq!((world.take_ran().as_str(), run.starts()), ("", 0));
    assert_eq!(files(&world, &there, &run.branch()), world.files(&first.branch()));
    let took = import(&world, &there, &file).success();
    assert_eq!(took.stdout, "took 0 results; 5 were here already, 0 refused\n");
    // Nothing else keeps them.
    world.git_in(&there, &["branch", "-q", "-D", &run.branch()]);
    world.git_in(&there, &["gc", "-q", "--prune=now"]);
    world.git_in(&there, &["fsck", "--strict", "--no-dangling"]);
    apply(&world, &there).success().ended(ALL);
    let whole = world.spb(["cache", "verify"]).directory(&there).run().success();
    assert_eq!(whole.stdout, "5 results, all whole\n");
}

#[test]
fn a_shallow_clone_on_another_commit_gets_what_reads_the_same() {
    let world = World::new();
    world.apply(WORKFLOW).success();
    world.take_ran();
    let file = export(&world);
    world.write("unrelated.txt", "unrelated\n");
    world.commit("unrelated");
    let there = clone(&world, "there", &["--depth", "1"]);
    import(&world, &there, &file).success();
    let run = apply(&world, &there).success().ended(ALL);
    assert_eq!(world.take_ran(), "");
    let show = |path: &str| world.git_in(&there, &["show", &format!("{}:{path}", run.branch())]);
    assert_eq!((show("used.txt").as_str(), show("unrelated.txt").as_str()), ("tool\none\n7", "unrelated"));
    world.git_in(&there, &["fsck", "--strict", "--no-dangling"]);
    world.git_in(&there, &["gc", "-q", "--prune=now"]);
    apply(&world, &there).success().ended(ALL);
    // And from there on to a third one.
    let file = world.root.join("again.spb");
    world.spb(["cache", "export", file.to_str().unwrap()]).directory(&there).run().success();
    let third = clone(&world, "third", &[]);
    import(&world, &third, &file).success();
    apply(&world, &third).success().ended(ALL);
}

#[test]
fn commits_that_a_node_made_itself_arrive_one_by_one() {
    let world = World::new();
    let text = r#"
nodes:
  n: { reads: [src/one.txt], run: 'git config user.name N; for i in 1 2; do echo $i > $i.txt; git add .; git -c user.email=n@x commit -q -m "mine $i"; done; echo 3 > 3.txt' }
"#;
    world.apply(text).success();
    let file = world.root.join("cache.spb");
    world.spb(["cache", "export", file.to_str().unwrap()]).run().success();
    world.write("more.txt", "more\n");
    world.commit("more");
    let there = clone(&world, "there", &["--depth", "1"]);
    import(&world, &there, &file).success();
    let whole = world.spb(["cache", "verify"]).directory(&there).run().success();
    assert_eq!(whole.stdout, "1 result, all whole\n");
    let run = world.applying(text, &[]).directory(&there).run().success().ended("n cached");
    let commit = run.node("n")["result"]["commit"].as_str().unwrap().to_owned();
    let told = world.git_in(&there, &["log", "--format=%s", "-4", &commit]);
    assert_eq!(told, "spb: n\nmine 2\nmine 1\nmore");
    assert_eq!(world.git_in(&there, &["show", &format!("{commit}:2.txt")]), "2");
}

/// Archives as an enemy makes them: the good one with other words in its entries.
#[test]
fn what_no_node_leaves_is_refused_by_name_and_the_rest_is_taken() {
    let world = World::new();
    world.apply(WORKFLOW).success();
    let file = export(&world);
    let whole = std::fs::read(&file).unwrap();
    let cases = [
        (
            r#""path":"out/d/tool""#,
            r#""path":"../d/tool/""#,
            "the artifact `../d/tool/` leaves the workspace",
        ),
        (
            r#""path":"out/d/tool""#,
            r#""path":"/etc/passw""#,
            "the artifact `/etc/passw` leaves the workspace",
        ),
        (r#""path":"out/d/tool""#, r#""path":".git/hook""#, "the artifact `.git/hook` leaves the workspace"),
        (r#""link":"d/tool""#, r#""link":"../../x""#, "leads out"),
        (r#""path":"made.txt""#, r#""path":"../e.txt""#, "\"../e.txt\" may be in no checkout"),
        (r#""path":"made.txt""#, r#""path":".git/aaa""#, "\".git/aaa\" may be in no checkout"),
        (
            r#""path":"used.txt","old":null,"new":[33188"#,
            r#""path":"used.txt","old":null,"new":[24996"#,
            "no kind that git knows",
        ),
        (r#""format":1,"key":"#, r#""format":7,"key":"#, "has format 7"),
        (r#""size":5"#, r#""size":6"#, "is missing or damaged"),
    ];
    for (good, bad, expect) in cases {
        let there = clone(&world, &format!("there{}", bad.len() * 31 + expect.len()), &[]);
        let file = world.root.join("bad.spb");
        std::fs::write(&file, rewritten(&whole, good, bad)).unwrap();
        let run = import(&world, &there, &file).exits(3);
        assert!(run.stderr.contains(expect), "{expect}\n{run}");
        assert!(run.stdout.contains("took ") && !run.stdout.starts_with("took 5"), "{run}");
        assert_eq!(world.git_in(&there, &["status", "--porcelain"]), "", "the checkout was touched");
        let _same = apply(&world, &there).success();
        std::fs::remove_dir_all(&there).unwrap();
    }
}

/// Replaces words of every entry, and makes lengths and checksum right again.
fn rewritten(archive: &[u8], good: &str, bad: &str) -> Vec<u8> {
    let start = archive.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let records = zstd::decode_all(&archive[start..]).unwrap();
    let (mut at, mut made, mut changed) = (0, Vec::new(), 0);
    while at < records.len() {
        let length = u64::from_le_bytes(records[at + 1..at + 9].try_into().unwrap()) as usize;
        let payload = &records[at + 9..at + 9 + length];
        let payload = match records[at] {
            b'e' => {
                let text = std::str::from_utf8(payload).unwrap();
                changed += text.matches(good).count();
                text.replace(good, bad).into_bytes()
            }
            b'z' => blake3::hash(&made).as_bytes().to_vec(),
            _ => payload.to_vec(),
        };
        made.push(records[at]);
        made.extend((payload.len() as u64).to_le_bytes());
        made.extend(payload);
        at += 9 + length;
    }
    assert!(changed > 0, "{good} is in no entry");
    [&archive[..start], &zstd::encode_all(&made[..], 3).unwrap()].concat()
}

#[test]
fn artifacts_arrive_as_they_were_with_directories_modes_and_links() {
    let world = World::new();
    world.apply(WORKFLOW).success();
    world.take_ran();
    let file = export(&world);
    world.write("src/one.txt", "eins\n");
    world.commit("one");
    let there = clone(&world, "there", &[]);
    import(&world, &there, &file).success();
    // `use` runs there with the artifacts of a `make` that ran as well; `check` as before.
    let run = apply(&world, &there).success();
    assert_eq!(world.take_ran(), "check make use");
    let show = |path: &str| world.git_in(&there, &["show", &format!("{}:{path}", run.branch())]);
    assert_eq!(show("used.txt"), "tool\neins\n7");
}

#[test]
fn only_what_was_used_lately_and_is_whole_goes_out() {
    let world = World::new();
    world.apply(WORKFLOW).success();
    let connection = rusqlite::Connection::open(world.store().join("index.sqlite")).unwrap();
    connection
        .execute("update entries set created = created - 1000000000 where node in ('bare', 'use')", [])
        .unwrap();
    connection.execute("update entries set body = '{}' where node = 'check'", []).unwrap();
    drop(connection);
    let file = world.root.join("cache.spb");
    let run = world.spb(["cache", "export", file.to_str().unwrap(), "--since", "1d"]).run().success();
    assert!(run.stdout.starts_with("wrote 2 results") && run.stdout.contains("3 left out"), "{run}");
}

#[test]
fn a_file_that_is_cut_off_damaged_newer_or_none_leaves_everything_as_it_was() {
    let world = World::new();
    world.apply(WORKFLOW).success();
    let file = export(&world);
    let whole = std::fs::read(&file).unwrap();
    let there = clone(&world, "there", &[]);
    let refused = |bytes: &[u8], words: &[&str], expect: &str| {
        let bad = world.root.join("bad.spb");
        std::fs::write(&bad, bytes).unwrap();
        let all = [&["cache", "import", bad.to_str().unwrap()], words].concat();
        let run = world.spb(all).directory(&there).run().exits(3);
        assert!(run.stderr.contains(expect) && run.stderr.contains("bad.spb"), "{expect}\n{run}");
        assert!(!there.join(".git/spb").exists(), "something was written");
    };
    refused(&whole[..whole.len() - 1], &[], "cut off or damaged");
    refused(&whole[..whole.len() / 2], &[], "cut off or damaged");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    refused(&flipped, &[], "cut off or damaged");
    refused(b"spb cache 9\nwhatever", &[], "it has format 9, and this spb knows 1");
    refused(b"", &[], "no archive");
    refused(&whole, &["--max-size", "1KiB"], "unpacks to more than 1024 bytes");
    let run = import(&world, &there, Path::new("/nowhere/x")).exits(3);
    assert!(run.stderr.contains("/nowhere/x"), "{run}");
}
