//! Which keys each map of the file may hold: those of its wire type, those that the language has and this version
//! does not, and those that people bring along from other tools. Knows nothing of values.

use std::sync::LazyLock;

use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor, value::Error};
use serde::forward_to_deserialize_any;

use super::{file, file_agent, file_node, file_reuse};

/// The keys of one kind of map.
pub struct Shape {
    /// What the map is, with its article: `a node`.
    pub what: &'static str,
    pub fields: &'static [&'static str],
    /// Part of the language, though not of this version.
    pub later: &'static [&'static str],
    /// Names that other tools use, each with what it is called here.
    pub foreign: &'static [(&'static str, &'static str)],
    /// Fields that hold maps with keys of their own.
    pub nested: Vec<(&'static str, Nest)>,
}

/// How a field holds further maps.
pub enum Nest {
    One(&'static LazyLock<Shape>),
    /// Under any name.
    Each(&'static LazyLock<Shape>),
}

/// The field names that serde knows of a struct: the wire type stays the only list of them.
fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Probe<'f>(&'f mut &'static [&'static str]);
    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = Error;
        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(Error::custom("only structs have fields"))
        }
        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Error> {
            *self.0 = fields;
            Err(Error::custom("only its fields were wanted"))
        }
        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut found: &'static [&'static str] = &[];
    drop(T::deserialize(Probe(&mut found)));
    found
}

pub static FILE: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "a workflow",
    fields: fields::<file::File>(),
    later: &[],
    foreign: &[
        ("jobs", "the steps of the graph are called `nodes`; how many run at once is `limits: { jobs: 4 }`"),
        ("steps", "the steps of the graph are called `nodes`, and each has a name"),
        ("tasks", "the steps of the graph are called `nodes`"),
        ("on", "a workflow is started with `spb apply`; it has no triggers"),
        ("params", "parameters are called `inputs`"),
        ("parameters", "parameters are called `inputs`"),
        ("variables", "variables are called `env`; parameters are called `inputs`"),
        ("environment", "variables are called `env`"),
        ("concurrency", "how many nodes run at once is `limits: { jobs: 4 }`"),
    ],
    nested: vec![
        ("inputs", Nest::Each(&INPUT)),
        ("outputs", Nest::Each(&WORKFLOW_OUTPUT)),
        ("limits", Nest::One(&LIMITS)),
        ("worktrees", Nest::One(&WORKTREES)),
        ("defaults", Nest::One(&DEFAULTS)),
        ("agents", Nest::Each(&AGENT)),
        ("result", Nest::One(&RESULT)),
    ],
});

pub static NODE: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "a node",
    fields: fields::<file_node::Node>(),
    later: &["agent", "resources", "pools", "executor", "memory"],
    foreign: &[
        ("if", "a condition is called `when`"),
        ("steps", "a node does one thing: write one script in `run: |`, or several nodes"),
        ("script", "what a node does is called `run`"),
        ("command", "what a node does is called `run`"),
        ("cmd", "what a node does is called `run`"),
        ("args", "arguments belong to the list in `run: [program, argument]`"),
        ("depends_on", "what a node waits for is called `needs`"),
        ("dependsOn", "what a node waits for is called `needs`"),
        ("deps", "what a node waits for is called `needs`"),
        ("requires", "what a node waits for is called `needs`"),
        ("continue-on-error", "write `allow_failure: true`"),
        ("timeout-minutes", "write `timeout: 10m`"),
        ("timeout_minutes", "write `timeout: 10m`"),
        ("working-directory", "write `working_directory`"),
        ("cwd", "write `working_directory`"),
        ("dir", "write `working_directory`"),
        ("foreach", "write `for_each`"),
        ("with_items", "write `for_each`: the item is `${{ item }}`"),
        ("repeat", "write `loop: { until: CONDITION, max: 5 }`"),
        ("strategy", "write the lists directly under `matrix`"),
        ("runs-on", "a node runs on this machine"),
        ("image", "a node runs on this machine; it may start a container: `run: docker run ...`"),
        ("container", "a node runs on this machine; it may start a container: `run: docker run ...`"),
        ("bash", "what a node does is called `run`"),
        (
            "prompt",
            "hand the prompt to an agent by a command: `run: claude -p \"$PROMPT\"`, with `env: { PROMPT: ... }`",
        ),
        (
            "before_script",
            "write it at the start of `run`; what makes a worktree ready is `worktrees: { setup: ... }`",
        ),
        ("rules", "a condition is called `when`"),
        ("only", "a condition is called `when`"),
        ("except", "a condition is called `when`"),
        ("trigger_rule", "a condition is called `when`: `always()`, `failure()`"),
        ("before", "say it from the other side: that node names this one in `needs` or `after`"),
        ("parallel", "nodes that do not need each other run at once; for one node many times write `matrix`"),
        ("name", "the name of a node is its key; a sentence about it goes into `description`"),
        ("retries", "write `retry: { max: 2 }`"),
        ("environment", "variables are called `env`"),
        ("inputs", "files that the result depends on are called `reads`; values come in by `env`"),
        ("sources", "files that the result depends on are called `reads`"),
        ("generates", "files that the node may change are called `writes`; ignored ones `artifacts`"),
    ],
    nested: vec![
        ("retry", Nest::One(&RETRY)),
        ("loop", Nest::One(&LOOP)),
        ("cache", Nest::One(&CACHE)),
        ("outputs", Nest::Each(&OUTPUT)),
        ("on_conflict", Nest::One(&ON_CONFLICT)),
    ],
});

