//! Changes to texts: bytes and lines, words of the language and of YAML, and trees. Words come from the schema, so that
//! a new key of the language is tried as soon as it exists.

use serde_yaml::{Mapping, Value};
use spb::workflow::schema;

use crate::random::Random;

/// Pieces that have a meaning in YAML, in expressions, in shells or in names.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    ": ", "- ", "\n", "  ", "\t", "{", "}", "[", "]", ",", "\"", "'", "&a ", "*a", "<<: *a", "!x ",
    "!!str ", "|\n", ">-\n", "|+2\n", "#", "---\n", "...\n", "? ", "%YAML 1.2\n", "${{ ", " }}", "${{",
    "}}", "inputs.", "needs.", "matrix.", "env.", "run.id", "outputs.", ".status", "size(", "int(",
    ".map(x, ", ".filter(x, ", ".all(x, ", ".exists(", "has(", "success()", "failure()", "always()", " && ",
    " || ", "!", " ? ", " in ", "==", "<", "+", "%", "/ 0", "[0]", "[-1]", "\\", "\\u", "\\x00", "\0",
    "\u{feff}", "\r\n", "\r", "é", "😀", "\u{202e}", "\u{2028}", "\u{85}", "~", "@", "`", "1.0", "**/", "*",
    "{a,b}", "[a-z]", "../", "$SPB_OUTPUT", "SPB_OUT", "git push", "<<END", "\u{1b}[2J",
];

/// Values that are something else than they look like, or at an edge.
#[rustfmt::skip]
const VALUES: &[&str] = &[
    "", "~", "null", "no", "yes", "on", "true", "True", "0", "-1", "1", "007", "0o17", "0x1F", "1_000",
    "1e3", "1.5", ".5", "-.inf", ".nan", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "1e400", "100000000000000000000", "[]", "{}", "[[]]", "[~]", "{a: b}",
    "2024-01-01", "12:30:45", "0s", "1h30m", "99999999999999d", "a-b", "-", "..", "/", "x",
    "\"${{ inputs.x }}\"", "\"${{ needs.a.outputs.x }}\"", "[a, b]", "'a'",
];

pub struct Mutator {
    /// Keys and choices of the language.
    words: Vec<String>,
}

impl Mutator {
    pub fn new() -> Self {
        let mut words = Vec::new();
        collect(schema::schema(), &mut words);
        words.sort();
        words.dedup();
        assert!(words.len() > 40, "the schema has words");
        Self { words }
    }

    pub fn mutate(&self, text: &str, corpus: &[String], random: &mut Random) -> String {
        if random.below(3) == 0
            && let Some(text) = self.tree(text, corpus, random)
        {
            return text;
        }
        let mut text = text.to_owned();
        for _ in 0..=random.below(4) {
            text = match random.below(8) {
                0 | 1 => self.insert(&text, random),
                2 => replace_value(&text, random),
                3 => self.replace_word(&text, random),
                4 => lines(&text, random),
                5 => splice(&text, random.pick::<String>(corpus), random),
                6 => characters(&text, random),
                _ => indent(&text, random),
            };
        }
        text
    }

    fn insert(&self, text: &str, random: &mut Random) -> String {
        let at = place(text, random);
        let piece = match random.below(3) {
            0 => random.pick(&self.words).as_str(),
            1 => *random.pick(VALUES),
            _ => *random.pick(PIECES),
        };
        [&text[..at], piece, &text[at..]].concat()
    }

    /// One word of the text becomes another of the text or of the language.
    fn replace_word(&self, text: &str, random: &mut Random) -> String {
        let words = words(text);
        if words.is_empty() {
            return text.to_owned();
        }
        let (start, end) = *random.pick(&words);
        let (other, other_end) = *random.pick(&words);
        let new = match random.below(2) {
            0 => random.pick(&self.words).as_str(),
            _ => &text[other..other_end],
        };
        [&text[..start], new, &text[end..]].concat()
    }

    /// Changes the tree of a text that is YAML.
    fn tree(&self, text: &str, corpus: &[String], random: &mut Random) -> Option<String> {
        let mut tree: Value = serde_yaml::from_str(text).ok()?;
        for _ in 0..=random.below(3) {
            let other: Option<Value> = serde_yaml::from_str(random.pick::<String>(corpus)).ok();
            let mut open = vec![&mut tree];
            let mut left = random.below(60);
            // A walk that stops somewhere.
            while let Some(node) = open.pop() {
                if left == 0 {
                    self.change(node, other.as_ref(), random);
                    break;
                }
                left -= 1;
                match node {
                    Value::Mapping(map) => {
                        let skip = random.below(map.len() + 1);
                        open.extend(map.iter_mut().map(|(_, value)| value).skip(skip));
                    }
                    Value::Sequence(list) => open.extend(list.iter_mut()),
                    _ => {}
                }
            }
        }
        serde_yaml::to_string(&tree).ok()
    }

