//! The workflow file as it is written: the wire types of one node. Their doc comments are the schema, the hover texts
//! of editors and the reference. Knows nothing of meaning; see `check_node`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::file_agent::ConflictChoice;
use super::file_values::{CacheChoice, Items, Json, Matrix, Period, RetryReason, Run, SchemaMap, Text};

/// One step of the work. It says what it does with `run`, `uses` or `approve`, and what it waits for with `needs`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// What the node does: a script (a text, given to `sh -e -c`), or an argument list (`[cargo, test]`), executed
    /// directly without a shell. Scripts are never templated: pass values through `env`. Arguments of a list may
    /// hold `${{ }}`.
    #[schemars(extend("examples" = ["cargo test", ["cargo", "test", "--workspace"]]))]
    pub run: Option<Run>,
    /// Path of another workflow file, from the folder of this one. Its nodes run in the place of this node, in the same
    /// run; its inputs come by `with`, and what it lists under `outputs` are the outputs of this node.
    #[schemars(extend("examples" = ["./lint.yaml", "../shared/release.yaml"]))]
    pub uses: Option<Text>,
    /// Values for the inputs of the workflow in `uses`, by name. They may hold `${{ }}`.
    #[schemars(extend("examples" = [{"depth": 3, "target": "${{ inputs.target }}"}]))]
    pub with: Option<IndexMap<String, Json>>,
    /// Waits for a person instead of running something: the question that is put. `spb approve RUN NODE` or `spb reject
    /// RUN NODE` answers it, or the terminal. Dependents read `needs.<node>.outputs.approved`, `message` and `by`. May
    /// hold `${{ }}`.
    #[schemars(extend("examples" = ["Ship it?", "Deploy ${{ needs.build.outputs.version }} to production?"]))]
    pub approve: Option<Text>,
    /// What the node is for, in a sentence.
    #[schemars(extend("examples" = ["Unit tests of the library."]))]
    pub description: Option<Text>,
    /// Nodes that must succeed first. This node starts from their changes and may read their outputs.
    #[schemars(extend("examples" = [["build"], ["plan", "scout"]], "uniqueItems" = true))]
    pub needs: Option<Vec<Text>>,
    /// Nodes that must have ended first. Order only: no changes, no outputs.
    #[schemars(extend("examples" = [["deploy-docs"]], "uniqueItems" = true))]
    pub after: Option<Vec<Text>>,
    /// Condition for running. `success()` is implied unless it names `success()`, `failure()` or `always()`.
    #[schemars(extend("default" = "success()", "examples" = ["inputs.release", "failure()", "needs.scan.outputs.count != \"0\""]))]
    pub when: Option<Text>,
    /// Runs the node once per combination of these lists. The values are read as `${{ matrix.name }}`. `exclude` leaves
    /// combinations out; `include` adds values to combinations, or combinations.
    #[schemars(extend("examples" = [{"os": ["linux", "macos"], "toolchain": ["stable", "beta"]}]))]
    pub matrix: Option<Matrix>,
    /// Runs the node once per item of a list that may be known only at run time: an output of a need. The item is read
    /// as `${{ item }}`. The outputs arrive at dependents as lists, in the order of the items.
    #[schemars(extend("examples" = ["${{ needs.scan.outputs.files }}", ["unit", "integration"]]))]
    pub for_each: Option<Items>,
    /// Most items that `for_each` may have: with more, the node fails before any of them runs.
    #[schemars(extend("default" = 1000, "minimum" = 1, "maximum" = 100_000, "examples" = [50]))]
    pub max_items: Option<u32>,
    /// Repeats the node until a condition holds. Each round starts from the changes of the last one.
    #[schemars(extend("examples" = [{"until": "loop.last.outputs.todo == \"0\"", "max": 5}]))]
    pub r#loop: Option<Loop>,
    /// Name of the stage, from the top-level `stages`. By default the latest stage among its needs, else the first.
    #[schemars(extend("examples" = ["verify"]))]
    pub stage: Option<Text>,
    /// Further attempts after a failure.
    #[schemars(extend("examples" = [{"max": 2, "delay": "5s", "on": ["timeout", 75]}]))]
    pub retry: Option<Retry>,
    /// How long an attempt may take before its processes are stopped, first politely.
    #[schemars(extend("examples" = ["90s", "10m", "1h30m"]))]
    pub timeout: Option<Period>,
    /// A failure of this node does not fail the run. Dependents are skipped unless they say `when: always()`.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub allow_failure: Option<bool>,
    /// Environment variables. Values may hold `${{ }}`: this is how values reach a script.
    #[schemars(extend("examples" = [{"TASK": "${{ inputs.task }}", "SPEC": "${{ needs.plan.outputs.spec }}"}]))]
    pub env: Option<IndexMap<String, Text>>,
    /// Names of the secrets that this node is given, instead of those under the top-level `secrets`; a name may stand
    /// here alone. `[]` gives none.
    #[schemars(extend("examples" = [["DEPLOY_TOKEN"], []], "uniqueItems" = true))]
    pub secrets: Option<Vec<Text>>,
    /// Words that start the shell of the `run` script; the script follows as the last word.
    #[schemars(extend("default" = ["sh", "-e", "-c"], "examples" = [["bash", "-euo", "pipefail", "-c"]], "minItems" = 1))]
    pub shell: Option<Vec<Text>>,
    /// Directory to run in, relative to the workspace. May hold `${{ }}`.
    #[schemars(extend("default" = ".", "examples" = ["crates/cli"]))]
    pub working_directory: Option<Text>,
    /// Where the node runs.
    #[schemars(extend("default" = "worktree", "examples" = ["readonly"]))]
    pub workspace: Option<Workspace>,
    /// Globs of the repository files that the result depends on: the node runs again only when one of them changed.
    /// By default, every file.
    #[schemars(extend("examples" = [["src/**", "Cargo.*"]]))]
    pub reads: Option<Vec<Text>>,
    /// Globs of the files that the node may change. Anything else that it changes is an error. By default, any file.
    #[schemars(extend("examples" = [["docs/**"]]))]
    pub writes: Option<Vec<Text>>,
    /// Named values that dependents read as `${{ needs.<node>.outputs.<name> }}`. With neither `file`, `out` nor
    /// `stdout`, the node appends a line `name=value` to the file `$SPB_OUTPUT`.
    #[schemars(extend("examples" = [{"version": {}, "report": {"file": "report.json", "format": "json"}}]))]
    pub outputs: Option<IndexMap<String, Output>>,
    /// Globs of files ignored by git that belong to the result: binaries, reports. They are there for nodes that
    /// need this one.
    #[schemars(extend("examples" = [["target/release/spb", "reports/**"]]))]
    pub artifacts: Option<Vec<Text>>,
    /// `false`: the node always runs. A map adds to what decides whether an earlier result is taken.
    #[schemars(extend("default" = true, "examples" = [false, {"ttl": "24h", "tools": ["cargo --version"]}]))]
    pub cache: Option<CacheChoice>,
    /// What running the node does beyond its result. `external` is for a push, a deployment, a message: it always runs,
    /// and at most once. If a crash leaves open whether it happened, `spb resume` asks.
    #[schemars(extend("default" = "local", "examples" = ["external"]))]
    pub effect: Option<Effect>,
    /// What becomes of lines that several `needs` changed, each in its own way, when their results are merged into what
    /// this node starts from.
    #[schemars(extend("default" = "fail", "examples" = ["union", {"agent": "resolver"}]))]
    pub on_conflict: Option<ConflictChoice>,
}

