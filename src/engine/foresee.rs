//! What `apply` would do, found out without doing it: the same walk and the same lookups, nothing written.
//! A node behind one that would run has no answer yet: what it is given is not known.

use super::lookup::{self, Found};
use super::{Ended, EngineError, Keyed, RunContext, Shared, base, inner, prepare, remote, tools, why};
use crate::git::Repo;
use crate::git::tree::ReadsMemo;
use crate::plan::{Layer, Role};
use crate::store::cache::Cache;
use crate::store::index;
use crate::workflow::expr::Template;
use crate::workflow::model::Action;

use super::unit;
use crate::event::{NodeFinished, Outcome};

/// What would become of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreseen {
    /// Its result is in the cache.
    Cached { saved_ms: u64, message: String },
    /// Its result is in the remote cache, as far as that can be told without taking it.
    Remote,
    /// It would run, for this reason.
    Runs { why: String },
    /// It would put this question to a person.
    Asks { message: String },
    /// A need would run first: then it runs, or what that need gives is what it was.
    Depends { on: String },
    /// Its `when` is false, or a need would be skipped.
    Skipped { why: String },
    /// It would fail before it starts.
    Fails { why: String },
}

/// Looks ahead along the order of one run.
///
/// # Errors
/// When the repository or the index cannot be opened.
pub fn foresee(shared: &Shared, number: usize) -> Result<Vec<Looked>, EngineError> {
    let places = Places {
        shared,
        repo: Repo::open(&shared.repo)?,
        cache: index::open_to_read(&shared.store)?.map(Cache::new),
        memo: ReadsMemo::default(),
        tools: tools::outputs(shared),
        remote: shared.sharing.as_ref().and_then(remote::Ahead::new),
    };
    let mut ahead = Ahead::new(&places, &shared.runs[number]);
    ahead.all();
    let Ahead { seen, inside, .. } = ahead;
    let looked = seen.into_iter().flatten().zip(inside);
    Ok(looked.map(|(foreseen, inside)| Looked { foreseen, inside }).collect())
}

/// What would become of one node, and of the nodes in its place where they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    pub foreseen: Foreseen,
    pub inside: Vec<(String, Foreseen)>,
}

/// Where is looked.
struct Places<'a> {
    shared: &'a Shared,
    repo: Repo,
    cache: Option<Cache>,
    memo: ReadsMemo,
    tools: tools::Told,
    remote: Option<remote::Ahead<'a>>,
}

/// One graph.
struct Ahead<'a> {
    places: &'a Places<'a>,
    run: &'a RunContext,
    ended: Vec<Option<Ended>>,
    seen: Vec<Option<Foreseen>>,
    inside: Vec<Vec<(String, Foreseen)>>,
    /// Cached with a change that would have to be moved to another base first: what starts from it is not known.
    moves: Vec<bool>,
}

impl<'a> Ahead<'a> {
    fn new(places: &'a Places<'a>, run: &'a RunContext) -> Self {
        let count = run.plan.instances.len();
        Self {
            places,
            run,
            ended: vec![None; run.first + count],
            seen: vec![None; count],
            inside: vec![Vec::new(); count],
            moves: vec![false; count],
        }
    }

    fn all(&mut self) {
        for &instance in &self.run.plan.order {
            let foreseen = self.one(instance);
            self.seen[instance] = Some(foreseen);
        }
    }

    /// A node that is several, as far as its graphs are known: round by round.
    fn take_apart(&mut self, instance: usize) -> Foreseen {
        let mut graph = match inner::open(self.run, instance, &self.ended, 0) {
            Ok(graph) => graph,
            Err(why) => return self.end(instance, Outcome::Failed, Foreseen::Fails { why }),
        };
        loop {
            let mut ahead = Ahead::new(self.places, &graph);
            ahead.all();
            let Ahead { ended, seen, inside, moves, .. } = ahead;
            let is_open = |seen: &Foreseen| {
                matches!(seen, Foreseen::Runs { .. } | Foreseen::Remote | Foreseen::Depends { .. })
            };
            let open = seen.iter().flatten().filter(|seen| is_open(seen)).count();
            let nodes = graph.plan.instances.iter().zip(seen.into_iter().flatten()).zip(inside);
            for ((planned, foreseen), inside) in nodes {
                self.inside[instance].push((planned.id.clone(), foreseen));
                self.inside[instance].extend(inside);
            }
            if open > 0 {
                let why = format!("{open} of {} inside", graph.plan.instances.len());
                return Foreseen::Runs { why };
            }
            self.moves[instance] |= moves.contains(&true);
            match inner::close(self.run, instance, &graph, &ended, 0) {
                inner::Closed::Again(next) => graph = *next,
                inner::Closed::Ended(finished) if finished.outcome.is_success() => {
                    return self.hit(instance, *finished);
                }
                inner::Closed::Ended(finished) => {
                    let (outcome, why) = (finished.outcome, finished.message.clone());
                    self.ended[self.run.first + instance] = Some(unit::seen(&finished));
                    return match outcome {
                        Outcome::Skipped | Outcome::Cancelled => Foreseen::Skipped { why },
                        _ => Foreseen::Fails { why },
                    };
                }
            }
        }
    }

