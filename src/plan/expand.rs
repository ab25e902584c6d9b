//! Matrices become instances: one per combination, in declared order, with ids that are safe in files and shells.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::{Instance, Need, PlanError, Role};
use crate::workflow::expr::Scope;
use crate::workflow::model::{Axis, Node, Reference, Workflow};

/// Upper bound of instances in one run: beyond it a matrix is a mistake, not a plan.
pub const MAX_INSTANCES: usize = 250_000;

/// All instances of a workflow, in file order.
pub fn instances(workflow: &Workflow, inputs: &IndexMap<String, Value>) -> Result<Vec<Instance>, PlanError> {
    let mut scope = Scope::default();
    scope.names.insert("inputs".to_owned(), Value::Object(inputs.clone().into_iter().collect()));
    let mut combinations = Vec::with_capacity(workflow.nodes.len());
    let mut total = 0;
    for node in workflow.nodes.values() {
        let axes = axes(node, &scope)?;
        let count = axes.iter().try_fold(1_usize, |count, (_, values)| count.checked_mul(values.len()));
        total += count.unwrap_or(usize::MAX / 2).min(usize::MAX / 2);
        if total > MAX_INSTANCES {
            return Err(PlanError::TooLarge(total));
        }
        combinations.push(combine(&axes));
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
        for (index, matrix) in combinations[at].iter().enumerate() {
            instances.push(Instance {
                id: id(&node.name, matrix, index, &mut used),
                node: at,
                matrix: matrix.clone(),
                needs: node.needs.iter().filter_map(need).collect(),
                after: node.after.iter().filter_map(need).flat_map(|need| need.instances).collect(),
                role: Role::Run,
            });
        }
    }
    Ok(instances)
}

fn axes(node: &Node, scope: &Scope) -> Result<Vec<(String, Vec<Value>)>, PlanError> {
    let error = |reason: String| PlanError::Matrix { node: node.name.clone(), reason };
    let mut axes = Vec::with_capacity(node.matrix.len());
    for (name, axis) in &node.matrix {
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
fn id(name: &str, matrix: &Map<String, Value>, index: usize, used: &mut HashSet<String>) -> String {
    if matrix.is_empty() {
        return name.to_owned();
    }
    let words: Vec<String> = matrix.values().map(word).collect();
    let mut id = format!("{name}:{}", words.join(","));
    if id.len() > 120 || !used.insert(id.clone()) {
        id = format!("{name}:{}", index + 1);
        while !used.insert(id.clone()) {
            id.push('_');
        }
    }
    id
}

fn word(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let word: String = text.chars().take(40).map(safe).collect();
    if word.is_empty() { "_".to_owned() } else { word }
}
