//! Finds a program, and explains in plain words why a process could not be started. Starts nothing itself.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::spawn::Start;

/// Why a process could not be started, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("there is nothing to run: the command is empty")]
    Empty,
    #[error(
        "program `{program}` not found in the node's PATH ({path}): install it, correct the name, or set `env: {{ PATH: ... }}`"
    )]
    NotInPath { program: String, path: String },
    #[error("program `{}` does not exist", .0.display())]
    NoProgram(PathBuf),
    #[error(
        "`{}` may not be executed: `chmod +x` it, run it through its interpreter, or look for `noexec` on its file system",
        .0.display()
    )]
    NotExecutable(PathBuf),
    #[error("`{}` is a directory, not a program", .0.display())]
    IsDirectory(PathBuf),
    #[error("`{}` asks for the interpreter `{interpreter}`, which does not exist", program.display())]
    NoInterpreter { program: PathBuf, interpreter: String },
    #[error("`{}` needs a dynamic loader that does not exist: it was built for another system", .0.display())]
    NoLoader(PathBuf),
    #[error(
        "`{}` is not a program for this machine: wrong architecture, damaged, or a script without a `#!` line",
        .0.display()
    )]
    Format(PathBuf),
    #[error("working directory `{}` does not exist", .0.display())]
    NoDirectory(PathBuf),
    #[error("working directory `{}` is not a directory", .0.display())]
    NotADirectory(PathBuf),
    #[error("working directory `{}` may not be entered: permission denied", .0.display())]
    ClosedDirectory(PathBuf),
    #[error(
        "the command line and environment are too long for this system: {total} bytes in all (limit about {limit}), the longest is {largest} with {bytes} bytes (limit {STRING_LIMIT}); pass long values in a file"
    )]
    TooLong { total: usize, limit: u64, largest: String, bytes: usize },
    #[error("a NUL byte is in {0}, which no program can be given")]
    Nul(String),
    #[error(
        "no more processes may be started (`ulimit -u`, a cgroup's `pids.max`, or memory): run fewer nodes at once or raise the limit"
    )]
    ProcessLimit,
    #[error("too many open files (`ulimit -n`): run fewer nodes at once or raise the limit")]
    FileLimit,
    #[error("there is not enough memory to start a process: run fewer nodes at once")]
    Memory,
    #[error("`{}` is open for writing by another process (text file busy)", .0.display())]
    Busy(PathBuf),
    #[error("cannot start `{}`: {source}", program.display())]
    Other { program: PathBuf, source: io::Error },
}

/// Linux: MAX_ARG_STRLEN, 32 pages.
const STRING_LIMIT: usize = 32 * 4096;

impl StartError {
    /// A failure to make the pipes that a process needs.
    pub fn from_pipe(source: io::Error) -> Self {
        Self::from_limits(&source).unwrap_or(Self::Other { program: "pipe".into(), source })
    }

    pub(super) fn explain(source: io::Error, program: &Path, start: &Start<'_>) -> Self {
        if let Some(limit) = Self::from_limits(&source) {
            return limit;
        }
        if source.kind() == io::ErrorKind::InvalidInput && source.raw_os_error().is_none() {
            return Self::Nul(with_nul(start));
        }
        match directory_problem(start.directory) {
            Some(problem) => problem,
            None => Self::from_program(source, program, start),
        }
    }

    fn from_limits(source: &io::Error) -> Option<Self> {
        match source.raw_os_error()? {
            libc::EAGAIN => Some(Self::ProcessLimit),
            libc::ENOMEM => Some(Self::Memory),
            libc::EMFILE | libc::ENFILE => Some(Self::FileLimit),
            _ => None,
        }
    }

    fn from_program(source: io::Error, program: &Path, start: &Start<'_>) -> Self {
        let program = program.to_owned();
        match source.raw_os_error() {
            Some(libc::E2BIG) => too_long(start),
            Some(libc::ENOEXEC) => Self::Format(program),
            Some(libc::ETXTBSY) => Self::Busy(program),
            Some(libc::ENOENT) => match interpreter(&start.directory.join(&program)) {
                Some(interpreter) => Self::NoInterpreter { program, interpreter },
                None if start.directory.join(&program).exists() => Self::NoLoader(program),
                None => Self::NoProgram(program),
            },
            Some(libc::EACCES) => Self::NotExecutable(program),
            _ => Self::Other { program, source },
        }
    }
}

