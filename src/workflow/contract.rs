//! What a value must look like: a JSON Schema, checked itself before anything runs, then held against what a node left.
//! Nothing is ever fetched: a schema holds all that it refers to. Knows nothing of nodes or of where a value came from.

mod breach;
mod kind;

use std::fmt;

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, ValidationError, Validator};
use serde_json::{Map, Value};

pub use kind::kind;

/// Faults told of one schema: more have one cause.
const MAX_FAULTS: usize = 10;

/// A schema that is sound, ready to be held against values.
pub struct Contract {
    schema: Value,
    validator: Validator,
}

/// What is wrong with a schema itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From the schema's root to the part that is meant.
    pub path: Vec<Segment>,
    pub message: String,
    pub help: Option<String>,
}

/// One step into a JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    Key(String),
    Item(usize),
}

/// The meta-schemas by the address in `$schema`, which may end in `#`.
const DRAFTS: [(&str, Draft); 5] = [
    ("https://json-schema.org/draft/2020-12/schema", Draft::Draft202012),
    ("https://json-schema.org/draft/2019-09/schema", Draft::Draft201909),
    ("http://json-schema.org/draft-07/schema", Draft::Draft7),
    ("http://json-schema.org/draft-06/schema", Draft::Draft6),
    ("http://json-schema.org/draft-04/schema", Draft::Draft4),
];

impl Contract {
    /// Checks a schema and makes it ready. Without `$schema` it is of draft 2020-12.
    ///
    /// # Errors
    /// Everything that is wrong with the schema, each with its place; never empty.
    pub fn new(schema: &Value) -> Result<Self, Vec<Fault>> {
        let draft = draft(schema).map_err(|fault| vec![fault])?;
        let of_meta = match draft {
            Draft::Draft4 => jsonschema::draft4::meta::validator(),
            Draft::Draft6 => jsonschema::draft6::meta::validator(),
            Draft::Draft7 => jsonschema::draft7::meta::validator(),
            Draft::Draft201909 => jsonschema::draft201909::meta::validator(),
            _ => jsonschema::draft202012::meta::validator(),
        };
        let mut faults: Vec<Fault> =
            of_meta.iter_errors(schema).take(MAX_FAULTS).map(of_meta_schema).collect();
        if faults.is_empty() {
            let mut at = Vec::new();
            references(schema, schema, &mut at, &mut faults);
        }
        if !faults.is_empty() {
            faults.dedup_by(|a, b| a.path == b.path);
            return Err(faults);
        }
        let options = jsonschema::options().with_draft(draft).should_validate_formats(true).offline();
        match options.build(schema) {
            Ok(validator) => Ok(Self { schema: schema.clone(), validator }),
            Err(error) => Err(vec![of_building(&error, schema)]),
        }
    }

    /// The schema as it is written.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// The schema as one text that is the same whatever the order of its keys.
    pub fn canonical(&self) -> String {
        sorted(&self.schema).to_string()
    }

    /// What of a value does not fit, in one sentence: where (`name[3].id`), what is there, what is expected. `None` when
    /// it fits.
    pub fn breach(&self, name: &str, value: &Value) -> Option<String> {
        breach::describe(name, self.validator.iter_errors(value))
    }
}

impl fmt::Debug for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Contract").field(&self.schema).finish()
    }
}

fn draft(schema: &Value) -> Result<Draft, Fault> {
    let Some(Value::String(address)) = schema.get("$schema") else { return Ok(Draft::Draft202012) };
    let known = DRAFTS.iter().find(|(known, _)| *known == address.trim_end_matches('#'));
    known.map(|(_, draft)| *draft).ok_or_else(|| Fault {
        path: vec![Segment::Key("$schema".to_owned())],
        message: format!("{address:?} is not a version of JSON Schema that spb knows"),
        help: Some(format!("for example `$schema: {}`; without it, that one is meant", DRAFTS[0].0)),
    })
}

