//! `spb validate`: checks workflow files.

use std::path::PathBuf;

use serde_json::json;

use super::{Context, Exit, Failure, load, out};
use crate::report::text;
use crate::workflow::show;

/// Check workflow files
///
/// Every problem of a file at once, each with its place and what to do. Needs no repository and touches nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb validate workflows/*.yaml
  spb validate --strict build.yaml       warnings count as errors
  spb validate --json build.yaml         for editors and checks")]
pub struct Args {
    /// Workflow files
    #[arg(required = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Warnings count as errors
    #[arg(long)]
    pub strict: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
///
/// # Errors
/// A silent one with [`Exit::Invalid`] when a file has problems.
pub fn run(args: &Args, _context: &Context) -> Result<Exit, Failure> {
    let mut bad = false;
    let mut found = Vec::new();
    for file in &args.files {
        let loaded = match load::read(file, None) {
            Ok(loaded) => loaded,
            Err(failure) if args.files.len() == 1 && !args.json => return Err(failure),
            Err(failure) => {
                bad = true;
                match args.json {
                    true => found.push(json!({ "file": file, "valid": false, "error": failure.message })),
                    false => out::failure(&failure),
                }
                continue;
            }
        };
        let is_bad = load::is_bad(&loaded.problems, args.strict);
        bad |= is_bad;
        if args.json {
            found.push(json!({
                "file": file,
                "valid": !is_bad,
                "nodes": loaded.workflow.as_ref().map(|workflow| workflow.nodes.len()),
                "problems": show::to_json(&loaded.problems),
            }));
        } else {
            load::show_problems(&loaded.problems);
            if let Some(workflow) = loaded.workflow.filter(|_| !is_bad) {
                let nodes = text::count(workflow.nodes.len(), "node");
                out::print(&format!("{}: valid, {nodes}\n", file.display()))?;
            }
        }
    }
    if args.json {
        out::json(&found)?;
    }
    Ok(if bad { Exit::Invalid } else { Exit::Done })
}
