//! A run that would only find again what the last one found: the answer to the whole question is kept, and given again while
//! everything that it rests on is as it was. Then no file is parsed and no node looked up, and the run is a run all the same:
//! its own id, journal, checkpoints and branch. Whatever is not sure to be checked here is not kept; whatever does not check
//! out is asked the ordinary way.

mod record;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use self::record::Record;
use super::setup::Request;
use super::{Ended, RunContext, finish};
use crate::digest::{Digest, Hasher};
use crate::disk::Lock;
use crate::event::{self, Options, Outcome, Repeats};
use crate::git::{CommitId, Repo, RepoPath};
use crate::name::RunId;
use crate::plan::{Layer, Plan, Role, fingerprint};
use crate::store::artifacts::{self, Check};
use crate::store::cache::Cache;
use crate::store::uses::DAY;
use crate::store::{Store, index, repeats};
use crate::workflow;
use crate::workflow::expr::NamePath;
use crate::workflow::model::{Node, Source};
use crate::workflow::outline::Outline;

/// What a person asks for: the same question twice may have the same answer.
#[derive(Clone, Debug)]
pub struct Question {
    key: Digest,
    file: PathBuf,
    text: Arc<str>,
    options: Options,
}

/// What makes a question.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The workflow file as named, seen from `directory`.
    pub file: &'a Path,
    pub directory: &'a Path,
    /// Inputs by name, as typed.
    pub given: &'a [(&'a str, &'a str)],
    /// The revision that was named.
    pub base: Option<&'a str>,
    pub options: Options,
    pub pool: &'a Path,
}

impl Question {
    /// `None` when the answer could not be used again.
    pub fn new(asked: Asked<'_>) -> Option<Self> {
        let is_whole = asked.options == Options { fail_fast: asked.options.fail_fast, ..Options::default() };
        if !is_whole {
            return None;
        }
        let text = String::from_utf8(workflow::bytes_of(asked.file).ok()?).ok()?;
        let mut hasher = Hasher::new("repeat 1");
        let formats = format!("{} {} {}", env!("CARGO_PKG_VERSION"), event::FORMAT, fingerprint::FORMAT);
        hasher.field("formats", formats.as_bytes());
        hasher.field("file", bytes(asked.file.as_os_str()));
        hasher.field("text", text.as_bytes());
        hasher.field("directory", bytes(asked.directory.as_os_str()));
        hasher.field("pool", bytes(asked.pool.as_os_str()));
        for (name, value) in asked.given {
            hasher.field("input", name.as_bytes()).field("value", value.as_bytes());
        }
        if let Some(base) = asked.base {
            hasher.field("base", base.as_bytes());
        }
        hasher.field("fail fast", &[u8::from(asked.options.fail_fast)]);
        let (key, file) = (hasher.finish(), asked.file.to_owned());
        Some(Self { key, file, text: text.into(), options: asked.options })
    }

    /// Whether the answer to it follows from it alone: nobody was asked for an input.
    pub fn gives_all_inputs(&self, request: &Request, given: &[(&str, &str)]) -> bool {
        let has = |name: &str| given.iter().any(|(known, _)| *known == name);
        request.plan.workflow.inputs.iter().all(|(name, input)| input.default.is_some() || has(name))
    }

    fn path(&self, store: &Store) -> PathBuf {
        store.repeats_directory().join(self.key.to_hex())
    }
}

fn bytes(text: &OsStr) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    text.as_bytes()
}

/// What a run takes from the one that it repeats.
#[derive(Debug)]
pub struct Repeat {
    pub facts: Repeats,
    /// The stages that end, in this order, with the commits that their checkpoints are merged from.
    pub stages: Vec<(usize, Vec<String>)>,
    /// What the result is merged from.
    pub heads: Vec<String>,
    /// Some node may have had files of the repository.
    pub sees_files: bool,
    /// Nothing that it rests on goes away meanwhile.
    _in_use: Lock,
}

