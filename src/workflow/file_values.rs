//! Values of the workflow file that have a shape of their own: a text of any spelling, a duration, `false` or a map.
//! Each reads itself without `untagged`, so that errors keep their place. Knows nothing of meaning.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::file_node::Cache;

/// A text. Numbers and booleans are taken as they are spelled: `1.10` is the text `1.10`, `no` is `no`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

/// A script, or an argument list.
#[derive(Debug)]
pub enum Run {
    Script(String),
    Command(Vec<Text>),
}

/// `auto` or a number of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    Auto,
    Count(u64),
}

/// `true`, `false`, or what the key holds.
#[derive(Clone, Debug)]
pub enum CacheChoice {
    Switch(bool),
    Settings(Cache),
}

/// A list of values, or an expression that yields one.
#[derive(Debug)]
pub enum AxisChoice {
    Values(Vec<Json>),
    Expression(String),
}

/// The items of a `for_each`.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Items(pub AxisChoice);

/// The lists of a matrix by name, and its exceptions under `include` and `exclude`.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Matrix(pub IndexMap<String, AxisChoice>);

/// The names in a matrix that are no lists to combine.
pub const EXCEPTIONS: [&str; 2] = ["include", "exclude"];

impl Matrix {
    pub fn axes(&self) -> impl Iterator<Item = (&String, &AxisChoice)> {
        self.0.iter().filter(|(name, _)| !EXCEPTIONS.contains(&name.as_str()))
    }

    /// The maps under `include` or `exclude`.
    pub fn exceptions(&self, key: &str) -> impl Iterator<Item = &serde_json::Map<String, serde_json::Value>> {
        let list = match self.0.get(key) {
            Some(AxisChoice::Values(values)) => values.as_slice(),
            Some(AxisChoice::Expression(_)) | None => &[],
        };
        list.iter().filter_map(|Json(value)| value.as_object())
    }
}

/// `timeout`, or an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryReason {
    Timeout,
    ExitCode(i32),
}

/// A duration: `500ms`, `90s`, `10m`, `1h30m`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Duration);

/// Any value that JSON can hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Json(pub serde_json::Value);

/// A JSON Schema as it is written: a map.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaMap(pub serde_json::Value);

/// Reads `1h30m` and the like: numbers with a unit each, larger units first.
///
/// # Errors
/// What is wrong with it, in words that follow "... is not a duration: ".
pub fn period(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut rest = text;
    let mut total: u64 = 0;
    let mut last = u64::MAX;
    if rest.is_empty() {
        return Err("it is empty".to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let after = &rest[digits..];
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        if digits == 0 {
            return Err("it starts with a number, as in `90s`".to_owned());
        }
        if unit.is_empty() {
            return Err("it needs a unit: `ms`, `s`, `m`, `h` or `d`".to_owned());
        }
        let number: u64 =
            rest[..digits].parse().map_err(|_| format!("{:?} is not a whole number", &rest[..digits]))?;
        let scale = UNITS.iter().find(|known| known.0 == unit).map(|known| known.1);
        let scale = scale.ok_or_else(|| format!("{unit:?} is not a unit: `ms`, `s`, `m`, `h` or `d`"))?;
        if scale >= last {
            return Err("larger units come first, each once".to_owned());
        }
        last = scale;
        total = number.checked_mul(scale).and_then(|part| total.checked_add(part)).ok_or("it is too long")?;
        rest = next;
    }
    Ok(Duration::from_millis(total))
}

/// The spelling of a scalar, whatever its type. See `Yaml::to_serde` for the tag that carries it.
pub(super) struct Spelling(pub &'static str);

impl<'de> Visitor<'de> for Spelling {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, spelled: A) -> Result<String, A::Error> {
        let (spelling, value) = spelled.variant::<String>()?;
        value.newtype_variant::<serde::de::IgnoredAny>()?;
        Ok(spelling)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Spelling("a text")).map(Self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Spelling("a duration"))?;
        period(&text).map(Self).map_err(|why| Error::custom(format!("{text:?} is not a duration: {why}")))
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Run;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a script or an argument list")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Run, E> {
                Ok(Run::Script(text.to_owned()))
            }
            fn visit_enum<A: EnumAccess<'de>>(self, spelled: A) -> Result<Run, A::Error> {
                Spelling("a script").visit_enum(spelled).map(Run::Script)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Run, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items)).map(Run::Command)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for AxisChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = AxisChoice;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list or an expression")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<AxisChoice, E> {
                Ok(AxisChoice::Expression(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<AxisChoice, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items)).map(AxisChoice::Values)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Jobs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Spelling("`auto` or a number"))?;
        match text.parse() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(count @ 1..=10_000) => Ok(Self::Count(count)),
            _ => Err(Error::custom(format!("{text:?} is neither `auto` nor a number from 1 to 10000"))),
        }
    }
}