    fn one(&mut self, instance: usize) -> Foreseen {
        let planned = &self.run.plan.instances[instance];
        let before = planned.needed().chain(planned.after.iter().copied());
        let open = before.into_iter().find(|&need| {
            self.moves[need]
                || matches!(
                    self.seen[need],
                    Some(
                        Foreseen::Runs { .. }
                            | Foreseen::Remote
                            | Foreseen::Asks { .. }
                            | Foreseen::Depends { .. }
                    )
                )
        });
        if let Some(need) = open {
            return Foreseen::Depends { on: self.run.plan.instances[need].id.clone() };
        }
        let node = self.run.plan.node(instance);
        let implied = node.when.status_use() == crate::workflow::expr::StatusUse::ImpliedSuccess;
        let stopped = planned
            .needed()
            .find(|&need| matches!(self.seen[need], Some(Foreseen::Skipped { .. } | Foreseen::Fails { .. })));
        if let Some(need) = stopped.filter(|_| implied) {
            let why = format!("needs `{}`, which does not run", self.run.plan.instances[need].id);
            return self.end(instance, Outcome::Skipped, Foreseen::Skipped { why });
        }
        match prepare::condition(self.run, planned, &self.ended) {
            Ok(true) if planned.layer != Layer::Work => self.take_apart(instance),
            Ok(true) => self.lookup(instance),
            Ok(false) => {
                let why = format!("its `when` is false: {}", node.when.source());
                self.end(instance, Outcome::Skipped, Foreseen::Skipped { why })
            }
            Err(error) => self.end(instance, Outcome::Failed, Foreseen::Fails { why: error.to_string() }),
        }
    }

    /// Here first, then elsewhere.
    fn lookup(&mut self, instance: usize) -> Foreseen {
        match self.locally(instance) {
            Foreseen::Runs { .. } if self.remotely(instance) == Some(true) => Foreseen::Remote,
            seen => seen,
        }
    }

    fn remotely(&self, instance: usize) -> Option<bool> {
        let Places { remote, repo, memo, tools, cache, .. } = self.places;
        let planned = &self.run.plan.instances[instance];
        let node = self.run.plan.node(instance);
        let remote = remote.as_ref().filter(|_| !self.run.options.fresh)?;
        let tools = tools::of(node, tools);
        let prepared = prepare::prepare(self.run, planned, &self.ended, &tools).ok()?;
        let heads = self.run.heads(planned, &self.ended);
        let key = match lookup::keyed(node, &prepared.manifest, self.run, &heads) {
            Keyed::Never => return None,
            Keyed::Fileless(key) => key,
            Keyed::Quick(_) => {
                let commits = base::commits(&heads);
                let base = base::known(repo, cache.as_ref(), self.run.base, &commits, prepared.rule)?;
                let reads = lookup::reads(node, repo, memo, repo.tree_of(base).ok()?).ok()?;
                prepared.manifest.content_key(reads)
            }
        };
        Some(remote.has(key))
    }

