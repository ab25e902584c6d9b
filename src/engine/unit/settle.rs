//! Lets an agent settle what does not merge, before the node that needs it starts: the merge with its markers in a slot, the
//! agent's command in there, and what it made of the files as a merge commit, remembered for every node and run that
//! comes to the same conflict. Only one asks at a time: whoever waited finds the answer.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::attempt::{self, Ran};
use super::permit;
use super::{Done, Job, Outcome, blocking, conflict_of, leave, maker, plain};
use crate::disk::{self, Durability, Lock};
use crate::engine::base;
use crate::engine::prepare::{self, Settler};
use crate::engine::workspace::Room;
use crate::event::{MAX_CHANGED_LISTED, NodeFinished, RunEvent};
use crate::executor::{Ended, Stop, Task};
use crate::git::conflict::{self, Marked, Marking, Unsettled};
use crate::git::permit::Permit;
use crate::git::{CommitId, GitError, Holder, Lease, LeaseRequest, Repo, Stamp, Stuck};
use crate::host;
use crate::store::cache::Cache;
use crate::store::index;
use crate::store::recorder::{Index, Objects};

/// A conflict and what was made of it.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    ours: CommitId,
    theirs: CommitId,
    commit: CommitId,
}

/// Between two looks at whether somebody else has settled it.
const LOOK: Duration = Duration::from_millis(50);

/// Everything the agent works with.
struct Desk {
    lease: Lease,
    room: Room,
    marked: Marked,
    _permit: Option<Permit>,
    /// Nobody else asks about this conflict meanwhile.
    _lock: Lock,
}

/// What became of asking for the right to settle.
enum Turn {
    /// Somebody else has settled it.
    Known(CommitId),
    Ours(Box<Desk>),
    Wait,
    Failed(String),
}

/// The merge of two commits that conflict, if an agent made one for this node just now or for any node before.
pub fn known(
    job: &Job,
    repo: &Repo,
    cache: Option<&Cache>,
    ours: CommitId,
    theirs: CommitId,
) -> Option<CommitId> {
    let own = job.settled.iter().find(|settled| (settled.ours, settled.theirs) == (ours, theirs));
    own.map(|settled| settled.commit).or_else(|| base::settled(repo, cache, ours, theirs, job.prepared.rule))
}

/// Has a conflict settled. The job knows it then; or this is how its node ended.
pub async fn settle(mut job: Job, stuck: Stuck) -> Result<Job, Box<Done>> {
    let desk = loop {
        if *job.stop.borrow() != Stop::Run {
            let message = "stopped before what it needs was merged".to_owned();
            return Err(Box::new(plain(&job, Outcome::Cancelled, message)));
        }
        let (back, turn) = {
            let stuck = stuck.clone();
            blocking(move || {
                let turn = turn(&job, &stuck).unwrap_or_else(|error| Turn::Failed(error.to_string()));
                (job, turn)
            })
            .await
        };
        job = back;
        match turn {
            Turn::Known(commit) => return Ok(with(job, &stuck, commit)),
            Turn::Ours(desk) => break desk,
            Turn::Wait => tokio::time::sleep(LOOK).await,
            Turn::Failed(message) => return Err(Box::new(plain(&job, Outcome::Failed, message))),
        }
    };
    tell(&job, &desk.marked);
    let ran = match task(&job, &desk) {
        Ok(task) => attempt::judge(&job, 1, attempt::once(&job, task).await),
        Err(message) => *attempt::not_run(Outcome::Failed, message),
    };
    let (job, ended) = blocking(move || {
        let ended = end(&job, *desk, ran);
        (job, ended)
    })
    .await;
    match ended {
        Ok(commit) => Ok(with(job, &stuck, commit)),
        Err(ran) => Err(Box::new(failed(&job, *ran))),
    }
}

fn with(mut job: Job, stuck: &Stuck, commit: CommitId) -> Job {
    job.settled.push(Settled { ours: stuck.ours, theirs: stuck.theirs, commit });
    job
}

