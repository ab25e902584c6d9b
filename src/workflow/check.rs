//! The meaning of a file: from its positioned tree to the checked [`Workflow`], with every problem on the way. This
//! part does the top level; `check_inputs`, `check_worktrees`, `check_graph`, `check_node` and `check_scope` do the
//! rest. Cycles are not looked for here: `plan` finds them and names the path.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::de::DeserializeOwned;

use super::check_agents::Agents;
use super::check_expr::{Expressions, Seen};
use super::check_include::{self, Unit};
use super::check_names;
use super::check_scope::World;
use super::contract::Contract;
use super::expr::Template;
use super::expr::types::Type;
use super::file::{self, Defaults};
use super::file_values::{Jobs as JobsValue, Text};
use super::files::{Files, Used};
use super::foreign;
use super::keys::{self, Shape};
use super::model::{Action, Input, Jobs, Node, Setup, Source, Workflow};
use super::problem::{Problem, Severity, Span};
use super::read::{self, Piece};
use super::schema::Step;
use super::yaml::{Entry, Kind, Yaml, shorten};
use crate::name;

/// One node as read: names and expressions not yet looked into.
pub(super) struct Draft<'y, 'a> {
    pub name: String,
    pub span: Span,
    pub file: file::Node,
    pub yaml: read::Part<'y, 'a>,
    /// The same before wrong keys were taken away.
    pub whole: &'y Yaml<'a>,
    /// It could not be read, and a problem says so.
    pub broken: bool,
    /// The file it is in.
    pub unit: &'y Unit<'y>,
    /// Position of that file among those of the workflow.
    pub unit_at: usize,
    pub used: UsedFile,
}

/// The workflow in the place of a node.
pub(super) enum UsedFile {
    None,
    /// There is one in the file, and a problem says why it is not here.
    Broken,
    Checked(Rc<Used>),
}

/// A map of environment variables, with the places of its values.
pub(super) type Env = IndexMap<String, (Template, Span)>;

/// `defaults`, with its environment compiled.
#[derive(Default)]
pub(super) struct CheckedDefaults {
    pub file: Defaults,
    pub env: Env,
    pub workspace_span: Span,
}

/// The work of checking one workflow.
pub(super) struct Check<'s> {
    pub problems: Vec<Problem>,
    pub expressions: Expressions,
    pub files: &'s Files<'s>,
    /// Inputs whose declaration could not be read: they exist all the same.
    pub broken_inputs: Vec<String>,
    pub agents: Agents,
    /// Schemas that are sound, by their text: anchors repeat them.
    pub contracts: HashMap<String, Arc<Contract>>,
}

/// What became of a file.
pub(super) struct Checked {
    /// As far as it could be understood: with an error among the problems, it is good for finding further ones only.
    /// Where there is none, there is an error.
    pub workflow: Option<Workflow>,
    pub problems: Vec<Problem>,
    /// Types of its outputs.
    pub outputs: Vec<(String, Type)>,
    pub broken_inputs: Vec<String>,
}

/// Checks a tree, and those that it includes and uses.
pub(super) fn check(files: &Files<'_>, source: &Arc<Source>, root: &Yaml<'_>) -> Checked {
    let mut check = Check::new(files, Expressions::default());
    let (workflow, outputs) = check.file(source, root).unzip();
    Checked {
        workflow,
        problems: check.problems,
        outputs: outputs.unwrap_or_default(),
        broken_inputs: check.broken_inputs,
    }
}

/// What the expression that holds `mark` may read, as far as the file around it can be understood.
pub(super) fn names_at(
    files: &Files<'_>,
    source: &Arc<Source>,
    root: &Yaml<'_>,
    mark: &'static str,
) -> Option<Seen> {
    let mut expressions = Expressions::default();
    expressions.watch(mark);
    let mut check = Check::new(files, expressions);
    check.file(source, root);
    check.expressions.seen()
}

impl<'s> Check<'s> {
    fn new(files: &'s Files<'s>, expressions: Expressions) -> Self {
        Self {
            problems: Vec::new(),
            expressions,
            files,
            broken_inputs: Vec::new(),
            agents: Agents::new(),
            contracts: HashMap::new(),
        }
    }
}

