//! Expressions: `${{ }}` templates and conditions, compiled and checked once, evaluated against a [`Scope`].
//! The only owner of the CEL crate. Knows nothing of nodes being run.
//!
//! A template is data, and so is what it reads: the value of an input is never parsed again, whatever it holds.
//! A literal `${{` is written `${{ "${{" }}`.

mod fault;
pub(super) mod functions;
mod infer;
pub(super) mod lex;
pub(super) mod paths;
mod program;
mod rename;
mod run;
pub(super) mod types;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use infer::Use;
use program::Expression;
use types::{Names, Type};

/// A text that may hold `${{ }}`. Parsed once, when the file is loaded.
#[derive(Clone, Debug)]
pub struct Template {
    /// `None` for a constant.
    parts: Option<Arc<Parts>>,
    source: Arc<str>,
    /// The value of a constant that is no text.
    value: Option<Arc<Value>>,
}

#[derive(Debug)]
struct Parts {
    list: Vec<Part>,
    references: Vec<NamePath>,
}

#[derive(Debug)]
enum Part {
    Text(Range<usize>),
    /// With the place of its first byte in the source.
    Expression(usize, Expression),
}

/// A boolean expression with `success()`, `failure()` and `always()`.
#[derive(Clone, Debug)]
pub struct Condition {
    /// `None` for the default, `success()`.
    expression: Option<Arc<Expression>>,
    /// Place of the expression's first byte in the text of the value.
    offset: usize,
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
///
/// Copies share the values: what many nodes read is there once.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    names: IndexMap<&'static str, Arc<Value>>,
}

impl Scope {
    pub fn set(&mut self, name: &'static str, value: Value) {
        self.names.insert(name, Arc::new(value));
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.names.get(name).map(|value| &**value)
    }

    /// Takes a name over from another scope, if it is there.
    pub fn share(&mut self, name: &'static str, other: &Self) {
        if let Some(value) = other.names.get(name) {
            self.names.insert(name, Arc::clone(value));
        }
    }

    /// Every name with its value, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.names.iter().map(|(name, value)| (*name, &**value))
    }
}

/// The statuses of a node's needs, for `success()`, `failure()` and `always()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedsStatus {
    pub all_succeeded: bool,
    pub any_failed: bool,
}

/// A name that an expression reads, by its segments: `needs`, `build`, `outputs`, `version`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamePath(Arc<[String]>);

impl NamePath {
    fn new(segments: Vec<String>) -> Self {
        Self(segments.into())
    }

    /// The first segment: `inputs`, `needs` ...
    pub fn root(&self) -> &str {
        &self.0[0]
    }