fn of_meta_schema(error: ValidationError<'_>) -> Fault {
    let found = breach::found(error.instance());
    let help = error.instance().is_null().then(|| "in quotes it is the type: `type: \"null\"`".to_owned());
    let message = format!("this is no JSON Schema: {found} stands here, {}", breach::expected(&error));
    Fault { path: segments(error.instance_path()), message, help }
}

/// A schema that is well formed, and still none: a bad pattern, a reference to nowhere.
fn of_building(error: &ValidationError<'_>, schema: &Value) -> Fault {
    if !matches!(error.kind(), ValidationErrorKind::Referencing(_)) {
        let found = breach::found(error.instance());
        let message = format!("this is no JSON Schema: {found} stands here, {}", breach::expected(error));
        return Fault { path: segments(error.instance_path()), message, help: None };
    }
    let mut path = Vec::new();
    let target = kind::leads_nowhere(schema, schema, &mut path);
    let message = match target {
        Some(target) => format!("{target:?} is no part of this schema"),
        None => format!("a reference leads nowhere: {error}"),
    };
    let help = "a part is named from the root of the schema: `#/$defs/name`".to_owned();
    Fault { path, message, help: Some(help) }
}

/// References that lead out of the schema, or that lead back to themselves before they come to anything.
fn references(root: &Value, at: &Value, path: &mut Vec<Segment>, faults: &mut Vec<Fault>) {
    let mut inner = |segment: Segment, value: &Value, faults: &mut Vec<Fault>| {
        path.push(segment);
        references(root, value, path, faults);
        path.pop();
    };
    match at {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                inner(Segment::Item(index), item, faults);
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                inner(Segment::Key(key.clone()), value, faults);
            }
        }
        _ => {}
    }
    let Value::Object(fields) = at else { return };
    for key in ["$ref", "$dynamicRef", "$recursiveRef"] {
        // What is not a text here is a field of that name, as under `properties`.
        let Some(Value::String(target)) = fields.get(key) else { continue };
        let fault = |message: String, help: &str| {
            let mut path = path.clone();
            path.push(Segment::Key(key.to_owned()));
            Fault { path, message, help: Some(help.to_owned()) }
        };
        if !target.starts_with('#') && !is_meta(target) && !is_inside(root, target) {
            faults.push(fault(
                format!(
                    "the schema refers to {target:?}, and no other document is read, from a network or a disk"
                ),
                "copy it under `$defs`, and refer to it as `#/$defs/name`",
            ));
        } else if kind::leads_to_itself(root, at) {
            faults.push(fault(
                format!("{target:?} leads back to itself before it says anything of a value"),
                "a schema may repeat itself for the parts of a value: under `properties`, `items` and their like",
            ));
        }
    }
}

fn is_meta(target: &str) -> bool {
    target.starts_with("https://json-schema.org/draft/")
        || target.starts_with("http://json-schema.org/draft-0")
}

/// Whether some part of the schema calls itself by this address.
fn is_inside(at: &Value, target: &str) -> bool {
    let address = target.split('#').next().unwrap_or(target);
    match at {
        Value::Object(fields) => {
            let own = ["$id", "id"].iter().filter_map(|key| fields.get(*key)?.as_str());
            own.into_iter().any(|id| id.trim_end_matches('#').ends_with(address))
                || fields.values().any(|value| is_inside(value, target))
        }
        Value::Array(items) => items.iter().any(|item| is_inside(item, target)),
        _ => false,
    }
}

fn segments(location: &Location) -> Vec<Segment> {
    location
        .segments()
        .map(|segment| match segment {
            LocationSegment::Property(name) => Segment::Key(name.into_owned()),
            LocationSegment::Index(index) => Segment::Item(index),
        })
        .collect()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(fields) => {
            let mut entries: Vec<_> = fields.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            Value::Object(
                entries.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect::<Map<_, _>>(),
            )
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
