//! The display on a terminal: what ended scrolls by, what runs stays below with its time and its last line. The only
//! owner of indicatif. Draws to standard error, a few times a second at most.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines::{self, Marks};
use super::{Runs, Sink, style, text};
use crate::event::{LiveEvent, Outcome, RunEvent};
use crate::name::RunId;
use crate::store::recorder::Notice;
use crate::store::runs::RunView;

/// Least time between two drawings.
const FRAME: Duration = Duration::from_millis(100);
/// Most running nodes that are shown; the rest is counted.
const SHOWN: usize = 12;
/// Cached nodes of larger runs are counted only.
const SMALL: usize = 50;

/// Draws the progress of all runs.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    colours: Colours,
    marks: Marks,
    running: IndexMap<(RunId, String), Running>,
    /// Lines that wait to scroll by.
    ended: Vec<String>,
    drawn: Option<Instant>,
    shown: String,
    /// Nothing of it is on the terminal, which is someone else's.
    is_paused: bool,
    began: Instant,
    totals: HashMap<RunId, Totals>,
}

/// Whether the terminal shows colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    On,
    Off,
}

#[derive(Debug)]
struct Running {
    since: Instant,
    line: String,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    ended: usize,
    cached: usize,
    failed: usize,
}

impl Progress {
    /// Draws on standard error.
    pub fn new(colours: Colours, marks: Marks) -> Self {
        Self::on(ProgressDrawTarget::stderr_with_hz(60), colours, marks)
    }

    fn on(target: ProgressDrawTarget, colours: Colours, marks: Marks) -> Self {
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{msg}").expect("the template is valid"));
        Self {
            bar,
            colours,
            marks,
            running: IndexMap::new(),
            ended: Vec::new(),
            drawn: None,
            shown: String::new(),
            is_paused: false,
            began: Instant::now(),
            totals: HashMap::new(),
        }
    }

    fn fact(&mut self, record: &crate::event::Record, runs: &Runs) {
        match &record.event {
            RunEvent::NodeStarted { node, .. } => {
                let running = Running { since: Instant::now(), line: String::new() };
                self.running.insert((record.run.clone(), node.clone()), running);
                return;
            }
            RunEvent::NodeFinished(finished) => {
                self.running.shift_remove(&(record.run.clone(), finished.node.clone()));
                let totals = self.totals.entry(record.run.clone()).or_default();
                totals.ended += 1;
                totals.cached += usize::from(finished.outcome == Outcome::Cached);
                totals.failed += usize::from(finished.outcome.is_failure());
                let is_large = runs.get(&record.run).is_some_and(|view| view.nodes.len() > SMALL);
                if is_large && matches!(finished.outcome, Outcome::Cached | Outcome::Skipped) {
                    return;
                }
            }
            RunEvent::NodeSettling { node, .. } => {
                let running = Running { since: Instant::now(), line: String::new() };
                self.running.insert((record.run.clone(), node.clone()), running);
            }
            RunEvent::RunResumed { finished, .. } => {
                self.totals.entry(record.run.clone()).or_default().ended = *finished;
            }
            RunEvent::NodeRetry { node, .. } => {
                self.running.shift_remove(&(record.run.clone(), node.clone()));
            }
            RunEvent::RunStarted(started) => {
                if let Some(repeats) = &started.repeats {
                    let totals = Totals { ended: repeats.nodes, cached: repeats.cached, failed: 0 };
                    self.totals.insert(record.run.clone(), totals);
                }
            }
            RunEvent::NodeExpanded { .. }
            | RunEvent::ApprovalAsked { .. }
            | RunEvent::StageFinished { .. }
            | RunEvent::Warning { .. }
            | RunEvent::RunFinished(_) => {}
        }
        if let Some(line) = lines::line(record, runs, self.marks) {
            self.ended.push(line);
        }
    }

    /// The lower part: one line for each running node, one for everything.
    fn lower(&self, runs: &Runs, columns: usize) -> String {
        let several = runs.len() > 1;
        let name = |run: &RunId, node: &str| {
            let node = text::line(node);
            let workflow = runs.get(run).filter(|_| several).map(|view| text::line(&view.started.workflow));
            workflow.map(|workflow| format!("{workflow}/{node}")).unwrap_or_else(|| node.into_owned())
        };
        let shown = self.running.iter().take(SHOWN);
        let mut rows: Vec<String> = shown
            .map(|((run, node), running)| {
                let time = style::cyan(&format!("{:>7}", elapsed(running.since)));
                let row = format!("  {time} {}  {}", name(run, node), style::dim(&running.line));
                text::cut(row.trim_end(), columns).into_owned()
            })
            .collect();
        if self.running.len() > SHOWN {
            rows.push(style::dim(&format!("          and {} more", self.running.len() - SHOWN)));
        }
        rows.push(text::cut(&self.status(runs), columns).into_owned());
        rows.join("\n")
    }

