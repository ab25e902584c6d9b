//! `spb diff`: what a node changed.

use serde::Serialize;

use super::{Context, Exit, Failure, node, out};
use crate::git::repo::Colour;
use crate::git::{Change, Repo};
use crate::report::text;
use crate::store::runs;

/// Show what a node changed
///
/// Compares the files that the node left with those that it started from.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb diff build                in the newest run
  spb diff build k3f9           in the run whose id holds `k3f9`
  spb diff build --stat         how many lines of which files
  spb diff scout:tests          one instance of a matrix
  spb diff build | git apply    bring the change into your checkout")]
pub struct Args {
    /// The node, or one instance of its matrix
    #[arg(value_name = "NODE")]
    pub node: String,
    /// The run: its id or a part of it [default: the newest]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Print how many lines changed in each file
    #[arg(long, conflicts_with_all = ["name_only", "json"])]
    pub stat: bool,
    /// Print only the names of the files
    #[arg(long, conflicts_with = "json")]
    pub name_only: bool,
    /// Print the changed files as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Serialize)]
struct Printed<'a> {
    run: &'a str,
    node: &'a str,
    /// The node's commit; absent when it changed nothing.
    commit: Option<String>,
    files: Vec<ChangedFile>,
}

#[derive(Debug, Serialize)]
struct ChangedFile {
    path: String,
    /// As `git status` says it: `A`, `M`, `D` ...
    change: char,
}

/// Runs the verb.
///
/// # Errors
/// When there is no such run or node, it has not ended, or its files are gone.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let (repository, store) = context.store()?;
    let view = runs::view(&store, &runs::find(&store, args.run.as_deref())?)?;
    let finished = node::finished(&view, node::find(&view, &args.node)?)?;
    let repo = Repo::open(&repository)?;
    let (old, new) = node::trees(&repo, &view, finished)?;
    let changes = repo.changes(old, new)?;
    if args.json {
        let commit = node::own_commit(finished)?.map(|commit| commit.to_string());
        let files = changes.iter().map(changed_file).collect();
        out::json(&Printed { run: view.run.as_str(), node: &finished.node, commit, files })?;
    } else if changes.is_empty() {
        out::note(&format!("the node `{}` of run {} changed no files", text::line(&finished.node), view.run));
    } else if args.name_only {
        let names = changes.iter().map(|change| format!("{}\n", text::line(&change.name())));
        out::print(&names.collect::<String>())?;
    } else {
        let colour = if out::has_colours() { Colour::Always } else { Colour::Never };
        let printed =
            if args.stat { repo.diff_stat(old, new, colour)? } else { repo.diff_text(old, new, colour)? };
        out::patch(&printed)?;
    }
    Ok(Exit::Done)
}

fn changed_file(change: &Change) -> ChangedFile {
    ChangedFile { path: change.name().into_owned(), change: change.kind.letter() }
}
