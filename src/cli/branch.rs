//! Moves branches with care: only from where they were seen, never one that is checked out, and never so that a commit
//! is lost. Shared by `checkpoint restore`, `undo` and `redo`.

use std::path::Path;

use super::{Exit, Failure};
use crate::engine::refs;
use crate::git::{CommitId, Expect, GitError, Repo, command};
use crate::store::Store;

/// Commits that no branch holds any more and that `undo` or `redo` may want back live under these refs.
const KEPT: &str = "refs/spb/kept/";

/// `refs/heads/x` as people call it.
pub fn short_name(reference: &str) -> &str {
    reference.strip_prefix("refs/heads/").unwrap_or(reference)
}

/// Moves the ref from one commit to another, makes it, or removes it.
///
/// # Errors
/// When it is no longer where it was seen, or git refuses the name.
pub fn change(
    store: &Store,
    repo: &Repo,
    reference: &str,
    from: Option<CommitId>,
    to: Option<CommitId>,
    why: &str,
) -> Result<(), Failure> {
    for commit in from.into_iter().chain(to) {
        refs::set(store, repo, &format!("{KEPT}{commit}"), commit, Expect::Any, why)?;
    }
    let done = match (from, to) {
        (None, None) => Ok(()),
        (_, Some(to)) => refs::set(store, repo, reference, to, from.map_or(Expect::Absent, Expect::Is), why),
        // The command compares and removes under one lock; the library does not.
        (Some(from), None) => {
            let arguments = ["update-ref", "-m", why, "-d", "--end-of-options", reference, &from.to_string()];
            refs::noted(store, repo, reference, || {
                command::run(command::git_at(repo.path()), &arguments).map(drop)
            })
        }
    };
    done.map_err(|error| match error {
        GitError::RefMoved { .. } => moved(repo, reference, from),
        error => error.into(),
    })
}

/// The failure for a ref that is not where it should be.
pub fn moved(repo: &Repo, reference: &str, expected: Option<CommitId>) -> Failure {
    let place = |at: Option<CommitId>| {
        at.map_or_else(|| "does not exist".to_owned(), |commit| format!("is at {}", commit.short()))
    };
    let now = repo.read_ref(reference).ok().flatten();
    let name = short_name(reference);
    let failure = Failure::environment(format!(
        "the branch `{name}` was changed by someone else: it {}, where spb left it it {}",
        place(now),
        place(expected),
    ));
    match expected {
        Some(commit) => {
            failure.with_help(format!("if you want that back first: `git branch --force {name} {commit}`"))
        }
        None => failure.with_help(format!("if you do not need it: `git branch --delete --force {name}`")),
    }
}

/// Refuses a branch that some worktree is on: its files would no longer fit to it.
///
/// # Errors
/// A failure with the place and what to type.
pub fn refuse_checked_out(repo: &Repo, reference: &str, to: Option<CommitId>) -> Result<(), Failure> {
    let Some(place) = repo.checked_out_at(reference)? else { return Ok(()) };
    let name = short_name(reference);
    let failure =
        Failure::environment(format!("the branch `{name}` is checked out at `{}`", place.display()));
    Err(failure.with_help(checked_out_help(&place, to)))
}

fn checked_out_help(place: &Path, to: Option<CommitId>) -> String {
    let place = place.to_string_lossy();
    let place = crate::report::next::quoted(&place);
    match to {
        Some(commit) => format!("move it there: `git -C {place} reset --keep {commit}`"),
        None => format!("leave it first: `git -C {place} switch --detach`"),
    }
}

/// Reads a commit id that spb wrote.
///
/// # Errors
/// When it is none: the record is damaged.
pub fn commit_id(text: &str) -> Result<CommitId, Failure> {
    text.parse()
        .map_err(|error| Failure::new(Exit::Environment, format!("a record of spb is damaged: {error}")))
}

/// The same for a commit that may be absent.
///
/// # Errors
/// As [`commit_id`].
pub fn optional_commit(text: Option<&String>) -> Result<Option<CommitId>, Failure> {
    text.map(|text| commit_id(text)).transpose()
}
