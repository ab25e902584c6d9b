//! One node's life after a quick miss: base -> content lookup -> lease -> run -> collect -> capture -> give back.
//! Tells its end exactly once, by returning [`Done`]; knows neither scheduler nor dependents.

mod attempt;
mod leave;
mod permit;
mod remote;
mod retry;
mod settle;
mod slot;
mod turn;

pub use turn::ask;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::base;
use super::lookup::{self, Found};
use super::prepare::Prepared;
use super::workspace::{Place, Room, Rooms, Workspace};
use super::{Ended, Keyed, RunContext, Shared, collect, why};
use crate::digest::Digest;
use crate::disk::{Lock, Turn};
use crate::event::{Artifact, NodeFinished, Outcome};
use crate::executor::Stop;
use crate::git::Cone;
use crate::git::Holder;
use crate::git::LeaseRequest;
use crate::git::tree::ReadsMemo;
use crate::git::{CommitId, Joined, Repo, Stuck, TreeId};
use crate::host;
use crate::plan::fingerprint::StoredManifest;
use crate::plan::{Instance, Role};
use crate::store::cache::{Cache, Entry, Right};
use crate::store::recorder::{Index, Objects};
use crate::store::{artifacts, index};
use crate::workflow::model::{Node, Workspace as Kind};

/// Everything a unit works on.
pub struct Job {
    pub shared: Arc<Shared>,
    pub rooms: Arc<Rooms>,
    pub memo: Arc<ReadsMemo>,
    pub stop: watch::Receiver<Stop>,
    pub graph: Arc<RunContext>,
    /// Position in the plan of its graph.
    pub instance: usize,
    pub prepared: Prepared,
    pub keyed: Keyed,
    /// Commits of its needs, in order.
    pub heads: Vec<String>,
    /// Artifacts of its needs.
    pub given: Vec<Artifact>,
    /// Why a node without files, or one that is never cached, runs.
    pub why: String,
    /// Which node made a commit, for conflicts.
    pub makers: Vec<(String, String)>,
    /// Conflicts that an agent has settled for this node just now.
    pub settled: Vec<settle::Settled>,
    /// Its turn among all processes, for a node without files; one with files takes it when its files are known.
    pub turn: Asked,
}

/// What became of asking for a turn.
#[derive(Debug)]
pub enum Asked {
    /// Nobody asked yet, or nobody has to.
    Not,
    Ours(Turn),
    /// Another process is at work on the same.
    Busy(Digest),
}

/// How it ended, with what goes into journal and index.
pub struct Done {
    pub finished: NodeFinished,
    pub index: Vec<Index>,
    pub objects: Objects,
}

/// What the repository part of the preparation gave.
struct Ready {
    workspace: Workspace,
    base: Option<Base>,
    right: Option<Right>,
    manifest: StoredManifest,
    why: String,
    /// Artifacts of its needs and files of the checkout that were put in, relative to the workspace.
    restored: Vec<PathBuf>,
    /// What the slot still has to be made ready for.
    setup: Option<Digest>,
    /// Held until what the node leaves can be found.
    turn: Option<Turn>,
}

/// What a node in a slot starts from, and the repository that knows it: opened once for the node's whole life.
struct Base {
    repo: Repo,
    commit: CommitId,
    tree: TreeId,
}

/// A unit that ends before its process would start.
enum Early {
    Hit(Box<Done>),
    Failed(String),
    /// While it waited for this.
    Stopped(&'static str),
    /// What it needs does not merge, and there is an agent that may settle that.
    Conflict(Box<Stuck>),
}

/// Between two looks at whether the checkout is free.
const CHECKOUT_LOOK: Duration = Duration::from_millis(50);

impl Job {
    pub fn context(&self) -> &RunContext {
        &self.graph
    }

    pub fn planned(&self) -> &Instance {
        &self.context().plan.instances[self.instance]
    }

