//! What stays of a run: a checkpoint after each stage, the result branch, and the refs that keep its objects.

use std::time::Instant;

use super::unit::conflict;
use super::{Ended, RunContext, Shared, base, refs};
use crate::digest::Hasher;
use crate::event::{Outcome, RunFinished, RunOutcome};
use crate::git::GitError;
use crate::git::merge::Merged;
use crate::git::{CommitId, Expect, Repo, Stamp};
use crate::plan::Role;
use crate::store::cache::Cache;
use crate::store::index;
use crate::store::operations::{self, Operation, Operations};
use crate::store::recorder::{Index, Objects};
use crate::workflow::model::{Commits, Into as IntoCheckout};

/// The end of a stage.
#[derive(Debug)]
pub struct StageEnd {
    pub run: usize,
    pub stage: usize,
    pub commit: Option<String>,
    pub note: Option<String>,
    pub objects: Objects,
}

/// A run whose nodes have all ended.
#[derive(Debug)]
pub struct Finish {
    pub run: usize,
    pub nodes: Vec<Option<Ended>>,
    /// What the result is merged from.
    pub heads: Vec<String>,
    /// Commit and node that made it.
    pub makers: Vec<(String, String)>,
    /// Commits that nodes of this run made, those inside of others included.
    pub made: Vec<CommitId>,
    pub stopped: bool,
    /// Gates that wait for an answer, with their questions.
    pub asks: Vec<(String, String)>,
    pub began: Instant,
}

/// Ref of a checkpoint.
pub fn checkpoint_ref(run: &str, stage: &str) -> String {
    format!("refs/spb/checkpoints/{run}/{stage}")
}

/// Commits of successful nodes up to a stage that no other such node builds on: merged, they are everything so far.
pub fn frontier(run: &RunContext, nodes: &[Option<Ended>], stage: usize) -> Vec<String> {
    base::distinct(last_of(run, nodes, stage).into_iter().flat_map(|ended| &ended.result.heads))
}

/// Successful nodes up to a stage that no other such node builds on.
pub fn last_of<'n>(run: &RunContext, nodes: &'n [Option<Ended>], stage: usize) -> Vec<&'n Ended> {
    let counts = |position: usize| {
        run.plan.node(position).stage <= stage
            && run.plan.instances[position].role == Role::Run
            && nodes[position].as_ref().is_some_and(Ended::gives)
    };
    let mut is_built_on = vec![false; nodes.len()];
    for (position, instance) in run.plan.instances.iter().enumerate() {
        if counts(position) {
            for need in instance.needed() {
                is_built_on[need] = true;
            }
        }
    }
    let last = (0..nodes.len()).filter(|&position| counts(position) && !is_built_on[position]);
    last.filter_map(|position| nodes[position].as_ref()).collect()
}

/// Merges what a stage and those before it gave. Results that do not merge give no commit, and a note that says why.
pub fn checkpoint(
    shared: &Shared,
    run: usize,
    stage: usize,
    heads: &[String],
    makers: &[(String, String)],
) -> StageEnd {
    let context = &shared.runs[run];
    let mut end = StageEnd { run, stage, commit: None, note: None, objects: Objects::None };
    let merged = || -> Result<Merged, GitError> {
        if heads.is_empty() {
            return Ok(Merged::Clean(context.base));
        }
        let repo = Repo::open(&shared.repo)?;
        let merged = merge(shared, &repo, context, heads)?;
        if let Merged::Clean(commit) = &merged {
            let name = checkpoint_ref(context.id.as_str(), &context.plan.workflow.stages[stage]);
            shared.recorder.sync_objects()?;
            refs::set(&shared.store, &repo, &name, *commit, Expect::Any, "spb: checkpoint")?;
        }
        Ok(merged)
    };
    match merged() {
        Ok(Merged::Clean(commit)) => {
            end.commit = Some(commit.to_string());
            if commit != context.base {
                end.objects = Objects::Written;
            }
        }
        Ok(Merged::Conflict { first, second, files }) => {
            end.note = Some(conflict(makers, &first.to_string(), &second.to_string(), &files));
        }
        Err(error) => end.note = Some(error.to_string()),
    }
    end
}

fn merge(shared: &Shared, repo: &Repo, run: &RunContext, heads: &[String]) -> Result<Merged, GitError> {
    let cache = index::open_to_read(&shared.store).ok().flatten().map(Cache::new);
    base::merged(repo, cache.as_ref(), &shared.recorder, run.base, &base::commits(heads))
}

