//! Runs a command and stops it at the K-th of some system calls, counted over all of its threads and the git commands it
//! starts: kills it there, or lets that one call fail. Seccomp hands the calls to a tracer, so that the count is exact and
//! everything else runs at full speed. Knows nothing of what the command does.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};

use crate::common::PATIENCE;

/// Which calls are counted: those that make something durable, give or take a name, or make or change a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sync,
    Name,
    Directory,
    Write,
    OpenToWrite,
    OpenToRead,
}

#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// SIGKILL to the command alone: what it started lives on.
    Kill,
    /// SIGKILL to the command and everything that it started.
    KillAll,
    /// The call is not made and gives this error.
    Fail(i32),
}

/// What to do, and at which call below a directory, from 1.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    pub below: &'a Path,
    pub kinds: &'a [Kind],
    pub at: u64,
    pub act: Act,
}

/// How it went.
#[derive(Debug)]
pub struct Seen {
    /// Exit code, or -signal.
    pub code: i32,
    /// Counted calls.
    pub steps: u64,
    /// The call that was acted on.
    pub hit: Option<String>,
    pub stdout: String,
    pub stderr: String,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, steps, hit, stdout, stderr } = self;
        write!(f, "--- {code} after {steps} steps, at {hit:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// Runs it to its end. `None`: processes may not be traced here.
pub fn run(mut command: Command, plan: &Plan<'_>) -> Option<Seen> {
    let outputs = ["stdout", "stderr"].map(|name| plan.below.join(format!(".steps-{name}")));
    let [stdout, stderr] = outputs.each_ref().map(|path| File::create(path).unwrap());
    command.stdout(stdout).stderr(stderr);
    let below = plan.below.to_owned();
    let (kinds, at, act) = (plan.kinds.to_vec(), plan.at, plan.act);
    let (sender, receiver) = channel();
    // A tracer is a thread; this one stays until the last orphan has ended.
    std::thread::spawn(move || {
        if let Some(root) = start(&mut command) {
            Tracer { root, below, kinds, at, act, steps: 0, hit: None, known: HashSet::new() }.serve(&sender);
        }
    });
    let ended = receiver.recv_timeout(PATIENCE);
    let text = |path: &PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let [stdout, stderr] = outputs.each_ref().map(text);
    match ended {
        Ok((code, steps, hit)) => Some(Seen { code, steps, hit, stdout, stderr }),
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
        Err(_) => panic!("no end within {PATIENCE:?} {plan:?}\n{stdout}\n{stderr}"),
    }
}

const CALLS: &[i64] = &[
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_syncfs,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rmdir,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_ftruncate,
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_open,
    libc::SYS_openat,
];

/// Starts it so that each of [`CALLS`] stops it.
fn start(command: &mut Command) -> Option<i32> {
    let statement = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for (place, call) in CALLS.iter().enumerate() {
        let to_end = (CALLS.len() - place) as u8;
        filter.push(statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, to_end, 0, *call as u32));
    }
    filter.push(statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    filter.push(statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_TRACE));
    let prepare = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        // SAFETY: plain system calls; the program and its filter live until they return.
        let done = unsafe {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
        };
        if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: `prepare` only makes system calls.
    unsafe { command.pre_exec(prepare) };
    let child = command.process_group(0).spawn().ok()?;
    let pid = child.id() as i32;
    wait(pid);
    let options = libc::PTRACE_O_TRACESECCOMP
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_EXITKILL;
    // SAFETY: the process is stopped and ours.
    unsafe {
        libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0, options);
        libc::ptrace(libc::PTRACE_CONT, pid, 0, 0);
    }
    Some(pid)
}

/// The next thing that happened to one of this thread's processes.
fn wait(pid: i32) -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: the status is ours.
    let found = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | 0x2000_0000) };
    (found > 0).then_some((found, status))
}

type Ended = (i32, u64, Option<String>);

struct Tracer {
    root: i32,
    below: PathBuf,
    kinds: Vec<Kind>,
    at: u64,
    act: Act,
    steps: u64,
    hit: Option<String>,
    known: HashSet<i32>,
}

