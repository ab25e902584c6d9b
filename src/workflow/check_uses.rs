//! `uses`: another workflow in the place of a node. Its inputs get values of their types, its outputs are what others
//! read of the node. Knows nothing of how the other file is found or run.

use indexmap::IndexMap;

use super::check::{Check, UsedFile};
use super::check_include::Unit;
use super::check_inputs;
use super::check_node::At;
use super::check_scope::{World, input_type};
use super::expr::Template;
use super::expr::types::Type;
use super::file::Node as NodeFile;
use super::file_reuse::{DescribedOutput, WorkflowOutput};
use super::file_values::Text;
use super::files::{Named, Used};
use super::input;
use super::keys;
use super::model::{Action, Input, InputKind, Uses};
use super::problem::{Problem, Span};
use super::read::{self, Piece};
use super::schema::Step;
use super::suggest;
use super::yaml::{Entry, Kind, Yaml, quoted, shorten};

impl Check<'_> {
    /// The workflow that a node uses.
    pub(super) fn used_file(&mut self, node: &NodeFile, yaml: &Yaml<'_>, unit: &Unit<'_>) -> UsedFile {
        let (Some(Text(text)), Some(yaml)) = (&node.uses, yaml.get("uses")) else { return UsedFile::None };
        let named =
            Named { key: "uses", text, span: yaml.span, from: &unit.source.path, through: unit.through };
        match self.files.used(named) {
            Ok(Some(used)) => UsedFile::Checked(used),
            Ok(None) => UsedFile::Broken,
            Err(problem) => {
                self.problems.push(problem);
                UsedFile::Broken
            }
        }
    }

    /// What a node with `uses` does.
    pub(super) fn uses(&mut self, at: &At<'_>) -> Option<Action> {
        let file = &at.draft.file;
        if file.uses.is_none() {
            if file.with.is_some() {
                self.problems.push(
                    Problem::error(
                        "spb::with::unused",
                        at.key_span("with"),
                        "`with` is for a node with `uses`",
                    )
                    .label("given to nothing")
                    .help("a script gets values by `env`; another workflow is named by `uses: ./other.yaml`"),
                );
            }
            return None;
        }
        let with = match &at.draft.used {
            UsedFile::Checked(used) => (used, self.with(at, used)),
            UsedFile::None | UsedFile::Broken => return Some(Action::Command { words: Vec::new() }),
        };
        let (used, with) = with;
        Some(Action::Workflow(Uses { workflow: used.workflow.clone(), with, span: at.span("uses") }))
    }

    /// Refuses the keys that are for what runs here, and not for what stands in the place of a node.
    pub(super) fn only_uses(&mut self, node: &mut NodeFile, yaml: &Yaml<'_>) {
        let Some(uses) = yaml.get("uses").filter(|_| node.uses.is_some()) else { return };
        for entry in yaml.entries() {
            let Some(help) = not_with_uses(node, &entry.key) else { continue };
            self.problems.push(
                Problem::error(
                    "spb::uses::conflict",
                    entry.key_span,
                    format!("`{}` does not go with `uses`: the nodes of the other file run here", entry.key),
                )
                .label("not for this node")
                .also(uses.span, "another workflow")
                .help(help),
            );
        }
    }

    /// The values of the inputs.
    fn with(&mut self, at: &At<'_>, used: &Used) -> IndexMap<String, Template> {
        let mut values = IndexMap::new();
        for entry in at.yaml("with").map_or(&[][..], Yaml::entries) {
            let name = entry.key.as_ref();
            if used.broken_inputs.iter().any(|broken| broken == name) {
                continue;
            }
            let Some(input) = used.workflow.inputs.get(name) else {
                self.problems.push(unknown(entry, used));
                continue;
            };
            if entry.value.is_null() {
                self.problems.push(read::no_value(entry).also(input.span, "declared here"));
                continue;
            }
            let value = match entry.value.text().filter(|text| text.contains("${{")) {
                Some(text) => self.expression(at, entry, text, input),
                None => self.value(entry, input),
            };
            values.insert(name.to_owned(), value);
        }
        self.missing(at, used);
        values
    }

    fn expression(&mut self, at: &At<'_>, entry: &Entry<'_>, text: &str, input: &Input) -> Template {
        let (template, found) =
            self.expressions.typed(text, entry.value.span, || at.names(), &mut self.problems);
        let wanted = input_type(input);
        if !takes(&wanted, &found) {
            let problem = wrong(entry, input, &format!("takes {}, not {found}", takes_word(input)));
            self.problems.push(match convert(input.kind, &found, text) {
                Some(help) => problem.help(help),
                None => problem,
            });
        }
        template
    }

    /// A value without an expression: its rules can be checked here.
    fn value(&mut self, entry: &Entry<'_>, input: &Input) -> Template {
        if let Some(item) = hidden_template(&entry.value) {
            self.problems.push(
                Problem::error(
                    "spb::with::template",
                    item,
                    "an expression inside a list or a map is not evaluated",
                )
                .label("not evaluated here")
                .also(input.span, "the input")
                .help(format!(
                    "make the whole value one expression: `{}: '${{{{ [inputs.a, \"b\"] }}}}'`",
                    shorten(&entry.key)
                )),
            );
            return Template::constant("");
        }
        let checked = check_inputs::typed(input, &entry.value)
            .and_then(|value| input::rules(input, &value).map(|()| value));
        match checked {
            Ok(value) => Template::of_value(value),
            Err(why) => {
                self.problems.push(wrong(entry, input, &why));
                Template::constant("")
            }
        }
    }

    /// Inputs without a default that get no value.
    fn missing(&mut self, at: &At<'_>, used: &Used) {
        let given = at.yaml("with");
        for (name, input) in &used.workflow.inputs {
            // What was removed while it was read has a problem already.
            let is_given = given.is_some_and(|with| with.get(name).is_some());
            if is_given || input.default.is_some() {
                continue;
            }
            let span = if given.is_some() { at.key_span("with") } else { at.span("uses") };
            self.problems.push(
                Problem::error(
                    "spb::with::missing",
                    span,
                    format!("the input `{}` of `{}` gets no value", shorten(name), path(used)),
                )
                .label(format!("no `{}` for it", shorten(name)))
                .also(input.span, "required here")
                .help(format!(
                    "add `with: {{ {}: ... }}`: it takes {}",
                    shorten(name),
                    input::a(input.kind)
                )),
            );
        }
    }

    /// The top-level `outputs`, with their types.
    pub(super) fn workflow_outputs(
        &mut self,
        root: &Yaml<'_>,
        world: &World<'_>,
    ) -> (IndexMap<String, Template>, Vec<(String, Type)>) {
        let (mut outputs, mut types) = (IndexMap::new(), Vec::new());
        let Some(yaml) = root.get("outputs").filter(|value| !value.is_null()) else {
            return (outputs, types);
        };
        if !matches!(yaml.kind, Kind::Map(_)) {
            let place = [Step::Key("outputs")];
            read::piece::<IndexMap<String, WorkflowOutput>>(
                yaml,
                &place,
                yaml.span,
                None,
                &mut self.problems,
            );
        }
        let names = world.outputs();
        for entry in yaml.entries() {
            self.name("an output", &entry.key, entry.key_span);
            let (template, kind) = match self.workflow_output(entry) {
                Some((text, span)) => self.expressions.typed(&text, span, || &names, &mut self.problems),
                None => (Template::constant(""), Type::Any),
            };
            outputs.insert(entry.key.to_string(), template);
            types.push((entry.key.to_string(), kind));
        }
        (outputs, types)
    }

    fn workflow_output(&mut self, entry: &Entry<'_>) -> Option<(String, Span)> {
        if entry.value.is_null() {
            let help = format!("`{}: \"${{{{ needs.<node>.outputs.<name> }}}}\"`", entry.key);
            self.problems.push(read::no_value(entry).help(format!("say where it comes from: {help}")));
            return None;
        }
        let place = [Step::Key("outputs"), Step::Key(&entry.key)];
        let shape = Some(&*keys::WORKFLOW_OUTPUT);
        let Piece { value, yaml } =
            read::piece::<WorkflowOutput>(&entry.value, &place, entry.key_span, shape, &mut self.problems)?;
        Some(match value {
            WorkflowOutput::Value(text) => (text, entry.value.span),
            WorkflowOutput::Described(DescribedOutput { value: Text(text), .. }) => {
                (text, yaml.get("value").map_or(entry.value.span, |value| value.span))
            }
        })
    }
}