    fn locally(&mut self, instance: usize) -> Foreseen {
        let planned = &self.run.plan.instances[instance];
        let node = self.run.plan.node(instance);
        if let Action::Approve { message } = &node.action {
            return self.question(instance, message);
        }
        let tools = tools::of(node, &self.places.tools);
        let prepared = match prepare::prepare(self.run, planned, &self.ended, &tools) {
            Ok(prepared) => prepared,
            Err(error) => {
                return self.end(instance, Outcome::Failed, Foreseen::Fails { why: error.to_string() });
            }
        };
        if self.run.options.fresh && planned.role == Role::Run {
            return Foreseen::Runs { why: "--fresh".to_owned() };
        }
        let heads = self.run.heads(planned, &self.ended);
        let keyed = lookup::keyed(node, &prepared.manifest, self.run, &heads);
        let key = match keyed {
            Keyed::Never => return Foreseen::Runs { why: why::never(node, &prepared.manifest) },
            Keyed::Fileless(key) | Keyed::Quick(key) => key,
        };
        let Some(cache) = &self.places.cache else {
            return Foreseen::Runs { why: "never run before".to_owned() };
        };
        let places = (&self.places.repo, cache);
        if let Some(finished) =
            lookup::quick(self.places.shared, places, self.run, instance, (key, prepared.rule), &heads)
        {
            return self.hit(instance, finished);
        }
        match keyed {
            Keyed::Quick(quick_key) => self.by_content(instance, &prepared, quick_key, heads),
            Keyed::Fileless(_) | Keyed::Never => {
                let shared = self.places.shared;
                let why = why::fileless(shared, places, self.run, instance, &prepared.manifest, key);
                self.miss(instance, why)
            }
        }
    }

    fn question(&mut self, instance: usize, message: &Template) -> Foreseen {
        let planned = &self.run.plan.instances[instance];
        if planned.role == Role::CacheOnly {
            return self.miss(instance, "a person's answer holds for one run".to_owned());
        }
        match prepare::question(self.run, planned, message, &self.ended) {
            Ok(message) => Foreseen::Asks { message },
            Err(error) => self.end(instance, Outcome::Failed, Foreseen::Fails { why: error.to_string() }),
        }
    }

    /// The content key needs the base. One that was never merged is not merged here: that would write objects.
    fn by_content(
        &mut self,
        instance: usize,
        prepared: &prepare::Prepared,
        quick_key: crate::digest::Digest,
        heads: Vec<String>,
    ) -> Foreseen {
        let planned = &self.run.plan.instances[instance];
        let node = self.run.plan.node(instance);
        let runs = |why: &str| Foreseen::Runs { why: why.to_owned() };
        let Some(cache) = &self.places.cache else { return runs("never run before") };
        let commits = base::commits(&heads);
        let known = base::known(&self.places.repo, Some(cache), self.run.base, &commits, prepared.rule);
        let Some(base) = known else { return runs("what it needs was never merged before") };
        let found = self.places.repo.tree_of(base).and_then(|tree| {
            let reads = lookup::reads(node, &self.places.repo, &self.places.memo, tree)?;
            let key = prepared.manifest.content_key(reads);
            let found = lookup::content_as_stored(
                self.places.shared,
                &self.places.repo,
                cache,
                (key, quick_key),
                node,
            );
            Ok((lookup::applicable(found, &self.places.repo, (key, quick_key), base)?, tree, reads, key))
        });
        match found {
            Err(error) => Foreseen::Fails { why: error.to_string() },
            Ok((Found::Hit { entry, .. }, _, _, key)) => {
                let commit = entry.result.commit.as_ref().and_then(|commit| commit.parse().ok());
                let count = entry.result.commits();
                self.moves[instance] = commit.is_some_and(|commit| {
                    self.places.repo.before(commit, count).is_ok_and(|before| before != Some(base))
                });
                let heads = base::passed_on(node, Some(base), &heads);
                self.hit(instance, lookup::cached(&planned.id, *entry, heads, (key, Some(quick_key))))
            }
            Ok((Found::Miss { reason: Some(reason), .. }, ..)) => self.miss(instance, reason),
            Ok((Found::Miss { reason: None, .. }, tree, reads, key)) => {
                let files = Some((&self.places.repo, node, tree, reads));
                let why = why::changed(cache, self.run, &planned.id, (&prepared.manifest, key), files);
                self.miss(instance, why)
            }
        }
    }

    fn miss(&mut self, instance: usize, why: String) -> Foreseen {
        if self.run.plan.instances[instance].role == Role::CacheOnly {
            let why = unit::only_message(&why);
            return self.end(instance, Outcome::Failed, Foreseen::Fails { why });
        }
        Foreseen::Runs { why }
    }

    fn hit(&mut self, instance: usize, finished: NodeFinished) -> Foreseen {
        self.ended[self.run.first + instance] = Some(unit::seen(&finished));
        Foreseen::Cached { saved_ms: finished.saved_ms, message: finished.message }
    }

    fn end(&mut self, instance: usize, outcome: Outcome, foreseen: Foreseen) -> Foreseen {
        self.ended[self.run.first + instance] = Some(Ended {
            outcome,
            result: lookup::passed_through(Vec::new()),
            duration_ms: 0,
            is_new: false,
        });
        foreseen
    }
}
