//! `worktrees.sparse`: which directories worktrees hold, and nodes that read what is then not there.

use indexmap::IndexMap;

use super::check::{Check, Draft};
use super::check_names;
use super::file_values::Text;
use super::model::{Node, Workspace};
use super::overlap;
use super::problem::Problem;
use super::yaml::{Yaml, shorten};

impl Check<'_> {
    pub(super) fn sparse(&mut self, paths: Option<&[Text]>, yaml: &Yaml<'_>) -> Vec<String> {
        let Some(paths) = paths else { return Vec::new() };
        let list = yaml.get("sparse");
        if let (true, Some(list)) = (paths.is_empty(), list) {
            self.problems.push(
                Problem::error("spb::worktrees::sparse", list.span, "`sparse` names nothing to hold")
                    .label("no directories")
                    .help("list directories, as in `sparse: [packages/web]`, or remove it: then all files are there"),
            );
        }
        for (Text(path), item) in paths.iter().zip(list.map_or(&[][..], Yaml::items)) {
            let problem = check_names::escaping("sparse", path, item.span);
            let is_glob = path.contains(['*', '?', '[', '{', '\\']) || path.starts_with('!');
            let glob = || {
                let what = format!(
                    "{:?} of `sparse` is a pattern, and only directories can be named",
                    shorten(path)
                );
                Problem::error("spb::worktrees::sparse", item.span, what)
                    .label("not a directory")
                    .help("name the directory that is meant: everything below it is there")
            };
            self.problems.extend(problem.or_else(|| is_glob.then(glob)));
        }
        paths.iter().map(|path| path.0.clone()).collect()
    }

    /// Files that a node says it depends on, where no worktree can hold one of them.
    pub(super) fn unseen_reads(
        &mut self,
        drafts: &[Draft<'_, '_>],
        nodes: &IndexMap<String, Node>,
        sparse: &[String],
    ) {
        if sparse.is_empty() {
            return;
        }
        let sparse: Vec<Vec<&str>> = sparse.iter().map(|path| names(path)).collect();
        let leased = |node: &Node| matches!(node.workspace, Workspace::Worktree | Workspace::Readonly);
        for (draft, node) in drafts.iter().zip(nodes.values()).filter(|(_, node)| leased(node)) {
            for item in draft.yaml.get("reads").map_or(&[][..], Yaml::items) {
                let Some(glob) = item.text() else { continue };
                let alternatives = overlap::alternatives(glob);
                if alternatives.is_empty() || alternatives.iter().any(|glob| may_be_there(glob, &sparse)) {
                    continue;
                }
                self.problems.push(
                    Problem::warning(
                        "spb::worktrees::sparse_reads",
                        item.span,
                        format!(
                            "`{}` does not see what it reads: `sparse` leaves it out",
                            shorten(&node.name)
                        ),
                    )
                    .label("in no worktree")
                    .help("add the directory to `worktrees.sparse`, or take it out of `reads`"),
                );
            }
        }
    }
}

/// Whether some file that the glob may match is in a worktree, as far as its plain beginning tells.
fn may_be_there(glob: &str, sparse: &[Vec<&str>]) -> bool {
    let parts = names(glob);
    let plain = parts.iter().take_while(|part| !part.contains(['*', '?', '[', '\\'])).count();
    // The last name of a plain path may be that of a file, which is there when its directory is.
    let directory = if plain == parts.len() { &parts[..plain.saturating_sub(1)] } else { &parts[..plain] };
    directory.is_empty()
        || sparse.iter().any(|asked| directory.starts_with(asked) || asked.starts_with(directory))
}

fn names(path: &str) -> Vec<&str> {
    path.split('/').filter(|name| !matches!(*name, "" | ".")).collect()
}
