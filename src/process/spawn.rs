//! Starts a node's process and reaps it: `posix_spawn` into a session of its own, an exit that can be awaited, and
//! the resources used. Knows nothing of output, timeouts or nodes.
//!
//! `std::process` is not used here because it cannot start a session without `fork` (slow in a large process), looks
//! the program up in *our* `PATH`, and does not tell what the child used. A session rather than a mere process group
//! keeps the child away from the terminal: a node that asks for a password on `/dev/tty` fails at once instead of
//! being stopped for ever.

use std::ffi::{CString, OsString, c_char};
use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Once;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::start::{StartError, find_program};

/// What to start.
#[derive(Debug)]
pub struct Start<'a> {
    /// Program and arguments. A program without `/` is looked up in the `PATH` of `env`.
    pub argv: &'a [OsString],
    /// The whole environment: nothing is inherited.
    pub env: &'a [(OsString, OsString)],
    pub directory: &'a Path,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
}

/// A started process that leads its own session and group. When dropped before [`Child::reap`], the group is killed.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    reaped: bool,
    exit: ExitNotice,
}

/// How a process ended and what it used, its own reaped children included.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    pub status: Status,
    /// User and system time.
    pub cpu: Duration,
    /// Largest resident size of one process, bytes.
    pub peak_memory: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Code(i32),
    Signal(i32),
}

/// How we learn of the exit.
#[derive(Debug)]
enum ExitNotice {
    /// Linux: readable when the process has ended.
    Pidfd(AsyncFd<OwnedFd>),
    /// No pidfd here, or no file descriptor left for one: a thread waits.
    Thread(tokio::task::JoinHandle<()>),
}

impl Child {
    /// Starts a process with an empty standard input. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] says in plain words what is wrong and what to do.
    pub fn start(start: &Start<'_>) -> Result<Self, StartError> {
        let program = find_program(start)?;
        keep_children_waitable();
        let pid =
            spawn_patiently(&program, start).map_err(|error| StartError::explain(error, &program, start))?;
        Ok(Self { pid, reaped: false, exit: exit_notice(pid) })
    }

    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Signals the whole group. The group exists as long as the leader is not reaped.
    pub fn signal_group(&self, signal: Signal) {
        if !self.reaped {
            // The only failure is that nobody in the group may be signalled, such as a set-user-id program.
            let _ = rustix::process::kill_process_group(self.pid, signal);
        }
    }

    /// Waits until the leader has ended. It stays unreaped, so its id cannot be given to a stranger.
    pub async fn ended(&mut self) {
        poll_fn(|context| match &mut self.exit {
            ExitNotice::Pidfd(pidfd) => pidfd.poll_read_ready(context).map(|_| ()),
            ExitNotice::Thread(waiting) => Pin::new(waiting).poll(context).map(|_| ()),
        })
        .await;
    }

    /// Takes the exit status; blocks when the process has not ended.
    ///
    /// # Errors
    /// When someone else reaped the process.
    pub fn reap(&mut self) -> io::Result<Exit> {
        let exit = wait4(self.pid);
        self.reaped = true;
        exit
    }

    /// Whether the group still has a member after the leader was reaped (a zombie counts).
    pub fn group_remains(&self) -> bool {
        rustix::process::test_kill_process_group(self.pid).is_ok()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal_group(Signal::KILL);
            let _ = wait4(self.pid);
        }
    }
}

fn exit_notice(pid: Pid) -> ExitNotice {
    #[cfg(target_os = "linux")]
    if let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        // SAFETY: an `OwnedFd` keeps one open file for as long as it lives.
        && let Ok(pidfd) = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }
    {
        return ExitNotice::Pidfd(pidfd);
    }
    wait_in_thread(pid)
}

fn wait_in_thread(pid: Pid) -> ExitNotice {
    ExitNotice::Thread(tokio::task::spawn_blocking(move || {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
    }))
}

#[cfg(target_os = "linux")]
const OWN_SESSION: libc::c_short = libc::POSIX_SPAWN_SETSID;
#[cfg(not(target_os = "linux"))]
const OWN_SESSION: libc::c_short = libc::POSIX_SPAWN_SETPGROUP as libc::c_short;

/// A parent may have left us `SIGCHLD` ignored: the kernel would then reap our children, and how they ended be lost.
fn keep_children_waitable() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut current = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: reads one disposition and, if it is "ignore", sets the default; no handler is replaced.
        unsafe {
            let read = libc::sigaction(libc::SIGCHLD, std::ptr::null(), current.as_mut_ptr());
            if read == 0 && current.assume_init().sa_sigaction == libc::SIG_IGN {
                libc::signal(libc::SIGCHLD, libc::SIG_DFL);
            }
        }
    });
}

/// A program that was just written may still be open for writing in another child that has not reached its `exec`:
/// that is over in a moment.
fn spawn_patiently(program: &Path, start: &Start<'_>) -> io::Result<Pid> {
    let mut pause = Duration::from_millis(1);
    loop {
        match spawn(program, start) {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && pause < MOST_PATIENT => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            result => return result,
        }
    }
}

