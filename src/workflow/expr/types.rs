//! Types of expressions, and the names that a place of the file may read. Knows nothing of syntax.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use crate::workflow::suggest::NodeIndex;

/// What is known of a value before anything runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Known only at run time: a JSON output, an item of an untyped list.
    Any,
    Null,
    Bool,
    Integer,
    Number,
    Text,
    /// The status of a need: one of [`STATUSES`].
    Status,
    List(Box<Type>),
    Map(Box<Type>),
    /// Names that are known one by one.
    Record(Arc<Record>),
    /// One need, with the record of its outputs; its other fields are those of every need.
    Need(Arc<Type>),
}

/// Fields of `needs.<node>`.
pub const NEED_FIELDS: [&str; 5] = ["outputs", "status", "duration", "changed_files", "commit"];

/// Values of `needs.<node>.status`, as `event::Outcome` words them. A result from the cache has succeeded.
pub const STATUSES: [&str; 5] = ["succeeded", "failed", "timed_out", "skipped", "cancelled"];

#[derive(Debug, PartialEq)]
pub struct Record {
    pub what: What,
    pub fields: IndexMap<String, Type>,
}

/// What the fields of a record are, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Inputs,
    Env,
    Matrix,
    Needs,
    /// The outputs of this node.
    Outputs(String),
    /// The outputs of the workflow in the place of this node.
    UsedOutputs {
        node: String,
        file: String,
    },
    Run,
    Loop,
    /// The value of this name, whose schema names all of its fields.
    Value(String),
    /// The same of a schema that names some: a value may have others.
    Open(String),
}

/// The names that one place of the file may read.
#[derive(Clone, Debug)]
pub struct Names<'n> {
    /// For messages: `a node`, `result.branch`.
    pub place: &'static str,
    pub roots: Vec<(&'static str, Type)>,
    /// Every node of the workflow, so that one missing in `needs` is told from one that does not exist.
    pub nodes: &'n NodeIndex,
    /// Needs that the file calls by another name than the workflow, each with the workflow's.
    pub renamed: HashMap<String, String>,
}

impl Names<'_> {
    pub fn root(&self, name: &str) -> Option<&Type> {
        self.roots.iter().find(|(root, _)| *root == name).map(|(_, kind)| kind)
    }
}

impl Type {
    pub fn record(what: What, fields: impl IntoIterator<Item = (String, Type)>) -> Self {
        Self::Record(Arc::new(Record { what, fields: fields.into_iter().collect() }))
    }

    /// What is known of a value that is written down.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_f64() => Self::Number,
            Value::Number(_) => Self::Integer,
            Value::String(_) => Self::Text,
            Value::Array(items) => {
                Self::list(items.iter().map(Self::of).reduce(Self::join).unwrap_or(Self::Any))
            }
            Value::Object(_) => Self::Map(Box::new(Self::Any)),
        }
    }

    pub fn list(item: Type) -> Self {
        Self::List(Box::new(item))
    }

    /// The type of a value that is one of both.
    pub fn join(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Text | Self::Status, Self::Text | Self::Status) => Self::Text,
            (Self::List(a), Self::List(b)) => Self::list(a.join(*b)),
            _ => Self::Any,
        }
    }

    pub fn is_map(&self) -> bool {
        matches!(self, Self::Map(_) | Self::Record(_) | Self::Need(_))
    }

    /// A field of `needs.<node>` other than `outputs`.
    pub fn of_need(name: &str) -> Option<Self> {
        Some(match name {
            "status" => Self::Status,
            "duration" => Self::Number,
            "changed_files" => Self::list(Self::Text),
            "commit" => Self::Text,
            _ => return None,
        })
    }

    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text | Self::Status)
    }

    /// Whether values of both types can be equal.
    pub fn comparable(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any | Self::Null, _) | (_, Self::Any | Self::Null) => true,
            (Self::Integer | Self::Number, Self::Integer | Self::Number) => true,
            (Self::List(a), Self::List(b)) => a.comparable(b),
            (a, b) if a.is_map() && b.is_map() => true,
            (a, b) if a.is_text() && b.is_text() => true,
            (a, b) => a == b,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any value",
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Text | Self::Status => "a text",
            Self::List(_) => "a list",
            Self::Map(_) | Self::Record(_) | Self::Need(_) => "a map",
        })
    }
}
