//! The documents say what is true: every YAML block is a valid workflow, or is marked as a `fragment` of one, and every
//! command of the guide prints what the guide shows.
//!
//! In a `console` block, a line `$ command` is run and the lines after it are its output. Numbers that no two runs share
//! (times, run ids, commits, ports of the machine) are not compared, nor is the order of lines; a line `...` stands for
//! any others. `UPDATE_DOCS=1` writes what was printed into blocks that differ.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use common::World;
use regex::Regex;
use spb::workflow::{load_with, show};

/// A block of code in a document.
struct Block {
    /// What follows the three backticks.
    kind: String,
    text: String,
    /// Line of its first line, from 1.
    line: usize,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (index, line) in document.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(kind) => {
                open = true;
                blocks.push(Block { kind: kind.trim().to_owned(), text: String::new(), line: index + 2 });
            }
            None if open => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    assert!(!open, "a block of code is never closed");
    blocks
}

fn documents() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path());
    let pages = entries.filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages.chain([PathBuf::from("README.md")]).collect()
}

/// The problems of a text as a workflow, cycles included.
fn problems(text: &str) -> Vec<&'static str> {
    let loaded = load_with(Path::new("block.yaml"), text.as_bytes().to_vec(), spb::plan::cycle::problems);
    loaded.problems.list.iter().map(|problem| problem.code).collect()
}

/// A fragment belongs to the top of a file, under `nodes` or into a node: there, its keys and types are known.
fn fits_somewhere(fragment: &str) -> bool {
    let whole = |text: &str| {
        let nodes = if text.contains("nodes:") { "" } else { "nodes: { x: { run: make } }\n" };
        format!("version: 1\n{text}{nodes}")
    };
    let depth = fragment.lines().filter(|line| !line.trim().is_empty());
    let depth = depth.map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let moved = |by: &str| -> String {
        let one = |line: &str| format!("{by}{}\n", line.get(depth..).unwrap_or_default());
        fragment.lines().map(one).collect()
    };
    let (indented, nodes) = (moved("    "), format!("version: 1\nnodes:\n{}", moved("  ")));
    let run = if fragment.contains("run:") { "" } else { "    run: make\n" };
    let node = format!("version: 1\nnodes:\n  x:\n{indented}{run}");
    let of_shape =
        |code: &&str| ["spb::yaml", "spb::key", "spb::value"].iter().any(|kind| code.starts_with(kind));
    [whole(fragment), node, nodes].iter().any(|text| !problems(text).iter().any(of_shape))
}

#[test]
fn every_yaml_block_is_a_workflow_or_a_fragment_of_one() {
    let (mut wrong, mut whole) = (Vec::new(), 0);
    for path in documents() {
        for block in blocks(&std::fs::read_to_string(&path).unwrap()) {
            let place = format!("{}:{}", path.display(), block.line);
            match block.kind.as_str() {
                "yaml" => {
                    whole += 1;
                    let loaded = load_with(
                        Path::new("block.yaml"),
                        block.text.clone().into_bytes(),
                        spb::plan::cycle::problems,
                    );
                    if !loaded.problems.list.is_empty() {
                        wrong.push(format!("{place}:\n{}", show::render(&loaded.problems, false, 100)));
                    }
                }
                "yaml fragment" if !fits_somewhere(&block.text) => {
                    wrong.push(format!("{place}: this fragment fits nowhere:\n{}", block.text));
                }
                kind if kind.starts_with("yaml") && kind != "yaml fragment" => {
                    wrong.push(format!("{place}: `{kind}` is neither `yaml` nor `yaml fragment`"));
                }
                _ => {}
            }
        }
    }
    assert!(whole > 10, "only {whole} whole workflows were found");
    assert!(
        wrong.is_empty(),
        "{}\na part of a file is marked as `yaml fragment` after its backticks",
        wrong.join("\n")
    );
}

/// A line without what differs from run to run.
fn comparable(line: &str) -> String {
    static VARYING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let rules = [
            (r"\d{8}-\d{6}-[a-z0-9]{4}", "RUN"),
            (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "WHEN"),
            (r"\b[0-9a-f]{7,40}\b", "COMMIT"),
            (r"\b\d+(\.\d+)?(ms|s)\b", "TIME"),
            (r"\(auto: .*", "(auto)"),
            (r"\b\d+ at the same time", "N at the same time"),
            (r"\s+", " "),
        ];
        rules.iter().map(|(pattern, with)| (Regex::new(pattern).unwrap(), *with)).collect()
    });
    VARYING
        .iter()
        .fold(line.to_owned(), |line, (rule, with)| rule.replace_all(&line, *with).into_owned())
        .trim()
        .to_owned()
}

/// Whether the output is the one that is shown.
fn shows(shown: &[&str], printed: &str) -> bool {
    // What the cache saved is not told where it was nothing.
    let counts = |line: &str| !line.is_empty() && line != "..." && !line.starts_with("saved ");
    let mut left: Vec<String> = printed.lines().map(comparable).filter(|line| counts(line)).collect();
    let wanted = shown.iter().filter(|line| counts(line.trim()));
    for line in wanted.map(|line| comparable(line)) {
        match left.iter().position(|printed| *printed == line) {
            Some(at) => drop(left.remove(at)),
            None => return false,
        }
    }
    left.is_empty() || shown.iter().any(|line| line.trim() == "...")
}

/// Runs a line of the guide as a reader would, and gives everything it prints.
fn printed(world: &World, line: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_spb")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut shell = world.command("sh");
    let output = shell.env("PATH", path).args(["-c", &format!("{{ {line}\n}} 2>&1")]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_guide_shows_what_really_happens() {
    const GUIDE: &str = "docs/guide.md";
    let document = std::fs::read_to_string(GUIDE).unwrap();
    let world = World::with(&[("README.md", "# Demo\n"), ("settings.yaml", "level: high\n")]);
    let (mut wrong, mut updated, mut commands) = (Vec::new(), document.clone(), 0);
    for block in blocks(&document) {
        let name = block.text.lines().next().and_then(|line| line.strip_prefix("# "));
        if let ("yaml", Some(name)) = (block.kind.as_str(), name) {
            common::put(&world.root.join(name.split([' ', ':']).next().unwrap()), &block.text);
        }
        if block.kind != "console" {
            continue;
        }
        let mut fresh = String::new();
        let lines: Vec<&str> = block.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(command) = line.strip_prefix("$ ") else { continue };
            let shown: Vec<&str> =
                lines[at + 1..].iter().copied().take_while(|line| !line.starts_with("$ ")).collect();
            let printed = printed(&world, command);
            commands += 1;
            let good = shows(&shown, &printed);
            if !good {
                wrong.push(format!("{GUIDE}:{}: $ {command}\n{printed}", block.line + at));
            }
            let kept = if good { shown.iter().map(|line| format!("{line}\n")).collect() } else { printed };
            fresh.push_str(&format!("{line}\n{kept}"));
            if !fresh.ends_with("\n\n") && at + shown.len() + 1 < lines.len() {
                fresh.push('\n');
            }
        }
        updated = updated.replacen(&block.text, &fresh, 1);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(GUIDE, updated).unwrap();
        return;
    }
    assert!(commands > 12, "only {commands} commands were found");
    assert!(wrong.is_empty(), "{}\nUPDATE_DOCS=1 writes what was printed", wrong.join("\n"));
}
