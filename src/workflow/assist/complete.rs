//! What may be typed at a place of a file: keys and words by the schema, names by the file, and inside of expressions
//! exactly the names that the checks would let this place read. Knows nothing of how it is shown.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::cards;
use super::mend;
use super::others;
use super::place::{self, MARK, Place, Role, Step};
use super::symbols::{NODE_LISTS, Symbol};
use crate::workflow::check;
use crate::workflow::check_expr::Seen;
use crate::workflow::expr::types::{NEED_FIELDS, Type, What};
use crate::workflow::expr::{functions, lex, paths};
use crate::workflow::files::{self, Files};
use crate::workflow::model::Source;
use crate::workflow::parse;
use crate::workflow::schema;
use crate::workflow::yaml::Yaml;

/// One thing that may be typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    pub label: String,
    /// What is put in place of `replace`.
    pub insert: String,
    pub replace: Range<usize>,
    pub kind: Kind,
    /// A few words: its type.
    pub detail: String,
    /// Markdown.
    pub documentation: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Key,
    Word,
    Node,
    Stage,
    Name,
    Function,
}

/// What may be typed at byte `at` of a file.
pub fn complete(path: &Path, text: &str, at: usize) -> Vec<Completion> {
    let at = text.floor_char_boundary(at);
    let Some(place) = place::of(text, at) else { return Vec::new() };
    let mended = mend::mend(text, None);
    let tree = mended.as_deref().and_then(|text| parse::parse(text).0);
    let here = Here { path, text, at, tree: tree.as_ref() };
    if place.role == Role::Value {
        let open = open_expression(&place.before);
        let seen = seen(path, text, at, &place.closing);
        let condition = seen.as_ref().is_some_and(|seen| seen.condition);
        if let Some(expression) = open.or(condition.then_some(place.before.as_str())) {
            return seen.map(|seen| here.names(expression, &seen)).unwrap_or_default();
        }
    }
    here.values(&place)
}

/// The expression that is open at the end of a text.
fn open_expression(before: &str) -> Option<&str> {
    let mut rest = before;
    while let Some(open) = rest.find("${{") {
        let inner = &rest[open + 3..];
        match lex::expression_length(inner) {
            Some(length) => rest = &inner[length..],
            None => return Some(inner),
        }
    }
    None
}

/// What the place at `at` may read, by the checks: in the text as it is, or closed behind the cursor.
fn seen(path: &Path, text: &str, at: usize, closing: &str) -> Option<Seen> {
    let (before, after) = text.split_at(at);
    let rest = &text[mend::line(text, at).end..];
    let candidates = [
        format!("{before}{MARK}{after}"),
        format!("{before}{MARK}{closing}{rest}"),
        format!("{before}{MARK}{closing}\n"),
    ];
    candidates.iter().find_map(|text| {
        let mended = mend::mend(text, Some(at))?;
        let source = Arc::new(Source::new(path, mended.into_owned()));
        let (tree, _) = parse::parse(&source.text);
        let fetch = files::disk(path);
        let files = Files::new(&fetch, &|_| Vec::new(), source.clone());
        check::names_at(&files, &source, &tree?, MARK)
    })
}

struct Here<'h, 'a> {
    path: &'h Path,
    text: &'h str,
    at: usize,
    tree: Option<&'h Yaml<'a>>,
}

impl Here<'_, '_> {
    /// What takes the place of what is typed already.
    fn item(&self, typed: &str, label: &str, insert: String, kind: Kind) -> Completion {
        let start = self.at.saturating_sub(typed.len());
        let replace = match self.text.get(start..self.at) == Some(typed) {
            true => start..self.at,
            false => self.at..self.at,
        };
        Completion {
            label: label.to_owned(),
            insert,
            replace,
            kind,
            detail: String::new(),
            documentation: String::new(),
        }
    }

    fn symbol(&self, symbol: &Symbol) -> String {
        self.tree.and_then(|tree| cards::symbol(tree, symbol)).unwrap_or_default()
    }

    fn values(&self, place: &Place) -> Vec<Completion> {
        if let Some(found) = self.references(place) {
            return found;
        }
        let Some(rules) = schema::at(&Step::for_schema(&place.path)) else { return Vec::new() };
        let mut found = Vec::new();
        if place.role == Role::Key || self.may_hold_keys() {
            found = self.keys(place, rules);
        }
        if place.role == Role::Value && !self.may_hold_keys() {
            found.extend(cards::choices(rules).into_iter().map(|(word, meaning)| Completion {
                documentation: meaning,
                ..self.item(&place.before, &word, word.clone(), Kind::Word)
            }));
        }
        found
    }

