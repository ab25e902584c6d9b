//! Whole workflow files, good and bad.

use std::path::Path;

#[test]
fn good_files_have_no_problems() {
    let loaded = spb::workflow::read(Path::new("tests/cases/good/feature.yaml")).unwrap();
    assert!(loaded.problems.list.is_empty(), "{:?}", loaded.problems.list);
    assert!(loaded.workflow.is_some());
}
