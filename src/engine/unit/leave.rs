//! What a node leaves: outputs, artifacts and its commit, checked against what it promised; then its place is given back.

use std::path::Path;

use super::attempt::{Ran, log_place};
use super::{Asked, Base, Done, Job, Ready, collect, furnish};
use crate::disk;
use crate::engine::base;
use crate::engine::workspace::Place;
use crate::event::{Artifact, MAX_CHANGED_LISTED, NodeFinished, NodeResult, Outcome, RunEvent};
use crate::git::tree::{self, Globs};
use crate::git::{CommitId, GitError, Lease, Stamp};
use crate::host;
use crate::store::artifacts;
use crate::store::cache::{Entry, Right};
use crate::store::index::Failure;
use crate::store::recorder::{Index, Objects};
use crate::workflow::model::Workspace as Kind;

/// Ends a node: collects when it succeeded, gives its place back, makes the record.
pub async fn end(job: Job, ready: Ready, ran: Ran) -> Done {
    let orphans = host::orphans::has_any();
    let is_scratch = matches!(ready.workspace.place, Place::Scratch);
    if is_scratch && orphans != Some(true) && job.node().artifacts.is_empty() {
        let mut ready = ready;
        // Looking for daemons costs more than a room of its own, which whatever they write stays in.
        ready.workspace.room.is_doubtful = orphans.is_none();
        return end_now(job, ready, ran);
    }
    let work = move || {
        if orphans != Some(false) {
            // A daemon that the node left would write into what is captured, and into the next node's place.
            end_daemons(&job, ready.workspace.files_of_its_own());
        }
        end_now(job, ready, ran)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Ends what the node left running, whatever it did to escape.
pub fn end_daemons(job: &Job, place: Option<&Path>) {
    host::sweep(job.context().id.as_str(), Some(&job.planned().id));
    host::orphans::end(place);
}

fn end_now(mut job: Job, mut ready: Ready, mut ran: Ran) -> Done {
    if ran.last.escaped > 0 {
        warn(&job, format!("{} of its processes had left its session and were ended", ran.last.escaped));
    }
    let mut result = None;
    if ran.outcome == Outcome::Succeeded {
        match collected(&job, &mut ready, &ran) {
            Ok(collected) => result = Some(collected),
            Err(message) => {
                ran.outcome = Outcome::Failed;
                ran.message = message;
            }
        }
    }
    let mut index = Vec::new();
    let mut objects = Objects::None;
    let base_tree = ready.base.as_ref().map(|base| base.tree.to_string());
    let mut keys = (None, None);
    if let Some(result) = &result {
        if result.commit.is_some() || !result.artifacts.is_empty() {
            objects = Objects::Written;
        }
        if let Some(right) = ready.right.take() {
            keys = (Some(right.key().to_hex()), Some(right.quick_key().to_hex()));
            let entry = Entry {
                // Heads are those of the run that uses the entry.
                result: NodeResult { heads: Vec::new(), ..result.clone() },
                base_tree: base_tree.clone(),
                duration_ms: milliseconds(&ran),
                usage: ran.last.usage,
                log: (ran.last.log_bytes > 0).then(|| log_place(&job)),
                created: jiff::Timestamp::now().as_millisecond(),
                manifest: std::mem::take(&mut ready.manifest),
            };
            if let Some(sharing) = &job.shared.sharing {
                sharing.offer(&job.shared, job.context(), &job.planned().id, right.key(), &entry);
            }
            let saved = right.save(&job.context().workflow.name, &job.planned().id, entry);
            index.push(Index::Entry(Box::new(saved)));
            if let Asked::Ours(turn) = std::mem::replace(&mut job.turn, Asked::Not) {
                ready.turn = Some(turn);
            }
            index.extend(ready.turn.take().map(Index::Release));
        }
    }
    if ran.outcome.is_failure() {
        let right = ready.right.as_ref();
        index.push(Index::Failure {
            workflow: job.context().workflow.name.clone(),
            node: job.planned().id.clone(),
            failure: Failure {
                run: job.context().id.to_string(),
                key: right.map(Right::key),
                time: jiff::Timestamp::now().as_millisecond(),
            },
        });
    }
    let message = match ran.outcome {
        Outcome::Succeeded => ready.why.clone(),
        _ => job.context().mask.apply(&ran.message).into_owned(),
    };
    let finished = NodeFinished {
        node: job.planned().id.clone(),
        outcome: ran.outcome,
        attempts: ran.attempts,
        duration_ms: milliseconds(&ran),
        saved_ms: 0,
        exit_code: ran.exit_code,
        signal: ran.signal,
        message,
        allowed_to_fail: job.node().allow_failure,
        key: keys.0,
        quick_key: keys.1,
        base_tree,
        result,
        log: Some(log_place(&job)),
        usage: ran.last.usage,
        remote: false,
    };
    give_back(&job, ready);
    Done { finished, index, objects }
}

fn milliseconds(ran: &Ran) -> u64 {
    u64::try_from(ran.last.duration.as_millis()).unwrap_or(u64::MAX)
}

fn collected(job: &Job, ready: &mut Ready, ran: &Ran) -> Result<NodeResult, String> {
    if let Some(error) = ran.last.log_error.as_ref().or(ran.last.stdout_error.as_ref()) {
        return Err(error.clone());
    }
    let node = job.node();
    let mask = &job.context().mask;
    let outputs = collect::outputs(node, ready.workspace.path(), &ready.workspace.room, mask)?;
    let outputs = masked(job, outputs)?;
    collect::contracts(node, &outputs)?;
    let artifacts = kept_artifacts(job, ready)?;
    let heads = base::passed_on(node, ready.base.as_ref().map(|base| base.commit), &job.heads);
    let mut result = NodeResult { heads, outputs, artifacts, ..NodeResult::default() };
    if node.workspace == Kind::Worktree {
        capture(job, ready, &mut result)?;
    }
    Ok(result)
}

/// A secret in an output would be stored and shown: that is refused, since a masked value would be a wrong one.
fn masked(
    job: &Job,
    outputs: indexmap::IndexMap<String, serde_json::Value>,
) -> Result<indexmap::IndexMap<String, serde_json::Value>, String> {
    let mask = &job.context().mask;
    match outputs.iter().find(|(_, value)| mask.finds(value)) {
        Some((name, _)) => {
            Err(format!("output `{name}` holds a secret; outputs are stored and shown, secrets never are"))
        }
        None => Ok(outputs),
    }
}

/// The same for names of files, which records, reports and logs hold.
fn no_secret_names<N: AsRef<[u8]>>(job: &Job, names: impl IntoIterator<Item = N>) -> Result<(), String> {
    let mask = &job.context().mask;
    match names.into_iter().find(|name| mask.finds_in(name)) {
        Some(name) => Err(format!(
            "the name of the file `{}` holds a secret; names are stored and shown, secrets never are",
            String::from_utf8_lossy(name.as_ref())
        )),
        None => Ok(()),
    }
}

fn kept_artifacts(job: &Job, ready: &Ready) -> Result<Vec<Artifact>, String> {
    let workspace = ready.workspace.path();
    let mut paths = collect::artifact_paths(&job.node().artifacts, workspace)?;
    // They are the user's, and no result of the node.
    let copies = &job.context().copies;
    paths.retain(|path| !copies.iter().any(|copied| copied.path.as_os_str() == path.as_str()));
    no_secret_names(job, paths.iter().map(|path| path.as_bytes()))?;
    paths
        .iter()
        .map(|path| artifacts::store(&job.shared.store, workspace, path).map_err(|error| error.to_string()))
        .collect()
}

/// Makes the node's commit, if it changed anything.
fn capture(job: &Job, ready: &mut Ready, result: &mut NodeResult) -> Result<(), String> {
    let text = |error: GitError| error.to_string();
    take_out(ready);
    let (Place::Slot(lease), Some(base)) = (&mut ready.workspace.place, &ready.base) else {
        return Ok(());
    };
    let captured = lease.capture().map_err(text)?;
    if !captured.skipped.is_empty() {
        let paths = captured.skipped.join(", ");
        warn(job, format!("made repositories inside its worktree, which are no part of its result: {paths}"));
    }
    if captured.tree == base.tree {
        return Ok(());
    }
    let changes = base.repo.changes(base.tree, captured.tree).map_err(text)?;
    no_secret_names(job, changes.iter().map(|change| change.name().into_owned()))?;
    if let Some(writes) = &job.node().writes {
        let outside = tree::unexpected(&changes, &Globs::compile(writes).map_err(text)?);
        if !outside.is_empty() {
            return Err(undeclared(&outside));
        }
    }
    let own = own_commits(job, base, captured.head).map_err(text)?;
    let commit = match own {
        // It committed everything.
        Some((head, _)) if base.repo.tree_of(head).map_err(text)? == captured.tree => head,
        _ => {
            let parent = own.map_or(base.commit, |(head, _)| head);
            let message = format!("spb: {}", job.planned().id);
            base.repo.commit(captured.tree, &[parent], &message, Stamp::Like(base.commit)).map_err(text)?
        }
    };
    base.repo.pin(job.context().id.as_str(), commit).map_err(text)?;
    result.commits_below = own.map_or(0, |(head, count)| if commit == head { count - 1 } else { count });
    result.commit = Some(commit.to_string());
    result.heads = vec![commit.to_string()];
    result.changed_total = changes.len();
    result.changed =
        changes.iter().take(MAX_CHANGED_LISTED).map(|change| change.name().into_owned()).collect();
    Ok(())
}

/// Where the node left `HEAD`, and how many commits it made up to there; `None` where its history does not follow from its
/// base, which is said.
fn own_commits(
    job: &Job,
    base: &Base,
    head: Option<CommitId>,
) -> Result<Option<(CommitId, usize)>, GitError> {
    let Some(head) = head else { return Ok(None) };
    if let Some(count) = base.repo.distance(head, base.commit)? {
        return Ok(Some((head, count)));
    }
    let message = format!(
        "left HEAD at commit {}, which does not follow from its base {}: its files are its result, its commits are not",
        head.short(),
        base.commit.short()
    );
    warn(job, message);
    Ok(None)
}

/// Tells what became of the configuration that all worktrees of the repository share.
fn tell_tampered(job: &Job, lease: &Lease) -> Result<(), String> {
    let tampered = lease.tampered().map_err(|error| error.to_string())?;
    if !tampered.put_back.is_empty() {
        let names = tampered.put_back.join(", ");
        warn(
            job,
            format!("the repository's own configuration was changed while it ran, and was put back: {names}"),
        );
    }
    if !tampered.changed.is_empty() {
        let names = tampered.changed.join(", ");
        warn(job, format!("the repository's own configuration was changed while it ran: {names}"));
    }
    Ok(())
}

pub fn warn(job: &Job, message: String) {
    let node = Some(job.planned().id.clone());
    let message = job.context().mask.apply(&message).into_owned();
    let event = RunEvent::Warning { node, message };
    job.shared.recorder.fact(job.context().journal, event, Vec::new(), Objects::None);
}

fn undeclared(outside: &[String]) -> String {
    let shown = outside.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
    let more = if outside.len() > 10 { format!(" and {} more", outside.len() - 10) } else { String::new() };
    format!("changed files that `writes` does not allow: {shown}{more}")
}

/// Every attempt starts from the node's base, with an empty `$SPB_OUT`.
pub fn back_to_base(job: &Job, ready: &mut Ready) -> Result<(), String> {
    ready.workspace.room.clear().map_err(|error| error.to_string())?;
    if let Place::Slot(lease) = &mut ready.workspace.place {
        lease.reset().map_err(|error| error.to_string())?;
    }
    ready.restored.clear();
    furnish(job, ready)
}

/// What was only lent must not be captured nor stay for the next node.
fn take_out(ready: &mut Ready) {
    let workspace = ready.workspace.path().to_owned();
    for path in ready.restored.drain(..) {
        if collect::is_reached_inside(&workspace, &path) {
            disk::remove(&workspace.join(path)).ok();
        }
    }
}

/// Gives slot and room back.
pub fn give_back(job: &Job, mut ready: Ready) {
    take_out(&mut ready);
    if let Place::Slot(lease) = ready.workspace.place {
        if let Err(error) = tell_tampered(job, &lease) {
            warn(job, error);
        }
        // A mark that cannot be written leaves the slot dirty: the next lease cleans it.
        lease.finish().ok();
    }
    drop(ready.workspace.permit);
    job.rooms.give_back(ready.workspace.room);
}
