//! Whole workflow files: `tests/cases/good` have no problem, `tests/cases/bad` have exactly the problems that their
//! `.txt` shows. `UPDATE_CASES=1` writes the texts anew. Giant and binary files are made here.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use spb::workflow::problem::Severity;
use spb::workflow::{Loaded, ReadError, load, read, show};

fn cases(kind: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(Path::new("tests/cases").join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

fn rendered(loaded: &Loaded) -> String {
    show::render(&loaded.problems, false, 100)
}

fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.problems.list.iter().map(|problem| problem.code).collect()
}

fn of(text: impl Into<Vec<u8>>) -> Loaded {
    load(Path::new("made.yaml"), text.into())
}

#[test]
fn good_files_have_no_problems() {
    let files = cases("good");
    assert!(files.len() >= 25, "only {} good files", files.len());
    for path in files {
        let loaded = read(&path).unwrap();
        assert_eq!(rendered(&loaded), "", "{}", path.display());
        assert!(loaded.workflow.is_some(), "{}", path.display());
    }
}

#[test]
#[allow(clippy::disallowed_methods)]
fn bad_files_have_exactly_these_problems() {
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let files = cases("bad");
    assert!(files.len() >= 60, "only {} bad files", files.len());
    let mut wrong = String::new();
    for path in files {
        let loaded = read(&path).unwrap();
        assert_consistent(&loaded);
        let (found, kept) = (rendered(&loaded), path.with_extension("txt"));
        if update {
            std::fs::write(&kept, &found).unwrap();
        }
        let expect = std::fs::read_to_string(&kept).unwrap_or_default();
        if found != expect {
            write!(wrong, "{}\n--- expected\n{expect}\n--- found\n{found}\n", path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nUPDATE_CASES=1 accepts what was found");
}

/// A workflow exactly when there is no error, and every label inside the text.
#[track_caller]
fn assert_consistent(loaded: &Loaded) {
    let errors = loaded.problems.list.iter().any(|problem| problem.severity == Severity::Error);
    assert_eq!(loaded.workflow.is_none(), errors);
    let text = &loaded.problems.source.text;
    for problem in &loaded.problems.list {
        assert!(problem.code.starts_with("spb::"), "{problem:?}");
        for (span, _) in &problem.labels {
            assert!(text.get(span.start..span.end).is_some(), "{problem:?} points outside the text");
        }
    }
}
