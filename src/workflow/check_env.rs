//! The environment of nodes as a workflow declares it: `env`, `pass_env` and `secrets`, of all files that belong to it.
//! Knows nothing of what the caller's environment holds.

use indexmap::IndexMap;

use super::check::{Check, Draft, Env};
use super::check_include::{self, Unit};
use super::check_names;
use super::check_node::At;
use super::check_scope::World;
use super::expr::types::Names;
use super::file_values::Text;
use super::problem::{Problem, Span};
use super::read;
use super::schema::Step;
use super::yaml::Yaml;

impl Check<'_> {
    /// The environment of all files: a name has one value.
    pub fn all_env(&mut self, units: &[Unit<'_>], world: &World<'_>) -> Env {
        let names = world.inputs_only("the top-level `env`");
        let mut all = Env::new();
        for unit in units {
            for (name, (value, span)) in self.env(unit.root, &["env"], &names) {
                match all.get(&name) {
                    None => drop(all.insert(name, (value, span))),
                    Some((first, _)) if first.source() == value.source() => {}
                    Some((_, first)) => {
                        self.problems.push(check_include::differs("variable", &name, span, *first))
                    }
                }
            }
        }
        all
    }

    /// A map of environment variables under a path of keys.
    pub fn env(&mut self, root: &Yaml<'_>, path: &[&str], names: &Names<'_>) -> Env {
        let Some((last, parents)) = path.split_last() else { return Env::new() };
        let holder = parents.iter().try_fold(root, |at, key| at.get(key));
        let Some(yaml) = holder.and_then(|at| at.get(last)).filter(|value| !value.is_null()) else {
            return Env::new();
        };
        let place: Vec<Step<'_>> = path.iter().map(|key| Step::Key(key)).collect();
        let Some(piece) =
            read::piece::<IndexMap<String, Text>>(yaml, &place, yaml.span, None, &mut self.problems)
        else {
            return Env::new();
        };
        self.env_values(&piece.value, &piece.yaml, || names)
    }

    /// Compiles the values of environment variables. The names in scope are only asked for by expressions.
    pub fn env_values<'n>(
        &mut self,
        values: &IndexMap<String, Text>,
        yaml: &Yaml<'_>,
        mut names: impl FnMut() -> &'n Names<'n>,
    ) -> Env {
        let mut env = Env::with_capacity(values.len());
        for (entry, (name, value)) in yaml.entries().iter().zip(values) {
            if let Some(problem) = check_names::variable(name, entry.key_span) {
                self.problems.push(problem);
            }
            let template =
                self.expressions.template(&value.0, entry.value.span, &mut names, &mut self.problems);
            env.insert(name.clone(), (template, entry.value.span));
        }
        env
    }

    /// Names of variables to copy from the caller's environment.
    pub fn variable_names(&mut self, root: &Yaml<'_>, key: &str) -> IndexMap<String, Span> {
        let mut seen: IndexMap<String, Span> = IndexMap::new();
        let Some(piece) = self.top::<Vec<Text>>(root, key) else { return seen };
        self.each_variable(piece.yaml.items(), &piece.value, &mut seen);
        seen
    }

    fn each_variable(&mut self, items: &[Yaml<'_>], names: &[Text], seen: &mut IndexMap<String, Span>) {
        for (item, Text(name)) in items.iter().zip(names) {
            self.problems.extend(check_names::variable(name, item.span));
            match seen.get(name) {
                Some(first) => self.problems.push(check_names::twice("variable", name, item.span, *first)),
                None => drop(seen.insert(name.clone(), item.span)),
            }
        }
    }

    /// The secrets that a node lists itself.
    pub fn own_secrets(&mut self, at: &At<'_>) -> Option<Vec<String>> {
        let names = at.draft.file.secrets.as_ref()?;
        let mut seen = IndexMap::new();
        self.each_variable(at.yaml("secrets").map_or(&[], Yaml::items), names, &mut seen);
        Some(seen.into_keys().collect())
    }

    /// `pass_env` and `secrets`.
    pub fn copied_variables(
        &mut self,
        units: &[Unit<'_>],
        drafts: &[Draft<'_, '_>],
    ) -> (Vec<String>, Vec<String>) {
        let passed = self.all_variables(units, "pass_env");
        let secrets = self.all_variables(units, "secrets");
        let own = drafts.iter().flat_map(|draft| {
            let items = draft.yaml.get("secrets").map_or(&[][..], Yaml::items);
            let names = draft.file.secrets.iter().flatten();
            names.map(|Text(name)| name.clone()).zip(items.iter().map(|item| item.span))
        });
        for (name, span) in secrets.clone().into_iter().chain(own) {
            let (name, span) = (&name, &span);
            if let Some(also) = passed.get(name) {
                self.problems.push(
                    Problem::error(
                        "spb::secrets::passed",
                        *span,
                        format!("`{name}` is both a secret and in `pass_env`"),
                    )
                    .label("secret here")
                    .also(*also, "part of every cache key here")
                    .help("keep it under `secrets` only"),
                );
            }
        }
        (passed.into_keys().collect(), secrets.into_keys().collect())
    }

    /// Names of variables to copy from the caller's environment, of all files.
    pub fn all_variables(&mut self, units: &[Unit<'_>], key: &str) -> IndexMap<String, Span> {
        let mut all = IndexMap::new();
        for unit in units {
            for (name, span) in self.variable_names(unit.root, key) {
                all.entry(name).or_insert(span);
            }
        }
        all
    }
}
