//! Workflows of several files: each folder of `tests/cases/reuse` has a `main.yaml` that includes or uses the others, and
//! a `main.txt` with its problems or its nodes. `UPDATE_CASES=1` writes the texts anew.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use spb::plan::cycle;
use spb::workflow::expr::Template;
use spb::workflow::model::{Action, Axis, ForEach, Workflow};
use spb::workflow::problem::Severity;
use spb::workflow::{Loaded, ReadError, load_from, read_with, show};

fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("tests/cases/reuse").unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path().join("main.yaml")).collect();
    files.sort();
    files
}

fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.problems.list.iter().map(|problem| problem.code).collect()
}

/// What a reader should see of a file: its problems, or else its nodes with everything that depends on other files.
fn shown(loaded: &Loaded) -> String {
    let mut text = show::render(&loaded.problems, false, 100);
    if let Some(workflow) = &loaded.workflow {
        describe(workflow, "", &mut text);
        let files: Vec<String> = workflow
            .sources
            .iter()
            .map(|source| source.path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        writeln!(text, "files: {}", files.join(", ")).unwrap();
        writeln!(text, "copied: {:?}, secret: {:?}", workflow.all_pass_env(), workflow.all_secrets())
            .unwrap();
    }
    text
}

fn describe(workflow: &Workflow, indent: &str, text: &mut String) {
    let put = |text: &mut String, key: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{indent}  {key}: {value}").unwrap();
    };
    for node in workflow.nodes.values() {
        let needs: Vec<&str> = node.needs.iter().map(|need| need.node.as_str()).collect();
        writeln!(text, "{indent}{} in {} after {needs:?}", node.name, workflow.stages[node.stage]).unwrap();
        if !node.when.is_success() {
            put(text, "when", &node.when.source());
        }
        if let Some(ForEach { items: Axis::Expression(items), .. }) = &node.for_each {
            put(text, "for each of", &items.source());
        }
        if let Some(repeat) = &node.repeat {
            put(text, "until", &repeat.until.source());
        }
        for (name, value) in &node.env {
            put(text, name, &value.source());
        }
        for extra in &node.cache.extra {
            put(text, "extra", &extra.source());
        }
        match &node.action {
            Action::Script { .. } => {}
            Action::Command { words } => {
                let words: Vec<&str> = words.iter().map(Template::source).collect();
                put(text, "run", &words.join(" "));
            }
            Action::Approve { message } => put(text, "ask", &message.source()),
            Action::Workflow(uses) => {
                for (name, value) in &uses.with {
                    let value = match value.is_constant() {
                        Some(_) => value.value(&Default::default()).unwrap().to_string(),
                        None => value.source().to_owned(),
                    };
                    put(text, &format!("with {name}"), &value);
                }
                describe(&uses.workflow, &format!("{indent}    "), text);
            }
        }
    }
    for (name, value) in &workflow.outputs {
        writeln!(text, "{indent}output {name}: {}", value.source()).unwrap();
    }
}

#[test]
fn workflows_of_several_files_have_exactly_these_problems_or_nodes() {
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let files = cases();
    assert!(files.len() >= 15, "only {} cases", files.len());
    let mut wrong = String::new();
    for path in files {
        let loaded = read_with(&path, cycle::problems).unwrap();
        assert_consistent(&loaded);
        let (found, kept) = (shown(&loaded), path.with_extension("txt"));
        if update {
            std::fs::write(&kept, &found).unwrap();
        }
        if found != std::fs::read_to_string(&kept).unwrap_or_default() {
            writeln!(wrong, "{}: found\n{found}", kept.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nUPDATE_CASES=1 accepts what was found");
}

/// A workflow exactly when there is no error, and every label inside the text of one file.
#[track_caller]
fn assert_consistent(loaded: &Loaded) {
    let errors = loaded.problems.list.iter().any(|problem| problem.severity == Severity::Error);
    assert_eq!(loaded.workflow.is_none(), errors);
    for problem in &loaded.problems.list {
        for (span, _) in &problem.labels {
            let source = loaded.problems.source_of(*span);
            let own = source.own(*span);
            assert!(source.text.get(own.start..own.end).is_some(), "{problem:?} points outside the texts");
        }
    }
}

#[test]
fn files_outside_of_the_repository_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        std::fs::write(path(name), text).unwrap();
    };
    let inner = "version: 1\nnodes: { a: { run: make } }\n";
    write("outside.yaml", inner);
    write("repository/.git/HEAD", "ref: refs/heads/main\n");
    write("repository/inside.yaml", inner);
    std::os::unix::fs::symlink("../outside.yaml", path("repository/link.yaml")).unwrap();
    std::os::unix::fs::symlink("inside.yaml", path("repository/good.yaml")).unwrap();
    for (file, accepted) in [
        ("../inside.yaml", true),
        ("../good.yaml", true),
        ("../flows/../inside.yaml", true),
        ("../../outside.yaml", false),
        ("../link.yaml", false),
        ("../../nothing.yaml", false),
    ] {
        for text in [
            format!("version: 1\nnodes: {{ x: {{ uses: {file} }} }}\n"),
            format!("version: 1\ninclude: [{file}]\n"),
        ] {
            write("repository/flows/main.yaml", &text);
            let loaded = read_with(&path("repository/flows/main.yaml"), cycle::problems).unwrap();
            assert_eq!(loaded.workflow.is_some(), accepted, "{text}{}", shown(&loaded));
            if !accepted {
                assert_eq!(codes(&loaded), ["spb::reuse::file"], "{text}");
            }
        }
    }
    // Outside of any repository, every folder will do.
    write("flows/main.yaml", "version: 1\nnodes: { x: { uses: ../outside.yaml } }\n");
    assert!(read_with(&path("flows/main.yaml"), cycle::problems).unwrap().workflow.is_some());
}

#[test]
fn what_is_no_file_is_refused_without_waiting_for_it() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    std::fs::File::create(path("large")).unwrap().set_len(17 << 20).unwrap();
    std::fs::write(
        path("utf16"),
        "version: 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(),
    )
    .unwrap();
    std::fs::write(path("empty"), "").unwrap();
    std::fs::write(
        path("main.yaml"),
        "version: 1\ninclude: [utf16]\nnodes: { a: { uses: pipe }, b: { uses: large }, c: { uses: empty } }\n",
    )
    .unwrap();
    let loaded = read_with(&path("main.yaml"), cycle::problems).unwrap();
    assert_consistent(&loaded);
    let found = codes(&loaded);
    assert_eq!(found, ["spb::reuse::file", "spb::reuse::file", "spb::file::utf16", "spb::file::empty"]);
    let text = shown(&loaded);
    assert!(text.contains("/empty: the file is empty") && text.contains("/utf16: "), "{text}");
}

