//! The reference of the language as Markdown, made of the schema: one table for each kind of map, with the meanings of
//! words beside it. Kept as `docs/reference.md` and printed by `spb schema --format markdown`. Knows nothing of the
//! keys themselves.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::Value;

use super::expr::{functions, types::NEED_FIELDS};
use super::read_words::{inline, is_duration};
use super::schema::schema;

const INTRODUCTION: &str = "\
# Reference

Every key of a workflow file, made from the types that spb reads them with: `spb schema --format markdown` prints this page.
[language.md](language.md) explains the ideas, [guide.md](guide.md) puts them together.

A *text* is taken as it is spelled: `1.10` and `no` stay what they look like. A *duration* is numbers with a unit each, larger
units first: `500ms`, `90s`, `10m`, `1h30m`, `7d`. Keys that are not listed are errors.
";

/// The reference, as it is kept.
pub fn markdown() -> String {
    let mut sections = Vec::new();
    collect(schema(), &[], &mut sections);
    let link = |section: &Section| format!("[{}](#{})", section.title(), section.anchor());
    let mut links: Vec<String> = sections.iter().map(link).collect();
    links.push("[Expressions](#expressions)".to_owned());
    let mut out = format!("{INTRODUCTION}\n{}\n", links.join(" ·\n"));
    let mut told = HashSet::new();
    for section in &sections {
        out.push_str(&section.text(&sections, &mut told));
    }
    out.push_str(&expressions());
    out
}

/// A kind of map.
struct Section {
    /// The keys that lead to it; `<name>` for those that an author chooses.
    path: Vec<String>,
    description: String,
    rules: &'static Value,
    /// Other places that take the same map.
    also: Vec<String>,
}

/// Maps with keys of their own, from the top of the file down. One that is like an earlier one is named there.
fn collect(rules: &'static Value, path: &[String], sections: &mut Vec<Section>) {
    collect_described(rules, path, text_of(rules, "description"), sections);
}

fn collect_described(
    rules: &'static Value,
    path: &[String],
    description: &'static str,
    sections: &mut Vec<Section>,
) {
    if let Some(properties) = rules["properties"].as_object() {
        if let Some(known) =
            sections.iter_mut().find(|known| known.rules["properties"] == rules["properties"])
        {
            known.also.push(path.join("."));
            return;
        }
        let section =
            Section { path: path.to_vec(), description: description.to_owned(), rules, also: Vec::new() };
        sections.push(section);
        // Nodes first: what other places have in common with them is found there.
        let (nodes, others): (Vec<_>, Vec<_>) = properties.iter().partition(|(key, _)| *key == "nodes");
        for (key, inner) in nodes.into_iter().chain(others) {
            collect(inner, &below(path, key), sections);
        }
    }
    if rules["additionalProperties"].is_object() {
        collect(&rules["additionalProperties"], &below(path, "<name>"), sections);
    }
    for variant in rules["anyOf"].as_array().into_iter().flatten() {
        collect_described(variant, path, description, sections);
    }
}

fn below(path: &[String], key: &str) -> Vec<String> {
    path.iter().cloned().chain([key.to_owned()]).collect()
}

impl Section {
    fn title(&self) -> String {
        match self.path.is_empty() {
            true => "The file".to_owned(),
            false => format!("`{}`", self.path.join(".")),
        }
    }

    /// The anchor that a Markdown reader makes of the heading.
    fn anchor(&self) -> String {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
        let title = self.title().to_lowercase();
        title.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
    }

    /// `told` holds the tables of words so far.
    fn text(&self, sections: &[Section], told: &mut HashSet<String>) -> String {
        let mut out = format!("\n## {}\n\n{}\n", self.title(), self.description);
        if !self.also.is_empty() {
            let also: Vec<String> = self.also.iter().map(|place| format!("`{place}`")).collect();
            out.push_str(&format!("\nAlso in {}.\n", also.join(", ")));
        }
        out.push_str("\n| key | type | default | meaning | example |\n|---|---|---|---|---|\n");
        let required = self.rules["required"].as_array();
        let properties = self.rules["properties"].as_object();
        for (key, rules) in properties.into_iter().flatten() {
            let is_required = required.is_some_and(|names| names.iter().any(|name| name == key));
            out.push_str(&row(key, rules, is_required, sections));
        }
        if let Some(rules) = self.rules.get("additionalProperties").filter(|rules| rules.is_object()) {
            out.push_str(&row("<name>", rules, false, sections));
        }
        // Keys that take the same words share a table.
        let mut tables: IndexMap<String, Vec<String>> = IndexMap::new();
        for (key, rules) in properties.into_iter().flatten() {
            tables.entry(words(rules)).or_default().push(format!("`{key}`"));
        }
        for (rows, keys) in tables.into_iter().filter(|(rows, _)| !rows.is_empty()) {
            if told.insert(format!("{keys:?}{rows}")) {
                out.push_str(&format!("\n| {} | meaning |\n|---|---|\n{rows}", keys.join(", ")));
            }
        }
        out
    }
}