    /// Names of nodes and stages, where the place takes them.
    fn references(&self, place: &Place) -> Option<Vec<Completion>> {
        let keys: Vec<&str> = place.path.iter().filter_map(Step::key).collect();
        let list = |inside: bool| inside && place.role == Role::Value;
        match keys.as_slice() {
            ["nodes", node, key] if list(NODE_LISTS.contains(key)) => {
                Some(self.nodes(place, key, Some(node)))
            }
            ["nodes", node, "with"] if place.role == Role::Key || self.may_hold_keys() => {
                Some(self.inputs_of_used(place, node))
            }
            ["result", "from"] if list(true) => Some(self.nodes(place, "from", None)),
            ["nodes", _, "stage"] if list(true) => {
                let stages = self.tree?.get("stages")?.items().iter().filter_map(Yaml::text);
                let item = |name: &str| Completion {
                    documentation: self.symbol(&Symbol::Stage(name.to_owned())),
                    ..self.item(&place.before, name, name.to_owned(), Kind::Stage)
                };
                Some(stages.map(item).collect())
            }
            _ => None,
        }
    }

    /// The nodes that this list may name: not its own, and none twice.
    fn nodes(&self, place: &Place, key: &str, own: Option<&str>) -> Vec<Completion> {
        let Some(tree) = self.tree else { return Vec::new() };
        let holder = match own {
            Some(own) => tree.get("nodes").and_then(|nodes| nodes.get(own)),
            None => tree.get("result"),
        };
        let named: Vec<&str> = holder
            .and_then(|holder| holder.get(key))
            .map_or(&[][..], Yaml::items)
            .iter()
            .filter(|item| !(item.span.start <= self.at && self.at <= item.span.end))
            .filter_map(Yaml::text)
            .chain(place.siblings.iter().map(String::as_str))
            .collect();
        let in_list = matches!(place.path.last(), Some(Step::Item(_)));
        let nodes = tree.get("nodes").map_or(&[][..], Yaml::entries).iter();
        let free = nodes.filter(|node| own != Some(node.key.as_ref()) && !named.contains(&node.key.as_ref()));
        let item = |name: &str| {
            let insert = if in_list { name.to_owned() } else { format!("[{name}]") };
            self.item(&place.before, name, insert, Kind::Node)
        };
        let own = free.map(|node| Completion {
            detail: description(&node.value),
            documentation: self.symbol(&Symbol::Node(node.key.to_string())),
            ..item(&node.key)
        });
        let included = others::included_nodes(self.path, tree);
        let included = included.iter().filter(|name| !named.contains(&name.as_str()));
        own.chain(included.map(|name| item(name))).collect()
    }

