//! Asks the remote cache for the result of a node. What comes is believed only so far as it can be checked: seal, digests,
//! key, and that it is something this node can have left.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::{MAX_ENTRY, MAX_UNPACKED, Sharing, name, tell, warn};
use crate::digest::Digest;
use crate::engine::{RunContext, Shared, collect, lookup};
use crate::event::MAX_CHANGED_LISTED;
use crate::executor::Stop;
use crate::git::tree::{self, Globs};
use crate::git::{CommitId, Repo};
use crate::plan::fingerprint::StoredManifest;
use crate::remote::Missed;
use crate::store::cache::{Entry, Saved};
use crate::store::{archive, envelope};
use crate::workflow::model::{Node, Workspace};

/// Refused entries that a process warns of, one by one.
const TOLD: usize = 20;

/// What the remote cache has.
pub enum Answer {
    /// An entry whose objects are in this repository and store now, not yet durable and not yet in the index.
    Entry(Box<Entry>),
    /// Nothing, or nothing that can be used, for a reason worth telling.
    Nothing(Option<String>),
}

/// Asks on a thread that may wait. `explained` is what the key covers: the same on both sides, or the key was another.
pub fn ask(
    shared: &Shared,
    repo: &Repo,
    run: &RunContext,
    instance: usize,
    (key, explained): (Digest, &StoredManifest),
    stop: &watch::Receiver<Stop>,
) -> Answer {
    let Some(sharing) = &shared.sharing else { return Answer::Nothing(None) };
    let name = name(key);
    let mut stop = stop.clone();
    let got = Handle::current().block_on(async {
        tokio::select! {
            got = sharing.remote.get(&name, MAX_ENTRY) => got,
            _ = stop.wait_for(|stop| *stop != Stop::Run) => Err(Missed::Off),
        }
    });
    let bytes = match got {
        Ok(Some(bytes)) => bytes,
        Ok(None) | Err(Missed::Off) => return Answer::Nothing(None),
        Err(Missed::Unusable(message)) => return refused(shared, run, instance, &message),
        Err(missed @ Missed::Failed { .. }) => {
            tell(&shared.recorder, run.journal, &missed);
            return Answer::Nothing(Some("the remote cache gave no answer".to_owned()));
        }
    };
    let node = run.plan.node(instance);
    match taken(shared, sharing, repo, &bytes, (&name, key)).and_then(|saved| fitting(saved, repo, node)) {
        Ok(entry) if entry.created < lookup::oldest_accepted(node) => {
            Answer::Nothing(Some("its entry in the remote cache is older than its ttl".to_owned()))
        }
        Ok(mut entry) => {
            entry.manifest = explained.clone();
            Answer::Entry(Box::new(entry))
        }
        Err(reason) => refused(shared, run, instance, &reason),
    }
}

fn refused(shared: &Shared, run: &RunContext, instance: usize, reason: &str) -> Answer {
    let node = run.plan.instances[instance].id.clone();
    let message = format!("its entry in the remote cache {reason}");
    let earlier =
        shared.sharing.as_ref().map_or(0, |sharing| sharing.refused.fetch_add(1, Ordering::Relaxed));
    // A wrong key refuses everything: then every node says so of itself, and the run says it often enough.
    if earlier < TOLD {
        warn(&shared.recorder, run.journal, Some(node), format!("{message}; it is not used"));
    } else if earlier == TOLD {
        let message = "further entries in the remote cache are not used; `spb why NODE` tells".to_owned();
        warn(&shared.recorder, run.journal, None, message);
    }
    Answer::Nothing(Some(message))
}

/// Opens the envelope and takes the one entry in it.
fn taken(
    shared: &Shared,
    sharing: &Sharing,
    repo: &Repo,
    bytes: &[u8],
    (name, key): (&str, Digest),
) -> Result<Saved, String> {
    let archive = envelope::open(bytes, name, sharing.seal.as_ref()).map_err(|error| error.to_string())?;
    let is_it = |packet: &crate::store::packet::Packet| packet.key().ok() == Some(key);
    let taken = archive::take(archive, MAX_UNPACKED, (&shared.store, repo), is_it);
    let unusable = |error: archive::ArchiveError| format!("cannot be used: {error}");
    let mut taken = taken.map_err(unusable)?;
    match (taken.pop(), taken.is_empty()) {
        (Some(arrived), true) => Ok(arrived.map_err(unusable)?.saved),
        _ => Err("holds something else".to_owned()),
    }
}

/// An entry that this node can have left: the same checks that its own process would have to stand.
fn fitting(saved: Saved, repo: &Repo, node: &Node) -> Result<Entry, String> {
    let mut entry = saved.entry().clone();
    let impossible = |why: String| format!("is nothing that this node can have left: {why}");
    if !entry.result.outputs.keys().eq(node.outputs.keys()) {
        return Err(impossible("other outputs".to_owned()));
    }
    collect::contracts(node, &entry.result.outputs).map_err(impossible)?;
    if node.artifacts.is_empty() && !entry.result.artifacts.is_empty() {
        return Err(impossible("it declares no artifacts".to_owned()));
    }
    let commit = entry.result.commit.as_ref().and_then(|commit| commit.parse::<CommitId>().ok());
    let Some(commit) = commit else {
        (entry.result.commit, entry.result.changed, entry.result.changed_total) = (None, Vec::new(), 0);
        return Ok(entry);
    };
    if node.workspace != Workspace::Worktree {
        return Err(impossible("it changes no files".to_owned()));
    }
    let git = |error: crate::git::GitError| format!("cannot be used: {error}");
    let before = repo.before(commit, entry.result.commits()).map_err(git)?;
    let before = before.ok_or_else(|| impossible("its commits stand on nothing".to_owned()))?;
    let before = repo.tree_of(before).map_err(git)?;
    let changes = repo.changes(before, repo.tree_of(commit).map_err(git)?).map_err(git)?;
    if let Some(writes) = &node.writes {
        let outside = tree::unexpected(&changes, &Globs::compile(writes).map_err(git)?);
        if let Some(path) = outside.first() {
            return Err(impossible(format!("`writes` does not allow {path}")));
        }
    }
    // What it says of itself is not asked.
    entry.result.changed_total = changes.len();
    entry.result.changed =
        changes.iter().take(MAX_CHANGED_LISTED).map(|change| change.name().into_owned()).collect();
    entry.base_tree = Some(before.to_string());
    Ok(entry)
}

/// Looks ahead: asks whether there is something, and takes nothing.
#[derive(Debug)]
pub struct Ahead<'s> {
    sharing: &'s Sharing,
    runtime: tokio::runtime::Runtime,
    /// Questions that may still be asked: each is a round trip, and nobody waits minutes for a plan.
    left: Cell<usize>,
}

/// How many nodes a look ahead asks for.
const ASKED_AHEAD: usize = 500;

impl<'s> Ahead<'s> {
    /// `None` when no runtime can be made: then nothing is known of the remote cache.
    pub fn new(sharing: &'s Sharing) -> Option<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        Some(Self { sharing, runtime, left: Cell::new(ASKED_AHEAD) })
    }

    pub fn has(&self, key: Digest) -> bool {
        let Some(left) = self.left.get().checked_sub(1) else { return false };
        self.left.set(left);
        self.runtime.block_on(self.sharing.remote.has(&name(key))).unwrap_or(false)
    }
}
