//! Words for a value that does not fit its schema: where, what is there, what is expected. Knows no file and no node.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use crate::workflow::yaml::shorten;

/// Places told of one value.
const MAX_TOLD: usize = 3;

/// Faults looked at, to say how many more there are.
const MAX_COUNTED: usize = 100;

/// One sentence for all that does not fit; `None` when there is nothing.
pub fn describe<'i>(name: &str, errors: impl Iterator<Item = ValidationError<'i>>) -> Option<String> {
    let errors: Vec<ValidationError<'i>> = errors.take(MAX_COUNTED).collect();
    let told: Vec<String> = errors.iter().take(MAX_TOLD).map(|error| one(name, error)).collect();
    let more = match errors.len().saturating_sub(MAX_TOLD) {
        0 => String::new(),
        _ if errors.len() == MAX_COUNTED => "; and many more".to_owned(),
        more => format!("; and {more} more"),
    };
    (!told.is_empty()).then(|| format!("{}{more}", told.join("; ")))
}

fn one(name: &str, error: &ValidationError<'_>) -> String {
    let nearest = nearest(error);
    let shown = nearest.unwrap_or(error);
    let place = place(name, shown.instance_path());
    let choice = if nearest.is_some() { " (or another of the alternatives)" } else { "" };
    format!("`{place}` is {}, {}{choice}", found(shown.instance()), expected(shown))
}

/// Of alternatives that all fail, what is wrong with the one that got furthest into the value.
fn nearest<'e>(error: &'e ValidationError<'_>) -> Option<&'e ValidationError<'static>> {
    let (ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }) =
        error.kind()
    else {
        return None;
    };
    let depth = |error: &ValidationError<'_>| error.instance_path().segments().count();
    let own = depth(error);
    let first = context.iter().filter_map(|alternative| alternative.first());
    first.filter(|inner| depth(inner) > own).max_by_key(|inner| depth(inner))
}

/// `files[3].name`, as an expression would read it.
fn place(name: &str, location: &Location) -> String {
    let mut place = name.to_owned();
    for segment in location.segments() {
        match segment {
            LocationSegment::Index(index) => place.push_str(&format!("[{index}]")),
            LocationSegment::Property(key) if is_word(&key) => place.push_str(&format!(".{key}")),
            LocationSegment::Property(key) => place.push_str(&format!("[{:?}]", shorten(&key))),
        }
    }
    place
}

fn is_word(text: &str) -> bool {
    let mut chars = text.chars();
    let is_first = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    is_first && text.len() <= 40 && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What stands at a place, short.
pub fn found(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("the text {:?}", shorten(text)),
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(items) => {
            format!("a list of {} {}", items.len(), if items.len() == 1 { "item" } else { "items" })
        }
        Value::Object(fields) if fields.is_empty() => "an empty map".to_owned(),
        Value::Object(fields) => {
            let names: Vec<String> = fields.keys().take(4).map(|key| format!("`{}`", shorten(key))).collect();
            let more = if fields.len() > 4 { ", ..." } else { "" };
            format!("a map with {}{more}", names.join(", "))
        }
    }
}

/// What a schema asks for at a place.
pub fn expected(error: &ValidationError<'_>) -> String {
    use ValidationErrorKind as Kind;
    match error.kind() {
        Kind::Type { kind: TypeKind::Single(kind) } => format!("expected {}", word(*kind)),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            let words: Vec<&str> = kinds.iter().map(word).collect();
            format!("expected {}", words.join(" or "))
        }
        Kind::Required { property } => format!("expected a field {}", quoted(property)),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let names: Vec<String> =
                unexpected.iter().take(4).map(|name| format!("`{}`", shorten(name))).collect();
            format!("expected no field {}", names.join(", "))
        }
        Kind::AdditionalItems { limit } => format!("expected at most {limit} items"),
        Kind::Enum { options } => format!("expected one of {}", brief(options)),
        Kind::Constant { expected_value } => format!("expected {}", brief(expected_value)),
        Kind::Minimum { limit } => format!("expected at least {limit}"),
        Kind::Maximum { limit } => format!("expected at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("expected more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("expected less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("expected a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("expected at least {}", count(*limit, "character")),
        Kind::MaxLength { limit } => format!("expected at most {}", count(*limit, "character")),
        Kind::MinItems { limit } => format!("expected at least {}", count(*limit, "item")),
        Kind::MaxItems { limit } => format!("expected at most {}", count(*limit, "item")),
        Kind::MinProperties { limit } => format!("expected at least {}", count(*limit, "field")),
        Kind::MaxProperties { limit } => format!("expected at most {}", count(*limit, "field")),
        Kind::Pattern { pattern } => {
            format!("expected a text that matches {}", brief(&Value::from(pattern.as_str())))
        }
        Kind::Format { format } => format!("expected a text of the format `{format}`"),
        Kind::UniqueItems => "expected items that are all different".to_owned(),
        Kind::Contains => "expected an item that `contains` describes".to_owned(),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            let each: Vec<String> = context
                .iter()
                .filter_map(|alternative| alternative.first())
                .map(expected)
                .filter_map(|text| Some(text.strip_prefix("expected ")?.to_owned()))
                .collect();
            match context.len() {
                count @ 1..=4 if each.len() == count => format!("expected {}", each.join(" or ")),
                count => format!("expected one of {count} alternatives"),
            }
        }
        Kind::OneOfMultipleValid { .. } => {
            "expected exactly one of the alternatives, and several fit".to_owned()
        }
        Kind::Not { .. } => "expected what `not` does not describe".to_owned(),
        Kind::PropertyNames { error } => format!("expected other names of fields: {}", expected(error)),
        Kind::FalseSchema => "expected nothing".to_owned(),
        Kind::UnevaluatedItems { .. } => "expected no further items".to_owned(),
        Kind::ContentEncoding { .. }
        | Kind::ContentMediaType { .. }
        | Kind::FromUtf8 { .. }
        | Kind::Custom { .. }
        | Kind::BacktrackLimitExceeded { .. }
        | Kind::RegexEngineFailure { .. }
        | Kind::Referencing(_) => error.masked_with("it").to_string(),
    }
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn word(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Null => "null",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "a text",
        JsonType::Array => "a list",
        JsonType::Object => "a map",
    }
}

fn quoted(name: &Value) -> String {
    match name {
        Value::String(name) => format!("`{}`", shorten(name)),
        other => brief(other),
    }
}

/// A value of the schema, as JSON, at most 120 characters of it.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
