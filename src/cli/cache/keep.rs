//! `spb cache gc` and `spb cache verify`: keeps the cache small, and says whether it is whole.

use std::time::Duration;

use super::limits::{self, Limit};
use crate::cli::{Context, Exit, Failure, out};
use crate::engine::{audit, evict};
use crate::report::text;

/// Remove results that were not used for long, and the least recently used ones that do not fit
///
/// What a run that is not over needs stays. Afterwards `git gc` can collect what the removed results changed. The same happens
/// by itself after a run, once a day.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb cache gc                              within the limits that always hold
  spb cache gc --max-size 2GiB --max-age 14d
  spb cache gc --max-age off                whatever its age, as long as it fits")]
pub struct GcArgs {
    /// Most bytes that may stay [default: $SPB_CACHE_MAX_SIZE, else 20GiB]
    #[arg(long, value_name = "SIZE", value_parser = limits::size)]
    pub max_size: Option<Limit<u64>>,
    /// How long a result may stay that nobody uses [default: $SPB_CACHE_MAX_AGE, else 60d]
    #[arg(long, value_name = "DURATION", value_parser = limits::age)]
    pub max_age: Option<Limit<Duration>>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Check every result: its record, its commit with all files, its artifacts
///
/// Exits with 3 when something is damaged and was not repaired.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Remove what is damaged, so that it is made again
    #[arg(long)]
    pub repair: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub fn gc(args: &GcArgs, context: &Context) -> Result<Exit, Failure> {
    let (repository, store) = context.store()?;
    let limits = limits::limits(context, args.max_size, args.max_age)?;
    let evicted = if store.root().is_dir() {
        let now = jiff::Timestamp::now().as_millisecond();
        evict::evict(&store, &repository, limits, now)?.ok_or_else(|| super::busy(&store))?
    } else {
        evict::Evicted::default()
    };
    if args.json {
        out::json(&evicted)?;
        return Ok(Exit::Done);
    }
    out::print(&format!(
        "removed  {} ({} not used for long, {} that did not fit), {} ({})\nleft     {} ({})\n",
        text::count(evicted.old + evicted.over, "result"),
        evicted.old,
        evicted.over,
        text::count(evicted.artifacts, "artifact"),
        text::bytes(evicted.artifact_bytes),
        text::count(evicted.entries_left, "result"),
        text::bytes(evicted.bytes_left),
    ))?;
    Ok(Exit::Done)
}

pub fn verify(args: &VerifyArgs, context: &Context) -> Result<Exit, Failure> {
    let (repository, store) = context.store()?;
    let audit = if args.repair && store.root().is_dir() {
        audit::repair(&store, &repository)?.ok_or_else(|| super::busy(&store))?
    } else {
        audit::audit(&store, &repository)?
    };
    let is_left = !audit.damaged.is_empty() && !audit.repaired;
    if args.json {
        out::json(&audit)?;
    } else {
        let mut printed = String::new();
        for damage in &audit.damaged {
            let node = format!("{} of {}: {}", damage.node, damage.workflow, damage.what);
            printed.push_str(&format!("damaged  {}\n", text::line(&node)));
        }
        let entries = text::count(audit.entries, "result");
        printed.push_str(&match audit.damaged.len() {
            0 => format!("{entries}, all whole\n"),
            count if audit.repaired => {
                format!("{entries}, {count} damaged and removed: the next run makes them again\n")
            }
            count => format!("{entries}, {count} damaged; `spb cache verify --repair` removes them\n"),
        });
        out::print(&printed)?;
    }
    Ok(if is_left { Exit::Environment } else { Exit::Done })
}
