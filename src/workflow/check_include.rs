//! `include`: the files whose nodes, inputs and environment are those of one workflow. Each keeps its own `defaults`, and
//! sees its own nodes by their own names, whatever prefix they get. Knows nothing of how the files are found.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;

use super::check::{Check, Draft};
use super::check_names;
use super::file_reuse::{Include, IncludedFile};
use super::file_values::Text;
use super::files::{Named, Parsed};
use super::keys;
use super::model::{Input, Source};
use super::problem::{Problem, Span};
use super::read;
use super::schema::Step;
use super::suggest::NodeIndex;
use super::yaml::{Kind, Yaml, shorten};
use crate::name;

/// How many files one workflow includes, counted each time with another prefix: beyond it they include each other in a
/// way that nobody meant.
const MAX_INCLUDED: usize = 1000;

/// A file that is included, however far down.
pub(super) struct Included {
    parsed: Rc<Parsed>,
    /// What its nodes are called more than in the file itself: `lint-`, or nothing.
    prefix: String,
    /// Where the prefix is given.
    prefix_span: Span,
    /// The prefixes of the files around, outermost first, without the empty ones.
    outer: Vec<String>,
    /// The files that lead to it and itself, without the first.
    through: Vec<PathBuf>,
}

/// One file of the workflow: the one that is checked, or one that it includes.
pub(super) struct Unit<'u> {
    pub source: &'u Arc<Source>,
    pub root: &'u Yaml<'u>,
    pub prefix: &'u str,
    pub prefix_span: Span,
    pub through: &'u [PathBuf],
    /// Which of the indexes of nodes holds the names that it sees.
    pub index: usize,
}

/// All files of the workflow, the one that is checked first; each file before those that it includes.
pub(super) fn units<'u>(
    source: &'u Arc<Source>,
    root: &'u Yaml<'u>,
    included: &'u [Included],
) -> Vec<Unit<'u>> {
    let first = Unit { source, root, prefix: "", prefix_span: Span::default(), through: &[], index: 0 };
    let mut indexes = HashMap::from([("", 0)]);
    let others = included.iter().filter_map(|one| {
        let next = indexes.len();
        let index = *indexes.entry(one.prefix.as_str()).or_insert(next);
        Some(Unit {
            source: &one.parsed.source,
            root: one.parsed.root.as_ref().filter(|root| matches!(root.kind, Kind::Map(_)))?,
            prefix: &one.prefix,
            prefix_span: one.prefix_span,
            through: &one.through,
            index,
        })
    });
    std::iter::once(first).chain(others).collect()
}

/// The nodes as each prefix sees them: a name is looked for with the prefix of its own file, then with that of the file
/// around, last as it stands.
pub(super) fn indexes(included: &[Included], drafts: &[Draft<'_, '_>]) -> Vec<NodeIndex> {
    let mut indexes = vec![NodeIndex::new(drafts.iter().map(|draft| draft.name.clone()))];
    let mut known = HashSet::from([""]);
    for one in included {
        if known.insert(&one.prefix) {
            let prefixes = [&one.prefix].into_iter().chain(one.outer.iter().rev());
            indexes.push(indexes[0].behind(prefixes.cloned().collect()));
        }
    }
    indexes
}

