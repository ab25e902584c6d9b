//! `spb init`: makes a first workflow.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{Context, Exit, Failure, out};
use crate::disk::{self, DiskError};
use crate::git::{self, GitError, Repo};
use crate::report::{next, style, text};

/// Make a first workflow
///
/// Never replaces a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb init                          workflows/hello.yaml: three nodes that show the language
  spb init --template feature       workflows/feature.yaml: scout, plan, build, test, review, document, integrate")]
pub struct Args {
    /// Which workflow
    #[arg(long, value_name = "NAME", default_value = "hello")]
    pub template: Template,
    /// Where to put it [default: workflows/NAME.yaml]
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// Three nodes that show the language
    Hello,
    /// A whole feature, from a task to a branch
    Feature,
}

impl Template {
    fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Feature => "feature",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Hello => include_str!("init_hello.yaml"),
            Self::Feature => include_str!("../../workflows/feature.yaml"),
        }
    }

    /// How it is run.
    fn arguments(self) -> &'static str {
        match self {
            Self::Hello => "",
            Self::Feature => " -i task=\"say what to do\"",
        }
    }
}

/// Writes the file and says what to type next.
///
/// # Errors
/// When there is such a file already, or it cannot be written.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let default = || PathBuf::from(format!("workflows/{}.yaml", args.template.name()));
    let file = args.file.clone().unwrap_or_else(default);
    create(&context.directory.join(&file), &without_schema(args.template.text()))?;
    let name = file.to_string_lossy();
    let name = next::quoted(&name);
    let mut told = format!("made {}\n", style::bold(&text::line(&name)));
    for step in first_steps(context) {
        told.push_str(&format!("  {step}\n"));
    }
    for (verb, arguments, what) in [
        ("plan", args.template.arguments(), "what would run, and why"),
        ("apply", args.template.arguments(), "run it; the second time everything comes from the cache"),
    ] {
        told.push_str(&format!(
            "  {:<50} {}\n",
            format!("spb {verb} {}{arguments}", text::line(&name)),
            style::dim(what)
        ));
    }
    told.push_str(&format!("  {:<50} {}\n", "spb status", style::dim("how it went")));
    out::print(&told)?;
    Ok(Exit::Done)
}

/// The path to the schema in a template fits only where the template is kept.
fn without_schema(template: &str) -> String {
    let lines = template.lines().filter(|line| !line.starts_with("# yaml-language-server:"));
    lines
        .skip_while(|line| line.trim_matches(['#', ' ']).is_empty())
        .map(|line| format!("{line}\n"))
        .collect()
}

fn create(path: &Path, content: &str) -> Result<(), Failure> {
    if let Some(directory) = path.parent() {
        disk::create_directory(directory)?;
    }
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::invalid(format!("`{}` exists already", path.display()))
            .with_help("give another name: `spb init FILE`"),
        _ => DiskError::new("make", path, error).into(),
    })?;
    file.write_all(content.as_bytes()).map_err(|error| {
        // Half a workflow would only confuse.
        drop(disk::remove(path));
        DiskError::new("write", path, error).into()
    })
}

/// What is missing before anything can run.
fn first_steps(context: &Context) -> Vec<String> {
    let head = git::repo::discover(&context.directory).and_then(|path| Repo::open(&path)?.resolve("HEAD"));
    let step = |command: &str, what: &str| format!("{command:<50} {}", style::dim(what));
    let commit = step("git commit --allow-empty -m start", "runs start from a commit");
    match head {
        Ok(_) => Vec::new(),
        Err(GitError::Unborn) => vec![commit],
        Err(GitError::NotARepository(_)) => vec![step("git init", "runs need a repository"), commit],
        Err(_) => vec![step("spb doctor", "the repository cannot be used as it is")],
    }
}
