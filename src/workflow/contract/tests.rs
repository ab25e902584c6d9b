//! Schemas that are none, values that do not fit, and what a schema says of types.

use serde_json::{Value, json};

use super::*;
use crate::workflow::expr::types::Type;

fn breach(schema: Value, value: Value) -> String {
    Contract::new(&schema).unwrap().breach("report", &value).unwrap_or_default()
}

fn faults(schema: Value) -> Vec<String> {
    let faults = Contract::new(&schema).err().unwrap_or_default();
    faults.into_iter().map(|fault| format!("{:?}: {}", fault.path, fault.message)).collect()
}

#[test]
fn a_schema_that_never_comes_to_anything_is_refused() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        json!({"$dynamicRef": "#"}),
        json!({"anyOf": [{"type": "string"}, {"not": {"$ref": "#"}}]}),
    ] {
        assert!(!faults(schema.clone()).is_empty(), "{schema}");
    }
    let tree =
        json!({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}});
    assert_eq!(breach(tree.clone(), json!({"children": [{"children": []}]})), "");
    assert_eq!(
        breach(tree, json!({"children": [{"children": 1}]})),
        "`report.children[0].children` is 1, expected a list"
    );
}

#[test]
fn a_breach_says_where_what_is_there_and_what_is_expected() {
    let files = json!({
        "type": "array", "minItems": 1, "uniqueItems": true,
        "items": {
            "type": "object", "required": ["name"], "additionalProperties": false,
            "properties": {
                "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 8},
                "size": {"type": "integer", "minimum": 0, "exclusiveMaximum": 10, "multipleOf": 2},
                "kind": {"enum": ["file", "folder"]},
                "made on": {"type": "string", "format": "date"},
                "of": {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"id": {"type": "integer"}}}]}
            }
        }
    });
    let told = |value: Value| breach(files.clone(), value);
    insta::assert_snapshot!(
        [
            told(json!({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5})),
            told(json!([])),
            told(json!([{"name": "a"}, {"name": "a"}])),
            told(json!([{}])),
            told(json!([{"name": "a", "size": -2, "colour": 1}])),
            told(json!([{"name": "a", "size": 10}, {"name": "A".repeat(100)}])),
            told(json!([{"name": "a", "kind": "link", "made on": "yesterday"}])),
            told(json!([{"name": "a", "of": {"id": "x"}}])),
            told(json!([{"name": "a", "of": 1}])),
            told(json!([{"name": 1}, {"name": 2}, {"name": null}, {"name": true}, {"name": []}])),
        ]
        .join("\n"),
        @r##"
        `report` is a map with `a`, `b`, `c`, `d`, ..., expected a list
        `report` is an empty list, expected at least 1 item
        `report` is a list of 2 items, expected items that are all different
        `report[0]` is an empty map, expected a field `name`
        `report[0].size` is -2, expected at least 0; `report[0]` is a map with `name`, `size`, `colour`, expected no field `colour`
        `report[0].size` is 10, expected less than 10; `report[1].name` is the text "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA...", expected at most 8 characters; `report[1].name` is the text "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA...", expected a text that matches "^[a-z]+$"
        `report[0].kind` is the text "link", expected one of ["file","folder"]; `report[0]["made on"]` is the text "yesterday", expected a text of the format `date`
        `report[0].of.id` is the text "x", expected a whole number (or another of the alternatives)
        `report[0].of` is 1, expected a text or a map
        `report[0].name` is 1, expected a text; `report[1].name` is 2, expected a text; `report[2].name` is null, expected a text; and 2 more
        "##
    );
    assert_eq!(
        told(json!([{"name": "a", "size": 4, "kind": "file", "made on": "2026-11-24", "of": "x"}])),
        ""
    );
    assert_eq!(breach(json!({"type": "string"}), json!(7)), "`report` is 7, expected a text");
    let many: Value = (0..1000).collect();
    assert!(breach(json!({"items": {"type": "string"}}), many).ends_with("; and many more"));
}

