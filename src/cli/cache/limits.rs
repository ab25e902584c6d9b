//! How large and how old the cache may grow: from the command line, else from the environment, else what does no harm. Also
//! the look after a run, once a day.

use std::ffi::OsStr;
use std::time::{Duration, SystemTime};

use crate::cli::worktrees::gc;
use crate::cli::{Context, Failure, out};
use crate::disk::{self, Durability};
use crate::engine::evict::{self, Limits};
use crate::git::RepoPath;
use crate::report::text;
use crate::store::Store;

/// Where nobody says anything: 20 GiB.
const SIZE: u64 = 20 << 30;

/// Where nobody says anything: 60 days.
const AGE: Duration = Duration::from_secs(60 * 24 * 3600);

/// Between two looks of its own accord.
const EVERY: Duration = Duration::from_secs(24 * 3600);

/// A limit as a person writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit<T> {
    Off,
    At(T),
}

impl<T> Limit<T> {
    fn value(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::At(value) => Some(value),
        }
    }
}

/// `500MB`, `2GiB`, `off`.
pub fn size(text: &str) -> Result<Limit<u64>, String> {
    if text == "off" { Ok(Limit::Off) } else { gc::size(text).map(Limit::At) }
}

/// `12h`, `30d`, `off`.
pub fn age(text: &str) -> Result<Limit<Duration>, String> {
    if text == "off" { Ok(Limit::Off) } else { gc::age(text).map(Limit::At) }
}

/// What counts: the arguments, else `SPB_CACHE_MAX_SIZE` and `SPB_CACHE_MAX_AGE`, else the defaults.
///
/// # Errors
/// When a variable is not to be understood.
pub fn limits(
    context: &Context,
    asked_size: Option<Limit<u64>>,
    asked_age: Option<Limit<Duration>>,
) -> Result<Limits, Failure> {
    let env = &context.env;
    let size = match asked_size {
        Some(limit) => limit,
        None => read("SPB_CACHE_MAX_SIZE", env.cache_max_size.as_deref(), size)?.unwrap_or(Limit::At(SIZE)),
    };
    let age = match asked_age {
        Some(limit) => limit,
        None => read("SPB_CACHE_MAX_AGE", env.cache_max_age.as_deref(), age)?.unwrap_or(Limit::At(AGE)),
    };
    Ok(Limits { size: size.value(), age: age.value() })
}

fn read<T>(
    name: &str,
    value: Option<&OsStr>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Failure> {
    let Some(value) = value else { return Ok(None) };
    let text = value.to_string_lossy();
    parse(&text).map(Some).map_err(|error| Failure::invalid(format!("{name}: {error}")))
}

/// After a run, once a day: what is over the limits goes. Whatever keeps it from that is no failure of the run.
pub fn once_a_day(limits: Limits, repository: &RepoPath) {
    let store = Store::at(&repository.common_dir);
    let mark = store.root().join("evicted");
    let now = SystemTime::now();
    let is_due = match std::fs::metadata(&mark).and_then(|meta| meta.modified()) {
        Ok(last) => now.duration_since(last).is_ok_and(|since| since >= EVERY),
        // A store that was made just now has nothing to evict.
        Err(_) => {
            disk::replace(&mark, b"", Durability::Crash).ok();
            false
        }
    };
    if !is_due {
        return;
    }
    match evict::evict(&store, repository, limits, jiff::Timestamp::now().as_millisecond()) {
        Ok(Some(evicted)) => {
            disk::replace(&mark, b"", Durability::Crash).ok();
            let gone = evicted.old + evicted.over;
            if gone > 0 {
                out::note(&format!("the cache forgot {} (`spb cache gc`)", text::count(gone, "result")));
            }
        }
        // Another run is at work: its end will look.
        Ok(None) => {}
        Err(error) => out::warn(&format!("the cache could not be kept within its limits: {error}")),
    }
}
