//! The `git` command as we run it: no hooks, no file-system monitor, no maintenance, no prompt, no editor, and none of
//! the caller's `GIT_*` variables that would point it elsewhere. Knows nothing of what is asked of it.

use std::path::Path;

use super::{GitError, RepoPath};
use crate::process::{Tool, ToolOutput};

/// The oldest git that has what we use.
pub const OLDEST: (u32, u32) = (2, 30);

/// Settings that win over every configuration file.
const SETTINGS: [&str; 12] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "branch.autoSetupMerge=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "submodule.recurse=false",
    "core.safecrlf=false",
    "core.splitIndex=false",
    "worktree.useRelativePaths=false",
    "advice.detachedHead=false",
    "color.ui=false",
];

/// Variables of the caller that would change which repository is meant or what a command does and prints.
/// `GIT_CONFIG_GLOBAL`, `GIT_CONFIG_SYSTEM` and `GIT_CONFIG_NOSYSTEM` stay: they are the user's configuration.
const SCRUBBED: [&str; 40] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_ATTR_SOURCE",
    "GIT_AUTHOR_DATE",
    "GIT_AUTHOR_EMAIL",
    "GIT_AUTHOR_NAME",
    "GIT_COMMITTER_DATE",
    "GIT_COMMITTER_EMAIL",
    "GIT_COMMITTER_NAME",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIFF_OPTS",
    "GIT_DIR",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_EXTERNAL_DIFF",
    "GIT_GLOB_PATHSPECS",
    "GIT_GRAFT_FILE",
    "GIT_ICASE_PATHSPECS",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INDEX_VERSION",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_LITERAL_PATHSPECS",
    "GIT_MERGE_AUTOEDIT",
    "GIT_NAMESPACE",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_NO_LAZY_FETCH",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REFLOG_ACTION",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_TRACE",
    "GIT_TRACE2",
    "GIT_TRACE2_EVENT",
    "GIT_TRACE_SETUP",
    "GIT_WORK_TREE",
];

/// A `git` command that acts on the repository of `directory`.
pub fn git(directory: &Path) -> Tool {
    let settings = SETTINGS.iter().flat_map(|setting| ["-c", setting]);
    SCRUBBED
        .iter()
        .fold(Tool::new("git").directory(directory), |tool, name| tool.env_remove(name))
        .args(settings)
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_EDITOR", "true")
        .env("GIT_PAGER", "cat")
}

/// A `git` command that acts on exactly this repository and work tree: it never searches upwards, which matters where
/// a node may have removed `.git` and a parent directory is a repository of its own.
pub fn git_at(repo: &RepoPath) -> Tool {
    let tool = git(repo.work_dir.as_deref().unwrap_or(&repo.git_dir)).env("GIT_DIR", &repo.git_dir);
    match &repo.work_dir {
        Some(work_dir) => tool.env("GIT_WORK_TREE", work_dir),
        None => tool,
    }
}

/// Runs `git <arguments>`; any exit code but zero is an error with the end of what it said.
///
/// # Errors
/// When git is missing or fails.
pub fn run(tool: Tool, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
    let output = attempt(tool, arguments)?;
    if output.code == 0 { Ok(output.stdout) } else { Err(failure(arguments, &output)) }
}

/// Runs `git <arguments>` where the exit code is an answer.
///
/// # Errors
/// When git cannot be started.
pub fn attempt(tool: Tool, arguments: &[&str]) -> Result<ToolOutput, GitError> {
    tool.args(arguments).run().map_err(GitError::NoGit)
}

/// The error for a command that ended badly.
pub fn failure(arguments: &[&str], output: &ToolOutput) -> GitError {
    GitError::Command {
        command: format!("git {}", arguments.join(" ")),
        code: output.code,
        stderr: tail(&output.stderr),
    }
}

/// Checks that git is there and recent enough.
///
/// # Errors
/// [`GitError::NoGit`] or [`GitError::OldGit`].
pub fn check_version() -> Result<(u32, u32), GitError> {
    let printed = run(Tool::new("git").env("LC_ALL", "C"), &["--version"])?;
    let printed = String::from_utf8_lossy(&printed);
    match version(&printed) {
        Some(found) if found >= OLDEST => Ok(found),
        _ => Err(GitError::OldGit { found: printed.trim().trim_start_matches("git version ").to_owned() }),
    }
}

/// Reads `git version 2.47.3 (Apple Git-1)`.
fn version(printed: &str) -> Option<(u32, u32)> {
    let mut numbers = printed.trim().strip_prefix("git version ")?.split(['.', ' ', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The last lines, on one line, without control characters.
fn tail(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(5)..].join("; ");
    let last: String = last.chars().filter(|c| !c.is_control()).collect();
    let excess = last.chars().count().saturating_sub(600);
    last.chars().skip(excess).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_every_git_prints() {
        let cases = [
            ("git version 2.47.3\n", Some((2, 47))),
            ("git version 2.39.5 (Apple Git-154)", Some((2, 39))),
            ("git version 2.45.1.windows.1", Some((2, 45))),
            ("hub version 2", None),
        ];
        for (printed, expect) in cases {
            assert_eq!(version(printed), expect, "{printed}");
        }
    }

    #[test]
    fn this_machine_has_a_git_that_is_recent_enough() {
        assert!(check_version().unwrap() >= OLDEST);
    }

    #[test]
    fn a_failure_names_the_command_its_code_and_the_end_of_what_it_said() {
        let error = run(git(Path::new("/")), &["cat-file", "-e", "no-such\u{1b}[31mthing"]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("git cat-file -e") && text.contains("exit code 128"), "{text}");
    }
}