/// Files by their paths, and how often each was asked for.
struct Shelf(BTreeMap<String, Vec<u8>>, RefCell<BTreeMap<PathBuf, usize>>);

impl Shelf {
    fn new(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).into()));
        Self(files.collect(), RefCell::default())
    }

    fn load(&self) -> Loaded {
        let fetch = |path: &Path| {
            *self.1.borrow_mut().entry(path.to_owned()).or_default() += 1;
            let found = path.to_str().and_then(|path| self.0.get(path));
            found.cloned().ok_or_else(|| ReadError::NotKept { path: path.to_owned() })
        };
        let first = "flows/main.yaml";
        load_from(Path::new(first), self.0[first].clone(), &fetch, cycle::problems)
    }
}

#[test]
fn a_file_is_read_once_however_often_it_is_used() {
    let mut text =
        "version: 1\ninclude: [./part.yaml, { file: part.yaml, prefix: again }]\nnodes:\n".to_owned();
    for number in 0..1000 {
        writeln!(text, "  n{number}: {{ uses: ./inner/../part.yaml, with: {{ x: \"{number}\" }} }}").unwrap();
    }
    let part = "version: 1\ninputs: { x: { type: string, default: a } }\n\
                nodes: { a: { uses: ../inner.yaml }, b: { env: { X: \"${{ inputs.x }}\" }, run: make } }\n";
    let inner = "version: 1\nnodes: { a: { run: make } }\n";
    let shelf = Shelf::new(&[("flows/main.yaml", &text), ("flows/part.yaml", part), ("inner.yaml", inner)]);
    let loaded = shelf.load();
    let workflow = loaded.workflow.unwrap();
    assert_eq!(workflow.nodes.len(), 1004);
    assert_eq!(shelf.1.borrow().values().copied().collect::<Vec<_>>(), [1, 1]);
    let used: Vec<*const Workflow> = workflow
        .nodes
        .values()
        .filter_map(|node| match &node.action {
            Action::Workflow(uses) => Some(std::sync::Arc::as_ptr(&uses.workflow)),
            Action::Script { .. } | Action::Command { .. } | Action::Approve { .. } => None,
        })
        .collect();
    assert_eq!(used.len(), 1002);
    assert_eq!(used.iter().collect::<std::collections::BTreeSet<_>>().len(), 2, "checked once each");
    assert_eq!(workflow.sources.len(), 3);
    assert_eq!(workflow.with_used().len(), 3);
}

#[test]
fn what_is_not_on_the_shelf_is_a_problem() {
    let shelf = Shelf::new(&[("flows/main.yaml", "version: 1\nnodes: { a: { uses: ./part.yaml } }\n")]);
    let loaded = shelf.load();
    assert_eq!(codes(&loaded), ["spb::reuse::file"]);
    assert!(shown(&loaded).contains("the run kept no copy of `flows/part.yaml`"), "{}", shown(&loaded));
}

