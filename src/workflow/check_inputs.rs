//! The declarations of inputs: their types fit together, and their defaults keep their own rules. Knows nothing of
//! given values; see `input`.

use indexmap::IndexMap;

use super::check::Check;
use super::check_names;
use super::file::{self, InputKind as Kind};
use super::file_values::Text;
use super::input;
use super::keys;
use super::model::{Input, InputKind};
use super::problem::{Problem, Span};
use super::read;
use super::read_words;
use super::schema::Step;
use super::yaml::{Entry, Yaml};

impl Check<'_> {
    pub(super) fn inputs(&mut self, root: &Yaml<'_>) -> IndexMap<String, Input> {
        let Some(yaml) = root.get("inputs").filter(|value| !value.is_null()) else { return IndexMap::new() };
        if !matches!(yaml.kind, super::yaml::Kind::Map(_)) {
            let place = [Step::Key("inputs")];
            read::piece::<IndexMap<String, file::Input>>(yaml, &place, yaml.span, None, &mut self.problems);
        }
        let mut inputs = IndexMap::new();
        for entry in yaml.entries() {
            match self.input(entry) {
                Some(input) => drop(inputs.insert(entry.key.to_string(), input)),
                None => self.broken_inputs.push(entry.key.to_string()),
            }
        }
        inputs
    }

    fn input(&mut self, entry: &Entry<'_>) -> Option<Input> {
        self.name("an input", &entry.key, entry.key_span);
        let shape = keys::FILE.nested.iter().find_map(|(name, nest)| match nest {
            keys::Nest::Each(shape) if *name == "inputs" => Some(&***shape),
            _ => None,
        });
        if entry.value.is_null() {
            self.problems.push(
                read::no_value(entry).help(format!("say what it is: `{}: {{ type: string }}`", entry.key)),
            );
            return None;
        }
        let place = [Step::Key("inputs"), Step::Key(&entry.key)];
        let piece =
            read::piece::<file::Input>(&entry.value, &place, entry.key_span, shape, &mut self.problems)?;
        let (file, yaml) = (piece.value, &*piece.yaml);
        let span = |key: &str| yaml.get(key).map_or(entry.key_span, |yaml| yaml.span);
        self.rules_fit(&file, &span);
        let kind = kind(file.kind);
        let mut input = Input {
            kind,
            items: file.items.map(self::kind),
            default: None,
            allowed: None,
            pattern: file.pattern.map(|Text(pattern)| pattern),
            minimum: file.minimum,
            maximum: file.maximum,
            description: file.description.map(|Text(text)| text).unwrap_or_default(),
            span: entry.key_span,
        };
        input.allowed = file.allowed.is_some().then(|| self.allowed(&input, yaml));
        input.default = file.default.is_some().then(|| self.default(&entry.key, &input, yaml)).flatten();
        Some(input)
    }

    /// Each rule belongs to some types only.
    fn rules_fit(&mut self, file: &file::Input, span: &dyn Fn(&str) -> Span) {
        let number = matches!(file.kind, Kind::Integer | Kind::Number);
        let rules = [
            ("pattern", file.pattern.is_some(), file.kind == Kind::String, "texts"),
            ("minimum", file.minimum.is_some(), number, "numbers"),
            ("maximum", file.maximum.is_some(), number, "numbers"),
            ("items", file.items.is_some(), file.kind == Kind::Array, "arrays"),
            (
                "enum",
                file.allowed.is_some(),
                !matches!(file.kind, Kind::Array | Kind::Object),
                "single values",
            ),
        ];
        for (key, used, fits, whose) in rules {
            if used && !fits {
                self.problems.push(
                    Problem::error(
                        "spb::input::rule",
                        span(key),
                        format!(
                            "`{key}` is for {whose}, and this input is of type `{}`",
                            input::word(kind(file.kind))
                        ),
                    )
                    .label("does not fit the type")
                    .also(span("type"), "the type"),
                );
            }
        }
        if let (Some(low), Some(high)) = (file.minimum, file.maximum)
            && low > high
        {
            self.problems.push(
                Problem::error(
                    "spb::input::range",
                    span("minimum"),
                    "no number is both at least `minimum` and at most `maximum`",
                )
                .label("larger than the maximum")
                .also(span("maximum"), "the maximum"),
            );
        }
        if let Some(Text(pattern)) = &file.pattern
            && let Err(error) = input::whole(pattern)
        {
            self.problems.push(
                Problem::error(
                    "spb::input::pattern",
                    span("pattern"),
                    format!("the pattern is not a regular expression: {}", last_line(&error.to_string())),
                )
                .label("not understood")
                .help("for example `[a-z]+-[0-9]+`; the whole text must match"),
            );
        }
    }

    fn allowed(&mut self, input: &Input, yaml: &Yaml<'_>) -> Vec<serde_json::Value> {
        let items = yaml.get("enum").map_or(&[][..], Yaml::items);
        if items.is_empty() {
            let span = yaml.get("enum").map_or(input.span, |yaml| yaml.span);
            self.problems.push(
                Problem::error("spb::input::enum", span, "`enum` lists at least one value").label("empty"),
            );
        }
        let mut values: Vec<serde_json::Value> = Vec::new();
        for item in items {
            match typed(input, item) {
                Ok(value) if values.contains(&value) => {
                    let text = item.text().unwrap_or_default();
                    let first = items[values.iter().position(|known| *known == value).unwrap_or(0)].span;
                    self.problems.push(check_names::twice("value", text, item.span, first));
                }
                Ok(value) => values.push(value),
                Err(why) => self.problems.push(
                    Problem::error("spb::input::enum", item.span, format!("a value of `enum` {why}"))
                        .label("wrong type"),
                ),
            }
        }
        values
    }

    fn default(&mut self, name: &str, input: &Input, yaml: &Yaml<'_>) -> Option<serde_json::Value> {
        let found = yaml.get("default")?;
        if found.text().is_some_and(|text| text.contains("${{")) {
            self.problems.push(
                Problem::warning(
                    "spb::input::template",
                    found.span,
                    format!("the default of `{name}` is not evaluated"),
                )
                .label("a plain text")
                .help("expressions may stand where the input is read"),
            );
        }
        if matches!(input.kind, InputKind::Integer | InputKind::Number)
            && let Some(digits) = found.text().filter(|text| looks_octal(text))
        {
            self.problems.push(
                Problem::warning(
                    "spb::input::octal",
                    found.span,
                    format!(
                        "`{digits}` is read as {}, not as an octal number",
                        digits.trim_start_matches('0')
                    ),
                )
                .label("a leading zero")
                .help(format!(
                    "write `0o{}` for the octal number, or leave the zero out",
                    digits.trim_start_matches('0')
                )),
            );
        }
        let checked = typed(input, found).and_then(|value| input::rules(input, &value).map(|()| value));
        match checked {
            Ok(value) => Some(value),
            Err(why) => {
                let problem = Problem::error(
                    "spb::input::default",
                    found.span,
                    format!("the default of `{name}` {why}"),
                )
                .label(format!("{} here", found.describe()));
                let old = found.text().filter(|_| input.kind == InputKind::Boolean);
                self.problems.push(match old.and_then(read_words::boolean_of_old) {
                    Some(value) => problem.help(format!("write `default: {value}`")),
                    None => problem,
                });
                None
            }
        }
    }
}

