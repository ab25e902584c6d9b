//! Values of inputs: given texts and values become the declared types, or every problem with them at once. Knows
//! nothing of where they came from.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use regex::Regex;
use serde_json::Value;

use super::model::{Input, InputKind, Workflow};
use super::suggest;
use super::yaml::shorten;

/// Largest file of inputs, in bytes.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;

/// A value as it was given.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// `-i name=value`: read by the declared type.
    Text(String),
    /// From a file of inputs: already has a type.
    Value(Value),
}

/// One input that is missing, unknown or does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("input `{name}` {message}")]
pub struct InputProblem {
    pub name: String,
    /// Follows the name: `is missing`, `takes an integer, not "x"`.
    pub message: String,
    pub help: Option<String>,
}

/// Why a file of inputs gives none.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the inputs in `{}`: {reason}", path.display())]
pub struct InputsFileError {
    pub path: PathBuf,
    pub reason: String,
}

/// The value of every declared input, in declared order.
///
/// # Errors
/// All inputs that are missing, unknown, or of the wrong type or value.
pub fn resolve(
    workflow: &Workflow,
    given: &IndexMap<String, Given>,
) -> Result<IndexMap<String, Value>, Vec<InputProblem>> {
    let (mut values, mut problems) = (IndexMap::new(), Vec::new());
    for (name, input) in &workflow.inputs {
        match value(input, given.get(name)) {
            Ok(value) => drop(values.insert(name.clone(), value)),
            Err((message, help)) => problems.push(InputProblem { name: name.clone(), message, help }),
        }
    }
    for name in given.keys().filter(|name| !workflow.inputs.contains_key(*name)) {
        problems.push(unknown(name, workflow));
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

/// Reads a file of inputs: a map of names to values, in YAML or JSON.
///
/// # Errors
/// When it is not YAML, or not a map of plain values.
pub fn inputs_file(path: &Path, text: &str) -> Result<IndexMap<String, Value>, InputsFileError> {
    let fail = |reason: String| InputsFileError { path: path.to_owned(), reason };
    if text.len() as u64 > MAX_FILE {
        return Err(fail(format!("it is larger than {} MiB", MAX_FILE >> 20)));
    }
    let text = as_yaml(text.strip_prefix('\u{feff}').unwrap_or(text));
    let (tree, problems) = super::parse::parse(&text);
    if let Some(problem) = problems.first() {
        let start = problem.labels.first().map_or(0, |label| label.0.start);
        let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        return Err(fail(format!("line {line}: {}", problem.message)));
    }
    let Some(tree) = tree.filter(|tree| !tree.is_null()) else { return Ok(IndexMap::new()) };
    let named = serde_yaml::from_value::<IndexMap<String, super::file_values::Json>>(tree.to_serde());
    let named = named.map_err(|error| fail(format!("it is not a map of input names to values: {error}")))?;
    Ok(named.into_iter().map(|(name, json)| (name, json.0)).collect())
}

/// JSON is YAML but for a few characters, which it lets stand in texts: there they are spelled out.
fn as_yaml(text: &str) -> Cow<'_, str> {
    let refused = |found: char| {
        matches!(found, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    if !text.contains(refused) || serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return Cow::Borrowed(text);
    }
    let spelled = text.chars().fold(String::with_capacity(text.len() + 64), |mut spelled, found| {
        match refused(found) {
            true => spelled.push_str(&format!("\\u{:04x}", u32::from(found))),
            false => spelled.push(found),
        }
        spelled
    });
    Cow::Owned(spelled)
}

type Refusal = (String, Option<String>);

fn value(input: &Input, given: Option<&Given>) -> Result<Value, Refusal> {
    let plain = |message: String| (message, help(input));
    let value = match (given, &input.default) {
        (None, Some(default)) => return Ok(default.clone()),
        (None, None) => return Err(plain(format!("is missing: it takes {}", a_word(input)))),
        (Some(Given::Text(text)), _) => from_text(input, text),
        (Some(Given::Value(value)), _) => of_type(input, value.clone()),
    };
    let value = value.map_err(plain)?;
    rules(input, &value).map_err(plain)?;
    Ok(value)
}

fn help(input: &Input) -> Option<String> {
    (!input.description.is_empty()).then(|| input.description.clone())
}

fn unknown(name: &str, workflow: &Workflow) -> InputProblem {
    let names = || workflow.inputs.keys().map(String::as_str);
    let help = match suggest::nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if workflow.inputs.is_empty() => "this workflow takes no inputs".to_owned(),
        None => format!("this workflow takes {}", suggest::list(names())),
    };
    InputProblem { name: shorten(name).into_owned(), message: "is not declared".to_owned(), help: Some(help) }
}

/// Reads a text by the declared type.
fn from_text(input: &Input, text: &str) -> Result<Value, String> {
    let parsed = match input.kind {
        InputKind::String => Some(Value::from(text)),
        InputKind::Integer => text.trim().parse::<i64>().ok().map(Value::from),
        InputKind::Number => text.trim().parse::<f64>().ok().and_then(number),
        InputKind::Boolean => match text.trim() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        InputKind::Array => return array_from_text(input, text),
        InputKind::Object => serde_json::from_str::<Value>(text).ok().filter(Value::is_object),
    };
    let hint = match input.kind {
        InputKind::Object => " written as JSON",
        InputKind::Boolean => ", `true` or `false`",
        _ => "",
    };
    parsed.ok_or_else(|| format!("takes {}{hint}, not {:?}", a_word(input), shorten(text)))
}

/// JSON, or items between commas.
fn array_from_text(input: &Input, text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('[') {
        let value = serde_json::from_str(text)
            .map_err(|error| format!("takes a list, and this is not JSON: {error}"))?;
        return of_type(input, value);
    }
    if text.trim().is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    let item_kind = input.items.unwrap_or(InputKind::String);
    let item = Input { kind: item_kind, items: None, ..input.clone() };
    let items = text
        .split(',')
        .map(|part| from_text(&item, part.trim()).map_err(|why| format!("item {part:?} {why}")));
    items.collect::<Result<Vec<_>, _>>().map(Value::Array)
}

/// A value as one of the declared type; whole numbers are also numbers.
///
/// # Errors
/// What it takes instead, in words that follow its name.
pub(super) fn of_type(input: &Input, value: Value) -> Result<Value, String> {
    let found = describe(&value);
    match (fits(input.kind, value), input.items) {
        (Some(Value::Array(items)), Some(kind)) => {
            let mut typed = Vec::with_capacity(items.len());
            for (index, item) in items.into_iter().enumerate() {
                let found = describe(&item);
                let item = fits(kind, item);
                typed.push(
                    item.ok_or_else(|| format!("takes {} as item {}, not {found}", a(kind), index + 1))?,
                );
            }
            Ok(Value::Array(typed))
        }
        (Some(value), _) => Ok(value),
        (None, _) => Err(format!("takes {}, not {found}", a_word(input))),
    }
}

fn fits(kind: InputKind, value: Value) -> Option<Value> {
    match (kind, value) {
        (InputKind::Number, Value::Number(found)) => found.as_f64().and_then(number),
        (InputKind::Integer, Value::Number(found)) if found.is_i64() => Some(Value::Number(found)),
        (InputKind::String, value @ Value::String(_))
        | (InputKind::Boolean, value @ Value::Bool(_))
        | (InputKind::Array, value @ Value::Array(_))
        | (InputKind::Object, value @ Value::Object(_)) => Some(value),
        _ => None,
    }
}

/// Numbers are always stored with a fraction, so that expressions see one type.
fn number(value: f64) -> Option<Value> {
    serde_json::Number::from_f64(value).map(Value::Number)
}

/// Checks `enum`, `pattern`, `minimum` and `maximum`.
///
/// # Errors
/// The first that is broken, in words that follow the input's name.
pub(super) fn rules(input: &Input, value: &Value) -> Result<(), String> {
    if let Some(allowed) = &input.allowed
        && !allowed.contains(value)
    {
        let words: Vec<String> = allowed.iter().map(Value::to_string).collect();
        return Err(format!("takes one of {}, not {}", words.join(", "), describe(value)));
    }
    if let (Some(pattern), Value::String(text)) = (&input.pattern, value)
        && whole(pattern).is_ok_and(|pattern| !pattern.is_match(text))
    {
        return Err(format!("must match `{pattern}`, and {:?} does not", shorten(text)));
    }
    if let Some(number) = value.as_f64() {
        if let Some(minimum) = input.minimum.filter(|minimum| number < *minimum) {
            return Err(format!("takes at least {minimum}, not {number}"));
        }
        if let Some(maximum) = input.maximum.filter(|maximum| number > *maximum) {
            return Err(format!("takes at most {maximum}, not {number}"));
        }
    }
    Ok(())
}

/// A pattern that matches whole texts only.
pub(super) fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    // Compiled alone first: `a)(b` would be valid inside the parentheses.
    Regex::new(pattern)?;
    Regex::new(&format!("^(?:{pattern})$"))
}