fn row(key: &str, rules: &'static Value, is_required: bool, sections: &[Section]) -> String {
    let default = match rules.get("default") {
        _ if is_required => "required".to_owned(),
        Some(value) => code(&inline(value)),
        None => String::new(),
    };
    let examples = rules["examples"].as_array().into_iter().flatten().take(2);
    let examples: Vec<String> = examples.map(|example| code(&inline(example))).collect();
    format!(
        "| `{key}` | {} | {default} | {} | {} |\n",
        kind(rules, sections),
        cell(text_of(rules, "description")),
        examples.join("<br>")
    )
}

/// What a value is, with links to maps.
fn kind(rules: &'static Value, sections: &[Section]) -> String {
    if let Some(variants) = rules["anyOf"].as_array() {
        let mut kinds: Vec<String> = variants.iter().map(|variant| kind(variant, sections)).collect();
        kinds.dedup();
        return kinds.join(" or ");
    }
    if let Some(only) = rules.get("const") {
        return code(&inline(only));
    }
    if let Some(words) = rules["enum"].as_array() {
        return words.iter().map(|word| code(&inline(word))).collect::<Vec<_>>().join(", ");
    }
    let range = match (rules["minimum"].as_f64(), rules["maximum"].as_f64()) {
        (Some(low), Some(high)) => format!(", {low} to {high}"),
        (Some(low), None) => format!(", at least {low}"),
        (None, Some(high)) => format!(", at most {high}"),
        (None, None) => String::new(),
    };
    let name = rules["type"].as_str().or_else(|| rules["type"][0].as_str());
    match name {
        Some("string") if is_duration(rules) => "duration".to_owned(),
        Some("string") => "text".to_owned(),
        Some("integer") => format!("whole number{range}"),
        Some("number") => format!("number{range}"),
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("array") => match kind(&rules["items"], sections).as_str() {
            "any value" => "list".to_owned(),
            item @ ("text" | "map") => format!("list of {item}s"),
            item => format!("list of {item}"),
        },
        Some("object") => map(rules, sections),
        _ => "any value".to_owned(),
    }
}

fn map(rules: &'static Value, sections: &[Section]) -> String {
    let own = sections.iter().find(|section| {
        rules["properties"].is_object() && section.rules["properties"] == rules["properties"]
    });
    if let Some(section) = own {
        return format!("[map](#{})", section.anchor());
    }
    let inner = &rules["additionalProperties"];
    match kind(inner, sections).as_str() {
        _ if !inner.is_object() => "map".to_owned(),
        "any value" => "map".to_owned(),
        "text" => "map of texts".to_owned(),
        inner if inner.starts_with("[map]") => inner.replacen("[map]", "[map of maps]", 1),
        inner => format!("map of {inner}"),
    }
}

/// The words that a value may be, a row for each.
fn words(rules: &Value) -> String {
    let mut rows = Vec::new();
    meanings(rules, &mut rows);
    rows.concat()
}

fn meanings(rules: &Value, rows: &mut Vec<String>) {
    let words = rules["enum"].as_array().into_iter().flatten();
    for (word, meaning) in words.zip(rules["enumDescriptions"].as_array().into_iter().flatten()) {
        rows.push(format!("| {} | {} |\n", code(&inline(word)), cell(meaning.as_str().unwrap_or_default())));
    }
    if rules["items"].is_object() {
        meanings(&rules["items"], rows);
    }
    rules["anyOf"].as_array().into_iter().flatten().for_each(|variant| meanings(variant, rows));
}

fn expressions() -> String {
    let fields: Vec<String> = NEED_FIELDS.iter().map(|name| format!("`{name}`")).collect();
    let mut out = format!(
        "\n## Expressions\n\n\
         [language.md](language.md#expressions) lists the names that an expression may read. `needs.<node>` has the fields {}.\n\n\
         | function | how it is called |\n|---|---|\n",
        fields.join(", ")
    );
    for (name, usage) in functions::all() {
        out.push_str(&format!("| `{name}` | {} |\n", cell(usage)));
    }
    out
}

fn text_of(rules: &'static Value, key: &str) -> &'static str {
    rules[key].as_str().unwrap_or_default()
}

/// A text that may stand in a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

/// Code that may stand in a table.
fn code(text: &str) -> String {
    let fence = if text.contains('`') { "``" } else { "`" };
    format!("{fence}{}{fence}", cell(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_row() {
        let page = markdown();
        fn walk(rules: &serde_json::Map<String, Value>, page: &str) {
            for (key, inner) in rules {
                let Some(inner) = inner.as_object() else { continue };
                assert!(page.contains(&format!("\n| `{key}` | ")), "{key}");
                let nested = ["properties"].iter().filter_map(|name| inner.get(*name)?.as_object());
                nested.for_each(|nested| walk(nested, page));
            }
        }
        walk(schema()["properties"].as_object().unwrap(), &page);
        walk(
            schema()["properties"]["nodes"]["additionalProperties"]["properties"].as_object().unwrap(),
            &page,
        );
    }

    #[test]
    fn every_link_leads_to_a_heading() {
        let page = markdown();
        let mut sections = Vec::new();
        collect(schema(), &[], &mut sections);
        let anchors: Vec<String> =
            sections.iter().map(Section::anchor).chain(["expressions".to_owned()]).collect();
        for (at, _) in page.match_indices("](#") {
            let rest = &page[at + 3..];
            let link = &rest[..rest.find(')').unwrap()];
            assert!(anchors.iter().any(|anchor| anchor == link), "{link} leads nowhere: {anchors:?}");
        }
    }
}
