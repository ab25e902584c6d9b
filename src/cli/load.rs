//! From files and arguments to plans: reads, checks, resolves inputs, finds the base. Everything that is wrong is shown
//! at once, and then nothing was touched.

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use indexmap::IndexMap;

use super::apply::{Inputs, Jobs, Select, Work};
use super::{Context, Exit, Failure, out};
use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::engine::gate::Patience;
use crate::engine::repeat::Question;
use crate::engine::setup::{Request, Settings, selection};
use crate::event::Options;
use crate::git::{Repo, RepoPath};
use crate::plan::{Plan, PlanError, Selection, cycle, expand};
use crate::store::Store;
use crate::store::recorder::Notice;
use crate::workflow::input::{self, Given};
use crate::workflow::model::Workflow;
use crate::workflow::problem::{Problems, Severity};
use crate::workflow::{self, Trees, show};

/// Columns of a diagnostic where no terminal says otherwise.
const DIAGNOSTIC_WIDTH: usize = 100;

/// Reads one file, cycles included. Problems are printed; errors among them end the command, and warnings where they
/// count.
///
/// # Errors
/// A silent one after the problems were shown, or why the file cannot be read.
pub fn workflow(path: &Path, strict: bool, trees: Option<&dyn Trees>) -> Result<Workflow, Failure> {
    Ok(told(path, strict, trees)?.0)
}

/// The same, and whether there was nothing to say of it.
fn told(path: &Path, strict: bool, trees: Option<&dyn Trees>) -> Result<(Workflow, bool), Failure> {
    let loaded = read(path, trees)?;
    show_problems(&loaded.problems);
    let is_bad = is_bad(&loaded.problems, strict);
    let workflow = loaded.workflow.filter(|_| !is_bad).ok_or_else(|| Failure::silent(Exit::Invalid))?;
    Ok((workflow, loaded.problems.list.is_empty()))
}

/// Reads one file with every check there is.
///
/// # Errors
/// Why the file cannot be read.
pub fn read(path: &Path, trees: Option<&dyn Trees>) -> Result<workflow::Loaded, Failure> {
    let loaded = match trees {
        Some(trees) => workflow::read_kept(path, trees, cycle::problems),
        None => workflow::read_with(path, cycle::problems),
    };
    loaded.map_err(|error| {
        Failure::invalid(error.to_string())
            .with_help("give the path of a workflow file, or make one: `spb init`")
    })
}

/// Prints problems to standard error, as a person reads them.
pub fn show_problems(problems: &Problems) {
    if !problems.list.is_empty() {
        let colour = out::stderr_has_colours();
        out::note(show::render(problems, colour, out::stderr_width().unwrap_or(DIAGNOSTIC_WIDTH)).trim_end());
    }
}

/// The parsed forms of large files, beside the texts that runs keep.
#[derive(Debug)]
pub struct KeptTrees {
    store: Store,
    /// Commands that only look write nothing.
    is_writable: bool,
}

impl KeptTrees {
    pub fn read_only(repository: &RepoPath) -> Self {
        Self { store: Store::at(&repository.common_dir), is_writable: false }
    }

    pub fn of(repository: &RepoPath) -> Self {
        Self { is_writable: true, ..Self::read_only(repository) }
    }
}

impl Trees for KeptTrees {
    fn get(&self, text: Digest) -> Option<Vec<u8>> {
        std::fs::read(self.store.workflow_tree(&text.to_hex())).ok()
    }

    fn put(&self, text: Digest, tree: &[u8]) {
        // One that cannot be kept costs time, not the run. Whether the store is sound is not known yet: it must be there.
        if self.is_writable && self.store.workflows_directory().is_dir() {
            drop(disk::replace(&self.store.workflow_tree(&text.to_hex()), tree, Durability::Crash));
        }
    }
}

