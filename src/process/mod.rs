//! Starts, signals and waits for processes. Knows nothing of nodes or workflows.

mod spawn;
mod start;

pub use spawn::{Child, Exit, Start, Status};
pub use start::StartError;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Most bytes of each stream of a tool that has a time limit.
pub const MAX_PRINTED: u64 = 1024 * 1024;

/// Between two looks at whether a tool has ended that closed its output.
const LOOK: Duration = Duration::from_millis(5);

/// A helper command that is run to its end, such as `git`: own process group (a Ctrl-C in the terminal is for us to
/// handle), no standard input unless given.
#[derive(Debug)]
pub struct Tool {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, Option<OsString>)>,
    is_environment_empty: bool,
    directory: Option<PathBuf>,
    input: Option<Vec<u8>>,
}

/// What a tool left.
#[derive(Debug)]
pub struct ToolOutput {
    /// Exit code; 128 + signal when a signal ended it.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Tool {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            is_environment_empty: false,
            directory: None,
            input: None,
        }
    }

    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Starts from an empty environment instead of ours.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.is_environment_empty = true;
        self
    }

    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), None));
        self
    }

    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    #[must_use]
    pub fn input(mut self, bytes: Vec<u8>) -> Self {
        self.input = Some(bytes);
        self
    }

    /// Runs it to its end. A non-zero exit is not an error here.
    ///
    /// # Errors
    /// When it cannot be started or its pipes fail.
    pub fn run(self) -> io::Result<ToolOutput> {
        let (child, feeder) = self.begin()?;
        ended(child, feeder)
    }

    /// The same, but no longer than `limit`: then it and whatever it started in its group is killed. For tools that are
    /// given or print much, such as `git fetch`.
    ///
    /// # Errors
    /// As [`Tool::run`], and `TimedOut`.
    pub fn run_or_kill(self, limit: Duration) -> io::Result<ToolOutput> {
        let (child, feeder) = self.begin()?;
        let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let (sender, receiver) = std::sync::mpsc::channel();
        let waiting = std::thread::Builder::new().spawn(move || sender.send(ended(child, feeder)).ok());
        if waiting.is_ok()
            && let Ok(done) = receiver.recv_timeout(limit)
        {
            return done;
        }
        if let Some(group) = group {
            // Nobody has waited for it, so that its number is still its own.
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
        waiting?;
        Err(io::Error::new(io::ErrorKind::TimedOut, "it did not end in time and was killed"))
    }

    fn begin(self) -> io::Result<(std::process::Child, Option<Feeder>)> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn()?;
        let feeder = match (self.input, child.stdin.take()) {
            (Some(bytes), Some(mut pipe)) => {
                let feeding = std::thread::Builder::new().spawn(move || pipe.write_all(&bytes));
                Some(feeding.or_else(|error| given_up(&mut child, error))?)
            }
            _ => None,
        };
        Ok((child, feeder))
    }

    /// Runs it to its end, at most so long; then its process group is killed, and there is no output. So too when it prints more
    /// than [`MAX_PRINTED`], or leaves a process behind that holds its output open. Gives it no input.
    ///
    /// # Errors
    /// When it cannot be started or its pipes fail.
    pub fn run_within(self, time: Duration) -> io::Result<Option<ToolOutput>> {
        let began = Instant::now();
        let mut command = self.command();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null()).spawn()?;
        let (printed, prints) = channel();
        for (number, pipe) in [
            child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ]
        .into_iter()
        .enumerate()
        {
            let (Some(mut pipe), printed) = (pipe, printed.clone()) else { continue };
            let reading = std::thread::Builder::new().spawn(move || {
                let mut bytes = Vec::new();
                let read = pipe.by_ref().take(MAX_PRINTED).read_to_end(&mut bytes);
                // One that has more to say is left waiting, and is out of time some day.
                let is_all = (bytes.len() as u64) < MAX_PRINTED;
                drop(printed.send((number, read.map(|_| bytes), is_all)));
                if !is_all {
                    io::copy(&mut pipe, &mut io::sink()).ok();
                }
            });
            reading.or_else(|error| given_up(&mut child, error))?;
        }
        let left = || time.checked_sub(began.elapsed()).unwrap_or_default();
        let mut output = [Vec::new(), Vec::new()];
        let mut complete = 0;
        while complete < 2
            && let Ok((number, bytes, true)) = prints.recv_timeout(left())
        {
            output[number] = bytes?;
            complete += 1;
        }
        loop {
            if complete == 2
                && let Some(status) = child.try_wait()?
            {
                let [stdout, stderr] = output;
                return Ok(Some(ToolOutput { code: exit_code(status), stdout, stderr }));
            }
            if complete < 2 || left().is_zero() {
                let group = rustix::process::Pid::from_child(&child);
                rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
                child.wait()?;
                return Ok(None);
            }
            std::thread::sleep(LOOK.min(left()));
        }
    }

    /// Runs it to its end on our own standard streams and in our process group, as a shell's child; gives its exit code.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn attach(self) -> io::Result<i32> {
        use std::os::unix::process::CommandExt;
        let mut command = self.command();
        // The group of the terminal: the one that may read from it. Set to our own, which `0` of `command` is not.
        let group = rustix::process::getpgrp().as_raw_nonzero().get();
        Ok(exit_code(command.process_group(group).status()?))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place that starts processes")]
    fn command(&self) -> std::process::Command {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.arguments).process_group(0);
        if self.is_environment_empty {
            command.env_clear();
        }
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }
}

type Feeder = std::thread::JoinHandle<io::Result<()>>;

/// Ends a tool for which there is no thread.
fn given_up<T>(child: &mut std::process::Child, error: io::Error) -> io::Result<T> {
    child.kill().and_then(|()| child.wait())?;
    Err(error)
}

fn ended(child: std::process::Child, feeder: Option<Feeder>) -> io::Result<ToolOutput> {
    let output = child.wait_with_output()?;
    if let Some(feeder) = feeder {
        // A tool that does not read all of its input closes the pipe: its exit code tells.
        drop(feeder.join());
    }
    Ok(ToolOutput { code: exit_code(output.status), stdout: output.stdout, stderr: output.stderr })
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(script: &str, time: Duration) -> Option<ToolOutput> {
        Tool::new("sh").args(["-c", script]).run_within(time).unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_tool_with_a_time_limit_gives_what_it_printed() {
        let output = within("echo out; echo err >&2; exit 3", LONG).unwrap();
        assert_eq!((output.code, &*output.stdout, &*output.stderr), (3, &b"out\n"[..], &b"err\n"[..]));
    }

    #[test]
    fn one_that_never_ends_or_never_stops_talking_gives_nothing() {
        let began = Instant::now();
        assert!(within("sleep 1000", Duration::from_millis(50)).is_none());
        assert!(within("sleep 1000 & echo left", Duration::from_millis(50)).is_none());
        assert!(within("exec >&- 2>&-; sleep 1000", Duration::from_millis(50)).is_none());
        assert!(within("yes", LONG).is_none());
        assert!(began.elapsed() < LONG);
    }
}
