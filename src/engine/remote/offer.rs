//! Sends results to the remote cache behind the back of a run: a bounded queue that never makes a node wait, a few at a
//! time, tried again when they fail, and given a bounded time when the run is over.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{MAX_ENTRY, name};
use crate::digest::Digest;
use crate::engine::{RunContext, Shared};
use crate::executor::mask::Mask;
use crate::git::Repo;
use crate::plan::fingerprint::StoredManifest;
use crate::remote::{Missed, Remote};
use crate::store::archive::Writer;
use crate::store::cache::Entry;
use crate::store::envelope::{self, Seal};
use crate::store::packet::Packet;
use crate::store::{Store, artifacts};

/// Results that wait to be sent: more are not sent.
const WAITING: usize = 4096;
/// Sent at the same time: each is held in memory.
const AT_ONCE: usize = 3;
/// Attempts for each, and the wait before the second one, which doubles.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// The side of the nodes.
#[derive(Debug)]
pub(super) struct Offers {
    sender: mpsc::Sender<Offer>,
    tally: Arc<Tally>,
}

/// The side that sends.
#[derive(Debug)]
pub struct Uploads {
    receiver: mpsc::Receiver<Offer>,
    tally: Arc<Tally>,
    remote: Arc<Remote>,
    seal: Option<Seal>,
}

#[derive(Debug)]
struct Offer {
    shared: (Store, crate::git::RepoPath),
    mask: Arc<Mask>,
    workflow: String,
    node: String,
    key: Digest,
    entry: Entry,
}

#[derive(Debug, Default)]
struct Tally {
    offered: AtomicUsize,
    sent: AtomicUsize,
    /// Because of what they are, not because of the place.
    kept: AtomicUsize,
}

/// What became of the results that a process offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    pub sent: usize,
    /// Not sent, because they hold a secret or are too large.
    pub kept: usize,
    /// Not sent, because there was no time or the place failed.
    pub left: usize,
    /// Why the place was given up, if nobody was told yet.
    pub given_up: Option<String>,
}

pub(super) fn queue(remote: Arc<Remote>, seal: Option<Seal>) -> (Offers, Uploads) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let tally = Arc::new(Tally::default());
    (Offers { sender, tally: Arc::clone(&tally) }, Uploads { receiver, tally, remote, seal })
}

impl super::Sharing {
    /// Offers what a node left. Never waits, and never fails.
    pub fn offer(&self, shared: &Shared, run: &RunContext, node: &str, key: Digest, entry: &Entry) {
        let Some(offers) = &self.offers else { return };
        let offer = Offer {
            shared: (shared.store.clone(), shared.repo.clone()),
            mask: Arc::clone(&run.mask),
            workflow: run.workflow.name.clone(),
            node: node.to_owned(),
            key,
            // Names of variables and digests of their values are nobody else's business; the other side has its own.
            entry: Entry { manifest: StoredManifest::default(), ..entry.clone() },
        };
        offers.tally.offered.fetch_add(1, Ordering::Relaxed);
        // A full queue leaves it out; the tally tells.
        offers.sender.try_send(offer).ok();
    }
}

/// Sending, under way.
#[derive(Debug)]
pub struct Sending {
    task: tokio::task::JoinHandle<Option<String>>,
    tally: Arc<Tally>,
    over: tokio::sync::oneshot::Sender<()>,
}

impl Uploads {
    /// Begins on the runtime that this is called on.
    pub fn begin(self) -> Sending {
        let tally = Arc::clone(&self.tally);
        let (over, ended) = tokio::sync::oneshot::channel();
        Sending { task: tokio::spawn(self.work(ended)), tally, over }
    }