impl<'de> Deserialize<'de> for RetryReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Spelling("`timeout` or an exit code"))?;
        match text.parse() {
            _ if text == "timeout" => Ok(Self::Timeout),
            Ok(code @ 1..=255) => Ok(Self::ExitCode(code)),
            _ => Err(Error::custom(format!("{text:?} is neither `timeout` nor an exit code from 1 to 255"))),
        }
    }
}

impl<'de> Deserialize<'de> for CacheChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = CacheChoice;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false` or a map")
            }
            fn visit_enum<A: EnumAccess<'de>>(self, spelled: A) -> Result<CacheChoice, A::Error> {
                let (_, value) = spelled.variant::<String>()?;
                value.newtype_variant::<bool>().map(CacheChoice::Switch)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CacheChoice, A::Error> {
                Cache::deserialize(MapAccessDeserializer::new(map)).map(CacheChoice::Settings)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson).map(Self)
    }
}

impl<'de> Deserialize<'de> for SchemaMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyMap;
        impl<'de> Visitor<'de> for OnlyMap {
            type Value = SchemaMap;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SchemaMap, A::Error> {
                AnyJson.visit_map(map).map(SchemaMap)
            }
        }
        deserializer.deserialize_any(OnlyMap)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = serde_json::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(serde_json::Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        let number = serde_json::Number::from_f64(value);
        number.map(Into::into).ok_or_else(|| Error::custom("infinite numbers have no use here"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.into())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, spelled: A) -> Result<Self::Value, A::Error> {
        let (_, value) = spelled.variant::<String>()?;
        value.newtype_variant::<Json>().map(|json| json.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Json(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = serde_json::Map::new();
        while let Some((key, Json(value))) = map.next_entry::<String, Json>()? {
            object.insert(key, value);
        }
        Ok(object.into())
    }
}

/// Gives a type its place in the schema.
macro_rules! schema {
    ($type:ty, $name:literal, $schema:tt) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

schema!(Text, "Text", { "type": ["string", "number", "boolean"] });
schema!(Json, "Json", {});
schema!(SchemaMap, "SchemaMap", { "type": "object" });
schema!(Period, "Period", { "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$" });
schema!(Jobs, "Jobs", { "anyOf": [{ "enum": ["auto"], "enumDescriptions": ["Chosen by cores, memory and the width of the graph."] }, { "type": "integer", "minimum": 1, "maximum": 10000 }] });
schema!(RetryReason, "RetryReason", {
    "anyOf": [{ "enum": ["timeout"], "enumDescriptions": ["The attempt took longer than the node's `timeout`."] }, { "type": "integer", "minimum": 1, "maximum": 255 }]
});
// The variants say nothing themselves: editors would show their words in place of those of the key.
schema!(Run, "Run", {
    "anyOf": [
        { "type": "string" },
        { "type": "array", "items": { "type": ["string", "number", "boolean"] }, "minItems": 1 }
    ]
});
schema!(Items, "Items", {
    "anyOf": [{ "type": "array" }, { "type": "string", "pattern": "\\$\\{\\{" }]
});
schema!(Matrix, "Matrix", {
    "type": "object",
    "minProperties": 1,
    "properties": {
        "exclude": {
            "description": "Combinations that are not run: those that have all the values of one of these maps.",
            "type": "array",
            "minItems": 1,
            "items": { "type": "object", "minProperties": 1 },
            "examples": [[{ "os": "macos", "toolchain": "beta" }]]
        },
        "include": {
            "description": "Further values for the combinations whose lists' values these maps repeat, or for all if they \
                            repeat none. A map that fits to no combination becomes a combination of its own.",
            "type": "array",
            "minItems": 1,
            "items": { "type": "object", "minProperties": 1 },
            "examples": [[{ "os": "linux", "flags": "--static" }, { "os": "windows", "toolchain": "stable" }]]
        }
    },
    "additionalProperties": {
        "description": "A list of values, or one expression over `inputs` that yields a list.",
        "examples": [["linux", "macos"], "${{ inputs.parts }}"],
        "anyOf": [{ "type": "array", "minItems": 1 }, { "type": "string", "pattern": "\\$\\{\\{" }]
    }
});

impl JsonSchema for CacheChoice {
    fn schema_name() -> Cow<'static, str> {
        "CacheChoice".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let settings = generator.subschema_for::<Cache>();
        json_schema!({ "anyOf": [{ "type": "boolean" }, settings] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, millis) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("1m500ms", 60_500),
            ("0s", 0),
        ] {
            assert_eq!(period(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "1x",
            "1m1h",
            "1s1s",
            "-1s",
            "1.5h",
            "1 h",
            "99999999999999999999s",
            "9999999999999999d",
            "١s",
        ] {
            assert!(period(text).is_err(), "{text} was accepted");
        }
    }
}