const MOST_PATIENT: Duration = Duration::from_millis(50);

fn spawn(program: &Path, start: &Start<'_>) -> io::Result<Pid> {
    let program = CString::new(program.as_os_str().as_bytes())?;
    let directory = CString::new(start.directory.as_os_str().as_bytes())?;
    let argv = start.argv.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let env = start.env.iter().map(|(name, value)| pair(name, value)).collect::<Result<Vec<_>, _>>()?;
    let (argv, env) = (Pointers::new(&argv), Pointers::new(&env));
    let actions = Actions::new(start, &directory)?;
    let attributes = Attributes::new()?;
    let mut pid = 0;
    // SAFETY: every pointer is to a live, terminated value above; both objects are initialised.
    check(unsafe {
        let (argv, env) = (argv.0.as_ptr(), env.0.as_ptr());
        libc::posix_spawn(&raw mut pid, program.as_ptr(), &actions.0, &attributes.0, argv, env)
    })?;
    Pid::from_raw(pid).ok_or_else(|| io::Error::other("posix_spawn gave no process id"))
}

fn pair(name: &OsString, value: &OsString) -> Result<CString, std::ffi::NulError> {
    CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
}

/// A null-terminated array of strings, valid while they live.
struct Pointers<'a>(Vec<*mut c_char>, std::marker::PhantomData<&'a [CString]>);

impl<'a> Pointers<'a> {
    fn new(strings: &'a [CString]) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr().cast_mut());
        Self(pointers.chain([std::ptr::null_mut()]).collect(), std::marker::PhantomData)
    }
}

/// What the child does between its start and the program: directory, then standard streams.
struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new(start: &Start<'_>, directory: &CString) -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: init fills the object; the strings are copied or outlive it; descriptors are open.
        unsafe {
            check(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
            let mut this = Self(actions.assume_init());
            let raw = &raw mut this.0;
            check(libc::posix_spawn_file_actions_addopen(raw, 0, c"/dev/null".as_ptr(), libc::O_RDONLY, 0))?;
            check(libc::posix_spawn_file_actions_adddup2(raw, start.stdout.as_raw_fd(), 1))?;
            check(libc::posix_spawn_file_actions_adddup2(raw, start.stderr.as_raw_fd(), 2))?;
            check(libc::posix_spawn_file_actions_addchdir_np(raw, directory.as_ptr()))?;
            Ok(this)
        }
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

/// Own session, no blocked signals, and the default action for those that we, or who started us, may ignore: Rust
/// programs ignore `SIGPIPE`, `nohup` hangups, and a shell without job control interrupts.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        let mut signals = MaybeUninit::uninit();
        let flags =
            OWN_SESSION | (libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF) as libc::c_short;
        // SAFETY: init fills the objects before they are used.
        unsafe {
            check(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
            let mut this = Self(attributes.assume_init());
            let raw = &raw mut this.0;
            libc::sigemptyset(signals.as_mut_ptr());
            check(libc::posix_spawnattr_setsigmask(raw, signals.as_ptr()))?;
            for signal in RESET {
                libc::sigaddset(signals.as_mut_ptr(), signal);
            }
            check(libc::posix_spawnattr_setsigdefault(raw, signals.as_ptr()))?;
            check(libc::posix_spawnattr_setflags(raw, flags))?;
            Ok(this)
        }
    }
}

const RESET: [i32; 12] = {
    use libc::*;
    [SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD, SIGTSTP, SIGTTIN, SIGTTOU]
};

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

fn check(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// Reaps one process; blocks until it has ended.
fn wait4(pid: Pid) -> io::Result<Exit> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live values of the right type; all-zero is a valid `rusage`.
        let waited =
            unsafe { libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, 0, usage.as_mut_ptr()) };
        if waited >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: zeroed above, filled by the system.
    let usage = unsafe { usage.assume_init() };
    let status = if libc::WIFSIGNALED(status) {
        Status::Signal(libc::WTERMSIG(status))
    } else {
        Status::Code(libc::WEXITSTATUS(status))
    };
    let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
    Ok(Exit { status, cpu, peak_memory: usage.ru_maxrss.unsigned_abs() * MAXRSS_UNIT })
}

const MAXRSS_UNIT: u64 = if cfg!(target_vendor = "apple") { 1 } else { 1024 };

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec.unsigned_abs())
        + Duration::from_micros(u64::from(time.tv_usec.unsigned_abs() as u32))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// What is done where there is no pidfd.
    #[tokio::test]
    async fn a_thread_can_wait_as_well() {
        let null = std::fs::File::create("/dev/null").unwrap();
        let start = Start {
            argv: &["sh".into(), "-c".into(), "exit 4".into()],
            env: &[],
            directory: Path::new("/"),
            stdout: null.as_fd(),
            stderr: null.as_fd(),
        };
        let mut child = Child::start(&start).unwrap();
        child.exit = wait_in_thread(child.pid);
        child.ended().await;
        assert_eq!(child.reap().unwrap().status, Status::Code(4));
        assert!(!child.group_remains());
    }
}
