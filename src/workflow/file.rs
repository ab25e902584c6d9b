//! The workflow file as it is written: the wire types of the top level. Their doc comments are the schema, the hover
//! texts of editors and the reference, so each says what the key is for. Knows nothing of meaning; see `check`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::file_agent::Agent;
pub use super::file_node::{Node, Retry, Workspace};
use super::file_reuse::{Include, WorkflowOutput};
use super::file_values::{CacheChoice, Jobs, Json, Period, Text};

/// A workflow: a graph of nodes that run at the same time, each in a git worktree of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("patternProperties" = {
    "^x-": {"description": "A place of your own, which spb does not look at: for values with an anchor that others take."}
}))]
#[schemars(extend("anyOf" = [{"required": ["nodes"]}, {"required": ["include"]}]))]
#[expect(dead_code, reason = "read field by field; the struct is the schema and the list of keys")]
pub struct File {
    /// Version of the workflow language. Always `1`.
    #[schemars(extend("const" = 1, "default" = 1, "examples" = [1]))]
    pub version: u64,
    /// Name of the workflow: lower-case letters, digits and `-`. It becomes part of the branch that a run leaves.
    /// Without it, the file's name is used.
    #[schemars(extend("pattern" = "^[a-z0-9][a-z0-9-]*$", "examples" = ["feature", "release-notes"]))]
    pub name: Option<Text>,
    /// What the workflow is for, in a sentence. Shown by `spb plan`.
    #[schemars(extend("examples" = ["Build, test and document a change."]))]
    pub description: Option<Text>,
    /// Other files whose nodes, inputs and environment become part of this workflow. Paths start from the folder of this
    /// file. With a `prefix`, the node `check` of the file becomes `lint-check`.
    #[schemars(extend("minItems" = 1, "examples" = [["./common.yaml"], [{"file": "./lint.yaml", "prefix": "lint"}]]))]
    pub include: Option<Vec<Include>>,
    /// Typed parameters, given by `spb apply FILE -i name=value` and read as `${{ inputs.name }}`. An input without
    /// `default` must be given.
    #[schemars(extend("examples" = [{"task": {"type": "string", "description": "What to build."}}]))]
    pub inputs: Option<IndexMap<String, Input>>,
    /// Environment variables of every node. Values may hold `${{ }}` over `inputs`.
    #[schemars(extend("examples" = [{"CARGO_TERM_COLOR": "never", "TASK": "${{ inputs.task }}"}]))]
    pub env: Option<IndexMap<String, Text>>,
    /// Names of variables copied from your own environment. Nodes see nothing else of it. Part of every cache key.
    #[schemars(extend("examples" = [["LANG", "RUSTUP_TOOLCHAIN"]]))]
    pub pass_env: Option<Vec<Text>>,
    /// Names of variables copied from your own environment whose values are masked in every log, event and report,
    /// and never stored.
    #[schemars(extend("examples" = [["GITHUB_TOKEN"]]))]
    pub secrets: Option<Vec<Text>>,
    /// Ordered names of stages; a checkpoint is recorded after each. A node's `needs` never point to a later stage.
    #[schemars(extend("examples" = [["plan", "build", "verify"]], "minItems" = 1))]
    pub stages: Option<Vec<Text>>,
    /// What a run may use of the machine.
    #[schemars(extend("examples" = [{"jobs": 4}]))]
    pub limits: Option<Limits>,
    /// The worktrees that nodes run in: where they start from, how many there are, and what they hold beside the files
    /// of the repository.
    #[schemars(extend("examples" = [
        {"base": "origin/main"}, {"setup": "npm ci", "setup_reads": ["package-lock.json"], "copy": [".env"]}
    ]))]
    pub worktrees: Option<Worktrees>,
    /// Settings for every node that does not set them itself.
    #[schemars(extend("examples" = [{"timeout": "10m", "retry": {"max": 2}}]))]
    pub defaults: Option<Defaults>,
    /// Commands that do a coding agent's work, by name: those that nodes ask when changes conflict.
    #[schemars(extend("examples" = [{"claude": {"command": ["claude", "-p", "${{ prompt }}", "--permission-mode", "acceptEdits"]}}]))]
    pub agents: Option<IndexMap<String, Agent>>,
    /// What a successful run leaves: by default a new branch with the changes of all last nodes.
    #[schemars(extend("examples" = [{"branch": "feature/${{ inputs.topic }}", "commits": "squash"}]))]
    pub result: Option<ResultSpec>,
    /// Values that a node which `uses` this workflow has as its outputs: mostly expressions over the outputs of nodes.
    /// Every node of the file can be read here.
    #[schemars(extend("examples" = [{"version": "${{ needs.build.outputs.version }}"}]))]
    pub outputs: Option<IndexMap<String, WorkflowOutput>>,
    /// The nodes of the graph by name. A name holds letters, digits, `_` and `-`. Only a file that includes others may
    /// have none.
    #[schemars(extend("minProperties" = 1, "examples" = [
        {"build": {"run": "cargo build"}, "test": {"needs": ["build"], "run": "cargo test"}}
    ]))]
    pub nodes: Option<IndexMap<String, Node>>,
}

