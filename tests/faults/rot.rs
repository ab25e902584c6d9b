//! Bytes that are not what was written: flipped, zeroed or cut, anywhere in what spb keeps or git keeps for it. Never a
//! panic, never a hang, never wrong bytes in a node's hands; what can be made again is made again, and the rest is named.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::budget;
use crate::common::{World, binary};

/// Every node looks at what it was given and tells if it is wrong.
const WORKFLOW: &str = r#"
stages: [one, two]
nodes:
  a: { run: 'seq 300 > a.txt; cp src/one.txt one.txt' }
  l: { workspace: readonly, run: 'seq 2', outputs: { l: { stdout: true, format: lines } } }
  b: { needs: [a], artifacts: [out/b], run: 'seq 300 | cmp - a.txt || echo b >> "$HOME/wrong"; mkdir -p out; cat a.txt a.txt > out/b; echo v=7 >> "$SPB_OUTPUT"', outputs: { v: {} } }
  i: { needs: [l], for_each: "${{ needs.l.outputs.l }}", env: { I: "${{ item }}" }, run: 'echo $I > i$I.txt' }
  c:
    stage: two
    needs: [b, i]
    env: { V: "${{ needs.b.outputs.v }}" }
    run: |
      (seq 300; seq 300) | cmp - out/b || echo c >> "$HOME/wrong"
      seq 300 | cmp - a.txt || echo c >> "$HOME/wrong"
      [ "$V" = 7 ] && [ "$(cat i1.txt i2.txt one.txt)" = "1
      2
      one" ] || echo c >> "$HOME/wrong"
      test -e "$HOME/ok"
      echo done > c.txt
"#;

/// A repository with a run that succeeded and one that waits to be carried on, and a copy of all of it.
struct Field {
    world: World,
    copy: PathBuf,
    expect: String,
}

/// Whether git's objects lie alone or in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Objects {
    Loose,
    Packed,
}

impl Field {
    fn new(objects: Objects) -> Self {
        let world = World::in_memory();
        let ok = world.home().join("ok");
        fs::write(&ok, "").unwrap();
        let branch = world.apply(WORKFLOW).success().branch();
        let expect = world.files(&branch);
        fs::remove_file(&ok).unwrap();
        world.apply(&other(1)).exits(1);
        fs::write(&ok, "").unwrap();
        if objects == Objects::Packed {
            world.git(&["gc", "-q"]);
        }
        let copy = world.root.join("copy");
        fs::create_dir(&copy).unwrap();
        for part in ["repo", "pool", "home"] {
            cp(&world.root.join(part), &copy);
        }
        Self { world, copy, expect }
    }

    fn restore(&self) {
        for part in ["repo", "pool", "home"] {
            fs::remove_dir_all(self.world.root.join(part)).unwrap();
            cp(&self.copy.join(part), &self.world.root);
        }
    }

    /// Files of one kind, in order.
    fn files(&self, kind: &str) -> Vec<PathBuf> {
        let below = match kind {
            "pool" => self.world.root.join("pool"),
            part => self.world.repo.join(".git").join(part),
        };
        if below.is_file() {
            return vec![below];
        }
        let inside_slot = |path: &PathBuf| {
            let relative = path.strip_prefix(self.world.root.join("pool")).unwrap_or(Path::new(""));
            relative.components().count() > 2
        };
        let mut files = if below.is_dir() { self.world.all_files(&below) } else { Vec::new() };
        files.retain(|path| !inside_slot(path) && path.metadata().is_ok_and(|meta| meta.len() > 0));
        files.sort();
        files
    }

    /// Runs spb with a limit of time. Gives code and everything it said.
    fn spb(&self, words: &[&str], said: &str) -> (i32, String) {
        let mut command = self.world.command("timeout");
        command.args(["-s", "KILL", "40"]).arg(binary()).args(words);
        let output = command.output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let code = output.status.code().unwrap_or(-1);
        assert!(code >= 0 && code != 137, "`spb {}` hangs, {said}\n{text}", words.join(" "));
        assert!(matches!(code, 0..=3), "`spb {}` ended with {code}, {said}\n{text}", words.join(" "));
        assert!(!text.contains("panicked"), "`spb {}`, {said}\n{text}", words.join(" "));
        (code, text)
    }
}

/// The same with another last node, so that what came before is taken from the cache.
fn other(number: u64) -> String {
    WORKFLOW.replace("echo done > c.txt", &format!("true {number}; echo done > c.txt"))
}

fn cp(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(done.success());
}

