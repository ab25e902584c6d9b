//! `spb cache`: what is kept of earlier results.

mod keep;
pub mod limits;
mod share;

use std::io::{BufRead, Write};

use clap::Subcommand;
use serde::Serialize;

use super::remote::Told;
use super::{Context, Exit, Failure, out};
use crate::disk::{self, Lock};
use crate::git::{Repo, RepoPath};
use crate::report::text;
use crate::store::cache::{self, Cache};
use crate::store::runs::{self, RunState};
use crate::store::uses::{self, Helped};
use crate::store::{Store, artifacts, index};

/// Show, check, share and clear the cache of results
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb cache stats
  spb cache gc --max-size 2GiB  keep it small
  spb cache verify              is every result whole?
  spb cache export cache.spb    for another clone, which says `spb cache import cache.spb`
  spb cache clear --yes         forget all results; runs, logs and branches stay")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Stats(StatsArgs),
    Gc(keep::GcArgs),
    Verify(keep::VerifyArgs),
    Export(share::ExportArgs),
    Import(share::ImportArgs),
    Clear(ClearArgs),
}

/// Show how much is cached, and how much time it stands for
#[derive(Debug, clap::Args)]
pub struct StatsArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Forget all results: everything runs again
///
/// Runs, their logs and their branches stay.
#[derive(Debug, clap::Args)]
pub struct ClearArgs {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Keeps the commits of all cache entries.
const CACHE_REF: &str = "refs/spb/cache";

/// Runs the verb.
///
/// # Errors
/// When the store cannot be read or changed, or clearing was not agreed to.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Stats(args) => show(args, context),
        Verb::Gc(args) => keep::gc(args, context),
        Verb::Verify(args) => keep::verify(args, context),
        Verb::Export(args) => share::export(args, context),
        Verb::Import(args) => share::import(args, context),
        Verb::Clear(args) => clear(args, context),
    }
}

#[derive(Debug, Default, Serialize)]
struct Stats {
    entries: u64,
    /// Bytes of the entries in the index; the changes themselves are git objects.
    entry_bytes: u64,
    artifacts: usize,
    /// Compressed.
    artifact_bytes: u64,
    /// What making all entries took, milliseconds.
    stands_for_ms: u64,
    /// RFC 3339.
    oldest: Option<String>,
    /// Over all runs that are remembered.
    helped: Helped,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<Told>,
}

fn stats(store: &Store) -> Result<Stats, Failure> {
    let (artifacts, artifact_bytes) = artifacts::usage(store);
    let Some(connection) = index::open_to_read(store)? else {
        return Ok(Stats { artifacts, artifact_bytes, ..Stats::default() });
    };
    let fail = |source| crate::store::StoreError::Index { path: store.index_path(), source };
    let helped = uses::helped(&connection).map_err(fail)?;
    let found = Cache::new(connection).stats().map_err(fail)?;
    let oldest = found.oldest.and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
    Ok(Stats {
        entries: found.entries.unsigned_abs(),
        entry_bytes: found.entry_bytes.unsigned_abs(),
        artifacts,
        artifact_bytes,
        stands_for_ms: found.saved_ms.unsigned_abs(),
        oldest: oldest.map(|time| format!("{time:.0}")),
        helped,
        remote: None,
    })
}

fn show(args: &StatsArgs, context: &Context) -> Result<Exit, Failure> {
    let (_, store) = context.store()?;
    let stats = Stats { remote: Told::of(&context.env)?, ..stats(&store)? };
    if args.json {
        out::json(&stats)?;
        return Ok(Exit::Done);
    }
    let oldest = stats.oldest.as_deref().map(|time| format!("\noldest     {}", text::local_time(time)));
    let Helped { hits, misses, saved_ms } = stats.helped;
    let part = (hits * 100).checked_div(hits + misses).map(|part| format!(" ({part}%)"));
    let remote = stats.remote.as_ref().map(Told::line);
    out::print(&format!(
        "results    {} ({} in the index)\nartifacts  {} ({})\nstand for  {} of running nodes\nhits       {hits} of \
         {}{}, which saved {}{}\n{}",
        stats.entries,
        text::bytes(stats.entry_bytes),
        stats.artifacts,
        text::bytes(stats.artifact_bytes),
        text::duration(stats.stands_for_ms),
        hits + misses,
        part.unwrap_or_default(),
        text::duration(saved_ms),
        oldest.unwrap_or_default(),
        remote.unwrap_or_default(),
    ))?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Cleared {
    entries: usize,
    artifacts: usize,
    artifact_bytes: u64,
}

fn clear(args: &ClearArgs, context: &Context) -> Result<Exit, Failure> {
    let (repository, store) = context.store()?;
    let before = stats(&store).unwrap_or_default();
    refuse_while_running(&store)?;
    if !args.yes && !agreed(&before)? {
        return Err(Failure::invalid("nothing was cleared"));
    }
    let _alone = match store.root().is_dir() {
        true => Some(Lock::attempt(&store.in_use())?.ok_or_else(|| busy(&store))?),
        false => None,
    };
    let entries = if store.root().is_dir() { forget(&repository, &store)? } else { 0 };
    if args.json {
        let cleared = Cleared { entries, artifacts: before.artifacts, artifact_bytes: before.artifact_bytes };
        out::json(&cleared)?;
    } else {
        let artifacts = text::count(before.artifacts, "artifact");
        out::print(&format!(
            "forgot {} and {artifacts} ({})\n",
            text::count(entries, "result"),
            text::bytes(before.artifact_bytes)
        ))?;
    }
    Ok(Exit::Done)
}

/// The index first: what it no longer names can go. Then what nobody names, and what keeps commits from `git gc`.
fn forget(repository: &RepoPath, store: &Store) -> Result<usize, Failure> {
    disk::remove(&store.repeats_directory())?;
    let connection = index::open(store)?;
    let entries = cache::clear(&connection)
        .map_err(|source| crate::store::StoreError::Index { path: store.index_path(), source })?;
    let directory = store.artifacts_directory();
    for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
        disk::remove(&entry.path())?;
    }
    let repo = Repo::open(repository)?;
    crate::engine::refs::remove(store, &repo, CACHE_REF)?;
    Ok(entries)
}

/// What to say when a run may need what is to go.
fn busy(store: &Store) -> Failure {
    match refuse_while_running(store) {
        Err(failure) => failure,
        Ok(()) => Failure::environment("another spb uses the cache just now")
            .with_help("wait for it, and try again"),
    }
}

fn refuse_while_running(store: &Store) -> Result<(), Failure> {
    let views = runs::list(store).into_iter().filter_map(|run| runs::view(store, &run).ok());
    match views.into_iter().find(|view| view.state() == RunState::Running) {
        Some(view) => Err(Failure::environment(format!("run {} is running and uses the cache", view.run))
            .with_help(format!("wait for it, or stop it: `spb cancel {}`", view.run))),
        None => Ok(()),
    }
}

fn agreed(stats: &Stats) -> Result<bool, Failure> {
    if !out::stdin_is_terminal() {
        return Err(Failure::invalid("clearing the cache needs a yes, and there is no terminal to ask on")
            .with_help("add `--yes`"));
    }
    let question = format!(
        "Forget {} and {}, which took {} to make? [y/N] ",
        text::count(usize::try_from(stats.entries).unwrap_or(usize::MAX), "result"),
        text::count(stats.artifacts, "artifact"),
        text::duration(stats.stands_for_ms),
    );
    let mut stderr = anstream::stderr();
    stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush()).ok();
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::environment(format!("cannot read the answer: {error}")))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
