//! The checked workflow: what the rest of the program works with. Knows nothing of YAML or of how it was written;
//! spans are kept only so that later problems can still point at the file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::contract::Contract;
use super::expr::{Condition, Template};
use super::problem::Span;

/// A workflow file that passed every check of `workflow::check`.
#[derive(Debug)]
pub struct Workflow {
    pub source: Arc<Source>,
    pub name: String,
    pub description: String,
    pub inputs: IndexMap<String, Input>,
    /// Strings given to every node.
    pub env: IndexMap<String, Template>,
    pub pass_env: Vec<String>,
    /// Names of the secrets of every node that does not list its own.
    pub secrets: Vec<String>,
    /// Never empty: `main` when the file names none.
    pub stages: Vec<String>,
    pub jobs: Jobs,
    pub worktrees: Worktrees,
    pub result: ResultSpec,
    /// In file order, those of included files first.
    pub nodes: IndexMap<String, Node>,
    /// What a node that uses this workflow has as its outputs: expressions over `inputs`, `env`, `run` and the `needs`
    /// of every node.
    pub outputs: IndexMap<String, Template>,
    /// Every file that was read for it, each once: its own first, then those that it includes and uses.
    pub sources: Vec<Arc<Source>>,
}

impl Workflow {
    /// The workflow itself and everything that it uses, however deep, each once.
    pub fn with_used(&self) -> Vec<&Workflow> {
        let mut found: Vec<&Workflow> = vec![self];
        let mut seen: HashSet<*const Workflow> = HashSet::new();
        let mut at = 0;
        while let Some(workflow) = found.get(at).copied() {
            at += 1;
            let used = workflow.nodes.values().filter_map(|node| match &node.action {
                Action::Workflow(uses) => Some(&*uses.workflow),
                Action::Script { .. } | Action::Command { .. } | Action::Approve { .. } => None,
            });
            found.extend(used.filter(|used| seen.insert(std::ptr::from_ref(*used))));
        }
        found
    }

    /// Whether some node may have files of the repository.
    pub fn sees_files(&self) -> bool {
        self.nodes.values().any(|node| {
            matches!(node.action, Action::Workflow(_)) || (node.workspace.is_leased() && !node.is_gate())
        })
    }

    /// Names under `secrets`, those of nodes and of used workflows included, each once.
    pub fn all_secrets(&self) -> Vec<&str> {
        each_once(self.with_used().into_iter().flat_map(Workflow::listed_secrets))
    }

    fn listed_secrets(&self) -> impl Iterator<Item = &String> {
        self.secrets.iter().chain(self.nodes.values().filter_map(|node| node.secrets.as_ref()).flatten())
    }

    /// Names of the secrets that a node of this workflow is given.
    pub fn secrets_of<'w>(&'w self, node: &'w Node) -> &'w [String] {
        node.secrets.as_ref().unwrap_or(&self.secrets)
    }

    /// Names under `pass_env`, those of used workflows included, each once.
    pub fn all_pass_env(&self) -> Vec<&str> {
        each_once(self.with_used().into_iter().flat_map(|workflow| &workflow.pass_env))
    }
}

fn each_once<'n>(names: impl Iterator<Item = &'n String>) -> Vec<&'n str> {
    let mut seen = HashSet::new();
    names.map(String::as_str).filter(|name| seen.insert(*name)).collect()
}

/// The text of one file.
#[derive(Debug)]
pub struct Source {
    /// The path as the user named it; that of an included or used file is found from there.
    pub path: PathBuf,
    pub text: String,
    /// Where its bytes begin among all files that were read together, so that a span says which file it means: 0 for
    /// the first.
    pub start: usize,
}

impl Source {
    /// A file that is read alone.
    pub fn new(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), text, start: 0 }
    }

    /// Whether a span points into this file.
    pub fn holds(&self, span: Span) -> bool {
        (self.start..=self.start + self.text.len()).contains(&span.start)
    }

    /// A span of this file, in bytes of its own text.
    pub fn own(&self, span: Span) -> Span {
        Span { start: span.start.saturating_sub(self.start), end: span.end.saturating_sub(self.start) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    Auto,
    Count(usize),
}

/// The slots in which nodes run.
#[derive(Debug)]
pub struct Worktrees {
    /// Revision that runs start from, `HEAD` when the file says nothing.
    pub base: Template,
    /// Most slots that are leased at the same time.
    pub max: Option<usize>,
    pub ignored: Ignored,
    /// Globs of files of the user's checkout that git does not track, brought into every slot.
    pub copy: Vec<String>,
    /// Directories of the base that slots hold, with the files beside and above them; none: all.
    pub sparse: Vec<String>,
    pub setup: Option<Setup>,
}

impl Default for Worktrees {
    fn default() -> Self {
        Self {
            base: Template::constant("HEAD"),
            max: None,
            ignored: Ignored::Stay,
            copy: Vec::new(),
            sparse: Vec::new(),
            setup: None,
        }
    }
}

/// What becomes of the files that git ignores when a slot is leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    Stay,
    /// All but those that these globs match go.
    KeepOnly(Vec<String>),
}

