//! Where a node's life touches the remote cache: behind a miss of the local one, before anything is made for it.

use super::{Asked, Done, Early, Job, Keyed, Role, blocking};
use crate::digest::Digest;
use crate::disk::Turn;
use crate::engine::base;
use crate::engine::keep;
use crate::engine::lookup::{self, Found};
use crate::engine::remote::{self, Answer};
use crate::git::{CommitId, Repo};
use crate::plan::fingerprint::StoredManifest;
use crate::store::cache::{Entry, Saved};
use crate::store::recorder::{Index, Objects};

/// Asks for a node without files, whose key is known from the start.
pub async fn without_files(mut job: Job) -> Result<Job, Box<Done>> {
    let Keyed::Fileless(key) = job.keyed else { return Ok(job) };
    if job.shared.sharing.is_none() || is_fresh(&job) {
        return Ok(job);
    }
    let asked = move || {
        let Ok(repo) = Repo::open(&job.shared.repo) else { return Ok(job) };
        let explained = job.prepared.manifest.stored(None);
        match remote::ask(&job.shared, &repo, job.context(), job.instance, (key, &explained), &job.stop) {
            Answer::Nothing(told) => {
                job.why = told.unwrap_or_else(|| std::mem::take(&mut job.why));
                Ok(job)
            }
            Answer::Entry(entry) => {
                let turn = match std::mem::replace(&mut job.turn, Asked::Not) {
                    Asked::Ours(turn) => Some(turn),
                    Asked::Not | Asked::Busy(_) => None,
                };
                let index = vec![saved(&job, (key, vec![key]), &entry)];
                Err(Box::new(done(&job, *entry, job.heads.clone(), (key, None), index, turn)))
            }
        }
    };
    let job = blocking(asked).await?;
    if job.planned().role == Role::CacheOnly {
        let message = super::only_message(&job.why);
        return Err(Box::new(super::plain(&job, crate::event::Outcome::Failed, message)));
    }
    Ok(job)
}

/// Asks for a node with files; gives its end, or why there is none.
pub fn with_files(
    job: &Job,
    (repo, base, explained): (&Repo, CommitId, &StoredManifest),
    keys: (Digest, Digest),
    turn: &mut Option<Turn>,
) -> Result<(Option<Box<Done>>, Option<String>), Early> {
    let entry =
        match remote::ask(&job.shared, repo, job.context(), job.instance, (keys.0, explained), &job.stop) {
            Answer::Nothing(told) => return Ok((None, told)),
            Answer::Entry(entry) => entry,
        };
    let (arrived, total) = (entry.clone(), entry.result.changed_total);
    let found = Found::Hit { entry, moved: false };
    let entry = match lookup::on_base(found, repo, keys, base).map_err(super::failed)? {
        Found::Hit { entry, .. } => entry,
        Found::Miss { reason, .. } => return Ok((None, reason)),
    };
    let made = entry.result.commit.as_ref().and_then(|commit| commit.parse::<CommitId>().ok());
    let kept = match made {
        // On this base the change is whole: then its commit here, which the run keeps, can stand for it.
        Some(made) if changed(repo, base, made).map_err(super::failed)? == total => entry.clone(),
        _ => {
            // The run does not keep the commit that it arrived with. Without it the entry is a miss some day, no more.
            let commit = arrived.result.commit.as_ref().and_then(|commit| commit.parse().ok());
            keep::add(&job.shared.store, repo, commit.as_slice()).ok();
            arrived
        }
    };
    let index = vec![
        saved(job, (keys.0, Vec::new()), &kept),
        Index::Quick { quick_key: keys.1, key: keys.0, commit: entry.result.commit.clone() },
    ];
    let heads = base::passed_on(job.node(), Some(base), &job.heads);
    let done = done(job, *entry, heads, (keys.0, Some(keys.1)), index, turn.take());
    Ok((Some(Box::new(done)), None))
}

fn is_fresh(job: &Job) -> bool {
    job.context().options.fresh && job.planned().role == Role::Run
}

fn changed(repo: &Repo, base: CommitId, made: CommitId) -> Result<usize, crate::git::GitError> {
    Ok(repo.changes(repo.tree_of(base)?, repo.tree_of(made)?)?.len())
}

fn saved(job: &Job, keys: (Digest, Vec<Digest>), entry: &Entry) -> Index {
    let (workflow, node) = (job.context().workflow.name.clone(), job.planned().id.clone());
    Index::Entry(Box::new(Saved::from_elsewhere(keys, workflow, node, entry.clone())))
}

fn done(
    job: &Job,
    entry: Entry,
    heads: Vec<String>,
    keys: (Digest, Option<Digest>),
    mut index: Vec<Index>,
    turn: Option<Turn>,
) -> Done {
    let mut finished = lookup::cached(&job.planned().id, entry, heads, keys);
    finished.remote = true;
    "from the remote cache".clone_into(&mut finished.message);
    index.extend(turn.map(Index::Release));
    Done { finished, index, objects: Objects::Written }
}
