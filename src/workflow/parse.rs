//! YAML text to a positioned tree, in one pass over the events of `granit-parser`, of which this is the only owner.
//! Duplicate keys, several documents, unknown tags, and anything that would explode (aliases of aliases, endless
//! nesting) are refused here. Knows nothing of what the keys mean.

use std::borrow::Cow;
use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, Span as Place, Tag};

use super::parse_words;
use super::problem::{Problem, Span};
use super::yaml::{Entry, Kind, Scalar, Yaml};

/// Deepest nesting of lists and maps. Everything that walks the tree may recurse this far.
pub const MAX_DEPTH: usize = 100;

/// How many values all anchors and aliases of a file may copy: a few lines of nested aliases would otherwise fill
/// any memory.
pub const MAX_COPIES: usize = 250_000;

/// Longest key that may stand before a `:` on one line, in characters.
const MAX_KEY: usize = 16 * 1024;

/// Reads a text that holds one YAML document.
///
/// # Errors
/// `None` when no tree could be built; the problems say why. Problems with a tree: duplicate keys and the like, after
/// which the rest of the file can still be checked.
pub fn parse(text: &str) -> (Option<Yaml<'_>>, Vec<Problem>) {
    let mut builder = Builder { text, ..Builder::default() };
    let options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH + 1,
        block_nesting_limit: MAX_DEPTH + 1,
        simple_key_max_lookahead: MAX_KEY,
        emit_unresolved_aliases: true,
        disallow_directives: true,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, place)) => builder.event(event, place),
            Err(error) => Err(parse_words::explain(&error, text)),
        };
        if let Err(problem) = step {
            builder.problems.push(problem);
            return (None, builder.problems);
        }
    }
    (builder.root, builder.problems)
}

/// What is being built, innermost last.
#[derive(Default)]
struct Builder<'a> {
    text: &'a str,
    stack: Vec<Frame<'a>>,
    root: Option<Yaml<'a>>,
    documents: usize,
    anchors: HashMap<usize, Anchored<'a>>,
    copies: usize,
    problems: Vec<Problem>,
}

struct Anchored<'a> {
    value: Yaml<'a>,
    count: usize,
    depth: usize,
}

struct Frame<'a> {
    anchor: usize,
    start: usize,
    body: Body<'a>,
}

enum Body<'a> {
    List(Vec<Yaml<'a>>),
    Map { entries: Vec<Entry<'a>>, key: Option<Key<'a>> },
}

struct Key<'a> {
    text: Cow<'a, str>,
    span: Span,
}

type Step = Result<(), Problem>;

