//! The graphs that nodes are taken apart into at run time: the items of a `for_each`, a round of a `loop`, the nodes of
//! a used workflow. Knows the ids and positions, not what the nodes are given.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use super::expand::{MAX_INSTANCES, word};
use super::{Instance, Layer, Plan, PlanError, Selection};
use crate::workflow::model::Workflow;

impl Plan {
    /// One instance of the node for each item, side by side.
    ///
    /// # Errors
    /// When there are too many.
    pub fn items(&self, instance: usize, items: Vec<Value>) -> Result<Self, PlanError> {
        if items.len() > MAX_INSTANCES {
            return Err(PlanError::TooLarge(items.len()));
        }
        let outer = &self.instances[instance];
        let own = outer.id.rsplit('/').next().unwrap_or(&outer.id);
        let separator = if own.contains(':') { ',' } else { ':' };
        let mut used = HashSet::new();
        // A matrix with `include` may have an instance of the name that an item would get.
        let mut take = |id: &String| !self.by_id.contains_key(id) && used.insert(id.clone());
        let named = items.into_iter().enumerate().map(|(index, item)| {
            let mut id = format!("{}{separator}{}", outer.id, item_word(&item, index));
            if id.len() > 160 || !take(&id) {
                id = format!("{}{separator}{}", outer.id, index + 1);
                while !take(&id) {
                    id.push('_');
                }
            }
            self.copy(instance, id, Some(item))
        });
        Self::of(self.workflow.clone(), self.inputs.clone(), named.collect())
    }

    /// One round of the node; `number` counts from 1.
    ///
    /// # Errors
    /// None that is known; the type is that of every plan.
    pub fn round(&self, instance: usize, number: u32) -> Result<Self, PlanError> {
        let outer = &self.instances[instance];
        let copy = self.copy(instance, format!("{}#{number}", outer.id), outer.item.clone());
        Self::of(self.workflow.clone(), self.inputs.clone(), vec![copy])
    }

    /// The nodes of the workflow that the node uses, with its inputs.
    ///
    /// # Errors
    /// As for every workflow: a matrix that is no list, or too many nodes.
    pub fn used(
        &self,
        instance: usize,
        workflow: &Arc<Workflow>,
        inputs: IndexMap<String, Value>,
    ) -> Result<Self, PlanError> {
        let outer = &self.instances[instance];
        let mut plan = Self::new(workflow.clone(), inputs, &Selection::default())?;
        for inner in &mut plan.instances {
            inner.id = format!("{}/{}", outer.id, inner.id);
            inner.role = outer.role;
        }
        plan.by_id = plan.instances.iter().enumerate().map(|(at, inner)| (inner.id.clone(), at)).collect();
        Ok(plan)
    }

    /// The same node one layer further in. What it needs has ended, and is given to the graph as a whole.
    fn copy(&self, instance: usize, id: String, item: Option<Value>) -> Instance {
        let outer = &self.instances[instance];
        Instance {
            id,
            node: outer.node,
            matrix: outer.matrix.clone(),
            needs: Vec::new(),
            after: Vec::new(),
            role: outer.role,
            layer: Layer::within(self.node(instance), Some(outer.layer)),
            item,
        }
    }
}

/// What tells an item from others: a text or number itself, a map by its `id` or `name`, else its place.
fn item_word(item: &Value, index: usize) -> String {
    let named = match item {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Some(item),
        Value::Object(map) => {
            let name = map.get("id").or_else(|| map.get("name"));
            name.filter(|name| name.is_string() || name.is_number())
        }
        Value::Null | Value::Array(_) => None,
    };
    named.map_or_else(|| (index + 1).to_string(), word)
}

/// Whether a node is the one that `name` means, one of its instances, or one that runs in its place, by their ids.
pub fn is_part(id: &str, name: &str) -> bool {
    let rest = id.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ',', '#', '/']))
}
