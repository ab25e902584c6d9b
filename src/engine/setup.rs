//! Makes everything a run needs before its first node: id, folder, lock, journal, environment. Runs nothing.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::dispatcher::Dispatcher;
use super::gate::Patience;
use super::presence::{self, Presence};
use super::remote::{self, Sharing};
use super::repeat::{Question, Repeat};
use super::unknown::{self, Answers, Settled};
use super::workspace::Rooms;
use super::{Caller, EngineError, RunContext, Shared, copies};
use crate::digest::Digest;
use crate::disk::{self, DiskError, Durability, Lock};
use crate::event::{self, Engine as EngineId, NodeSummary, Options, RunEvent, RunStarted};
use crate::executor::mask::Mask;
use crate::git::{self, CommitId, Pool, Repo, RepoPath};
use crate::host;
use crate::name::RunId;
use crate::plan::{Layer, Plan, Selection};
use crate::store::recorder::{self, JournalFile, Notice, Objects};
use crate::store::runs::RunView;
use crate::store::{Store, index, processes, repeats};
use crate::workflow::expr::{ExprError, Scope};
use crate::workflow::model::{Effect, Node, Source, Workflow};

/// What the command line knows of the machine and the user.
#[derive(Debug)]
pub struct Settings {
    pub repo: RepoPath,
    /// Slots and scratch rooms live here, outside the repository.
    pub pool_directory: PathBuf,
    /// `$SPB_CACHE_DIR` of nodes.
    pub cache_directory: PathBuf,
    pub base_env: Vec<(OsString, OsString)>,
    /// The caller's whole environment: for `pass_env` and `secrets` only.
    pub environment: Vec<(OsString, OsString)>,
    /// Overrides `limits.jobs`.
    pub jobs: Option<usize>,
    /// `--jobs auto`: the file's number does not count either.
    pub auto_jobs: bool,
    /// While only answers of persons are missing.
    pub patience: Patience,
    pub listener: Sender<Notice>,
    /// The remote cache, if there is one.
    pub sharing: Option<remote::Settings>,
}

/// One run to do.
#[derive(Debug)]
pub struct Request {
    pub plan: Plan,
    /// The workflow file as the user named it.
    pub file: String,
    pub base: CommitId,
    pub base_revision: String,
    pub options: Options,
    /// The earlier part of this run, when it is carried on.
    pub resume: Option<RunView>,
    /// What a person says of its nodes whose outcome is unknown.
    pub answers: Answers,
    /// The earlier run that this one repeats: then its plan has no nodes.
    pub repeat: Option<Repeat>,
    /// What was asked, if the answer may be kept for the next time.
    pub remember: Option<Question>,
}

impl Request {
    /// Whether some node may have files of the repository. The plan of a repeat has no nodes to tell.
    pub fn sees_files(&self) -> bool {
        self.repeat.as_ref().map_or_else(|| self.plan.workflow.sees_files(), |repeat| repeat.sees_files)
    }
}

/// What of the plan the options ask for.
pub fn selection(options: &Options) -> Selection {
    Selection { until: options.until.clone(), only: options.only.clone() }
}

/// How many nodes may run at once, and why.
pub fn jobs(plans: &[&Plan], flag: Option<usize>, is_auto: bool) -> (usize, String) {
    use crate::workflow::model::Jobs;
    if let Some(jobs) = flag {
        return (jobs.max(1), "--jobs".to_owned());
    }
    let asked = plans.iter().filter_map(|plan| match plan.workflow.jobs {
        Jobs::Count(count) => Some(count),
        Jobs::Auto => None,
    });
    if let Some(count) = asked.max().filter(|_| !is_auto) {
        return (count.max(1), "limits.jobs".to_owned());
    }
    let cores = host::cores();
    let width: usize = plans.iter().map(|plan| plan.width).sum::<usize>().max(1);
    let gib = host::memory().available / (1024 * 1024 * 1024);
    let by_memory = usize::try_from(gib * 8 / 10).unwrap_or(usize::MAX).max(1);
    // Nodes mostly wait for tools, disks and networks: with fewer than two at a time nothing would overlap.
    let chosen = cores.max(2).min(by_memory).min(width);
    let why = format!(
        "auto: the least of {} (cores, at least 2), {by_memory} (80% of {gib} GiB free memory, 1 GiB per node) \
         and {width} (widest level of the graph)",
        cores.max(2)
    );
    (chosen, why)
}

