//! `spb approve` and `spb reject`: answers what a gate asks. The answer is on disk before anything acts on it, whether an
//! engine works on the run or not.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Context, Exit, Failure, node, out, resume};
use crate::git::Repo;
use crate::name::RunId;
use crate::report::{next, text};
use crate::store::Store;
use crate::store::decisions::{self, Decided, Decision, MAX_MESSAGE, Verdict};
use crate::store::runs::{self, Asked, NodeState, RunState, RunView};

/// Say yes to what a run asks
///
/// Answers the question of a node with `approve`. The first answer counts. A run that still works takes it up by itself;
/// one that has ended with exit code 4 goes on with `spb resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb approve                       the only question there is
  spb approve k3f9 ship             the node `ship` of the run whose id holds `k3f9`
  spb approve ship -m \"looks good\"
  spb approve ship --resume         and carry on with the run at once")]
pub struct ApproveArgs {
    #[command(flatten)]
    pub answer: Args,
}

/// Say no to what a run asks
///
/// The node fails, and what needs it is skipped, unless its `when` says otherwise. `spb resume` asks again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb reject                        the only question there is
  spb reject k3f9 ship -m \"the numbers look wrong\"")]
pub struct RejectArgs {
    #[command(flatten)]
    pub answer: Args,
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run (its id or a part of it), the node, or both in this order [default: what asks, if only one does]
    #[arg(value_name = "RUN|NODE", num_args = 0..=2)]
    pub words: Vec<String>,
    /// Words for whoever reads the answer: dependents read them as `needs.<node>.outputs.message`
    #[arg(
        short,
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub message: String,
    /// Carry on with the run at once, as `spb resume` does, if nobody works on it
    #[arg(long)]
    pub resume: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "resume")]
    pub json: bool,
}

#[derive(Debug, Serialize)]
struct Answered<'a> {
    run: &'a str,
    node: &'a str,
    verdict: &'static str,
    message: &'a str,
    by: &'a str,
    time: &'a str,
    /// It was answered so before.
    before: bool,
    /// What the run is now.
    state: &'static str,
}

/// How long an engine has to take an answer up before we say that it is there.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// Runs the verb `approve`.
///
/// # Errors
/// When nothing, or more than one thing, is asked, it is answered otherwise, or the answer cannot be written.
pub fn approve(args: &ApproveArgs, context: &Context) -> Result<Exit, Failure> {
    run(&args.answer, Verdict::Approved, context)
}

/// Runs the verb `reject`.
///
/// # Errors
/// As [`approve`].
pub fn reject(args: &RejectArgs, context: &Context) -> Result<Exit, Failure> {
    run(&args.answer, Verdict::Rejected, context)
}

fn run(args: &Args, verdict: Verdict, context: &Context) -> Result<Exit, Failure> {
    if context.env.lookup("SPB_NODE").is_some() {
        return Err(Failure::invalid("a node of a run cannot answer for a person")
            .with_help("answer in a terminal of your own"));
    }
    if args.message.len() > MAX_MESSAGE {
        return Err(Failure::invalid(format!("the message is longer than {MAX_MESSAGE} bytes")));
    }
    let (repository, store) = context.store()?;
    let (view, name) = find(&store, &args.words)?;
    let (id, asked) = question(&view, name.as_deref())?;
    refuse_expired(&view, id, asked)?;
    let by = person(context, &Repo::open(&repository)?);
    let decision = Decision::now(id, asked.number, verdict, &args.message, &by);
    let (decision, before) = match decisions::decide(&store, &view.run, &decision)? {
        Decided::Now => (decision, false),
        Decided::Before(earlier) if earlier.verdict == verdict => (earlier, true),
        Decided::Before(earlier) => return Err(answered_before(&view.run, &earlier)),
    };
    let state = wait_for_engine(&store, &view, id)?;
    if args.json {
        out::json(&Answered {
            run: view.run.as_str(),
            node: id,
            verdict: decision.verdict.word(),
            message: &decision.message,
            by: &decision.by,
            time: &decision.time,
            before,
            state: state.word(),
        })?;
        return Ok(Exit::Done);
    }
    let was = if before { "was already " } else { "" };
    out::print(&format!(
        "`{}` of run {} {was}{} by {}; {}\n",
        text::line(id),
        view.run,
        decision.verdict.word(),
        text::line(&decision.by),
        what_follows(&view.run, state, args.resume),
    ))?;
    if args.resume && !matches!(state, RunState::Running | RunState::Succeeded) {
        let args = resume::Args { run: Some(view.run.to_string()), ..resume::Args::default() };
        return resume::run(&args, context);
    }
    Ok(Exit::Done)
}

fn what_follows(run: &RunId, state: RunState, resumes: bool) -> String {
    match state {
        RunState::Running => "the run goes on".to_owned(),
        RunState::Succeeded | RunState::Failed => format!("the run has {}", state.word()),
        _ if resumes => "carrying on".to_owned(),
        RunState::Interrupted | RunState::Cancelled | RunState::Waiting => {
            format!("`spb resume {run}` carries on")
        }
    }
}

/// Who answers: the name that git knows, else the user's.
pub fn person(context: &Context, repo: &Repo) -> String {
    let user = || Some(context.env.lookup("USER")?.to_string_lossy().into_owned());
    repo.user_name().or_else(user).filter(|name| !name.is_empty()).unwrap_or_else(|| "somebody".to_owned())
}

