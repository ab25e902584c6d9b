//! What a node leaves: its outputs, and whether its result is kept for later. Knows nothing of files or of the cache.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::check::{Check, CheckedDefaults};
use super::check_names;
use super::check_node::At;
use super::contract::{self, Contract, Segment};
use super::expr::types::Type;
use super::file_node::{self, OutputFormat as Format};
use super::file_values::{CacheChoice, SchemaMap, Text};
use super::model::{Cache, Output, OutputFormat, OutputFrom, Workspace};
use super::problem::Problem;
use super::yaml::{Entry, Yaml, shorten};

impl Check<'_> {
    pub(super) fn outputs(&mut self, at: &At<'_>) -> IndexMap<String, Output> {
        let (Some(outputs), Some(yaml)) = (&at.draft.file.outputs, at.yaml("outputs")) else {
            return IndexMap::new();
        };
        let checked = yaml.entries().iter().zip(outputs);
        checked.map(|(entry, (name, output))| (name.clone(), self.output(name, output, entry))).collect()
    }

    fn output(&mut self, name: &str, output: &file_node::Output, entry: &Entry<'_>) -> Output {
        self.name("an output", name, entry.key_span);
        let span = |key: &str| entry.value.get(key).map_or(entry.key_span, |yaml| yaml.span);
        let stdout = output.stdout == Some(true);
        let sources: Vec<&str> =
            [("file", output.file.is_some()), ("out", output.out.is_some()), ("stdout", stdout)]
                .into_iter()
                .filter(|(_, used)| *used)
                .map(|(key, _)| key)
                .collect();
        if let [first, second, ..] = sources.as_slice() {
            self.problems.push(
                Problem::error(
                    "spb::output::sources",
                    span(second),
                    format!("the output `{}` has two sources", shorten(name)),
                )
                .label("second source")
                .also(span(first), "first source")
                .help("keep one of `file`, `out` and `stdout`"),
            );
        }
        for (key, path) in [("file", &output.file), ("out", &output.out)] {
            if let Some(Text(path)) = path {
                self.problems.extend(check_names::relative_path(key, path, span(key)));
            }
        }
        let from = match (&output.file, &output.out) {
            (Some(Text(path)), _) => OutputFrom::File(path.clone()),
            (None, Some(Text(path))) => OutputFrom::Out(path.clone()),
            (None, None) if stdout => OutputFrom::Stdout,
            (None, None) => OutputFrom::Line,
        };
        let format = match output.format {
            Some(Format::Lines) => OutputFormat::Lines,
            Some(Format::Json) => OutputFormat::Json,
            Some(Format::Text) | None => OutputFormat::Text,
        };
        let contract = output.schema.as_ref().and_then(|SchemaMap(schema)| {
            let yaml = entry.value.get("schema")?;
            self.contract(name, schema, format, yaml)
        });
        Output { from, format, contract, span: entry.key_span }
    }

    fn contract(
        &mut self,
        name: &str,
        schema: &Json,
        format: OutputFormat,
        yaml: &Yaml<'_>,
    ) -> Option<Arc<Contract>> {
        let contract = self.sound(schema, yaml)?;
        let (gives, always) = match format {
            OutputFormat::Text => ("the format `text` gives a text", Type::Text),
            OutputFormat::Lines => ("the format `lines` gives a list of texts", Type::list(Type::Text)),
            OutputFormat::Json => return Some(contract),
        };
        let asked = contract::kind(name, schema);
        if !always.comparable(&asked) || asked == Type::Null {
            self.problems.push(
                Problem::error(
                    "spb::output::schema_format",
                    yaml.get("type").map_or(yaml.span, |kind| kind.span),
                    format!("{gives}, which never fits this schema"),
                )
                .label(match asked {
                    Type::List(item) => format!("a list, each item {item}"),
                    asked => asked.to_string(),
                })
                .help("add `format: json` to the output"),
            );
        }
        Some(contract)
    }

    fn sound(&mut self, schema: &Json, yaml: &Yaml<'_>) -> Option<Arc<Contract>> {
        let text = schema.to_string();
        if let Some(known) = self.contracts.get(&text) {
            return Some(known.clone());
        }
        match Contract::new(schema) {
            Ok(contract) => Some(self.contracts.entry(text).or_insert(Arc::new(contract)).clone()),
            Err(faults) => {
                self.problems.extend(faults.into_iter().map(|fault| of_schema(fault, yaml)));
                None
            }
        }
    }

    pub(super) fn cache(&mut self, at: &At<'_>, defaults: &CheckedDefaults, workspace: Workspace) -> Cache {
        let own = at.draft.file.cache.as_ref();
        let yaml = own.and_then(|_| at.yaml("cache"));
        let settings = match own.or(defaults.file.cache.as_ref()) {
            Some(CacheChoice::Settings(settings)) => settings.clone(),
            Some(CacheChoice::Switch(false)) => return no_cache(),
            Some(CacheChoice::Switch(true)) | None => file_node::Cache::default(),
        };
        if workspace == Workspace::Repo {
            return no_cache();
        }
        let items = |key: &str| yaml.and_then(|yaml| yaml.get(key)).map_or(&[][..], Yaml::items);
        let place =
            |items: &[Yaml<'_>], index: usize| items.get(index).map_or(at.draft.span, |item| item.span);
        for (index, Text(tool)) in settings.tools.iter().flatten().enumerate() {
            self.script("tools", tool, place(items("tools"), index));
        }
        let mut extra = Vec::new();
        for (index, Text(text)) in settings.extra.iter().flatten().enumerate() {
            let span = place(items("extra"), index);
            extra.push(self.expressions.template(text, span, || at.names(), &mut self.problems));
        }
        Cache {
            enabled: true,
            ttl: settings.ttl.map(|period| period.0),
            tools: settings.tools.into_iter().flatten().map(|text| text.0).collect(),
            extra,
        }
    }
}

/// A fault of a schema at its place in the file.
fn of_schema(fault: contract::Fault, yaml: &Yaml<'_>) -> Problem {
    let mut at = (yaml, yaml.span);
    for segment in &fault.path {
        let next = match segment {
            Segment::Item(index) => at.0.items().get(*index).map(|item| (item, item.span)),
            Segment::Key(key) => at.0.entries().iter().find(|entry| entry.key == *key).map(|entry| {
                let is_empty = entry.value.span.end <= entry.value.span.start;
                (&entry.value, if is_empty { entry.key_span } else { entry.value.span })
            }),
        };
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    let problem = Problem::error("spb::output::schema", at.1, fault.message).label("here");
    match fault.help {
        Some(help) => problem.help(help),
        None => problem,
    }
}

pub(super) fn no_cache() -> Cache {
    Cache { enabled: false, ttl: None, tools: Vec::new(), extra: Vec::new() }
}
