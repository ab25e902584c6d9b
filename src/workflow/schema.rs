//! The JSON Schema of workflow files, made from the wire types. Draft 7 with everything in place, without `$ref`:
//! the shape that yaml-language-server completes and hovers best. Knows nothing of editors otherwise.

use std::sync::LazyLock;

use schemars::transform::{RecursiveTransform, Transform};
use schemars::{Schema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::file::File;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<File>();
    RecursiveTransform(tidy).transform(&mut schema);
    schema.insert("title".to_owned(), json!("spb workflow"));
    schema.to_value()
});

/// The schema of a workflow file.
pub fn schema() -> &'static Value {
    &SCHEMA
}

/// The schema as it is kept in `schema/workflow.schema.json` and printed by `spb schema`.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(schema()).expect("a schema is plain JSON");
    text.push('\n');
    text
}

/// A key without a value is a mistake, so `null` goes; every property gets a title; formats of Rust's numbers mean
/// nothing to editors.
fn tidy(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    drop_null_variants(object);
    list_words(object);
    leave_words_to_the_key(object);
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    object.remove("format");
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for (name, property) in properties {
            if let Some(property) = property.as_object_mut()
                && !property.contains_key("title")
            {
                property.shift_insert(0, "title".to_owned(), json!(name.replace('_', " ")));
            }
        }
    }
}

/// The words among `oneOf: [{const, description}, ...]` become a list of words and one of their meanings. Editors then
/// show what the key is for together with all words; of a `oneOf`, only the meaning of the word that is there.
fn list_words(object: &mut serde_json::Map<String, Value>) {
    let Some(Value::Array(variants)) = object.get("oneOf") else { return };
    let is_word = |variant: &&Value| variant["const"].is_string() && variant["description"].is_string();
    let (words, others): (Vec<&Value>, Vec<&Value>) = variants.iter().partition(is_word);
    if words.is_empty() {
        return;
    }
    let column = |key: &str| words.iter().map(|word| word[key].clone()).collect::<Value>();
    let list =
        json!({ "type": "string", "enum": column("const"), "enumDescriptions": column("description") });
    if others.is_empty() {
        object.extend(list.as_object().cloned().unwrap_or_default());
    } else {
        let variants: Vec<Value> = std::iter::once(list).chain(others.into_iter().cloned()).collect();
        object.insert("anyOf".to_owned(), Value::Array(variants));
    }
    object.remove("oneOf");
}

/// Editors show the description of the variant that a value is in place of that of its key.
fn leave_words_to_the_key(object: &mut serde_json::Map<String, Value>) {
    if object.contains_key("description")
        && let Some(Value::Array(variants)) = object.get_mut("anyOf")
    {
        for variant in variants.iter_mut().filter_map(Value::as_object_mut) {
            variant.remove("description");
        }
    }
}

/// `anyOf: [X, null]`, which an `Option` makes, becomes X.
fn drop_null_variants(object: &mut serde_json::Map<String, Value>) {
    let Some(Value::Array(variants)) = object.get_mut("anyOf") else { return };
    variants.retain(|variant| variant["type"] != "null");
    if variants.len() == 1
        && let Some(Value::Array(mut variants)) = object.remove("anyOf")
        && let Some(Value::Object(only)) = variants.pop()
    {
        for (key, value) in only {
            object.entry(key).or_insert(value);
        }
    }
}

/// What the schema says of a place in the file.
pub fn at(path: &[Step<'_>]) -> Option<&'static Value> {
    path.iter().try_fold(schema(), |schema, step| descend(schema, step))
}

/// One step from a value to one that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

fn descend(schema: &'static Value, step: &Step<'_>) -> Option<&'static Value> {
    let direct = match step {
        Step::Key(key) => schema["properties"].get(key).or_else(|| schema.get("additionalProperties")),
        Step::Item(_) => schema.get("items"),
    };
    let variants = || schema["anyOf"].as_array()?.iter().find_map(|variant| descend(variant, step));
    direct.filter(|found| found.is_object()).or_else(variants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_holds_no_null_and_no_references() {
        let text = text();
        assert!(!text.contains("\"null\""), "{text}");
        assert!(!text.contains("$ref"), "{text}");
    }

    #[test]
    fn places_of_the_file_are_found() {
        let retry =
            [Step::Key("nodes"), Step::Key("build"), Step::Key("retry"), Step::Key("on"), Step::Item(0)];
        assert!(at(&retry).is_some());
        let ttl = [Step::Key("nodes"), Step::Key("build"), Step::Key("cache"), Step::Key("ttl")];
        assert_eq!(at(&ttl).unwrap()["type"], "string");
        assert!(at(&[Step::Key("nope")]).is_none());
    }
}
