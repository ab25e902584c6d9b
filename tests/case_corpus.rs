//! The corpus as a whole: what every good file is planned as, and that no problem exists which no file shows. A good file
//! has a `.txt` with its plan; inputs without a default get a value of their type. `UPDATE_CASES=1` writes the texts anew.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use spb::plan::{Plan, Selection, explain};
use spb::workflow::input::{self, Given};
use spb::workflow::model::{Input, InputKind, Workflow};
use spb::workflow::{read, show};

/// Instances that a plan shows.
const SHOWN: usize = 40;

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![PathBuf::from(directory)], Vec::new());
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn good_files_are_planned_as_their_texts_show() {
    let mut wrong = Vec::new();
    for path in files("tests/cases/good", "yaml") {
        let workflow = read(&path).unwrap().workflow.unwrap();
        let (found, kept) = (planned(workflow), path.with_extension("txt"));
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(&kept, &found).unwrap();
        }
        let expect = std::fs::read_to_string(&kept).unwrap_or_default();
        if found != expect {
            let line =
                found.lines().zip(expect.lines()).take_while(|(found, expect)| found == expect).count();
            wrong.push(format!("{} line {}: {:?}", kept.display(), line + 1, found.lines().nth(line)));
        }
    }
    assert!(wrong.is_empty(), "{}\nUPDATE_CASES=1 accepts what was found", wrong.join("\n"));
}

/// The order, then every instance with what is not as it would be without a word.
fn planned(workflow: Workflow) -> String {
    let given = workflow.inputs.iter().filter(|(_, input)| input.default.is_none());
    let given: IndexMap<String, Given> =
        given.map(|(name, input)| (name.clone(), Given::Value(sample(input)))).collect();
    let inputs = match input::resolve(&workflow, &given) {
        Ok(inputs) => inputs,
        Err(problems) => return format!("inputs: {problems:?}\n"),
    };
    let plan = match Plan::new(Arc::new(workflow), inputs, &Selection::default()) {
        Ok(plan) => plan,
        Err(error) => return format!("no plan: {error}\n"),
    };
    let ids = |list: &[usize]| -> Vec<&str> {
        list.iter().take(SHOWN).map(|at| plan.instances[*at].id.as_str()).collect()
    };
    let mut text = format!(
        "{}: {} in {} nodes, at most {} at once\norder: {}\nresult of: {}\n",
        plan.workflow.name,
        plan.instances.len(),
        plan.workflow.nodes.len(),
        plan.width,
        ids(&plan.order).join(", "),
        ids(&plan.leaves).join(", ")
    );
    for instance in (0..plan.instances.len()).take(SHOWN) {
        let mut keys = explain::resolved(&plan, instance);
        keys.retain(|key, value| !is_usual(key, value));
        let node = Map::from_iter([(plan.instances[instance].id.clone(), Value::Object(keys))]);
        write!(text, "{}", show::as_yaml(&Value::Object(node))).unwrap();
    }
    text
}

/// What a key would be without a word.
fn is_usual(key: &str, value: &Value) -> bool {
    let usual = [
        ("stage", json!("main")),
        ("when", json!("success()")),
        ("shell", json!(["sh", "-e", "-c"])),
        ("workspace", json!("worktree")),
        ("working_directory", json!(".")),
        ("allow_failure", json!(false)),
        ("cache", json!(true)),
        ("effect", json!("local")),
        ("on_conflict", json!("fail")),
    ];
    usual.iter().any(|(name, usual)| *name == key && usual == value)
}

fn sample(input: &Input) -> Value {
    if let Some(values) = &input.allowed {
        return values[0].clone();
    }
    match input.kind {
        InputKind::String => json!("text"),
        InputKind::Integer | InputKind::Number => json!(input.minimum.unwrap_or(1.0).max(1.0) as i64),
        InputKind::Boolean => json!(true),
        InputKind::Array => json!([]),
        InputKind::Object => json!({}),
    }
}

/// Codes in the sources, tests left out.
fn codes_of_the_sources() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for path in files("src/workflow", "rs").into_iter().chain(files("src/plan", "rs")) {
        let text = std::fs::read_to_string(&path).unwrap();
        if path.ends_with("tests.rs") {
            continue;
        }
        let text = text.split("#[cfg(test)]").next().unwrap();
        for (at, _) in text.match_indices("\"spb::") {
            let rest = &text[at + 1..];
            codes.insert(rest[..rest.find('"').unwrap()].to_owned());
        }
    }
    codes
}

#[test]
fn every_problem_is_shown_by_some_file() {
    let mut shown = BTreeSet::new();
    for path in files("tests/cases", "txt") {
        let text = std::fs::read_to_string(path).unwrap();
        shown.extend(text.lines().filter(|line| line.starts_with("spb::")).map(str::to_owned));
    }
    // Giant files are made there, and each names its code.
    let made = std::fs::read_to_string("tests/workflow_cases.rs").unwrap();
    let codes = codes_of_the_sources();
    assert!(codes.len() > 90, "only {} codes were found", codes.len());
    let missing: Vec<&String> = codes
        .iter()
        .filter(|code| !shown.contains(*code) && !made.contains(&format!("\"{code}\"")))
        .collect();
    assert!(missing.is_empty(), "no file under tests/cases shows {missing:?}");
    let unknown: Vec<&String> = shown.iter().filter(|code| !codes.contains(*code)).collect();
    assert!(unknown.is_empty(), "no source knows {unknown:?}");
}

#[test]
fn the_corpus_is_as_large_as_it_is_said_to_be() {
    let count = files("tests/cases", "yaml").len();
    assert!(count >= 170, "only {count} files");
    let texts: BTreeSet<PathBuf> = files("tests/cases", "txt").into_iter().collect();
    for directory in ["tests/cases/good", "tests/cases/bad"] {
        for path in files(directory, "yaml") {
            assert!(texts.contains(&path.with_extension("txt")), "{} has no text", path.display());
        }
    }
    let without = texts.iter().find(|path| !Path::new(path).with_extension("yaml").exists());
    assert_eq!(without, None, "a text without its file");
}