/// A value of the file as one of the input's type. Texts keep their spelling: `1.10` is not `1.1`.
pub(super) fn typed(input: &Input, yaml: &Yaml<'_>) -> Result<serde_json::Value, String> {
    if input.kind == InputKind::String
        && let Some(text) = yaml.text()
        && !yaml.is_null()
    {
        return Ok(text.into());
    }
    let value = yaml.to_json().ok_or("holds an infinite number")?;
    input::of_type(input, value)
}

/// `0755`: octal in YAML 1.1, decimal in YAML 1.2.
fn looks_octal(text: &str) -> bool {
    text.len() > 1
        && text.starts_with('0')
        && !text.trim_start_matches('0').is_empty()
        && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte))
}

fn kind(kind: Kind) -> InputKind {
    match kind {
        Kind::String => InputKind::String,
        Kind::Integer => InputKind::Integer,
        Kind::Number => InputKind::Number,
        Kind::Boolean => InputKind::Boolean,
        Kind::Array => InputKind::Array,
        Kind::Object => InputKind::Object,
    }
}

/// The crate `regex` draws its errors over several lines; the last says what is wrong.
fn last_line(error: &str) -> &str {
    let line = error.lines().last().unwrap_or(error).trim();
    line.strip_prefix("error: ").unwrap_or(line)
}
