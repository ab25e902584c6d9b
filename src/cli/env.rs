//! The only place that reads the process environment. Knows which variables matter, not what is done with them.
#![expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use etcetera::BaseStrategy;

/// Variables of the caller that every node gets.
const BASE: [&str; 7] = ["PATH", "HOME", "USER", "LANG", "TERM", "TMPDIR", "SHELL"];

/// What spb takes from its environment.
#[derive(Clone, Debug)]
pub struct Env {
    /// Where programs keep what can be made again: `$XDG_CACHE_HOME`, else `~/.cache`; absent without a home.
    pub cache_home: Option<PathBuf>,
    /// `$SPB_WORKTREES`: where the worktrees of all repositories live instead.
    pub worktrees: Option<PathBuf>,
    /// `$SPB_WORKTREES_MAX_AGE`: how long a worktree stays that nobody uses.
    pub worktrees_max_age: Option<String>,
    /// `$SPB_WORKTREES_MAX_SIZE`: how much disk the worktrees of a repository may take.
    pub worktrees_max_size: Option<String>,
    /// `$SPB_CACHE_MAX_SIZE` and `$SPB_CACHE_MAX_AGE`: how large and how old the cache may grow.
    pub cache_max_size: Option<OsString>,
    pub cache_max_age: Option<OsString>,
    /// `PATH HOME USER LANG TERM TMPDIR SHELL`, those that are set.
    pub base: Vec<(OsString, OsString)>,
    /// `$NO_COLOR` is set and not empty (<https://no-color.org>).
    pub no_color: bool,
    /// `$CI` is set: nobody watches a progress display.
    pub ci: bool,
    /// The terminal can do nothing but print (`TERM=dumb`).
    pub dumb_terminal: bool,
    /// The locale's characters are UTF-8.
    pub utf8: bool,
}

impl Env {
    pub fn read() -> Self {
        let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let base = BASE.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
        Self {
            cache_home: etcetera::choose_base_strategy().ok().map(|strategy| strategy.cache_dir()),
            worktrees: given("SPB_WORKTREES").map(PathBuf::from),
            worktrees_max_age: given("SPB_WORKTREES_MAX_AGE").map(lossy),
            worktrees_max_size: given("SPB_WORKTREES_MAX_SIZE").map(lossy),
            cache_max_size: given("SPB_CACHE_MAX_SIZE"),
            cache_max_age: given("SPB_CACHE_MAX_AGE"),
            base: base.collect(),
            no_color: given("NO_COLOR").is_some(),
            ci: given("CI").is_some_and(|value| value != "false" && value != "0"),
            dumb_terminal: given("TERM").is_some_and(|value| value == "dumb"),
            utf8: ["LC_ALL", "LC_CTYPE", "LANG"]
                .iter()
                .find_map(|name| given(name))
                .is_some_and(|locale| is_utf8(&locale)),
        }
    }

    /// A variable that a workflow names in `pass_env` or `secrets`.
    pub fn lookup(&self, name: &str) -> Option<OsString> {
        // A name with `=` or NUL cannot be set, and the system call would panic on it.
        (!name.is_empty() && !name.contains(['=', '\0'])).then(|| std::env::var_os(name)).flatten()
    }
}

fn lossy(value: OsString) -> String {
    value.to_string_lossy().into_owned()
}

fn is_utf8(locale: &OsStr) -> bool {
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales_say_whether_they_are_utf_8() {
        for (locale, expect) in [("C.UTF-8", true), ("de_DE.utf8", true), ("C", false), ("POSIX", false)] {
            assert_eq!(is_utf8(OsStr::new(locale)), expect, "{locale}");
        }
    }

    #[test]
    fn a_name_that_cannot_exist_is_not_set() {
        let env = Env::read();
        for name in ["", "a=b", "a\0b", "SPB_SURELY_NOT_SET"] {
            assert_eq!(env.lookup(name), None, "{name:?}");
        }
        assert!(env.lookup("PATH").is_some());
    }
}
