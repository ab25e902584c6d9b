//! The names of a file: where each is defined, and where it is used, also inside of expressions. Finds them by where
//! they stand, so that a file with mistakes has names as well. Knows nothing of what they stand for.

use std::collections::HashSet;
use std::ops::Range;

use super::mend;
use crate::name::{self, NameError};
use crate::workflow::expr::{lex, paths};
use crate::workflow::parse;
use crate::workflow::problem::Span;
use crate::workflow::yaml::{Entry, Kind, Yaml};

/// Lists of a node that hold names of nodes.
pub const NODE_LISTS: [&str; 2] = ["needs", "after"];

/// Keys that hold an expression without `${{ }}`.
const CONDITIONS: [&str; 2] = ["when", "until"];

/// Something that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Symbol {
    Node(String),
    Input(String),
    Stage(String),
    /// Of the top-level `env`.
    Variable(String),
    Output {
        node: String,
        name: String,
    },
    /// A value of this node's matrix.
    Axis {
        node: String,
        name: String,
    },
}

/// One place where a name stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    pub symbol: Symbol,
    /// The name alone, without quotes.
    pub span: Span,
    pub is_definition: bool,
    /// The name is spelled here as it is, so that it can be replaced.
    pub is_plain: bool,
}

/// A part of the file, for an outline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub name: String,
    pub detail: String,
    pub kind: ItemKind,
    pub whole: Span,
    pub own: Span,
    pub children: Vec<Item>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    Section,
    Node,
    Input,
    Output,
}

/// Why a name cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    #[error("nothing here can be renamed")]
    Nothing,
    #[error("{0:?} is not a name: {1}")]
    Invalid(String, NameError),
    #[error("there is `{0}` already")]
    Taken(String),
    #[error("the name is spelled with escapes in line {0}")]
    Spelled(usize),
}

/// All names of a file, in its order.
#[derive(Debug, Default)]
pub struct Symbols {
    pub occurrences: Vec<Occurrence>,
    pub outline: Vec<Item>,
}

impl Symbols {
    /// Those of a text, as far as it can be read.
    pub fn of(text: &str) -> Self {
        let Some(mended) = mend::mend(text, None) else { return Self::default() };
        let (Some(tree), _) = parse::parse(&mended) else { return Self::default() };
        Self::in_tree(&mended, &tree)
    }

    pub(super) fn in_tree(text: &str, root: &Yaml<'_>) -> Self {
        let mut walk = Walk { text, seen: HashSet::new(), found: Vec::new() };
        walk.file(root);
        walk.found.sort_by_key(|occurrence| occurrence.span.start);
        Self { occurrences: walk.found, outline: outline(root) }
    }

    /// What stands at byte `at`, its end included.
    pub fn at(&self, at: usize) -> Option<&Occurrence> {
        let end = self.occurrences.partition_point(|occurrence| occurrence.span.start <= at);
        self.occurrences[..end].iter().rev().find(|occurrence| at <= occurrence.span.end)
    }

    pub fn definition(&self, symbol: &Symbol) -> Option<&Occurrence> {
        self.of_symbol(symbol).find(|occurrence| occurrence.is_definition)
    }

    pub fn of_symbol(&self, symbol: &Symbol) -> impl Iterator<Item = &Occurrence> {
        self.occurrences.iter().filter(move |occurrence| occurrence.symbol == *symbol)
    }

    /// What changes when the name at `at` becomes `new`: all its places, as ranges of `text`.
    ///
    /// # Errors
    /// When it cannot be done everywhere.
    pub fn rename(&self, text: &str, at: usize, new: &str) -> Result<Vec<Range<usize>>, RenameError> {
        let symbol = &self.at(at).ok_or(RenameError::Nothing)?.symbol;
        if self.definition(symbol).is_none() {
            return Err(RenameError::Nothing);
        }
        name::check(new).map_err(|error| RenameError::Invalid(new.to_owned(), error))?;
        let renamed = symbol.renamed(new);
        if renamed != *symbol && self.definition(&renamed).is_some() {
            return Err(RenameError::Taken(new.to_owned()));
        }
        if let Some(odd) = self.of_symbol(symbol).find(|occurrence| !occurrence.is_plain) {
            return Err(RenameError::Spelled(text[..odd.span.start].matches('\n').count() + 1));
        }
        Ok(self.of_symbol(symbol).map(|occurrence| occurrence.span.start..occurrence.span.end).collect())
    }
}

