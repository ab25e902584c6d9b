//! Runs one task on this machine, from its start to the end of its whole process group. Knows nothing of nodes.
//!
//! Everything happens in one future: no helper task, no thread. The leader's exit decides the end: what else is in
//! its group is killed then, and a process that left the group but still holds the output is looked for by its
//! environment (`host::sweep`), so nothing can keep a finished task open. One that left the group and gave up the
//! output (a daemon; a background job of a shell with `set -m`), or emptied its environment, is not noticed here: who
//! runs the task looks for what it left (`host::orphans`).
//!
//! A timeout counts running time. The monotonic clock stands still while a Linux machine sleeps, and time is counted
//! in steps of a second of which each counts two at most: when the engine was stopped (Ctrl-Z) for an hour, its tasks
//! lose two seconds.

use std::future::pending;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::Instant;

use super::countdown::Countdown;
use super::output::{Output, Stream};
use super::pipes::{CHUNK, Pipes, pipe};
use super::{Ended, Finished, Stop, Task};
use crate::event::{Process, Usage};
use crate::host;
use crate::process::{Child, Exit, Start, StartError, Status};

/// How long the output may stay silent after the group was killed before a process outside it is suspected.
const QUIET: Duration = Duration::from_millis(100);
/// How long a process outside the group may keep writing after that.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long killed members of the group may take to be gone.
const GONE: Duration = Duration::from_secs(5);

/// Runs `task` to its end. `on_start` is called as soon as the process exists, `on_line` with masked lines for a live
/// display (cut, and thinned out when there are too many). Never fails: see [`Finished`].
pub async fn run(
    task: Task,
    mut stop: watch::Receiver<Stop>,
    on_start: impl FnOnce(Process) + Send,
    on_line: impl FnMut(&str) + Send,
) -> Finished {
    if *stop.borrow_and_update() != Stop::Run {
        return Finished::without_process(Ended::Stopped);
    }
    let output = match Output::new(&task, on_line) {
        Ok(output) => output,
        Err(error) => return not_started(&task, &error),
    };
    KILLS.known();
    let (child, pipes) = match start(&task) {
        Ok(started) => started,
        Err(error) => return not_started(&task, &error.to_string()),
    };
    let began = Instant::now();
    let pid = child.id();
    on_start(host::process(pid).unwrap_or_else(|| Process { pid, started: 0, boot: host::boot_id().into() }));
    let mut running = Running { child, pipes, output, buffer: Vec::with_capacity(CHUNK) };
    let ending = running.until_ended(&task, &mut stop).await;
    let duration = began.elapsed();
    running.finish(&task, ending, duration).await
}

fn not_started(task: &Task, why: &str) -> Finished {
    Finished::without_process(Ended::NotStarted(task.mask.apply(why).into_owned()))
}

/// A started task and what it has written so far.
struct Running<F> {
    child: Child,
    pipes: Pipes,
    output: Output<F>,
    buffer: Vec<u8>,
}

fn start(task: &Task) -> Result<(Child, Pipes), StartError> {
    let (out, out_end) = pipe()?;
    let (err, err_end) = task.stdout_file.as_ref().map(|_| pipe()).transpose()?.unzip();
    let child = Child::start(&Start {
        argv: &task.argv,
        env: &task.env,
        directory: &task.directory,
        stdout: out_end.as_fd(),
        stderr: err_end.as_ref().unwrap_or(&out_end).as_fd(),
    })?;
    Ok((child, Pipes { out: Some(out), err }))
}

impl<F: FnMut(&str) + Send> Running<F> {
    /// Reads the output until the leader has ended; stops it when it is time or we are told to. Returns that reason.
    async fn until_ended(&mut self, task: &Task, stop: &mut watch::Receiver<Stop>) -> Option<Ended> {
        let mut ladder = Ladder::new(task);
        let mut listening = true;
        loop {
            let wake = earliest(ladder.wake(), self.output.due().map(Instant::from_std));
            tokio::select! {
                biased;
                () = self.child.ended() => return ladder.why,
                changed = stop.changed(), if listening => {
                    listening = changed.is_ok();
                    let wanted = *stop.borrow_and_update();
                    ladder.stop(wanted, &self.child);
                }
                () = sleep_until(wake) => {
                    ladder.tick(&self.child);
                    self.output.show_due();
                }
                stream = self.pipes.read(&mut self.buffer) => self.take(stream),
            }
        }
    }

    fn take(&mut self, stream: Stream) {
        self.output.take(stream, &self.buffer);
        self.buffer.clear();
    }