/// The name of a type in the file.
pub(super) fn word(kind: InputKind) -> &'static str {
    match kind {
        InputKind::String => "string",
        InputKind::Integer => "integer",
        InputKind::Number => "number",
        InputKind::Boolean => "boolean",
        InputKind::Array => "array",
        InputKind::Object => "object",
    }
}

pub(super) fn a(kind: InputKind) -> &'static str {
    match kind {
        InputKind::String => "a text",
        InputKind::Integer => "a whole number",
        InputKind::Number => "a number",
        InputKind::Boolean => "a boolean",
        InputKind::Array => "a list",
        InputKind::Object => "a map",
    }
}

fn a_word(input: &Input) -> &'static str {
    a(input.kind)
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("the boolean `{value}`"),
        Value::Number(number) => format!("the number `{number}`"),
        Value::String(text) => format!("the text {:?}", shorten(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FILE: &str = r#"
version: 1
inputs:
  task: { type: string, description: What to build., pattern: "[a-z ]+" }
  mode: { type: string, enum: [debug, release], default: debug }
  count: { type: integer, minimum: 1, maximum: 10, default: 3 }
  ratio: { type: number, default: 1 }
  flag: { type: boolean, default: false }
  names: { type: array, items: string, default: [a] }
  numbers: { type: array, items: integer, default: [] }
  settings: { type: object, default: {} }
nodes: { a: { run: make } }
"#;

    fn workflow() -> Workflow {
        super::super::load(Path::new("a.yaml"), FILE.into()).workflow.unwrap()
    }

    fn texts(given: &[(&str, &str)]) -> Result<IndexMap<String, Value>, Vec<String>> {
        let given =
            given.iter().map(|(name, text)| ((*name).to_owned(), Given::Text((*text).to_owned()))).collect();
        resolve(&workflow(), &given)
            .map_err(|problems| problems.iter().map(InputProblem::to_string).collect())
    }

    #[test]
    fn texts_are_read_by_their_type() {
        let values = texts(&[
            ("task", "add a flag"),
            ("mode", "release"),
            ("count", "7"),
            ("ratio", "2"),
            ("flag", "true"),
            ("names", "x, y,z"),
            ("numbers", "[1, 2]"),
            ("settings", r#"{"a": [1]}"#),
        ]);
        let expect = json!({
            "task": "add a flag", "mode": "release", "count": 7, "ratio": 2.0, "flag": true, "names": ["x", "y", "z"],
            "numbers": [1, 2], "settings": {"a": [1]}
        });
        assert_eq!(serde_json::to_value(values.unwrap()).unwrap(), expect);
    }

    #[test]
    fn defaults_stand_in_declared_order() {
        let values = texts(&[("task", "x")]).unwrap();
        assert_eq!(values.keys().next().map(String::as_str), Some("task"));
        assert_eq!((&values["ratio"], &values["names"]), (&json!(1.0), &json!(["a"])));
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let problems = texts(&[
            ("mode", "fast"),
            ("count", "11"),
            ("ratio", "inf"),
            ("flag", "yes"),
            ("names", "[1]"),
            ("numbers", "1,x"),
            ("settings", "[]"),
            ("tsk", "x"),
        ]);
        assert_eq!(
            problems.unwrap_err(),
            [
                "input `task` is missing: it takes a text",
                "input `mode` takes one of \"debug\", \"release\", not the text \"fast\"",
                "input `count` takes at most 10, not 11",
                "input `ratio` takes a number, not \"inf\"",
                "input `flag` takes a boolean, `true` or `false`, not \"yes\"",
                "input `names` takes a text as item 1, not the number `1`",
                "input `numbers` item \"x\" takes a whole number, not \"x\"",
                "input `settings` takes a map written as JSON, not \"[]\"",
                "input `tsk` is not declared",
            ]
        );
    }

    #[test]
    fn patterns_match_whole_texts() {
        for bad in ["Add", "a1", "", "a\n"] {
            assert!(texts(&[("task", bad)]).is_err(), "{bad:?} was accepted");
        }
        assert!(whole("a|b").unwrap().is_match("b") && !whole("a|b").unwrap().is_match("ab"));
        assert!(whole("a)(b").is_err());
    }

    #[test]
    fn values_keep_their_type() {
        let given = |value: Value| {
            let given = IndexMap::from([
                ("task".to_owned(), Given::Text("x".to_owned())),
                ("count".to_owned(), Given::Value(value)),
            ]);
            resolve(&workflow(), &given)
                .map(|values| values["count"].clone())
                .map_err(|problems| problems[0].to_string())
        };
        assert_eq!(given(json!(4)), Ok(json!(4)));
        assert_eq!(
            given(json!("4")),
            Err("input `count` takes a whole number, not the text \"4\"".to_owned())
        );
        assert_eq!(
            given(json!(4.0)),
            Err("input `count` takes a whole number, not the number `4.0`".to_owned())
        );
        assert_eq!(given(Value::Null), Err("input `count` takes a whole number, not nothing".to_owned()));
    }

    #[test]
    fn hostile_texts_stay_texts() {
        let text = "${{ inputs.count }}";
        let file = "version: 1\ninputs: { a: { type: string } }\nnodes: { n: { run: make, env: { A: \"${{ inputs.a }}\" } } }\n";
        let workflow = super::super::load(Path::new("a.yaml"), file.into()).workflow.unwrap();
        let given = IndexMap::from([("a".to_owned(), Given::Text(text.to_owned()))]);
        assert_eq!(resolve(&workflow, &given).unwrap()["a"], json!(text));
    }

    #[test]
    fn files_of_inputs_are_yaml_or_json() {
        let read = |text: &str| inputs_file(Path::new("in.yaml"), text).map_err(|error| error.to_string());
        assert_eq!(
            read("a: 1\nb: [x, 1.5]\n").unwrap(),
            IndexMap::from([("a".to_owned(), json!(1)), ("b".to_owned(), json!(["x", 1.5]))])
        );
        assert_eq!(read("{\"a\": {\"b\": null}}").unwrap()["a"], json!({"b": null}));
        assert!(read("").unwrap().is_empty());
        assert_eq!(
            read("a: [").unwrap_err(),
            "cannot read the inputs in `in.yaml`: line 1: a `[` is opened and never closed"
        );
        assert_eq!(
            read("a: 1\na: 2\n").unwrap_err(),
            "cannot read the inputs in `in.yaml`: line 2: the key `a` appears twice"
        );
        assert!(read("[1]").unwrap_err().contains("not a map"));
    }
}
