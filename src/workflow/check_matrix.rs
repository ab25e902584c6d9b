//! The plain lists of a matrix: their values are data, each once. Knows nothing of how they are combined.

use super::check::Check;
use super::check_names;
use super::file_values::Json;
use super::model::Axis;
use super::problem::{Problem, Span};
use super::yaml::{Yaml, shorten};

impl Check<'_> {
    /// One list, as written in the file.
    pub(super) fn axis(&mut self, name: &str, values: &[Json], yaml: &Yaml<'_>) -> Axis {
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
        let mut seen: std::collections::HashMap<String, Span> = std::collections::HashMap::new();
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
