//! Which paths git ignores: `.gitignore` files in a work tree, `info/exclude` and the user's own file, with git's
//! precedence. Knows nothing of what is tracked: a tracked file is never ignored, and that is for the caller to say.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::pattern::{Slashes, literal_length, wildmatch};

/// The rules of one file, in its order.
#[derive(Debug, Default)]
pub(in crate::git) struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    pattern: Vec<u8>,
    /// `!pattern`: takes back what an earlier rule ignored.
    negated: bool,
    /// `pattern/`: for directories alone.
    directory_only: bool,
    /// No slash but at the end: for a name at any depth.
    name_only: bool,
    literal: bool,
}

impl Rules {
    pub fn parse(text: &[u8]) -> Self {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        Self(text.split(|byte| *byte == b'\n').filter_map(Rule::parse).collect())
    }

    /// The rules of a file; none when it is absent, a symlink or unreadable, as in git.
    pub fn read(path: &Path) -> Self {
        Self::parse(&super::files::read_plain(path))
    }

    /// The last rule that speaks of the path, relative to the directory of the file: ignored, or explicitly not.
    fn verdict(&self, path: &[u8], is_directory: bool) -> Option<bool> {
        let matching = self.0.iter().rev().find(|rule| rule.matches(path, is_directory));
        matching.map(|rule| !rule.negated)
    }
}

impl Rule {
    fn parse(line: &[u8]) -> Option<Self> {
        if line.first() == Some(&b'#') {
            return None;
        }
        let line = without_trailing_spaces(line.strip_suffix(b"\r").unwrap_or(line));
        let (negated, line) = match line.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let (directory_only, line) = match line.strip_suffix(b"/") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let name_only = !line.contains(&b'/');
        let pattern = line.strip_prefix(b"/").unwrap_or(line).to_vec();
        if line.is_empty() {
            return None;
        }
        let literal = literal_length(&pattern) == pattern.len();
        Some(Self { pattern, negated, directory_only, name_only, literal })
    }

    fn matches(&self, path: &[u8], is_directory: bool) -> bool {
        if self.directory_only && !is_directory {
            return false;
        }
        let (text, slashes) = match self.name_only {
            true => (name(path), Slashes::Ordinary),
            false => (path, Slashes::Separate),
        };
        if self.literal { self.pattern == text } else { wildmatch(&self.pattern, text, slashes) }
    }
}

/// Git's rule: spaces at the end do not count unless the last is escaped.
fn without_trailing_spaces(line: &[u8]) -> &[u8] {
    let (mut end, mut position) = (0, 0);
    while position < line.len() {
        match line[position] {
            b' ' => position += 1,
            b'\\' => {
                position = (position + 2).min(line.len());
                end = position;
            }
            _ => {
                position += 1;
                end = position;
            }
        }
    }
    &line[..end]
}

fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Answers for one work tree as it is on disk now. Files are read when first needed and then remembered.
pub(in crate::git) struct Ignore {
    root: PathBuf,
    /// Weakest first: the user's file, then `info/exclude`.
    global: Arc<[Rules]>,
    directories: HashMap<Vec<u8>, Directory>,
}

struct Directory {
    rules: Rules,
    ignored: bool,
}

impl Ignore {
    pub fn new(root: &Path, global: Arc<[Rules]>) -> Self {
        Self { root: root.to_owned(), global, directories: HashMap::new() }
    }

    /// Whether git would leave this untracked path alone.
    pub fn is_ignored(&mut self, path: &[u8], is_directory: bool) -> bool {
        let parent = parent(path);
        self.load(parent);
        self.directories[parent].ignored || self.verdict(path, is_directory)
    }

    /// Reads the rules of a directory and of those above it.
    fn load(&mut self, directory: &[u8]) {
        if self.directories.contains_key(directory) {
            return;
        }
        let ignored = !directory.is_empty() && {
            let above = parent(directory);
            self.load(above);
            self.directories[above].ignored || self.verdict(directory, true)
        };
        // Nothing below an ignored directory can be taken back.
        let rules = match ignored {
            true => Rules::default(),
            false => Rules::read(&self.root.join(OsStr::from_bytes(directory)).join(".gitignore")),
        };
        self.directories.insert(directory.to_vec(), Directory { rules, ignored });
    }

