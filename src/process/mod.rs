//! Starts, signals and waits for processes. Knows nothing of nodes or workflows.

mod spawn;
mod start;

pub use spawn::{Child, Exit, Start, Status};
pub use start::StartError;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

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
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn()?;
        let feeder = match (self.input, child.stdin.take()) {
            (Some(bytes), Some(mut pipe)) => Some(std::thread::spawn(move || pipe.write_all(&bytes))),
            _ => None,
        };
        let output = child.wait_with_output()?;
        if let Some(feeder) = feeder {
            // A tool that does not read all of its input closes the pipe: its exit code tells.
            drop(feeder.join());
        }
        Ok(ToolOutput { code: exit_code(output.status), stdout: output.stdout, stderr: output.stderr })
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

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
