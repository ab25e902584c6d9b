//! Patterns for paths, and which directories they can match in, so that trees are not walked in vain. Knows nothing of
//! trees.
//!
//! A pattern is a path from the root of the repository with `*` and `?` (not across `/`), `**` (any number of
//! directories), `[a-z]` and `{a,b}`. `src/**` is everything under `src`, `src/` means the same. A pattern may not
//! begin with `!`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use super::GitError;
use crate::digest::{Digest, Hasher};

/// A compiled list of patterns. A path matches when one of them does.
#[derive(Clone, Debug)]
pub struct Globs {
    set: GlobSet,
    scopes: Vec<Scope>,
    /// Equal pattern lists have equal digests: half of a memo key.
    pub(in crate::git) digest: Digest,
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
                set.add(glob(pattern).map_err(|error| bad(&error.kind().to_string()))?);
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
    pub(in crate::git) fn covers(&self, directory: &[u8]) -> bool {
        let parts = parts(directory);
        self.scopes.iter().any(|scope| scope.covers(&parts))
    }

    /// Whether some path below this directory can match.
    pub(in crate::git) fn may_match_below(&self, directory: &[u8]) -> bool {
        let parts = parts(directory);
        self.scopes.iter().any(|scope| scope.reaches(&parts))
    }
}

fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).empty_alternates(true).build()
}

/// The names in a path; none for the root.
fn parts(directory: &[u8]) -> Vec<&[u8]> {
    if directory.is_empty() { Vec::new() } else { directory.split(|byte| *byte == b'/').collect() }
}

/// Where one pattern can match: what its names, from the top, ask of the names of directories.
#[derive(Clone, Debug)]
struct Scope(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Literal(Vec<u8>),
    /// `*` and `?` within a name.
    Name(GlobMatcher),
    /// `**`: any directories.
    Anything,
    /// Braces, brackets, escapes: they may span names, so the rest of the pattern has to be asked.
    Unclear,
}

impl Scope {
    fn of(pattern: &str) -> Self {
        let mut parts = Vec::new();
        for name in pattern.split('/') {
            let part = match name {
                "**" => Part::Anything,
                _ if name.contains(['[', '{', '\\', ']', '}']) || name.contains("**") => Part::Unclear,
                _ if name.contains(['*', '?']) => match glob(name) {
                    Ok(glob) => Part::Name(glob.compile_matcher()),
                    Err(_) => Part::Unclear,
                },
                _ => Part::Literal(name.as_bytes().to_vec()),
            };
            let is_end = matches!(part, Part::Unclear);
            parts.push(part);
            if is_end {
                break;
            }
        }
        Self(parts)
    }

    fn reaches(&self, directory: &[&[u8]]) -> bool {
        for (part, name) in self.0.iter().zip(directory) {
            match part {
                Part::Anything | Part::Unclear => return true,
                part if !part.accepts(name) => return false,
                _ => {}
            }
        }
        self.0.len() > directory.len()
    }

    /// Only `.../**` can cover.
    fn covers(&self, directory: &[&[u8]]) -> bool {
        let Some((Part::Anything, names)) = self.0.split_last() else { return false };
        names.len() <= directory.len() && names.iter().zip(directory).all(|(part, name)| part.accepts(name))
    }
}

impl Part {
    fn accepts(&self, name: &[u8]) -> bool {
        match self {
            Self::Literal(literal) => literal == name,
            Self::Name(glob) => glob.is_match(Path::new(OsStr::from_bytes(name))),
            Self::Anything | Self::Unclear => false,
        }
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
            ("Cargo.*", "src", false),
            ("s*/a/**", "src/b", false),
            ("s*/a/**", "src/a/c", true),
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