    /// Until it is told that nothing more comes, and all that came is sent. Gives the reason if it gave the place up.
    async fn work(mut self, mut ended: tokio::sync::oneshot::Receiver<()>) -> Option<String> {
        let mut sends = JoinSet::new();
        let mut given_up = None;
        let mut is_over = false;
        loop {
            tokio::select! {
                Some(done) = sends.join_next() => given_up = given_up.or(done.ok().flatten()),
                offer = self.receiver.recv(), if sends.len() < AT_ONCE => match offer {
                    Some(_) if self.remote.is_off() => {}
                    Some(offer) => {
                        let (remote, seal) = (Arc::clone(&self.remote), self.seal.clone());
                        sends.spawn(send(offer, remote, seal, Arc::clone(&self.tally)));
                    }
                    None => is_over = true,
                },
                _ = &mut ended, if !is_over => {
                    is_over = true;
                    self.receiver.close();
                }
            }
            if is_over && self.receiver.is_empty() && sends.is_empty() {
                return given_up;
            }
        }
    }
}

impl Sending {
    /// No more results come. Waits for those under way, no longer than `grace` and until someone hurries, and says what
    /// is left.
    pub async fn finish(self, grace: Duration, hurried: tokio::sync::oneshot::Receiver<()>) -> Left {
        let Self { mut task, tally, over } = self;
        over.send(()).ok();
        let given_up = tokio::select! {
            done = &mut task => done.ok().flatten(),
            () = tokio::time::sleep(grace) => None,
            Ok(()) = hurried => None,
        };
        task.abort();
        let count = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        let (sent, kept) = (count(&tally.sent), count(&tally.kept));
        Left { sent, kept, left: count(&tally.offered).saturating_sub(sent + kept), given_up }
    }
}

async fn send(offer: Offer, remote: Arc<Remote>, seal: Option<Seal>, tally: Arc<Tally>) -> Option<String> {
    let name = name(offer.key);
    let packed = {
        let name = name.clone();
        tokio::task::spawn_blocking(move || pack(&offer, &name, seal.as_ref())).await
    };
    let Ok(Some(bytes)) = packed else {
        tally.kept.fetch_add(1, Ordering::Relaxed);
        return None;
    };
    let mut pause = PAUSE;
    for attempt in 1..=ATTEMPTS {
        match remote.put(&name, bytes.clone()).await {
            Ok(()) => {
                tally.sent.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Err(Missed::Failed { given_up: Some(reason), .. }) => return Some(reason),
            Err(Missed::Off | Missed::Unusable(_)) => return None,
            Err(Missed::Failed { given_up: None, .. }) if attempt < ATTEMPTS => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err(Missed::Failed { given_up: None, .. }) => {}
        }
    }
    None
}

/// The bytes of a result; `None` when it must not or cannot travel.
fn pack(offer: &Offer, name: &str, seal: Option<&Seal>) -> Option<Vec<u8>> {
    let (store, repo) = &offer.shared;
    let repo = Repo::open(repo).ok()?;
    let packet = Packet::of(&repo, (offer.key, &[]), (&offer.workflow, &offer.node), &offer.entry).ok()?;
    if !offer.mask.is_none() && holds_secret(&packet, store, &repo, &offer.mask)? {
        return None;
    }
    let mut writer = Writer::new(Bounded(Vec::new())).ok()?;
    writer.add(store, &repo, &packet).ok()?;
    let Bounded(archive) = writer.finish().ok()?;
    Some(envelope::close(&archive, name, seal))
}

/// Everything that would travel is looked through: a secret in a file of this machine must not reach others.
fn holds_secret(packet: &Packet, store: &Store, repo: &Repo, mask: &Mask) -> Option<bool> {
    if mask.finds_in(packet.encode()) {
        return Some(true);
    }
    for id in packet.contents().ok()? {
        if mask.finds_in(repo.content(id).ok()?) {
            return Some(true);
        }
    }
    for artifact in packet.artifacts().iter().filter(|artifact| artifact.link.is_none()) {
        let mut probe = mask.probe();
        artifacts::copy(store, artifact, &mut probe).ok()?;
        if probe.found() {
            return Some(true);
        }
    }
    Some(false)
}

/// Refuses to grow beyond what travels.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if (self.0.len() + bytes.len()) as u64 > MAX_ENTRY {
            return Err(std::io::Error::other("the entry is too large"));
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