    /// What the rules say of a path whose directories are loaded and not ignored: the deepest file that speaks of it.
    fn verdict(&self, path: &[u8], is_directory: bool) -> bool {
        let mut directory = parent(path);
        loop {
            let relative = if directory.is_empty() { path } else { &path[directory.len() + 1..] };
            let rules = &self.directories[directory].rules;
            if let Some(ignored) = rules.verdict(relative, is_directory) {
                return ignored;
            }
            if directory.is_empty() {
                break;
            }
            directory = parent(directory);
        }
        self.global.iter().rev().find_map(|rules| rules.verdict(path, is_directory)).unwrap_or(false)
    }
}

/// The directory of a path; empty for the root.
fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(&[], |slash| &path[..slash])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::git::testing;

    #[test]
    fn lines_mean_what_git_says() {
        let cases = [
            ("target", "a/target", true, Some(true)),
            ("/target", "a/target", true, None),
            ("target/", "target", false, None),
            ("a/b", "x/a/b", false, None),
            ("*.o\n!keep.o", "d/keep.o", false, Some(false)),
            ("*.o\n!keep.o", "d/x.o", false, Some(true)),
            ("\\#x", "#x", false, Some(true)),
            ("#x", "#x", false, None),
            ("\\!x", "!x", false, Some(true)),
            ("x  ", "x", false, Some(true)),
            ("x\\ ", "x ", false, Some(true)),
            ("x\r", "x", false, Some(true)),
            ("\u{feff}x", "x", false, Some(true)),
            ("/", "x", true, None),
        ];
        for (text, path, is_directory, expect) in cases {
            let found = Rules::parse(text.as_bytes()).verdict(path.as_bytes(), is_directory);
            assert_eq!(found, expect, "{text:?} {path}");
        }
    }

    /// Lines over a small alphabet, so that they often speak of the paths.
    fn lines() -> impl Strategy<Value = String> {
        let atom = prop::sample::select(vec![
            "a",
            "b",
            "a",
            "/",
            "*",
            "**",
            "?",
            "[ab]",
            "[!a]",
            "[]-a]",
            "\\",
            "\\a",
            " ",
            "c.o",
            "*.o",
            "[[:alpha:]]",
        ]);
        let pattern = prop::collection::vec(atom, 1..6).prop_map(|atoms| atoms.concat());
        let line = (
            prop::sample::select(vec!["", "", "!", "/", "#", "\\!"]),
            pattern,
            prop::sample::select(vec!["", "", "/", " ", "\r"]),
        );
        prop::collection::vec(
            line.prop_map(|(before, pattern, after)| format!("{before}{pattern}{after}")),
            0..4,
        )
        .prop_map(|lines| lines.join("\n"))
    }

    const PATHS: [&str; 14] = [
        "a", "b/a", "b/b", "c.o", "b/c.o", "d/a/b", "d/a/a/b", "d/b", "d/aa", "e/!a", "e/#a", "e/a b", "e/]",
        "f/-/a/b",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_ignored_is_what_git_ignores(
            root in lines(), deep in lines(), exclude in lines(), in_d in any::<bool>(),
        ) {
            let repository = testing::repository();
            let path = repository.path();
            for name in PATHS {
                testing::write(&path.join(name), b"");
            }
            testing::write(&path.join(".gitignore"), root.as_bytes());
            testing::write(&path.join(if in_d { "d/.gitignore" } else { "b/.gitignore" }), deep.as_bytes());
            testing::write(&path.join(".git/info/exclude"), exclude.as_bytes());
            let mut ignore = Ignore::new(path, Arc::new([Rules::parse(exclude.as_bytes())]));
            let listed = testing::git(path, &["ls-files", "-o", "-z", "--exclude-standard"]);
            let listed: BTreeSet<&[u8]> = listed.split(|byte| *byte == 0).collect();
            for name in PATHS {
                let expect = !listed.contains(name.as_bytes());
                prop_assert_eq!(ignore.is_ignored(name.as_bytes(), false), expect, "{}", name);
            }
        }
    }
}