/// Further attempts after a failure.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How many further attempts follow the first.
    #[schemars(extend("minimum" = 0, "maximum" = 100, "examples" = [2]))]
    pub max: u32,
    /// Wait before the second attempt.
    #[schemars(extend("default" = "0s", "examples" = ["5s"]))]
    pub delay: Option<Period>,
    /// The delay is multiplied by this after each attempt.
    #[schemars(extend("default" = 1, "minimum" = 1, "examples" = [2]))]
    pub factor: Option<f64>,
    /// Up to this fraction of the delay is added at random, from 0 to 1.
    #[schemars(extend("default" = 0, "minimum" = 0, "maximum" = 1, "examples" = [0.2]))]
    pub jitter: Option<f64>,
    /// What is worth another attempt: `timeout`, or exit codes. By default, any failure.
    #[schemars(extend("examples" = [["timeout", 75]]))]
    pub on: Option<Vec<RetryReason>>,
    /// A script that runs in the same workspace before each further attempt.
    #[schemars(extend("examples" = ["git clean -fd"]))]
    pub between: Option<Text>,
}

/// Repeats a node until a condition holds.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loop {
    /// Condition that ends the loop, looked at after each round: `loop.last` is the round that has just ended and
    /// `loop.index` its number.
    #[schemars(extend("examples" = ["loop.last.outputs.todo == \"0\"", "size(loop.last.changed_files) == 0"]))]
    pub until: Text,
    /// Most rounds. When the condition does not hold after the last one, the node fails.
    #[schemars(extend("minimum" = 1, "maximum" = 1000, "examples" = [5]))]
    pub max: u32,
}

