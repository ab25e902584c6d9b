//! The workflow file as it is written: the wire types of what one file takes from another. Knows nothing of the other
//! file; see `check_include` and `check_uses`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, EnumAccess, Error, MapAccess, Visitor};

use super::file_values::{Spelling, Text};

/// The path of a file, or the path with a prefix.
#[derive(Clone, Debug)]
pub enum Include {
    Path(String),
    File(IncludedFile),
}

/// A file whose nodes become nodes of this workflow.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IncludedFile {
    /// Path of the file, from the folder of this one.
    #[schemars(extend("examples" = ["./lint.yaml"]))]
    pub file: Text,
    /// Put before the name of each of its nodes, with a `-`: `check` becomes `lint-check`.
    #[schemars(extend("examples" = ["lint"], "pattern" = "^[A-Za-z_][A-Za-z0-9_-]*$"))]
    pub prefix: Option<Text>,
}

/// A value that a workflow hands to the node that uses it.
#[derive(Clone, Debug)]
pub enum WorkflowOutput {
    Value(String),
    Described(DescribedOutput),
}

/// A value with its description.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DescribedOutput {
    /// The value: mostly one expression over `needs`.
    #[schemars(extend("examples" = ["${{ needs.build.outputs.version }}"]))]
    pub value: Text,
    /// What the value is.
    #[schemars(extend("examples" = ["The version that was built."]))]
    #[expect(dead_code, reason = "for those who read the file")]
    pub description: Option<Text>,
}

/// A text of any spelling, or a map.
struct TextOr<T>(&'static str, fn(String) -> T);

impl<'de, T: FromMap<'de>> Visitor<'de> for TextOr<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok((self.1)(text.to_owned()))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, spelled: A) -> Result<T, A::Error> {
        Spelling(self.0).visit_enum(spelled).map(self.1)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::from_map(map)
    }
}

trait FromMap<'de>: Sized {
    fn from_map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;
}

impl<'de> FromMap<'de> for Include {
    fn from_map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        IncludedFile::deserialize(MapAccessDeserializer::new(map)).map(Self::File)
    }
}

impl<'de> FromMap<'de> for WorkflowOutput {
    fn from_map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        DescribedOutput::deserialize(MapAccessDeserializer::new(map)).map(Self::Described)
    }
}

impl<'de> Deserialize<'de> for Include {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOr("a path, or a map with `file` and `prefix`", Self::Path))
    }
}

impl<'de> Deserialize<'de> for WorkflowOutput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOr("a value, or a map with `value` and `description`", Self::Value))
    }
}

impl JsonSchema for Include {
    fn schema_name() -> Cow<'static, str> {
        "Include".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let file = generator.subschema_for::<IncludedFile>();
        json_schema!({ "anyOf": [{ "type": "string" }, file] })
    }
}

impl JsonSchema for WorkflowOutput {
    fn schema_name() -> Cow<'static, str> {
        "WorkflowOutput".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let described = generator.subschema_for::<DescribedOutput>();
        json_schema!({ "anyOf": [{ "type": ["string", "number", "boolean"] }, described] })
    }
}
