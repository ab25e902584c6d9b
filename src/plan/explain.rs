//! What a node of a plan resolves to: after `defaults`, its matrix, and every expression whose value is known before a
//! run. Knows nothing of how it is shown.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Plan;
use crate::workflow::expr::{Condition, NamePath, NeedsStatus, Scope, StatusUse, Template};
use crate::workflow::model::{
    Action, Axis, Cache, Effect, Node, OnConflict, Output, OutputFormat, OutputFrom, Retry, RetryOn,
    Workspace,
};

/// One instance with its keys as a file would spell them. Expressions that read `needs` or `run` stay as they are.
pub fn resolved(plan: &Plan, instance: usize) -> Map<String, Value> {
    let planned = &plan.instances[instance];
    let node = plan.node(instance);
    let known = Known::new(plan, node, &planned.matrix);
    let ids = |list: &mut dyn Iterator<Item = usize>| -> Value {
        list.map(|at| plan.instances[at].id.as_str()).collect()
    };
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| {
        let is_empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if !is_empty {
            keys.insert(key.to_owned(), value);
        }
    };
    put("description", json!(node.description));
    put("stage", json!(plan.stage(instance)));
    put("matrix", Value::Object(node.matrix.values(&planned.matrix)));
    if let Some(for_each) = &node.for_each {
        put("for_each", known.list(&for_each.items));
        put("max_items", json!(for_each.max));
    }
    if let Some(repeat) = &node.repeat {
        put("loop", json!({ "until": repeat.until.source(), "max": repeat.max }));
    }
    put("needs", ids(&mut planned.needed()));
    put("after", ids(&mut planned.after.iter().copied()));
    put("when", json!(if node.when.is_success() { "success()" } else { node.when.source() }));
    if known.is_never(&node.when) {
        put("skipped", json!(true));
    }
    match &node.action {
        Action::Script { script, shell } => {
            put("run", json!(script));
            put("shell", json!(shell));
        }
        Action::Command { words } => put("run", words.iter().map(|word| known.value(word)).collect()),
        Action::Workflow(uses) => {
            put("uses", json!(uses.workflow.source.path));
            put("with", uses.with.iter().map(|(name, value)| (name.clone(), known.value(value))).collect());
            put("outputs", node.output_names().into());
            put("allow_failure", json!(node.allow_failure));
            return keys;
        }
        Action::Approve { message } => {
            put("approve", known.text(message));
            put("outputs", node.output_names().into());
            put("timeout", json!(node.timeout.map(period)));
            put("allow_failure", json!(node.allow_failure));
            return keys;
        }
    }
    let env = plan.workflow.env.iter().chain(&node.env);
    put("env", Value::Object(env.map(|(name, value)| (name.clone(), known.text(value))).collect()));
    put("secrets", json!(plan.workflow.secrets_of(node)));
    put("workspace", json!(workspace(node.workspace)));
    put("working_directory", known.text(&node.working_directory));
    put("reads", json!(node.reads));
    put("writes", json!(node.writes));
    put("outputs", node.outputs.iter().map(|(name, value)| (name.clone(), output(value))).collect());
    put("artifacts", json!(node.artifacts));
    put("timeout", json!(node.timeout.map(period)));
    put("retry", retry(&node.retry));
    put("allow_failure", json!(node.allow_failure));
    put("cache", cache(node, &node.cache, &known));
    put("effect", json!(if node.effect == Effect::External { "external" } else { "local" }));
    put("on_conflict", on_conflict(&node.on_conflict, &known));
    keys
}

/// The names whose values are known before a run.
struct Known {
    scope: Scope,
}

impl Known {
    fn new(plan: &Plan, node: &Node, matrix: &Map<String, Value>) -> Self {
        let mut scope = Scope::default();
        scope.set("inputs", Value::Object(plan.inputs.clone().into_iter().collect()));
        scope.set("env", super::expand::env(&plan.workflow, &scope));
        scope.set("matrix", Value::Object(node.matrix.values(matrix)));
        Self { scope }
    }

    fn covers(&self, names: &[NamePath]) -> bool {
        names.iter().all(|name| self.scope.get(name.root()).is_some())
    }

