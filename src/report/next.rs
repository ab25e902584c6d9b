//! The commands that make sense after a run. Knows the verbs' names, runs nothing.

use std::borrow::Cow;

use super::{shape, text};
use crate::event::Outcome;
use crate::name::RunId;
use crate::store::runs::{RunState, RunView};

/// What to type next, most useful first; ready for a shell.
pub fn commands(view: &RunView) -> Vec<String> {
    let run = &view.run;
    match view.state() {
        RunState::Running => {
            let watch = [format!("spb logs {run} --follow"), format!("spb cancel {run}")];
            approve(view).chain(watch).collect()
        }
        _ if view.unknown().next().is_some() => {
            ["done", "again"].map(|answer| assume(run, view.unknown(), answer)).to_vec()
        }
        RunState::Interrupted | RunState::Cancelled => vec![format!("spb resume {run}")],
        RunState::Waiting => approve(view).chain([format!("spb resume {run}")]).collect(),
        RunState::Failed => after_failure(view),
        RunState::Succeeded => match view.finished.as_ref().and_then(|finished| finished.branch.as_deref()) {
            Some(branch) => {
                let branch = quoted(branch.strip_prefix("refs/heads/").unwrap_or(branch));
                vec![format!("git diff {}...{branch}", base(view)), format!("git merge {branch}")]
            }
            None => Vec::new(),
        },
    }
}

/// How many questions are named.
const NAMED: usize = 3;

/// The commands that answer what is asked.
fn approve(view: &RunView) -> impl Iterator<Item = String> {
    view.unanswered().take(NAMED).map(|(node, _)| format!("spb approve {} {}", view.run, quoted(node)))
}

/// The command that goes on with a run after a person has found out what became of these nodes.
pub fn assume<'n>(run: &RunId, nodes: impl Iterator<Item = &'n str>, answer: &str) -> String {
    let answers: String =
        nodes.map(|node| format!(" --assume {}", quoted(&format!("{node}={answer}")))).collect();
    format!("spb resume {run}{answers}")
}

fn after_failure(view: &RunView) -> Vec<String> {
    let failed =
        shape::finished(view).find(|finished| finished.outcome.is_failure() && !finished.allowed_to_fail);
    let ran = failed.filter(|failed| failed.attempts > 0 && failed.outcome != Outcome::Skipped);
    let logs = ran.map(|failed| format!("spb logs {} {}", view.run, quoted(&failed.node)));
    logs.into_iter().chain([format!("spb resume {}", view.run)]).collect()
}

/// The base as the user named it, if a shell takes that as it is.
fn base(view: &RunView) -> &str {
    let revision = view.started.base_revision.as_str();
    if is_plain(revision) { revision } else { text::short(&view.started.base) }
}

fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@=+,".contains(&byte);
    !text.is_empty() && text.bytes().all(plain) && !text.starts_with('-')
}

/// The word as a POSIX shell needs it.
pub fn quoted(word: &str) -> Cow<'_, str> {
    if is_plain(word) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_a_shell_would_change_them() {
        for (word, expect) in [
            ("scout:tests", "scout:tests"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$x", "'$x'"),
        ] {
            assert_eq!(quoted(word), expect);
        }
    }
}