/// A typed parameter of the workflow.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Type of the value. `-i name=value` is read by it: an array as JSON or `a,b,c`.
    #[serde(rename = "type")]
    #[schemars(extend("examples" = ["string"]))]
    pub kind: InputKind,
    /// What the input is for. Shown when it is missing.
    #[schemars(extend("examples" = ["What to build."]))]
    pub description: Option<Text>,
    /// The value when none is given. Without it, the input is required.
    #[schemars(extend("examples" = ["main", 3, true, ["a", "b"]]))]
    pub default: Option<Json>,
    /// The only values that are accepted.
    #[serde(rename = "enum")]
    #[schemars(extend("examples" = [["debug", "release"]], "minItems" = 1))]
    pub allowed: Option<Vec<Json>>,
    /// A regular expression that the whole text must match. For strings.
    #[schemars(extend("examples" = ["[a-z]+-[0-9]+"]))]
    pub pattern: Option<Text>,
    /// Smallest accepted number.
    #[schemars(extend("examples" = [1]))]
    pub minimum: Option<f64>,
    /// Largest accepted number.
    #[schemars(extend("examples" = [10]))]
    pub maximum: Option<f64>,
    /// Type of each item of an array.
    #[schemars(extend("examples" = ["string"]))]
    pub items: Option<InputKind>,
}

/// Type of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// Any text.
    String,
    /// A whole number.
    Integer,
    /// A number, with or without a fraction.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list.
    Array,
    /// A map of names to values.
    Object,
}

/// What a run may use of the machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// How many nodes run at the same time. `auto` chooses by cores, memory and the width of the graph; `spb plan`
    /// explains what it chose.
    #[schemars(extend("default" = "auto", "examples" = ["auto", 4]))]
    pub jobs: Option<Jobs>,
}

