//! The store and the pool: format, rights, index, journals, leftovers, worktrees.

use std::path::PathBuf;

use super::Check;
use crate::cli::Context;
use crate::disk;
use crate::git::{RepoPath, SlotState, orphans};
use crate::report::text;
use crate::store::cache::Cache;
use crate::store::runs::{self, RunState};
use crate::store::{Places, Store, index, journal, repeats};

pub fn checks(context: &Context, repository: &RepoPath) -> Vec<Check> {
    let store = Store::at(&repository.common_dir);
    let mut checks = vec![format(&store), rights(&store, repository)];
    if store.root().is_dir() {
        checks.push(index(&store));
        checks.extend(journals(&store));
        checks.extend(leftovers(&store));
    }
    checks.push(worktrees(context, repository));
    checks
}

fn format(store: &Store) -> Check {
    match store.check_format() {
        Ok(Some(format)) => Check::ok("store", format!("format {format} at `{}`", store.root().display())),
        Ok(None) => {
            Check::ok("store", format!("none yet at `{}`: the first run makes it", store.root().display()))
        }
        Err(error) => Check::fail("store", error.to_string(), None),
    }
}

fn rights(store: &Store, repository: &RepoPath) -> Check {
    let place = if store.root().is_dir() { store.root() } else { &repository.common_dir };
    match disk::check_writable(place) {
        Ok(()) => Check::ok("rights", format!("`{}` can be written", place.display())),
        Err(error) => Check::fail(
            "rights",
            format!("`{}` cannot be written: {error}", place.display()),
            Some("reading commands work; to run workflows, make it writable for you".to_owned()),
        ),
    }
}

fn index(store: &Store) -> Check {
    let stats = match index::open_to_read(store) {
        Ok(None) => return Check::ok("index", "none yet: the first run makes it"),
        Ok(Some(connection)) => Cache::new(connection).stats().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match stats {
        Ok(stats) => {
            Check::ok("index", text::count(usize::try_from(stats.entries).unwrap_or(0), "cached result"))
        }
        Err(error) => Check::warn(
            "index",
            format!("`{}` cannot be read: {error}", store.index_path().display()),
            "the next run or `spb doctor --repair` sets it aside and makes it again from the journals",
        ),
    }
}

/// One line for all journals that are whole, one for each that is not.
fn journals(store: &Store) -> Vec<Check> {
    let mut whole = 0;
    let mut checks = Vec::new();
    for run in runs::list(store) {
        match journal::read(&store.journal(&run)) {
            Ok(journal) if journal.torn > 0 => checks.extend(torn(store, &run, journal.torn)),
            Ok(journal) => match repeats::check(store, &run, &journal) {
                Ok(()) => whole += 1,
                Err(error) => checks.push(Check::fail("journal", error.to_string(), None)),
            },
            Err(error) => checks.push(Check::fail(
                "journal",
                error.to_string(),
                Some(
                    "its results stay in the cache; `spb doctor --repair` moves it out of the way".to_owned(),
                ),
            )),
        }
        if let Ok(view) = runs::view(store, &run)
            && view.state() == RunState::Interrupted
        {
            let found = format!("run {run} of `{}` was interrupted", view.started.workflow);
            checks.push(Check::warn("run", found, format!("`spb resume {run}` carries on")));
        }
    }
    checks.insert(0, Check::ok("journals", format!("{} readable", text::count(whole, "run"))));
    checks
}

/// A running engine may be in the middle of a line.
fn torn(store: &Store, run: &crate::name::RunId, bytes: u64) -> Option<Check> {
    let is_running = runs::view(store, run).is_ok_and(|view| view.state() == RunState::Running);
    let found = format!("{bytes} bytes at the end of run {run} are no whole record");
    let help =
        format!("everything before them counts, `spb resume {run}` or `spb doctor --repair` cuts them off");
    (!is_running).then(|| Check::warn("journal", found, help))
}

/// Temporary files of processes that died.
fn leftovers(store: &Store) -> Option<Check> {
    let places = store.places(Places::Everywhere);
    let found: Vec<PathBuf> = places.iter().flat_map(|place| disk::half_made::abandoned(place)).collect();
    let first = found.first()?;
    let found = format!(
        "{} of processes that died, such as `{}`",
        text::count(found.len(), "temporary file"),
        first.display()
    );
    Some(Check::warn("leftovers", found, "`spb doctor --repair` removes them"))
}

fn worktrees(context: &Context, repository: &RepoPath) -> Check {
    let directory = match context.pool_directory(repository) {
        Ok(directory) => directory,
        Err(failure) => return Check::fail("worktrees", failure.message, failure.help),
    };
    if !directory.is_dir() {
        return Check::ok(
            "worktrees",
            format!("none yet at `{}`: they are made when nodes need them", directory.display()),
        );
    }
    let slots = crate::git::Pool::open(repository, directory.clone()).and_then(|pool| pool.list());
    let slots = match slots {
        Ok(slots) => slots,
        Err(error) => return Check::fail("worktrees", error.to_string(), error.help()),
    };
    let count = |state| slots.iter().filter(|slot| slot.state == state).count();
    let found = format!(
        "{} free, {} busy, {} to be checked before use, at `{}`",
        count(SlotState::Free),
        count(SlotState::Busy),
        count(SlotState::Dirty),
        directory.display(),
    );
    let parent = directory.parent().unwrap_or(&directory);
    let orphans = orphans::pools(parent).iter().filter(|found| found.is_orphan()).count();
    if orphans > 0 {
        let help = "remove them: `spb worktrees gc --all`";
        return Check::warn(
            "worktrees",
            format!("{found}; repositories that are gone left {orphans} more such directories"),
            help,
        );
    }
    Check::ok("worktrees", found)
}
