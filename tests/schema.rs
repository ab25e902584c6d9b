//! The schema file as editors read it: everything in it teaches. The reference that is made of it is not stale.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

use std::process::Command;

use serde_json::Value;

fn schema() -> Value {
    serde_json::from_str(&std::fs::read_to_string("schema/workflow.schema.json").unwrap()).unwrap()
}

/// Visits every schema in a schema, with the names of the properties that lead to it.
fn walk(schema: &Value, place: &str, visit: &mut impl FnMut(&Value, &str)) {
    visit(schema, place);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{place}.{name}"), visit);
    }
    for key in ["additionalProperties", "items"] {
        if schema[key].is_object() {
            walk(&schema[key], &format!("{place}.*"), visit);
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        schema[key].as_array().into_iter().flatten().for_each(|variant| walk(variant, place, visit));
    }
}

#[test]
fn every_property_has_a_description_and_an_example() {
    let (mut silent, mut count) = (Vec::new(), 0);
    walk(&schema(), "", &mut |object, place| {
        for (name, property) in object["properties"].as_object().into_iter().flatten() {
            count += 1;
            let says = |key: &str| property[key].as_str().is_some_and(|text| text.ends_with('.'));
            if !says("description") {
                silent.push(format!("{place}.{name} has no description"));
            }
            if property["examples"].as_array().is_none_or(Vec::is_empty) {
                silent.push(format!("{place}.{name} has no example"));
            }
            if property["title"].as_str().is_none_or(str::is_empty) {
                silent.push(format!("{place}.{name} has no title"));
            }
        }
    });
    assert!(count > 60, "only {count} properties were found");
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn every_word_that_a_value_may_be_is_described() {
    let (mut silent, mut count) = (Vec::new(), 0);
    walk(&schema(), "", &mut |object, place| {
        let words = object["enum"].as_array().map_or(0, Vec::len);
        let meanings = object["enumDescriptions"].as_array().into_iter().flatten();
        let told =
            meanings.filter(|meaning| meaning.as_str().is_some_and(|text| text.ends_with('.'))).count();
        count += words;
        if told != words || object["const"].is_string() || object["oneOf"].is_array() {
            silent.push(format!("{place} does not say what each of {} means", object["enum"]));
        }
    });
    assert!(count > 20, "only {count} words were found");
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

/// An example that its own schema refuses teaches a mistake.
#[test]
fn every_example_and_default_is_valid() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    walk(&schema(), "", &mut |object, place| {
        let examples = object["examples"].as_array().into_iter().flatten();
        for example in examples.chain(object.get("default")) {
            count += 1;
            let validator = jsonschema::draft7::new(object).unwrap();
            if let Err(error) = validator.validate(example) {
                wrong.push(format!("{place}: {example}: {error}"));
            }
        }
    });
    assert!(count > 100, "only {count} examples were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const REFERENCE: &str = "docs/reference.md";

#[test]
fn the_kept_reference_is_the_one_of_the_types() {
    let made = spb::workflow::reference::markdown();
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(REFERENCE, &made).unwrap();
    }
    let kept = std::fs::read_to_string(REFERENCE).unwrap_or_default();
    assert!(
        kept == made,
        "{REFERENCE} is stale: `spb schema --format markdown > {REFERENCE}`, or UPDATE_CASES=1, writes it anew"
    );
    let printed = Command::new(env!("CARGO_BIN_EXE_spb")).args(["schema", "--format", "markdown"]).output();
    assert_eq!(String::from_utf8(printed.unwrap().stdout).unwrap(), made);
}