static INPUT: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "an input",
    fields: fields::<file::Input>(),
    later: &[],
    foreign: &[
        ("required", "an input without `default` is required"),
        ("options", "the accepted values are called `enum`"),
        ("choices", "the accepted values are called `enum`"),
        ("min", "write `minimum`"),
        ("max", "write `maximum`"),
    ],
    nested: vec![],
});

/// An item of `include` that is no path.
pub static INCLUDE: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "an included file",
    fields: fields::<file_reuse::IncludedFile>(),
    later: &[],
    foreign: &[
        ("path", "write `file`"),
        ("uses", "write `file`"),
        ("as", "write `prefix`"),
        (
            "with",
            "an included file shares the inputs of this one; values of its own are for a node with `uses`",
        ),
    ],
    nested: vec![],
});

pub static WORKFLOW_OUTPUT: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "an output of the workflow",
    fields: fields::<file_reuse::DescribedOutput>(),
    later: &[],
    foreign: &[
        ("from", "write `value: ${{ needs.<node>.outputs.<name> }}`"),
        ("file", "write `value`: an output of the workflow is made of outputs of its nodes"),
    ],
    nested: vec![],
});

static LIMITS: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "`limits`",
    fields: fields::<file::Limits>(),
    later: &["memory", "disk_free", "pools", "budget"],
    foreign: &[],
    nested: vec![],
});

static WORKTREES: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "`worktrees`",
    fields: fields::<file::Worktrees>(),
    later: &[],
    foreign: &[
        ("install", "a script that prepares a worktree is called `setup`"),
        ("cache", "ignored files that stay between leases are listed in `keep`"),
        ("paths", "ignored files that stay between leases are listed in `keep`"),
        ("files", "ignored files to bring along are listed in `copy`"),
        ("count", "the most worktrees at a time is `max`"),
    ],
    nested: vec![],
});

static DEFAULTS: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "`defaults`",
    fields: fields::<file::Defaults>(),
    later: &["executor", "resources"],
    foreign: &[],
    nested: vec![("retry", Nest::One(&RETRY)), ("cache", Nest::One(&CACHE))],
});

static RESULT: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "`result`",
    fields: fields::<file::ResultSpec>(),
    later: &[],
    foreign: &[],
    nested: vec![],
});

static RETRY: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "`retry`",
    fields: fields::<file_node::Retry>(),
    later: &[],
    foreign: &[
        ("attempts", "write `max`: how many further attempts follow the first"),
        ("backoff", "write `factor`"),
    ],
    nested: vec![],
});

static LOOP: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "`loop`",
    fields: fields::<file_node::Loop>(),
    later: &[],
    foreign: &[
        ("while", "write `until`: the condition that ends the loop"),
        ("max_iterations", "write `max`"),
        ("times", "write `max`"),
        ("count", "write `max`"),
    ],
    nested: vec![],
});

pub static AGENT: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "an agent",
    fields: fields::<file_agent::Agent>(),
    later: &["model", "args"],
    foreign: &[
        ("run", "what an agent does is called `command`: a program and its arguments"),
        ("cmd", "what an agent does is called `command`: a program and its arguments"),
    ],
    nested: vec![],
});

/// As a map; it may be a word too.
static ON_CONFLICT: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "`on_conflict`",
    fields: fields::<file_agent::ByAgent>(),
    later: &[],
    foreign: &[],
    nested: vec![("agent", Nest::One(&AGENT_USE))],
});

static AGENT_USE: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "`agent`",
    fields: fields::<file_agent::AgentUse>(),
    later: &["prompt_file", "model", "skills", "output_schema", "session", "max_turns", "args"],
    foreign: &[("name", "the agent that is asked is named by `use`")],
    nested: vec![],
});

static CACHE: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "`cache`",
    fields: fields::<file_node::Cache>(),
    later: &[],
    foreign: &[("key", "write `extra`: further values that are part of the key")],
    nested: vec![],
});

static OUTPUT: LazyLock<Shape> = LazyLock::new(|| Shape {
    what: "an output",
    fields: fields::<file_node::Output>(),
    later: &[],
    foreign: &[("path", "write `file`, for a file in the workspace, or `out`, for one under `$SPB_OUT`")],
    nested: vec![],
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_the_wire_types() {
        assert_eq!(INPUT.fields[..3], ["type", "description", "default"]);
        assert!(FILE.fields.contains(&"nodes") && NODE.fields.contains(&"run"));
        for shape in [
            &FILE,
            &NODE,
            &INPUT,
            &INCLUDE,
            &WORKFLOW_OUTPUT,
            &LIMITS,
            &WORKTREES,
            &DEFAULTS,
            &RESULT,
            &RETRY,
            &LOOP,
            &CACHE,
            &OUTPUT,
            &AGENT,
            &ON_CONFLICT,
            &AGENT_USE,
        ] {
            assert!(!shape.fields.is_empty(), "{} has no fields", shape.what);
            for (nested, _) in &shape.nested {
                assert!(shape.fields.contains(nested), "{} has no field {nested}", shape.what);
            }
            for name in shape.later.iter().chain(shape.foreign.iter().map(|(name, _)| name)) {
                assert!(!shape.fields.contains(name), "{} has {name} already", shape.what);
            }
        }
    }
}