/// Takes the right to settle a conflict, and lays it out; or finds that it is settled.
fn turn(job: &Job, stuck: &Stuck) -> Result<Turn, GitError> {
    let rule = job.prepared.rule;
    let Some(key) = base::settled_key(stuck.ours, stuck.theirs, rule) else {
        return Ok(Turn::Failed(conflict_of(job, stuck)));
    };
    let directory = job.shared.store.root().join("settling");
    disk::create_directory(&directory)?;
    // Few files for all conflicts that there ever are: two of them seldom wait for each other.
    let Some(lock) = Lock::attempt(&directory.join(&key.to_hex()[..3]))? else { return Ok(Turn::Wait) };
    let repo = Repo::open(&job.shared.repo)?;
    let cache = index::open_to_read(&job.shared.store).ok().flatten().map(Cache::new);
    if let Some(commit) = base::settled(&repo, cache.as_ref(), stuck.ours, stuck.theirs, rule) {
        return Ok(Turn::Known(commit));
    }
    let name = |commit: CommitId| {
        let commit = commit.to_string();
        maker(&job.makers, &commit).unwrap_or(&commit).to_owned()
    };
    let (ours, theirs) = (name(stuck.first), name(stuck.theirs));
    let stamp = Stamp::Like(job.context().base);
    let marked = match conflict::mark(&repo, (stuck.ours, stuck.theirs), (&ours, &theirs), stamp)? {
        Marking::Lines(marked) => marked,
        Marking::Other(files) => {
            let files = files.iter().map(|file| file.to_string_lossy().into_owned()).collect();
            return Ok(Turn::Failed(conflict_of(job, &Stuck { files, ..stuck.clone() })));
        }
        Marking::OldGit => {
            let message = format!("{}; that needs git 2.38 or newer", conflict_of(job, stuck));
            return Ok(Turn::Failed(message));
        }
    };
    if marked.files.iter().any(|file| file.as_os_str().as_bytes().contains(&b'\n')) {
        return Ok(Turn::Failed(format!(
            "{}; no list can name a file with a line end",
            conflict_of(job, stuck)
        )));
    }
    let holder = Holder { run: job.context().id.to_string(), node: job.planned().id.clone() };
    let sweep = |holder: &Holder| {
        host::sweep(&holder.run, Some(&holder.node));
    };
    let request =
        LeaseRequest { commit: marked.commit, holder: &holder, prefer: &job.planned().id, sweep: &sweep };
    let pool = job.shared.pool.as_ref().expect("a unit only exists where things may be written");
    let Some(permit) = permit::attempt(job)? else { return Ok(Turn::Wait) };
    let room = job.rooms.take()?;
    let lease = match pool.lease(&request) {
        Ok(lease) => lease,
        Err(error) => {
            job.rooms.give_back(room);
            return Err(error);
        }
    };
    Ok(Turn::Ours(Box::new(Desk { lease, room, marked, _permit: permit, _lock: lock })))
}

/// Says that the agent is about to be asked.
fn tell(job: &Job, marked: &Marked) {
    let files = marked.files.iter().take(MAX_CHANGED_LISTED);
    let event = RunEvent::NodeSettling {
        node: job.planned().id.clone(),
        agent: settler(job).name.clone(),
        files: files.map(|file| file.to_string_lossy().into_owned()).collect(),
    };
    job.shared.recorder.fact(job.context().journal, event, Vec::new(), Objects::None);
}

fn settler(job: &Job) -> &Settler {
    job.prepared.settler.as_ref().expect("only a node with an agent gets this far")
}

/// What to execute, and where.
fn task(job: &Job, desk: &Desk) -> Result<Task, String> {
    let settler = settler(job);
    let prompt = prompt(&settler.prompt, &desk.marked);
    let mut list = Vec::new();
    for file in &desk.marked.files {
        list.extend_from_slice(file.as_os_str().as_bytes());
        list.push(b'\n');
    }
    let told = [("SPB_PROMPT", "prompt", prompt.as_bytes()), ("SPB_CONFLICTS", "conflicts", &list)];
    let mut env = job.shared.base_env.clone();
    env.extend(job.prepared.env.iter().cloned());
    env.extend(job.context().caller.secrets_of(&job.context().plan.workflow, job.node()));
    for (name, value) in [
        ("SPB_RUN", job.context().id.as_str()),
        ("SPB_NODE", &job.planned().id),
        ("SPB_BASE", &desk.marked.commit.to_string()),
    ] {
        env.push((OsString::from(name), OsString::from(value)));
    }
    env.push((OsString::from("SPB_CACHE_DIR"), job.shared.cache_directory.clone().into()));
    for (name, file, text) in told {
        let path = desk.room.out.join(file);
        disk::replace(&path, text, Durability::Crash).map_err(|error| error.to_string())?;
        env.push((OsString::from(name), path.into()));
    }
    let words =
        prepare::command(job.context(), &settler.command, &prompt).map_err(|error| error.to_string())?;
    Ok(Task {
        argv: words.into_iter().map(OsString::from).collect(),
        env: attempt::last_wins(env),
        directory: desk.lease.path().to_owned(),
        timeout: job.node().timeout,
        grace: Task::GRACE,
        log: job.shared.store.log(&job.context().id, &job.planned().id, 1),
        stdout_file: None,
        mask: job.context().mask.clone(),
    })
}