/// A script that makes a slot ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    pub script: String,
    /// Globs of the files of the base that decide whether it runs again.
    pub reads: Vec<String>,
}

/// A typed parameter.
#[derive(Clone, Debug)]
pub struct Input {
    pub kind: InputKind,
    /// Type of each item, for arrays that say so.
    pub items: Option<InputKind>,
    /// Without it, the input is required.
    pub default: Option<Value>,
    pub allowed: Option<Vec<Value>>,
    /// A regular expression that the whole text must match.
    pub pattern: Option<String>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub description: String,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    String,
    Integer,
    Number,
    Boolean,
    Array,
    Object,
}

/// One node of the file, before its matrix is expanded, with `defaults` already applied.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    /// Place of the name, for problems that concern the whole node.
    pub span: Span,
    pub description: String,
    /// Index into `Workflow::stages`.
    pub stage: usize,
    pub action: Action,
    pub needs: Vec<Reference>,
    pub after: Vec<Reference>,
    pub when: Condition,
    /// Empty for a node without one.
    pub matrix: Matrix,
    pub for_each: Option<ForEach>,
    pub repeat: Option<Loop>,
    pub retry: Retry,
    pub timeout: Option<Duration>,
    pub allow_failure: bool,
    pub env: IndexMap<String, Template>,
    /// `None`: those of the workflow.
    pub secrets: Option<Vec<String>>,
    /// Relative to the workspace; `.` when the file says nothing.
    pub working_directory: Template,
    pub workspace: Workspace,
    /// `None`: the result depends on every file.
    pub reads: Option<Vec<String>>,
    /// `None`: it may change anything.
    pub writes: Option<Vec<String>>,
    pub outputs: IndexMap<String, Output>,
    pub artifacts: Vec<String>,
    pub cache: Cache,
    pub effect: Effect,
    pub on_conflict: OnConflict,
}

/// A node named in `needs` or `after`.
#[derive(Clone, Debug)]
pub struct Reference {
    pub node: String,
    pub span: Span,
}

#[derive(Debug)]
pub enum Action {
    /// `run` as a string, with the words that start its shell: `["sh", "-e", "-c"]` unless the file says otherwise.
    Script { script: String, shell: Vec<String> },
    /// `run` as a list: executed directly.
    Command { words: Vec<Template> },
    /// `uses`: the nodes of another workflow, in the same run.
    Workflow(Uses),
    /// Nothing runs: a person is asked.
    Approve { message: Template },
}

/// Another workflow in the place of a node.
#[derive(Clone, Debug)]
pub struct Uses {
    pub workflow: Arc<Workflow>,
    /// Values of its inputs, which read what the node may read. What is absent has a default.
    pub with: IndexMap<String, Template>,
    /// Place of the path.
    pub span: Span,
}

