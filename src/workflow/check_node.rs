//! One node: from its wire value to the model, with `defaults` applied. Knows the rules between a node's own keys;
//! edges and stages are done in `check_graph`.

use std::cell::OnceCell;
use std::time::Duration;

use indexmap::IndexMap;

use super::check::{Check, CheckedDefaults, Draft, Env, without_places};
use super::check_graph::NodeLinks;
use super::check_names;
use super::check_outputs::no_cache;
use super::check_scope::World;
use super::expr::types::Names;
use super::expr::{Condition, Template};
use super::file_node;
use super::file_values::{CacheChoice, Period, RetryReason, Run, Text};
use super::model::{Action, Effect, Node, Reference, Retry, RetryOn, Workspace};
use super::problem::{Problem, Span};
use super::yaml::{Yaml, shorten};

/// The place of one node: its tree, and the names it may read, made when the first expression asks.
pub(super) struct At<'d> {
    pub draft: &'d Draft<'d, 'd>,
    pub world: &'d World<'d>,
    needs: &'d [(usize, Reference)],
    outer: OnceCell<Names<'d>>,
    names: OnceCell<Names<'d>>,
}

impl<'d> At<'d> {
    pub fn yaml(&self, key: &str) -> Option<&'d Yaml<'d>> {
        self.draft.yaml.get(key)
    }

    pub fn span(&self, key: &str) -> Span {
        self.yaml(key).map_or(self.draft.span, |yaml| yaml.span)
    }

    /// The place of a key itself.
    pub fn key_span(&self, key: &str) -> Span {
        let entry = self.draft.yaml.entries().iter().find(|entry| entry.key == key);
        entry.map_or(self.draft.span, |entry| entry.key_span)
    }

    /// What the node may read before it is one item or one round: `when`, `for_each`.
    pub fn outer_names(&self) -> &Names<'d> {
        self.outer.get_or_init(|| self.world.node(self.draft, self.needs))
    }

    pub fn names(&self) -> &Names<'d> {
        self.names.get_or_init(|| self.world.repeated(self.draft, self.outer_names()))
    }
}