/// Files that are open in any case, and for each node that runs: pipes, logs, locks, repositories, git's own.
const OPEN_ANYWAY: u64 = 48;
const OPEN_FOR_EACH: u64 = 16;

/// As many nodes at once as there may be files open for, and a sentence when that is fewer than asked for.
fn within_open_files(jobs: usize) -> Result<(usize, Option<String>), EngineError> {
    let wanted = OPEN_ANYWAY + OPEN_FOR_EACH * jobs as u64;
    let limit = host::allow_open_files(wanted);
    let fitting = usize::try_from(limit.saturating_sub(OPEN_ANYWAY) / OPEN_FOR_EACH).unwrap_or(jobs);
    match fitting {
        0 => Err(EngineError::OpenFiles { limit, needed: OPEN_ANYWAY + OPEN_FOR_EACH }),
        _ if fitting < jobs => {
            let message = format!(
                "no more than {fitting} nodes run at the same time instead of {jobs}, because no more than {limit} files \
                 may be open; to allow more: `ulimit -n {wanted}`"
            );
            Ok((fitting, Some(message)))
        }
        _ => Ok((jobs, None)),
    }
}

/// Prepares runs. Everything durable that it makes names the run, and a crash in it leaves only an empty folder.
///
/// # Errors
/// When the store cannot be used, the run is busy, or an expression of the workflow has no value.
pub fn start(settings: Settings, requests: Vec<Request>) -> Result<Dispatcher, EngineError> {
    for request in &requests {
        // What has no value, or may not be stored, is found before anything is made.
        scope(&request.plan.workflow, &request.plan.inputs, &no_run(), request.base)?;
        refuse_secrets(&request.plan.inputs, &mask(&caller(&settings, &request.plan.workflow).secrets))?;
    }
    super::runtime::check()?;
    let store = Store::at(&settings.repo.common_dir);
    let (sharing, uploads) = settings.sharing.clone().map(Sharing::open).transpose()?.unzip();
    store.prepare()?;
    // Before anything is looked up: from here on nothing that may be found goes away.
    let in_use = Lock::share(&store.in_use())?;
    let connection = index::open(&store)?;
    let repo = Repo::open(&settings.repo)?;
    let pool = Pool::open(&settings.repo, settings.pool_directory.clone())?;
    let plans: Vec<&Plan> = requests.iter().map(|request| &request.plan).collect();
    let (jobs, _) = jobs(&plans, settings.jobs, settings.auto_jobs);
    let (jobs, few_files) = within_open_files(jobs)?;
    let engine = EngineId { process: host::this_process(), host: host::hostname() };

    let mut runs = Vec::new();
    let mut journals = Vec::new();
    let mut locks = vec![in_use];
    let mut opening = Vec::new();
    let mut earlier = Vec::new();
    let mut first = 0;
    for (number, mut request) in requests.into_iter().enumerate() {
        let id = match &request.resume {
            Some(view) => view.run.clone(),
            None => new_run(&store)?,
        };
        locks.push(lock(&store, &id)?);
        if let Some(view) = &mut request.resume {
            // Only now nobody else writes to its journal: what was read before may be old.
            *view = crate::store::runs::view(&store, &id)?;
        }
        if let Some(repeat) = &request.repeat {
            repeats::take(&store, &id, &repeat.facts)?;
        }
        let opened = match &request.resume {
            Some(view) => {
                let Settled { assumed, again } =
                    unknown::settle((&store, &repo), &request.plan, request.base, view, &request.answers)?;
                presence::end_processes(&store, &id);
                let finished = view.kept().count() + assumed.len();
                RunEvent::RunResumed { engine: engine.clone(), finished, assumed, again }
            }
            None => RunEvent::RunStarted(Box::new(started(&store, &request, jobs, &engine)?)),
        };
        if let (Some(view), RunEvent::RunResumed { assumed, .. }) = (&mut request.resume, &opened) {
            view.assume(assumed);
        }
        let (whole, seq) = request.resume.as_ref().map_or((0, 0), |view| (view.whole, view.seq));
        journals.push(JournalFile::open(id.clone(), &store.journal(&id), whole, seq)?);
        opening.push(opened);
        let count = request.plan.instances.len();
        earlier.push(request.resume.clone());
        let processes = processes::ProcessList::open(&store, &id)?;
        runs.push(Arc::new(context(&settings, &repo, request, id, Some(processes), number, first)?));
        first += count;
    }

    let ids = runs.iter().map(|run: &Arc<RunContext>| run.id.clone()).collect();
    let places = settings.pool_directory.join("rooms");
    let told = presence::succeed_the_dead(&store, &settings.repo, &places);
    let rooms = Rooms::new(places, Presence::new(&store, ids));
    let (failed_sender, failed) = tokio::sync::mpsc::unbounded_channel();
    let (recorder, thread) = recorder::start(
        journals,
        connection,
        store.root().to_owned(),
        settings.listener.clone(),
        move |message| {
            failed_sender.send(message).ok();
        },
    );
    for (number, event) in opening.into_iter().enumerate() {
        // What a person takes for done may hand on a merge that was made just now.
        let objects = match &event {
            RunEvent::RunResumed { assumed, .. } if !assumed.is_empty() => Objects::Written,
            _ => Objects::None,
        };
        recorder.fact(number, event, Vec::new(), objects);
    }
    for message in told.into_iter().chain(few_files) {
        let event = RunEvent::Warning { node: None, message };
        recorder.fact(0, event, Vec::new(), Objects::None);
    }
    let shared = Arc::new(Shared {
        store,
        repo: settings.repo,
        pool: Some(pool),
        cache_directory: settings.cache_directory,
        base_env: settings.base_env,
        runs,
        recorder,
        listener: settings.listener,
        sharing,
    });
    let uploads = uploads.flatten();
    Dispatcher::new(shared, rooms, jobs, earlier, repo, locks, thread, failed, settings.patience, uploads)
}