    pub fn segments(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for NamePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Why an expression has no value at run time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{expression}` has no value: {reason}")]
pub struct ExprError {
    pub expression: String,
    pub reason: String,
}

/// What is wrong with an expression, at its place in the text of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub code: &'static str,
    pub range: Range<usize>,
    pub message: String,
    pub label: String,
    pub help: Option<String>,
}

impl Fault {
    fn new(code: &'static str, range: Range<usize>, message: impl Into<String>) -> Self {
        Self { code, range, message: message.into(), label: String::new(), help: None }
    }

    fn label(mut self, text: impl Into<String>) -> Self {
        self.label = text.into();
        self
    }

    fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    fn shift(mut self, by: usize) -> Self {
        self.range = self.range.start + by..self.range.end + by;
        self
    }
}

impl Template {
    /// A text without expressions, whatever it holds.
    pub fn constant(text: &str) -> Self {
        Self { parts: None, source: text.into(), value: None }
    }

    /// A value without expressions, whatever its texts hold.
    pub fn of_value(value: Value) -> Self {
        Self { parts: None, source: text_of(&value).into(), value: Some(Arc::new(value)) }
    }

    /// Finds and compiles the `${{ }}` of a text.
    pub(super) fn compile(text: &str) -> Result<Self, Vec<Fault>> {
        if !text.contains("${{") {
            return Ok(Self::constant(text));
        }
        let (mut list, mut faults, mut at) = (Vec::new(), Vec::new(), 0);
        while let Some(found) = text[at..].find("${{") {
            let open = at + found;
            list.push(Part::Text(at..open));
            let inner = open + 3;
            let Some(length) = lex::expression_length(&text[inner..]) else {
                faults.push(unclosed(open, text));
                at = text.len();
                break;
            };
            let (start, body) = trimmed(&text[inner..inner + length], inner);
            match program::compile(body) {
                Ok(expression) => list.push(Part::Expression(start, expression)),
                Err(fault) => faults.push(fault.shift(start)),
            }
            at = inner + length + 2;
        }
        list.push(Part::Text(at..text.len()));
        list.retain(|part| !matches!(part, Part::Text(range) if range.is_empty()));
        let mut references: Vec<NamePath> = Vec::new();
        for part in &list {
            if let Part::Expression(_, expression) = part {
                references.extend(expression.references.iter().cloned());
            }
        }
        match faults.is_empty() {
            true => Ok(Self {
                parts: Some(Arc::new(Parts { list, references })),
                source: text.into(),
                value: None,
            }),
            false => Err(faults),
        }
    }

    /// The type of its value, and what is wrong with its expressions in this place of the file.
    pub(super) fn check(&self, names: &Names<'_>) -> (Type, Vec<Fault>) {
        let parts = self.parts.as_deref().map_or(&[][..], |parts| &parts.list);
        let (mut kind, mut faults) = (Type::Text, Vec::new());
        for part in parts {
            let Part::Expression(start, expression) = part else { continue };
            let (found, wrong) = infer::infer(expression, names, Use::Value);
            faults.extend(wrong.into_iter().map(|fault| fault.shift(*start)));
            if parts.len() == 1 {
                kind = found;
            }
        }
        (kind, faults)
    }

    /// As [`check`](Self::check), for a place that takes a list: the text is one expression that yields it. `taker` is
    /// what the place is: `a matrix`.
    pub(super) fn check_list(&self, names: &Names<'_>, taker: &str) -> Vec<Fault> {
        const HELP: &str = "write a list, or one expression that yields a list: `${{ inputs.targets }}`";
        let whole = 0..self.source.len();
        let takes_a_list = format!("{taker} takes a list");
        match self.parts.as_deref().map_or(&[][..], |parts| &parts.list) {
            [Part::Expression(start, expression)] => {
                let (kind, mut faults) = infer::infer(expression, names, Use::Value);
                if !matches!(kind, Type::Any | Type::List(_)) {
                    faults.push(fault::wrong_result(&takes_a_list, &kind, 0..expression.text.len(), HELP));
                }
                faults.into_iter().map(|fault| fault.shift(*start)).collect()
            }
            _ => vec![fault::wrong_result(&takes_a_list, &Type::Text, whole, HELP)],
        }
    }

    /// The type of the items, for a text that is one expression.
    pub(super) fn item_type(&self, names: &Names<'_>) -> Type {
        match self.parts.as_deref().map_or(&[][..], |parts| &parts.list) {
            [Part::Expression(_, expression)] => match infer::infer(expression, names, Use::Value).0 {
                Type::List(item) => *item,
                _ => Type::Any,
            },
            _ => Type::Any,
        }
    }

    /// The text, when it holds no expression.
    pub fn is_constant(&self) -> Option<&str> {
        self.parts.is_none().then_some(&*self.source)
    }

    /// The text with every expression replaced by its value: texts as they are, numbers and booleans plain, lists and
    /// maps as compact JSON, null as nothing.
    ///
    /// # Errors
    /// The first expression that has no value.
    pub fn render(&self, scope: &Scope) -> Result<String, ExprError> {
        let Some(parts) = &self.parts else { return Ok(self.source.to_string()) };
        let mut text = String::new();
        for part in &parts.list {
            match part {
                Part::Text(range) => text.push_str(&self.source[range.clone()]),
                Part::Expression(_, expression) => {
                    text.push_str(&text_of(&evaluate(expression, scope, None)?))
                }
            }
        }
        Ok(text)
    }

    /// The value: a text that is one single expression keeps the type of its value, any other is a string.
    ///
    /// # Errors
    /// The first expression that has no value.
    pub fn value(&self, scope: &Scope) -> Result<Value, ExprError> {
        match self.parts.as_deref() {
            Some(Parts { list, .. }) => match list.as_slice() {
                [Part::Expression(_, expression)] => evaluate(expression, scope, None),
                _ => self.render(scope).map(Value::String),
            },
            None => Ok(match &self.value {
                Some(value) => (**value).clone(),
                None => Value::String(self.source.to_string()),
            }),
        }
    }

    /// The names that its expressions read, in order of appearance.
    pub fn references(&self) -> &[NamePath] {
        self.parts.as_deref().map_or(&[], |parts| &parts.references)
    }

    /// As written in the file.
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn shared_source(&self) -> Arc<str> {
        self.source.clone()
    }
}

impl Condition {
    /// The condition of a node that has none.
    pub fn success() -> Self {
        Self { expression: None, offset: 0 }
    }

    /// It is nothing but `success()`.
    pub fn is_success(&self) -> bool {
        self.expression.is_none()
    }

    /// Compiles a bare expression, or one in `${{ }}`.
    pub(super) fn compile(text: &str) -> Result<Self, Fault> {
        let (mut offset, mut body) = trimmed(text, 0);
        if let Some(inner) = body.strip_prefix("${{") {
            let whole = lex::expression_length(inner).filter(|length| length + 2 == inner.len());
            let length = whole.ok_or_else(|| {
                Fault::new("spb::expr::syntax", offset..offset + body.len(), "a condition is one expression")
                    .label("more than one, or not closed")
                    .help("write the expression without `${{ }}`")
            })?;
            (offset, body) = trimmed(&inner[..length], offset + 3);
        }
        if body == "success()" {
            return Ok(Self::success());
        }
        let expression = program::compile(body).map_err(|fault| fault.shift(offset))?;
        Ok(Self { expression: Some(Arc::new(expression)), offset })
    }

    /// What is wrong with it in this place of the file.
    pub(super) fn check(&self, names: &Names<'_>) -> Vec<Fault> {
        let Some(expression) = &self.expression else { return Vec::new() };
        let (kind, mut faults) = infer::infer(expression, names, Use::Condition);
        if !matches!(kind, Type::Any | Type::Bool) {
            let help = "compare it with something, as in `inputs.mode == \"release\"`";
            faults.push(fault::wrong_result(
                "a condition is true or false",
                &kind,
                0..expression.text.len(),
                help,
            ));
        }
        faults.into_iter().map(|fault| fault.shift(self.offset)).collect()
    }

    pub fn status_use(&self) -> StatusUse {
        match &self.expression {
            None => StatusUse::ImpliedSuccess,
            Some(expression) if expression.uses_status => StatusUse::Explicit,
            Some(_) => StatusUse::ImpliedSuccess,
        }
    }

    /// Whether the node may run.
    ///
    /// # Errors
    /// When the expression has no value, or one that is neither true nor false.
    pub fn holds(&self, scope: &Scope, needs: NeedsStatus) -> Result<bool, ExprError> {
        if self.status_use() == StatusUse::ImpliedSuccess && !needs.all_succeeded {
            return Ok(false);
        }
        let Some(expression) = &self.expression else { return Ok(true) };
        match evaluate(expression, scope, Some(needs))? {
            Value::Bool(value) => Ok(value),
            other => Err(ExprError {
                expression: expression.text.clone(),
                reason: format!("a condition is true or false, not {other}"),
            }),
        }
    }

    /// The names that it reads, in order of appearance.
    pub fn references(&self) -> &[NamePath] {
        self.expression.as_deref().map_or(&[], |expression| &expression.references)
    }

    /// The expression, without `${{ }}`.
    pub fn source(&self) -> &str {
        self.expression.as_deref().map_or("success()", |expression| &expression.text)
    }
}

fn evaluate(expression: &Expression, scope: &Scope, needs: Option<NeedsStatus>) -> Result<Value, ExprError> {
    run::evaluate(expression, scope, needs)
        .map_err(|reason| ExprError { expression: expression.text.clone(), reason })
}

/// How a value reads inside a text.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => float.to_string(),
            _ => number.to_string(),
        },
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A text without outer blanks, and its new start.
fn trimmed(text: &str, start: usize) -> (usize, &str) {
    let blanks = text.len() - text.trim_start().len();
    (start + blanks, text.trim())
}

fn unclosed(open: usize, text: &str) -> Fault {
    Fault::new("spb::expr::unclosed", open..text.len().min(open + 3), "`${{` is never closed")
        .label("no `}}` follows")
        .help("close it with `}}`; a literal `${{` is written `${{ \"${{\" }}`")
}

#[cfg(test)]
mod tests;
