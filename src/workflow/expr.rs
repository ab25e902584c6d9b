//! Expressions: `${{ }}` templates and conditions, compiled and checked once, evaluated against a [`Scope`].
//! The only owner of the CEL crate. Knows nothing of nodes being run.

use serde_json::{Map, Value};

/// A text that may hold `${{ }}`. Parsed once, when the file is loaded.
#[derive(Debug)]
pub struct Template {
    // filled by its implementation
}

/// A boolean expression with `success()`, `failure()` and `always()`.
#[derive(Debug)]
pub struct Condition {
    // filled by its implementation
}

/// How a condition depends on the statuses of the node's needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusUse {
    /// No status function is named: `success()` is implied.
    ImpliedSuccess,
    /// It names at least one of them and decides for itself.
    Explicit,
}

/// The names an expression may read, as JSON: `inputs`, `env`, `matrix`, `needs`, `run`.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    pub names: Map<String, Value>,
}

/// The statuses of a node's needs, for `success()`, `failure()` and `always()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedsStatus {
    pub all_succeeded: bool,
    pub any_failed: bool,
}

/// Why an expression has no value at run time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{expression}` has no value: {reason}")]
pub struct ExprError {
    pub expression: String,
    pub reason: String,
}
