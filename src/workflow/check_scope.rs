//! Which names each place of the file may read, with their types. Knows nothing of syntax.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::check::{Draft, UsedFile};
use super::contract;
use super::expr::Template;
use super::expr::types::{Names, Type, What};
use super::file_node::{Output, OutputFormat};
use super::file_values::{AxisChoice, Items, Json, Matrix, SchemaMap};
use super::model::{ANSWER, AnswerType, Input, InputKind, Reference};
use super::problem::Span;
use super::suggest::NodeIndex;
use super::yaml::{Entry, Yaml};

/// Everything that can be named.
pub struct World<'w> {
    inputs: Type,
    env: Type,
    run: Type,
    /// The names of the file itself.
    pub nodes: &'w NodeIndex,
    /// The names of each prefix.
    indexes: &'w [NodeIndex],
    drafts: &'w [Draft<'w, 'w>],
    /// What `needs.<node>` is, by position: made when the first expression asks, shared by all dependents.
    needs: Vec<OnceCell<Type>>,
}

impl<'w> World<'w> {
    pub fn new(
        inputs: &IndexMap<String, Input>,
        broken: &[String],
        indexes: &'w [NodeIndex],
        drafts: &'w [Draft<'w, 'w>],
    ) -> Self {
        let run = ["id", "workflow", "base", "branch"].map(|name| (name.to_owned(), Type::Text));
        let inputs = inputs.iter().map(|(name, input)| (name.clone(), input_type(input)));
        Self {
            inputs: Type::record(
                What::Inputs,
                inputs.chain(broken.iter().map(|name| (name.clone(), Type::Any))),
            ),
            env: Type::record(What::Env, []),
            run: Type::record(What::Run, run),
            nodes: &indexes[0],
            indexes,
            drafts,
            needs: drafts.iter().map(|_| OnceCell::new()).collect(),
        }
    }

