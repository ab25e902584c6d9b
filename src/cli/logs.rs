//! `spb logs`: what nodes printed. Writes nothing. Logs are masked when they are written; here they are only made safe for
//! a terminal.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Context, Exit, Failure, node, out};
use crate::disk::DiskError;
use crate::event::Outcome;
use crate::name::RunId;
use crate::report::{style, text};
use crate::store::Store;
use crate::store::runs::{self, NodeState, NodeView, RunState, RunView};
use crate::workflow::suggest::nearest;

/// Show what nodes printed
///
/// Without a node, the logs of all nodes of the run. A node that came from the cache shows the log of the run that made
/// its result.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  spb logs test                   a node of the newest run
  spb logs k3f9 test              a node of the run whose id holds `k3f9`
  spb logs scout                  all instances of its matrix
  spb logs test --attempt 1       an earlier attempt than the last
  spb logs test --follow          until the node ends
  spb logs test --raw | less -R   the bytes as they were written")]
pub struct Args {
    /// The run (its id or a part of it), the node, or both in this order
    #[arg(value_name = "RUN|NODE", num_args = 0..=2)]
    pub words: Vec<String>,
    /// This attempt instead of the last
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,
    /// Print the bytes as they were written, control characters and all
    #[arg(long)]
    pub raw: bool,
    /// Go on until the node or the run ends
    #[arg(short, long, conflicts_with = "attempt")]
    pub follow: bool,
}

/// Between two looks at files that grow.
const LOOK: Duration = Duration::from_millis(100);
/// How much of a log is held in memory.
const PIECE: usize = 128 * 1024;

/// Prints the logs.
///
/// # Errors
/// When the run, the node or the attempt does not exist, or a log cannot be read.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let (_, store) = context.store()?;
    let (view, node) = find(&store, &args.words)?;
    let names = chosen(&view, node.as_deref())?;
    let mut printer = Printer::new(args.raw, names.len() > 1);
    if args.follow {
        follow(&store, view, &names, &mut printer)?;
    } else {
        for name in &names {
            show(&store, &view, name, args.attempt, &mut printer)?;
        }
    }
    Ok(Exit::Done)
}

/// The run and the node that the words mean. One word is a node if the newest run has such a node.
fn find(store: &Store, words: &[String]) -> Result<(RunView, Option<String>), Failure> {
    let view = |name: Option<&str>| -> Result<RunView, Failure> {
        Ok(runs::view(store, &runs::find(store, name)?)?)
    };
    match words {
        [] => Ok((view(None)?, None)),
        [run, node, ..] => Ok((view(Some(run))?, Some(node.clone()))),
        [word] => {
            if let Ok(newest) = view(None)
                && !node::instances(&newest, word).is_empty()
            {
                return Ok((newest, Some(word.clone())));
            }
            match runs::find(store, Some(word)) {
                Ok(run) => Ok((runs::view(store, &run)?, None)),
                Err(runs::FindError::Unknown(_)) => Err(unknown(&view(None)?, word)),
                Err(error) => Err(error.into()),
            }
        }
    }
}

fn chosen(view: &RunView, name: Option<&str>) -> Result<Vec<String>, Failure> {
    let Some(name) = name else { return Ok(view.nodes.keys().cloned().collect()) };
    let found: Vec<String> =
        node::instances(view, name).into_iter().map(|node| node.summary.node.clone()).collect();
    if found.is_empty() { Err(unknown(view, name)) } else { Ok(found) }
}

fn unknown(view: &RunView, name: &str) -> Failure {
    let failure = Failure::invalid(format!("`{name}` is neither a run nor a node of run {}", view.run));
    match nearest(name, view.nodes.keys().map(String::as_str)) {
        Some(nearest) => failure.with_help(format!("did you mean `{nearest}`?")),
        None => failure.with_help("`spb runs` lists the runs, `spb status` the nodes"),
    }
}

/// Prints the log of one node, or says why there is none.
fn show(
    store: &Store,
    view: &RunView,
    name: &str,
    attempt: Option<u32>,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let Some(node) = view.nodes.get(name) else { return Ok(()) };
    let (run, logged) = place(view, name, node);
    let logs = runs::logs(store, &run, &logged);
    let found = match attempt {
        Some(wanted) => logs.iter().find(|(number, _)| *number == wanted),
        None => logs.last(),
    };
    match found {
        Some((number, path)) => {
            if run != view.run {
                out::note(&style::dim(&format!(
                    "`{}` came from the cache: this is the log of run {run}",
                    text::line(name)
                )));
            }
            printer.heading(name, *number)?;
            printer.file(path, 0).map(drop)
        }
        None if attempt.is_some() && !logs.is_empty() => {
            Err(Failure::invalid(format!("`{name}` has no such attempt"))
                .with_help(format!("it had {}", text::count(logs.len(), "attempt"))))
        }
        None => {
            if !printer.several {
                out::note(&style::dim(&absent(name, node)));
            }
            Ok(())
        }
    }
}

