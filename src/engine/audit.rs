//! Looks at every entry of the cache: whether its record, its commit with every file that it changed, and its artifacts are
//! there and can be read to their end. Git's objects are read by git: the library never returns from one that is cut off.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use super::EngineError;
use crate::digest::Digest;
use crate::disk::{self, Lock};
use crate::git::{CommitId, Repo, RepoPath, loose};
use crate::store::entries::{self, Row};
use crate::store::{Store, StoreError, artifacts, index};

/// An entry that is not whole.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    pub workflow: String,
    pub node: String,
    pub key: String,
    /// In words.
    pub what: String,
}

/// What was found.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Audit {
    pub entries: usize,
    pub damaged: Vec<Damage>,
    /// The damaged entries were removed.
    pub repaired: bool,
}

/// Looks at every entry; writes nothing.
///
/// # Errors
/// When the store or the repository cannot be read.
pub fn audit(store: &Store, repository: &RepoPath) -> Result<Audit, EngineError> {
    let Some(connection) = index::open_to_read(store)? else { return Ok(Audit::default()) };
    let rows =
        entries::all(&connection).map_err(|source| StoreError::Index { path: store.index_path(), source })?;
    let (commits, unreadable) = objects(repository, &rows)?;
    let mut audit = Audit { entries: rows.len(), ..Audit::default() };
    for row in &rows {
        if let Some(what) = wrong(store, row, &commits, &unreadable) {
            audit.damaged.push(Damage {
                workflow: row.workflow.clone(),
                node: row.node.clone(),
                key: row.key.to_hex(),
                what,
            });
        }
    }
    Ok(audit)
}

/// Removes the entries that are not whole, and moves away what keeps their objects from being made again. `None`: a run is
/// at work.
///
/// # Errors
/// As [`audit`], or when something cannot be removed.
pub fn repair(store: &Store, repository: &RepoPath) -> Result<Option<Audit>, EngineError> {
    let Some(_alone) = Lock::attempt(&store.in_use())? else { return Ok(None) };
    let mut audit = audit(store, repository)?;
    if audit.damaged.is_empty() {
        return Ok(Some(audit));
    }
    let mut connection = index::open(store)?;
    let fail = |source| StoreError::Index { path: store.index_path(), source };
    let gone: HashSet<Digest> =
        audit.damaged.iter().filter_map(|damage| Digest::from_hex(&damage.key)).collect();
    for row in entries::all(&connection).map_err(fail)?.iter().filter(|row| gone.contains(&row.key)) {
        for artifact in row.entry.iter().flat_map(|entry| &entry.result.artifacts) {
            if artifact.link.is_none() && !artifacts::is_it(store, artifact) {
                disk::remove(&artifacts::place(store, &artifact.digest))?;
            }
        }
    }
    disk::remove(&store.repeats_directory())?;
    entries::remove(&mut connection, &gone).map_err(fail)?;
    let aside = store.root().join("damaged").join("objects");
    loose::set_aside_damaged(repository, SystemTime::UNIX_EPOCH, &aside)?;
    audit.repaired = true;
    Ok(Some(audit))
}

/// The objects that each commit brought, and those of all of them that cannot be read.
type Objects = (HashMap<String, Vec<String>>, HashSet<String>);

fn objects(repository: &RepoPath, rows: &[Row]) -> Result<Objects, EngineError> {
    let mut commits: Vec<String> = rows
        .iter()
        .filter_map(|row| row.entry.as_ref()?.result.commit.clone())
        .filter(|commit| commit.parse::<CommitId>().is_ok())
        .collect();
    commits.sort_unstable();
    commits.dedup();
    // Readable first: only then may be asked what is in them.
    let repo = Repo::open(repository)?;
    let mut unreadable: HashSet<String> = loose::unreadable(repo.path(), &commits)?.into_iter().collect();
    commits.retain(|commit| !unreadable.contains(commit));
    let mut brought = loose::brought(repo.path(), &commits)?;
    // A node that committed itself has more than the last one.
    for result in rows.iter().filter_map(|row| Some(&row.entry.as_ref()?.result)) {
        let tip = result.commit.as_ref().filter(|tip| result.commits() > 1 && brought.contains_key(*tip));
        let Some(tip) = tip else { continue };
        let more = match loose::line(repo.path(), tip, result.commits())? {
            Some(line) => loose::brought(repo.path(), &line)?,
            None => HashMap::new(),
        };
        if more.len() < result.commits() {
            brought.remove(tip);
        } else if let Some(objects) = brought.get_mut(tip) {
            objects.extend(more.into_values().flatten());
        }
    }
    let mut contents: Vec<String> = brought.values().flatten().cloned().collect();
    contents.sort_unstable();
    contents.dedup();
    unreadable.extend(loose::unreadable(repo.path(), &contents)?);
    Ok((brought, unreadable))
}

fn wrong(
    store: &Store,
    row: &Row,
    brought: &HashMap<String, Vec<String>>,
    unreadable: &HashSet<String>,
) -> Option<String> {
    let Some(entry) = &row.entry else { return Some("its record in the index is damaged".to_owned()) };
    if let Some(commit) = &entry.result.commit {
        let short: String = commit.chars().take(12).collect();
        match brought.get(commit) {
            None => return Some(format!("its commit {short} is gone or damaged")),
            Some(objects) => {
                if let Some(object) = objects.iter().find(|object| unreadable.contains(*object)) {
                    return Some(format!("the object {object} of its commit {short} is gone or damaged"));
                }
            }
        }
    }
    let artifact = entry.result.artifacts.iter().find(|artifact| !artifacts::is_it(store, artifact))?;
    Some(format!("its artifact `{}` is gone or damaged", artifact.path))
}
