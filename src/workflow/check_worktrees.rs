//! The `worktrees` of a file: where runs start from, and what the slots of their nodes hold beside it.

use super::check::Check;
use super::check_names;
use super::check_scope::World;
use super::expr::Template;
use super::file::{self, Clean};
use super::file_values::Text;
use super::model::{Ignored, Setup, Worktrees};
use super::problem::{Problem, Span};
use super::read::Piece;
use super::yaml::Yaml;

impl Check<'_> {
    pub(super) fn worktrees(&mut self, root: &Yaml<'_>, world: &World<'_>) -> Worktrees {
        let piece = self.top::<file::Worktrees>(root, "worktrees");
        let Some(Piece { value: file, yaml }) = piece else {
            return Worktrees::default();
        };
        Worktrees {
            base: self.base(&file, &yaml, world),
            max: self.max(&file, &yaml),
            ignored: self.ignored(&file, &yaml),
            copy: self.worktree_globs(&yaml, "copy", file.copy.as_deref()),
            sparse: self.sparse(file.sparse.as_deref(), &yaml),
            setup: self.setup(&file, &yaml),
        }
    }

    fn base(&mut self, file: &file::Worktrees, yaml: &Yaml<'_>, world: &World<'_>) -> Template {
        let Some(Text(base)) = &file.base else { return Template::constant("HEAD") };
        let span = span(yaml, "base");
        if base.is_empty() || base.starts_with('-') {
            self.problems.push(
                Problem::error("spb::worktrees::base", span, format!("{base:?} is not a revision"))
                    .label("a branch, tag or commit"),
            );
        }
        let names = world.inputs_and_env("`worktrees.base`");
        self.expressions.template(base, span, || &names, &mut self.problems)
    }

    fn max(&mut self, file: &file::Worktrees, yaml: &Yaml<'_>) -> Option<usize> {
        let max = file.max?;
        if max == 0 {
            self.problems.push(
                Problem::error(
                    "spb::worktrees::max",
                    span(yaml, "max"),
                    "without a worktree no node could run in one",
                )
                .label("at least 1"),
            );
        }
        Some(usize::try_from(max).unwrap_or(usize::MAX))
    }

    fn ignored(&mut self, file: &file::Worktrees, yaml: &Yaml<'_>) -> Ignored {
        let keep = self.worktree_globs(yaml, "keep", file.keep.as_deref());
        match (file.clean, &file.keep) {
            (_, Some(_)) if keep.is_empty() => {
                let problem = Problem::error(
                    "spb::worktrees::keep",
                    span(yaml, "keep"),
                    "`keep` names nothing to keep",
                );
                self.problems.push(
                    problem
                        .label("no globs")
                        .help("to remove everything that git ignores, write `clean: all`"),
                );
                Ignored::KeepOnly(keep)
            }
            (_, Some(_)) => Ignored::KeepOnly(keep),
            (Some(Clean::All), None) => {
                if file.setup.is_some() {
                    self.problems.push(
                        Problem::error(
                            "spb::worktrees::setup_lost",
                            span(yaml, "clean"),
                            "`clean: all` removes what `setup` makes before a node could use it again",
                        )
                        .label("removes ignored files")
                        .also(span(yaml, "setup"), "runs once for each slot")
                        .help("list what it makes, as in `keep: [node_modules/]`, or remove `clean`"),
                    );
                }
                Ignored::KeepOnly(Vec::new())
            }
            (Some(Clean::Untracked) | None, None) => Ignored::Stay,
        }
    }

    fn setup(&mut self, file: &file::Worktrees, yaml: &Yaml<'_>) -> Option<Setup> {
        let reads = self.worktree_globs(yaml, "setup_reads", file.setup_reads.as_deref());
        let Some(Text(script)) = &file.setup else {
            if file.setup_reads.is_some() {
                self.problems.push(
                    Problem::error(
                        "spb::worktrees::setup_reads",
                        span(yaml, "setup_reads"),
                        "`setup_reads` says when `setup` runs again, and there is no `setup`",
                    )
                    .label("has no effect")
                    .help("add `setup: ./scripts/install.sh`, or remove `setup_reads`"),
                );
            }
            return None;
        };
        self.script("setup", script, span(yaml, "setup"));
        Some(Setup { script: script.clone(), reads })
    }

    fn worktree_globs(&mut self, yaml: &Yaml<'_>, key: &str, patterns: Option<&[Text]>) -> Vec<String> {
        let patterns = patterns.unwrap_or_default();
        let items = yaml.get(key).map_or(&[][..], Yaml::items);
        for (Text(pattern), item) in patterns.iter().zip(items) {
            self.problems.extend(check_names::glob(key, pattern, item.span));
        }
        patterns.iter().map(|pattern| pattern.0.clone()).collect()
    }
}

fn span(yaml: &Yaml<'_>, key: &str) -> Span {
    yaml.get(key).map_or(yaml.span, |value| value.span)
}