/// A small generator: the same seed gives the same damage.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Damages a file; says how.
fn damage(path: &Path, dice: &mut Dice) -> String {
    let mut bytes = fs::read(path).unwrap();
    let length = bytes.len() as u64;
    let at = dice.below(length);
    let how = match dice.below(6) {
        0 | 1 => {
            bytes[at as usize] ^= 1 << dice.below(8);
            format!("a bit of byte {at} flipped")
        }
        2 => {
            bytes.truncate(at as usize);
            format!("cut at {at}")
        }
        3 => {
            let end = (at + 1 + dice.below(512)).min(length);
            bytes[at as usize..end as usize].fill(0);
            format!("{at} to {end} zeroed")
        }
        4 => {
            bytes.clear();
            "emptied".to_owned()
        }
        _ => {
            bytes.extend((0..dice.below(64) + 1).map(|_| dice.below(256) as u8).collect::<Vec<_>>());
            "garbage behind it".to_owned()
        }
    };
    let mut permissions = fs::metadata(path).unwrap().permissions();
    permissions.set_mode(permissions.mode() | 0o200);
    fs::set_permissions(path, permissions).unwrap();
    fs::write(path, bytes).unwrap();
    how
}

const READING: &[&[&str]] = &[
    &["status"],
    &["status", "--json"],
    &["runs"],
    &["logs"],
    &["why", "c"],
    &["cache", "stats"],
    &["checkpoint", "list"],
    &["worktrees", "list"],
    &["undo", "--list"],
    &["doctor"],
];

/// Damages files of these kinds, `rounds` times.
fn withstands(objects: Objects, kinds: &[&str], rounds: u64) {
    let field = Field::new(objects);
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 1000);
    for round in 0..rounds {
        field.restore();
        let mut dice = Dice(seed + round);
        let kind = kinds[dice.below(kinds.len() as u64) as usize];
        let files = field.files(kind);
        assert!(!files.is_empty(), "nothing to damage in {kind}");
        let path = &files[dice.below(files.len() as u64) as usize];
        let how = damage(path, &mut dice);
        let said = format!("SEED={} {}: {how}", seed + round, path.display());
        check(&field, kind, path, &said);
    }
    eprintln!("{rounds} damages of {kinds:?}");
}

fn check(field: &Field, kind: &str, path: &Path, said: &str) {
    let mut told = String::new();
    for words in READING {
        told += &field.spb(words, said).1;
    }
    let (resumed, text) = field.spb(&["resume"], said);
    told += &text;
    let file = field.world.workflow(&other(2));
    let (mut code, mut text) = field.spb(&["apply", file.to_str().unwrap()], said);
    told += &text;
    assert!(!field.world.home().join("wrong").exists(), "wrong bytes in a node's hands, {said}\n{told}");
    if code != 0 && kind.starts_with("spb") {
        let (_, repaired) = field.spb(&["doctor", "--repair"], said);
        told += &repaired;
        (code, text) = field.spb(&["apply", file.to_str().unwrap()], said);
    }
    if code == 3 && path.ends_with("spb/format") && text.contains("newer spb") {
        // One bit makes it a newer store, which must not be touched: a person decides.
        return;
    }
    if resumed != 0 || code != 0 {
        let name = path.file_name().unwrap().to_string_lossy();
        let id = format!("{}{name}", path.parent().unwrap().file_name().unwrap().to_string_lossy());
        let words = [
            "damage",
            "no commits",
            "corrupt",
            "cannot",
            "missing",
            "bad ",
            "checksum",
            "inflate",
            &name,
            &id,
        ];
        assert!(words.iter().any(|word| told.contains(word)), "damage was not named, {said}\n{told}");
    }
    // git itself refuses a list of refs of which a line is none.
    let is_legible = || field.world.command("git").arg("for-each-ref").output().unwrap().status.success();
    if code == 0 && (kind != "packed-refs" || is_legible()) {
        let branch = text.lines().rev().find_map(|line| line.trim().strip_prefix("branch ")).map(str::trim);
        let branch = branch.unwrap_or_else(|| panic!("no branch, {said}\n{text}")).split(' ').next().unwrap();
        assert_eq!(field.world.files(branch), field.expect, "another result, {said}\n{told}");
    } else if code != 0 {
        // Only what the user's own commit needs cannot be made again.
        assert!(kind.starts_with("objects") || kind == "packed-refs", "it cannot go on, {said}\n{told}");
    }
}

fn rounds(usual: u64) -> u64 {
    if budget() > 0 { budget() * 100 } else { usual }
}

#[test]
fn rot_in_the_store_is_named_and_what_can_be_made_again_is() {
    withstands(Objects::Loose, &["spb/runs", "spb/artifacts", "spb/workflows", "spb"], rounds(12));
}

#[test]
fn rot_in_the_index_costs_no_more_than_time() {
    withstands(Objects::Loose, &["spb/index.sqlite"], rounds(6));
}

#[test]
fn rot_beside_the_worktrees_costs_no_more_than_time() {
    withstands(Objects::Loose, &["pool", "worktrees"], rounds(10));
}

#[test]
fn rot_in_objects_and_refs_is_made_again_or_named() {
    withstands(Objects::Loose, &["objects", "refs/spb"], rounds(12));
}

#[test]
fn rot_in_packs_is_made_again_or_named() {
    withstands(Objects::Packed, &["objects/pack", "packed-refs"], rounds(8));
}