impl Symbol {
    pub fn name(&self) -> &str {
        match self {
            Self::Node(name) | Self::Input(name) | Self::Stage(name) | Self::Variable(name) => name,
            Self::Output { name, .. } | Self::Axis { name, .. } => name,
        }
    }

    fn renamed(&self, new: &str) -> Self {
        let (mut renamed, new) = (self.clone(), new.to_owned());
        match &mut renamed {
            Self::Node(name) | Self::Input(name) | Self::Stage(name) | Self::Variable(name) => *name = new,
            Self::Output { name, .. } | Self::Axis { name, .. } => *name = new,
        }
        renamed
    }
}

/// Whether a file is meant to be a workflow: editors send every YAML file that is open.
pub fn is_workflow(text: &str) -> bool {
    let named = |line: &str| line.starts_with('#') && line.contains("workflow.schema.json");
    text.trim_start_matches('\u{feff}').lines().any(|line| {
        line.starts_with("nodes:") || line.starts_with("{") && line.contains("nodes") || named(line)
    })
}

struct Walk<'t> {
    text: &'t str,
    /// A value behind an alias is walked wherever it is used.
    seen: HashSet<(Span, Symbol)>,
    found: Vec<Occurrence>,
}

impl Walk<'_> {
    fn file(&mut self, root: &Yaml<'_>) {
        for entry in root.entries() {
            match entry.key.as_ref() {
                "inputs" => self.keys(&entry.value, Symbol::Input),
                "env" => self.keys(&entry.value, Symbol::Variable),
                "stages" => self.items(&entry.value, Symbol::Stage, true),
                "result" => {
                    if let Some(from) = entry.value.get("from") {
                        self.items(from, Symbol::Node, false);
                    }
                }
                "nodes" => {
                    entry.value.entries().iter().for_each(|node| self.node(node));
                    continue;
                }
                _ => {}
            }
            self.expressions(&entry.value, "", None);
        }
    }

    fn node(&mut self, node: &Entry<'_>) {
        let own = node.key.as_ref();
        self.put(Symbol::Node(own.to_owned()), node.key_span, true);
        for entry in node.value.entries() {
            let key = entry.key.as_ref();
            match key {
                "outputs" => {
                    self.keys(&entry.value, |name| Symbol::Output { node: own.to_owned(), name });
                }
                "matrix" => self.keys(&entry.value, |name| Symbol::Axis { node: own.to_owned(), name }),
                "stage" => {
                    if let Some(stage) = entry.value.text() {
                        self.put(Symbol::Stage(stage.to_owned()), entry.value.span, false);
                    }
                }
                key if NODE_LISTS.contains(&key) => self.items(&entry.value, Symbol::Node, false),
                _ => {}
            }
            self.expressions(&entry.value, key, Some(own));
        }
    }

    fn keys(&mut self, map: &Yaml<'_>, symbol: impl Fn(String) -> Symbol) {
        for entry in map.entries() {
            self.put(symbol(entry.key.to_string()), entry.key_span, true);
        }
    }

    fn items(&mut self, list: &Yaml<'_>, symbol: impl Fn(String) -> Symbol, is_definition: bool) {
        for item in list.items() {
            if let Some(text) = item.text() {
                self.put(symbol(text.to_owned()), item.span, is_definition);
            }
        }
    }

    /// A name that is written at `span`, maybe in quotes.
    fn put(&mut self, symbol: Symbol, span: Span, is_definition: bool) {
        let raw = self.text.get(span.start..span.end).unwrap_or_default();
        let bare = raw.trim_matches(['"', '\'']);
        let is_plain = bare == symbol.name();
        let start = span.start + usize::from(is_plain && raw.starts_with(['"', '\'']));
        let span = if is_plain { Span { start, end: start + bare.len() } } else { span };
        self.add(Occurrence { symbol, span, is_definition, is_plain });
    }

    fn add(&mut self, occurrence: Occurrence) {
        if self.seen.insert((occurrence.span, occurrence.symbol.clone())) {
            self.found.push(occurrence);
        }
    }

    /// The names in all expressions of a value.
    fn expressions(&mut self, value: &Yaml<'_>, key: &str, node: Option<&str>) {
        match &value.kind {
            Kind::List(items) => items.iter().for_each(|item| self.expressions(item, key, node)),
            Kind::Map(entries) => {
                entries.iter().for_each(|entry| self.expressions(&entry.value, &entry.key, node));
            }
            Kind::Scalar(scalar) => {
                let is_bare = CONDITIONS.contains(&key) && node.is_some();
                if is_bare || scalar.text.contains("${{") {
                    self.scalar(value.span, is_bare, node);
                }
            }
        }
    }

    /// The names in the expressions of a scalar, found in its spelling.
    fn scalar(&mut self, span: Span, is_bare: bool, node: Option<&str>) {
        let Some(raw) = self.text.get(span.start..span.end) else { return };
        let spelled = unescaped(raw);
        if is_bare && !spelled.contains("${{") {
            let quote = usize::from(spelled.starts_with(['"', '\'']));
            let end = spelled.len() - quote.min(spelled.len());
            return self.names(&spelled[quote..end.max(quote)], span.start + quote, node);
        }
        let mut at = 0;
        while let Some(open) = spelled[at..].find("${{") {
            let inner = at + open + 3;
            let length = lex::expression_length(&spelled[inner..]).unwrap_or(spelled.len() - inner);
            self.names(&spelled[inner..inner + length], span.start + inner, node);
            at = inner + length;
        }
    }

    /// The names in an expression that starts at byte `start` of the file.
    fn names(&mut self, expression: &str, start: usize, node: Option<&str>) {
        // What ends the text is no longer being typed.
        for path in paths::paths(&format!("{expression} ")) {
            let place =
                |at: usize| Span { start: start + path[at].range.start, end: start + path[at].range.end };
            let name = |at: usize| path[at].name.clone();
            let root = path[0].name.as_str();
            let first = match (root, node) {
                _ if path.len() < 2 => None,
                ("inputs", _) => Some(Symbol::Input(name(1))),
                ("env", _) => Some(Symbol::Variable(name(1))),
                ("needs", _) => Some(Symbol::Node(name(1))),
                ("matrix", Some(node)) => Some(Symbol::Axis { node: node.to_owned(), name: name(1) }),
                _ => None,
            };
            if let Some(symbol) = first {
                self.add(Occurrence { symbol, span: place(1), is_definition: false, is_plain: true });
            }
            if root == "needs" && path.len() > 3 && path[2].name == "outputs" {
                let symbol = Symbol::Output { node: name(1), name: name(3) };
                self.add(Occurrence { symbol, span: place(3), is_definition: false, is_plain: true });
            }
        }
    }
}

