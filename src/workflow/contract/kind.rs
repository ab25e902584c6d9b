//! What a schema says of a value's type, for the checks of expressions: as much as is certain, and no more.

use std::cell::Cell;

use serde_json::Value;

use super::Segment;
use crate::workflow::expr::types::{Type, What};

/// How deep references and parts are followed.
const MAX_DEPTH: usize = 16;

/// How many parts are looked at: a schema of trees has no end.
const MAX_PARTS: usize = 2000;

/// The type of every value that fits the schema; `Any` where it says too little. `name` is what the value is called.
pub fn kind(name: &str, schema: &Value) -> Type {
    Reader { root: schema, left: Cell::new(MAX_PARTS) }.at(name, schema, MAX_DEPTH)
}

struct Reader<'s> {
    root: &'s Value,
    /// Parts that may still be looked at.
    left: Cell<usize>,
}

impl Reader<'_> {
    fn at(&self, name: &str, schema: &Value, depth: usize) -> Type {
        let left = depth.checked_sub(1).zip(self.left.get().checked_sub(1));
        let (Some((depth, left)), Value::Object(fields)) = (left, schema) else { return Type::Any };
        self.left.set(left);
        if let Some(target) = fields.get("$ref") {
            // In the older drafts, nothing beside a reference counts.
            return match target.as_str().and_then(|target| local(self.root, target)) {
                Some(target) => self.at(name, target, depth),
                None => Type::Any,
            };
        }
        match fields.get("type") {
            Some(Value::String(word)) => self.of_word(name, word, schema, depth),
            Some(Value::Array(words)) => {
                let kinds = words.iter().map(|word| match word.as_str() {
                    Some(word) => self.of_word(name, word, schema, depth),
                    None => Type::Any,
                });
                kinds.reduce(Type::join).unwrap_or(Type::Any)
            }
            _ => self.without_type(name, schema, depth),
        }
    }

    fn of_word(&self, name: &str, word: &str, schema: &Value, depth: usize) -> Type {
        match word {
            "string" => Type::Text,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "boolean" => Type::Bool,
            "null" => Type::Null,
            "array" => Type::list(self.item(name, schema, depth)),
            "object" => self.object(name, schema, depth),
            _ => Type::Any,
        }
    }

    fn item(&self, name: &str, schema: &Value, depth: usize) -> Type {
        match (&schema["items"], schema.get("prefixItems")) {
            (items @ Value::Object(_), None) => self.at(&format!("{name}[]"), items, depth),
            _ => Type::Any,
        }
    }

    fn object(&self, name: &str, schema: &Value, depth: usize) -> Type {
        let fields: Vec<(String, Type)> = match &schema["properties"] {
            Value::Object(properties) => properties
                .iter()
                .map(|(field, schema)| (field.clone(), self.at(&format!("{name}.{field}"), schema, depth)))
                .collect(),
            _ => Vec::new(),
        };
        let others = schema.get("additionalProperties").or_else(|| schema.get("unevaluatedProperties"));
        let has_patterns = schema.get("patternProperties").is_some() || schema.get("allOf").is_some();
        match others {
            Some(Value::Bool(false)) if !has_patterns && !fields.is_empty() => {
                Type::record(What::Value(name.to_owned()), fields)
            }
            Some(others @ Value::Object(_)) if fields.is_empty() && !has_patterns => {
                Type::Map(Box::new(self.at(&format!("{name}[]"), others, depth)))
            }
            _ if fields.is_empty() => Type::Map(Box::new(Type::Any)),
            _ => Type::record(What::Open(name.to_owned()), fields),
        }
    }

    fn without_type(&self, name: &str, schema: &Value, depth: usize) -> Type {
        if let Some(value) = schema.get("const") {
            return Type::of(value);
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            return values.iter().map(Type::of).reduce(Type::join).unwrap_or(Type::Any);
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(Value::Array(alternatives)) = schema.get(key) {
                let kinds = alternatives.iter().map(|alternative| self.at(name, alternative, depth));
                return kinds.reduce(Type::join).unwrap_or(Type::Any);
            }
        }
        if let Some(Value::Array(parts)) = schema.get("allOf") {
            let mut kinds = parts.iter().map(|part| self.at(name, part, depth));
            return kinds.find(|kind| *kind != Type::Any && !kind.is_map()).unwrap_or(Type::Any);
        }
        Type::Any
    }
}

/// The part of the schema that a reference inside of it names; not those by anchor or address.
fn local<'s>(root: &'s Value, target: &str) -> Option<&'s Value> {
    root.pointer(target.strip_prefix('#')?)
}

/// The first reference to a part that is not there, and its place.
pub fn leads_nowhere(root: &Value, at: &Value, path: &mut Vec<Segment>) -> Option<String> {
    let parts: Vec<(Segment, &Value)> = match at {
        Value::Array(items) => items.iter().enumerate().map(|(at, item)| (Segment::Item(at), item)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (Segment::Key(key.clone()), value)).collect()
        }
        _ => Vec::new(),
    };
    for (segment, value) in parts {
        let is_reference = segment == Segment::Key("$ref".to_owned());
        path.push(segment);
        match value {
            Value::String(target) if is_reference && target != "#" && local(root, target).is_none() => {
                return Some(target.clone());
            }
            _ => {}
        }
        if let Some(found) = leads_nowhere(root, value, path) {
            return Some(found);
        }
        path.pop();
    }
    None
}

/// Whether the references of this part, and of those that say something of the same value, come back to it: then it
/// never comes to anything.
pub fn leads_to_itself(root: &Value, start: &Value) -> bool {
    let mut open = vec![start];
    let mut seen: Vec<*const Value> = Vec::new();
    while let Some(at) = open.pop() {
        for next in of_the_same_value(root, at) {
            if std::ptr::eq(next, start) {
                return true;
            }
            if !seen.iter().any(|known| std::ptr::eq(*known, next)) {
                seen.push(next);
                open.push(next);
            }
        }
    }
    false
}

/// The schemas that a schema applies to the very value it is applied to.
fn of_the_same_value<'s>(root: &'s Value, at: &'s Value) -> Vec<&'s Value> {
    let Value::Object(fields) = at else { return Vec::new() };
    let mut next: Vec<&Value> = Vec::new();
    for key in ["$ref", "$dynamicRef", "$recursiveRef"] {
        next.extend(fields.get(key).and_then(Value::as_str).and_then(|target| local(root, target)));
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        next.extend(fields.get(key).and_then(Value::as_array).into_iter().flatten());
    }
    next.extend(["not", "if", "then", "else"].iter().filter_map(|key| fields.get(*key)));
    for key in ["dependentSchemas", "dependencies"] {
        next.extend(fields.get(key).and_then(Value::as_object).into_iter().flat_map(|map| map.values()));
    }
    next
}
