//! `spb doctor --repair`: makes again what can be made again, and moves away what stands in the way and cannot. Takes the
//! lock of everything that it touches, so that running engines are not disturbed. Nothing but half-made files, dead locks
//! of ours and empty folders is removed: the rest goes to `<store>/damaged`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::cli::{Context, Failure};
use crate::disk::{self, DiskError, Lock};
use crate::engine::{presence, refs};
use crate::git::collect::{Removal, Which};
use crate::git::{Pool, Repo, RepoPath, SlotState, loose};
use crate::name::RunId;
use crate::report::text;
use crate::store::recorder::JournalFile;
use crate::store::{Places, Store, StoreError, index, journal};

/// Repairs, and says what was done, a sentence each.
///
/// # Errors
/// When the store is of a newer spb, or something cannot be written.
pub fn run(context: &Context, repository: &RepoPath) -> Result<Vec<String>, Failure> {
    let store = Store::at(&repository.common_dir);
    if !store.root().is_dir() {
        return Ok(Vec::new());
    }
    store.prepare()?;
    let pool = context.pool_directory(repository)?;
    let mut done = presence::succeed_the_dead(&store, repository, &pool.join("rooms"));
    if refs::mend(&store, &repository.common_dir)? {
        done.push("removed the lock of a ref that an spb which died was writing".to_owned());
    }
    done.extend(half_made(&store, &pool));
    done.extend(objects(&store, repository)?);
    for run in folders(&store) {
        done.extend(one_run(&store, &run)?);
    }
    done.extend(unused_refs(&store, repository)?);
    done.extend(the_index(&store)?);
    done.extend(worktrees(repository, pool)?);
    Ok(done)
}

fn half_made(store: &Store, pool: &Path) -> Option<String> {
    let count = store.collect_half_made(Places::Everywhere) + disk::half_made::collect(pool);
    (count > 0).then(|| format!("removed {} of processes that died", text::count(count, "half-made file")))
}

fn damaged(store: &Store) -> PathBuf {
    store.root().join("damaged")
}

/// git takes a damaged object for the object, and never writes it again.
fn objects(store: &Store, repository: &RepoPath) -> Result<Option<String>, Failure> {
    let aside = damaged(store);
    let always = SystemTime::UNIX_EPOCH;
    let objects = loose::set_aside_damaged(repository, always, &aside.join("objects"))?;
    let refs = loose::set_aside_lost_refs(repository, "refs/spb", always, &aside)?;
    Ok((objects + refs > 0).then(|| {
        let (objects, refs) = (text::count(objects, "damaged object"), text::count(refs, "empty ref"));
        format!("moved {objects} and {refs} to `{}`", aside.display())
    }))
}

fn folders(store: &Store) -> Vec<RunId> {
    let entries = std::fs::read_dir(store.runs_directory()).into_iter().flatten().flatten();
    entries.filter_map(|entry| RunId::parse(entry.file_name().to_str()?)).collect()
}

/// Cuts what is no record off a journal; moves a run away that cannot be read, and removes one that never began.
fn one_run(store: &Store, run: &RunId) -> Result<Option<String>, Failure> {
    let Some(_lock) = Lock::attempt(&store.run_lock(run))? else { return Ok(None) };
    let (path, directory) = (store.journal(run), store.run_directory(run));
    match journal::read(&path) {
        Ok(journal) if journal.records.is_empty() && journal.torn == 0 => never_began(&directory, run),
        Ok(journal) if journal.records.is_empty() => set_aside(store, run, "it holds no record"),
        Ok(journal) if journal.torn > 0 => {
            let seq = journal.records.len() as u64;
            drop(JournalFile::open(run.clone(), &path, journal.whole, seq)?);
            let bytes = journal.torn;
            Ok(Some(format!("cut {bytes} bytes that are no record off the journal of run {run}")))
        }
        Ok(_) => Ok(None),
        Err(StoreError::Disk(error)) if error.source.kind() == std::io::ErrorKind::NotFound => {
            never_began(&directory, run)
        }
        Err(StoreError::Damaged { reason, .. }) => set_aside(store, run, &reason),
        Err(StoreError::Newer { .. } | StoreError::Disk(_) | StoreError::Index { .. }) => Ok(None),
    }
}

fn never_began(directory: &Path, run: &RunId) -> Result<Option<String>, Failure> {
    disk::remove(directory)?;
    Ok(Some(format!("removed the empty folder of run {run}, which never began")))
}

/// Its results stay in the index, as far as they are there.
fn set_aside(store: &Store, run: &RunId, reason: &str) -> Result<Option<String>, Failure> {
    let (from, to) = (store.run_directory(run), damaged(store).join("runs").join(run.as_str()));
    disk::create_directory(&damaged(store).join("runs"))?;
    std::fs::rename(&from, &to).map_err(|source| DiskError::new("set aside", &from, source))?;
    Ok(Some(format!("moved run {run} to `{}`: {reason}", to.display())))
}

/// Refs of runs that nobody can name any more. Results that no branch holds stay.
fn unused_refs(store: &Store, repository: &RepoPath) -> Result<Option<String>, Failure> {
    let repo = Repo::open(repository)?;
    let mut count = 0;
    for prefix in ["refs/spb/runs/", "refs/spb/checkpoints/"] {
        for (name, _) in repo.refs(prefix)? {
            let run = name[prefix.len()..].split('/').next().and_then(RunId::parse);
            let Some(run) = run else { continue };
            if !store.run_directory(&run).exists() && !damaged(store).join("runs").join(run.as_str()).exists()
            {
                refs::remove(store, &repo, &name)?;
                count += 1;
            }
        }
    }
    Ok((count > 0).then(|| format!("removed {} of runs that are gone", text::count(count, "ref"))))
}

fn the_index(store: &Store) -> Result<Option<String>, Failure> {
    if index::is_whole(store) {
        return Ok(None);
    }
    index::mark_damaged(store.root());
    drop(index::open(store)?);
    Ok(Some("made the index again from the journals".to_owned()))
}

/// Worktrees that a dead process left as nobody knows: those in use stay.
fn worktrees(repository: &RepoPath, directory: PathBuf) -> Result<Option<String>, Failure> {
    let pool = Pool::open(repository, directory)?;
    let mut count = 0;
    for slot in pool.list()?.iter().filter(|slot| slot.state == SlotState::Dirty) {
        let removals = pool.remove(Which::Number(slot.number))?;
        count += removals.iter().filter(|removal| matches!(removal, Removal::Removed(_))).count();
    }
    Ok((count > 0).then(|| format!("removed {} that nobody gave back", text::count(count, "worktree"))))
}