/// Tells of secrets that cannot be masked.
pub(super) fn warn_of_short_secrets(shared: &Shared) {
    for run in &shared.runs {
        let short = run.mask.unmasked();
        if !short.is_empty() {
            let message =
                format!("these secrets are too short to be masked in what nodes print: {}", short.join(", "));
            let event = RunEvent::Warning { node: None, message };
            shared.recorder.fact(run.journal, event, Vec::new(), Objects::None);
        }
    }
}

/// The same for looking ahead: nothing is made, locked or written.
///
/// # Errors
/// When the repository cannot be read, or an expression of the workflow has no value.
pub fn look(settings: Settings, requests: Vec<Request>) -> Result<Shared, EngineError> {
    let repo = Repo::open(&settings.repo)?;
    let sharing = settings.sharing.clone().map(Sharing::open).transpose()?.map(|(sharing, _)| sharing);
    let mut runs = Vec::new();
    let mut first = 0;
    for (number, request) in requests.into_iter().enumerate() {
        let count = request.plan.instances.len();
        runs.push(Arc::new(context(&settings, &repo, request, no_run(), None, number, first)?));
        first += count;
    }
    Ok(Shared {
        store: Store::at(&settings.repo.common_dir),
        repo: settings.repo,
        pool: None,
        cache_directory: settings.cache_directory,
        base_env: settings.base_env,
        runs,
        recorder: recorder::Recorder::nowhere(),
        listener: settings.listener,
        sharing,
    })
}

/// Stands for the id of a run that does not exist.
fn no_run() -> RunId {
    RunId::parse("00000000-000000-plan").expect("the shape of a run id")
}

fn new_run(store: &Store) -> Result<RunId, EngineError> {
    loop {
        let id = random_id();
        let directory = store.run_directory(&id);
        match std::fs::create_dir(&directory) {
            Ok(()) => return Ok(id),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(DiskError::new("create the directory", &directory, source).into()),
        }
    }
}