/// The run and the node that the words mean. One word is a node if the newest run that asks has such a question.
fn find(store: &Store, words: &[String]) -> Result<(RunView, Option<String>), Failure> {
    let view =
        |name: &str| -> Result<RunView, Failure> { Ok(runs::view(store, &runs::find(store, Some(name))?)?) };
    match words {
        [] => Ok((newest(store)?, None)),
        [run, node, ..] => Ok((view(run)?, Some(node.clone()))),
        [word] => match newest(store) {
            Ok(newest) if !node::instances(&newest, word).is_empty() => Ok((newest, Some(word.clone()))),
            _ => match runs::find(store, Some(word)) {
                Ok(run) => Ok((runs::view(store, &run)?, None)),
                // A node that asks nothing now: why is said below.
                Err(unknown) => match view("latest") {
                    Ok(latest) if !node::instances(&latest, word).is_empty() => {
                        Ok((latest, Some(word.clone())))
                    }
                    _ => Err(unknown.into()),
                },
            },
        },
    }
}

/// The newest run with a question that nobody has answered, else one whose answer no engine has taken up.
fn newest(store: &Store) -> Result<RunView, Failure> {
    let mut answered = None;
    for run in runs::list(store) {
        let Ok(view) = runs::view(store, &run) else { continue };
        if view.unanswered().next().is_some() {
            return Ok(view);
        }
        if answered.is_none() && view.questions().next().is_some() {
            answered = Some(view);
        }
    }
    answered.ok_or_else(|| {
        Failure::invalid("no run asks anything").with_help("`spb runs` lists the runs and their states")
    })
}

/// The one question that is meant.
fn question<'v>(view: &'v RunView, name: Option<&str>) -> Result<(&'v str, &'v Asked), Failure> {
    let Some(name) = name else {
        let unanswered: Vec<_> = view.unanswered().collect();
        let mut all: Vec<_> = view.questions().collect();
        return match (unanswered.as_slice(), all.as_slice()) {
            ([one], _) => Ok(*one),
            ([], [_]) => Ok(all.remove(0)),
            ([], []) => Err(Failure::invalid(format!("run {} asks nothing", view.run))
                .with_help(format!("`spb status {}` shows where it is", view.run))),
            _ => Err(Failure::invalid(format!("run {} asks several questions", view.run))
                .with_help(format!("name the node: {}", asking(view)))),
        };
    };
    let meant = node::instances(view, name);
    if meant.is_empty() {
        return Err(node::unknown(view, name));
    }
    let questions: Vec<_> =
        view.questions().filter(|(id, _)| meant.iter().any(|node| node.summary.node == *id)).collect();
    let exact = questions.iter().find(|(id, _)| *id == name);
    match (exact, questions.as_slice()) {
        (Some(one), _) => Ok(*one),
        (None, [one]) => Ok(*one),
        (None, []) => Err(not_asked(view, name)),
        (None, _) => Err(Failure::invalid(format!("several instances of `{name}` ask in run {}", view.run))
            .with_help(format!("name one of them: {}", asking(view)))),
    }
}

/// Why there is nothing to answer at this node.
fn not_asked(view: &RunView, name: &str) -> Failure {
    let states = node::instances(view, name);
    let why = match states.first().map(|node| (&node.state, node.asked.is_some())) {
        Some((NodeState::Finished(finished), true)) => format!("has its answer: {}", finished.message),
        Some((NodeState::Finished(finished), false)) => {
            format!("asks nothing: it has ended ({})", finished.outcome.word().replace('_', " "))
        }
        Some((NodeState::Running, _)) => "asks nothing: it runs".to_owned(),
        _ => "has not asked anything yet".to_owned(),
    };
    let failure = Failure::invalid(format!("`{name}` of run {} {why}", view.run));
    if view.questions().next().is_none() {
        return failure
            .with_help(format!("nothing of this run asks; `spb status {}` shows where it is", view.run));
    }
    failure.with_help(format!("what asks: {}", asking(view)))
}

/// The nodes that ask, for a person.
fn asking(view: &RunView) -> String {
    view.questions().take(10).map(|(id, _)| format!("`{}`", next::quoted(id))).collect::<Vec<_>>().join(", ")
}

fn refuse_expired(view: &RunView, id: &str, asked: &Asked) -> Result<(), Failure> {
    let until = asked.until.as_ref().and_then(|until| until.parse::<jiff::Timestamp>().ok());
    match until {
        Some(until) if until <= jiff::Timestamp::now() && asked.answer.is_none() => {
            Err(Failure::invalid(format!(
                "the question of `{id}` of run {} has expired, {}",
                view.run,
                text::local_time(&until.to_string())
            ))
            .with_help(format!("`spb resume {}` goes on without an answer", view.run)))
        }
        _ => Ok(()),
    }
}

fn answered_before(run: &RunId, earlier: &Decision) -> Failure {
    let by = if earlier.by.is_empty() { String::new() } else { format!(" by {}", earlier.by) };
    let said = if earlier.message.is_empty() { String::new() } else { format!(": {}", earlier.message) };
    Failure::invalid(format!(
        "`{}` of run {run} was already {}{by}, {}{said}",
        earlier.node,
        earlier.verdict.word(),
        text::local_time(&earlier.time),
    ))
    .with_help("the first answer counts")
}

/// The state of the run once its engine, if there is one, has taken the answer up or is gone.
fn wait_for_engine(store: &Store, before: &RunView, id: &str) -> Result<RunState, Failure> {
    let began = Instant::now();
    let mut state = before.state();
    while state == RunState::Running {
        let view = runs::view(store, &before.run)?;
        state = view.state();
        if view.questions().all(|(node, _)| node != id) || began.elapsed() > PATIENCE {
            break;
        }
        std::thread::sleep(LOOK);
    }
    Ok(state)
}