    pub fn set_env<'e>(&mut self, env: impl Iterator<Item = &'e Entry<'e>>) {
        self.env = Type::record(What::Env, env.map(|entry| (entry.key.to_string(), Type::Text)));
    }

    fn names(&self, place: &'static str, roots: Vec<(&'static str, Type)>) -> Names<'w> {
        Names { place, roots, nodes: self.nodes, renamed: HashMap::new() }
    }

    /// Values of the top-level `env`, which everything else may read.
    pub fn inputs_only(&self, place: &'static str) -> Names<'w> {
        self.names(place, vec![("inputs", self.inputs.clone())])
    }

    /// What is known before a run has an id: matrices and the base revision.
    pub fn inputs_and_env(&self, place: &'static str) -> Names<'w> {
        self.names(place, vec![("inputs", self.inputs.clone()), ("env", self.env.clone())])
    }

    /// What is known once a run exists.
    pub fn run_level(&self, place: &'static str) -> Names<'w> {
        let roots =
            vec![("inputs", self.inputs.clone()), ("env", self.env.clone()), ("run", self.run.clone())];
        self.names(place, roots)
    }

    /// What the command of an agent may read.
    pub fn agent(&self, place: &'static str) -> Names<'w> {
        let mut names = self.inputs_and_env(place);
        names.roots.push(("prompt", Type::Text));
        names
    }

    pub fn result(&self, place: &'static str) -> Names<'w> {
        self.names(place, vec![("inputs", self.inputs.clone()), ("run", self.run.clone())])
    }

    /// What a node may read: also its matrix, and its needs, by the names that its own file has for them.
    pub fn node(&self, draft: &Draft<'_, '_>, needs: &[(usize, Reference)]) -> Names<'w> {
        let mut names = self.run_level("a node");
        names.nodes = &self.indexes[draft.unit.index];
        if let Some(matrix) = &draft.file.matrix {
            names.roots.push(("matrix", Type::record(What::Matrix, self.matrix_types(matrix))));
        }
        if draft.unit.prefix.is_empty() {
            let needs = needs.iter().map(|(at, reference)| (reference.node.clone(), self.need(*at)));
            names.roots.push(("needs", Type::record(What::Needs, needs)));
            return names;
        }
        let items = draft.yaml.get("needs").map_or(&[][..], Yaml::items);
        let written: HashMap<Span, &str> =
            items.iter().filter_map(|item| Some((item.span, item.text()?))).collect();
        let named = |reference: &Reference| {
            written.get(&reference.span).copied().unwrap_or(&reference.node).to_owned()
        };
        let types = needs.iter().map(|(at, reference)| (named(reference), self.need(*at)));
        names.roots.push(("needs", Type::record(What::Needs, types)));
        names.renamed = needs.iter().map(|(_, need)| (named(need), need.node.clone())).collect();
        names.renamed.retain(|written, full| written != full);
        names
    }

    /// The same for one item of a `for_each` and one round of a `loop`.
    pub fn repeated(&self, draft: &Draft<'_, '_>, outer: &Names<'w>) -> Names<'w> {
        let mut names = outer.clone();
        if let Some(Items(items)) = &draft.file.for_each {
            names.roots.push(("item", item_type(items, outer)));
        }
        if draft.file.r#loop.is_some() {
            // Before the first round there was none.
            let last = Type::Need(Arc::new(outputs_type(draft, |kind| kind.join(Type::Null))));
            let fields = [("index".to_owned(), Type::Integer), ("last".to_owned(), last)];
            names.roots.push(("loop", Type::record(What::Loop, fields)));
        }
        names
    }

    /// What the outputs of the workflow may read: every node.
    pub fn outputs(&self) -> Names<'w> {
        let mut names = self.run_level("`outputs`");
        let all = self.drafts.iter().enumerate().map(|(at, draft)| (draft.name.clone(), self.need(at)));
        names.roots.push(("needs", Type::record(What::Needs, all)));
        names
    }

    fn need(&self, at: usize) -> Type {
        self.needs[at].get_or_init(|| need_type(&self.drafts[at])).clone()
    }

    /// The names of a matrix, those that only `include` has as well. One that some instance may lack can be `null`.
    fn matrix_types(&self, matrix: &Matrix) -> IndexMap<String, Type> {
        let mut types: IndexMap<String, Type> =
            matrix.axes().map(|(name, axis)| (name.clone(), self.axis_type(axis))).collect();
        let axes = types.len();
        for (name, value) in matrix.exceptions("include").flatten() {
            let own = Type::of(value);
            let joined = types.get(name).map_or(own.clone(), |known| known.clone().join(own));
            types.insert(name.clone(), joined);
        }
        for (at, (name, kind)) in types.iter_mut().enumerate() {
            // A map that repeats a value of a list may become an instance that lacks the others.
            let mut whole = matrix
                .exceptions("include")
                .filter(|map| axes == 0 || map.keys().any(|key| matrix.0.contains_key(key)));
            if at >= axes && axes > 0 || !whole.all(|map| map.contains_key(name)) {
                *kind = kind.clone().join(Type::Null);
            }
        }
        types
    }

    /// The type of one value of an axis.
    fn axis_type(&self, axis: &AxisChoice) -> Type {
        item_type(axis, &self.inputs_and_env("a matrix"))
    }
}

/// The type of one of the values of a list.
fn item_type(list: &AxisChoice, names: &Names<'_>) -> Type {
    match list {
        AxisChoice::Values(values) => {
            values.iter().map(|Json(value)| Type::of(value)).reduce(Type::join).unwrap_or(Type::Any)
        }
        AxisChoice::Expression(text) => match Template::compile(text) {
            Ok(template) => template.item_type(names),
            Err(_) => Type::Any,
        },
    }
}

pub(super) fn input_type(input: &Input) -> Type {
    match input.kind {
        InputKind::String => Type::Text,
        InputKind::Integer => Type::Integer,
        InputKind::Number => Type::Number,
        InputKind::Boolean => Type::Bool,
        InputKind::Array => Type::list(match input.items {
            Some(InputKind::String) => Type::Text,
            Some(InputKind::Integer) => Type::Integer,
            Some(InputKind::Number) => Type::Number,
            Some(InputKind::Boolean) => Type::Bool,
            Some(InputKind::Array | InputKind::Object) | None => Type::Any,
        }),
        InputKind::Object => Type::Map(Box::new(Type::Any)),
    }
}

/// `needs.<node>`. The outputs of a node with a matrix or a `for_each` are lists, one item per instance, those of a node
/// with both are lists of lists; its status is one word for all of them.
fn need_type(need: &Draft<'_, '_>) -> Type {
    let lists = usize::from(need.file.matrix.is_some()) + usize::from(need.file.for_each.is_some());
    let in_place = |kind: Type| (0..lists).fold(kind, |kind, _| Type::list(kind));
    Type::Need(Arc::new(outputs_type(need, in_place)))
}

/// The outputs of a node, each as `seen` from where they are read.
fn outputs_type(node: &Draft<'_, '_>, seen: impl Fn(Type) -> Type) -> Type {
    match &node.used {
        UsedFile::None => {
            let own = node.file.outputs.iter().flatten();
            let own = own.map(|(name, output)| (name.clone(), output_type(name, output)));
            let answer = ANSWER.iter().filter(|_| node.file.approve.is_some()).map(|(name, kind)| {
                let kind = match kind {
                    AnswerType::Bool => Type::Bool,
                    AnswerType::Text => Type::Text,
                };
                ((*name).to_owned(), kind)
            });
            let outputs = own.chain(answer).map(|(name, kind)| (name, seen(kind)));
            Type::record(What::Outputs(node.name.clone()), outputs)
        }
        UsedFile::Broken => Type::Any,
        UsedFile::Checked(used) => {
            let file = used.workflow.source.path.display().to_string();
            let outputs = used.outputs.iter().map(|(name, kind)| (name.clone(), seen(kind.clone())));
            Type::record(What::UsedOutputs { node: node.name.clone(), file }, outputs)
        }
    }
}

fn output_type(name: &str, output: &Output) -> Type {
    match output.format {
        Some(OutputFormat::Json) => match &output.schema {
            Some(SchemaMap(schema)) => contract::kind(name, schema),
            None => Type::Any,
        },
        Some(OutputFormat::Lines) => Type::list(Type::Text),
        Some(OutputFormat::Text) | None => Type::Text,
    }
}
