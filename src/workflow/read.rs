//! Pieces of the positioned tree to wire values, by `serde_yaml`. A piece with errors is read again without the parts
//! that are wrong, so that every error of it is found, each at its place. Knows the keys and types, not the meaning.

use std::ops::Deref;

use serde::de::DeserializeOwned;

use super::keys::{Nest, Shape};
use super::problem::{Problem, Span};
use super::read_words;
use super::schema::Step;
use super::suggest;
use super::yaml::{Entry, Kind, Yaml, quoted};

/// Errors found in one piece before reading it is given up.
const MAX_ERRORS: usize = 50;

/// A wire value, and the part of the tree that it was read from: without the parts that were wrong, so that the items
/// of lists and maps are those of the value, in the same order.
#[derive(Debug)]
pub struct Piece<'y, 'a, T> {
    pub value: T,
    pub yaml: Part<'y, 'a>,
}

/// A part of the tree, or what is left of it. (A `Cow`, though covariant.)
#[derive(Debug)]
pub enum Part<'y, 'a> {
    Whole(&'y Yaml<'a>),
    Pruned(Box<Yaml<'a>>),
}

impl<'a> Deref for Part<'_, 'a> {
    type Target = Yaml<'a>;

    fn deref(&self) -> &Yaml<'a> {
        match self {
            Self::Whole(yaml) => yaml,
            Self::Pruned(yaml) => yaml,
        }
    }
}

impl Part<'_, '_> {
    fn remove(&mut self, trail: &[usize], removed: &mut Vec<(String, Span)>) {
        if let Some((last, parents)) = trail.split_last()
            && let Some(entry) = follow(self, parents).entries().get(*last)
        {
            removed.push((entry.key.to_string(), entry.key_span));
        }
        if let Self::Whole(yaml) = self {
            *self = Self::Pruned(Box::new((*yaml).clone()));
        }
        if let Self::Pruned(yaml) = self {
            remove(yaml, trail);
        }
    }
}

/// Positions in entries and items, from the piece down to a part.
type Trail = Vec<usize>;

