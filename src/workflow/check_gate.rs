//! A node that asks a person: which keys go with `approve`, and what it becomes. Knows nothing of how it is asked.

use indexmap::IndexMap;

use super::check::{Check, key_span};
use super::check_graph::NodeLinks;
use super::check_node::{At, no_retry, references};
use super::check_outputs::no_cache;
use super::expr::Template;
use super::file_values::Text;
use super::model::{Action, Effect, Node, OnConflict, Workspace};
use super::problem::Problem;

/// Keys that a gate has no use for, why, and what to do instead.
const REFUSED: [(&str, &str, &str); 17] = [
    ("run", "a node does one thing", "put it into a node of its own, which needs this one"),
    ("uses", "a node does one thing", "put it into a node of its own, which needs this one"),
    ("with", "it takes no inputs", ""),
    ("loop", "a question is put once", ""),
    ("shell", "no script runs", ""),
    ("env", "no process runs", "values belong into the text of `approve`"),
    ("secrets", "no process runs", ""),
    ("working_directory", "no process runs", ""),
    ("workspace", "no process runs", ""),
    ("reads", "it reads no files", ""),
    ("writes", "it changes no files", ""),
    (
        "outputs",
        "its outputs are `approved`, `message` and `by`",
        "dependents read `needs.<node>.outputs.approved`",
    ),
    ("artifacts", "it makes no files", ""),
    ("retry", "an answer is no failure that goes away", "`spb resume` asks again after a rejection"),
    ("cache", "an answer is never taken from an earlier run", ""),
    ("effect", "it has none", "say it of the node that needs this one"),
    ("on_conflict", "it merges nothing", "say it of the node that needs this one"),
];

impl Check<'_> {
    /// A node with `approve`. What `defaults` say of processes does not count for it.
    pub(super) fn gate(&mut self, at: &At<'_>, links: &NodeLinks<'_>, stage: usize) -> Node {
        for (key, why, help) in REFUSED.iter().filter(|(key, ..)| at.yaml(key).is_some()) {
            let remove = format!("remove `{key}`");
            self.problems.push(
                Problem::error(
                    "spb::approve::conflict",
                    key_span(&at.draft.yaml, key),
                    format!("`{key}` does not go with `approve`: {why}"),
                )
                .label("does not go with it")
                .also(key_span(&at.draft.yaml, "approve"), "a person is asked here")
                .help(if help.is_empty() { remove } else { format!("{remove}; {help}") }),
            );
        }
        let file = &at.draft.file;
        Node {
            name: at.draft.name.clone(),
            span: at.draft.span,
            description: file.description.as_ref().map(|text| text.0.clone()).unwrap_or_default(),
            stage,
            action: Action::Approve { message: self.question(at) },
            needs: references(links.needs),
            after: references(links.after),
            when: self.when(at),
            matrix: self.matrix(file.matrix.as_ref(), at.yaml("matrix"), at.world),
            for_each: self.for_each(at),
            repeat: None,
            retry: no_retry(),
            timeout: self.own_timeout(at),
            allow_failure: file.allow_failure.unwrap_or(false),
            env: IndexMap::new(),
            secrets: None,
            working_directory: Template::constant("."),
            workspace: Workspace::Scratch,
            reads: None,
            writes: None,
            outputs: IndexMap::new(),
            artifacts: Vec::new(),
            cache: no_cache(),
            effect: Effect::Local,
            on_conflict: OnConflict::Fail,
        }
    }

    fn question(&mut self, at: &At<'_>) -> Template {
        let text = at.draft.file.approve.as_ref().map_or("", |Text(text)| text);
        if text.trim().is_empty() {
            self.problems.push(
                Problem::error("spb::approve::empty", at.span("approve"), "`approve` asks nothing")
                    .label("empty")
                    .help("write the question: `approve: Ship it?`"),
            );
        }
        self.expressions.template(text, at.span("approve"), || at.names(), &mut self.problems)
    }
}
