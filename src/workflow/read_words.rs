//! Words for a value of the wrong type: what was found, what is expected, and an example, both from the schema.

use serde_json::Value;

use super::problem::{Problem, Span};
use super::schema::{self, Step};
use super::suggest;
use super::yaml::{Yaml, shorten};

/// The problem of a value that could not be read. `error` is what the deserialiser said.
/// `key` is where its key stands.
pub fn explain(found: &Yaml<'_>, key: Span, place: &[Step<'_>], error: &str) -> Problem {
    let name = name(place);
    let rules = schema::at(place);
    if let Some(field) = missing_field(error) {
        return missing(field, &name, key, place);
    }
    let variants = rules.map(choices).unwrap_or_default();
    if error.starts_with("unknown variant") || (!variants.is_empty() && found.text().is_some()) {
        return choice(found, &name, (rules, &variants));
    }
    let example = remedy(found, place, rules);
    let problem = if error.starts_with("invalid type")
        || error.starts_with("invalid value")
        || error.starts_with("invalid length")
    {
        let expected = rules.map(expected).unwrap_or_else(|| "another value".to_owned());
        Problem::error(
            "spb::value::type",
            found.span,
            format!("{name} takes {expected}, not {}", found.describe()),
        )
        .label(format!("expected {expected}"))
    } else {
        Problem::error("spb::value::invalid", found.span, format!("{name}: {error}")).label("not accepted")
    };
    match example {
        Some(example) => problem.help(example),
        None => problem,
    }
}

/// The field that the deserialiser misses.
pub fn missing_field(error: &str) -> Option<&str> {
    error.strip_prefix("missing field `")?.strip_suffix('`')
}

/// What to write instead: the value itself where only brackets are missing, else an example.
fn remedy(found: &Yaml<'_>, place: &[Step<'_>], rules: Option<&Value>) -> Option<String> {
    let rules = rules?;
    if rules["type"] == "array"
        && let Some(text) = found.text().filter(|text| !text.is_empty())
    {
        return Some(format!("write `{}`", as_entry(place, &Value::Array(vec![text.into()]))));
    }
    let takes_boolean = rules["type"] == "boolean"
        || rules["anyOf"].as_array().is_some_and(|all| all.iter().any(|one| one["type"] == "boolean"));
    if let (true, Some(value)) = (takes_boolean, found.text().and_then(boolean_of_old)) {
        return Some(format!("write `{}`", as_entry(place, &value.into())));
    }
    if found.is_null() && rules["type"][0] == "string" {
        return Some(format!("write `{}` for an empty text", as_entry(place, &"".into())));
    }
    example(rules).map(|example| format!("for example `{}`", as_entry(place, &example)))
}

/// What YAML 1.1 took for a boolean, and YAML 1.2 takes for a text.
pub fn boolean_of_old(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" | "true" => Some(true),
        "no" | "off" | "n" | "false" => Some(false),
        _ => None,
    }
}

fn missing(field: &str, name: &str, span: Span, place: &[Step<'_>]) -> Problem {
    let inner: Vec<Step<'_>> = place.iter().cloned().chain([Step::Key(field)]).collect();
    let example = schema::at(&inner).and_then(example);
    let problem = Problem::error("spb::key::missing", span, format!("{name} needs the key `{field}`"))
        .label(format!("no `{field}` here"));
    match example {
        Some(example) => problem.help(format!("add `{field}: {}`", inline(&example))),
        None => problem,
    }
}

fn choice(found: &Yaml<'_>, name: &str, (rules, variants): (Option<&Value>, &[&str])) -> Problem {
    let listed = suggest::list(variants.iter().copied());
    let problem = Problem::error(
        "spb::value::choice",
        found.span,
        format!("{name} is one of {listed}{}, not {}", or_a_map(rules), found.describe()),
    )
    .label("not one of them");
    match found.text().and_then(|text| suggest::nearest(text, variants.iter().copied())) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem,
    }
}

/// What a place is called: the last key, and which item of it.
fn name(place: &[Step<'_>]) -> String {
    match place {
        [.., Step::Key(key), Step::Item(_)] => format!("an item of `{}`", shorten(key)),
        [.., Step::Key(key)] => format!("`{}`", shorten(key)),
        _ => "this value".to_owned(),
    }
}

/// The words that a value may be, where it is one of them or a map.
fn choices(rules: &Value) -> Vec<&str> {
    let variants = rules["anyOf"].as_array().map_or(&[][..], Vec::as_slice);
    let words = match variants {
        [words, maps @ ..] if maps.iter().all(|other| other["type"] == "object") => words,
        _ => rules,
    };
    words["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What an enumeration accepts beside its words: a map, told by its first key.
fn or_a_map(rules: Option<&Value>) -> String {
    let variants = rules.and_then(|rules| rules["anyOf"].as_array()).into_iter().flatten();
    let key = variants.filter_map(|one| one["properties"].as_object()?.keys().next()).next();
    key.map(|key| format!(", or a map with `{key}`")).unwrap_or_default()
}

/// The types that a schema accepts, in plain words.
fn expected(rules: &Value) -> String {
    let variants = choices(rules);
    if !variants.is_empty() {
        return format!("one of {}{}", suggest::list(variants.into_iter()), or_a_map(Some(rules)));
    }
    if let Some(variants) = rules["anyOf"].as_array() {
        let mut words: Vec<String> = variants.iter().map(expected).collect();
        words.dedup();
        return words.join(" or ").replace("`true` or `false` or", "`true`, `false` or");
    }
    if let Some(only) = rules.get("const") {
        return format!("`{}`", inline(only));
    }
    let kind = match &rules["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("string") if is_duration(rules) => "a duration".to_owned(),
        Some("string") => "a text".to_owned(),
        Some("integer") => "a whole number".to_owned(),
        Some("number") => "a number".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("array") => match &rules["items"]["type"] {
            Value::Array(_) => "a list of texts".to_owned(),
            _ => "a list".to_owned(),
        },
        Some("object") => "a map".to_owned(),
        _ => "another value".to_owned(),
    }
}

pub fn is_duration(rules: &Value) -> bool {
    rules["pattern"].as_str().is_some_and(|pattern| pattern.contains("ms|s|m|h"))
}

/// The first example; of a map without one, its first key with an example.
fn example(rules: &Value) -> Option<Value> {
    let given =
        rules["examples"].as_array().and_then(|examples| examples.first()).or_else(|| rules.get("default"));
    given.cloned().or_else(|| {
        let (key, inner) = rules["properties"].as_object()?.iter().next()?;
        Some(Value::Object([(key.clone(), example(inner)?)].into_iter().collect()))
    })
}

/// An example as it would stand in the file.
fn as_entry(place: &[Step<'_>], example: &Value) -> String {
    match place.last() {
        Some(Step::Key(key)) => format!("{}: {}", shorten(key), inline(example)),
        _ => inline(example),
    }
}

/// A value as inline YAML.
pub fn inline(value: &Value) -> String {
    match value {
        Value::String(text) if needs_quotes(text) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}: {}", inline(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.contains(['{', '}', '[', ']', ',', ':', '#', '"', '*', '&', '!'])
}
