//! What a run leaves in the repository: `result`. Knows nothing of git beyond how branches are named.

use std::collections::HashMap;

use super::check::Check;
use super::check_names;
use super::check_scope::World;
use super::file;
use super::file_values::Text;
use super::model::{Commits, Into, Reference, ResultSpec};
use super::problem::{Problem, Span};
use super::yaml::Yaml;

impl Check<'_> {
    pub(super) fn result(&mut self, root: &Yaml<'_>, world: &World<'_>) -> ResultSpec {
        let piece = self.top::<file::ResultSpec>(root, "result");
        let (file, yaml) = match &piece {
            Some(piece) => (&piece.value, Some(&*piece.yaml)),
            None => (&file::ResultSpec::default(), None),
        };
        let names = world.result("`result`");
        let mut template = |key: &str, value: &Option<Text>, default: &str| {
            let span = yaml.and_then(|yaml| yaml.get(key)).map(|yaml| yaml.span).unwrap_or_default();
            let text = value.as_ref().map_or(default, |text| &text.0);
            if value.is_some() && text.trim().is_empty() {
                self.problems.push(
                    Problem::error("spb::value::empty", span, format!("`{key}` is empty")).label("no text"),
                );
            }
            self.expressions.template(text, span, || &names, &mut self.problems)
        };
        let branch = template("branch", &file.branch, "spb/${{ run.workflow }}/${{ run.id }}");
        let message = template("message", &file.message, "spb: ${{ run.workflow }}");
        let from = self.result_from(
            file.from.as_deref().unwrap_or_default(),
            yaml.and_then(|yaml| yaml.get("from")),
            world,
        );
        if let Some(Some(constant)) = file.branch.is_some().then(|| branch.is_constant()) {
            let span = yaml.and_then(|yaml| yaml.get("branch")).map(|yaml| yaml.span).unwrap_or_default();
            self.problems.extend(check_names::branch(constant, span));
        }
        ResultSpec {
            from,
            branch,
            message,
            commits: match file.commits {
                Some(file::Commits::Keep) => Commits::Keep,
                Some(file::Commits::Squash) | None => Commits::Squash,
            },
            into: match file.into {
                Some(file::IntoBranch::Current) => Into::Current,
                Some(file::IntoBranch::None) | None => Into::None,
            },
        }
    }

    fn result_from(&mut self, names: &[Text], yaml: Option<&Yaml<'_>>, world: &World<'_>) -> Vec<Reference> {
        let items = yaml.map_or(&[][..], Yaml::items);
        let mut seen: HashMap<&str, Span> = HashMap::new();
        let mut from = Vec::new();
        for (Text(name), item) in names.iter().zip(items) {
            if world.nodes.place(name).is_none() {
                self.problems.push(check_names::unknown_node(
                    "spb::result::unknown",
                    name,
                    item.span,
                    world.nodes.nearest(name),
                ));
            } else if let Some(first) = seen.insert(name, item.span) {
                self.problems.push(check_names::twice("node", name, item.span, first));
            }
            from.push(Reference { node: name.clone(), span: item.span });
        }
        from
    }
}