/// What the author asks, and which files it is about. Their names are data: each on a line of its own.
fn prompt(asked: &str, marked: &Marked) -> String {
    let mut prompt =
        format!("{}\n\nFiles with conflicts, each between <<<<<<< and >>>>>>>:\n", asked.trim_end());
    for file in &marked.files {
        prompt.push_str(&format!("- {}\n", file.to_string_lossy()));
    }
    prompt
}

/// Takes what the agent left, if it settles everything, and gives its place back.
fn end(job: &Job, mut desk: Desk, mut ran: Ran) -> Result<CommitId, Box<Ran>> {
    if host::orphans::has_any() != Some(false) {
        // A daemon that the agent left would write into what is captured, and into the next node's place.
        leave::end_daemons(job, Some(desk.lease.path()));
    }
    let settled = match ran.outcome {
        Outcome::Succeeded => taken(job, &mut desk).inspect_err(|message| {
            ran.outcome = Outcome::Failed;
            ran.message.clone_from(message);
        }),
        _ => {
            let agent = &settler(job).name;
            Err(format!(
                "the agent `{agent}`, asked to settle {}, {}",
                list(&names(&desk.marked)),
                ran.message
            ))
        }
    };
    // A mark that cannot be written leaves the slot dirty: the next lease cleans it.
    desk.lease.finish().ok();
    job.rooms.give_back(desk.room);
    settled.map_err(|message| Box::new(Ran { message, ..ran }))
}

fn taken(job: &Job, desk: &mut Desk) -> Result<CommitId, String> {
    let text = |error: GitError| error.to_string();
    let agent = &settler(job).name;
    let captured = desk.lease.capture().map_err(text)?;
    let repo = Repo::open(&job.shared.repo).map_err(text)?;
    match conflict::settled(&repo, &desk.marked, captured.tree).map_err(text)? {
        Ok(()) => {}
        Err(Unsettled::Others(files)) => {
            return Err(format!(
                "the agent `{agent}` changed files beside those in conflict: {}; it may change {} only",
                list(&files),
                list(&names(&desk.marked))
            ));
        }
        Err(Unsettled::Markers(files)) => {
            return Err(format!("the agent `{agent}` left conflict markers in {}", list(&files)));
        }
    }
    let Marked { ours, theirs, .. } = desk.marked;
    let message = format!("spb: merge, conflicts settled by {agent}");
    let stamp = Stamp::Like(job.context().base);
    let commit = repo.commit(captured.tree, &[ours, theirs], &message, stamp).map_err(text)?;
    let key = base::settled_key(ours, theirs, job.prepared.rule).expect("the rule asks an agent");
    let recorder = &job.shared.recorder;
    // The answer cost something: it is on disk before anything says that it is there.
    recorder.wrote_objects();
    recorder.sync_objects().map_err(|error| error.to_string())?;
    recorder.index(Index::Merge { key, result: commit.to_string() });
    if recorder.flush() { Ok(commit) } else { Err("what the agent made could not be recorded".to_owned()) }
}

/// How a node ended whose needs were not merged.
fn failed(job: &Job, ran: Ran) -> Done {
    let Done { finished, index, objects } =
        plain(job, ran.outcome, job.context().mask.apply(&ran.message).into_owned());
    let finished = NodeFinished {
        attempts: ran.attempts,
        duration_ms: u64::try_from(ran.last.duration.as_millis()).unwrap_or(u64::MAX),
        exit_code: ran.exit_code,
        signal: ran.signal,
        log: (ran.last.ended != Ended::Stopped || ran.last.log_bytes > 0).then(|| attempt::log_place(job)),
        usage: ran.last.usage,
        ..finished
    };
    Done { finished, index, objects }
}

fn names(marked: &Marked) -> Vec<String> {
    marked.files.iter().map(|file| file.to_string_lossy().into_owned()).collect()
}

fn list(files: &[String]) -> String {
    let shown = files.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
    if files.len() > 10 { format!("{shown} and {} more", files.len() - 10) } else { shown }
}
