//! Times single operations of the git layer and the journal by calling them directly, one after another, in the
//! throw-away repository: nothing is built into the engine for it. Knows nothing of scenarios.

use std::sync::mpsc::channel;
use std::time::Instant;

use super::BenchError;
use super::field::Field;
use super::result::Part;
use crate::disk::{self, Durability};
use crate::event::RunEvent;
use crate::git::{CommitId, Holder, Lease, LeaseRequest, Merged, Pool, Repo, Stamp, merge_heads};
use crate::name::RunId;
use crate::store::recorder::{self, JournalFile, Objects};
use crate::store::{Store, index};

/// How often each operation is done, except the first leases.
const SAMPLES: usize = 40;

/// Milliseconds that a call takes, with what it gives.
fn timed<T>(call: impl FnOnce() -> T) -> (f64, T) {
    let began = Instant::now();
    let given = call();
    (began.elapsed().as_secs_f64() * 1000.0, given)
}

fn lease(pool: &Pool, node: &str, commit: CommitId) -> Result<Lease, BenchError> {
    let holder = Holder { run: "bench".to_owned(), node: node.to_owned() };
    Ok(pool.lease(&LeaseRequest { commit, holder: &holder, prefer: node, sweep: &|_| {} })?)
}

/// Makes `count` slots, so that no scenario pays for a first checkout, and times each.
///
/// # Errors
/// When git or the disk fails.
pub fn first_leases(field: &Field, count: usize) -> Result<Part, BenchError> {
    let pool = field.pool()?;
    let mut samples = Vec::new();
    let mut held = Vec::new();
    for at in 0..count.max(1) {
        let (ms, lease) = timed(|| lease(&pool, &format!("slot{at}"), field.base));
        samples.push(ms);
        held.push(lease?);
    }
    for lease in held {
        lease.finish()?;
    }
    Ok(Part::of("lease, new slot", &samples))
}

/// Leases, captures, merges and journal appends.
///
/// # Errors
/// When git or the disk fails.
pub fn measure(field: &Field) -> Result<Vec<Part>, BenchError> {
    let pool = field.pool()?;
    let repo = Repo::open(&field.repo)?;
    let (mut leases, mut captures, mut merges) = (Vec::new(), Vec::new(), Vec::new());
    let mut changes = Vec::new();
    for at in 0..=SAMPLES {
        // The slot holds what the last round left in it: one file has to go.
        let (ms, leased) = timed(|| lease(&pool, "part", field.base));
        let mut leased = leased?;
        let text = format!("part {at}\n");
        disk::replace(&leased.path().join(format!("part{at}")), text.as_bytes(), Durability::Crash)?;
        let (capture_ms, captured) = timed(|| leased.capture());
        changes.push(repo.commit(captured?.tree, &[field.base], "part", Stamp::Like(field.base))?);
        leased.finish()?;
        if at > 0 {
            leases.push(ms);
            captures.push(capture_ms);
        }
    }
    for pair in changes.windows(2) {
        let (ms, merged) = timed(|| merge_heads(&repo, field.base, pair));
        match merged? {
            Merged::Clean(_) => merges.push(ms),
            Merged::Conflict { files, .. } => return Err(BenchError::Conflict(files.join(", "))),
        }
    }
    Ok(vec![
        Part::of("lease again, 1 file away", &leases),
        Part::of("capture, 1 file changed", &captures),
        Part::of("merge of two, 1 file each", &merges),
        Part::of("journal: one fact durable", &appends(field)?),
    ])
}

/// One fact after another, each waited for: what a fact costs that shares its sync with no other.
fn appends(field: &Field) -> Result<Vec<f64>, BenchError> {
    let store = Store::at(&field.root().join("journal"));
    store.prepare()?;
    let run = RunId::parse("20000101-000000-part").expect("the shape of a run id");
    disk::create_directory(&store.run_directory(&run))?;
    let journal = JournalFile::open(run.clone(), &store.journal(&run), 0, 0)?;
    let (failed, failure) = channel();
    let (recorder, thread) = recorder::start(
        vec![journal],
        index::open(&store)?,
        store.root().to_owned(),
        channel().0,
        move |why| {
            failed.send(why).ok();
        },
    );
    let mut samples = Vec::new();
    for at in 0..=SAMPLES {
        let event = RunEvent::Warning { node: None, message: format!("fact {at}") };
        let (ms, ()) = timed(|| {
            recorder.fact(0, event, Vec::new(), Objects::None);
            recorder.flush();
        });
        // The first one also syncs the directories of a new journal.
        if at > 0 {
            samples.push(ms);
        }
    }
    drop(recorder);
    thread.join();
    match failure.try_recv() {
        Ok(reason) => Err(BenchError::Unrecorded(reason)),
        Err(_) => Ok(samples),
    }
}