/// Takes a key away that a node with `uses` cannot have, and says what to do instead.
fn not_with_uses(node: &mut NodeFile, key: &str) -> Option<&'static str> {
    const THERE: &str = "say it in the used file, of its nodes or under `defaults`";
    match key {
        "run" => node.run = None,
        "env" => node.env = None,
        "secrets" => node.secrets = None,
        "outputs" => node.outputs = None,
        "on_conflict" => node.on_conflict = None,
        "shell" => node.shell = None,
        "working_directory" => node.working_directory = None,
        "workspace" => node.workspace = None,
        "reads" => node.reads = None,
        "writes" => node.writes = None,
        "artifacts" => node.artifacts = None,
        "retry" => node.retry = None,
        "timeout" => node.timeout = None,
        "cache" => node.cache = None,
        "effect" => node.effect = None,
        _ => return None,
    }
    Some(match key {
        "run" => "a node does one thing: make two nodes of it",
        "env" => "hand values on by `with`: the workflow declares them under `inputs`",
        "outputs" => "the outputs of this node are those under `outputs` in the used file",
        "on_conflict" => {
            "let a node before it join the changes: `on_conflict` and `run: \"true\"` with the same `needs`, and need that one"
        }
        _ => THERE,
    })
}

fn path(used: &Used) -> String {
    used.workflow.source.path.display().to_string()
}