/// Seconds for people, then two letters of milliseconds, so that ids sort as runs began, and two random ones against
/// collisions; the folder makes it unique.
fn random_id() -> RunId {
    use std::hash::{BuildHasher, RandomState};
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let now = jiff::Timestamp::now();
    let milliseconds = u64::try_from(now.as_millisecond().rem_euclid(1000)).unwrap_or(0);
    let random = RandomState::new().hash_one(std::process::id());
    let bits = milliseconds << 10 | random & 0x3ff;
    let letter = |place: u32| char::from(LETTERS[(bits >> (15 - place * 5)) as usize % 32]);
    let suffix: String = (0..4).map(letter).collect();
    RunId::parse(&format!("{}-{suffix}", now.strftime("%Y%m%d-%H%M%S"))).expect("the shape of a run id")
}

fn lock(store: &Store, id: &RunId) -> Result<Lock, EngineError> {
    match Lock::attempt(&store.run_lock(id))? {
        Some(lock) => Ok(lock),
        None => {
            let pid = crate::store::runs::view(store, id).map_or(0, |view| view.engine.process.pid);
            Err(EngineError::Busy(id.clone(), pid))
        }
    }
}

fn started(
    store: &Store,
    request: &Request,
    jobs: usize,
    engine: &EngineId,
) -> Result<RunStarted, EngineError> {
    let plan = &request.plan;
    let digest = keep(store, &plan.workflow.source)?;
    let mut further_sources = IndexMap::new();
    for source in plan.workflow.sources.iter().filter(|source| source.start > plan.workflow.source.start) {
        further_sources.insert(source.path.to_string_lossy().into_owned(), keep(store, source)?);
    }
    Ok(RunStarted {
        format: event::FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        workflow: plan.workflow.name.clone(),
        file: request.file.clone(),
        source: digest,
        further_sources,
        base: request.base.to_string(),
        base_revision: request.base_revision.clone(),
        inputs: plan.inputs.clone(),
        jobs,
        nodes: plan.order.iter().map(|&at| summary(plan, at, plan.stage(at))).collect(),
        stages: plan.workflow.stages.clone(),
        options: request.options.clone(),
        engine: engine.clone(),
        repeats: request.repeat.as_ref().map(|repeat| Box::new(repeat.facts.clone())),
    })
}

/// What a journal says of a node before it runs.
pub fn summary(plan: &Plan, at: usize, stage: &str) -> NodeSummary {
    let instance = &plan.instances[at];
    let before = instance.needed().chain(instance.after.iter().copied());
    NodeSummary {
        node: instance.id.clone(),
        stage: stage.to_owned(),
        needs: before.map(|earlier| plan.instances[earlier].id.clone()).collect(),
        external: plan.node(at).effect == Effect::External && instance.layer == Layer::Work,
        given: None,
    }
}

/// Keeps the text of a file, so that a resume runs the same graph. Gives the digest that it is found by.
fn keep(store: &Store, source: &Source) -> Result<String, EngineError> {
    let text = source.text.as_bytes();
    let digest = Digest::of_bytes(text).to_hex();
    let copy = store.workflow_copy(&digest);
    if !std::fs::read(&copy).is_ok_and(|kept| kept == text) {
        disk::create_directory(&store.workflows_directory())?;
        disk::half_made::collect(&store.workflows_directory());
        disk::replace(&copy, text, Durability::PowerLoss)?;
    }
    Ok(digest)
}

fn context(
    settings: &Settings,
    repo: &Repo,
    request: Request,
    id: RunId,
    processes: Option<processes::ProcessList>,
    number: usize,
    first: usize,
) -> Result<RunContext, EngineError> {
    let workflow = request.plan.workflow.clone();
    let caller = caller(settings, &workflow);
    let mask = mask(&caller.secrets);
    refuse_secrets(&request.plan.inputs, &mask)?;
    let (scope, env, branch) = scope(&workflow, &request.plan.inputs, &id, request.base)?;
    Ok(RunContext {
        base_tree: repo.tree_of(request.base)?,
        base: request.base,
        base_revision: request.base_revision,
        options: request.options,
        env,
        pass_env: caller.pass_env_of(&workflow),
        mask: Arc::new(mask),
        caller: Arc::new(caller),
        copies: copies::find(&settings.repo, &workflow.worktrees.copy)?.into(),
        scope,
        branch,
        journal: number,
        number,
        processes: processes.map(Arc::new),
        plan: Arc::new(request.plan),
        workflow,
        id,
        first,
        outer: None,
        repeat: request.repeat,
        remember: request.remember,
    })
}

