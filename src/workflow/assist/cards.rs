//! What an editor shows beside a word: what a key is for, from the schema, and what a name stands for, from the file.
//! As Markdown. Knows nothing of where it is shown.

use std::ops::Range;

use serde_json::Value;

use super::mend;
use super::symbols::{Symbol, Symbols};
use crate::workflow::parse;
use crate::workflow::problem::Span;
use crate::workflow::schema::{self, Step};
use crate::workflow::yaml::{Yaml, shorten};

/// What is known of the word at byte `at`, and the place of the word.
pub fn hover(text: &str, at: usize) -> Option<(String, Range<usize>)> {
    let mended = mend::mend(text, None)?;
    let (tree, _) = parse::parse(&mended);
    let tree = tree?;
    let symbols = Symbols::in_tree(&mended, &tree);
    if let Some(found) = symbols.at(at)
        && let Some(card) = symbol(&tree, &found.symbol)
    {
        return Some((card, found.span.start..found.span.end));
    }
    word(&tree, at, &mut Vec::new()).map(|(card, span)| (card, span.start..span.end))
}

/// What a name stands for.
pub fn symbol(root: &Yaml<'_>, symbol: &Symbol) -> Option<String> {
    let node = |name: &str| root.get("nodes").and_then(|nodes| nodes.get(name));
    let card = match symbol {
        Symbol::Node(name) => node_card(name, node(name)?),
        Symbol::Input(name) => input_card(name, root.get("inputs")?.get(name)?),
        Symbol::Stage(name) => stage_card(name, root)?,
        Symbol::Variable(name) => {
            let value = root.get("env")?.get(name)?;
            format!("variable `{name}` of every node{}", field("value", Some(value)))
        }
        Symbol::Output { node: owner, name } => {
            let output = node(owner)?.get("outputs")?.get(name)?;
            let parts = ["file", "out", "stdout", "format"].map(|key| field(key, output.get(key)));
            format!("output `{name}` of node `{owner}`{}", parts.concat())
        }
        Symbol::Axis { node: owner, name } => {
            let values = node(owner)?.get("matrix")?.get(name)?;
            format!("`{name}` of the matrix of `{owner}`{}", field("values", Some(values)))
        }
    };
    Some(card)
}

fn node_card(name: &str, node: &Yaml<'_>) -> String {
    let mut card = format!("node `{name}`");
    card.push_str(&described(node));
    for key in ["stage", "needs", "after", "when", "workspace", "run"] {
        card.push_str(&field(key, node.get(key)));
    }
    let outputs = node.get("outputs").map_or(&[][..], Yaml::entries);
    if !outputs.is_empty() {
        let names: Vec<String> = outputs.iter().map(|entry| format!("`{}`", entry.key)).collect();
        card.push_str(&format!("\n- outputs: {}", names.join(", ")));
    }
    card
}

fn input_card(name: &str, input: &Yaml<'_>) -> String {
    let kind = input.get("type").and_then(Yaml::text).unwrap_or("any type");
    let required = if input.get("default").is_none() { ", must be given" } else { "" };
    let mut card = format!("input `{name}`: {kind}{required}{}", described(input));
    for key in ["default", "enum", "pattern", "minimum", "maximum", "items"] {
        card.push_str(&field(key, input.get(key)));
    }
    card
}

fn stage_card(name: &str, root: &Yaml<'_>) -> Option<String> {
    let stages = root.get("stages")?.items();
    let number = stages.iter().position(|stage| stage.text() == Some(name))? + 1;
    Some(format!("stage `{name}`, {number} of {}. A checkpoint is recorded after it.", stages.len()))
}

fn described(yaml: &Yaml<'_>) -> String {
    yaml.get("description")
        .and_then(Yaml::text)
        .map(|text| format!("\n\n{text}\n"))
        .unwrap_or("\n".to_owned())
}

/// A line of a card; the first line of a longer text.
fn field(key: &str, value: Option<&Yaml<'_>>) -> String {
    let Some(value) = value else { return String::new() };
    let shown = match (value.text(), value.to_json()) {
        (Some(text), _) => text.lines().next().unwrap_or_default().to_owned(),
        (None, Some(json)) => json.to_string(),
        (None, None) => return String::new(),
    };
    format!("\n- {key}: `{}`", shorten(&shown.replace('`', "'")))
}

/// The key or word at `at`, with what the schema says of it.
fn word<'y>(yaml: &'y Yaml<'_>, at: usize, path: &mut Vec<Step<'y>>) -> Option<(String, Span)> {
    for entry in yaml.entries() {
        path.push(Step::Key(&entry.key));
        if holds(entry.key_span, at) {
            return key_card(path, &entry.key).map(|card| (card, entry.key_span));
        }
        let found = word(&entry.value, at, path);
        if found.is_some() {
            return found;
        }
        path.pop();
    }
    for (index, item) in yaml.items().iter().enumerate() {
        path.push(Step::Item(index));
        let found = word(item, at, path);
        if found.is_some() {
            return found;
        }
        path.pop();
    }
    let text = yaml.text().filter(|text| holds(yaml.span, at) && !text.is_empty())?;
    let choices = choices(schema::at(path)?);
    let (_, meaning) = choices.into_iter().find(|(word, _)| word == text)?;
    (!meaning.is_empty()).then(|| (format!("`{text}`: {meaning}"), yaml.span))
}

fn holds(span: Span, at: usize) -> bool {
    span.start <= at && at <= span.end
}

fn key_card(path: &[Step<'_>], key: &str) -> Option<String> {
    let rules = schema::at(path)?;
    let description = rules["description"].as_str()?;
    let mut card = format!("`{key}`\n\n{description}\n");
    let choices = choices(rules);
    for (word, meaning) in choices.iter().filter(|(_, meaning)| !meaning.is_empty()) {
        card.push_str(&format!("\n- `{word}`: {meaning}"));
    }
    if let Some(default) = rules.get("default") {
        card.push_str(&format!("\n\ndefault: `{}`", inline(default)));
    }
    let examples = rules["examples"].as_array().into_iter().flatten();
    let examples: Vec<String> = examples.map(|one| format!("\n{key}: {}", inline(one))).collect();
    if !examples.is_empty() {
        card.push_str(&format!("\n\n```yaml{}\n```", examples.concat()));
    }
    Some(card)
}

fn inline(value: &Value) -> String {
    crate::workflow::read_words::inline(value)
}

/// The words that a value may be, each with its meaning.
pub fn choices(rules: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if rules["type"] == "boolean" {
        found.extend(["true", "false"].map(|word| (word.to_owned(), String::new())));
    }
    let meaning = |at: usize| rules["enumDescriptions"][at].as_str().unwrap_or_default().to_owned();
    let words = rules["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    found.extend(words.enumerate().map(|(at, word)| (word.to_owned(), meaning(at))));
    found.extend(rules["anyOf"].as_array().into_iter().flatten().flat_map(choices));
    found
}