impl Check<'_> {
    fn file(&mut self, source: &Arc<Source>, root: &Yaml<'_>) -> Option<(Workflow, Vec<(String, Type)>)> {
        if !matches!(root.kind, Kind::Map(_)) {
            self.problems.push(not_a_map(root));
            return None;
        }
        if let Some(problem) = foreign::recognise(root) {
            self.problems.push(problem);
            return None;
        }
        let included = self.included(source, root);
        let units = check_include::units(source, root, &included);
        self.expressions.sources = units.iter().map(|unit| unit.source.clone()).collect();
        for unit in &units {
            self.top_keys(unit.root);
            self.version(unit.root);
        }
        let name = self.workflow_name(root, &source.path);
        let description = self.text(root, "description").unwrap_or_default();
        let inputs = self.all_inputs(&units);
        let drafts = self.drafts(&units);
        let indexes = check_include::indexes(&included, &drafts);
        let mut world = World::new(&inputs, &self.broken_inputs, &indexes, &drafts);
        let env = self.all_env(&units, &world);
        world.set_env(units.iter().flat_map(|unit| unit.root.get("env").map_or(&[][..], Yaml::entries)));
        let defaults: Vec<CheckedDefaults> =
            units.iter().map(|unit| self.defaults(unit.root, &world)).collect();
        units.iter().for_each(|unit| self.agents(unit.root, &world));
        let stages = self.stages(Self::staged(&units));
        let links = self.links(&drafts, &indexes);
        let placed = self.place_in_stages(&drafts, &links, &stages);
        let result = self.result(root, &world);
        let worktrees = self.worktrees(root, &world);
        let (outputs, types) = self.workflow_outputs(root, &world);
        let nodes = drafts.iter().enumerate().map(|(at, draft)| {
            let defaults = &defaults[draft.unit_at];
            (draft.name.clone(), self.node(draft, &links.of(at), placed[at], defaults, &world))
        });
        let mut nodes: IndexMap<_, _> = nodes.collect();
        if let Some(setup) = &worktrees.setup {
            read_by_setup(setup, &mut nodes);
        }
        if self.problems.iter().all(|problem| problem.severity != Severity::Error) {
            // What is wrong may be the very place that reads an input.
            self.unused_inputs(&inputs);
            self.advise(&drafts, &nodes, &stages);
            self.unseen_reads(&drafts, &nodes, &worktrees.sparse);
        }
        let (pass_env, secrets) = self.copied_variables(&units, &drafts);
        let workflow = Workflow {
            source: source.clone(),
            name,
            description,
            inputs,
            env: without_places(env),
            pass_env,
            secrets,
            stages: stages.into_iter().map(|(name, _)| name).collect(),
            jobs: self.jobs(root),
            worktrees,
            result,
            sources: sources(&units, &nodes),
            nodes,
            outputs,
        };
        Some((workflow, types))
    }

    /// Keys of the top level; those of the maps inside are checked with their pieces.
    fn top_keys(&mut self, root: &Yaml<'_>) {
        // A place of the author's own, to give anchors to.
        for entry in root.entries().iter().filter(|entry| !entry.key.starts_with("x-")) {
            if !keys::FILE.fields.contains(&entry.key.as_ref()) {
                self.problems.push(read::unknown_key(entry, &keys::FILE));
            } else if entry.value.is_null() && entry.key != "nodes" {
                self.problems.push(read::no_value(entry));
            }
        }
    }

    /// A top-level value.
    pub fn top<'y, 'a, T: DeserializeOwned>(
        &mut self,
        root: &'y Yaml<'a>,
        key: &str,
    ) -> Option<Piece<'y, 'a, T>> {
        let yaml = root.get(key).filter(|value| !value.is_null())?;
        let shape: Option<&Shape> =
            keys::FILE.nested.iter().find(|(name, _)| *name == key).and_then(|(_, nest)| match nest {
                keys::Nest::One(shape) => Some(&***shape),
                keys::Nest::Each(_) => None,
            });
        read::piece(yaml, &[Step::Key(key)], key_span(root, key), shape, &mut self.problems)
    }

    fn text(&mut self, root: &Yaml<'_>, key: &str) -> Option<String> {
        self.top::<Text>(root, key).map(|piece| piece.value.0)
    }

    fn version(&mut self, root: &Yaml<'_>) {
        match self.top::<u64>(root, "version") {
            Some(Piece { value: 1, .. }) => {}
            Some(Piece { value, yaml }) => self.problems.push(
                Problem::error(
                    "spb::version::unknown",
                    yaml.span,
                    format!("this version of spb reads version 1 of the language, not {value}"),
                )
                .label("unknown version")
                .help("write `version: 1`, or use a newer spb"),
            ),
            None if root.get("version").is_some() => {}
            None => self.problems.push(
                Problem::error(
                    "spb::key::missing",
                    start_of(root),
                    "a workflow says which version of the language it is written in",
                )
                .label("no `version` in this file")
                .help("add `version: 1` as the first line"),
            ),
        }
    }

    /// The name, or one made of the file's.
    fn workflow_name(&mut self, root: &Yaml<'_>, path: &Path) -> String {
        let Some(piece) = self.top::<Text>(root, "name") else { return name_of_file(path) };
        let name = piece.value.0;
        if name::check_workflow(&name).is_err() {
            let problem = Problem::error(
                "spb::name::invalid",
                piece.yaml.span,
                format!(
                    "{:?} is not the name of a workflow: at most {} characters of `a-z`, `0-9` and `-`, the first no `-`",
                    shorten(&name),
                    name::MAX_NAME
                ),
            );
            let better = kebab(&name);
            self.problems.push(match better.is_empty() {
                true => problem.label("not a name"),
                false => problem.label("not a name").help(format!("for example `name: {better}`")),
            });
        }
        name
    }

    /// The nodes of all files, those of included ones first.
    fn drafts<'y>(&mut self, units: &'y [Unit<'y>]) -> Vec<Draft<'y, 'y>> {
        let mut drafts = Vec::new();
        let mut places: HashMap<String, Span> = HashMap::new();
        for (unit_at, unit) in units.iter().enumerate().skip(1).chain(units.iter().enumerate().take(1)) {
            for entry in self.node_entries(unit.root) {
                let draft = self.draft(entry, unit, unit_at);
                // In one file, no key is there twice.
                if units.len() > 1
                    && let Some(first) = places.insert(draft.name.clone(), draft.span)
                {
                    self.clash(&draft.name, first, draft.span);
                    continue;
                }
                drafts.push(draft);
            }
        }
        drafts
    }

    fn node_entries<'y, 'a>(&mut self, root: &'y Yaml<'a>) -> &'y [Entry<'a>] {
        let Some(nodes) = root.get("nodes") else {
            if root.get("include").is_none() {
                self.problems.push(
                    Problem::error("spb::key::missing", start_of(root), "a workflow has nodes")
                        .label("no `nodes` in this file")
                        .help("add `nodes: { hello: { run: echo hello } }`"),
                );
            }
            return &[];
        };
        if nodes.entries().is_empty() {
            let span = if nodes.span.end > nodes.span.start { nodes.span } else { key_span(root, "nodes") };
            let message = match &nodes.kind {
                Kind::Map(_) => "`nodes` holds no node".to_owned(),
                Kind::Scalar(_) | Kind::List(_) => {
                    format!("`nodes` takes a map of nodes, not {}", nodes.describe())
                }
            };
            self.problems.push(
                Problem::error("spb::nodes::empty", span, message)
                    .label("no nodes")
                    .help("nodes have names: `nodes: { hello: { run: echo hello } }`"),
            );
        }
        nodes.entries()
    }

    /// A node that cannot be read is kept without content: its name may well be needed.
    fn draft<'y>(&mut self, entry: &'y Entry<'y>, unit: &'y Unit<'y>, unit_at: usize) -> Draft<'y, 'y> {
        self.name("a node", &entry.key, entry.key_span);
        let place = [Step::Key("nodes"), Step::Key(&entry.key)];
        let piece = match entry.value.is_null() {
            true => {
                self.problems.push(read::no_value(entry).help("say what it does: `run: cargo test`"));
                None
            }
            false => read::piece(&entry.value, &place, entry.key_span, Some(&keys::NODE), &mut self.problems),
        };
        let broken = piece.is_none();
        let Piece { mut value, yaml } = piece
            .unwrap_or_else(|| Piece { value: file::Node::default(), yaml: read::Part::Whole(&entry.value) });
        self.only_uses(&mut value, &yaml);
        let used = self.used_file(&value, &yaml, unit);
        let name = self.full_name(unit, &entry.key, entry.key_span);
        let whole = &entry.value;
        Draft { name, span: entry.key_span, file: value, yaml, whole, broken, unit, unit_at, used }
    }

    /// Checks a name of the language.
    pub fn name(&mut self, what: &str, text: &str, span: Span) {
        if let Err(error) = name::check(text) {
            self.problems.push(check_names::invalid(what, text, span, &error));
        }
    }

    fn defaults(&mut self, root: &Yaml<'_>, world: &World<'_>) -> CheckedDefaults {
        let Some(piece) = self.top::<Defaults>(root, "defaults") else { return CheckedDefaults::default() };
        let names = world.run_level("`defaults`");
        let env = match (&piece.value.env, piece.yaml.get("env")) {
            (Some(values), Some(yaml)) => self.env_values(values, yaml, || &names),
            _ => Env::new(),
        };
        let workspace_span = piece.yaml.get("workspace").map(|yaml| yaml.span).unwrap_or_default();
        CheckedDefaults { file: piece.value, env, workspace_span }
    }

    /// The stages with their places; `main` when the file names none.
    fn stages(&mut self, root: &Yaml<'_>) -> Vec<(String, Span)> {
        let mut stages: IndexMap<String, Span> = IndexMap::new();
        if let Some(piece) = self.top::<Vec<Text>>(root, "stages") {
            for (item, Text(stage)) in piece.yaml.items().iter().zip(piece.value) {
                self.name("a stage", &stage, item.span);
                match stages.get(&stage) {
                    Some(first) => self.problems.push(check_names::twice("stage", &stage, item.span, *first)),
                    None => drop(stages.insert(stage, item.span)),
                }
            }
            if stages.is_empty() && piece.yaml.items().is_empty() {
                self.problems.push(
                    Problem::error("spb::stage::none", piece.yaml.span, "`stages` names at least one stage")
                        .label("empty")
                        .help("remove the key: a workflow without stages has one, `main`"),
                );
            }
        }
        if stages.is_empty() {
            stages.insert("main".to_owned(), Span::default());
        }
        stages.into_iter().collect()
    }

    fn jobs(&mut self, root: &Yaml<'_>) -> Jobs {
        match self.top::<file::Limits>(root, "limits").and_then(|piece| piece.value.jobs) {
            Some(JobsValue::Count(count)) => Jobs::Count(usize::try_from(count).unwrap_or(usize::MAX)),
            Some(JobsValue::Auto) | None => Jobs::Auto,
        }
    }

    fn unused_inputs(&mut self, inputs: &IndexMap<String, Input>) {
        for (name, input) in inputs {
            if !self.expressions.reads_input(name) {
                self.problems.push(
                    Problem::warning(
                        "spb::input::unused",
                        input.span,
                        format!("nothing reads the input `{name}`"),
                    )
                    .label("never read")
                    .help(format!(
                        "give it to a node: `env: {{ {}: \"${{{{ inputs.{name} }}}}\" }}`",
                        check_names::as_variable(name)
                    )),
                );
            }
        }
    }
}