impl Check<'_> {
    pub(super) fn node<'d>(
        &mut self,
        draft: &'d Draft<'d, 'd>,
        links: &NodeLinks<'d>,
        stage: usize,
        defaults: &CheckedDefaults,
        world: &'d World<'d>,
    ) -> Node {
        let at = At { draft, world, needs: links.needs, outer: OnceCell::new(), names: OnceCell::new() };
        let file = &draft.file;
        if file.approve.is_some() {
            return self.gate(&at, links, stage);
        }
        let none = CheckedDefaults::default();
        // What runs in the place of a node has the settings of its own file.
        let defaults = if file.uses.is_some() { &none } else { defaults };
        let workspace = self.workspace(&at, defaults);
        let effect = self.effect(&at);
        Node {
            name: draft.name.clone(),
            span: draft.span,
            description: file.description.as_ref().map(|text| text.0.clone()).unwrap_or_default(),
            stage,
            action: self.action(&at, defaults),
            needs: references(links.needs),
            after: references(links.after),
            when: self.when(&at),
            matrix: self.matrix(file.matrix.as_ref(), at.yaml("matrix"), world),
            for_each: self.for_each(&at),
            repeat: self.repeat(&at, effect),
            retry: if effect == Effect::External { no_retry() } else { self.retry(&at, defaults) },
            timeout: self.timeout(&at, defaults),
            allow_failure: file.allow_failure.unwrap_or(false),
            env: self.node_env(&at, defaults),
            secrets: self.own_secrets(&at),
            working_directory: self.working_directory(&at),
            workspace,
            reads: self.globs(&at, "reads", file.reads.as_deref()),
            writes: self.globs(&at, "writes", file.writes.as_deref()),
            outputs: self.outputs(&at),
            artifacts: self.globs(&at, "artifacts", file.artifacts.as_deref()).unwrap_or_default(),
            cache: if effect == Effect::External { no_cache() } else { self.cache(&at, defaults, workspace) },
            effect,
            on_conflict: self.on_conflict(&at),
        }
    }

    fn action(&mut self, at: &At<'_>, defaults: &CheckedDefaults) -> Action {
        let file = &at.draft.file;
        let shell = file.shell.as_ref().or(defaults.file.shell.as_ref());
        if let Some(action) = self.uses(at) {
            return action;
        }
        match &file.run {
            Some(Run::Script(script)) => {
                self.script("run", script, at.span("run"));
                Action::Script { script: script.clone(), shell: self.shell(at, shell) }
            }
            Some(Run::Command(words)) => {
                if file.shell.is_some() {
                    self.problems.push(
                        Problem::error(
                            "spb::shell::unused",
                            at.span("shell"),
                            "an argument list is executed without a shell",
                        )
                        .label("has no effect")
                        .also(at.span("run"), "an argument list")
                        .help("remove `shell`, or write `run` as a text"),
                    );
                }
                Action::Command { words: self.words(at, words) }
            }
            None => {
                let says = ["run", "uses", "with", "approve"];
                if !at.draft.broken && !says.iter().any(|key| at.draft.whole.get(key).is_some()) {
                    self.problems.push(
                        Problem::error(
                            "spb::node::no_action",
                            at.draft.span,
                            format!("the node `{}` does nothing", shorten(&at.draft.name)),
                        )
                        .label("neither `run`, `uses` nor `approve` in this node")
                        .help("say what it does: `run: cargo test`, or `uses: ./other.yaml`"),
                    );
                }
                Action::Command { words: Vec::new() }
            }
        }
    }

    /// A text that a shell reads: never templated.
    pub(super) fn script(&mut self, key: &str, script: &str, span: Span) {
        if script.trim().is_empty() {
            self.problems.push(
                Problem::error("spb::run::empty", span, format!("`{key}` is empty"))
                    .label("nothing to do")
                    .help("for a node that only joins others, write `run: \"true\"`"),
            );
        }
        let Some(open) = script.find("${{") else { return };
        let inner = script[open + 3..].split("}}").next().unwrap_or_default().trim();
        let name = variable_for(inner);
        let place = self.expressions.place(span, script, open..open + 3);
        self.problems.push(
            Problem::error("spb::run::template", place, "scripts are never templated: a value must not become shell code")
                .label("not evaluated here")
                .help(format!("pass the value by the environment: `env: {{ {name}: \"${{{{ {inner} }}}}\" }}`, and write \"${name}\" in the script")),
        );
    }

    fn shell(&mut self, at: &At<'_>, words: Option<&Vec<Text>>) -> Vec<String> {
        let Some(words) = words else { return ["sh", "-e", "-c"].map(str::to_owned).to_vec() };
        if words.first().is_none_or(|first| first.0.is_empty()) {
            self.problems.push(
                Problem::error("spb::shell::empty", at.span("shell"), "`shell` names no program")
                    .label("empty")
                    .help("for example `shell: [bash, -euo, pipefail, -c]`"),
            );
        }
        for word in words.iter().filter(|word| word.0.contains("${{")) {
            self.problems.push(
                Problem::error(
                    "spb::expr::not_here",
                    at.span("shell"),
                    format!("`${{{{ }}}}` is not evaluated in `shell`: {:?}", shorten(&word.0)),
                )
                .label("an expression")
                .help("pass the value by `env`, or write `run` as an argument list"),
            );
        }
        words.iter().map(|word| word.0.clone()).collect()
    }

    fn words(&mut self, at: &At<'_>, words: &[Text]) -> Vec<Template> {
        let items = at.yaml("run").map_or(&[][..], Yaml::items);
        if words.first().is_none_or(|first| first.0.is_empty()) {
            self.problems.push(
                Problem::error(
                    "spb::run::empty",
                    items.first().map_or(at.span("run"), |item| item.span),
                    "`run` names no program",
                )
                .label("nothing to do")
                .help("for example `run: [cargo, test]`"),
            );
        }
        let templates = words.iter().zip(items);
        templates
            .map(|(Text(word), item)| {
                self.expressions.template(word, item.span, || at.names(), &mut self.problems)
            })
            .collect()
    }

    pub(super) fn when(&mut self, at: &At<'_>) -> Condition {
        match &at.draft.file.when {
            Some(Text(text)) => {
                self.expressions.condition(text, at.span("when"), || at.outer_names(), &mut self.problems)
            }
            None => Condition::success(),
        }
    }

    /// An external effect happens at most once: what would repeat it, or take an earlier result for it, is refused.
    /// `defaults` say nothing of such nodes.
    fn effect(&mut self, at: &At<'_>) -> Effect {
        let file = &at.draft.file;
        if file.effect != Some(file_node::Effect::External) {
            return Effect::Local;
        }
        let own_cache = !matches!(file.cache, None | Some(CacheChoice::Switch(false)));
        let repeats = file.retry.as_ref().is_some_and(|retry| retry.max > 0 || retry.between.is_some());
        for (key, used, why, help) in [
            (
                "retry",
                repeats,
                "would repeat it",
                "let the script itself try again where it knows that nothing happened",
            ),
            (
                "cache",
                own_cache,
                "would leave it out",
                "put what can be cached into a node of its own, and need that one",
            ),
        ] {
            if used {
                self.problems.push(
                    Problem::error(
                        "spb::effect::conflict",
                        at.span(key),
                        format!("`{key}` does not go with `effect: external`: it happens once, whenever the node runs"),
                    )
                    .label(why)
                    .also(at.span("effect"), "the effect")
                    .help(format!("remove `{key}`; {help}")),
                );
            }
        }
        Effect::External
    }

    fn retry(&mut self, at: &At<'_>, defaults: &CheckedDefaults) -> Retry {
        let own = at.draft.file.retry.as_ref();
        let Some(file) = own.or(defaults.file.retry.as_ref()) else { return no_retry() };
        let yaml = own.and_then(|_| at.yaml("retry"));
        let span = |key: &str| yaml.and_then(|yaml| yaml.get(key)).map_or(at.draft.span, |yaml| yaml.span);
        let (factor, jitter) = (file.factor.unwrap_or(1.0), file.jitter.unwrap_or(0.0));
        for (key, good, rule) in [
            ("max", file.max <= 100, "is at most 100"),
            ("factor", factor.is_finite() && (1.0..=1000.0).contains(&factor), "is from 1 to 1000"),
            ("jitter", (0.0..=1.0).contains(&jitter), "is from 0 to 1"),
        ] {
            if !good {
                self.problems.push(
                    Problem::error("spb::retry::range", span(key), format!("`{key}` of `retry` {rule}"))
                        .label("out of range"),
                );
            }
        }
        if let Some(Text(between)) = &file.between {
            self.script("between", between, span("between"));
        }
        Retry {
            max: file.max,
            delay: file.delay.map_or(Duration::ZERO, |period| period.0),
            factor,
            jitter,
            on: file.on.iter().flatten().map(reason).collect(),
            between: file.between.as_ref().map(|text| text.0.clone()),
        }
    }

    fn timeout(&mut self, at: &At<'_>, defaults: &CheckedDefaults) -> Option<Duration> {
        at.draft.file.timeout.or(defaults.file.timeout).map(|timeout| self.some_time(at, timeout))
    }

    /// What the node itself says.
    pub(super) fn own_timeout(&mut self, at: &At<'_>) -> Option<Duration> {
        at.draft.file.timeout.map(|timeout| self.some_time(at, timeout))
    }

    fn some_time(&mut self, at: &At<'_>, Period(timeout): Period) -> Duration {
        if timeout.is_zero() {
            self.problems.push(
                Problem::error(
                    "spb::timeout::zero",
                    at.span("timeout"),
                    "a timeout of nothing ends every attempt at once",
                )
                .label("no time")
                .help("remove the key for no timeout"),
            );
        }
        timeout
    }

    fn node_env(&mut self, at: &At<'_>, defaults: &CheckedDefaults) -> IndexMap<String, Template> {
        let own = match (&at.draft.file.env, at.yaml("env")) {
            (Some(values), Some(yaml)) => self.env_values(values, yaml, || at.names()),
            _ => Env::new(),
        };
        let mut env: IndexMap<String, Template> =
            defaults.env.iter().map(|(name, (template, _))| (name.clone(), template.clone())).collect();
        env.extend(without_places(own));
        env
    }

    fn working_directory(&mut self, at: &At<'_>) -> Template {
        let Some(Text(text)) = &at.draft.file.working_directory else { return Template::constant(".") };
        let span = at.span("working_directory");
        if !text.contains("${{") {
            self.problems.extend(check_names::relative_path("working_directory", text, span));
        }
        self.expressions.template(text, span, || at.names(), &mut self.problems)
    }

    /// The workspace, and the keys that do not go with it.
    fn workspace(&mut self, at: &At<'_>, defaults: &CheckedDefaults) -> Workspace {
        use file_node::Workspace as File;
        let file = &at.draft.file;
        let own = file.workspace.map(|_| at.span("workspace"));
        let chosen = file.workspace.or(defaults.file.workspace).unwrap_or(File::Worktree);
        let own_cache = !matches!(file.cache, None | Some(CacheChoice::Switch(false)));
        let (workspace, word, refused): (_, _, &[(&str, bool, &str)]) = match chosen {
            File::Worktree => (Workspace::Worktree, "worktree", &[]),
            File::Readonly => (
                Workspace::Readonly,
                "readonly",
                &[("writes", file.writes.is_some(), "its changes are thrown away")],
            ),
            File::Scratch => (
                Workspace::Scratch,
                "scratch",
                &[
                    ("reads", file.reads.is_some(), "it holds no file of the repository"),
                    ("writes", file.writes.is_some(), "its changes are thrown away"),
                    ("on_conflict", file.on_conflict.is_some(), "the changes of its needs are not there"),
                ],
            ),
            File::Repo => (
                Workspace::Repo,
                "repo",
                &[
                    ("writes", file.writes.is_some(), "your own checkout may change while the node runs"),
                    ("artifacts", file.artifacts.is_some(), "what is in your own checkout stays there"),
                    ("cache", own_cache, "a node in your own checkout always runs"),
                    ("on_conflict", file.on_conflict.is_some(), "the changes of its needs are not there"),
                ],
            ),
        };
        for (key, _, why) in refused.iter().filter(|(_, used, _)| *used) {
            let place = own.unwrap_or(defaults.workspace_span);
            self.problems.push(
                Problem::error(
                    "spb::workspace::conflict",
                    at.span(key),
                    format!("`{key}` does not go with `workspace: {word}`"),
                )
                .label(*why)
                .also(place, "the workspace")
                .help(format!("remove `{key}`, or use `workspace: worktree`")),
            );
        }
        workspace
    }

    fn globs(&mut self, at: &At<'_>, key: &str, patterns: Option<&[Text]>) -> Option<Vec<String>> {
        let patterns = patterns?;
        let items = at.yaml(key).map_or(&[][..], Yaml::items);
        for (Text(pattern), item) in patterns.iter().zip(items) {
            self.problems.extend(check_names::glob(key, pattern, item.span));
        }
        Some(patterns.iter().map(|pattern| pattern.0.clone()).collect())
    }
}

pub(super) fn references(links: &[(usize, Reference)]) -> Vec<Reference> {
    links.iter().map(|(_, reference)| reference.clone()).collect()
}

fn reason(reason: &RetryReason) -> RetryOn {
    match reason {
        RetryReason::Timeout => RetryOn::Timeout,
        RetryReason::ExitCode(code) => RetryOn::ExitCode(*code),
    }
}

pub(super) fn no_retry() -> Retry {
    Retry { max: 0, delay: Duration::ZERO, factor: 1.0, jitter: 0.0, on: Vec::new(), between: None }
}

/// A variable named after the last word of an expression: `inputs.task` becomes `TASK`.
fn variable_for(expression: &str) -> String {
    let word = expression
        .rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
        .find(|word| !word.is_empty());
    match word.map(check_names::as_variable) {
        Some(name) if !name.is_empty() => name,
        _ => "VALUE".to_owned(),
    }
}
