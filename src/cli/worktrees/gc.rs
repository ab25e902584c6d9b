//! `spb worktrees gc`, and what a run removes when it ends: worktrees that nobody used for long, or that take too much.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::super::env::Env;
use super::super::{Context, Exit, Failure, out};
use super::existing_pool;
use crate::git::collect::{Act, Bounds, Collected, directory_bytes};
use crate::git::orphans::{self, Found};
use crate::git::{Holder, Pool, repo};
use crate::host;
use crate::report::text;
use crate::workflow::period;

/// How long a worktree stays that nobody uses.
const UNUSED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Remove worktrees that nobody used for long, or that take too much disk
///
/// Those used least recently go first. Those in use stay. Nothing is lost but warm caches: what nodes made is in the
/// repository. Without options the limits are those that hold when a run ends.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove those that were not used for this long, such as `14d` or `12h`
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub older_than: Option<Duration>,
    /// Remove the least used ones until those of a repository take no more than this, such as `20GB` or `500MiB`
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_size: Option<u64>,
    /// Do so for all repositories, and remove everything of those that are gone
    #[arg(long)]
    pub all: bool,
    /// Only tell what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    removed: Vec<Removed>,
    /// Directories of worktrees whose repository is gone.
    orphans: Vec<Orphan>,
    freed_bytes: u64,
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Removed {
    path: String,
    disk_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Orphan {
    path: String,
    repository: String,
    disk_bytes: u64,
}

/// Runs the verb.
///
/// # Errors
/// When a limit of the environment cannot be read, or something cannot be removed.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let bounds = match (args.older_than, args.max_size) {
        (None, None) => bounds(&context.env)?,
        (unused_for, size) => Bounds { unused_for, size },
    };
    let act = if args.dry_run { Act::Tell } else { Act::Remove };
    let mut report = Report { dry_run: args.dry_run, ..Report::default() };
    if args.all {
        for found in orphans::pools(&context.pools_directory()?) {
            if found.is_orphan() {
                report.orphan(&found, act)?;
            } else if let Ok(repository) = repo::discover(&found.repository) {
                report.pool(&Pool::open(&repository, found.directory)?, bounds, act)?;
            }
        }
    } else if let Some(pool) = existing_pool(context)? {
        report.pool(&pool, bounds, act)?;
    }
    if args.json {
        out::json(&report)?;
    } else {
        out::print(&report.text())?;
    }
    Ok(Exit::Done)
}

impl Report {
    fn pool(&mut self, pool: &Pool, bounds: Bounds, act: Act) -> Result<(), Failure> {
        for Collected { slot, bytes } in pool.collect(bounds, act, &sweep)? {
            self.freed_bytes += bytes;
            self.removed.push(Removed { path: shown(&slot.path), disk_bytes: bytes });
        }
        Ok(())
    }

    fn orphan(&mut self, found: &Found, act: Act) -> Result<(), Failure> {
        let disk_bytes = directory_bytes(&found.directory);
        if act == Act::Remove && !found.remove()? {
            out::warn(&format!(
                "kept `{}`: someone is at work there, or files are in it that spb did not make",
                shown(&found.directory)
            ));
            return Ok(());
        }
        self.freed_bytes += disk_bytes;
        let (path, repository) = (shown(&found.directory), shown(&found.repository));
        self.orphans.push(Orphan { path, repository, disk_bytes });
        Ok(())
    }

    fn text(&self) -> String {
        let verb = if self.dry_run { "would remove" } else { "removed" };
        let slots = self
            .removed
            .iter()
            .map(|one| format!("{verb} {} ({})\n", text::line(&one.path), text::bytes(one.disk_bytes)));
        let orphans = self.orphans.iter().map(|one| {
            format!(
                "{verb} {} ({}): its repository `{}` is gone\n",
                text::line(&one.path),
                text::bytes(one.disk_bytes),
                text::line(&one.repository)
            )
        });
        let lines: String = slots.chain(orphans).collect();
        let count = text::count(self.removed.len() + self.orphans.len(), "item");
        if lines.is_empty() {
            return "nothing to remove\n".to_owned();
        }
        format!("{lines}{verb} {count}, {}\n", text::bytes(self.freed_bytes))
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn sweep(holder: &Holder) {
    host::sweep(&holder.run, Some(&holder.node));
}

/// At the end of a run: what is beyond the limits goes. A worktree that cannot be removed is no reason for a run to fail.
pub fn after_run(context: &Context, bounds: Bounds) {
    let collected = existing_pool(context).and_then(|pool| match pool {
        Some(pool) => Ok(pool.collect(bounds, Act::Remove, &sweep)?),
        None => Ok(Vec::new()),
    });
    if let Err(failure) = collected {
        out::warn(&format!("old worktrees were not removed: {}", failure.message));
    }
}

/// The limits that the environment sets, or the usual ones.
///
/// # Errors
/// When a variable holds no limit.
pub fn bounds(env: &Env) -> Result<Bounds, Failure> {
    let wrong = |name: &str, why: String| Failure::invalid(format!("{name}: {why}"));
    let unused_for = match env.worktrees_max_age.as_deref() {
        None => Some(UNUSED_FOR),
        Some("never") => None,
        Some(text) => Some(age(text).map_err(|why| {
            wrong("SPB_WORKTREES_MAX_AGE", why).with_help("a duration such as `14d`, or `never`")
        })?),
    };
    let size = env.worktrees_max_size.as_deref().map(size).transpose();
    let size = size.map_err(|why| wrong("SPB_WORKTREES_MAX_SIZE", why))?;
    Ok(Bounds { unused_for, size })
}

/// Reads `14d`.
pub fn age(text: &str) -> Result<Duration, String> {
    period(text).map_err(|why| format!("{text:?} is not a duration: {why}"))
}

/// Reads `20GB`, `500MiB`, `1073741824`.
pub fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 10] = [
        ("", 1),
        ("B", 1),
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = UNITS.iter().find(|known| known.0.eq_ignore_ascii_case(unit.trim())).map(|known| known.1);
    let bytes = number.parse::<u64>().ok().zip(scale).and_then(|(number, scale)| number.checked_mul(scale));
    bytes.ok_or_else(|| format!("{text:?} is not a size, such as `20GB` or `500MiB`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_of_either_kind() {
        for (text, expect) in
            [("20GB", 20_000_000_000), ("1 kib", 1024), ("7", 7), ("500MiB", 500 << 20), ("0B", 0)]
        {
            assert_eq!(size(text), Ok(expect), "{text}");
        }
        for text in ["", "GB", "-1GB", "1.5GB", "99999999999TB", "3 parsecs"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