/// The worktrees that nodes run in. They are kept between runs and leased to one node at a time.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Worktrees {
    /// Revision that every run starts from: a branch, tag or commit. May hold `${{ }}` over `inputs` and `env`.
    #[schemars(extend("default" = "HEAD", "examples" = ["HEAD", "origin/main", "${{ inputs.base }}"]))]
    pub base: Option<Text>,
    /// How many worktrees nodes have at the same time, over all spb of the repository. Without it, as many as there are
    /// nodes that run.
    #[schemars(extend("minimum" = 1, "examples" = [4]))]
    pub max: Option<u32>,
    /// What is removed before a node gets a worktree: files that are neither tracked nor ignored, or ignored files
    /// (`target/`, `node_modules/`) too.
    #[schemars(extend("default" = "untracked", "examples" = ["all"]))]
    pub clean: Option<Clean>,
    /// Globs of ignored files that stay warm from one node to the next. All other ignored files are then removed before
    /// a node gets the worktree. Without it, ignored files stay as `clean` says.
    #[schemars(extend("examples" = [["target/", "node_modules/"]], "minItems" = 1))]
    pub keep: Option<Vec<Text>>,
    /// Globs of files in your checkout that git does not track, such as `.env`, to copy into every worktree. They never
    /// replace a tracked file and are never part of a result. Their content is part of the cache key.
    #[schemars(extend("examples" = [[".env", "config/local.json"]]))]
    pub copy: Option<Vec<Text>>,
    /// Directories that worktrees hold, for large repositories: everything below them, and the files beside and above
    /// them. The others are left out, and count as unchanged. Part of the cache key. Without it, all files are there.
    #[schemars(extend("examples" = [["packages/web", "tools"]], "minItems" = 1))]
    pub sparse: Option<Vec<Text>>,
    /// A script that makes a new worktree ready. It runs once in each, before its first node, and again when the script
    /// or what `setup_reads` names has changed. The ignored files that it makes stay. When it fails, the node fails.
    #[schemars(extend("examples" = ["npm ci", "./scripts/install.sh"]))]
    pub setup: Option<Text>,
    /// Globs of tracked files that `setup` depends on: it runs again where they have changed.
    #[schemars(extend("examples" = [["package-lock.json"]]))]
    pub setup_reads: Option<Vec<Text>>,
}

/// What is removed before a node gets a worktree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Clean {
    /// Files that are neither tracked nor ignored.
    Untracked,
    /// These and all ignored files.
    All,
}

/// Settings for every node that does not set them itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Words that start the shell of `run` scripts; the script follows as the last word.
    #[schemars(extend("default" = ["sh", "-e", "-c"], "examples" = [["bash", "-euo", "pipefail", "-c"]], "minItems" = 1))]
    pub shell: Option<Vec<Text>>,
    /// How long an attempt may take before its processes are stopped.
    #[schemars(extend("examples" = ["90s", "10m", "1h30m"]))]
    pub timeout: Option<Period>,
    /// Further attempts after a failure.
    #[schemars(extend("examples" = [{"max": 2, "delay": "5s"}]))]
    pub retry: Option<Retry>,
    /// Whether results are taken from the cache, and what else their key holds.
    #[schemars(extend("default" = true, "examples" = [false, {"ttl": "24h"}]))]
    pub cache: Option<CacheChoice>,
    /// Where nodes run.
    #[schemars(extend("default" = "worktree", "examples" = ["readonly"]))]
    pub workspace: Option<Workspace>,
    /// Environment variables of every node; a node's own `env` wins.
    #[schemars(extend("examples" = [{"CI": "true"}]))]
    pub env: Option<IndexMap<String, Text>>,
}

/// What a successful run leaves in the repository.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResultSpec {
    /// Nodes whose changes are merged. By default, the nodes that no other node needs.
    #[schemars(extend("examples" = [["build", "document"]]))]
    pub from: Option<Vec<Text>>,
    /// Name of the branch. May hold `${{ }}` over `inputs` and `run`.
    #[schemars(extend("default" = "spb/${{ run.workflow }}/${{ run.id }}", "examples" = ["feature/${{ inputs.topic }}"]))]
    pub branch: Option<Text>,
    /// Commit message. May hold `${{ }}` over `inputs` and `run`.
    #[schemars(extend("examples" = ["Add ${{ inputs.topic }}"]))]
    pub message: Option<Text>,
    /// Whether the branch holds one commit or those of the nodes.
    #[schemars(extend("default" = "squash", "examples" = ["keep"]))]
    pub commits: Option<Commits>,
    /// Whether the result is also merged into the branch that is checked out.
    #[schemars(extend("default" = "none", "examples" = ["current"]))]
    pub into: Option<IntoBranch>,
}

/// Whether the branch holds one commit or those of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Commits {
    /// One commit with everything.
    Squash,
    /// The commits of the nodes, merged.
    Keep,
}

/// Whether the result is also merged into the branch that is checked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IntoBranch {
    /// Your checkout is not touched.
    None,
    /// Your current branch is moved forward, if your checkout is clean.
    Current,
}
