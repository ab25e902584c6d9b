//! Names of the language and of the environment, paths and globs: whether they are well-formed, and what to say when
//! they are not. Knows nothing of the graph.

use globset::GlobBuilder;

use super::problem::{Problem, Span};
use super::yaml::{quoted, shorten};
use crate::name::NameError;

/// A name that breaks a rule.
pub fn invalid(what: &str, text: &str, span: Span, error: &NameError) -> Problem {
    let better = repaired(text);
    let problem = Problem::error(
        "spb::name::invalid",
        span,
        format!("{:?} is not the name of {what}: {error}", shorten(text)),
    )
    .label("not a name");
    match better.is_empty() || better == text {
        true => {
            problem.help("a name starts with a letter or `_` and goes on with letters, digits, `_` and `-`")
        }
        false => problem.help(format!("for example `{better}`")),
    }
}

/// The nearest well-formed name.
fn repaired(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars().take(40) {
        match c {
            c if c.is_ascii_alphabetic() || c == '_' => name.push(c),
            c if (c.is_ascii_digit() || c == '-') && !name.is_empty() => name.push(c),
            c if c.is_ascii_digit() => name.extend(['n', c]),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    name.trim_end_matches('-').to_owned()
}

pub fn twice(what: &str, name: &str, span: Span, first: Span) -> Problem {
    Problem::error("spb::name::twice", span, format!("the {what} {} is named twice", quoted(name)))
        .label("again here")
        .also(first, "first here")
        .help("remove one of them")
}

pub fn unknown_node(code: &'static str, name: &str, span: Span, near: Option<&str>) -> Problem {
    let problem =
        Problem::error(code, span, format!("there is no node {}", quoted(name))).label("unknown node");
    match near {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None if name.contains(':') => {
            problem.help("a node is named without its instance: all instances are meant")
        }
        None => problem.help("nodes are the keys under `nodes`"),
    }
}

/// Checks the name of an environment variable.
pub fn variable(name: &str, span: Span) -> Option<Problem> {
    if name.starts_with("SPB_") {
        return Some(
            Problem::error("spb::env::reserved", span, format!("`{}` is set by spb itself", shorten(name)))
                .label("reserved")
                .help("names that start with `SPB_` tell a node about its run; take another one"),
        );
    }
    let start = |c: char| c.is_ascii_alphabetic() || c == '_';
    let good =
        name.starts_with(start) && name.chars().all(|c| start(c) || c.is_ascii_digit()) && name.len() <= 256;
    (!good).then(|| {
        let problem = Problem::error(
            "spb::env::name",
            span,
            format!("{:?} is not the name of a variable", shorten(name)),
        )
        .label("letters, digits and `_`");
        match as_variable(name) {
            better if better == name || better.is_empty() => problem,
            better => problem.help(format!("for example `{better}`")),
        }
    })
}

/// A name in the usual spelling of variables.
pub fn as_variable(name: &str) -> String {
    let name: String = name
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect();
    name.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned()
}

/// Checks a glob of repository files.
pub fn glob(key: &str, pattern: &str, span: Span) -> Option<Problem> {
    if let Some(problem) = escaping(key, pattern, span) {
        return Some(problem);
    }
    if pattern.starts_with('!') {
        return Some(
            Problem::error(
                "spb::glob::negated",
                span,
                format!("{} of `{key}` takes away, and globs only add", quoted(pattern)),
            )
            .label("starts with `!`")
            .help("list what is meant, as in `src/{a,b}/**`"),
        );
    }
    let error = GlobBuilder::new(pattern).literal_separator(true).build().err()?;
    Some(
        Problem::error(
            "spb::glob::invalid",
            span,
            format!("{:?} is not a glob: {}", shorten(pattern), error.kind()),
        )
        .label("not understood")
        .help(
            "`*` is any part of a name, `**` any directories, `{a,b}` either, `[ab]` one of these characters",
        ),
    )
}

/// Checks a path inside a workspace or under `$SPB_OUT`.
pub fn relative_path(key: &str, path: &str, span: Span) -> Option<Problem> {
    escaping(key, path, span)
}

pub(super) fn escaping(key: &str, path: &str, span: Span) -> Option<Problem> {
    let (why, help) = if path.contains("${{") {
        (
            "holds an expression, which is not evaluated here",
            "write the path or pattern itself; scripts get values by `env`",
        )
    } else if path.is_empty() {
        ("is empty", "name a file")
    } else if path.starts_with(['/', '~']) || path.starts_with('\\') || is_drive(path) {
        ("is absolute", "paths are relative to the top of the workspace")
    } else if path.split(['/', '\\']).any(|part| part == "..") {
        ("leads out of the workspace", "a node sees only its own workspace: name the file without `..`")
    } else if path.contains('\0') {
        ("holds a zero byte", "remove it")
    } else if path.split('/').any(|part| part == ".git") {
        ("leads into `.git`", "what git keeps for itself is no file of the repository")
    } else {
        return None;
    };
    let shown = if path.is_empty() { "an entry".to_owned() } else { quoted(path) };
    Some(
        Problem::error("spb::path::outside", span, format!("{shown} of `{key}` {why}"))
            .label("not accepted")
            .help(help),
    )
}

fn is_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic())
}

/// Checks a branch name by git's own rules (git-check-ref-format).
pub fn branch(name: &str, span: Span) -> Option<Problem> {
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    let bad = name.split('/').any(bad_part)
        || name.starts_with('-')
        || name.ends_with('.')
        || name == "@"
        || name.contains("..")
        || name.contains("@{")
        || name.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c));
    bad.then(|| {
        Problem::error("spb::result::branch", span, format!("{:?} is not a branch name", shorten(name)))
            .label("git refuses it")
            .help("for example `feature/json-output`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for good in ["a", "a/b.txt", "target/*", "**/*.rs", "a..b", "docs/{a,b}/**"] {
            assert_eq!(glob("reads", good, Span::default()), None, "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../b",
            "~/x",
            "C:\\x",
            "a\\..\\b",
            ".git/config",
            "a[",
            "{a",
            "!src/**",
            "${{ inputs.x }}",
        ] {
            assert!(glob("reads", bad, Span::default()).is_some(), "{bad} was accepted");
        }
    }

    #[test]
    fn variables_are_named_like_variables() {
        for good in ["PATH", "_x", "A1"] {
            assert_eq!(variable(good, Span::default()), None, "{good}");
        }
        for bad in ["", "1A", "a-b", "A B", "A=B", "SPB_RUN", "é"] {
            assert!(variable(bad, Span::default()).is_some(), "{bad} was accepted");
        }
    }

    #[test]
    fn branches_follow_git() {
        for good in ["main", "feature/x", "a.b", "a@b"] {
            assert_eq!(branch(good, Span::default()), None, "{good}");
        }
        for bad in
            ["", "a b", "-x", "a..b", "/a", "a/", "a//b", ".a", "a.lock", "a~1", "@", "x@{1}", "a\u{7}"]
        {
            assert!(branch(bad, Span::default()).is_some(), "{bad} was accepted");
        }
    }
}