/// All files with their inputs, as requests on a base.
///
/// # Errors
/// Everything that is wrong with files, inputs and selection, shown at once.
///
/// The answer to `question` may be kept if there is nothing to say of the file.
pub fn requests(
    repository: &RepoPath,
    work: &Work,
    options: &Options,
    trees: &dyn Trees,
    question: Option<&Question>,
) -> Result<Vec<Request>, Failure> {
    let mut workflows = Vec::new();
    let mut is_clean = true;
    let mut failure = None;
    for file in &work.files {
        match told(file, work.strict, Some(trees)) {
            Ok((workflow, nothing_said)) => {
                is_clean &= nothing_said;
                workflows.push((file, Arc::new(workflow)));
            }
            Err(error) => {
                out::failure(&error);
                failure = Some(Failure::silent(error.exit));
            }
        }
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    let given = given(&work.inputs)?;
    refuse_unknown(&workflows, &given)?;
    let repo = Repo::open(repository)?;
    let mut requests = Vec::new();
    for (file, workflow) in workflows {
        let own: IndexMap<String, Given> = given
            .iter()
            .filter(|(name, _)| work.files.len() == 1 || workflow.inputs.contains_key(*name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let inputs = resolved(&workflow, own)?;
        let revision = match &work.select.base {
            Some(base) => base.clone(),
            None => base_of(&workflow, &inputs)?,
        };
        let commit = repo.resolve(&revision)?;
        let plan = Plan::new(Arc::clone(&workflow), inputs, &selection(options)).map_err(plan_failure)?;
        requests.push(Request {
            plan,
            file: file.to_string_lossy().into_owned(),
            base: commit,
            base_revision: revision,
            options: options.clone(),
            resume: None,
            answers: IndexMap::new(),
            repeat: None,
            remember: question.filter(|_| is_clean).cloned(),
        });
    }
    Ok(requests)
}

/// One file with its inputs, without a repository.
///
/// # Errors
/// Everything that is wrong with file and inputs.
pub fn plan(file: &Path, inputs: &Inputs) -> Result<Plan, Failure> {
    let workflow = workflow(file, false, None)?;
    let inputs = resolved(&workflow, given(inputs)?)?;
    Plan::new(Arc::new(workflow), inputs, &Selection::default()).map_err(plan_failure)
}

/// What the command line chose, as a run keeps it.
pub fn options(select: &Select, fail_fast: bool) -> Options {
    Options { until: select.until.clone(), only: select.only.clone(), fresh: select.fresh, fail_fast }
}

/// What the engine must know of the machine and the user.
///
/// # Errors
/// When there is no place for worktrees.
pub fn settings(
    context: &Context,
    repository: RepoPath,
    requests: &[Request],
    jobs: Option<Jobs>,
    listener: Sender<Notice>,
) -> Result<Settings, Failure> {
    let pool_directory = context.pool_directory(&repository)?;
    let names = requests.iter().flat_map(|request| {
        let workflow = &request.plan.workflow;
        workflow.all_pass_env().into_iter().chain(workflow.all_secrets())
    });
    let environment: Vec<(OsString, OsString)> =
        names.filter_map(|name| Some((OsString::from(name), context.env.lookup(name)?))).collect();
    Ok(Settings {
        cache_directory: pool_directory.join("cache"),
        pool_directory,
        base_env: context.env.base.clone(),
        environment,
        jobs: match jobs {
            Some(Jobs::Number(number)) => Some(number.get()),
            Some(Jobs::Auto) | None => None,
        },
        auto_jobs: jobs == Some(Jobs::Auto),
        patience: Patience::none(),
        repo: repository,
        listener,
        sharing: super::remote::settings(&context.env)?,
    })
}

/// The failure of a selection or an expansion.
pub fn plan_failure(error: PlanError) -> Failure {
    let help = match &error {
        PlanError::UnknownNode { .. } => Some("`spb plan FILE` lists the nodes"),
        PlanError::Matrix { .. } | PlanError::Cycle(_) | PlanError::TooLarge(_) => None,
    };
    let failure = Failure::invalid(error.to_string());
    match help {
        Some(help) => failure.with_help(help),
        None => failure,
    }
}

fn given(inputs: &Inputs) -> Result<IndexMap<String, Given>, Failure> {
    let mut given = IndexMap::new();
    if let Some(path) = &inputs.file {
        let fail =
            |why: String| Failure::invalid(format!("cannot read the inputs in `{}`: {why}", path.display()));
        let bytes = disk::read_given(path, input::MAX_FILE).map_err(|error| fail(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| fail("it is not UTF-8 text".to_owned()))?;
        let values = input::inputs_file(path, &text).map_err(|error| Failure::invalid(error.to_string()))?;
        given.extend(values.into_iter().map(|(name, value)| (name, Given::Value(value))));
    }
    for assignment in &inputs.given {
        given.insert(assignment.name.clone(), Given::Text(assignment.value.clone()));
    }
    Ok(given)
}

/// With several files an input belongs to those that declare it; one that none declares is a mistake.
fn refuse_unknown(
    workflows: &[(&std::path::PathBuf, Arc<Workflow>)],
    given: &IndexMap<String, Given>,
) -> Result<(), Failure> {
    if workflows.len() < 2 {
        return Ok(());
    }
    let unknown =
        given.keys().find(|name| !workflows.iter().any(|(_, workflow)| workflow.inputs.contains_key(*name)));
    match unknown {
        Some(name) => Err(Failure::invalid(format!("none of the workflows has an input `{name}`"))),
        None => Ok(()),
    }
}

/// The inputs' values; on a terminal, what is missing is asked for.
fn resolved(
    workflow: &Workflow,
    mut given: IndexMap<String, Given>,
) -> Result<IndexMap<String, serde_json::Value>, Failure> {
    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        let missing = workflow.inputs.iter().filter(|(_, input)| input.default.is_none());
        for (name, input) in missing {
            if !given.contains_key(name)
                && let Some(answer) = ask(name, &input.description)
            {
                given.insert(name.clone(), Given::Text(answer));
            }
        }
    }
    input::resolve(workflow, &given).map_err(|problems| {
        for problem in &problems {
            let failure = Failure::invalid(problem.to_string());
            out::failure(&match &problem.help {
                Some(help) => failure.with_help(help),
                None => failure,
            });
        }
        Failure::silent(Exit::Invalid)
    })
}

fn ask(name: &str, description: &str) -> Option<String> {
    let about = if description.is_empty() { String::new() } else { format!(" ({description})") };
    let mut stderr = std::io::stderr();
    write!(stderr, "{name}{about}: ").and_then(|()| stderr.flush()).ok()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).ok()?;
    let line = line.trim_end_matches(['\n', '\r']);
    (!line.is_empty()).then(|| line.to_owned())
}

/// `worktrees.base` with the inputs in it.
fn base_of(workflow: &Workflow, inputs: &IndexMap<String, serde_json::Value>) -> Result<String, Failure> {
    let scope = expand::scope(workflow, inputs);
    workflow
        .worktrees
        .base
        .render(&scope)
        .map_err(|error| Failure::invalid(format!("worktrees.base: {error}")))
}

/// Whether any of the problems is an error, or a warning where warnings count.
pub fn is_bad(problems: &Problems, strict: bool) -> bool {
    problems.list.iter().any(|problem| strict || problem.severity == Severity::Error)
}