    async fn finish(mut self, task: &Task, why: Option<Ended>, duration: Duration) -> Finished {
        self.child.signal_group(Signal::KILL);
        let exit = self.child.reap();
        self.read_rest().await;
        let escaped = if self.pipes.open() { self.hunt(task).await } else { 0 };
        self.wait_for_group().await;
        let left = self.output.finish();
        let ended = why.unwrap_or_else(|| ended(&exit));
        Finished {
            out_of_memory: matches!(ended, Ended::Signalled(9) | Ended::Exited(137)) && KILLS.has_new(),
            ended,
            duration,
            tail: left.tail,
            truncated: left.truncated,
            log_bytes: left.log_bytes,
            log_error: left.log_error,
            stdout_error: left.stdout_error,
            escaped,
            usage: exit.map_or_else(|_| Usage::default(), usage),
        }
    }

    /// Reads to the end of the output, or to where it has been silent for a while, or for too long.
    async fn read_rest(&mut self) {
        let began = Instant::now();
        while self.pipes.open() && began.elapsed() < LAST_WORDS {
            match tokio::time::timeout(QUIET, self.pipes.read(&mut self.buffer)).await {
                Ok(stream) => self.take(stream),
                Err(_) => break,
            }
        }
    }

    /// Someone outside the group holds our pipe.
    async fn hunt(&mut self, task: &Task) -> usize {
        let variable = |wanted: &str| {
            let found = task.env.iter().find(|(name, _)| name == wanted);
            found.and_then(|(_, value)| value.to_str()).map(str::to_owned)
        };
        let Some(run) = variable("SPB_RUN") else { return 0 };
        let node = variable("SPB_NODE");
        let sweep = tokio::task::spawn_blocking(move || host::sweep(&run, node.as_deref()));
        let escaped = sweep.await.unwrap_or(0);
        self.read_rest().await;
        escaped
    }

    /// Killed is not gone: a member may still be inside a write to the worktree.
    async fn wait_for_group(&self) {
        let began = Instant::now();
        let mut pause = Duration::from_millis(1);
        while self.child.group_remains() && began.elapsed() < GONE {
            tokio::time::sleep(pause).await;
            // Where nobody reaps orphans (a container without an init), a group of zombies remains for ever.
            if pause > Duration::from_millis(10) && !host::group_lives(self.child.id()) {
                break;
            }
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

fn ended(exit: &std::io::Result<Exit>) -> Ended {
    match exit {
        Ok(Exit { status: Status::Code(code), .. }) => Ended::Exited(*code),
        Ok(Exit { status: Status::Signal(signal), .. }) => Ended::Signalled(*signal),
        // Someone else reaped our child: how it ended cannot be known, so it is not a success.
        Err(_) => Ended::Signalled(0),
    }
}

fn usage(exit: Exit) -> Usage {
    let cpu_ms = u64::try_from(exit.cpu.as_millis()).unwrap_or(u64::MAX);
    Usage { cpu_ms, peak_memory: exit.peak_memory }
}

/// Kills for want of memory, which the kernel counts but does not attribute.
struct Kills {
    /// How many there were when the first task started, and those since that were taken to be of a task of ours.
    known: OnceLock<AtomicU64>,
}

static KILLS: Kills = Kills { known: OnceLock::new() };

impl Kills {
    fn known(&self) -> &AtomicU64 {
        self.known.get_or_init(|| AtomicU64::new(host::out_of_memory_kills().unwrap_or(u64::MAX)))
    }

    /// Whether there was one that explains a killed task; it then explains no other.
    fn has_new(&self) -> bool {
        let now = host::out_of_memory_kills().unwrap_or(0);
        self.known().fetch_update(Relaxed, Relaxed, |known| (known < now).then_some(known + 1)).is_ok()
    }
}

/// How a task is brought to its end: politely, then by force.
struct Ladder {
    why: Option<Ended>,
    /// The timeout, later the grace.
    countdown: Option<Countdown>,
    grace: Duration,
}

impl Ladder {
    fn new(task: &Task) -> Self {
        Self { why: None, countdown: task.timeout.map(Countdown::new), grace: task.grace }
    }

    fn wake(&self) -> Option<Instant> {
        self.countdown.as_ref().map(Countdown::wake)
    }

    fn tick(&mut self, child: &Child) {
        if self.countdown.as_mut().is_some_and(Countdown::is_over) {
            match self.why {
                None => self.ask(Ended::TimedOut, child),
                Some(_) => self.force(child),
            }
        }
    }

    fn stop(&mut self, wanted: Stop, child: &Child) {
        match wanted {
            Stop::Polite if self.why.is_none() => self.ask(Ended::Stopped, child),
            Stop::Run | Stop::Polite => {}
            Stop::Now => {
                self.why.get_or_insert(Ended::Stopped);
                self.force(child);
            }
        }
    }

    fn ask(&mut self, why: Ended, child: &Child) {
        self.why = Some(why);
        if self.grace.is_zero() {
            return self.force(child);
        }
        child.signal_group(Signal::TERM);
        // A stopped process takes the signal only when it goes on.
        child.signal_group(Signal::CONT);
        self.countdown = Some(Countdown::new(self.grace));
    }

    fn force(&mut self, child: &Child) {
        child.signal_group(Signal::KILL);
        self.countdown = None;
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => pending().await,
    }
}