/// The run that gives the known answer, if there is one that still holds.
pub fn find(
    question: &Question,
    repository: &RepoPath,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Option<Request> {
    let store = Store::at(&repository.common_dir);
    let path = question.path(&store);
    if !path.exists() || store.check_format().ok()? != Some(event::FORMAT) {
        return None;
    }
    let in_use = Lock::share(&store.in_use()).ok()?;
    let record = Record::read(&path, &question.key.to_hex());
    let repo = Repo::open(repository).ok()?;
    let places = (&store, &repo);
    let found = record.and_then(|record| request(question, record, places, variable, in_use));
    if found.is_none() {
        record::remove(&path);
    }
    found
}

fn request(
    question: &Question,
    record: Record,
    (store, repo): (&Store, &Repo),
    variable: impl Fn(&str) -> Option<OsString>,
    in_use: Lock,
) -> Option<Request> {
    // Once a day the ordinary way: it notes for every entry that it was used.
    if record.day != today() {
        return None;
    }
    let index = index::open_to_read(store).ok()??;
    if Cache::new(index).generation() != Some(record.generation) {
        return None;
    }
    let base = repo.resolve(&record.base_revision).ok()?;
    if base.to_string() != record.base {
        return None;
    }
    let is_same =
        |(name, digest): (&String, &String)| variable_digest(question.key, name, variable(name)) == *digest;
    if !record.pass_env.iter().all(is_same) {
        return None;
    }
    let sources = sources(question, &record.further)?;
    let has = |commit: &String| commit.parse::<CommitId>().is_ok_and(|commit| repo.has_commit(commit));
    if !record.commits.iter().all(has) {
        return None;
    }
    let mut artifacts = record.artifacts.iter();
    if !artifacts.all(|artifact| artifacts::is_sound(store, artifact, Check::Remember)) {
        return None;
    }
    if record.stages.iter().any(|(stage, _)| *stage >= record.outline.stages())
        || !repeats::are_there(store, &record.facts)
    {
        return None;
    }
    let workflow = Arc::new(record.outline.workflow(sources)?);
    let repeat = Repeat {
        facts: record.facts,
        stages: record.stages,
        heads: record.heads,
        sees_files: record.sees_files,
        _in_use: in_use,
    };
    Some(Request {
        plan: Plan::outline(workflow, record.inputs, record.width),
        file: question.file.to_string_lossy().into_owned(),
        base,
        base_revision: record.base_revision,
        options: question.options.clone(),
        resume: None,
        answers: IndexMap::new(),
        repeat: Some(repeat),
        remember: None,
    })
}

/// The texts of all files, if each is what it was.
fn sources(question: &Question, further: &IndexMap<String, String>) -> Option<Vec<Arc<Source>>> {
    let own = Source::new(&question.file, question.text.to_string());
    let mut sources: Vec<Arc<Source>> = vec![Arc::new(own)];
    let fetch = workflow::disk(&question.file);
    for (path, digest) in further {
        let path = Path::new(path);
        let bytes = fetch(path).ok()?;
        if Digest::of_bytes(&bytes).to_hex() != *digest {
            return None;
        }
        let text = String::from_utf8(bytes).ok()?;
        let start = sources.last().map_or(0, |last| last.start + last.text.len() + 1);
        sources.push(Arc::new(Source { path: path.to_owned(), text, start }));
    }
    Some(sources)
}

fn today() -> i64 {
    jiff::Timestamp::now().as_millisecond() / DAY
}

/// Of a copied variable: what it holds is not for others to read.
fn variable_digest(key: Digest, name: &str, value: Option<OsString>) -> String {
    let mut hasher = Hasher::new("repeat variable 1");
    hasher.field("question", key.as_bytes()).field("name", name.as_bytes());
    match &value {
        Some(value) => hasher.field("value", bytes(value)),
        None => hasher.field("unset", &[]),
    };
    hasher.finish().to_hex()
}

/// The answer to a question, once the run that gave it is over.
#[derive(Debug)]
pub struct Answer {
    question: Question,
    run: RunId,
    record: Record,
}

impl Answer {
    /// `stages` have ended in this order. `None` when the answer may be another one next time, or rests on something that
    /// is not looked at again.
    pub fn of(
        run: &RunContext,
        ended: &[Option<Ended>],
        stages: &[usize],
        generation: i64,
        saved_ms: u64,
    ) -> Option<Self> {
        let question = run.remember.clone()?;
        let workflow = &run.workflow;
        let has_own_needs = !workflow.all_secrets().is_empty() || !workflow.worktrees.copy.is_empty();
        if has_own_needs || workflow.source.text != *question.text {
            return None;
        }
        let is_plain = run.plan.instances.iter().all(|instance| {
            let node = &workflow.nodes[instance.node];
            instance.layer == Layer::Work && instance.role == Role::Run && is_plain(node)
        });
        let all: Vec<&Ended> = ended.iter().map(Option::as_ref).collect::<Option<_>>()?;
        let count = |outcome| all.iter().filter(|node| node.outcome == outcome).count();
        let cached = count(Outcome::Cached);
        if !is_plain || cached + count(Outcome::Skipped) != run.plan.instances.len() {
            return None;
        }
        let (mut commits, mut artifacts, mut seen) = (IndexSet::new(), Vec::new(), HashSet::new());
        for node in &all {
            for commit in node.result.commit.iter().chain(&node.result.heads) {
                commits.insert(commit.clone());
            }
            let new = node
                .result
                .artifacts
                .iter()
                .filter(|artifact| seen.insert((&artifact.digest, &artifact.link)));
            artifacts.extend(new.cloned());
        }
        let further = workflow.sources.iter().filter(|source| source.start > workflow.source.start);
        let facts = Repeats {
            run: run.id.clone(),
            length: 0,
            sum: String::new(),
            nodes: run.plan.instances.len(),
            cached,
            saved_ms,
        };
        let record = Record {
            question: question.key.to_hex(),
            generation,
            day: today(),
            facts,
            outline: Outline::of(workflow)?,
            inputs: run.plan.inputs.clone(),
            width: run.plan.width,
            base: run.base.to_string(),
            base_revision: run.base_revision.clone(),
            further: further
                .map(|source| {
                    Some((
                        source.path.to_str()?.to_owned(),
                        Digest::of_bytes(source.text.as_bytes()).to_hex(),
                    ))
                })
                .collect::<Option<_>>()?,
            pass_env: run
                .pass_env
                .iter()
                .map(|(name, value)| (name.clone(), variable_digest(question.key, name, value.clone())))
                .collect(),
            commits: commits.into_iter().collect(),
            artifacts,
            stages: stages.iter().map(|&stage| (stage, finish::frontier(run, ended, stage))).collect(),
            heads: finish::result_heads(run, ended),
            sees_files: workflow.sees_files(),
        };
        Some(Self { question, run: run.id.clone(), record })
    }

    /// Keeps it. One that cannot be kept costs time later, and nothing now.
    pub fn keep(mut self, store: &Store) {
        let Ok((length, sum)) = repeats::measure(store, &self.run) else { return };
        (self.record.facts.length, self.record.facts.sum) = (length, sum);
        self.record.write(&store.repeats_directory(), &self.question.path(store));
    }
}

/// Nothing of a node is looked at that does not lie in the workflow, its inputs, the base, copied variables and the index.
fn is_plain(node: &Node) -> bool {
    let names_run = |path: &NamePath| path.root() == "run";
    node.cache.tools.is_empty() && node.cache.ttl.is_none() && !node.when.references().iter().any(names_run)
}