    fn change(&self, node: &mut Value, other: Option<&Value>, random: &mut Random) {
        let scalar =
            |random: &mut Random| serde_yaml::from_str(random.pick::<&str>(VALUES)).unwrap_or(Value::Null);
        match (random.below(5), &mut *node) {
            (0 | 1, Value::Mapping(map)) => {
                let key = Value::String(random.pick(&self.words).clone());
                let value = other.map_or(Value::Null, |other| part(other, random));
                map.insert(key, value);
            }
            (2, Value::Mapping(map)) if !map.is_empty() => {
                let key = map.keys().nth(random.below(map.len())).cloned();
                key.and_then(|key| map.remove(&key));
            }
            (3, Value::Mapping(map)) if !map.is_empty() => {
                let entries: Vec<(Value, Value)> = map.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                let (key, _) = random.pick(&entries).clone();
                let (_, value) = random.pick(&entries).clone();
                map.insert(key, value);
            }
            (0 | 1, Value::Sequence(list)) => list.push(scalar(random)),
            (2, Value::Sequence(list)) if !list.is_empty() => {
                list.push(list[random.below(list.len())].clone());
            }
            (3, Value::Sequence(list)) if !list.is_empty() => {
                list.remove(random.below(list.len()));
            }
            (0..=2, _) => *node = scalar(random),
            (3, _) => {
                let key = Value::String(random.pick(&self.words).clone());
                *node = Value::Mapping(Mapping::from_iter([(key, node.clone())]));
            }
            _ => *node = other.map_or(Value::Null, |other| part(other, random)),
        }
    }
}

/// Some part of a tree.
fn part(tree: &Value, random: &mut Random) -> Value {
    let mut at = tree;
    loop {
        let next = match at {
            Value::Mapping(map) if !map.is_empty() => map.values().nth(random.below(map.len())),
            Value::Sequence(list) if !list.is_empty() => list.get(random.below(list.len())),
            _ => None,
        };
        match next {
            Some(next) if random.below(4) > 0 => at = next,
            _ => return at.clone(),
        }
    }
}

/// Names of properties and values of enumerations.
fn collect(schema: &serde_json::Value, words: &mut Vec<String>) {
    match schema {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("properties", serde_json::Value::Object(names)) => words.extend(names.keys().cloned()),
                    ("const", serde_json::Value::String(text)) => words.push(text.clone()),
                    ("enum", serde_json::Value::Array(list)) => {
                        words.extend(list.iter().filter_map(|item| item.as_str()).map(str::to_owned));
                    }
                    _ => {}
                }
                collect(value, words);
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|item| collect(item, words)),
        _ => {}
    }
}

/// A place between two characters.
fn place(text: &str, random: &mut Random) -> usize {
    let mut at = random.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn words(text: &str) -> Vec<(usize, usize)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (is_word(c), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    words
}

/// What follows a `: ` up to the end of the line, or of the flow, becomes another value.
fn replace_value(text: &str, random: &mut Random) -> String {
    let starts: Vec<usize> = text.match_indices(": ").map(|(at, _)| at + 2).collect();
    if starts.is_empty() {
        return text.to_owned();
    }
    let start = *random.pick(&starts);
    let end = text[start..].find(['\n', ',', '}']).map_or(text.len(), |length| start + length);
    [&text[..start], *random.pick(VALUES), &text[end..]].concat()
}

fn lines(text: &str, random: &mut Random) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    if lines.is_empty() {
        return text.to_owned();
    }
    let (from, to) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(4) {
        0 => drop(lines.remove(from)),
        1 => lines.insert(to, lines[from]),
        2 => lines.swap(from, to),
        _ => drop(lines.drain(from.min(to)..from.max(to))),
    }
    lines.concat()
}

/// The start of one text and the end of another.
fn splice(text: &str, other: &str, random: &mut Random) -> String {
    let (at, from) = (place(text, random), place(other, random));
    let to = (from + random.below(300)).min(other.len());
    let to = (from..=to).rev().find(|at| other.is_char_boundary(*at)).unwrap_or(from);
    let middle = &other[from..to];
    match random.below(2) {
        0 => [&text[..at], middle, &text[at..]].concat(),
        _ => [&text[..at], &other[from..]].concat(),
    }
}

fn characters(text: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    if chars.is_empty() {
        return text.to_owned();
    }
    let at = random.below(chars.len());
    let end = (at + 1 + random.below(20)).min(chars.len());
    match random.below(4) {
        0 => chars[at] = char::from(random.below(128) as u8),
        1 => chars[at] = char::from_u32(random.below(0x11_0000) as u32).unwrap_or('\u{fffd}'),
        2 => drop(chars.drain(at..end)),
        _ => {
            let copy = chars[at..end].to_vec();
            let times = 1 + random.below(40);
            chars.splice(at..at, copy.repeat(times));
        }
    }
    chars.into_iter().collect()
}

/// A line further in or out.
fn indent(text: &str, random: &mut Random) -> String {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if lines.is_empty() {
        return text.to_owned();
    }
    let at = random.below(lines.len());
    lines[at] = match random.below(2) {
        0 => format!("  {}", lines[at]),
        _ => lines[at].strip_prefix("  ").unwrap_or(&lines[at]).to_owned(),
    };
    lines.concat()
}