    /// The value, or the source of one that is not known yet or has none.
    fn value(&self, template: &Template) -> Value {
        let value = self.covers(template.references()).then(|| template.value(&self.scope).ok());
        value.flatten().unwrap_or_else(|| json!(template.source()))
    }

    fn list(&self, list: &Axis) -> Value {
        match list {
            Axis::Values(values) => json!(values),
            Axis::Expression(template) => self.value(template),
        }
    }

    /// The same as the text that it becomes.
    fn text(&self, template: &Template) -> Value {
        let text = self.covers(template.references()).then(|| template.render(&self.scope).ok());
        json!(text.flatten().unwrap_or_else(|| template.source().to_owned()))
    }

    /// Whether a condition is false, however the run goes.
    fn is_never(&self, when: &Condition) -> bool {
        let succeeded = NeedsStatus { all_succeeded: true, any_failed: false };
        when.status_use() == StatusUse::ImpliedSuccess
            && !when.is_success()
            && self.covers(when.references())
            && when.holds(&self.scope, succeeded) == Ok(false)
    }
}

fn on_conflict(rule: &OnConflict, known: &Known) -> Value {
    let OnConflict::Agent(settler) = rule else { return json!(rule.word()) };
    let mut agent = json!({ "use": settler.name });
    if let Some(prompt) = &settler.prompt {
        agent["prompt"] = known.text(prompt);
    }
    agent["command"] = settler.command.iter().map(|word| known.value(word)).collect();
    json!({ "agent": agent })
}

fn workspace(workspace: Workspace) -> &'static str {
    match workspace {
        Workspace::Worktree => "worktree",
        Workspace::Readonly => "readonly",
        Workspace::Scratch => "scratch",
        Workspace::Repo => "repo",
    }
}

fn output(output: &Output) -> Value {
    let format = match output.format {
        OutputFormat::Text => "text",
        OutputFormat::Lines => "lines",
        OutputFormat::Json => "json",
    };
    let mut keys = match &output.from {
        OutputFrom::File(path) => json!({ "file": path, "format": format }),
        OutputFrom::Out(path) => json!({ "out": path, "format": format }),
        OutputFrom::Stdout => json!({ "stdout": true, "format": format }),
        OutputFrom::Line => json!({ "format": format }),
    };
    if let Some(contract) = &output.contract {
        keys["schema"] = contract.schema().clone();
    }
    keys
}

fn retry(retry: &Retry) -> Value {
    if retry.max == 0 {
        return Value::Null;
    }
    let mut keys = json!({ "max": retry.max, "delay": period(retry.delay), "factor": retry.factor, "jitter": retry.jitter });
    if !retry.on.is_empty() {
        let on = retry.on.iter().map(|on| match on {
            RetryOn::Timeout => json!("timeout"),
            RetryOn::ExitCode(code) => json!(code),
        });
        keys["on"] = on.collect();
    }
    if let Some(between) = &retry.between {
        keys["between"] = json!(between);
    }
    keys
}

fn cache(node: &Node, cache: &Cache, known: &Known) -> Value {
    if !cache.enabled || node.workspace == Workspace::Repo {
        return json!(false);
    }
    let mut keys = Map::new();
    if let Some(ttl) = cache.ttl {
        keys.insert("ttl".to_owned(), json!(period(ttl)));
    }
    if !cache.tools.is_empty() {
        keys.insert("tools".to_owned(), json!(cache.tools));
    }
    if !cache.extra.is_empty() {
        keys.insert("extra".to_owned(), cache.extra.iter().map(|extra| known.value(extra)).collect());
    }
    if keys.is_empty() { json!(true) } else { Value::Object(keys) }
}

/// As a file spells it: `1h30m`.
pub fn period(period: Duration) -> String {
    let mut rest = period.as_millis();
    let mut text = String::new();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if rest >= length {
            text.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_spelled_as_in_a_file() {
        for (millis, text) in
            [(0, "0s"), (90_000, "1m30s"), (5_400_000, "1h30m"), (1_500, "1s500ms"), (86_400_000, "1d")]
        {
            assert_eq!(period(Duration::from_millis(millis)), text);
        }
    }
}