impl Tracer {
    fn serve(mut self, ended: &Sender<Ended>) {
        self.known.insert(self.root);
        while let Some((pid, status)) = wait(-1) {
            if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                self.known.remove(&pid);
                if pid == self.root {
                    let code = if libc::WIFEXITED(status) {
                        libc::WEXITSTATUS(status)
                    } else {
                        -libc::WTERMSIG(status)
                    };
                    ended.send((code, self.steps, self.hit.clone())).ok();
                }
                continue;
            }
            let signal = self.stopped(pid, status);
            // SAFETY: the thread is stopped and ours.
            unsafe { libc::ptrace(libc::PTRACE_CONT, pid, 0, i64::from(signal)) };
        }
    }

    /// Deals with a stop. Returns the signal that the thread is to get.
    fn stopped(&mut self, pid: i32, status: i32) -> i32 {
        let is_new = self.known.insert(pid);
        match (libc::WSTOPSIG(status), status >> 16) {
            (libc::SIGTRAP, libc::PTRACE_EVENT_SECCOMP) => {
                self.call(pid);
                0
            }
            (libc::SIGTRAP, event) if event != 0 => 0,
            (libc::SIGTRAP, _) => 0,
            (libc::SIGSTOP, _) if is_new => 0,
            (signal, _) => signal,
        }
    }

    fn call(&mut self, pid: i32) {
        // SAFETY: registers are plain numbers.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: the thread is stopped and ours, and the structure is what the kernel fills.
        unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0, &raw mut registers) };
        let Some(what) = self.counts(pid, &registers) else { return };
        self.steps += 1;
        if self.steps != self.at {
            return;
        }
        self.hit = Some(what);
        match self.act {
            Act::Kill => kill(self.root),
            Act::KillAll => self.known.iter().for_each(|&pid| kill(pid)),
            Act::Fail(error) => {
                registers.orig_rax = u64::MAX;
                registers.rax = (-i64::from(error)) as u64;
                // SAFETY: as above.
                unsafe { libc::ptrace(libc::PTRACE_SETREGS, pid, 0, &raw const registers) };
            }
        }
    }

    /// Says what the call is, if it is one of those that count.
    fn counts(&self, pid: i32, registers: &libc::user_regs_struct) -> Option<String> {
        let arguments = [registers.rdi, registers.rsi, registers.rdx];
        let at = |directory: usize| path_at(pid, Some(arguments[directory]), arguments[directory + 1]);
        let open = |flags: u64| match flags as i32 & (libc::O_ACCMODE | libc::O_CREAT) {
            libc::O_RDONLY => Kind::OpenToRead,
            _ => Kind::OpenToWrite,
        };
        let (kind, name, path) = match registers.orig_rax as i64 {
            libc::SYS_fsync => (Kind::Sync, "fsync", file(pid, arguments[0])),
            libc::SYS_fdatasync => (Kind::Sync, "fdatasync", file(pid, arguments[0])),
            libc::SYS_syncfs => (Kind::Sync, "syncfs", file(pid, arguments[0])),
            libc::SYS_rename => (Kind::Name, "rename", path_at(pid, None, arguments[1])),
            libc::SYS_renameat | libc::SYS_renameat2 => {
                (Kind::Name, "rename", path_at(pid, Some(arguments[2]), registers.r10))
            }
            libc::SYS_link => (Kind::Name, "link", path_at(pid, None, arguments[1])),
            libc::SYS_linkat => (Kind::Name, "link", path_at(pid, Some(arguments[2]), registers.r10)),
            libc::SYS_unlink => (Kind::Name, "unlink", path_at(pid, None, arguments[0])),
            libc::SYS_rmdir => (Kind::Name, "rmdir", path_at(pid, None, arguments[0])),
            libc::SYS_unlinkat => (Kind::Name, "unlink", at(0)),
            libc::SYS_mkdir => (Kind::Directory, "mkdir", path_at(pid, None, arguments[0])),
            libc::SYS_mkdirat => (Kind::Directory, "mkdir", at(0)),
            libc::SYS_ftruncate => (Kind::Write, "truncate", file(pid, arguments[0])),
            libc::SYS_write | libc::SYS_pwrite64 => (Kind::Write, "write", file(pid, arguments[0])),
            libc::SYS_open => (open(arguments[1]), "open", path_at(pid, None, arguments[0])),
            libc::SYS_openat => (open(arguments[2]), "open", at(0)),
            _ => return None,
        };
        let path = path?;
        let is_ours = path.strip_prefix(&self.below).is_ok_and(|path| {
            let mut parts = path.components();
            parts.next().is_some_and(|first| !first.as_os_str().as_encoded_bytes().starts_with(b".steps-"))
        });
        // What nodes do to their own files is not ours.
        let is_engine = || group_of(pid) == Some(self.root) || name_of(pid).starts_with("git");
        (self.kinds.contains(&kind) && is_ours && is_engine()).then(|| format!("{name} {}", path.display()))
    }
}

fn kill(pid: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

fn group_of(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

fn name_of(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

fn file(pid: i32, number: u64) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/fd/{}", number as i32)).ok()
}

/// A path in the memory of a process, made absolute.
fn path_at(pid: i32, directory: Option<u64>, address: u64) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let mut memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    memory.seek(SeekFrom::Start(address)).ok()?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 64];
    while !bytes.contains(&0) && bytes.len() < 8192 {
        let count = memory.read(&mut chunk).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
    }
    bytes.truncate(bytes.iter().position(|byte| *byte == 0)?);
    let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
    if path.is_absolute() {
        return Some(path);
    }
    let base = match directory.map(|directory| directory as i32) {
        None | Some(libc::AT_FDCWD) => std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?,
        Some(directory) => file(pid, directory as u64)?,
    };
    Some(base.join(path))
}