#[test]
fn what_is_no_schema_is_said_with_its_place() {
    insta::assert_snapshot!(
        [
            json!({"type": "strin"}),
            json!({"type": null}),
            json!({"properties": {"a": {"minimum": "1"}, "b": {"required": "a"}}}),
            json!({"pattern": "("}),
            json!({"$ref": "https://example.org/x.json"}),
            json!({"items": {"$ref": "#/$defs/gone"}}),
            json!({"items": {"$ref": "other.json"}}),
            json!({"$schema": "https://example.org/mine"}),
            json!({"$ref": "#"}),
        ]
        .map(|schema| faults(schema).join("\n"))
        .join("\n"),
        @r##"
        [Key("type")]: this is no JSON Schema: the text "strin" stands here, expected one of ["array","boolean","integer","null","number","object","string"] or a list
        [Key("type")]: this is no JSON Schema: null stands here, expected one of ["array","boolean","integer","null","number","object","string"] or a list
        [Key("properties"), Key("a"), Key("minimum")]: this is no JSON Schema: the text "1" stands here, expected a number
        [Key("properties"), Key("b"), Key("required")]: this is no JSON Schema: the text "a" stands here, expected a list
        [Key("pattern")]: this is no JSON Schema: the text "(" stands here, expected a text of the format `regex`
        [Key("$ref")]: the schema refers to "https://example.org/x.json", and no other document is read, from a network or a disk
        [Key("items"), Key("$ref")]: "#/$defs/gone" is no part of this schema
        [Key("items"), Key("$ref")]: the schema refers to "other.json", and no other document is read, from a network or a disk
        [Key("$schema")]: "https://example.org/mine" is not a version of JSON Schema that spb knows
        [Key("$ref")]: "#" leads back to itself before it says anything of a value
        "##
    );
    for good in [
        json!({}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {"type": "null"}}, "$ref": "#/definitions/a"}),
        json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$anchor": "top", "properties": {"$ref": {"type": "string"}}}),
        json!({"$id": "https://example.org/mine", "items": {"$ref": "https://example.org/mine#/$defs/a"}, "$defs": {"a": true}}),
    ] {
        assert_eq!(faults(good.clone()), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn the_order_of_keys_is_no_other_schema() {
    let one =
        Contract::new(&json!({"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}}));
    let two =
        Contract::new(&json!({"properties": {"a": {"minLength": 1, "type": "string"}}, "type": "object"}));
    assert_eq!(one.unwrap().canonical(), two.unwrap().canonical());
}

#[test]
fn a_schema_tells_types_as_far_as_they_are_certain() {
    let check = |schema: Value, expect: &str| assert_eq!(spelled(&kind("x", &schema)), expect, "{schema}");
    check(json!({}), "any");
    check(json!(true), "any");
    check(json!({"type": "string"}), "text");
    check(json!({"type": ["integer", "null"]}), "any");
    check(json!({"type": "array", "items": {"type": "integer"}}), "[integer]");
    check(
        json!({"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "string"}}),
        "[any]",
    );
    check(json!({"enum": ["a", "b"]}), "text");
    check(json!({"const": 1.5}), "number");
    check(json!({"anyOf": [{"type": "string"}, {"const": "x"}]}), "text");
    check(json!({"allOf": [{"minLength": 1}, {"type": "string"}]}), "text");
    check(json!({"type": "object"}), "{any}");
    check(json!({"type": "object", "additionalProperties": {"type": "boolean"}}), "{boolean}");
    check(json!({"type": "object", "properties": {"a": {"type": "string"}}}), "{a: text, ...}");
    check(json!({"type": "object", "properties": {"a": {}}, "additionalProperties": false}), "{a: any}");
    check(
        json!({"type": "object", "properties": {"a": {}}, "additionalProperties": false, "patternProperties": {"x": {}}}),
        "{a: any, ...}",
    );
    check(
        json!({"$ref": "#/$defs/n", "$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/t"}}, "t": {"type": "string"}}}),
        "[text]",
    );
    // One of itself in many places: followed so far, then anything.
    let fields: serde_json::Map<String, Value> =
        (0..50).map(|n| (format!("f{n}"), json!({"$ref": "#"}))).collect();
    assert!(kind("x", &json!({"type": "object", "properties": fields})).is_map());
    assert!(matches!(kind("x", &json!({"type": "array", "items": {"$ref": "#"}})), Type::List(_)));
}

fn spelled(kind: &Type) -> String {
    match kind {
        Type::Any => "any".to_owned(),
        Type::Null => "null".to_owned(),
        Type::Bool => "boolean".to_owned(),
        Type::Integer => "integer".to_owned(),
        Type::Number => "number".to_owned(),
        Type::Text | Type::Status => "text".to_owned(),
        Type::List(item) => format!("[{}]", spelled(item)),
        Type::Map(item) => format!("{{{}}}", spelled(item)),
        Type::Record(record) => {
            let fields = record.fields.iter().map(|(name, kind)| format!("{name}: {}", spelled(kind)));
            let open = matches!(record.what, crate::workflow::expr::types::What::Open(_));
            let fields: Vec<String> = fields.chain(open.then(|| "...".to_owned())).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Type::Need(_) => "need".to_owned(),
    }
}
