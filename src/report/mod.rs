//! Shows events to people and programs. Knows nothing of the engine: it reads what the recorder tells.
//!
//! One thread folds every fact into the state of its run ([`Runs`]) and hands it to the sinks: [`progress`] on a
//! terminal, [`lines`] elsewhere, [`json`] for programs. [`summary`] is made from the state when all is over.

pub mod json;
pub mod lines;
pub mod next;
pub mod progress;
pub mod shape;
pub mod style;
pub mod summary;
pub mod table;
pub mod text;

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use indexmap::IndexMap;

use crate::event::RunEvent;
use crate::name::RunId;
use crate::store::recorder::Notice;
use crate::store::runs::RunView;

/// The state of every run of this process, in the order they began.
pub type Runs = IndexMap<RunId, RunView>;

/// Someone who is told everything, on the thread of the reports.
pub trait Sink: Send {
    /// Called once for each notice, after `runs` has taken it in.
    fn notice(&mut self, notice: &Notice, runs: &Runs);

    /// Nothing more is waiting, or time has passed: a moment to write out or to redraw.
    fn idle(&mut self, _runs: &Runs) {}

    /// Someone else writes to the terminal until the next notice or [`Sink::idle`].
    fn pause(&mut self, runs: &Runs) {
        self.idle(runs);
    }

    /// Nothing will follow.
    fn end(&mut self, _runs: &Runs) {}
}

/// How often [`Sink::idle`] is called while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// How many notices are taken before [`Sink::idle`] has its turn.
const BURST: usize = 500;

/// The thread that feeds the sinks.
#[derive(Debug)]
pub struct Consumer(JoinHandle<Runs>);

impl Consumer {
    /// Waits until the other side is closed and everything was shown; gives the final state of every run.
    pub fn join(self) -> Runs {
        self.0.join().unwrap_or_default()
    }
}

/// Starts to feed the sinks. `known` holds the runs that are resumed, as their journals tell them.
pub fn consume(receiver: Receiver<Notice>, mut sinks: Vec<Box<dyn Sink>>, known: Vec<RunView>) -> Consumer {
    let mut runs: Runs = known.into_iter().map(|view| (view.run.clone(), view)).collect();
    Consumer(std::thread::spawn(move || {
        while let Some(first) = next(&receiver, &mut sinks, &runs) {
            // A burst is shown together, but a flood does not keep the sinks from writing.
            for notice in std::iter::once(first).chain(receiver.try_iter().take(BURST)) {
                fold(&mut runs, &notice);
                sinks.iter_mut().for_each(|sink| sink.notice(&notice, &runs));
            }
            sinks.iter_mut().for_each(|sink| sink.idle(&runs));
        }
        sinks.iter_mut().for_each(|sink| sink.end(&runs));
        runs
    }))
}

fn next(receiver: &Receiver<Notice>, sinks: &mut [Box<dyn Sink>], runs: &Runs) -> Option<Notice> {
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(notice) => return Some(notice),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => sinks.iter_mut().for_each(|sink| sink.idle(runs)),
        }
    }
}

/// Takes a fact into the state of its run.
pub fn fold(runs: &mut Runs, notice: &Notice) {
    let Notice::Fact(record) = notice else { return };
    match (runs.get_mut(&record.run), &record.event) {
        (Some(view), _) => view.apply(record),
        (None, RunEvent::RunStarted(started)) => {
            runs.insert(record.run.clone(), RunView::new(record, started));
        }
        // A resumed run that the caller did not name: nothing is known of its plan.
        (None, _) => {}
    }
}

#[cfg(test)]
mod tests;
