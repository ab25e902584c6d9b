//! The workflow file as it is written: agents, and where they are asked. Each type reads itself without `untagged`, so that
//! errors keep their place. Knows nothing of meaning; see `check_agents`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, VariantAccess, Visitor};

use super::file_node::OnConflict;
use super::file_values::Text;

/// A command that does a coding agent's work: it is given a prompt, and changes files.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Program and arguments, executed directly without a shell. `${{ prompt }}` is what the agent is asked to do; it is
    /// also in the file `$SPB_PROMPT`. May hold `${{ }}` over `prompt`, `inputs` and `env`.
    #[schemars(extend("minItems" = 1, "examples" = [
        ["claude", "-p", "${{ prompt }}", "--permission-mode", "acceptEdits"], ["./scripts/resolve.sh"]
    ]))]
    pub command: Vec<Text>,
    /// What the agent is for, in a sentence.
    #[schemars(extend("examples" = ["Resolves conflicts by rule."]))]
    #[expect(dead_code, reason = "for readers of the file")]
    pub description: Option<Text>,
}

/// A rule in one word, or an agent that is asked.
#[derive(Debug)]
pub enum ConflictChoice {
    Word(OnConflict),
    Agent(ByAgent),
}

/// An agent settles the lines in conflict.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByAgent {
    /// One of the top-level `agents`, by its name, or with a prompt of its own. It finds the conflicts between markers in
    /// the files that `$SPB_CONFLICTS` lists, and edits those.
    #[schemars(extend("examples" = ["resolver", {"use": "claude", "prompt": "Keep the newer API."}]))]
    pub agent: AgentChoice,
}

/// The name of an agent, or that and what it is asked.
#[derive(Debug)]
pub enum AgentChoice {
    Name(Text),
    Settings(AgentUse),
}

/// Which agent is asked, and what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentUse {
    /// Name of one of the top-level `agents`.
    #[serde(rename = "use")]
    #[schemars(extend("examples" = ["claude"]))]
    pub name: Text,
    /// What it is asked to do. The files in conflict are listed below it. May hold `${{ }}`.
    #[schemars(extend("examples" = ["Keep what both sides meant. ${{ inputs.task }}"]))]
    pub prompt: Option<Text>,
}

impl<'de> Deserialize<'de> for ConflictChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ConflictChoice;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rule or an agent")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<ConflictChoice, E> {
                OnConflict::deserialize(text.into_deserializer()).map(ConflictChoice::Word)
            }
            fn visit_enum<A: EnumAccess<'de>>(self, spelled: A) -> Result<ConflictChoice, A::Error> {
                let (text, value) = spelled.variant::<String>()?;
                value.newtype_variant::<serde::de::IgnoredAny>()?;
                self.visit_str(&text)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ConflictChoice, A::Error> {
                ByAgent::deserialize(MapAccessDeserializer::new(map)).map(ConflictChoice::Agent)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for AgentChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = AgentChoice;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an agent or a map")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<AgentChoice, E> {
                Ok(AgentChoice::Name(Text(text.to_owned())))
            }
            fn visit_enum<A: EnumAccess<'de>>(self, spelled: A) -> Result<AgentChoice, A::Error> {
                let (text, value) = spelled.variant::<String>()?;
                value.newtype_variant::<serde::de::IgnoredAny>()?;
                self.visit_str(&text)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AgentChoice, A::Error> {
                AgentUse::deserialize(MapAccessDeserializer::new(map)).map(AgentChoice::Settings)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for ConflictChoice {
    fn schema_name() -> Cow<'static, str> {
        "ConflictChoice".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let words = generator.subschema_for::<OnConflict>();
        let agent = generator.subschema_for::<ByAgent>();
        json_schema!({ "anyOf": [words, agent] })
    }
}

impl JsonSchema for AgentChoice {
    fn schema_name() -> Cow<'static, str> {
        "AgentChoice".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let settings = generator.subschema_for::<AgentUse>();
        json_schema!({ "anyOf": [{ "type": "string" }, settings] })
    }
}
