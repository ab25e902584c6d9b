//! The architecture, kept by a test: which module may import which, who owns which crate, how long a file may be, and
//! that every file says what it is. Change the tables on purpose.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the words up to the face. A module imports only modules of lower layers, or the listed neighbours.
const LAYERS: &[&[&str]] = &[
    &["name", "digest"],
    &["disk", "process", "event"],
    &["host"],
    &["workflow", "git"],
    &["plan", "schedule", "executor", "remote"],
    &["store"],
    &["engine", "report"],
    &["bench", "lsp"],
    &["cli"],
];

/// Imports within one layer that are meant.
const NEIGHBOURS: &[(&str, &str)] = &[];

/// Third-party crates with one owner module each. What is not listed may be used anywhere.
const OWNERS: &[(&str, &[&str])] = &[
    ("petgraph", &["plan"]),
    ("serde_yaml", &["workflow"]),
    ("granit_parser", &["workflow"]),
    ("cel", &["workflow"]),
    ("schemars", &["workflow"]),
    ("miette", &["workflow"]),
    ("serde_path_to_error", &["workflow"]),
    ("strsim", &["workflow"]),
    ("lsp_server", &["lsp"]),
    ("lsp_types", &["lsp"]),
    ("jsonschema", &["workflow"]),
    ("git2", &["git"]),
    ("sysinfo", &["host"]),
    ("indicatif", &["report"]),
    ("rusqlite", &["store"]),
    ("zstd", &["store"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("etcetera", &["cli"]),
    ("opendal", &["remote"]),
    ("opendal_http_transport_reqwest", &["remote"]),
    ("rustls", &["remote"]),
    ("futures_util", &["remote"]),
    ("tokio", &["engine", "executor", "process", "remote"]),
    ("blake3", &["digest", "store"]),
    ("aho_corasick", &["executor"]),
    ("base64", &["executor"]),
    ("rustix", &["disk", "process", "host", "executor", "git"]),
];

/// Longest file, lines.
const MAX_LINES: usize = 500;

/// Longest `main.rs`, lines.
const MAX_MAIN: usize = 15;

struct Source {
    path: PathBuf,
    /// First folder or file name below `src`.
    module: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&root).unwrap();
                let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
                let module = first.trim_end_matches(".rs").to_owned();
                found.push(Source { text: fs::read_to_string(&path).unwrap(), module, path });
            }
        }
    }
    assert!(found.len() > 50, "the sources were not found");
    found
}

/// Code without comments: what a name in a comment says does not count.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Everything behind `prefix` up to the next character that is no part of a name.
fn names_after<'t>(text: &'t str, prefix: &str) -> BTreeSet<&'t str> {
    text.match_indices(prefix)
        .filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
        .map(|(at, _)| {
            let rest = &text[at + prefix.len()..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            &rest[..end]
        })
        .filter(|name| !name.is_empty())
        .collect()
}

/// Modules that `use crate::{a, b}` names, besides `crate::a`.
fn imported(text: &str) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = names_after(text, "crate::").into_iter().map(str::to_owned).collect();
    for (at, prefix) in text.match_indices("use crate::{") {
        let rest = &text[at + prefix.len()..];
        let mut depth = 1;
        let mut item = String::new();
        for c in rest.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if depth == 1 {
                item.push(c)
            }
        }
        for name in item.split(',') {
            let name = name.trim().split(&[':', ' '][..]).next().unwrap_or("");
            if !name.is_empty() {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !matches!(source.module.as_str(), "lib" | "main")) {
        let own = layer(&source.module)
            .unwrap_or_else(|| panic!("`{}` is in no layer: {}", source.module, source.path.display()));
        for name in imported(&code(&source.text)) {
            let Some(other) = layer(&name) else { continue };
            let meant =
                name == source.module || NEIGHBOURS.contains(&(source.module.as_str(), name.as_str()));
            if other >= own && !meant {
                wrong.push(format!("{} imports `{name}`", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn every_crate_has_its_owners() {
    let mut wrong = Vec::new();
    for source in sources() {
        let text = code(&source.text);
        for (name, owners) in OWNERS {
            let used = text.contains(&format!("use {name}::"))
                || text.contains(&format!("use {name};"))
                || !names_after(&text, &format!("{name}::")).is_empty();
            if used && !owners.contains(&source.module.as_str()) {
                wrong.push(format!("{} uses `{name}`, which belongs to {owners:?}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "crates used outside of their owners:\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    let mut wrong = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            wrong.push(format!("{} does not begin with `//! `", source.path.display()));
        }
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{} has {lines} lines, more than {MAX_LINES}", source.path.display()));
        }
        if source.module == "main" && lines > MAX_MAIN {
            wrong.push(format!("{} has {lines} lines, more than {MAX_MAIN}", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_top_level_is_what_it_is_meant_to_be() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "src",
        "workflows",
        "schema",
        "tests",
        "examples",
        "docs",
        "benches",
        "build.rs",
        "target",
        "clippy.toml",
        "rustfmt.toml",
        "deny.toml",
        // What `workflows/feature.yaml` writes, when it works on this repository.
        "specs",
        "CHANGELOG.md",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let strangers: Vec<String> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && !allowed.contains(&name.as_str()))
        .collect();
    assert!(strangers.is_empty(), "unexpected at the top level: {strangers:?}");
}

#[test]
fn the_checks_themselves_see_what_they_look_for() {
    let text =
        "use crate::{disk::DiskError, git};\nuse crate::event::Record;\nlet x = petgraph::algo::toposort;";
    let names = imported(text);
    for expected in ["disk", "git", "event"] {
        assert!(names.contains(expected), "{expected} was not seen in {names:?}");
    }
    assert!(names_after(text, "petgraph::").contains("algo"));
    assert!(names_after("my_petgraph::x", "petgraph::").is_empty());
}
