//! What of a repository's configuration decides how its files look on disk, asked from git once. Knows nothing of slots.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::filters::Mentions;
use super::ignore::Rules;
use super::{GitError, RepoPath, command};

/// How slots of this repository are brought to a commit and read back.
#[derive(Clone, Debug)]
pub(in crate::git) struct Settings {
    pub driver: Driver,
    /// Weakest first: the user's ignore file, then `info/exclude`.
    pub ignore: Arc<[Rules]>,
    /// What attribute files outside of the tree ask for.
    pub mentions: Mentions,
    /// `core.autocrlf=input`: line ends are converted on the way in.
    pub converts_line_ends: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::git) enum Driver {
    /// Our own code: writes only what differs, starts no process.
    Direct,
    /// The `git` command: where names, modes or line ends are not taken as they are, or objects may have to be fetched.
    Plain,
}

impl Settings {
    /// # Errors
    /// When git fails.
    pub fn read(repo: &RepoPath) -> Result<Self, GitError> {
        let printed = command::run(command::git_at(repo), &["config", "-z", "--list"])?;
        let values = read_config(&printed);
        let home = user_directory();
        let of_user = |key: &str, name: &str| match values.get(key) {
            Some(path) => Some(expand(path)),
            None => home.as_ref().map(|home| home.join(name)),
        };
        let rules = |path: Option<PathBuf>| path.map(|path| Rules::read(&path)).unwrap_or_default();
        let exclude = repo.common_dir.join("info/exclude");
        let attributes = [
            Some(PathBuf::from("/etc/gitattributes")),
            of_user("core.attributesfile", "attributes"),
            Some(repo.common_dir.join("info/attributes")),
        ];
        let mut mentions = Mentions::default();
        for path in attributes.into_iter().flatten() {
            mentions.add(&std::fs::read(path).unwrap_or_default());
        }
        Ok(Self {
            driver: if is_plain(&values) { Driver::Plain } else { Driver::Direct },
            ignore: Arc::new([rules(of_user("core.excludesfile", "ignore")), rules(Some(exclude))]),
            mentions,
            converts_line_ends: values.get("core.autocrlf").is_some_and(|value| value == "input"),
        })
    }
}

/// Whether files on disk differ from files in the repository in more than filters for some.
fn is_plain(values: &HashMap<String, String>) -> bool {
    let is = |key: &str, wanted: bool| {
        values.get(key).is_some_and(|value| match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" | "" => wanted,
            "false" | "no" | "off" | "0" => !wanted,
            _ => false,
        })
    };
    is("core.ignorecase", true)
        || is("core.precomposeunicode", true)
        || is("core.filemode", false)
        || is("core.symlinks", false)
        || is("core.autocrlf", true)
        || values.get("core.eol").is_some_and(|value| value == "crlf")
        || values.keys().any(|key| {
            key == "extensions.partialclone" || (key.starts_with("remote.") && key.ends_with(".promisor"))
        })
}

/// Reads `git config -z --list`: the last value of each key; a key without a value is `true`.
fn read_config(printed: &[u8]) -> HashMap<String, String> {
    let records = printed.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    records
        .map(|record| {
            let record = String::from_utf8_lossy(record);
            match record.split_once('\n') {
                Some((key, value)) => (key.to_owned(), value.to_owned()),
                None => (record.into_owned(), "true".to_owned()),
            }
        })
        .collect()
}

/// `~/x` is in the home directory.
fn expand(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => Path::new(path).to_owned(),
    }
}

/// Where git looks for the user's `ignore` and `attributes` when nothing is configured.
#[expect(clippy::disallowed_methods, reason = "git's own rule, and git has no command that tells")]
fn user_directory() -> Option<PathBuf> {
    match std::env::var_os("XDG_CONFIG_HOME").filter(|value| !value.is_empty()) {
        Some(directory) => Some(PathBuf::from(directory).join("git")),
        None => std::env::home_dir().map(|home| home.join(".config/git")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_way_is_taken_where_files_are_not_kept_as_they_are() {
        let plain = |text: &str| is_plain(&read_config(text.as_bytes()));
        assert!(!plain("core.filemode\ntrue\0core.autocrlf\ninput\0core.ignorecase\nfalse\0"));
        for text in [
            "core.ignorecase\0",
            "core.filemode\ntrue\0core.filemode\nno\0",
            "core.autocrlf\nTRUE\0",
            "core.eol\ncrlf\0",
            "remote.origin.promisor\ntrue\0",
        ] {
            assert!(plain(text), "{text:?}");
        }
    }
}
