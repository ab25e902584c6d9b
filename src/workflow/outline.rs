//! What of a workflow still counts when every result of its nodes is known: its name, its stages, and what becomes of the
//! results. Enough to end a run, and small enough to be kept instead of the parsed file.

use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::expr::Template;
use super::model::{Commits, Into, Jobs, ResultSpec, Source, Workflow, Worktrees};

/// A workflow without its nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    name: String,
    env: IndexMap<String, String>,
    stages: Vec<String>,
    /// `None`: as many as are useful.
    jobs: Option<usize>,
    branch: String,
    message: String,
    is_squashed: bool,
}

impl Outline {
    /// `None` for a workflow that does more with its results than to put them on a branch.
    pub fn of(workflow: &Workflow) -> Option<Self> {
        let source = |template: &Template| {
            let text = template.source();
            let back = Template::compile(text).ok()?;
            // A text that only looks like an expression would not come back as what it is.
            (back.is_constant() == template.is_constant()).then(|| text.to_owned())
        };
        if workflow.result.into != Into::None {
            return None;
        }
        let mut env = IndexMap::new();
        for (name, template) in &workflow.env {
            env.insert(name.clone(), source(template)?);
        }
        Some(Self {
            name: workflow.name.clone(),
            env,
            stages: workflow.stages.clone(),
            jobs: match workflow.jobs {
                Jobs::Auto => None,
                Jobs::Count(count) => Some(count),
            },
            branch: source(&workflow.result.branch)?,
            message: source(&workflow.result.message)?,
            is_squashed: workflow.result.commits == Commits::Squash,
        })
    }

    pub fn stages(&self) -> usize {
        self.stages.len()
    }

    /// The workflow without nodes; `sources` are its own file and those that it includes. `None` when an expression is
    /// none.
    pub fn workflow(&self, sources: Vec<Arc<Source>>) -> Option<Workflow> {
        let mut env = IndexMap::new();
        for (name, text) in &self.env {
            env.insert(name.clone(), Template::compile(text).ok()?);
        }
        Some(Workflow {
            source: Arc::clone(sources.first()?),
            name: self.name.clone(),
            description: String::new(),
            inputs: IndexMap::new(),
            env,
            pass_env: Vec::new(),
            secrets: Vec::new(),
            stages: self.stages.clone(),
            jobs: self.jobs.map_or(Jobs::Auto, Jobs::Count),
            worktrees: Worktrees::default(),
            result: ResultSpec {
                from: Vec::new(),
                branch: Template::compile(&self.branch).ok()?,
                message: Template::compile(&self.message).ok()?,
                commits: if self.is_squashed { Commits::Squash } else { Commits::Keep },
                into: Into::None,
            },
            nodes: IndexMap::new(),
            outputs: IndexMap::new(),
            sources,
        })
    }
}
