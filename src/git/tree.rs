//! Globs over trees: what a node reads, as a digest for its cache key, and what it changed beyond what it may. Works on
//! tree objects alone, never on a disk, and looks only into directories where something can match.
//!
//! A pattern is a path from the root of the repository with `*` and `?` (not across `/`), `**` (any number of
//! directories), `[a-z]` and `{a,b}`. `src/**` is everything under `src`, `src/` means the same. A pattern may not
//! begin with `!`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::diff::{self, Difference, Visit};
use super::{Change, GitError, Kind, Repo, TreeId};
use crate::digest::{Digest, Hasher};

/// A compiled list of patterns. A path matches when one of them does.
#[derive(Clone, Debug)]
pub struct Globs {
    set: GlobSet,
    scopes: Vec<Scope>,
    /// Equal pattern lists have equal digests: half of a memo key.
    digest: Digest,
}

/// Where one pattern can match.
#[derive(Clone, Debug)]
struct Scope {
    /// The directory in front of the first special character, without a slash at its end; empty is the root.
    directory: Vec<u8>,
    extent: Extent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Extent {
    /// `directory/**`: everything below.
    Everything,
    /// Anything below may match: the pattern has to be asked.
    Below,
    /// Paths of exactly this many components.
    Components(usize),
}

impl Globs {
    /// # Errors
    /// [`GitError::BadPattern`] with the pattern that is wrong.
    pub fn compile(patterns: &[String]) -> Result<Self, GitError> {
        let mut set = GlobSetBuilder::new();
        let mut hasher = Hasher::new("spb globs");
        let mut scopes = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let bad = |why: &str| GitError::BadPattern { pattern: pattern.clone(), why: why.to_owned() };
            let tidy = tidy(pattern).map_err(bad)?;
            // A plain path may be a directory, and then everything in it is meant.
            let is_plain = !tidy.contains(['*', '?', '[', '{', '\\']);
            let below = is_plain.then(|| format!("{tidy}/**"));
            for pattern in std::iter::once(&tidy).chain(&below) {
                let glob = GlobBuilder::new(pattern)
                    .literal_separator(true)
                    .backslash_escape(true)
                    .empty_alternates(true)
                    .build()
                    .map_err(|error| bad(&error.kind().to_string()))?;
                set.add(glob);
                scopes.push(Scope::of(pattern));
            }
            hasher.field("pattern", tidy.as_bytes());
        }
        let set = set.build().map_err(|error| GitError::BadPattern {
            pattern: error.glob().unwrap_or_default().to_owned(),
            why: error.kind().to_string(),
        })?;
        Ok(Self { set, scopes, digest: hasher.finish() })
    }

    pub fn matches(&self, path: &[u8]) -> bool {
        self.set.is_match(Path::new(OsStr::from_bytes(path)))
    }

    /// Whether every path below this directory matches.
    fn covers(&self, directory: &[u8]) -> bool {
        let covers =
            |scope: &Scope| scope.extent == Extent::Everything && within(directory, &scope.directory);
        self.scopes.iter().any(covers)
    }

    /// Whether some path below this directory can match.
    fn may_match_below(&self, directory: &[u8]) -> bool {
        self.scopes.iter().any(|scope| scope.reaches(directory))
    }
}

impl Scope {
    fn of(pattern: &str) -> Self {
        let special = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
        let slash = pattern[..special].rfind('/');
        let directory = slash.map_or("", |slash| &pattern[..slash]);
        let rest = slash.map_or(pattern, |slash| &pattern[slash + 1..]);
        let extent = if rest == "**" {
            Extent::Everything
        } else if rest.contains("**") || rest.contains(['{', '[', '\\']) {
            Extent::Below
        } else {
            Extent::Components(pattern.split('/').count())
        };
        Self { directory: directory.as_bytes().to_vec(), extent }
    }

    fn reaches(&self, directory: &[u8]) -> bool {
        if within(&self.directory, directory) {
            return true;
        }
        let deep_enough = match self.extent {
            Extent::Everything | Extent::Below => true,
            Extent::Components(count) => directory.split(|byte| *byte == b'/').count() < count,
        };
        deep_enough && within(directory, &self.directory)
    }
}

/// Removes what has no meaning and gives `dir/` the meaning of `dir/**`.
fn tidy(pattern: &str) -> Result<String, &'static str> {
    if pattern.starts_with('!') {
        return Err("a pattern cannot exclude: list what to include");
    }
    if pattern.starts_with('/') {
        return Err("a pattern starts at the root of the repository, without `/`");
    }
    let pattern = pattern.trim_start_matches("./");
    if pattern.is_empty() {
        return Err("a pattern must not be empty");
    }
    if pattern.split('/').any(|part| part == "..") {
        return Err("a pattern cannot leave the repository");
    }
    Ok(if pattern.ends_with('/') { format!("{pattern}**") } else { pattern.to_owned() })
}

/// Whether `path` is `directory` or lies in it. The empty directory holds everything.
fn within(path: &[u8], directory: &[u8]) -> bool {
    match path.strip_prefix(directory) {
        Some(rest) => directory.is_empty() || rest.is_empty() || rest[0] == b'/',
        None => false,
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(patterns: &[&str]) -> Globs {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        Globs::compile(&patterns).unwrap()
    }

    #[test]
    fn patterns_match_as_the_documentation_says() {
        let cases = [
            ("src/**", "src/a/b.rs", true),
            ("src/**", "src/a", true),
            ("src/**", "srcs/a", false),
            ("src/", "src/a/b.rs", true),
            ("src", "src/a/b.rs", true),
            ("src", "src", true),
            ("src", "srcs", false),
            ("./src/*.rs", "src/a.rs", true),
            ("src/*.rs", "src/a/b.rs", false),
            ("*.md", "a/b.md", false),
            ("**/*.md", "b.md", true),
            ("**/*.md", "a/b/c.md", true),
            ("**", ".hidden/x", true),
            ("Cargo.*", "Cargo.toml", true),
            ("{a,b/c}/*", "b/c/d", true),
            ("a?c", "a/c", false),
        ];
        for (pattern, path, expect) in cases {
            assert_eq!(globs(&[pattern]).matches(path.as_bytes()), expect, "{pattern} {path}");
        }
    }

    #[test]
    fn a_path_that_is_not_text_can_match() {
        assert!(globs(&["src/**"]).matches(b"src/\xff\n"));
    }

    #[test]
    fn directories_where_nothing_can_match_are_left_out() {
        let cases = [
            ("src/**", "src", true),
            ("src/a/*.rs", "src", true),
            ("src/a/*.rs", "src/b", false),
            ("src/a/*.rs", "src/a/x", false),
            ("src/a/**/x", "src/a/y/z", true),
            ("docs/a.md", "docs", true),
            ("docs/a.md", "docs/a.md", true),
            ("docs/a.md", "docs/b", false),
            ("*", "any", false),
            ("*/x", "any", true),
            ("{a,b/c}/*", "b/c", true),
            ("**/x", "any/thing", true),
        ];
        for (pattern, directory, expect) in cases {
            assert_eq!(
                globs(&[pattern]).may_match_below(directory.as_bytes()),
                expect,
                "{pattern} {directory}"
            );
        }
    }

    #[test]
    fn patterns_that_mean_nothing_are_refused_by_name() {
        for pattern in ["!a", "", "./", "/etc/*", "../x", "a/../b", "a[", "{a"] {
            let error = Globs::compile(&[pattern.to_owned()]).unwrap_err();
            assert!(error.to_string().contains(&format!("{pattern:?}")), "{error}");
        }
    }
}