/// What a setup made its slot into is part of what the nodes in it depend on.
fn read_by_setup(setup: &Setup, nodes: &mut IndexMap<String, Node>) {
    for node in nodes.values_mut().filter(|node| node.workspace.is_leased()) {
        if let Some(reads) = &mut node.reads {
            reads.extend(setup.reads.iter().cloned());
        }
    }
}

/// Every file of a workflow, each once: its own, those that it includes, and those of the workflows that it uses.
fn sources(units: &[Unit<'_>], nodes: &IndexMap<String, Node>) -> Vec<Arc<Source>> {
    let used = nodes.values().filter_map(|node| match &node.action {
        Action::Workflow(uses) => Some(&uses.workflow),
        Action::Script { .. } | Action::Command { .. } | Action::Approve { .. } => None,
    });
    let mut seen = HashSet::new();
    let mut workflows = HashSet::new();
    let used = used.filter(|workflow| workflows.insert(Arc::as_ptr(workflow)));
    let all = units.iter().map(|unit| unit.source).chain(used.flat_map(|workflow| &workflow.sources));
    all.filter(|source| seen.insert(source.start)).cloned().collect()
}

pub(super) fn without_places(env: Env) -> IndexMap<String, Template> {
    env.into_iter().map(|(name, (template, _))| (name, template)).collect()
}

pub(super) fn key_span(map: &Yaml<'_>, key: &str) -> Span {
    map.entries().iter().find(|entry| entry.key == key).map(|entry| entry.key_span).unwrap_or_default()
}

/// The first key, for problems of the whole file.
fn start_of(root: &Yaml<'_>) -> Span {
    root.entries().first().map_or(root.span, |entry| entry.key_span)
}

pub(super) fn not_a_map(root: &Yaml<'_>) -> Problem {
    let found = if root.is_null() { "nothing".to_owned() } else { root.describe() };
    Problem::error(
        "spb::file::shape",
        Span { start: root.span.start, end: root.span.start },
        format!("a workflow file holds a map of keys, this one holds {found}"),
    )
    .label("here")
    .help("the smallest workflow: `version: 1` and `nodes: { hello: { run: echo hello } }`")
}

/// A workflow name made of a file's: `My Flow.yaml` becomes `my-flow`.
fn name_of_file(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = kebab(&stem);
    if name.is_empty() { "workflow".to_owned() } else { name }
}

fn kebab(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars().take(name::MAX_NAME) {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() => name.push(c),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    name.trim_end_matches('-').to_owned()
}
