//! Warnings about one node: what can be run, though hardly as meant. Only said of files without errors, and only where it
//! is certain: a script that calls what is not known here is never blamed. What concerns several nodes is in
//! `check_parallel`.

use indexmap::IndexMap;

use super::check::{Check, Draft};
use super::commands::{self, Command};
use super::expr::{NeedsStatus, Scope};
use super::model::{Action, Effect, Node, OutputFrom};
use super::problem::{Problem, Span};
use super::yaml::{Yaml, shorten};

/// Shells whose scripts are read as such.
const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "ksh", "zsh"];

/// Commands that start no program of the author's and look into no environment: in a script of only these, nothing is
/// written that the script does not name.
const PLAIN: &[&str] = &[
    "[",
    "test",
    "echo",
    "printf",
    "true",
    "false",
    ":",
    "cd",
    "pwd",
    "set",
    "export",
    "unset",
    "local",
    "exit",
    "return",
    "shift",
    "read",
    "umask",
    "wait",
    "sleep",
    "for",
    "break",
    "continue",
    "mkdir",
    "rmdir",
    "rm",
    "mv",
    "cp",
    "ln",
    "touch",
    "chmod",
    "cat",
    "tac",
    "head",
    "tail",
    "wc",
    "sort",
    "uniq",
    "cut",
    "tr",
    "grep",
    "sed",
    "tee",
    "ls",
    "date",
    "basename",
    "dirname",
    "seq",
    "expr",
    "diff",
    "cmp",
    "comm",
    "paste",
    "join",
    "fold",
    "nl",
    "od",
    "sha256sum",
    "md5sum",
    "base64",
    "stat",
    "du",
    "df",
    "id",
    "uname",
    "hostname",
    "whoami",
    "mktemp",
    "realpath",
    "readlink",
    "jq",
];

/// First words of commands that change what others see.
const EXTERNAL: &[&[&str]] = &[
    &["git", "push"],
    &["gh", "pr", "create"],
    &["gh", "pr", "merge"],
    &["gh", "pr", "comment"],
    &["gh", "issue", "create"],
    &["gh", "issue", "comment"],
    &["gh", "release", "create"],
    &["glab", "mr", "create"],
    &["npm", "publish"],
    &["pnpm", "publish"],
    &["yarn", "publish"],
    &["yarn", "npm", "publish"],
    &["cargo", "publish"],
    &["gem", "push"],
    &["twine", "upload"],
    &["docker", "push"],
    &["podman", "push"],
    &["helm", "push"],
    &["helm", "install"],
    &["helm", "upgrade"],
    &["kubectl", "apply"],
    &["kubectl", "create"],
    &["kubectl", "delete"],
    &["terraform", "apply"],
    &["terraform", "destroy"],
    &["pulumi", "up"],
    &["mvn", "deploy"],
    &["firebase", "deploy"],
    &["flyctl", "deploy"],
    &["fly", "deploy"],
    &["vercel", "deploy"],
    &["netlify", "deploy"],
    &["sendmail"],
];

/// Words before a command that run it.
const PREFIXES: &[&str] = &["sudo", "exec", "command", "time", "nohup", "env"];