/// Reads a piece that stands at `place` in the file, under the key at `key`.
pub fn piece<'y, 'a, T: DeserializeOwned>(
    yaml: &'y Yaml<'a>,
    place: &[Step<'_>],
    key: Span,
    shape: Option<&Shape>,
    problems: &mut Vec<Problem>,
) -> Option<Piece<'y, 'a, T>> {
    let mut yaml = Part::Whole(yaml);
    // What is wrong and goes is not missing: the places of removed keys, each with its key.
    let mut removed: Vec<(String, Span)> = Vec::new();
    if let Some(shape) = shape {
        let mut wrong = Vec::new();
        keys(&yaml, shape, &mut Vec::new(), &mut wrong, problems);
        for trail in wrong.iter().rev() {
            yaml.remove(trail, &mut removed);
        }
    }
    for _ in 0..MAX_ERRORS {
        let error = match serde_path_to_error::deserialize::<_, T>(yaml.to_serde()) {
            Ok(value) => return Some(Piece { value, yaml }),
            Err(error) => error,
        };
        let (trail, steps) = locate(&yaml, error.path());
        let (found, message) = (follow(&yaml, &trail), error.inner().to_string());
        let missing = read_words::missing_field(&message);
        let known =
            |(name, span): &(String, Span)| Some(name.as_str()) == missing && inside(*span, found.span);
        if !removed.iter().any(known) {
            let full: Vec<Step<'_>> = place.iter().cloned().chain(steps).collect();
            problems.push(read_words::explain(
                found,
                key_span(&yaml, &trail).unwrap_or(key),
                &full,
                &message,
            ));
        }
        if trail.is_empty() {
            return None;
        }
        yaml.remove(&trail, &mut removed);
    }
    None
}

fn inside(inner: Span, outer: Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Refuses keys that a map may not hold, and keys without a value.
fn keys(
    yaml: &Yaml<'_>,
    shape: &Shape,
    trail: &mut Trail,
    wrong: &mut Vec<Trail>,
    problems: &mut Vec<Problem>,
) {
    for (index, entry) in yaml.entries().iter().enumerate() {
        trail.push(index);
        let key = entry.key.as_ref();
        if !shape.fields.contains(&key) {
            problems.push(unknown_key(entry, shape));
            wrong.push(trail.clone());
        } else if entry.value.is_null() {
            problems.push(no_value(entry));
            wrong.push(trail.clone());
        } else if let Some((_, nest)) = shape.nested.iter().find(|(name, _)| *name == key) {
            nested(&entry.value, nest, trail, wrong, problems);
        }
        trail.pop();
    }
}

fn nested(
    yaml: &Yaml<'_>,
    nest: &Nest,
    trail: &mut Trail,
    wrong: &mut Vec<Trail>,
    problems: &mut Vec<Problem>,
) {
    match nest {
        Nest::One(shape) => keys(yaml, shape, trail, wrong, problems),
        Nest::Each(shape) => {
            for (index, entry) in yaml.entries().iter().enumerate() {
                trail.push(index);
                if entry.value.is_null() {
                    problems.push(
                        no_value(entry).help(format!("write `{}: {{}}` for one without settings", entry.key)),
                    );
                    wrong.push(trail.clone());
                } else {
                    keys(&entry.value, shape, trail, wrong, problems);
                }
                trail.pop();
            }
        }
    }
}

/// Also for the top level of the file, whose entries are pieces of their own.
pub fn unknown_key(entry: &Entry<'_>, shape: &Shape) -> Problem {
    let key = entry.key.as_ref();
    if shape.later.contains(&key) {
        return not_yet(entry, shape.what);
    }
    let problem = Problem::error(
        "spb::key::unknown",
        entry.key_span,
        format!("{} has no key {}", shape.what, quoted(key)),
    )
    .label("unknown key");
    let foreign = shape.foreign.iter().find(|(name, _)| *name == key);
    // A key without `: ` and with signs is the rest of a value that a comma ended.
    if entry.value.is_null() && key.contains(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-'))) {
        return problem.help(
            "inside of `{ }` a `,` ends a value: quote the whole value, if this belongs to the one before",
        );
    }
    match (foreign, suggest::nearest(key, shape.fields.iter().copied())) {
        (Some((_, help)), _) => problem.help(*help),
        (None, Some(near)) => problem.help(format!("did you mean `{near}`?")),
        (None, None) => problem.help(match shape.fields {
            [only] => format!("{} has only the key `{only}`", shape.what),
            fields => format!("{} has the keys {}", shape.what, suggest::list(fields.iter().copied())),
        }),
    }
}

fn not_yet(entry: &Entry<'_>, what: &str) -> Problem {
    Problem::error(
        "spb::key::unsupported",
        entry.key_span,
        format!("this version of spb does not know `{}` of {what} yet", entry.key),
    )
    .label("not in this version")
    .help("`spb schema` lists what this version knows")
}

pub fn no_value(entry: &Entry<'_>) -> Problem {
    Problem::error("spb::key::empty", entry.key_span, format!("the key `{}` has no value", entry.key))
        .label("nothing follows")
        .help("give it a value, or remove the key")
}

/// The part that an error is about: its trail, and its steps for the schema. A path may lead further than the tree,
/// to a field that is missing.
fn locate<'p>(yaml: &Yaml<'_>, path: &'p serde_path_to_error::Path) -> (Trail, Vec<Step<'p>>) {
    let (mut at, mut trail, mut steps) = (yaml, Vec::new(), Vec::new());
    for segment in path {
        let (index, step, next) = match (segment, &at.kind) {
            (serde_path_to_error::Segment::Map { key }, Kind::Map(entries)) => {
                let Some(index) = entries.iter().position(|entry| entry.key == *key) else { break };
                (index, Step::Key(key), &entries[index].value)
            }
            (serde_path_to_error::Segment::Seq { index }, Kind::List(items)) if *index < items.len() => {
                (*index, Step::Item(*index), &items[*index])
            }
            _ => break,
        };
        trail.push(index);
        steps.push(step);
        at = next;
    }
    (trail, steps)
}

fn follow<'y, 'a>(yaml: &'y Yaml<'a>, trail: &[usize]) -> &'y Yaml<'a> {
    trail.iter().fold(yaml, |at, index| match &at.kind {
        Kind::List(items) => &items[*index],
        Kind::Map(entries) => &entries[*index].value,
        Kind::Scalar(_) => at,
    })
}

/// The key whose value the trail leads to, for maps.
fn key_span(yaml: &Yaml<'_>, trail: &[usize]) -> Option<Span> {
    let (last, parents) = trail.split_last()?;
    follow(yaml, parents).entries().get(*last).map(|entry| entry.key_span)
}

fn remove(yaml: &mut Yaml<'_>, trail: &[usize]) {
    match (trail, &mut yaml.kind) {
        ([], _) | (_, Kind::Scalar(_)) => {}
        ([last], Kind::List(items)) => drop(items.remove(*last)),
        ([last], Kind::Map(entries)) => drop(entries.remove(*last)),
        ([first, rest @ ..], Kind::List(items)) => remove(&mut items[*first], rest),
        ([first, rest @ ..], Kind::Map(entries)) => remove(&mut entries[*first].value, rest),
    }
}
