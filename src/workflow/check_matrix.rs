//! The matrix of a node: lists of values, or expressions that yield them. Knows nothing of the instances they make.

use std::collections::HashMap;

use indexmap::IndexMap;

use super::check::Check;
use super::check_names;
use super::check_node::At;
use super::expr;
use super::file_values::{AxisChoice, Json};
use super::model::Axis;
use super::problem::{Problem, Span};
use super::yaml::{Yaml, shorten};

/// Most instances that the lists of one matrix make.
const MAX_INSTANCES: usize = 10_000;

impl Check<'_> {
    pub(super) fn matrix(&mut self, at: &At<'_>) -> IndexMap<String, Axis> {
        let (Some(matrix), Some(yaml)) = (&at.draft.file.matrix, at.yaml("matrix")) else {
            return IndexMap::new();
        };
        if matrix.is_empty() {
            self.problems.push(
                Problem::error("spb::matrix::empty", yaml.span, "a matrix holds at least one list")
                    .label("empty")
                    .help("for example `matrix: { os: [linux, macos] }`"),
            );
        }
        let mut instances: usize = 1;
        let mut axes = IndexMap::new();
        for (entry, (name, axis)) in yaml.entries().iter().zip(matrix) {
            self.name("a list of a matrix", name, entry.key_span);
            let axis = match axis {
                AxisChoice::Values(values) => {
                    instances = instances.saturating_mul(values.len());
                    self.axis(name, values, &entry.value)
                }
                AxisChoice::Expression(text) => {
                    let names = at.world.inputs_and_env("a matrix");
                    Axis::Expression(self.expressions.list(
                        text,
                        entry.value.span,
                        &names,
                        &mut self.problems,
                    ))
                }
            };
            axes.insert(name.clone(), axis);
        }
        if instances > MAX_INSTANCES {
            self.problems.push(
                Problem::error(
                    "spb::matrix::large",
                    yaml.span,
                    format!("this matrix makes {instances} instances; {MAX_INSTANCES} is the limit"),
                )
                .label("too many combinations"),
            );
        }
        axes
    }

    /// `1.10` is the number 1.1: an author who means a version must say so.
    fn spelling(&mut self, value: &serde_json::Value, item: &Yaml<'_>) {
        let Some(text) = item.text().filter(|_| !value.is_string() && !value.is_null()) else { return };
        let read = expr::text_of(value);
        if read != text {
            self.problems.push(
                Problem::error("spb::matrix::spelling", item.span, format!("`{text}` is read as `{read}`"))
                    .label("not kept as it is spelled")
                    .help(format!(
                        "write {text:?} for a text, or `{read}` for a {}",
                        if value.is_boolean() { "boolean" } else { "number" }
                    )),
            );
        }
    }

    fn axis(&mut self, name: &str, values: &[Json], yaml: &Yaml<'_>) -> Axis {
        if values.is_empty() {
            self.problems.push(
                Problem::error(
                    "spb::matrix::empty",
                    yaml.span,
                    format!("the list `{}` has no values", shorten(name)),
                )
                .label("empty"),
            );
        }
        let mut seen: HashMap<String, Span> = HashMap::new();
        for (Json(value), item) in values.iter().zip(yaml.items()) {
            if item.text().is_some_and(|text| text.contains("${{")) {
                self.problems.push(
                    Problem::error(
                        "spb::matrix::template",
                        item.span,
                        "the values of a list are not evaluated",
                    )
                    .label("an expression")
                    .help(format!(
                        "make the whole list one expression: `{}: \"${{{{ inputs.{} }}}}\"`",
                        shorten(name),
                        shorten(name)
                    )),
                );
            }
            self.spelling(value, item);
            if let Some(first) = seen.insert(value.to_string(), item.span) {
                self.problems.push(check_names::twice(
                    "value",
                    item.text().unwrap_or(&value.to_string()),
                    item.span,
                    first,
                ));
            }
        }
        Axis::Values(values.iter().map(|json| json.0.clone()).collect())
    }
}
