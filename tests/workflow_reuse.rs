//! Workflows of several files: each folder of `tests/cases/reuse` has a `main.yaml` that includes or uses the others, and
//! a `main.txt` with its problems or its nodes. `UPDATE_CASES=1` writes the texts anew.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

use std::fmt::Write as _;
use std::path::PathBuf;

use spb::plan::cycle;
use spb::workflow::expr::Template;
use spb::workflow::model::{Action, Workflow};
use spb::workflow::problem::Severity;
use spb::workflow::{Loaded, read_with, show};

fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("tests/cases/reuse").unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path().join("main.yaml")).collect();
    files.sort();
    files
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
        for (name, value) in &node.env {
            put(text, name, &value.source());
        }
        for extra in &node.cache.extra {
            put(text, "extra", &extra.source());
        }
        match &node.action {
            Action::Script { .. } | Action::Approve { .. } => {}
            Action::Command { words } => {
                let words: Vec<&str> = words.iter().map(Template::source).collect();
                put(text, "run", &words.join(" "));
            }
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
