//! What the dispatcher finds out about a node before it starts it: a result that is there, or the reason to run.

use super::Dispatcher;
use crate::engine::unit::Asked;
use crate::engine::{Keyed, RunContext, base, lookup, prepare, why};
use crate::event::NodeFinished;
use crate::plan::Role;

impl Dispatcher {
    /// What another process may have left between the look before and the turn that is ours now.
    pub(super) fn left_since(
        &self,
        turn: &Asked,
        run: &RunContext,
        instance: usize,
        keyed: (Keyed, base::Rule),
        heads: &[String],
    ) -> Option<NodeFinished> {
        let (Asked::Ours(_), Some(cache)) = (turn, &self.cache) else { return None };
        cache.look_anew();
        self.quick_hit(run, instance, keyed, heads)
    }

    pub(super) fn quick_hit(
        &self,
        run: &RunContext,
        instance: usize,
        (keyed, rule): (Keyed, base::Rule),
        heads: &[String],
    ) -> Option<NodeFinished> {
        let planned = &run.plan.instances[instance];
        let key = keyed.first()?;
        if run.options.fresh && planned.role == Role::Run && !self.flights.has_made(key) {
            return None;
        }
        lookup::quick(&self.shared, (&self.repo, self.cache.as_ref()?), run, instance, (key, rule), heads)
    }

    /// The reason to run that is known without looking at files.
    pub(super) fn early_why(
        &self,
        run: &RunContext,
        instance: usize,
        keyed: Keyed,
        prepared: &prepare::Prepared,
    ) -> String {
        if run.options.fresh {
            return "--fresh".to_owned();
        }
        match keyed {
            Keyed::Never => why::never(run.plan.node(instance), &prepared.manifest),
            Keyed::Quick(_) => "never run before".to_owned(),
            Keyed::Fileless(key) => self.cache.as_ref().map_or_else(
                || "never run before".to_owned(),
                |cache| {
                    let places = (&self.repo, cache);
                    why::fileless(&self.shared, places, run, instance, &prepared.manifest, key)
                },
            ),
        }
    }

    /// Which node made which commit, for a conflict.
    pub(super) fn makers(&self, number: usize) -> Vec<(String, String)> {
        let graphs = self.graphs.iter().filter(|graph| graph.number == number);
        graphs
            .flat_map(|graph| graph.plan.instances.iter().zip(&self.ended[graph.first..]))
            .filter_map(|(instance, ended)| {
                Some((ended.as_ref()?.result.commit.clone()?, instance.id.clone()))
            })
            .collect()
    }
}