impl Check<'_> {
    /// Warnings of a file that has no errors.
    pub(super) fn advise(
        &mut self,
        drafts: &[Draft<'_, '_>],
        nodes: &IndexMap<String, Node>,
        stages: &[(String, Span)],
    ) {
        for (draft, node) in drafts.iter().zip(nodes.values()) {
            self.never_runs(draft, node);
            self.never_retried(draft, node);
            self.never_reused(draft, node);
            self.unwritten_outputs(draft, node);
            self.undeclared_effect(draft, node);
        }
        self.unused_stages(nodes, stages);
        self.advise_on_several(drafts, nodes);
    }

    /// A condition that is false whatever happens.
    fn never_runs(&mut self, draft: &Draft<'_, '_>, node: &Node) {
        let Some(when) = draft.yaml.get("when") else { return };
        let status = |all_succeeded, any_failed| NeedsStatus { all_succeeded, any_failed };
        let outcomes = match node.needs.is_empty() {
            true => vec![status(true, false)],
            false => vec![status(true, false), status(false, true), status(false, false)],
        };
        let is_false = |needs| node.when.holds(&Scope::default(), needs) == Ok(false);
        if !node.when.references().is_empty() || !outcomes.into_iter().all(is_false) {
            return;
        }
        let problem = Problem::warning(
            "spb::when::never",
            when.span,
            format!("`{}` never runs: its condition is always false", shorten(&node.name)),
        )
        .label("always false");
        let source = node.when.source();
        self.problems.push(match node.needs.is_empty() && source.contains("failure()") {
            true => {
                problem.help("without `needs` nothing can have failed: name the nodes that it looks after")
            }
            false => problem.help("remove the node, or let an input decide: `when: inputs.<name>`"),
        });
    }

    /// Reasons for another attempt that cannot come up, and settings of a wait that there is not.
    fn never_retried(&mut self, draft: &Draft<'_, '_>, node: &Node) {
        let Some(retry) = draft.yaml.get("retry") else { return };
        let timeouts = retry.get("on").map_or(&[][..], Yaml::items).iter();
        if let (None, Some(item)) =
            (node.timeout, timeouts.clone().find(|item| item.text() == Some("timeout")))
        {
            self.problems.push(
                Problem::warning(
                    "spb::retry::never",
                    item.span,
                    format!(
                        "`{}` has no timeout that could be a reason for another attempt",
                        shorten(&node.name)
                    ),
                )
                .label("never happens")
                .help("give the node a `timeout`, such as `timeout: 10m`, or remove this reason"),
            );
        }
        for key in ["factor", "jitter"] {
            if let (true, Some(value)) = (node.retry.delay.is_zero(), retry.get(key)) {
                self.problems.push(
                    Problem::warning(
                        "spb::retry::unused",
                        value.span,
                        format!("`{key}` changes the delay between attempts, and there is none"),
                    )
                    .label("has no effect")
                    .help("add a `delay`, such as `delay: 5s`"),
                );
            }
        }
    }

    fn never_reused(&mut self, draft: &Draft<'_, '_>, node: &Node) {
        let ttl = draft.yaml.get("cache").and_then(|cache| cache.get("ttl"));
        if let (Some(true), Some(ttl)) = (node.cache.ttl.map(|ttl| ttl.is_zero()), ttl) {
            self.problems.push(
                Problem::warning(
                    "spb::cache::never",
                    ttl.span,
                    format!("a result of `{}` is too old as soon as it is there", shorten(&node.name)),
                )
                .label("never reused")
                .help("write `cache: false` if it should always run"),
            );
        }
    }

    /// Outputs that the whole of a script has no way to write.
    fn unwritten_outputs(&mut self, draft: &Draft<'_, '_>, node: &Node) {
        if node.outputs.is_empty() || node.retry.between.is_some() {
            return;
        }
        let (mentions_lines, mentions_directory) = match &node.action {
            Action::Script { script, shell } if is_shell(shell) && is_plain(script) => {
                (script.contains("SPB_OUTPUT"), script.replace("SPB_OUTPUT", "").contains("SPB_OUT"))
            }
            _ => return,
        };
        for (name, output) in &node.outputs {
            let (is_written, label, how) = match &output.from {
                OutputFrom::Line => (
                    mentions_lines,
                    "no line for it",
                    format!(
                        "write it: `echo \"{name}=...\" >> \"$SPB_OUTPUT\"`, or say where it is: `{name}: {{ stdout: true }}`"
                    ),
                ),
                OutputFrom::Out(path) => (
                    mentions_directory,
                    "no such file",
                    format!("write it: `... > \"$SPB_OUT/{}\"`", shorten(path)),
                ),
                OutputFrom::File(_) | OutputFrom::Stdout => continue,
            };
            if !is_written {
                self.problems.push(
                    Problem::warning(
                        "spb::output::unwritten",
                        output.span,
                        format!(
                            "nothing in this script writes the output `{}`: the node would fail",
                            shorten(name)
                        ),
                    )
                    .label(label)
                    .also(draft.yaml.get("run").map_or(draft.span, |run| run.span), "the whole script")
                    .help(how),
                );
            }
        }
    }

    /// A command that others notice, in a node that may be repeated or taken from the cache.
    fn undeclared_effect(&mut self, draft: &Draft<'_, '_>, node: &Node) {
        // `effect: local` is a word of its own: the author knows better.
        if node.effect == Effect::External || draft.yaml.get("effect").is_some() {
            return;
        }
        let Some(run) = draft.yaml.get("run") else { return };
        let found = match &node.action {
            Action::Script { script, shell } if is_shell(shell) => {
                let list = commands::commands(script).list;
                list.iter().find_map(|command| {
                    Some((
                        external(&texts(command))?,
                        self.expressions.place(run.span, script, command.range.clone()),
                    ))
                })
            }
            Action::Command { words } => {
                let words: Vec<&str> = words.iter().map(|word| word.is_constant().unwrap_or("$")).collect();
                external(&words).map(|name| (name, run.span))
            }
            _ => None,
        };
        if let Some((name, span)) = found {
            self.problems.push(
                Problem::warning(
                    "spb::effect::undeclared",
                    span,
                    format!("`{name}` changes something outside of the repository, and the node may be repeated or taken from the cache"),
                )
                .label("others notice this")
                .also(draft.span, "in this node")
                .help("add `effect: external`: it then happens at most once in a run; or `effect: local` if repeating it does no harm"),
            );
        }
    }

    fn unused_stages(&mut self, nodes: &IndexMap<String, Node>, stages: &[(String, Span)]) {
        let mut is_used = vec![false; stages.len()];
        for node in nodes.values() {
            is_used[node.stage] = true;
        }
        for ((name, span), _) in stages.iter().zip(is_used).filter(|(_, is_used)| !is_used) {
            self.problems.push(
                Problem::warning(
                    "spb::stage::unused",
                    *span,
                    format!("no node is in the stage `{}`", shorten(name)),
                )
                .label("empty")
                .help(format!("remove it, or give it nodes: `stage: {}`", shorten(name))),
            );
        }
    }
}