/// Ends a run: keeps its objects, and makes its result when every node that counts succeeded.
pub fn run(shared: &Shared, finish: Finish) -> (RunFinished, Objects) {
    let context = &shared.runs[finish.run];
    let duration_ms = u64::try_from(finish.began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut finished = RunFinished {
        outcome: outcome(context, &finish),
        duration_ms,
        branch: None,
        commit: None,
        message: String::new(),
    };
    if finished.outcome == RunOutcome::Waiting {
        finished.message = asked(&finish.asks);
    }
    let kept = keep(shared, context, &finish);
    let mut objects = match kept {
        Ok(objects) => {
            if let Err(error) = let_go(shared, context, &finish) {
                finished.message = format!("refs that held results during the run are left: {error}");
            }
            objects
        }
        Err(error) => {
            finished.message = format!("the results are not kept from `git gc`: {error}");
            Objects::None
        }
    };
    if finished.outcome == RunOutcome::Succeeded {
        match result(shared, context, &finish, &mut finished) {
            Ok(Objects::Written) => objects = Objects::Written,
            Ok(Objects::None) => {}
            Err(message) => {
                finished.outcome = RunOutcome::Failed;
                finished.message = message;
            }
        }
    }
    (finished, objects)
}

fn outcome(run: &RunContext, finish: &Finish) -> RunOutcome {
    let ended = || finish.nodes.iter().zip(&run.plan.instances);
    let is_bad = |(ended, instance): (&Option<Ended>, &crate::plan::Instance)| {
        let allowed = run.plan.workflow.nodes[instance.node].allow_failure;
        ended.as_ref().is_some_and(|ended| ended.outcome.is_failure()) && !allowed
    };
    let cancelled = |(ended, _): (&Option<Ended>, &crate::plan::Instance)| {
        ended.as_ref().is_none_or(|ended| ended.outcome == Outcome::Cancelled)
    };
    if finish.stopped && ended().any(cancelled) {
        RunOutcome::Cancelled
    } else if !finish.asks.is_empty() {
        // Even if another node failed: the run is not over.
        RunOutcome::Waiting
    } else if ended().any(is_bad) {
        RunOutcome::Failed
    } else {
        RunOutcome::Succeeded
    }
}

/// How many questions a sentence tells.
const TOLD: usize = 3;

/// `` `gate` asks: Ship it? ``
fn asked(asks: &[(String, String)]) -> String {
    let told = asks.iter().take(TOLD).map(|(node, message)| format!("`{node}` asks: {message}"));
    let more = asks.len().checked_sub(TOLD).filter(|&more| more > 0).map(|more| format!("and {more} more"));
    told.chain(more).collect::<Vec<_>>().join("; ")
}

/// Commits that the nodes of a graph made.
pub fn made<'n>(run: &'n RunContext, nodes: &'n [Option<Ended>]) -> impl Iterator<Item = CommitId> + use<'n> {
    nodes
        .iter()
        .zip(&run.plan.instances)
        .filter_map(|(ended, instance)| Some((ended.as_ref()?, &run.plan.workflow.nodes[instance.node])))
        .filter(|(ended, _)| ended.is_new && ended.outcome.is_success())
        .filter_map(|(ended, node)| {
            // A merge by a rule of its node is nobody's commit, and handed on all the same.
            let handed_on = || ended.result.heads.first().filter(|_| base::decides(node));
            ended.result.commit.as_ref().or_else(handed_on)?.parse().ok()
        })
}

/// What the run and the cache hold now need not be held commit by commit any more.
fn let_go(shared: &Shared, run: &RunContext, finish: &Finish) -> Result<(), GitError> {
    match finish.made.is_empty() {
        true => Ok(()),
        false => Repo::open(&shared.repo)?.unpin(run.id.as_str()),
    }
}

/// One ref for the run and one for all cache entries: `git gc` leaves what they reach.
fn keep(shared: &Shared, run: &RunContext, finish: &Finish) -> Result<Objects, GitError> {
    let made = &finish.made;
    if made.is_empty() {
        // Everything comes from the cache, whose own ref keeps it.
        return Ok(Objects::None);
    }
    let heads = base::commits(&frontier(run, &finish.nodes, usize::MAX));
    let repo = Repo::open(&shared.repo)?;
    let all: Vec<CommitId> = base::commits(&base::distinct(
        heads.iter().chain(made).map(ToString::to_string).collect::<Vec<_>>().iter(),
    ));
    let name = format!("refs/spb/runs/{}", run.id);
    let holder =
        repo.commit(run.base_tree, &all, "spb: keeps the results of a run", Stamp::Like(run.base))?;
    shared.recorder.wrote_objects();
    shared.recorder.sync_objects()?;
    refs::set(&shared.store, &repo, &name, holder, Expect::Any, "spb: keep")?;
    // Other spb processes add to it as well: try again on what they left.
    for _ in 0..100 {
        let before = repo.read_ref(CACHE_REF)?;
        let parents: Vec<CommitId> = before.into_iter().chain([holder]).collect();
        let next =
            repo.commit(run.base_tree, &parents, "spb: keeps cached results", Stamp::Like(run.base))?;
        shared.recorder.wrote_objects();
        shared.recorder.sync_objects()?;
        let expect = before.map_or(Expect::Absent, Expect::Is);
        match refs::set(&shared.store, &repo, CACHE_REF, next, expect, "spb: keep") {
            Err(GitError::RefMoved { .. }) => {}
            done => return done.map(|()| Objects::Written),
        }
    }
    Err(GitError::RefMoved { name: CACHE_REF.to_owned() })
}

/// Keeps the commits of all cache entries.
pub const CACHE_REF: &str = "refs/spb/cache";

/// Merges the results asked for and puts them on the branch.
fn result(
    shared: &Shared,
    run: &RunContext,
    finish: &Finish,
    finished: &mut RunFinished,
) -> Result<Objects, String> {
    let text = |error: GitError| error.to_string();
    let heads = &finish.heads;
    if heads.is_empty() {
        "no files changed, so there is no branch".clone_into(&mut finished.message);
        return Ok(Objects::None);
    }
    let repo = Repo::open(&shared.repo).map_err(text)?;
    let merged = match merge(shared, &repo, run, heads).map_err(text)? {
        Merged::Clean(merged) => merged,
        Merged::Conflict { first, second, files } => {
            let what = conflict(&finish.makers, &first.to_string(), &second.to_string(), &files);
            return Err(format!("no result: {what}"));
        }
    };
    if repo.tree_of(merged).map_err(text)? == run.base_tree {
        "the changes add up to nothing, so there is no branch".clone_into(&mut finished.message);
        return Ok(Objects::None);
    }
    let commit = match run.workflow.result.commits {
        Commits::Keep => merged,
        Commits::Squash => squashed(shared, &repo, run, merged)?,
    };
    finished.commit = Some(commit.to_string());
    match put_on_branch(shared, &repo, run, commit)? {
        Put::Done => finished.branch = Some(run.branch.clone()),
        Put::Refused(why) => {
            // The nodes did what they were asked for, and the run did not: whoever reads the branch now reads old work.
            finished.outcome = RunOutcome::Failed;
            finished.message = format!("the result is on no branch: {why}");
            hold(shared, &repo, run, commit)?;
        }
    }
    if run.workflow.result.into == IntoCheckout::Current && finished.branch.is_some() {
        finished.message = into_checkout(&repo, run, commit);
    }
    Ok(Objects::Written)
}

/// Keeps a result that no branch holds from `git gc`.
fn hold(shared: &Shared, repo: &Repo, run: &RunContext, commit: CommitId) -> Result<(), String> {
    shared.recorder.sync_objects().map_err(|error| error.to_string())?;
    let name = format!("refs/spb/results/{}", run.id);
    refs::set(&shared.store, repo, &name, commit, Expect::Any, "spb: no branch")
        .map_err(|error| error.to_string())
}

/// What the result of a run is merged from.
pub fn result_heads(run: &RunContext, nodes: &[Option<Ended>]) -> Vec<String> {
    let from = &run.workflow.result.from;
    if from.is_empty() {
        // Not just the leaves: one that was skipped, or failed and may, does not take away what it needed.
        return frontier(run, nodes, usize::MAX);
    }
    let named = from.iter().filter_map(|name| run.plan.workflow.nodes.get_index_of(&name.node));
    let ended = named
        .flat_map(|node| run.plan.instances_of(node))
        .filter(|&position| run.plan.instances[position].role == Role::Run)
        .filter_map(|position| nodes[position].as_ref())
        .filter(|ended| ended.gives());
    base::distinct(ended.flat_map(|ended| &ended.result.heads))
}

/// One commit on the base with everything in it. The same result with the same message is the same commit again.
fn squashed(shared: &Shared, repo: &Repo, run: &RunContext, merged: CommitId) -> Result<CommitId, String> {
    let text = |error: GitError| error.to_string();
    let message = run.workflow.result.message.render(&run.scope).map_err(|error| error.to_string())?;
    let mut hasher = Hasher::new("squash 1");
    hasher.field("base", run.base.to_string().as_bytes());
    hasher.field("merged", merged.to_string().as_bytes());
    hasher.field("message", message.as_bytes());
    let key = hasher.finish();
    let cache = index::open_to_read(&shared.store).ok().flatten().map(Cache::new);
    let known = cache.and_then(|cache| cache.merge(key)).and_then(|commit| commit.parse::<CommitId>().ok());
    if let Some(known) = known.filter(|&known| repo.has_commit(known)) {
        return Ok(known);
    }
    let tree = repo.tree_of(merged).map_err(text)?;
    // Made already by an engine that died before it could say so: its time stamp would make a second one another commit.
    if let Ok(Some(there)) = repo.read_ref(&format!("refs/heads/{}", run.branch)) {
        let is_same = || -> Result<bool, GitError> {
            let is_whole = repo.tree_of(there)? == tree && repo.parents(there)? == [run.base];
            Ok(is_whole && repo.message(there)? == message)
        };
        if is_same().unwrap_or(false) {
            return Ok(there);
        }
    }
    let commit = repo.commit(tree, &[run.base], &message, Stamp::Now).map_err(text)?;
    shared.recorder.wrote_objects();
    shared.recorder.index(Index::Merge { key, result: commit.to_string() });
    Ok(commit)
}

/// What became of the branch.
enum Put {
    Done,
    /// It is left as it is, for this reason.
    Refused(String),
}

/// Makes or moves the branch, unless that would lose work that is not ours.
fn put_on_branch(shared: &Shared, repo: &Repo, run: &RunContext, commit: CommitId) -> Result<Put, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let name = format!("refs/heads/{}", run.branch);
    let lock = operations::lock(&shared.store).map_err(|error| text(&error))?;
    let before = repo.read_ref(&name).map_err(|error| text(&error))?;
    if before == Some(commit) {
        return Ok(Put::Done);
    }
    let type_this = format!("the result is commit {0}: `git branch NAME {0}`", commit.short());
    if let Some(before) = before {
        let place = repo.checked_out_at(&run.branch).map_err(|error| text(&error))?;
        if let Some(place) = place {
            return Ok(Put::Refused(format!(
                "branch `{}` is checked out at `{}`; {type_this}",
                run.branch,
                place.display()
            )));
        }
        let follows = repo.contains(commit, before).unwrap_or(false);
        let ours = || Operations::read(&shared.store).is_ok_and(|list| list.left_at(&name, before));
        if !follows && !ours() {
            return Ok(Put::Refused(format!("branch `{}` holds other work; {type_this}", run.branch)));
        }
    }
    shared.recorder.sync_objects().map_err(|error| text(&error))?;
    let expect = before.map_or(Expect::Absent, Expect::Is);
    let reason = format!("spb: run {}", run.id);
    let what = format!("apply {} ({})", run.workflow.name, run.id);
    // Noted first: an engine that dies in between must not leave a branch that the next one takes for other work.
    operations::add(&shared.store, Operation::now(what, &name, before, Some(commit)))
        .map_err(|error| text(&error))?;
    let done = refs::set(&shared.store, repo, &name, commit, expect, &reason);
    let done = done.map_err(|error| match operations::take_back(&shared.store) {
        Ok(()) => format!("{error}; {type_this}"),
        Err(noted) => format!("{error}; {noted}; {type_this}"),
    });
    drop(lock);
    done.map(|()| Put::Done)
}

/// Moves the user's checkout forward when that is safe; otherwise says what to type.
fn into_checkout(repo: &Repo, run: &RunContext, commit: CommitId) -> String {
    match repo.fast_forward_checkout(commit) {
        Ok(()) => format!(
            "the checkout was moved forward to the result; to go back: `git reset --keep {}`",
            run.base.short()
        ),
        Err(error) => format!("the checkout was left alone: {error}; to merge: `git merge {}`", run.branch),
    }
}
