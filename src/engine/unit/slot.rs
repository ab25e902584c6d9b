//! Makes a leased slot ready for its node: ignored files from earlier, files of the checkout, and the setup script.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::attempt::{self, Ran};
use super::{Job, Ready, leave};
use crate::digest::{Digest, Hasher};
use crate::engine::copies;
use crate::engine::workspace::Place;
use crate::event::Outcome;
use crate::executor::Ended;
use crate::git::tree::Globs;
use crate::git::{GitError, Lease, Repo, TreeId};
use crate::workflow::model::{Ignored, Setup};

/// Removes the ignored files that are not to stay; tells whether, and for what, the setup has to run.
pub fn clean(job: &Job, repo: &Repo, lease: &Lease, tree: TreeId) -> Result<Option<Digest>, GitError> {
    let worktrees = &job.context().workflow.worktrees;
    let wanted = match &worktrees.setup {
        Some(setup) => Some(readiness(job, repo, tree, setup)?),
        None => None,
    };
    let held = lease.readiness();
    if let Ignored::KeepOnly(keep) = &worktrees.ignored {
        if held != wanted {
            // What another workflow's setup made may go now.
            lease.set_readiness(None)?;
        }
        lease.keep_only(&Globs::compile(keep)?)?;
    }
    Ok(wanted.filter(|_| held != wanted))
}

/// Everything that the setup's outcome depends on, as far as it is declared.
fn readiness(job: &Job, repo: &Repo, tree: TreeId, setup: &Setup) -> Result<Digest, GitError> {
    let mut hasher = Hasher::new("setup 1");
    hasher.field("script", setup.script.as_bytes());
    if !setup.reads.is_empty() {
        let reads = job.memo.digest(repo, tree, &Globs::compile(&setup.reads)?)?;
        hasher.field("reads", reads.as_bytes());
    }
    for (name, value) in &job.context().pass_env {
        hasher.field(name, value.as_ref().map_or(&b"unset"[..], |value| value.as_bytes()));
        hasher.field("is set", &[u8::from(value.is_some())]);
    }
    for copied in job.context().copies.iter() {
        hasher.field("path", copied.path.as_os_str().as_bytes());
        hasher.field("content", copied.digest.as_bytes());
    }
    Ok(hasher.finish())
}

/// Brings the files of `worktrees.copy` in, but for those that the base tracks, and notes each before it is there.
pub fn bring_copies(
    job: &Job,
    place: &Place,
    is_tracked: impl Fn(&std::path::Path) -> bool,
    restored: &mut Vec<PathBuf>,
) -> Result<(), String> {
    let (Place::Slot(lease), Some(checkout)) = (place, &job.shared.repo.work_dir) else {
        return Ok(());
    };
    let copied: Vec<_> = job.context().copies.iter().filter(|copied| !is_tracked(&copied.path)).collect();
    let paths: Vec<_> = copied.iter().map(|copied| copied.path.clone()).collect();
    lease.lend(&paths).map_err(|error| error.to_string())?;
    for copied in copied {
        restored.push(copied.path.clone());
        copies::put(copied, checkout, lease.path())?;
    }
    Ok(())
}

/// Runs the setup, if the slot is not ready, and brings the slot back to the node's base: only what git ignores stays.
pub async fn set_up(job: &Job, ready: &mut Ready) -> Result<(), Box<Ran>> {
    let (Some(wanted), Some(setup)) = (ready.setup.take(), &job.context().workflow.worktrees.setup) else {
        return Ok(());
    };
    note(ready, None).map_err(|message| attempt::not_run(Outcome::Failed, message))?;
    let mut task = attempt::task(job, ready, ready.workspace.path(), attempt::script_words(&setup.script), 1);
    task.env = attempt::setup_environment(job, ready);
    task.timeout = None;
    task.stdout_file = None;
    let finished = attempt::once(job, task).await;
    if finished.ended != Ended::Exited(0) {
        let mut failed = attempt::judge(job, 1, finished);
        failed.message = format!("the script `worktrees.setup`: {}", failed.message);
        return Err(Box::new(failed));
    }
    let done = leave::back_to_base(job, ready).and_then(|()| note(ready, Some(wanted)));
    done.map_err(|message| attempt::not_run(Outcome::Failed, message))
}

fn note(ready: &Ready, readiness: Option<Digest>) -> Result<(), String> {
    match &ready.workspace.place {
        Place::Slot(lease) => lease.set_readiness(readiness).map_err(|error| error.to_string()),
        Place::Scratch | Place::Repo { .. } => Ok(()),
    }
}
