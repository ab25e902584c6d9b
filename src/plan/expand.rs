//! Matrices become instances: one per combination, in declared order, with ids that are safe in files and shells.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{Instance, Layer, Need, PlanError, Role};
use crate::workflow::expr::Scope;
use crate::workflow::model::{Axis, Matrix, Node, Reference, Workflow};

/// Upper bound of instances in one run: beyond it a matrix is a mistake, not a plan.
pub const MAX_INSTANCES: usize = 250_000;

/// All instances of a workflow, in file order.
pub fn instances(workflow: &Workflow, inputs: &IndexMap<String, Value>) -> Result<Vec<Instance>, PlanError> {
    let scope = scope(workflow, inputs);
    let mut combinations = Vec::with_capacity(workflow.nodes.len());
    let mut total = 0;
    for node in workflow.nodes.values() {
        let axes = axes(node, &scope)?;
        let count = axes.iter().try_fold(1_usize, |count, (_, values)| count.checked_mul(values.len()));
        let expected = total + count.unwrap_or(usize::MAX / 2).min(usize::MAX / 2);
        if expected > MAX_INSTANCES {
            return Err(PlanError::TooLarge(expected));
        }
        let combined = combinations_of(&axes, &node.matrix);
        total += combined.len();
        if total > MAX_INSTANCES {
            return Err(PlanError::TooLarge(total));
        }
        combinations.push(combined);
    }
    let mut first = Vec::with_capacity(combinations.len());
    let mut next = 0;
    for combination in &combinations {
        first.push(next);
        next += combination.len();
    }
    let need = |reference: &Reference| {
        let node = workflow.nodes.get_index_of(&reference.node)?;
        let instances = (first[node]..first[node] + combinations[node].len()).collect();
        Some(Need { node, instances, is_list: !workflow.nodes[node].matrix.is_empty() })
    };
    let mut instances = Vec::with_capacity(total);
    for (at, node) in workflow.nodes.values().enumerate() {
        let mut used = HashSet::new();
        for (index, combination) in combinations[at].iter().enumerate() {
            instances.push(Instance {
                id: id(&node.name, combination, index, &mut used),
                node: at,
                matrix: combination.values.clone(),
                needs: node.needs.iter().filter_map(need).collect(),
                after: node.after.iter().filter_map(need).flat_map(|need| need.instances).collect(),
                role: Role::Run,
                layer: Layer::within(node, None),
                item: None,
            });
        }
    }
    Ok(instances)
}

fn axes(node: &Node, scope: &Scope) -> Result<Vec<(String, Vec<Value>)>, PlanError> {
    let error = |reason: String| PlanError::Matrix { node: node.name.clone(), reason };
    let mut axes = Vec::with_capacity(node.matrix.axes.len());
    for (name, axis) in &node.matrix.axes {
        let values = match axis {
            Axis::Values(values) => values.clone(),
            Axis::Expression(template) => match template.value(scope) {
                Ok(Value::Array(values)) => values,
                Ok(other) => return Err(error(format!("`{name}` must be a list, it is {other}"))),
                Err(cause) => return Err(error(format!("`{name}`: {cause}"))),
            },
        };
        axes.push((name.clone(), values));
    }
    Ok(axes)
}

/// The names that are known before a run exists: `inputs`, and `env` as far as it needs no more.
pub fn scope(workflow: &Workflow, inputs: &IndexMap<String, Value>) -> Scope {
    let mut scope = Scope::default();
    scope.set("inputs", Value::Object(inputs.clone().into_iter().collect()));
    scope.set("env", env(workflow, &scope));
    scope
}

/// The workflow's `env`, as far as it can be known: what fails here fails again, and is told, when the run is set up.
pub(super) fn env(workflow: &Workflow, scope: &Scope) -> Value {
    let values = workflow.env.iter().filter_map(|(name, template)| {
        template.render(scope).ok().map(|value| (name.clone(), Value::String(value)))
    });
    Value::Object(values.collect())
}

/// The values of one instance.
#[derive(Clone, Debug, PartialEq)]
struct Combination {
    values: Map<String, Value>,
    /// How many of them, the first ones, name the instance: further ones only came along by `include`.
    naming: usize,
}

/// What the lists, `exclude` and `include` make, in this order, as in CI files: a combination is left out when it has
/// all values of an item of `exclude`. An item of `include` gives its values to every combination of the lists whose
/// own values it does not contradict; where there is none, it is a combination itself.
fn combinations_of(axes: &[(String, Vec<Value>)], matrix: &Matrix) -> Vec<Combination> {
    let has = |values: &Map<String, Value>, item: &Map<String, Value>| {
        item.iter().all(|(name, value)| values.get(name) == Some(value))
    };
    let mut product = match axes.is_empty() && !matrix.include.is_empty() {
        true => Vec::new(),
        false => combine(axes),
    };
    product.retain(|values| !matrix.exclude.iter().any(|item| has(values, item)));
    let mut combinations: Vec<Combination> =
        product.into_iter().map(|values| Combination { naming: values.len(), values }).collect();
    let originals = combinations.len();
    for item in &matrix.include {
        let mut fits = false;
        for combination in &mut combinations[..originals] {
            let own = |name: &String| matrix.axes.contains_key(name);
            if item.iter().all(|(name, value)| !own(name) || combination.values.get(name) == Some(value)) {
                combination.values.extend(item.clone());
                fits = true;
            }
        }
        if !fits {
            combinations.push(Combination { naming: item.len(), values: item.clone() });
        }
    }
    combinations
}

