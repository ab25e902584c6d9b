//! Asks the person at the terminal what a run asks, once nothing else of it runs. Stands between the events and the
//! display, which is silent meanwhile; knows nothing of how a run is shown or carried on. An answer given elsewhere ends
//! the prompt.

use std::collections::HashSet;
use std::io::{BufRead, Write};

use super::Env;
use super::out;
use crate::engine::gate::Patience;
use crate::event::{LiveEvent, RunEvent};
use crate::host::terminal;
use crate::name::RunId;
use crate::report::{Runs, Sink, style, text};
use crate::store::Store;
use crate::store::decisions::{self, Decided, Decision, MAX_MESSAGE, Verdict};
use crate::store::recorder::Notice;

/// Whether there is a person to ask.
pub fn is_possible(env: &Env) -> bool {
    out::stdin_is_terminal() && out::stderr_is_terminal() && !env.ci
}

/// What becomes of the process when the person does not want to answer now.
pub enum Later {
    /// It waits for an answer from elsewhere.
    Stay,
    /// It ends.
    Leave(Patience),
}

/// A display that asks in between.
pub struct Prompt {
    display: Box<dyn Sink>,
    store: Store,
    by: String,
    later: Later,
    /// Nothing runs, so the terminal is free.
    is_free: bool,
    /// The question on the terminal.
    shown: Option<Place>,
    /// Answered here, or put off.
    done: HashSet<Place>,
}

/// Run, node, and which of its questions.
type Place = (RunId, String, u32);

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Answer(Verdict, &'a str),
    Later,
    Unclear,
}

impl Prompt {
    pub fn new(display: Box<dyn Sink>, store: Store, by: String, later: Later) -> Self {
        Self { display, store, by, later, is_free: false, shown: None, done: HashSet::new() }
    }

    fn put(&mut self, runs: &Runs) {
        let open = |place: &Place| !self.done.contains(place);
        let questions = runs.values().flat_map(|view| {
            view.unanswered().map(|(node, asked)| {
                ((view.run.clone(), node.to_owned(), asked.number), asked.message.as_str())
            })
        });
        let Some((place, message)) = questions.into_iter().find(|(place, _)| open(place)) else {
            self.is_free = false;
            return;
        };
        self.display.pause(runs);
        terminal::discard_input();
        say(&format!("\n{} asks: {}\n", style::bold(&text::line(&place.1)), text::block(message)));
        say(HOW);
        self.shown = Some(place);
    }

    /// Takes the line that was typed, if there is one.
    fn listen(&mut self) {
        let Some(place) = self.shown.clone() else { return };
        if !terminal::is_foreground() || !terminal::has_input() {
            return;
        }
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_until(b'\n', &mut bytes);
        // What ends without its line end was ended by Ctrl-D, or the terminal is gone.
        let is_over = read.is_err() || !bytes.ends_with(b"\n");
        let typed = String::from_utf8_lossy(&bytes).replace('\0', "");
        match meaning(&typed) {
            _ if is_over => self.put_off(),
            Line::Later => self.put_off(),
            Line::Unclear => say(HOW),
            Line::Answer(verdict, message) => self.answer(&place, verdict, message),
        }
    }

    fn answer(&mut self, place: &Place, verdict: Verdict, message: &str) {
        let (run, node, number) = place;
        let decision = Decision::now(node, *number, verdict, message, &self.by);
        match decisions::decide(&self.store, run, &decision) {
            Ok(Decided::Now) => {}
            Ok(Decided::Before(earlier)) => {
                let by = text::line(&earlier.by).into_owned();
                say(&format!("  it was already {} by {by}\n", earlier.verdict.word()));
            }
            Err(error) => {
                say(&format!("  the answer was not recorded: {}\n", text::line(&error.to_string())));
                return say(HOW);
            }
        }
        self.done.insert(place.clone());
        self.shown = None;
    }

    /// No answer from this terminal.
    fn put_off(&mut self) {
        say("\n");
        self.done.extend(self.shown.take());
        match &self.later {
            Later::Leave(patience) => {
                patience.end();
                self.is_free = false;
            }
            Later::Stay => say("  waiting for an answer by `spb approve` or `spb reject`\n"),
        }
    }

    /// Something happens again: the question, if it is still one, is put again when the terminal is free.
    fn withdraw(&mut self) {
        self.is_free = false;
        if self.shown.take().is_some() {
            // Half a line must not become a command of the shell.
            terminal::discard_input();
            say("\n");
        }
    }

    fn is_open(&self, runs: &Runs) -> bool {
        self.shown.as_ref().is_none_or(|(run, node, number)| {
            let view = runs.get(run);
            view.is_some_and(|view| {
                view.unanswered().any(|(id, asked)| id == node && asked.number == *number)
            })
        })
    }
}

impl Sink for Prompt {
    fn notice(&mut self, notice: &Notice, runs: &Runs) {
        match notice {
            Notice::Live(_, LiveEvent::OnlyAsks) => self.is_free = true,
            Notice::Live(_, LiveEvent::Output { .. }) => {}
            Notice::Fact(record) => {
                if matches!(record.event, RunEvent::NodeStarted { .. }) || !self.is_open(runs) {
                    self.withdraw();
                }
            }
        }
        self.display.notice(notice, runs);
    }

    fn idle(&mut self, runs: &Runs) {
        if self.is_free && self.shown.is_none() {
            self.put(runs);
        }
        if self.shown.is_some() {
            self.listen();
        } else {
            self.display.idle(runs);
        }
    }

    fn end(&mut self, runs: &Runs) {
        self.withdraw();
        self.display.end(runs);
    }
}

const HOW: &str = "  y or n, words may follow; Enter alone answers later > ";

fn say(words: &str) {
    let mut stderr = anstream::stderr();
    // Whoever does not listen misses it.
    drop(stderr.write_all(words.as_bytes()).and_then(|()| stderr.flush()));
}

fn meaning(line: &str) -> Line<'_> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match word.to_ascii_lowercase().as_str() {
        "" => Line::Later,
        _ if rest.len() > MAX_MESSAGE => Line::Unclear,
        "y" | "yes" => Line::Answer(Verdict::Approved, rest.trim()),
        "n" | "no" => Line::Answer(Verdict::Rejected, rest.trim()),
        _ => Line::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_word_is_an_answer() {
        for (line, expect) in [
            ("y\n", Line::Answer(Verdict::Approved, "")),
            (" YES  looks good \n", Line::Answer(Verdict::Approved, "looks good")),
            ("n", Line::Answer(Verdict::Rejected, "")),
            ("no, not now\n", Line::Unclear),
            ("no not now\n", Line::Answer(Verdict::Rejected, "not now")),
            ("\n", Line::Later),
            ("", Line::Later),
            ("yy\n", Line::Unclear),
            ("ship it\n", Line::Unclear),
        ] {
            assert_eq!(meaning(line), expect, "{line:?}");
        }
    }
}
