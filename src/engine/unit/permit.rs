//! Waits until a node may have a worktree, where `worktrees.max` says how many there are for all spb of a repository.

use std::time::{Duration, Instant};

use super::{Early, Job, failed, leave};
use crate::executor::Stop;
use crate::git::GitError;
use crate::git::permit::Permit;

/// Between two looks at whether another process has given one back.
const LOOK: Duration = Duration::from_millis(20);

/// A wait that is longer is told.
const SILENT: Duration = Duration::from_secs(1);

/// The node's permit, once it has one; none where nothing is bounded. Waits in steps, because we may be stopped meanwhile.
pub fn wait(job: &Job) -> Result<Option<Permit>, Early> {
    let Some(max) = job.context().workflow.worktrees.max else { return Ok(None) };
    let pool = job.shared.pool.as_ref().expect("a unit only exists where things may be written");
    let mut waiting = pool.permit(max);
    let began = Instant::now();
    let mut is_told = false;
    loop {
        if let Some(permit) = waiting.attempt().map_err(failed)? {
            return Ok(Some(permit));
        }
        if *job.stop.borrow() != Stop::Run {
            return Err(Early::Stopped("a worktree"));
        }
        if !is_told && began.elapsed() > SILENT {
            is_told = true;
            leave::warn(
                job,
                format!(
                    "waits for a worktree: other spb of this repository use those of `worktrees.max: {max}`"
                ),
            );
        }
        std::thread::sleep(LOOK);
    }
}

/// The same without waiting: `None` when it is not there yet.
pub fn attempt(job: &Job) -> Result<Option<Option<Permit>>, GitError> {
    let Some(max) = job.context().workflow.worktrees.max else { return Ok(Some(None)) };
    let pool = job.shared.pool.as_ref().expect("a unit only exists where things may be written");
    Ok(pool.permit(max).attempt()?.map(Some))
}