/// The product of the axes, the last one varying fastest; one empty combination when there are none.
fn combine(axes: &[(String, Vec<Value>)]) -> Vec<Map<String, Value>> {
    let mut combinations = vec![Map::new()];
    for (name, values) in axes {
        combinations = combinations
            .into_iter()
            .flat_map(|combination| {
                values.iter().map(move |value| {
                    let mut combination = combination.clone();
                    combination.insert(name.clone(), value.clone());
                    combination
                })
            })
            .collect();
    }
    combinations
}

/// `name`, or `name:value,value` with everything unusual replaced; a number is added where that is not unique.
fn id(name: &str, combination: &Combination, index: usize, used: &mut HashSet<String>) -> String {
    if combination.values.is_empty() {
        return name.to_owned();
    }
    let words: Vec<String> = combination.values.values().take(combination.naming).map(word).collect();
    let mut id = format!("{name}:{}", words.join(","));
    if id.len() > 120 || !used.insert(id.clone()) {
        id = format!("{name}:{}", index + 1);
        while !used.insert(id.clone()) {
            id.push('_');
        }
    }
    id
}

pub(super) fn word(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let word: String = text.chars().take(40).map(safe).collect();
    if word.is_empty() { "_".to_owned() } else { word }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::plan::{Plan, Selection};
    use crate::workflow::load;

    /// The instances of one node `n` with this matrix, each with its values.
    fn made(matrix: &str) -> Vec<String> {
        let text = format!(
            "version: 1\ninputs: {{ list: {{ type: array, default: [] }} }}\nenv: {{ LIST: \"p,q\" }}\n\
             nodes:\n  n: {{ run: make, matrix: {matrix}, env: {{ L: \"${{{{ inputs.list }}}}\" }} }}\n"
        );
        let workflow = load(Path::new("made.yaml"), text.into_bytes()).workflow.unwrap();
        let inputs = [("list".to_owned(), serde_json::json!(["a", "b"]))].into_iter().collect();
        let plan = Plan::new(Arc::new(workflow), inputs, &Selection::default()).unwrap();
        let values = |map: &Map<String, Value>| {
            map.iter().map(|(name, value)| format!("{name}={}", word(value))).collect::<Vec<_>>().join(" ")
        };
        plan.instances.iter().map(|one| format!("{} {}", one.id, values(&one.matrix))).collect()
    }

    #[test]
    fn an_item_of_include_extends_what_it_does_not_contradict_and_is_an_instance_otherwise() {
        // The example of the reference of GitHub Actions, with its result.
        let matrix = "{ fruit: [apple, pear], animal: [cat, dog], include: [{ color: green }, \
                      { color: pink, animal: cat }, { fruit: apple, shape: circle }, { fruit: banana }, \
                      { fruit: banana, animal: cat }] }";
        assert_eq!(
            made(matrix),
            [
                "n:apple,cat fruit=apple animal=cat color=pink shape=circle",
                "n:apple,dog fruit=apple animal=dog color=green shape=circle",
                "n:pear,cat fruit=pear animal=cat color=pink",
                "n:pear,dog fruit=pear animal=dog color=green",
                "n:banana fruit=banana",
                "n:banana,cat fruit=banana animal=cat",
            ]
        );
    }

    #[test]
    fn an_item_of_exclude_takes_all_combinations_with_its_values() {
        let matrix = "{ os: [a, b, c], v: [1, 2], exclude: [{ os: a }, { os: b, v: 2 }] }";
        assert_eq!(made(matrix), ["n:b,1 os=b v=1", "n:c,1 os=c v=1", "n:c,2 os=c v=2"]);
        // `exclude` comes first: `include` can bring a combination back, or add to what is left.
        let matrix = "{ os: [a, b], exclude: [{ os: a }], include: [{ os: a, x: 1 }, { y: 2 }] }";
        assert_eq!(made(matrix), ["n:b os=b y=2", "n:a,1 os=a x=1"]);
    }

    #[test]
    fn include_alone_makes_one_instance_for_each_item() {
        assert_eq!(made("{ include: [{ a: 1, b: x }, { a: 2 }] }"), ["n:1,x a=1 b=x", "n:2 a=2"]);
    }

    #[test]
    fn lists_known_only_with_the_inputs_and_the_environment_have_exceptions_too() {
        let matrix = r#"{ i: "${{ inputs.list }}", e: "${{ env.LIST.split(',') }}", exclude: [{ i: a, e: q }],
            include: [{ i: b, more: 1 }] }"#;
        assert_eq!(made(matrix), ["n:a,p i=a e=p", "n:b,p i=b e=p more=1", "n:b,q i=b e=q more=1"]);
    }
}