fn unknown(entry: &Entry<'_>, used: &Used) -> Problem {
    let inputs = &used.workflow.inputs;
    let names = || inputs.keys().map(String::as_str);
    let problem = Problem::error(
        "spb::with::unknown",
        entry.key_span,
        format!("`{}` has no input {}", path(used), quoted(&entry.key)),
    )
    .label("unknown input");
    match suggest::nearest(&entry.key, names()) {
        Some(near) => {
            problem.also(inputs[near].span, "declared here").help(format!("did you mean `{near}`?"))
        }
        None if inputs.is_empty() => problem.help("that workflow takes no inputs"),
        None => problem.help(format!("that workflow takes {}", suggest::list(names()))),
    }
}

fn wrong(entry: &Entry<'_>, input: &Input, why: &str) -> Problem {
    Problem::error("spb::with::type", entry.value.span, format!("the input `{}` {why}", shorten(&entry.key)))
        .label("does not fit")
        .also(input.span, "declared here")
}

fn takes_word(input: &Input) -> String {
    match (input.kind, input.items) {
        (InputKind::Array, Some(items)) => format!("a list, each item {}", input::a(items)),
        (kind, _) => input::a(kind).to_owned(),
    }
}

/// Whether a value of one type may be given where the other is declared.
fn takes(wanted: &Type, found: &Type) -> bool {
    match (wanted, found) {
        (Type::Any, _) | (_, Type::Any) => true,
        (Type::Number, Type::Integer | Type::Number) => true,
        (Type::Text, found) => found.is_text(),
        (Type::List(wanted), Type::List(found)) => takes(wanted, found),
        (Type::Map(_), found) => found.is_map(),
        (wanted, found) => wanted == found,
    }
}

/// How to make a value fit.
fn convert(kind: InputKind, found: &Type, text: &str) -> Option<String> {
    let inner = text.trim().strip_prefix("${{")?.strip_suffix("}}")?.trim();
    if inner.contains("}}") {
        return None;
    }
    let inner = shorten(inner);
    match (kind, found) {
        (InputKind::Integer, Type::Text | Type::Status | Type::Number) => {
            Some(format!("write `${{{{ int({inner}) }}}}`"))
        }
        (InputKind::Number, Type::Text | Type::Status) => Some(format!("write `${{{{ double({inner}) }}}}`")),
        (InputKind::Boolean, Type::Text | Type::Status) => {
            Some(format!("compare it, as in `${{{{ {inner} == \"true\" }}}}`"))
        }
        (InputKind::String, Type::Integer | Type::Number | Type::Bool) => {
            Some(format!("write `${{{{ string({inner}) }}}}`"))
        }
        _ => None,
    }
}

/// The first expression inside of a list or a map.
fn hidden_template(yaml: &Yaml<'_>) -> Option<Span> {
    match &yaml.kind {
        Kind::Scalar(scalar) => scalar.text.contains("${{").then_some(yaml.span),
        Kind::List(items) => items.iter().find_map(hidden_template),
        Kind::Map(entries) => entries.iter().find_map(|entry| hidden_template(&entry.value)),
    }
}