/// Where a node's log is: for a cached node, in the run that made its result.
fn place(view: &RunView, name: &str, node: &NodeView) -> (RunId, String) {
    match &node.state {
        NodeState::Finished(finished) => match &finished.log {
            Some(log) => (log.run.clone(), log.node.clone()),
            None => (view.run.clone(), name.to_owned()),
        },
        NodeState::Waiting | NodeState::Running | NodeState::Asking => (view.run.clone(), name.to_owned()),
    }
}

fn absent(name: &str, node: &NodeView) -> String {
    let name = text::line(name);
    match &node.state {
        NodeState::Waiting => format!("`{name}` has not started"),
        NodeState::Running => format!("`{name}` has printed nothing yet"),
        NodeState::Asking => {
            let question = node.asked.as_ref().map_or("", |asked| &asked.message);
            format!("`{name}` runs nothing, it asks: {}", text::line(question))
        }
        NodeState::Finished(finished) => match finished.outcome {
            _ if node.asked.is_some() => format!("`{name}` ran nothing: {}", text::line(&finished.message)),
            Outcome::Skipped | Outcome::Cancelled if finished.attempts == 0 => {
                format!("`{name}` did not run: {}", text::line(&finished.message))
            }
            Outcome::Cached if finished.remote => {
                format!("`{name}` came from the remote cache, and its log stayed where it ran")
            }
            Outcome::Cached => {
                format!("`{name}` came from the cache, and there is no log of the run that made it")
            }
            _ => format!("`{name}` printed nothing"),
        },
    }
}

/// Prints what is there and what comes, until everything chosen has ended.
fn follow(store: &Store, mut view: RunView, names: &[String], printer: &mut Printer) -> Result<(), Failure> {
    let mut printed: HashMap<PathBuf, u64> = HashMap::new();
    let mut length = 0;
    loop {
        // The state first: what was written before a node's end is then not missed.
        let now = std::fs::metadata(store.journal(&view.run)).map_or(0, |meta| meta.len());
        if now != length {
            view = runs::view(store, &view.run)?;
            length = now;
        }
        let over = view.state() != RunState::Running || names.iter().all(|name| has_ended(&view, name));
        for name in names {
            let Some(node) = view.nodes.get(name) else { continue };
            let (run, logged) = place(&view, name, node);
            for (attempt, path) in runs::logs(store, &run, &logged) {
                let from = printed.get(&path).copied().unwrap_or(0);
                if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > from) {
                    printer.heading(name, attempt)?;
                    let to = printer.file(&path, from)?;
                    printed.insert(path, to);
                }
            }
        }
        if over {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}

fn has_ended(view: &RunView, name: &str) -> bool {
    view.nodes.get(name).is_none_or(|node| matches!(node.state, NodeState::Finished(_)))
}

/// Standard output with what was printed last.
struct Printer {
    /// The bytes are made safe first.
    is_filtered: bool,
    several: bool,
    last: Option<(String, u32)>,
}

impl Printer {
    fn new(raw: bool, several: bool) -> Self {
        Self { is_filtered: !raw && out::stdout_is_terminal(), several, last: None }
    }

    /// Says whose output follows, if it is not clear.
    fn heading(&mut self, name: &str, attempt: u32) -> Result<(), Failure> {
        let this = (name.to_owned(), attempt);
        let is_new = self.last.as_ref() != Some(&this);
        let is_other_attempt = self.last.as_ref().is_some_and(|last| last.0 == name && last.1 != attempt);
        if is_new && (self.several || is_other_attempt) {
            let attempt = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
            let gap = if self.last.is_some() { "\n" } else { "" };
            out::print(&format!(
                "{gap}{}\n",
                style::bold(&format!("==> {}{attempt} <==", text::line(name)))
            ))?;
        }
        self.last = Some(this);
        Ok(())
    }

    /// Prints a file from an offset on and returns where it ended.
    fn file(&self, path: &Path, from: u64) -> Result<u64, Failure> {
        let fail = |source| Failure::from(DiskError::new("read the log", path, source));
        let mut file = File::open(path).map_err(fail)?;
        file.seek(SeekFrom::Start(from)).map_err(fail)?;
        let mut reader = BufReader::with_capacity(PIECE, file);
        let mut at = from;
        loop {
            let piece = if self.is_filtered {
                safe_piece(&mut reader)
            } else {
                reader.fill_buf().map(<[u8]>::to_vec)
            };
            let piece = piece.map_err(fail)?;
            if piece.is_empty() {
                return Ok(at);
            }
            at += piece.len() as u64;
            if self.is_filtered {
                out::print(&text::output(&piece))?;
            } else {
                reader.consume(piece.len());
                out::print_raw(&piece)?;
            }
        }
    }
}

/// Whole lines where they are not too long, so that no control sequence is cut in two.
fn safe_piece(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut piece = Vec::new();
    while piece.len() < PIECE {
        let room = (PIECE - piece.len()) as u64;
        let count = reader.take(room).read_until(b'\n', &mut piece)?;
        if count == 0 {
            break;
        }
    }
    Ok(piece)
}