impl<'a> Builder<'a> {
    fn event(&mut self, event: Event<'a>, place: Place) -> Step {
        let span = self.span(&place);
        match event {
            Event::DocumentStart(..) => self.document(span),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = plain(style, tag.as_deref(), self.tag_span(&place))?;
                self.put(Yaml { span, kind: Kind::Scalar(Scalar { text, plain }) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                only_core(tag.as_deref(), "seq", self.tag_span(&place))?;
                self.open(anchor, span, Body::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                only_core(tag.as_deref(), "map", self.tag_span(&place))?;
                self.open(anchor, span, Body::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(id) => self.alias(id, span),
            Event::UnresolvedAlias(name) => Err(parse_words::unknown_alias(&name, span)),
            _ => Ok(()),
        }
    }

    /// Byte range of an event. Positions come from the text itself, so they are always there.
    fn span(&self, place: &Place) -> Span {
        let range = place.byte_range().unwrap_or(0..0);
        Span { start: range.start, end: range.end.min(self.text.len()).max(range.start) }
    }

    /// Place of the tag of a value, or of the value where the parser kept none.
    fn tag_span(&self, place: &Place) -> Span {
        place.tag_span().map_or_else(|| self.span(place), |tag| self.span(&tag))
    }

    fn document(&mut self, span: Span) -> Step {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        Err(Problem::error(
            "spb::yaml::documents",
            span,
            "a workflow file holds one document, here a second one starts",
        )
        .label("second document")
        .help("put each workflow into a file of its own; `spb apply` takes several files"))
    }

    fn open(&mut self, anchor: usize, span: Span, body: Body<'a>) -> Step {
        if self.stack.len() >= MAX_DEPTH {
            return Err(too_deep(span));
        }
        self.stack.push(Frame { anchor, start: span.start, body });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Step {
        let frame = self.stack.pop().expect("the parser closes only what it opened");
        let (kind, last) = match frame.body {
            Body::List(items) => {
                let last = items.last().map(|item| item.span.end);
                (Kind::List(items), last)
            }
            Body::Map { entries, .. } => {
                let last = entries.last().map(|entry| entry.value.span.end);
                (Kind::Map(self.finish_map(entries)?), last)
            }
        };
        // A flow collection ends at its bracket, a block one where its last value ends.
        let end = if end.end > end.start { end.end } else { last.unwrap_or(frame.start) };
        self.put(Yaml { span: Span { start: frame.start, end: end.max(frame.start) }, kind }, frame.anchor)
    }

    /// Puts a finished value where it belongs: into the open list, as a key, as a value, or as the document.
    fn put(&mut self, value: Yaml<'a>, anchor: usize) -> Step {
        if anchor != 0 {
            let (count, depth) = value.measure();
            self.charge(count, value.span)?;
            self.anchors.insert(anchor, Anchored { value: value.clone(), count, depth });
        }
        match self.stack.last_mut() {
            None => self.root = Some(value),
            Some(Frame { body: Body::List(items), .. }) => items.push(value),
            Some(Frame { body: Body::Map { entries, key }, .. }) => match key.take() {
                Some(Key { text, span }) => entries.push(Entry { key: text, key_span: span, value }),
                None => *key = Some(as_key(value)?),
            },
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, span: Span) -> Step {
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(Problem::error(
                "spb::yaml::alias",
                span,
                "this alias stands inside the value it names",
            )
            .label("would contain itself"));
        };
        if self.stack.len() + anchored.depth > MAX_DEPTH {
            return Err(too_deep(span));
        }
        let (value, count) = (anchored.value.clone(), anchored.count);
        self.charge(count, span)?;
        self.put(value, 0)
    }

    fn charge(&mut self, count: usize, span: Span) -> Step {
        self.copies += count;
        if self.copies <= MAX_COPIES {
            return Ok(());
        }
        Err(Problem::error(
            "spb::yaml::too_many_aliases",
            span,
            "the anchors and aliases of this file copy too much",
        )
        .label("the limit is reached here")
        .help(format!(
            "all copies together may hold {MAX_COPIES} values; write the values out, or use `defaults`"
        )))
    }

    /// Refuses duplicate keys, then resolves merge keys.
    fn finish_map(&mut self, entries: Vec<Entry<'a>>) -> Result<Vec<Entry<'a>>, Problem> {
        let duplicates = duplicates(&entries);
        for &(first, second) in &duplicates {
            self.problems.push(duplicate(&entries[first], &entries[second]));
        }
        let mut kept = entries;
        if !duplicates.is_empty() {
            let mut index = 0;
            let dropped: HashSet<usize> = duplicates.iter().map(|pair| pair.1).collect();
            kept.retain(|_| {
                index += 1;
                !dropped.contains(&(index - 1))
            });
        }
        match kept.iter().position(is_merge) {
            None => Ok(kept),
            Some(place) => {
                let merge = kept.remove(place);
                self.merge(&mut kept, merge)?;
                Ok(kept)
            }
        }
    }

    /// `<<: *base` or `<<: [*a, *b]`: keys that the map has itself win, then the earlier source.
    fn merge(&mut self, entries: &mut Vec<Entry<'a>>, merge: Entry<'a>) -> Step {
        let sources = match merge.value.kind {
            Kind::List(items) => items,
            kind => vec![Yaml { span: merge.value.span, kind }],
        };
        let mut known: HashSet<Cow<'a, str>> = entries.iter().map(|entry| entry.key.clone()).collect();
        for source in sources {
            let Kind::Map(inherited) = source.kind else {
                self.problems.push(
                    Problem::error("spb::yaml::merge", merge.key_span, "`<<` merges maps only")
                        .label("needs a map, or a list of maps")
                        .help("write `<<: *name`, where `&name` marks a map"),
                );
                continue;
            };
            entries.extend(inherited.into_iter().filter(|entry| known.insert(entry.key.clone())));
        }
        Ok(())
    }
}

/// Whether a scalar is read by the rules for plain ones. `!!str` makes it a text; other tags have no meaning here.
fn plain(style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<bool, Problem> {
    let Some(tag) = tag else { return Ok(style == ScalarStyle::Plain) };
    match tag.core_suffix() {
        Some("str") => Ok(false),
        Some("int" | "float" | "bool" | "null") => Ok(true),
        _ if tag.suffix().is_empty() => Ok(false),
        _ => Err(unknown_tag(tag, span)),
    }
}

fn only_core(tag: Option<&Tag>, kind: &str, span: Span) -> Step {
    match tag {
        Some(tag) if tag.core_suffix() != Some(kind) => Err(unknown_tag(tag, span)),
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, span: Span) -> Problem {
    Problem::error(
        "spb::yaml::tag",
        span,
        format!("the tag `{}` has no meaning in a workflow file", tag.original()),
    )
    .label("tag")
    .help("remove the tag; quote the value if `!` belongs to the text")
}

fn as_key(value: Yaml<'_>) -> Result<Key<'_>, Problem> {
    match value.kind {
        Kind::Scalar(scalar) => Ok(Key { text: scalar.text, span: value.span }),
        Kind::List(_) | Kind::Map(_) => {
            Err(Problem::error("spb::yaml::key", value.span, "a key is a text, not a list or a map")
                .label("not a key")
                .help("`{{ }}` without `$` is read as a map: write `\"${{ ... }}\"`, in quotes"))
        }
    }
}

fn is_merge(entry: &Entry<'_>) -> bool {
    // A quoted "<<" has quotes inside its span.
    entry.key == "<<" && entry.key_span.end - entry.key_span.start == 2
}

fn too_deep(span: Span) -> Problem {
    Problem::error("spb::yaml::too_deep", span, format!("nested deeper than {MAX_DEPTH} levels"))
        .label("too deep")
        .help("a workflow needs about six levels")
}

/// Pairs of positions that hold the same key: the first one and a later one.
fn duplicates(entries: &[Entry<'_>]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    if entries.len() <= 12 {
        for (index, entry) in entries.iter().enumerate() {
            if let Some(first) = entries[..index].iter().position(|other| other.key == entry.key) {
                pairs.push((first, index));
            }
        }
        return pairs;
    }
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        match seen.entry(&entry.key) {
            Slot::Occupied(first) => pairs.push((*first.get(), index)),
            Slot::Vacant(free) => drop(free.insert(index)),
        }
    }
    pairs
}

fn duplicate(first: &Entry<'_>, second: &Entry<'_>) -> Problem {
    Problem::error(
        "spb::yaml::duplicate_key",
        second.key_span,
        format!("the key `{}` appears twice", super::yaml::shorten(&second.key)),
    )
    .label("again here")
    .also(first.key_span, "first here")
    .help(match second.key.as_ref() {
        "<<" => "merge several maps at once: `<<: [*first, *second]`, of which the first wins",
        _ => "keep one of them; YAML readers would silently drop the other",
    })
}
