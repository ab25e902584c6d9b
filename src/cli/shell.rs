//! `spb shell`: a shell in a worktree with what a node had or left.

use std::ffi::OsString;

use super::{Context, Exit, Failure, load, node, out, resume};
use crate::engine::unknown::Answers;
use crate::engine::{Shared, copies, inner, prepare, setup};
use crate::event::NodeFinished;
use crate::git::{CommitId, Cone, Holder, Lease, LeaseRequest, Repo};
use crate::host;
use crate::process::Tool;
use crate::report::text;
use crate::store::Store;
use crate::store::runs::{self, RunState, RunView};

/// Open a shell with the files that a node had, or left
///
/// In a worktree of its own, with the node's environment but for its secrets. What is done there is thrown away when the
/// shell ends. The program is $SHELL; without a terminal, `sh` runs the commands of standard input.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb shell test                   with what the node left; for one that failed, with what it started from
  spb shell test k3f9 --base       with what it started from, in the run whose id holds `k3f9`
  echo 'cargo test' | spb shell build --result

The shell is told SPB_RUN, SPB_NODE (which names the shell, not the node), SPB_BASE and SPB_CACHE_DIR. Artifacts of other
nodes are not there.")]
pub struct Args {
    /// The node, or one instance of its matrix
    #[arg(value_name = "NODE")]
    pub node: String,
    /// The run: its id or a part of it [default: the newest]
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// The files that it started from
    #[arg(long, conflicts_with = "result")]
    pub base: bool,
    /// The files that it left
    #[arg(long)]
    pub result: bool,
}

/// Runs the verb.
///
/// # Errors
/// When there is no such run or node, it has no files, or the shell cannot be started or fails.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let (repository, store) = context.store()?;
    let view = runs::view(&store, &runs::find(&store, args.run.as_deref())?)?;
    if view.state() == RunState::Running {
        // Its engine ends whatever it finds of its run when it is done.
        return Err(Failure::environment(format!("run {} is still running", view.run))
            .with_help(format!("wait for it, or stop it: `spb cancel {}`", view.run)));
    }
    let finished = node::finished(&view, node::find(&view, &args.node)?)?;
    let repo = Repo::open(&repository)?;
    let base = node::base(&repo, &view, finished)?;
    let commit = commit(args, finished, base)?;
    let shared = look(context, &store, view.clone())?;
    let mut env = environment(&shared, &view, finished)?;
    let holder =
        Holder { run: view.run.to_string(), node: format!("shell-{}:{}", std::process::id(), finished.node) };
    let sweep = |holder: &Holder| {
        host::sweep(&holder.run, Some(&holder.node));
    };
    let pool = context.pool(&repository)?;
    let request = LeaseRequest { commit, holder: &holder, prefer: &finished.node, sweep: &sweep };
    let cone = Cone::new(&shared.runs[0].workflow.worktrees.sparse);
    let lease = pool.lease_part(&request, cone)?;
    for (name, value) in
        [("SPB_RUN", &holder.run), ("SPB_NODE", &holder.node), ("SPB_BASE", &base.to_string())]
    {
        env.push((name.into(), value.into()));
    }
    env.push(("SPB_CACHE_DIR".into(), shared.cache_directory.clone().into()));
    let code = bring_copies(&shared, &repo, &lease).and_then(|()| open(&lease, env, &finished.node));
    // What it left in the background must not write into the next node's files.
    sweep(&holder);
    lease.finish()?;
    match code? {
        0 => Ok(Exit::Done),
        code => {
            out::note(&format!("the shell ended with exit code {code}"));
            Ok(Exit::NodeFailed)
        }
    }
}

fn commit(args: &Args, finished: &NodeFinished, base: CommitId) -> Result<CommitId, Failure> {
    let own = node::own_commit(finished)?;
    if args.result && finished.result.is_none() {
        return Err(Failure::invalid(format!(
            "the node `{}` did not succeed, so it left nothing",
            finished.node
        ))
        .with_help("`--base` opens what it started from"));
    }
    Ok(if args.base { base } else { own.unwrap_or(base) })
}

/// The run as its engine saw it, without anything written.
fn look(context: &Context, store: &Store, view: RunView) -> Result<Shared, Failure> {
    let repository = context.repository()?;
    let request = resume::request(store, view, Answers::default())?;
    let (listener, _) = std::sync::mpsc::channel();
    let settings = load::settings(context, repository, std::slice::from_ref(&request), None, listener)?;
    Ok(setup::look(settings, vec![request])?)
}

/// What the node was told, with what its needs gave; no secrets.
fn environment(
    shared: &Shared,
    view: &RunView,
    finished: &NodeFinished,
) -> Result<Vec<(OsString, OsString)>, Failure> {
    let gone = || Failure::environment(format!("the workflow has no node `{}` any more", finished.node));
    let (run, instance, ended) = inner::find(&shared.runs[0], view, &finished.node).ok_or_else(gone)?;
    let prepared = prepare::prepare(&run, &run.plan.instances[instance], &ended, &[]);
    let prepared = prepared.map_err(|error| {
        Failure::environment(format!("cannot tell the environment of `{}`: {error}", finished.node))
    })?;
    Ok(shared.base_env.iter().cloned().chain(prepared.env).collect())
}

/// The files of `worktrees.copy`, as they are now. They go when the lease ends.
fn bring_copies(shared: &Shared, repo: &Repo, lease: &Lease) -> Result<(), Failure> {
    let Some(checkout) = &shared.repo.work_dir else { return Ok(()) };
    let tree = repo.tree_of(lease.commit())?;
    let is_tracked = |path| repo.has_file(tree, path).unwrap_or(false);
    let copied: Vec<_> = shared.runs[0].copies.iter().filter(|copied| !is_tracked(&copied.path)).collect();
    let paths: Vec<_> = copied.iter().map(|copied| copied.path.clone()).collect();
    lease.lend(&paths)?;
    copied
        .into_iter()
        .try_for_each(|copied| copies::put(copied, checkout, lease.path()).map_err(Failure::environment))
}

/// Runs the shell to its end; gives its exit code.
fn open(lease: &Lease, env: Vec<(OsString, OsString)>, node: &str) -> Result<i32, Failure> {
    let is_terminal = out::stdin_is_terminal();
    let own = env.iter().find(|(name, value)| name == "SHELL" && !value.is_empty()).filter(|_| is_terminal);
    let shell = own.map_or_else(|| OsString::from("sh"), |(_, shell)| shell.clone());
    if is_terminal {
        let place = lease.path().to_string_lossy();
        out::note(&format!("node `{}` in {}; leave with `exit`", text::line(node), text::line(&place)));
    }
    let tool = Tool::new(&shell).env_clear().directory(lease.path());
    let tool = env.into_iter().fold(tool, |tool, (name, value)| tool.env(name, value));
    tool.attach()
        .map_err(|error| Failure::environment(format!("cannot start `{}`: {error}", shell.to_string_lossy())))
}