#[test]
fn files_that_include_each_other_without_end_are_stopped() {
    // Each file includes the next one twice: 65,536 of the last.
    let mut shelf = Shelf::new(&[("flows/main.yaml", "version: 1\ninclude: [f0.yaml]\n")]);
    for number in 0..15 {
        let next = format!("f{}.yaml", number + 1);
        let text = match number {
            14 => "version: 1\nnodes: { a: { run: make } }\n".to_owned(),
            _ => format!(
                "version: 1\ninclude: [{{ file: {next}, prefix: a }}, {{ file: {next}, prefix: b }}]\n"
            ),
        };
        shelf.0.insert(format!("flows/f{number}.yaml"), text.into_bytes());
    }
    let loaded = shelf.load();
    assert!(codes(&loaded).contains(&"spb::include::many"), "{:?}", codes(&loaded));
    assert!(loaded.problems.list.len() < 20, "{} problems", loaded.problems.list.len());
}

#[test]
fn problems_as_json_name_their_own_file() {
    let loaded =
        read_with(Path::new("tests/cases/reuse/uses-problems-inside/main.yaml"), cycle::problems).unwrap();
    let json = show::to_json(&loaded.problems);
    let places: Vec<(&str, u64, u64)> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| {
            let file = problem["file"].as_str().unwrap().rsplit('/').next().unwrap();
            (file, problem["line"].as_u64().unwrap(), problem["column"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(
        places,
        [("main.yaml", 5, 19), ("inner.yaml", 5, 29), ("inner.yaml", 5, 35), ("broken.yaml", 2, 8)]
    );
}

#[test]
fn every_example_is_valid() {
    let mut checked = 0;
    for folder in ["examples", "examples/shared", "examples/failing", "workflows"] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let loaded = read_with(&path, cycle::problems).unwrap();
                assert_eq!(show::render(&loaded.problems, false, 100), "", "{}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked >= 20, "only {checked} files");
}

#[test]
fn places_are_right_behind_every_encoding() {
    let part = "\u{feff}version: 1\r\n# é 😀\r\nnodes: { x: { run: make, nedds: [] } }\r\n";
    let main = "\u{feff}# ü\r\nversion: 1\r\ninclude: [./part.yaml]\r\nnodes: { a: { uses: part.yaml, with: { é: 1 } } }\r\n";
    let loaded = Shelf::new(&[("flows/main.yaml", main), ("flows/part.yaml", part)]).load();
    assert_consistent(&loaded);
    let json = show::to_json(&loaded.problems);
    let places: Vec<(&str, u64, u64, &str)> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| {
            let number = |key: &str| problem[key].as_u64().unwrap();
            (
                problem["file"].as_str().unwrap(),
                number("line"),
                number("column"),
                problem["code"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        places,
        [("flows/main.yaml", 4, 40, "spb::with::unknown"), ("flows/part.yaml", 3, 26, "spb::key::unknown")]
    );
}

/// Files that name each other, to start from.
fn seeds() -> Vec<BTreeMap<String, Vec<u8>>> {
    let folder = |main: &PathBuf| {
        let mut files = BTreeMap::new();
        let mut open = vec![main.parent().unwrap().to_owned()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|extension| extension == "yaml") {
                    let inner = path.strip_prefix(main.parent().unwrap()).unwrap();
                    files.insert(format!("flows/{}", inner.display()), std::fs::read(&path).unwrap());
                }
            }
        }
        files
    };
    cases().iter().map(folder).collect()
}

/// Pieces that have a meaning in what one file takes from another.
const PIECES: [&str; 24] = [
    "include: [./main.yaml]\n",
    "./a.yaml",
    "uses: ",
    "with: { a: 1 }",
    "outputs: { x: \"${{ needs.a.outputs.x }}\" }\n",
    "prefix: ",
    "${{ needs.",
    ".outputs.",
    " }}",
    "needs[\"a\"]",
    "inputs.",
    "{",
    "}",
    "[",
    "]",
    ",",
    ": ",
    "- ",
    "\n",
    "  ",
    "é",
    "\"",
    "*a",
    "&a ",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_set_of_files_breaks_the_loader(
        seed in any::<prop::sample::Index>(),
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_usize..3, any::<prop::sample::Index>()),
            1..8,
        ),
    ) {
        let mut shelf = Shelf(seed.get(&seeds()).clone(), RefCell::default());
        for (file, place, kind, piece) in edits {
            let name = file.get(&shelf.0.keys().cloned().collect::<Vec<_>>()).clone();
            let mut text: Vec<char> = String::from_utf8_lossy(&shelf.0[&name]).chars().collect();
            let at = place.index(text.len() + 1);
            match kind {
                0 => drop(text.splice(at..at, piece.get(&PIECES).chars())),
                1 => drop(text.drain(at..(at + 1 + piece.index(20)).min(text.len()).max(at))),
                _ => {
                    let copy = text[at..(at + piece.index(100)).min(text.len()).max(at)].to_vec();
                    text.splice(at..at, copy);
                }
            }
            shelf.0.insert(name, text.into_iter().collect::<String>().into_bytes());
        }
        let loaded = shelf.load();
        assert_consistent(&loaded);
        prop_assert_eq!(show::render(&loaded.problems, false, 100).is_empty(), loaded.problems.list.is_empty());
        prop_assert_eq!(
            show::to_json(&loaded.problems).as_array().map(Vec::len),
            Some(loaded.problems.list.len())
        );
    }
}