/// Where a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Workspace {
    /// A git worktree of its own; what the node changes becomes a commit for its dependents.
    Worktree,
    /// A git worktree of its own; changes are thrown away.
    Readonly,
    /// An empty directory, without the repository's files.
    Scratch,
    /// Your own checkout, one node at a time, never cached.
    Repo,
}

/// What running a node does beyond its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Nothing: an earlier result may take its place, and it may run again.
    Local,
    /// Something outside of the repository. Never cached, never run again silently.
    External,
}

/// What becomes of lines that several needs changed, each in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// The node fails before it starts, and the conflict names both needs and every file.
    Fail,
    /// The lines of the need that is named earlier, as `git merge -X ours`.
    Ours,
    /// The lines of the need that is named later, as `git merge -X theirs`.
    Theirs,
    /// The lines of both, as git's merge driver `union`.
    Union,
}

/// A named value that dependents may read.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// A file in the workspace that holds the value.
    #[schemars(extend("examples" = ["target/report.json"]))]
    pub file: Option<Text>,
    /// A file under `$SPB_OUT`, a directory of the node's own outside the worktree.
    #[schemars(extend("examples" = ["files.json"]))]
    pub out: Option<Text>,
    /// What the node prints to its standard output.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub stdout: Option<bool>,
    /// How the value is read.
    #[schemars(extend("default" = "text", "examples" = ["json"]))]
    pub format: Option<OutputFormat>,
    /// A JSON Schema that the value must fit. What it says of types is known to `${{ }}` before anything runs.
    #[schemars(extend("examples" = [
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"type": "object", "required": ["total"], "properties": {"total": {"type": "integer"}}}
    ]))]
    pub schema: Option<SchemaMap>,
}

/// How an output is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// One text, without its last line ends.
    Text,
    /// A list with one text per line.
    Lines,
    /// A JSON value.
    Json,
}

/// What decides whether an earlier result is taken.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// How long a result may be reused.
    #[schemars(extend("examples" = ["24h"]))]
    pub ttl: Option<Period>,
    /// Commands whose output is part of the key: another compiler is another result.
    #[schemars(extend("examples" = [["cargo --version"]]))]
    pub tools: Option<Vec<Text>>,
    /// Further values that are part of the key. They may hold `${{ }}`.
    #[schemars(extend("examples" = [["${{ inputs.task }}"]]))]
    pub extra: Option<Vec<Text>>,
}