/// The program of `start`: as given when it has a `/`, else from the `PATH` of its environment. A relative one is
/// relative to the working directory, which the child enters before it looks for it.
pub(super) fn find_program(start: &Start<'_>) -> Result<PathBuf, StartError> {
    let program = start.argv.first().filter(|program| !program.is_empty()).ok_or(StartError::Empty)?;
    if program.as_bytes().contains(&b'/') {
        return executable(Path::new(program), start.directory).map(|()| PathBuf::from(program));
    }
    let path = start.env.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_os_str());
    let path = path.unwrap_or(OsStr::new("/usr/bin:/bin"));
    let mut refused = None;
    for folder in std::env::split_paths(path) {
        let candidate = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder }.join(program);
        match executable(&candidate, start.directory) {
            Ok(()) => return Ok(candidate),
            Err(error @ StartError::NotExecutable(_)) => refused = refused.or(Some(error)),
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or_else(|| StartError::NotInPath {
        program: program.to_string_lossy().into_owned(),
        path: path.to_string_lossy().into_owned(),
    }))
}

fn executable(program: &Path, directory: &Path) -> Result<(), StartError> {
    let place = directory.join(program);
    match rustix::fs::access(&place, rustix::fs::Access::EXEC_OK) {
        Ok(()) if place.is_dir() => Err(StartError::IsDirectory(program.to_owned())),
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::ACCESS) if place.exists() => {
            Err(StartError::NotExecutable(program.to_owned()))
        }
        Err(_) => Err(match directory_problem(directory) {
            Some(problem) => problem,
            None => StartError::NoProgram(program.to_owned()),
        }),
    }
}

fn directory_problem(directory: &Path) -> Option<StartError> {
    match std::fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(StartError::NoDirectory(directory.into()))
        }
        Ok(meta) if !meta.is_dir() => Some(StartError::NotADirectory(directory.into())),
        _ => match rustix::fs::access(directory, rustix::fs::Access::EXEC_OK) {
            Err(rustix::io::Errno::ACCESS) => Some(StartError::ClosedDirectory(directory.into())),
            _ => None,
        },
    }
}

/// The interpreter of a script that exists, when that one does not.
fn interpreter(program: &Path) -> Option<String> {
    let mut head = [0; 256];
    let length = std::fs::File::open(program).and_then(|mut file| file.read(&mut head)).ok()?;
    let line = head[..length].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let word = line.trim_ascii().split(|byte| byte.is_ascii_whitespace()).next()?;
    (!Path::new(OsStr::from_bytes(word)).exists()).then(|| String::from_utf8_lossy(word).into_owned())
}

fn too_long(start: &Start<'_>) -> StartError {
    let arguments =
        start.argv.iter().enumerate().map(|(place, word)| (format!("argument {place}"), word.len()));
    let variables = start.env.iter().map(|(name, value)| (variable(name), name.len() + 1 + value.len()));
    let sizes: Vec<_> = arguments.chain(variables).collect();
    // Each string costs its bytes, a NUL and a pointer.
    let total = sizes.iter().map(|(_, bytes)| bytes + 1 + size_of::<usize>()).sum();
    let (largest, bytes) = sizes.into_iter().max_by_key(|(_, bytes)| *bytes).unwrap_or_default();
    StartError::TooLong { total, limit: argument_limit(), largest, bytes }
}

/// Linux: a quarter of the stack limit, at least 128 KiB, at most 6 MiB.
fn argument_limit() -> u64 {
    let stack = rustix::process::getrlimit(rustix::process::Resource::Stack).current;
    (stack.unwrap_or(u64::MAX) / 4).clamp(128 << 10, 6 << 20)
}

fn with_nul(start: &Start<'_>) -> String {
    let has = |text: &OsString| text.as_bytes().contains(&0);
    if let Some(place) = start.argv.iter().position(has) {
        return format!("argument {place}");
    }
    let pair = start.env.iter().find(|(name, value)| has(name) || has(value));
    pair.map_or_else(|| "the working directory".into(), |(name, _)| variable(name))
}

fn variable(name: &OsStr) -> String {
    format!("environment variable `{}`", name.to_string_lossy())
}