impl Check<'_> {
    /// Every file that is included, in the order in which they are named.
    pub(super) fn included(&mut self, source: &Source, root: &Yaml<'_>) -> Vec<Included> {
        let mut found = Found::default();
        let from = From { path: &source.path, prefix: "", outer: &[], through: &[] };
        self.includes_of(&from, root, &mut found);
        found.list
    }

    fn includes_of(&mut self, from: &From<'_>, root: &Yaml<'_>, found: &mut Found) {
        let Some(list) = root.get("include").filter(|value| !value.is_null()) else { return };
        if !matches!(list.kind, Kind::List(_)) {
            let place = [Step::Key("include")];
            read::piece::<Vec<Include>>(list, &place, list.span, None, &mut self.problems);
        }
        let mut seen: HashMap<(PathBuf, String), Span> = HashMap::new();
        for (at, item) in list.items().iter().enumerate() {
            let place = [Step::Key("include"), Step::Item(at)];
            let shape = Some(&*keys::INCLUDE);
            let Some(piece) = read::piece::<Include>(item, &place, item.span, shape, &mut self.problems)
            else {
                continue;
            };
            let (Include::Path(file) | Include::File(IncludedFile { file: Text(file), .. })) = &piece.value;
            let span = piece.yaml.get("file").unwrap_or(item).span;
            let named = Named { key: "include", text: file, span, from: from.path, through: from.through };
            let (path, parsed) = match self.files.parsed(named) {
                Ok(found) => found,
                Err(problem) => {
                    self.problems.push(problem);
                    continue;
                }
            };
            let (prefix, prefix_span) = self.prefix(&piece.value, &piece.yaml, item.span);
            let prefix = format!("{}{prefix}", from.prefix);
            if let Some(first) = seen.insert((path.clone(), prefix.clone()), span) {
                self.problems.push(
                    check_names::twice("file", file, span, first)
                        .help("remove one of them, or give each a `prefix` of its own"),
                );
            } else if found.list.len() >= MAX_INCLUDED {
                self.problems.push(too_many(span));
                return;
            } else if found.known.insert((path.clone(), prefix.clone())) {
                self.include(from, path, parsed, (prefix, prefix_span), found);
            }
        }
    }

    /// A file that is included from two sides under one prefix is there once.
    fn include(
        &mut self,
        from: &From<'_>,
        path: PathBuf,
        parsed: Rc<Parsed>,
        (prefix, prefix_span): (String, Span),
        found: &mut Found,
    ) {
        let mut outer = from.outer.to_vec();
        if !from.prefix.is_empty() && from.prefix != prefix {
            outer.push(from.prefix.to_owned());
        }
        let through: Vec<PathBuf> = from.through.iter().cloned().chain([path.clone()]).collect();
        found.list.push(Included {
            parsed: parsed.clone(),
            prefix: prefix.clone(),
            prefix_span,
            outer: outer.clone(),
            through: through.clone(),
        });
        let Some(root) = &parsed.root else { return };
        if matches!(root.kind, Kind::Map(_)) {
            let inner = From { path: &path, prefix: &prefix, outer: &outer, through: &through };
            self.includes_of(&inner, root, found);
        } else {
            self.problems.push(super::check::not_a_map(root));
        }
    }

    /// The prefix with its `-`.
    fn prefix(&mut self, include: &Include, yaml: &Yaml<'_>, item: Span) -> (String, Span) {
        let Include::File(IncludedFile { prefix: Some(Text(prefix)), .. }) = include else {
            return (String::new(), item);
        };
        let span = yaml.get("prefix").map_or(item, |yaml| yaml.span);
        self.name("a prefix", prefix, span);
        (format!("{prefix}-"), span)
    }

    /// The name that a node of a file has in the workflow.
    pub(super) fn full_name(&mut self, unit: &Unit<'_>, own: &str, span: Span) -> String {
        if unit.prefix.is_empty() {
            return own.to_owned();
        }
        let full = format!("{}{own}", unit.prefix);
        if name::check(own).is_ok()
            && let Err(error) = name::check(&full)
        {
            self.problems.push(
                Problem::error(
                    "spb::name::invalid",
                    unit.prefix_span,
                    format!("{:?} is not the name of a node: {error}", shorten(&full)),
                )
                .label("with this prefix")
                .also(span, "this node"),
            );
        }
        full
    }

    /// Two nodes of one name.
    pub(super) fn clash(&mut self, name: &str, first: Span, second: Span) {
        self.problems.push(
            Problem::error(
                "spb::include::clash",
                second,
                format!("the workflow has a node `{}` already", shorten(name)),
            )
            .label("again here")
            .also(first, "first here")
            .help("rename one of them, or include the file with a prefix: `{ file: ./lint.yaml, prefix: lint }`"),
        );
    }

    /// The inputs of all files: a name means one thing.
    pub(super) fn all_inputs(&mut self, units: &[Unit<'_>]) -> IndexMap<String, Input> {
        let mut all: IndexMap<String, Input> = IndexMap::new();
        for unit in units {
            for (name, input) in self.inputs(unit.root) {
                match all.get(&name) {
                    None => drop(all.insert(name, input)),
                    Some(first) if same(first, &input) => {}
                    Some(first) => self.problems.push(differs("input", &name, input.span, first.span)),
                }
            }
        }
        all
    }

    /// The file that names the stages: the first one that has any.
    pub(super) fn staged<'u>(units: &[Unit<'u>]) -> &'u Yaml<'u> {
        let staged =
            units.iter().find(|unit| unit.root.get("stages").is_some_and(|stages| !stages.is_null()));
        staged.unwrap_or(&units[0]).root
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    list: Vec<Included>,
    /// Files with their prefixes.
    known: HashSet<(PathBuf, String)>,
}

/// The file that includes.
struct From<'f> {
    path: &'f Path,
    prefix: &'f str,
    outer: &'f [String],
    through: &'f [PathBuf],
}

/// Whether two declarations take the same values.
fn same(one: &Input, other: &Input) -> bool {
    one.kind == other.kind
        && one.items == other.items
        && one.default == other.default
        && one.allowed == other.allowed
        && one.pattern == other.pattern
        && (one.minimum, one.maximum) == (other.minimum, other.maximum)
}

pub(super) fn differs(what: &str, name: &str, span: Span, first: Span) -> Problem {
    Problem::error(
        "spb::include::differs",
        span,
        format!("the {what} `{}` is declared in two ways", shorten(name)),
    )
    .label("differs here")
    .also(first, "first here")
    .help("make both the same, or rename one of them: an included file shares them with the file that includes it")
}

fn too_many(span: Span) -> Problem {
    Problem::error(
        "spb::include::many",
        span,
        format!("more than {MAX_INCLUDED} files are included in one workflow"),
    )
    .label("the limit is reached here")
    .help("for the same work in several places, `uses` takes a workflow as one node")
}
