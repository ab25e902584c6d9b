//! Validated names and ids. Knows nothing of files, graphs or processes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest node, stage, input or output name, in bytes. Names become file names (logs), so they stay short.
pub const MAX_NAME: usize = 64;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name must not be empty")]
    Empty,
    #[error("a name has at most {MAX_NAME} characters, this one has {0}")]
    TooLong(usize),
    #[error("a name starts with a letter or `_`, not {0:?}")]
    BadStart(char),
    #[error("a name holds letters, digits, `_` and `-`, not {0:?}")]
    BadCharacter(char),
}

/// Checks an identifier of the language: `[A-Za-z_][A-Za-z0-9_-]*`, at most [`MAX_NAME`] bytes.
///
/// # Errors
/// The first rule that the text breaks.
pub fn check(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong(text.chars().count()));
    }
    if !(first.is_ascii_alphabetic() || first == '_') {
        return Err(NameError::BadStart(first));
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))) {
        Some(bad) => Err(NameError::BadCharacter(bad)),
        None => Ok(()),
    }
}

/// Checks a workflow name: `[a-z0-9][a-z0-9-]*`, at most [`MAX_NAME`] bytes (it becomes part of a branch name).
///
/// # Errors
/// The first rule that the text breaks.
pub fn check_workflow(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong(text.chars().count()));
    }
    if !(first.is_ascii_lowercase() || first.is_ascii_digit()) {
        return Err(NameError::BadStart(first));
    }
    match text.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')) {
        Some(bad) => Err(NameError::BadCharacter(bad)),
        None => Ok(()),
    }
}

/// The id of one run: `20261124-131722-k3f9`, sortable by start time, safe as a file and ref name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// Takes a text that already has the shape of a run id: digits, lower-case letters and `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let safe = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || c == '-';
        let shaped = text.len() == 20 && text.as_bytes()[8] == b'-' && text.as_bytes()[15] == b'-';
        (shaped && text.chars().all(safe)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_escape_a_path_or_a_flag_are_refused() {
        for good in ["a", "build_2", "_x", "Test-unit"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "../../x", ".git", "--help", "a/b", "a b", "é", "1.0", &"x".repeat(65)] {
            assert!(check(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn workflow_names_are_kebab_case() {
        for good in ["feature", "0-day", "a"] {
            assert_eq!(check_workflow(good), Ok(()), "{good}");
        }
        for bad in ["", "Feature", "-x", "a_b", "a.b"] {
            assert!(check_workflow(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn run_ids_are_recognised_by_shape() {
        assert!(RunId::parse("20261124-131722-k3f9").is_some());
        for bad in ["latest", "../../../../../../etc", "20261124-131722-K3F9", "20261124_131722_k3f9"] {
            assert!(RunId::parse(bad).is_none(), "{bad:?} was accepted");
        }
    }
}