    fn status(&self, runs: &Runs) -> String {
        let total: usize = runs.values().map(RunView::size).sum();
        let sum = |field: fn(&Totals) -> usize| self.totals.values().map(field).sum::<usize>();
        let mut parts =
            vec![format!("{} of {} done", sum(|totals| totals.ended), text::count(total, "node"))];
        parts.extend(
            Some(sum(|totals| totals.cached))
                .filter(|&number| number > 0)
                .map(|number| format!("{number} cached")),
        );
        let failed = Some(sum(|totals| totals.failed)).filter(|&number| number > 0);
        parts.extend(failed.map(|number| style::red(&format!("{number} failed"))));
        parts.push(format!("{} running", self.running.len()));
        let asking = runs.values().flat_map(RunView::unanswered).count();
        parts.extend(
            Some(asking)
                .filter(|&number| number > 0)
                .map(|number| style::yellow(&format!("{number} asking"))),
        );
        format!("  {:>7} {}", elapsed(self.began), parts.join(", "))
    }

    fn draw(&mut self, runs: &Runs) {
        let columns = usize::from(console::Term::stderr().size().1).saturating_sub(1).max(20);
        if std::mem::take(&mut self.is_paused) {
            self.shown.clear();
            self.bar.reset();
        }
        let lower = self.coloured(self.lower(runs, columns));
        // An unchanged picture is not drawn again: that would flicker.
        if lower != self.shown {
            self.bar.set_message(lower.clone());
            self.shown = lower;
        }
        self.scroll();
        self.drawn = Some(Instant::now());
    }

    /// Lets what ended scroll by, above the display.
    fn scroll(&mut self) {
        if !self.ended.is_empty() {
            let lines = std::mem::take(&mut self.ended).join("\n");
            self.bar.println(self.coloured(lines));
        }
    }

    fn coloured(&self, text: String) -> String {
        match self.colours {
            Colours::On => text,
            Colours::Off => anstream::adapter::strip_str(&text).to_string(),
        }
    }
}

impl Sink for Progress {
    fn notice(&mut self, notice: &Notice, runs: &Runs) {
        match notice {
            Notice::Fact(record) => self.fact(record, runs),
            Notice::Live(run, LiveEvent::Output { node, line }) => {
                let shown = text::line(text::last_shown(line));
                if let Some(running) = self.running.get_mut(&(run.clone(), node.clone()))
                    && !shown.trim().is_empty()
                {
                    running.line = shown.trim().to_owned();
                }
            }
            Notice::Live(_, LiveEvent::OnlyAsks) => {}
        }
    }

    fn idle(&mut self, runs: &Runs) {
        if !runs.is_empty() && self.drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME) {
            self.draw(runs);
        }
    }

    fn pause(&mut self, _runs: &Runs) {
        self.scroll();
        // Reset only when it is drawn again: that draws.
        self.bar.finish_and_clear();
        self.is_paused = true;
    }

    fn end(&mut self, _runs: &Runs) {
        self.scroll();
        self.bar.finish_and_clear();
    }
}

fn elapsed(since: Instant) -> String {
    let seconds = since.elapsed().as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{failing, folded, records, run_id};
    use super::*;

    #[test]
    fn the_display_shows_who_runs_with_the_last_line_and_counts_the_rest() {
        let mut progress = Progress::on(ProgressDrawTarget::hidden(), Colours::Off, Marks::Words);
        // Everything up to the start of `test`.
        let events: Vec<_> = failing().into_iter().take(10).collect();
        let runs = folded(events.clone());
        for record in records(events) {
            progress.notice(&Notice::Fact(record), &runs);
        }
        let line = "10%\r50% \u{1b}[2J of a line that is much longer than the terminal is wide";
        let output = LiveEvent::Output { node: "test".to_owned(), line: line.to_owned() };
        progress.notice(&Notice::Live(run_id(), output), &runs);
        let picture = progress.coloured(progress.lower(&runs, 40));
        insta::assert_snapshot!(picture, @r"
               0s test  50%  of a line that i...
               0s 3 of 5 nodes done, 1 cached...
        ");
        assert_eq!(progress.ended.len(), 6, "{:?}", progress.ended);
    }
}