    pub fn node(&self) -> &Node {
        self.context().plan.node(self.instance)
    }
}

/// Lives a node's life to its end.
pub async fn run(job: Job) -> Done {
    let job = match turn::waited(job).await {
        Ok(job) => job,
        Err(done) => return *done,
    };
    let job = match remote::without_files(job).await {
        Ok(job) => job,
        Err(done) => return *done,
    };
    let (mut job, mut ready) = made_ready(job).await;
    while let Err(Early::Conflict(stuck)) = ready {
        match settle::settle(job, *stuck).await {
            Ok(settled) => (job, ready) = made_ready(settled).await,
            Err(done) => return *done,
        }
    }
    match ready {
        Err(Early::Hit(done)) => *done,
        Err(Early::Stopped(waited)) => {
            plain(&job, Outcome::Cancelled, format!("stopped while it waited for {waited}"))
        }
        Err(Early::Failed(message)) => plain(&job, Outcome::Failed, message),
        Err(Early::Conflict(stuck)) => plain(&job, Outcome::Failed, conflict_of(&job, &stuck)),
        Ok(ready) => attempt::run(job, ready).await,
    }
}

async fn made_ready(job: Job) -> (Job, Result<Ready, Early>) {
    if job.node().workspace == Kind::Scratch && job.given.is_empty() {
        let ready = scratch(&job);
        return (job, ready);
    }
    blocking(move || {
        let ready = prepare(&job);
        (job, ready)
    })
    .await
}

/// Work that would hold up others, on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// A record without a process behind it.
pub fn plain(job: &Job, outcome: Outcome, message: String) -> Done {
    let finished = NodeFinished {
        allowed_to_fail: job.node().allow_failure,
        ..NodeFinished::without_run(&job.planned().id, outcome, message)
    };
    Done { finished, index: Vec::new(), objects: Objects::None }
}

/// An empty directory and no git at all.
fn scratch(job: &Job) -> Result<Ready, Early> {
    let room = room(job)?;
    let right = match job.keyed {
        Keyed::Fileless(key) => Some(Cache::ignore(key, key)),
        Keyed::Never | Keyed::Quick(_) => None,
    };
    Ok(Ready {
        workspace: Workspace { place: Place::Scratch, room, permit: None },
        base: None,
        right,
        manifest: job.prepared.manifest.stored(None),
        why: job.why.clone(),
        restored: Vec::new(),
        setup: None,
        turn: None,
    })
}

fn room(job: &Job) -> Result<Room, Early> {
    job.rooms.take().map_err(|error| Early::Failed(error.to_string()))
}

fn prepare(job: &Job) -> Result<Ready, Early> {
    let mut ready = match job.node().workspace {
        Kind::Scratch => scratch(job)?,
        Kind::Repo => checkout(job)?,
        Kind::Worktree | Kind::Readonly => leased(job)?,
    };
    match furnish(job, &mut ready) {
        Ok(()) => Ok(ready),
        Err(message) => {
            leave::give_back(job, ready);
            Err(Early::Failed(message))
        }
    }
}

/// Before every attempt: takes out what earlier nodes left at the places of this one's promises, and puts in the
/// artifacts of its needs. Files that the base holds are neither: they are inputs.
fn furnish(job: &Job, ready: &mut Ready) -> Result<(), String> {
    let Ready { workspace: place, base, restored, .. } = ready;
    let is_tracked =
        |path: &Path| base.as_ref().is_some_and(|base| base.repo.has_file(base.tree, path).unwrap_or(false));
    let workspace = place.path().to_owned();
    let is_leased = matches!(place.place, Place::Slot(_));
    if is_leased {
        collect::clear_promises(job.node(), &workspace, |path| is_tracked(Path::new(path)));
        slot::bring_copies(job, &place.place, is_tracked, restored)?;
    }
    for artifact in job.given.iter().filter(|artifact| !is_tracked(Path::new(&artifact.path))) {
        if job.node().workspace == Kind::Repo && workspace.join(&artifact.path).exists() {
            return Err(format!(
                "the artifact `{}` would replace a file of the checkout; remove it there, or use a worktree",
                artifact.path
            ));
        }
        artifacts::restore(&job.shared.store, &workspace, artifact).map_err(|error| error.to_string())?;
        // In the user's own checkout nothing is taken away again.
        if is_leased {
            restored.push(PathBuf::from(&artifact.path));
        }
    }
    Ok(())
}

/// The user's own checkout, one node at a time on this machine.
fn checkout(job: &Job) -> Result<Ready, Early> {
    let failed = |message: String| Early::Failed(message);
    let path = job.shared.repo.work_dir.clone().ok_or_else(|| {
        failed("`workspace: repo` needs a checkout, and this repository is bare".to_owned())
    })?;
    let lock = wait_for_checkout(job)?;
    Ok(Ready {
        workspace: Workspace { place: Place::Repo { path, _lock: lock }, room: room(job)?, permit: None },
        base: None,
        right: None,
        manifest: StoredManifest::default(),
        why: job.why.clone(),
        restored: Vec::new(),
        setup: None,
        turn: None,
    })
}

/// Waits in steps, because another spb may hold the checkout for long and we may be stopped meanwhile.
fn wait_for_checkout(job: &Job) -> Result<Lock, Early> {
    let path = job.shared.store.root().join("checkout.lock");
    loop {
        if let Some(lock) = Lock::attempt(&path).map_err(failed)? {
            return Ok(lock);
        }
        if *job.stop.borrow() != Stop::Run {
            return Err(Early::Stopped("the checkout"));
        }
        std::thread::sleep(CHECKOUT_LOOK);
    }
}

fn leased(job: &Job) -> Result<Ready, Early> {
    let repo = Repo::open(&job.shared.repo).map_err(failed)?;
    let cache = index::open_to_read(&job.shared.store).ok().flatten().map(Cache::new);
    let base = base_of(job, &repo, cache.as_ref())?;
    let tree = repo.tree_of(base).map_err(failed)?;
    let mut manifest = StoredManifest::default();
    let mut right = None;
    let mut turn = None;
    let mut why = job.why.clone();
    if let Keyed::Quick(quick_key) = job.keyed {
        let reads = lookup::reads(job.node(), &repo, &job.memo, tree).map_err(failed)?;
        let key = job.prepared.manifest.content_key(reads);
        manifest = job.prepared.manifest.stored(Some(reads));
        let explain = |cache: &Cache| {
            let files = Some((&repo, job.node(), tree, reads));
            why::changed(cache, job.context(), &job.planned().id, (&job.prepared.manifest, key), files)
        };
        let fresh = job.context().options.fresh && job.planned().role == Role::Run;
        match &cache {
            Some(cache) if !fresh => {
                let look = || lookup::content(&job.shared, &repo, cache, job.node(), (key, quick_key), base);
                let mut found = look().map_err(failed)?;
                if matches!(found, Found::Miss { .. }) && job.planned().role == Role::Run {
                    // Somebody may have left it since, and may be at work on it now.
                    turn = turn::wait(job, key)?;
                    found = look().map_err(failed)?;
                }
                match found {
                    Found::Hit { entry, moved } => {
                        let commit = entry.result.commit.as_ref().filter(|_| moved);
                        if let Some(commit) = commit.and_then(|commit| commit.parse().ok()) {
                            repo.pin(job.context().id.as_str(), commit).map_err(failed)?;
                        }
                        return Err(hit(job, *entry, moved, base, (key, quick_key)));
                    }
                    Found::Miss { right: given, reason } => {
                        let files = (&repo, base, &manifest);
                        let (found, told) = remote::with_files(job, files, (key, quick_key), &mut turn)?;
                        if let Some(done) = found {
                            return Err(Early::Hit(done));
                        }
                        why = told.or(reason).unwrap_or_else(|| explain(cache));
                        right = Some(given);
                    }
                }
            }
            _ => {
                turn = turn::attempt(&job.shared, key);
                right = Some(Cache::ignore(key, quick_key));
            }
        }
    }
    if job.planned().role == Role::CacheOnly {
        return Err(Early::Failed(only_message(&why)));
    }
    let holder = Holder { run: job.context().id.to_string(), node: job.planned().id.clone() };
    let sweep = |holder: &Holder| {
        host::sweep(&holder.run, Some(&holder.node));
    };
    let request = LeaseRequest { commit: base, holder: &holder, prefer: &job.planned().id, sweep: &sweep };
    let pool = job.shared.pool.as_ref().expect("a unit only exists where things may be written");
    let permit = permit::wait(job)?;
    let cone = Cone::new(&job.context().workflow.worktrees.sparse);
    let lease = pool.lease_part(&request, cone).map_err(failed)?;
    let setup = slot::clean(job, &repo, &lease, tree).map_err(failed)?;
    Ok(Ready {
        workspace: Workspace { place: Place::Slot(Box::new(lease)), room: room(job)?, permit },
        base: Some(Base { repo, commit: base, tree }),
        right,
        manifest,
        why,
        restored: Vec::new(),
        setup,
        turn,
    })
}

/// What to say when `--only` left out a node that the cache does not have.
pub fn only_message(why: &str) -> String {
    format!("it is outside --only and the cache has no result for it ({why}); use --until instead")
}

fn failed(error: impl std::fmt::Display) -> Early {
    Early::Failed(error.to_string())
}

/// The base: results of the needs merged, or a sentence that names the nodes and files that do not merge.
fn base_of(job: &Job, repo: &Repo, cache: Option<&Cache>) -> Result<CommitId, Early> {
    let (recorder, base, rule) = (&job.shared.recorder, job.context().base, job.prepared.rule);
    let settled = |ours, theirs| settle::known(job, repo, cache, ours, theirs);
    match base::joined(repo, cache, recorder, base, &base::commits(&job.heads), rule, settled)
        .map_err(failed)?
    {
        Joined::Clean(commit) => Ok(commit),
        Joined::Stuck(_) if job.prepared.settler.is_some() && job.planned().role == Role::CacheOnly => {
            Err(Early::Failed(only_message("no agent has settled what it needs")))
        }
        Joined::Stuck(stuck) if job.prepared.settler.is_some() => Err(Early::Conflict(Box::new(stuck))),
        Joined::Stuck(stuck) => Err(Early::Failed(conflict_of(job, &stuck))),
    }
}

fn conflict_of(job: &Job, stuck: &Stuck) -> String {
    let mut message =
        conflict(&job.makers, &stuck.first.to_string(), &stuck.theirs.to_string(), &stuck.files);
    if base::decides(job.node()) {
        let word = job.node().on_conflict.word();
        message.push_str(&format!("; `on_conflict: {word}` settles lines of text only"));
    }
    message
}

/// Names the two nodes and every file.
pub fn conflict(makers: &[(String, String)], first: &str, second: &str, files: &[String]) -> String {
    let name =
        |commit| maker(makers, commit).map_or_else(|| format!("commit {commit}"), |node| format!("`{node}`"));
    format!(
        "the changes of {} and {} do not merge: {}; let one need the other, or keep their files apart",
        name(first),
        name(second),
        files.join(", ")
    )
}

fn maker<'m>(makers: &'m [(String, String)], commit: &str) -> Option<&'m str> {
    makers.iter().find(|(made, _)| made == commit).map(|(_, node)| node.as_str())
}

fn hit(job: &Job, entry: Entry, moved: bool, base: CommitId, (key, quick_key): (Digest, Digest)) -> Early {
    let index = vec![Index::Quick { quick_key, key, commit: entry.result.commit.clone() }];
    let heads = base::passed_on(job.node(), Some(base), &job.heads);
    let objects = if moved { Objects::Written } else { Objects::None };
    let finished = lookup::cached(&job.planned().id, entry, heads, (key, Some(quick_key)));
    Early::Hit(Box::new(Done { finished, index, objects }))
}

/// What dependents see of a record.
pub fn seen(finished: &NodeFinished) -> Ended {
    Ended {
        outcome: finished.outcome,
        result: Arc::new(finished.result.clone().unwrap_or_default()),
        duration_ms: finished.duration_ms.max(finished.saved_ms),
        // Only a hit by content is recorded with its quick key: its change was moved to this base.
        is_new: finished.outcome == Outcome::Succeeded || finished.quick_key.is_some(),
    }
}