    /// The inputs of the workflow that a node uses, those that it is not given yet.
    fn inputs_of_used(&self, place: &Place, node: &str) -> Vec<Completion> {
        let node = self.tree.and_then(|tree| tree.get("nodes")?.get(node));
        let look = |used: &Yaml<'_>| {
            let inputs = used.get("inputs").map_or(&[][..], Yaml::entries).iter();
            let given = node.and_then(|node| node.get("with"));
            let is_free = |name: &str| {
                given.is_none_or(|map| map.get(name).is_none())
                    && !place.siblings.iter().any(|key| key == name)
            };
            let one = |name: &str| Completion {
                documentation: cards::symbol(used, &Symbol::Input(name.to_owned())).unwrap_or_default(),
                ..self.item(&place.before, name, format!("{name}: "), Kind::Key)
            };
            inputs.map(|input| input.key.as_ref()).filter(|name| is_free(name)).map(one).collect()
        };
        node.and_then(|node| others::with_used(self.path, node, look)).unwrap_or_default()
    }

    /// Whether a key may start here: at the start of a line, of an item, or in braces.
    fn may_hold_keys(&self) -> bool {
        let line = mend::line(self.text, self.at);
        let before =
            self.text[line.start..self.at].trim_end_matches(|c: char| c.is_alphanumeric() || c == '_');
        matches!(before.trim_end().chars().last(), None | Some('-' | '{' | ','))
    }

    fn keys(&self, place: &Place, rules: &'static Value) -> Vec<Completion> {
        let written = self.tree.and_then(|tree| {
            place.path.iter().try_fold(tree, |at, step| match step {
                Step::Key(key) => at.get(key),
                Step::Item(index) => at.items().get(*index),
            })
        });
        let line = mend::line(self.text, self.at);
        let has_colon = self.text[self.at..line.end].trim_start().starts_with(':');
        let known = properties(rules);
        let is_free =
            |key: &String| !place.siblings.contains(key) && written.is_none_or(|map| map.get(key).is_none());
        let free = known.filter(|(key, _)| is_free(key));
        free.map(|(key, rules)| {
            let insert = if has_colon { key.clone() } else { format!("{key}: ") };
            Completion {
                detail: rules["type"].as_str().unwrap_or_default().to_owned(),
                documentation: rules["description"].as_str().unwrap_or_default().to_owned(),
                ..self.item(&place.before, key, insert, Kind::Key)
            }
        })
        .collect()
    }

    /// What may follow in an expression.
    fn names(&self, expression: &str, seen: &Seen) -> Vec<Completion> {
        let Some(typing) = paths::typing(expression) else { return Vec::new() };
        let Some((root, fields)) = typing.path.split_first() else {
            let roots = seen.roots.iter().map(|(name, kind)| Completion {
                detail: kind.to_string(),
                ..self.item(&typing.partial, name, (*name).to_owned(), Kind::Name)
            });
            return roots.chain(self.functions(&typing.partial, None, seen.condition)).collect();
        };
        let start = seen.roots.iter().find(|(name, _)| name == root).map(|(_, kind)| kind.clone());
        let Some(kind) =
            start.and_then(|start| fields.iter().try_fold(start, |kind, name| field(&kind, name)))
        else {
            return Vec::new();
        };
        let ending = match typing.quote {
            Some(quote) if !self.text[self.at..].starts_with(quote) => format!("{quote}]"),
            Some(_) | None => String::new(),
        };
        let mut found: Vec<Completion> = children(&kind)
            .into_iter()
            .map(|(name, inner, symbol)| Completion {
                detail: inner.map(|inner| inner.to_string()).unwrap_or_default(),
                documentation: symbol.map(|symbol| self.symbol(&symbol)).unwrap_or_default(),
                ..self.item(&typing.partial, &name, format!("{name}{ending}"), Kind::Name)
            })
            .collect();
        if typing.quote.is_none() {
            found.extend(self.functions(&typing.partial, Some(&kind), seen.condition));
        }
        found
    }

    /// Functions that can be called: on a value of this type, or on their own.
    fn functions(&self, typed: &str, on: Option<&Type>, condition: bool) -> Vec<Completion> {
        let fits = |name: &str, usage: &str| match on {
            None if ["success", "failure", "always"].contains(&name) => condition,
            None => usage.contains(&format!("`{name}(")),
            Some(Type::Text | Type::Status) => usage.contains(&format!("text.{name}(")),
            Some(Type::List(_)) => usage.contains(&format!("list.{name}(")) || name == "size",
            Some(Type::Any) => usage.contains(&format!(".{name}(")),
            Some(_) => false,
        };
        functions::all()
            .filter(|(name, usage)| fits(name, usage))
            .map(|(name, usage)| Completion {
                documentation: usage.to_owned(),
                ..self.item(typed, name, format!("{name}("), Kind::Function)
            })
            .collect()
    }
}

fn description(yaml: &Yaml<'_>) -> String {
    yaml.get("description").and_then(Yaml::text).unwrap_or_default().to_owned()
}

/// The keys that a schema knows, also those of its variants.
fn properties(rules: &'static Value) -> Box<dyn Iterator<Item = (&'static String, &'static Value)>> {
    let own = rules["properties"].as_object().into_iter().flatten();
    let variants = rules["anyOf"].as_array().into_iter().flatten().flat_map(properties);
    Box::new(own.chain(variants))
}

fn field(kind: &Type, name: &str) -> Option<Type> {
    match kind {
        Type::Record(record) => record.fields.get(name).cloned(),
        Type::Need(outputs) if name == "outputs" => Some((**outputs).clone()),
        Type::Need(_) => Type::of_need(name),
        Type::Map(item) => Some((**item).clone()),
        Type::Any => Some(Type::Any),
        Type::Null | Type::Bool | Type::Integer | Type::Number => None,
        Type::Text | Type::Status | Type::List(_) => None,
    }
}

/// What a value holds: name, type, and the symbol that the name is.
fn children(kind: &Type) -> Vec<(String, Option<Type>, Option<Symbol>)> {
    match kind {
        Type::Record(record) => {
            let symbol = |name: &String| match &record.what {
                What::Inputs => Some(Symbol::Input(name.clone())),
                What::Env => Some(Symbol::Variable(name.clone())),
                What::Needs => Some(Symbol::Node(name.clone())),
                What::Outputs(node) => Some(Symbol::Output { node: node.clone(), name: name.clone() }),
                _ => None,
            };
            let one = |(name, kind): (&String, &Type)| (name.clone(), Some(kind.clone()), symbol(name));
            record.fields.iter().map(one).collect()
        }
        Type::Need(_) => {
            NEED_FIELDS.iter().map(|name| ((*name).to_owned(), field(kind, name), None)).collect()
        }
        _ => Vec::new(),
    }
}
