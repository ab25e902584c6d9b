//! Single flight between processes: of all spb processes of a repository one runs a node under a key, the others wait for
//! what it leaves and take that; when it left nothing, because it failed or died, the next one runs it.
//!
//! Nobody waits for ever. A node asks for its turn before it has a lease, a room or the checkout, and whoever has a turn
//! never asks for another one. What a node comes to hold, it takes in this order: a job of its process, the right to settle
//! a conflict (given back before the next), its turn, a worktree. So whoever is waited for waits, if at all, for
//! something later in the order, whose holder waits for something later still, and in the end for a process that runs: no
//! circle can close. The kernel frees the turn of a process that dies. While it waits a node holds a job of its own process and nothing
//! that another process could want.

use std::time::Duration;

use super::{Asked, Done, Early, Job, Keyed, blocking, plain};
use crate::digest::Digest;
use crate::disk::Turn;
use crate::engine::{Shared, lookup};
use crate::event::Outcome;
use crate::executor::Stop;
use crate::git::Repo;
use crate::store::cache::Cache;
use crate::store::index;
use crate::store::recorder::Objects;

/// Between two looks at whether it is our turn.
const LOOK: Duration = Duration::from_millis(20);

/// For a message.
const WAITED: &str = "another spb that runs the same";

/// Asks for the turn of a node without files: its key is known from the start. Never waits.
pub fn ask(shared: &Shared, keyed: Keyed) -> Asked {
    let Keyed::Fileless(key) = keyed else { return Asked::Not };
    match Turn::attempt(shared.store.root(), key) {
        Ok(Some(turn)) => Asked::Ours(turn),
        Ok(None) => Asked::Busy(key),
        // A file system without such locks costs a second run of the node, not the run.
        Err(_) => Asked::Not,
    }
}

/// Takes the turn if nobody else has it.
pub fn attempt(shared: &Shared, key: Digest) -> Option<Turn> {
    Turn::attempt(shared.store.root(), key).ok().flatten()
}

/// Waits for the turn of a node with files, on a thread where that may be done.
pub fn wait(job: &Job, key: Digest) -> Result<Option<Turn>, Early> {
    loop {
        match Turn::attempt(job.shared.store.root(), key) {
            Ok(None) => {}
            Ok(turn) => return Ok(turn),
            Err(_) => return Ok(None),
        }
        if *job.stop.borrow() != Stop::Run {
            return Err(Early::Stopped(WAITED));
        }
        std::thread::sleep(LOOK);
    }
}

/// Waits for the turn of a node without files, and looks whether it is still needed.
pub async fn waited(mut job: Job) -> Result<Job, Box<Done>> {
    let Asked::Busy(key) = job.turn else { return Ok(job) };
    job.turn = Asked::Not;
    if job.context().options.fresh {
        return Ok(job);
    }
    loop {
        match Turn::attempt(job.shared.store.root(), key) {
            Ok(None) => {}
            Ok(Some(turn)) => {
                job.turn = Asked::Ours(turn);
                break;
            }
            Err(_) => return Ok(job),
        }
        if *job.stop.borrow() != Stop::Run {
            let message = format!("stopped while it waited for {WAITED}");
            return Err(Box::new(plain(&job, Outcome::Cancelled, message)));
        }
        tokio::time::sleep(LOOK).await;
    }
    blocking(move || match found(&job, key) {
        Some(done) => Err(Box::new(done)),
        None => Ok(job),
    })
    .await
}

fn found(job: &Job, key: Digest) -> Option<Done> {
    let repo = Repo::open(&job.shared.repo).ok()?;
    let cache = index::open_to_read(&job.shared.store).ok().flatten().map(Cache::new)?;
    let rule = job.prepared.rule;
    let finished =
        lookup::quick(&job.shared, (&repo, &cache), job.context(), job.instance, (key, rule), &job.heads)?;
    Some(Done { finished, index: Vec::new(), objects: Objects::None })
}