fn is_shell(words: &[String]) -> bool {
    let name = words.first().and_then(|first| first.rsplit('/').next()).unwrap_or_default();
    SHELLS.contains(&name) && words.last().is_some_and(|last| last.starts_with('-') && last.ends_with('c'))
}

/// Whether everything that a script does is in its text.
fn is_plain(script: &str) -> bool {
    let found = commands::commands(script);
    found.is_all
        && found.list.iter().all(|command| {
            let first = &command.words[0];
            // Without arguments, these list all variables.
            let lists = matches!(first.text.as_str(), "set" | "export") && command.words.len() == 1;
            first.is_fixed && PLAIN.contains(&first.text.as_str()) && !lists
        })
}

/// The words of a command; one that depends on something is no word of any table.
fn texts(command: &Command) -> Vec<&str> {
    command.words.iter().map(|word| if word.is_fixed { word.text.as_str() } else { "$" }).collect()
}

/// The name of a command that changes what others see, if it is one.
fn external(words: &[&str]) -> Option<String> {
    let start = words.iter().position(|word| !PREFIXES.contains(word) && !word.contains('='))?;
    let words = &words[start..];
    let only_says = |word: &&str| word.starts_with("--dry-run") || matches!(*word, "--help" | "-h");
    if words.iter().any(only_says) || words[0] == "git" && words.contains(&"-n") {
        return None;
    }
    let name = words[0].rsplit('/').next()?;
    // Options before the subcommand, and what two of git's take.
    let mut plain = Vec::from([name]);
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        match *word {
            "-C" | "-c" if name == "git" => drop(rest.next()),
            word if word.starts_with('-') => {}
            word => plain.push(word),
        }
    }
    EXTERNAL.iter().find(|command| plain.starts_with(command)).map(|command| command.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_others_notice_are_told_from_those_that_only_look_alike() {
        for (words, expect) in [
            ("git push", Some("git push")),
            ("git -C sub -c a.b=c push --force origin", Some("git push")),
            ("sudo docker push x", Some("docker push")),
            ("env A=b /usr/bin/npm publish", Some("npm publish")),
            ("yarn npm publish", Some("yarn npm publish")),
            ("git push --dry-run", None),
            ("git push -n", None),
            ("kubectl apply --dry-run=client -f x", None),
            ("git stash push", None),
            ("npm run publish", None),
            ("echo git push", None),
            ("$ push", None),
            ("sudo", None),
        ] {
            let words: Vec<&str> = words.split(' ').collect();
            assert_eq!(external(&words).as_deref(), expect, "{words:?}");
        }
    }

    #[test]
    fn a_script_is_plain_if_it_calls_nothing_unknown() {
        for script in
            ["echo a; cat b | sort > c", "for x in a b; do printf '%s' $x; done", "set -eu\nX=$(date)"]
        {
            assert!(is_plain(script), "{script}");
        }
        for script in ["make", "./x", "echo a && make", "$TOOL", "echo $(make)", "set", "cat x | sh", "awk 1"]
        {
            assert!(!is_plain(script), "{script}");
        }
    }
}