/// The spelling of a scalar with the quotes that YAML escapes in it as plain quotes, every byte in its place.
fn unescaped(raw: &str) -> String {
    match raw.chars().next() {
        Some('"') if raw.len() > 1 => {
            format!("\"{}", raw[1..].replace("\\\\", " \\").replace("\\\"", " \""))
        }
        Some('\'') if raw.len() > 1 => format!("'{}", raw[1..].replace("''", " '")),
        _ => raw.to_owned(),
    }
}

fn outline(root: &Yaml<'_>) -> Vec<Item> {
    let item = |entry: &Entry<'_>, kind, children| Item {
        name: entry.key.to_string(),
        detail: entry.value.get("description").and_then(Yaml::text).unwrap_or_default().to_owned(),
        kind,
        whole: Span { start: entry.key_span.start, end: entry.value.span.end.max(entry.key_span.end) },
        own: entry.key_span,
        children,
    };
    let inner = |value: &Yaml<'_>, kind| -> Vec<Item> {
        value.entries().iter().map(|entry| item(entry, kind, Vec::new())).collect()
    };
    let nodes = |value: &Yaml<'_>| -> Vec<Item> {
        let outputs = |node: &Yaml<'_>| {
            node.get("outputs").map_or_else(Vec::new, |outputs| inner(outputs, ItemKind::Output))
        };
        value.entries().iter().map(|node| item(node, ItemKind::Node, outputs(&node.value))).collect()
    };
    root.entries()
        .iter()
        .map(|entry| {
            let children = match entry.key.as_ref() {
                "inputs" => inner(&entry.value, ItemKind::Input),
                "nodes" => nodes(&entry.value),
                _ => Vec::new(),
            };
            item(entry, ItemKind::Section, children)
        })
        .collect()
}
