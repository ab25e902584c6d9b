//! What makes several of one node at run time: `for_each` and `loop`. Knows nothing of what they come to.

use super::check::Check;
use super::check_node::At;
use super::expr::StatusUse;
use super::file_values::{AxisChoice, Items, Json, Text};
use super::model::{Axis, Effect, ForEach, Loop};
use super::problem::Problem;
use super::yaml::Yaml;

/// Items of a `for_each` that says nothing.
const DEFAULT_ITEMS: u32 = 1000;

/// Most items that a `for_each` may ask for.
const MAX_ITEMS: u32 = 100_000;

/// Most rounds of a `loop`.
const MAX_ROUNDS: u32 = 1000;

impl Check<'_> {
    pub(super) fn for_each(&mut self, at: &At<'_>) -> Option<ForEach> {
        let file = &at.draft.file;
        let max = file.max_items.unwrap_or(DEFAULT_ITEMS);
        if !(1..=MAX_ITEMS).contains(&max) {
            self.problems.push(
                Problem::error(
                    "spb::for_each::range",
                    at.span("max_items"),
                    format!("`max_items` is from 1 to {MAX_ITEMS}"),
                )
                .label("out of range"),
            );
        }
        let Some(Items(list)) = &file.for_each else {
            if file.max_items.is_some() {
                self.problems.push(
                    Problem::error(
                        "spb::for_each::unused",
                        at.span("max_items"),
                        "without `for_each` there are no items to count",
                    )
                    .label("has no effect")
                    .help("remove `max_items`, or write `for_each`"),
                );
            }
            return None;
        };
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let span = at.span("for_each");
        let items = match list {
            AxisChoice::Expression(text) => {
                let names = (at.outer_names(), "`for_each`");
                Axis::Expression(self.expressions.list(text, span, names, &mut self.problems))
            }
            AxisChoice::Values(values) => {
                if values.len() > max {
                    self.problems.push(
                        Problem::error(
                            "spb::for_each::too_many",
                            span,
                            format!(
                                "`for_each` has {} items, more than `max_items` allows: {max}",
                                values.len()
                            ),
                        )
                        .label("too many")
                        .help("raise `max_items`"),
                    );
                }
                let yaml = at.yaml("for_each");
                for item in yaml.iter().flat_map(|list| list.items()) {
                    self.templates(item);
                }
                Axis::Values(values.iter().map(|Json(value)| value.clone()).collect())
            }
        };
        Some(ForEach { items, max })
    }

    /// Items of a written list are what they are: one that looks like an expression would be taken for its text.
    fn templates(&mut self, item: &Yaml<'_>) {
        if item.text().is_some_and(|text| text.contains("${{")) {
            self.problems.push(
                Problem::error("spb::for_each::template", item.span, "the items of a list are not evaluated")
                    .label("an expression")
                    .help(
                        "make the whole list one expression: `for_each: \"${{ [inputs.first, inputs.second] }}\"`",
                    ),
            );
        }
        item.items().iter().for_each(|inner| self.templates(inner));
        item.entries().iter().for_each(|entry| self.templates(&entry.value));
    }

    pub(super) fn repeat(&mut self, at: &At<'_>, effect: Effect) -> Option<Loop> {
        let file = at.draft.file.r#loop.as_ref()?;
        let yaml = at.yaml("loop");
        let span = |key: &str| yaml.and_then(|yaml| yaml.get(key)).map_or(at.span("loop"), |yaml| yaml.span);
        if !(1..=MAX_ROUNDS).contains(&file.max) {
            self.problems.push(
                Problem::error(
                    "spb::loop::range",
                    span("max"),
                    format!("`max` of `loop` is from 1 to {MAX_ROUNDS}"),
                )
                .label("out of range"),
            );
        }
        if effect == Effect::External {
            self.problems.push(
                Problem::error(
                    "spb::effect::conflict",
                    at.span("loop"),
                    "`loop` does not go with `effect: external`: it happens once, whenever the node runs",
                )
                .label("would repeat it")
                .also(at.span("effect"), "the effect")
                .help("remove `loop`, or put what is repeated into a node of its own"),
            );
        }
        let Text(text) = &file.until;
        let until = self.expressions.condition(text, span("until"), || at.names(), &mut self.problems);
        if until.status_use() == StatusUse::Explicit || until.is_success() && text.contains("success") {
            self.problems.push(
                Problem::error(
                    "spb::loop::status",
                    span("until"),
                    "`success()`, `failure()` and `always()` say nothing of a round: one that fails ends the loop",
                )
                .label("is about the needs of the node")
                .help("compare what the last round left: `loop.last.outputs.todo == \"0\"`"),
            );
        }
        Some(Loop { until, max: file.max })
    }
}
