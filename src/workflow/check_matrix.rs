//! The matrix of a node: its lists, each value once, and the maps of `include` and `exclude`. What they combine to is
//! for `plan`; here only what can never be meant is found.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::check::Check;
use super::check_names;
use super::check_scope::World;
use super::expr;
use super::file_values::{AxisChoice, EXCEPTIONS, Json, Matrix as MatrixFile};
use super::model::{Axis, Matrix};
use super::problem::{Problem, Span};
use super::suggest;
use super::yaml::{Yaml, quoted, shorten};

/// Most instances that the lists of one matrix make.
const MAX_INSTANCES: usize = 10_000;

impl Check<'_> {
    pub(super) fn matrix(
        &mut self,
        file: Option<&MatrixFile>,
        yaml: Option<&Yaml<'_>>,
        world: &World<'_>,
    ) -> Matrix {
        let (Some(file), Some(yaml)) = (file, yaml) else { return Matrix::default() };
        let mut axes = IndexMap::new();
        let mut exceptions = [Vec::new(), Vec::new()];
        for (entry, (name, list)) in yaml.entries().iter().zip(&file.0) {
            if let Some(which) = EXCEPTIONS.iter().position(|known| known == name) {
                exceptions[which] = self.exceptions(name, list, &entry.value);
                continue;
            }
            self.name("a list of a matrix", name, entry.key_span);
            axes.insert(name.clone(), self.list(name, list, &entry.value, world));
        }
        if axes.is_empty() && !file.0.contains_key("include") {
            self.problems.push(
                Problem::error("spb::matrix::empty", yaml.span, "a matrix holds at least one list")
                    .label("empty")
                    .help("for example `matrix: { os: [linux, macos] }`"),
            );
        }
        let [include, exclude] = exceptions;
        if let Some(list) = yaml.get("exclude") {
            self.excluded_axes(&axes, list);
        }
        let matrix = Matrix { axes, exclude, include };
        self.size(&matrix, yaml);
        matrix
    }

    fn list(&mut self, name: &str, list: &AxisChoice, yaml: &Yaml<'_>, world: &World<'_>) -> Axis {
        match list {
            AxisChoice::Values(values) => self.axis(name, values, yaml),
            AxisChoice::Expression(text) => {
                let names = world.inputs_and_env("a matrix");
                Axis::Expression(self.expressions.list(
                    text,
                    yaml.span,
                    (&names, "a matrix"),
                    &mut self.problems,
                ))
            }
        }
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

    /// One list, as written in the file.
    fn axis(&mut self, name: &str, values: &[Json], yaml: &Yaml<'_>) -> Axis {
        if values.is_empty() {
            self.problems.push(empty_list(name, yaml.span));
        }
        let mut seen: std::collections::HashMap<String, Span> = std::collections::HashMap::new();
        for (Json(value), item) in values.iter().zip(yaml.items()) {
            if is_template(item) {
                let name = shorten(name);
                let help =
                    format!("make the whole list one expression: `{name}: \"${{{{ inputs.{name} }}}}\"`");
                self.problems.push(template(item.span).help(help));
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

    /// The maps of `include` or `exclude`.
    fn exceptions(&mut self, key: &str, list: &AxisChoice, yaml: &Yaml<'_>) -> Vec<Map<String, Value>> {
        let AxisChoice::Values(values) = list else {
            self.problems.push(
                Problem::error(
                    "spb::matrix::exception",
                    yaml.span,
                    format!("`{key}` of a matrix takes a list of maps, not {}", yaml.describe()),
                )
                .label("expected a list")
                .help(format!("for example `{key}: [{{ os: linux, toolchain: beta }}]`")),
            );
            return Vec::new();
        };
        if values.is_empty() {
            self.problems.push(empty_list(key, yaml.span));
        }
        let mut maps = Vec::with_capacity(values.len());
        for (Json(value), item) in values.iter().zip(yaml.items()) {
            let Some(map) = value.as_object().filter(|map| !map.is_empty()) else {
                self.problems.push(
                    Problem::error(
                        "spb::matrix::exception",
                        item.span,
                        format!(
                            "an item of `{key}` is a map with values of the matrix, not {}",
                            item.describe()
                        ),
                    )
                    .label("names no value")
                    .help(format!("for example `{key}: [{{ os: linux, toolchain: beta }}]`")),
                );
                continue;
            };
            for entry in item.entries() {
                if key == "include" {
                    self.name("a value of a matrix", &entry.key, entry.key_span);
                }
                if is_template(&entry.value) {
                    let problem = template(entry.value.span);
                    self.problems
                        .push(problem.help("write the value, or make a list of the matrix one expression"));
                }
            }
            maps.push(map.clone());
        }
        maps
    }

    /// An item of `exclude` that names no list is a mistake; one with a value that its list lacks does nothing.
    fn excluded_axes(&mut self, axes: &IndexMap<String, Axis>, list: &Yaml<'_>) {
        for entry in list.items().iter().flat_map(|item| item.entries()) {
            let key = entry.key.as_ref();
            let Some(axis) = axes.get(key) else {
                let problem = Problem::error(
                    "spb::matrix::unknown_list",
                    entry.key_span,
                    format!("`exclude` names {}, which is no list of this matrix", quoted(key)),
                )
                .label("unknown");
                let names = || axes.keys().map(String::as_str);
                self.problems.push(match suggest::nearest(key, names()) {
                    Some(near) => problem.help(format!("did you mean `{near}`?")),
                    None => problem.help(format!("lists: {}", suggest::list(names()))),
                });
                continue;
            };
            let (Axis::Values(values), false) = (axis, is_template(&entry.value)) else { continue };
            let Ok(Json(value)) = serde::Deserialize::deserialize(entry.value.to_serde()) else { continue };
            if !values.contains(&value) {
                self.problems.push(
                    Problem::warning(
                        "spb::matrix::excludes_nothing",
                        entry.value.span,
                        format!(
                            "the list `{}` does not have this value, so nothing is left out",
                            shorten(key)
                        ),
                    )
                    .label("not in the list"),
                );
            }
        }
    }

    /// How many instances come of lists whose values are known: neither too many, nor none at all.
    fn size(&mut self, matrix: &Matrix, yaml: &Yaml<'_>) {
        let known = matrix.axes.values().filter_map(|axis| match axis {
            Axis::Values(values) => Some(values),
            Axis::Expression(_) => None,
        });
        let lists: Vec<&Vec<Value>> = known.collect();
        let product = lists.iter().fold(1_usize, |count, list| count.saturating_mul(list.len()));
        let instances = product.saturating_add(matrix.include.len());
        if instances > MAX_INSTANCES {
            self.problems.push(
                Problem::error(
                    "spb::matrix::large",
                    yaml.span,
                    format!("this matrix makes {instances} instances; {MAX_INSTANCES} is the limit"),
                )
                .label("too many combinations"),
            );
            return;
        }
        let is_known = lists.len() == matrix.axes.len() && product > 0;
        if is_known
            && yaml.get("include").is_none()
            && (0..product).all(|number| is_excluded(matrix, &lists, number))
        {
            self.problems.push(
                Problem::error(
                    "spb::matrix::empty",
                    yaml.get("exclude").map_or(yaml.span, |list| list.span),
                    "`exclude` leaves no combination of this matrix",
                )
                .label("leaves everything out"),
            );
        }
    }
}

/// Whether the combination with this number is left out. Its digits, each to the length of its list, are the positions.
fn is_excluded(matrix: &Matrix, lists: &[&Vec<Value>], mut number: usize) -> bool {
    let mut combination: IndexMap<&str, &Value> = IndexMap::with_capacity(lists.len());
    for (name, list) in matrix.axes.keys().zip(lists) {
        combination.insert(name, &list[number % list.len()]);
        number /= list.len();
    }
    let has = |(name, value): (&String, &Value)| combination.get(name.as_str()) == Some(&value);
    matrix.exclude.iter().any(|map| map.iter().all(has))
}

fn is_template(yaml: &Yaml<'_>) -> bool {
    yaml.text().is_some_and(|text| text.contains("${{"))
}

fn template(span: Span) -> Problem {
    Problem::error("spb::matrix::template", span, "the values of a list are not evaluated")
        .label("an expression")
}

fn empty_list(name: &str, span: Span) -> Problem {
    Problem::error("spb::matrix::empty", span, format!("the list `{}` has no values", shorten(name)))
        .label("empty")
}
