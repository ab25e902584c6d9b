//! Globs over trees: what a node reads, as a digest for its cache key, and what it changed beyond what it may. Works on
//! tree objects alone, never on a disk, and looks only into directories where something can match.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Mutex;

use super::diff::{self, Difference, Visit};
pub use super::globs::Globs;
use super::{Change, GitError, Kind, Repo, TreeId};
use crate::digest::{Digest, Hasher};

/// A file, symlink or submodule that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matching {
    pub path: Vec<u8>,
    /// As in git trees: `0o100644`, `0o100755`, `0o120000`, `0o160000`.
    pub mode: u32,
}

/// The files of a tree that match, in path order.
///
/// # Errors
/// When a tree is missing.
pub fn matching(repo: &Repo, tree: TreeId, globs: &Globs) -> Result<Vec<Matching>, GitError> {
    let mut found = Vec::new();
    visit_matching(repo, tree, globs, &mut |entry| {
        found.push(Matching { path: entry.path.to_vec(), mode: entry.new.map_or(0, |blob| blob.mode) });
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Digests of what globs see of trees that were asked for before. Shared by threads.
#[derive(Debug, Default)]
pub struct ReadsMemo(Mutex<HashMap<(TreeId, Digest), Digest>>);

impl ReadsMemo {
    /// [`reads_digest`], from memory where it was asked before.
    ///
    /// # Errors
    /// When a tree is missing.
    pub fn digest(&self, repo: &Repo, tree: TreeId, globs: &Globs) -> Result<Digest, GitError> {
        let key = (tree, globs.digest);
        let known = || self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(digest) = known().get(&key) {
            return Ok(*digest);
        }
        let digest = reads_digest(repo, tree, globs)?;
        known().insert(key, digest);
        Ok(digest)
    }
}

/// A digest of path, mode and content of every file that matches: equal for two trees exactly when the globs see no
/// difference. A directory that matches whole counts as one object.
///
/// # Errors
/// When a tree is missing.
pub fn reads_digest(repo: &Repo, tree: TreeId, globs: &Globs) -> Result<Digest, GitError> {
    let mut hasher = Hasher::new("spb reads");
    digest_tree(repo, tree, globs, &mut Vec::new(), &mut hasher)?;
    Ok(hasher.finish())
}

fn digest_tree(
    repo: &Repo,
    tree: TreeId,
    globs: &Globs,
    path: &mut Vec<u8>,
    hasher: &mut Hasher,
) -> Result<(), GitError> {
    let mut record = |path: &[u8], mode: u32, id: git2::Oid| {
        hasher.field("path", path).field("mode", &mode.to_le_bytes()).field("id", id.as_bytes());
    };
    if globs.covers(path) {
        record(path, diff::MODE_TREE, tree.0);
        return Ok(());
    }
    let tree = repo.tree_object(tree)?;
    for entry in &tree {
        let before = path.len();
        if before > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(entry.name_bytes());
        if !diff::is_tree(&entry) {
            if globs.matches(path) {
                hasher
                    .field("path", path)
                    .field("mode", &diff::mode(&entry).to_le_bytes())
                    .field("id", entry.id().as_bytes());
            }
        } else if globs.may_match_below(path) {
            digest_tree(repo, TreeId(entry.id()), globs, path, hasher)?;
        }
        path.truncate(before);
    }
    Ok(())
}

/// The first file, in path order, that differs between two trees as the globs (or everything) see them.
///
/// # Errors
/// When a tree is missing.
pub fn first_difference(
    repo: &Repo,
    old: TreeId,
    new: TreeId,
    globs: Option<&Globs>,
) -> Result<Option<(String, Kind)>, GitError> {
    let mut first = None;
    let mut look = |difference: &Difference<'_>| {
        first = Some((String::from_utf8_lossy(difference.path).into_owned(), difference.kind()));
        ControlFlow::Break(())
    };
    match globs {
        None => diff::walk(repo, Some(old), Some(new), &mut look)?,
        Some(globs) => diff::walk(repo, Some(old), Some(new), &mut Matches { globs, found: &mut look })?,
    }
    Ok(first)
}

/// The changed paths that no pattern of `writes` allows, for people.
pub fn unexpected(changes: &[Change], writes: &Globs) -> Vec<String> {
    let outside = changes.iter().filter(|change| !writes.matches(&change.path));
    outside.map(|change| change.name().into_owned()).collect()
}

fn visit_matching(
    repo: &Repo,
    tree: TreeId,
    globs: &Globs,
    found: &mut dyn FnMut(&Difference<'_>) -> ControlFlow<()>,
) -> Result<(), GitError> {
    diff::walk(repo, None, Some(tree), &mut Matches { globs, found })
}

/// Passes on what the globs match, and keeps out of directories where they cannot.
struct Matches<'a> {
    globs: &'a Globs,
    found: &'a mut dyn FnMut(&Difference<'_>) -> ControlFlow<()>,
}

impl Visit for Matches<'_> {
    fn enter(&mut self, directory: &[u8]) -> bool {
        self.globs.may_match_below(directory)
    }

    fn differs(&mut self, difference: &Difference<'_>) -> ControlFlow<()> {
        if self.globs.matches(difference.path) { (self.found)(difference) } else { ControlFlow::Continue(()) }
    }
}