/// What the caller has of the variables that a workflow, and those that it uses, ask for. A node of a used workflow may
/// print its own secrets: they are masked everywhere.
fn caller(settings: &Settings, workflow: &Workflow) -> Caller {
    let lookup = |name: &str| {
        let found = settings.environment.iter().find(|(key, _)| key.to_str() == Some(name));
        found.map(|(_, value)| value.clone())
    };
    let names = workflow.all_pass_env().into_iter();
    let pass_env = names.map(|name| (name.to_owned(), lookup(name))).collect();
    let names = workflow.all_secrets().into_iter();
    let secrets = names.filter_map(|name| Some((name.to_owned(), lookup(name)?))).collect();
    Caller { pass_env, secrets }
}

impl Caller {
    /// Those of `pass_env` of one workflow, in its order.
    pub fn pass_env_of(&self, workflow: &Workflow) -> Vec<(String, Option<OsString>)> {
        let named = |name: &String| self.pass_env.iter().find(|(known, _)| known == name).cloned();
        workflow.pass_env.iter().filter_map(named).collect()
    }

    /// The secrets that a node is given, those that the caller has.
    pub fn secrets_of(&self, workflow: &Workflow, node: &Node) -> Vec<(OsString, OsString)> {
        let named = |name: &String| self.secrets.iter().find(|(known, _)| known == name);
        let given = workflow.secrets_of(node).iter().filter_map(named);
        given.map(|(name, value)| (OsString::from(name), value.clone())).collect()
    }
}

/// Inputs are part of the journal, of keys and of what is shown: what a node computes of one is not followed.
///
/// # Errors
/// Names the first input that holds a secret.
pub fn refuse_secrets(inputs: &IndexMap<String, Value>, mask: &Mask) -> Result<(), EngineError> {
    match inputs.iter().find(|(_, value)| mask.finds(value)) {
        Some((name, _)) => Err(EngineError::SecretInput(name.clone())),
        None => Ok(()),
    }
}

/// Masks the secrets that a caller has.
pub fn mask(secrets: &[(String, OsString)]) -> Mask {
    use std::os::unix::ffi::OsStrExt;
    Mask::new(secrets.iter().map(|(name, value)| (name.clone(), value.as_bytes().to_vec())))
}

type Scoped = (Scope, IndexMap<String, String>, String);

/// `inputs`, `run` and `env`, in the order in which they may refer to each other.
pub fn scope(
    workflow: &Workflow,
    inputs: &IndexMap<String, Value>,
    id: &RunId,
    base: CommitId,
) -> Result<Scoped, EngineError> {
    let mut scope = Scope::default();
    let inputs: Map<String, Value> = inputs.clone().into_iter().collect();
    scope.set("inputs", Value::Object(inputs));
    let mut run = json!({ "id": id.as_str(), "workflow": workflow.name, "base": base.to_string() });
    scope.set("run", run.clone());
    let branch = workflow.result.branch.render(&scope)?;
    if !git::is_branch_name(&branch) {
        return Err(EngineError::Branch(branch));
    }
    run["branch"] = Value::String(branch.clone());
    scope.set("run", run);
    let env = workflow_env(workflow, &mut scope)?;
    Ok((scope, env, branch))
}

/// The `env` of a workflow, which from then on can be read as well.
pub fn workflow_env(workflow: &Workflow, scope: &mut Scope) -> Result<IndexMap<String, String>, ExprError> {
    let mut env = IndexMap::new();
    for (name, template) in &workflow.env {
        env.insert(name.clone(), template.render(scope)?);
    }
    let values = env.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
    scope.set("env", Value::Object(values));
    Ok(env)
}