/// What a person's answer gives to dependents, with the type of each: the outputs of a gate.
pub const ANSWER: [(&str, AnswerType); 3] =
    [("approved", AnswerType::Bool), ("message", AnswerType::Text), ("by", AnswerType::Text)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerType {
    Bool,
    Text,
}

impl Node {
    /// The names of its outputs: those that it declares, those of the workflow that it uses, or those of a person's answer.
    pub fn output_names(&self) -> Vec<&str> {
        match &self.action {
            Action::Approve { .. } => ANSWER.iter().map(|(name, _)| *name).collect(),
            Action::Workflow(uses) => uses.workflow.outputs.keys().map(String::as_str).collect(),
            Action::Script { .. } | Action::Command { .. } => {
                self.outputs.keys().map(String::as_str).collect()
            }
        }
    }

    /// Whether it asks a person instead of running something.
    pub fn is_gate(&self) -> bool {
        matches!(self.action, Action::Approve { .. })
    }
}

/// The lists whose combinations are instances, and the exceptions.
#[derive(Debug, Default)]
pub struct Matrix {
    /// In file order.
    pub axes: IndexMap<String, Axis>,
    /// Combinations with all the values of one of these are not run.
    pub exclude: Vec<Map<String, Value>>,
    /// Further values for the combinations they fit to, or combinations of their own.
    pub include: Vec<Map<String, Value>>,
}

impl Matrix {
    pub fn is_empty(&self) -> bool {
        self.axes.is_empty() && self.include.is_empty()
    }

    /// What an instance reads as `matrix`: a name that its combination does not have is `null`.
    pub fn values(&self, combination: &Map<String, Value>) -> Map<String, Value> {
        let names = self.axes.keys().chain(self.include.iter().flat_map(Map::keys));
        let mut values = combination.clone();
        for name in names {
            values.entry(name).or_insert(Value::Null);
        }
        values
    }
}

#[derive(Debug)]
pub enum Axis {
    Values(Vec<Value>),
    /// An expression over `inputs` that yields a list.
    Expression(Template),
}

/// A list whose items are known when the node's needs have ended: one instance each.
#[derive(Debug)]
pub struct ForEach {
    pub items: Axis,
    /// With more of them the node fails.
    pub max: usize,
}

/// Rounds of a node, each from what the last one left.
#[derive(Debug)]
pub struct Loop {
    pub until: Condition,
    pub max: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Further attempts after the first; 0 for none.
    pub max: u32,
    pub delay: Duration,
    /// The delay is multiplied by this after each attempt.
    pub factor: f64,
    /// Up to this fraction of the delay is added at random, 0 to 1.
    pub jitter: f64,
    /// What is worth another attempt; empty means any failure of the process.
    pub on: Vec<RetryOn>,
    /// A script run in the same workspace before each further attempt.
    pub between: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    Timeout,
    ExitCode(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workspace {
    /// Leased, changes captured.
    Worktree,
    /// Leased, changes thrown away.
    Readonly,
    /// An empty directory; the repository's files are not there and not part of the key.
    Scratch,
    /// The user's own checkout, one node at a time; never cached.
    Repo,
}

impl Workspace {
    /// Whether a node works in a slot.
    pub fn is_leased(self) -> bool {
        match self {
            Self::Worktree | Self::Readonly => true,
            Self::Scratch | Self::Repo => false,
        }
    }
}

/// What running a node does beyond its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it may be left out where its result is known, and repeated.
    Local,
    /// Something in the world: never cached, never repeated without a person's word.
    External,
}

/// What becomes of lines that several needs changed, each in its own way.
#[derive(Clone, Debug)]
pub enum OnConflict {
    Fail,
    /// The earlier need's lines.
    Ours,
    /// The later need's lines.
    Theirs,
    /// The lines of both.
    Union,
    Agent(Settler),
}

impl OnConflict {
    /// As the file spells it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Ours => "ours",
            Self::Theirs => "theirs",
            Self::Union => "union",
            Self::Agent(_) => "agent",
        }
    }
}

/// An agent that settles conflicts.
#[derive(Clone, Debug)]
pub struct Settler {
    /// Among the workflow's `agents`.
    pub name: String,
    /// Program and arguments, over `prompt`, `inputs` and `env`.
    pub command: Vec<Template>,
    /// What it is asked; `None` for the usual words.
    pub prompt: Option<Template>,
}

/// A named value that dependents may read.
#[derive(Clone, Debug)]
pub struct Output {
    pub from: OutputFrom,
    pub format: OutputFormat,
    /// What the value must look like.
    pub contract: Option<Arc<Contract>>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputFrom {
    /// A file in the workspace.
    File(String),
    /// A file under `$SPB_OUT`.
    Out(String),
    Stdout,
    /// A `name=value` line in `$SPB_OUTPUT`.
    Line,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    Text,
    Lines,
    Json,
}

#[derive(Debug)]
pub struct Cache {
    pub enabled: bool,
    pub ttl: Option<Duration>,
    /// Commands whose output is part of the key, such as `cargo --version`.
    pub tools: Vec<String>,
    pub extra: Vec<Template>,
}

#[derive(Debug)]
pub struct ResultSpec {
    /// Nodes whose results are merged; empty means the leaves.
    pub from: Vec<Reference>,
    pub branch: Template,
    pub message: Template,
    pub commits: Commits,
    pub into: Into,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commits {
    Squash,
    Keep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Into {
    None,
    Current,
}
