//! The pool of worktrees ("slots") and the files that say what each holds. Knows how slots are found, locked and listed;
//! bringing one to a tree and reading it back is the lease's, removing them is elsewhere.
//!
//! `<pool>/<N>/` is a linked worktree with a detached `HEAD`. Beside it:
//! - `<N>.lock`: held through the kernel while the slot is leased, so that a crash frees it;
//! - `<N>.dirty`: on disk before the slot is touched, with who holds it. After a crash it is still there with that name,
//!   and whatever is left of the holder is ended before the slot is used again. A slot that was given back keeps the file,
//!   without a holder: so it is made durable once for each slot, not once for each lease;
//! - `<N>.json`: what it held last, to choose well;
//! - `<N>.lent`: paths of files that are in it for this lease alone;
//! - `<N>.ready`: what the setup that ran in it last was, if it went well.
//!
//! `<pool>/repository` names the repository, for when that is gone. The lock files stay when slots are removed: one that is unlinked can be locked twice. Only worktrees that this pool
//! made are ever touched, and nothing is ever pruned.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::guard::Guard;
use super::index::{Listed, Stat};
use super::settings::Settings;
use super::workspace::Known;
use super::{GitError, Repo, RepoPath, TreeId, files};
use crate::digest::Digest;
use crate::disk::{self, DiskError, Durability, Lock};

/// Version of the files beside the slots.
const FORMAT: u32 = 1;

/// Extension of the file with a slot's readiness.
pub(in crate::git) const READY: &str = "ready";

/// Extension of the file that lists what is in a slot for its lease alone.
pub(in crate::git) const LENT: &str = "lent";

/// Last extension of a file that is being written.
pub(in crate::git) const HALF_WRITTEN: &str = "new";

/// Who uses a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub run: String,
    pub node: String,
}

/// The slots of one repository. Cheap to clone; shared by threads and, through the file system, by processes.
#[derive(Clone)]
pub struct Pool {
    pub(in crate::git) inner: Arc<Inner>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("directory", &self.inner.directory).finish_non_exhaustive()
    }
}

pub(in crate::git) struct Inner {
    pub repo: RepoPath,
    pub directory: PathBuf,
    pub guard: Guard,
    settings: Mutex<Option<Arc<Settings>>>,
    /// Open repositories that no lease uses now.
    repos: Mutex<Vec<Repo>>,
    /// What slots hold that this process gave back, with the `<N>.json` that it wrote then.
    known: Mutex<HashMap<u32, (Stat, Known)>>,
}

/// What is known of a slot without touching it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    pub number: u32,
    pub path: PathBuf,
    pub state: SlotState,
    /// Who has it, or had it when it became dirty.
    pub holder: Option<Holder>,
    /// The node that used it last.
    pub node: Option<String>,
    /// The tree it was last brought to.
    pub tree: Option<TreeId>,
    /// When it was leased or given back last.
    pub used: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    Free,
    /// Leased now.
    Busy,
    /// Free, but its holder did not give it back: it is checked before it is used again.
    Dirty,
}

/// Where the slots of a repository live when nothing else is asked for: outside of it, because tools get confused by a
/// checkout in a checkout. The name is for people, the digest keeps repositories of one name apart.
pub fn default_directory(repo: &RepoPath, cache_home: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let digest = Digest::of_bytes(repo.common_dir.as_os_str().as_bytes()).to_hex();
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = repo.name().chars().map(safe).take(40).collect();
    cache_home.join("spb").join(format!("{name}-{}", &digest[..8]))
}

impl Pool {
    /// Opens the pool, which need not exist: the first lease makes it. Writes nothing.
    ///
    /// # Errors
    /// When the path cannot be resolved.
    pub fn open(repo: &RepoPath, directory: PathBuf) -> Result<Self, GitError> {
        let directory = resolve(&directory).map_err(GitError::NoPool)?;
        Ok(Self {
            inner: Arc::new(Inner {
                repo: repo.clone(),
                directory,
                guard: Guard::default(),
                settings: Mutex::default(),
                repos: Mutex::default(),
                known: Mutex::default(),
            }),
        })
    }

    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// All slots in order of their numbers. Writes nothing.
    ///
    /// # Errors
    /// When the pool's directory cannot be read.
    pub fn list(&self) -> Result<Vec<SlotInfo>, GitError> {
        let slots = self.inner.numbers(Numbers::Existing)?.into_iter().map(|number| self.inner.place(number));
        slots.map(|slot| slot.info()).collect()
    }
}

impl Inner {
    pub fn place(&self, number: u32) -> Place {
        Place { number, path: self.directory.join(number.to_string()) }
    }

    /// Numbers of slots that have anything but a lock, or with a lock alone too.
    pub fn numbers(&self, which: Numbers) -> Result<Vec<u32>, GitError> {
        let fail = |source| DiskError::new("read the directory", &self.directory, source);
        let mut numbers = Vec::new();
        let entries = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(numbers),
            other => other.map_err(fail)?,
        };
        for entry in entries {
            let name = entry.map_err(fail)?.file_name();
            let Some(name) = name.to_str() else { continue };
            let (stem, rest) = name.split_once('.').unwrap_or((name, ""));
            if rest != "lock" || which == Numbers::All {
                numbers.extend(stem.parse::<u32>().ok().filter(|number| *number > 0));
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    pub fn settings(&self) -> Result<Arc<Settings>, GitError> {
        let mut settings = locked(&self.settings);
        match &*settings {
            Some(known) => Ok(Arc::clone(known)),
            None => Ok(Arc::clone(settings.insert(Arc::new(Settings::read(&self.repo)?)))),
        }
    }

    /// An open repository, from those that lie ready.
    pub fn take_repo(&self) -> Result<Repo, GitError> {
        let ready = locked(&self.repos).pop();
        ready.map_or_else(|| Repo::open(&self.repo), Ok)
    }

    pub fn give_repo(&self, repo: Repo) {
        locked(&self.repos).push(repo);
    }

    /// What this process knows of a slot, unless another has used it since.
    pub fn recall(&self, slot: &Place) -> Option<Known> {
        let (written, known) = locked(&self.known).remove(&slot.number)?;
        let meta = std::fs::symlink_metadata(slot.beside("json")).ok()?;
        (Stat::of(&meta) == written).then_some(known)
    }

    pub fn remember(&self, slot: &Place, written: Stat, known: Known) {
        locked(&self.known).insert(slot.number, (written, known));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::git) enum Numbers {
    /// Slots that exist.
    Existing,
    /// Those that existed once, too.
    All,
}

/// The data behind these locks is whole at any moment, so a panic elsewhere does not matter.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One slot's files.
#[derive(Clone, Debug)]
pub(in crate::git) struct Place {
    pub number: u32,
    pub path: PathBuf,
}

/// `<N>.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::git) struct Held {
    version: u32,
    pub node: String,
    pub tree: String,
    /// What its index file listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<Listed>,
}

/// `<N>.dirty`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::git) struct Mark {
    version: u32,
    /// `None`: it was given back, or nobody can tell any more.
    pub holder: Option<Holder>,
    /// Identity of the system's run in which the mark was made: what was not flushed when it went down may be lost.
    boot: String,
}

impl Mark {
    /// Whether the system has been running since.
    pub fn is_of_this_boot(&self) -> bool {
        self.boot == boot_id()
    }
}

impl Place {
    pub fn beside(&self, extension: &str) -> PathBuf {
        self.path.with_extension(extension)
    }

    pub fn error(&self, why: &str) -> GitError {
        GitError::Slot { path: self.path.clone(), why: why.to_owned() }
    }

    pub fn held(&self) -> Option<Held> {
        let bytes = std::fs::read(self.beside("json")).ok()?;
        serde_json::from_slice(&bytes).ok().filter(|held: &Held| held.version == FORMAT)
    }

    /// Writes `<N>.json`; gives its stat data, whose time is that of the pool's file system now.
    pub fn set_held(&self, node: &str, tree: TreeId, listed: Option<Listed>) -> Result<Stat, GitError> {
        let held = Held { version: FORMAT, node: node.to_owned(), tree: tree.to_string(), listed };
        let path = self.beside("json");
        self.write_json("json", &held, Durability::Crash)?;
        let meta = std::fs::symlink_metadata(&path).map_err(|error| DiskError::new("read", &path, error))?;
        Ok(Stat::of(&meta))
    }

    /// The mark, if there is one. One that cannot be read says only that the slot is dirty.
    pub fn mark(&self) -> Option<Mark> {
        let bytes = std::fs::read(self.beside("dirty")).ok()?;
        let unknown = Mark { version: FORMAT, holder: None, boot: String::new() };
        Some(serde_json::from_slice(&bytes).unwrap_or(unknown))
    }

    /// Makes the mark, durably if there was none: a crash from here on is seen.
    pub fn mark_dirty(&self, holder: Option<&Holder>) -> Result<(), GitError> {
        let path = self.beside("dirty");
        let durability = if path.exists() { Durability::Crash } else { Durability::PowerLoss };
        let mark = Mark { version: FORMAT, holder: holder.cloned(), boot: boot_id() };
        self.write_json("dirty", &mark, durability)
    }

    /// Lists what is put into the slot for this lease alone; nothing: it has been taken out.
    pub fn set_lent(&self, paths: &[PathBuf]) -> Result<(), DiskError> {
        use std::os::unix::ffi::OsStrExt;
        let path = self.beside(LENT);
        if paths.is_empty() {
            return if path.exists() { disk::remove(&path) } else { Ok(()) };
        }
        let names: Vec<&[u8]> = paths.iter().map(|path| path.as_os_str().as_bytes()).collect();
        self.write(LENT, &names.join(&0), Durability::Crash)
    }

    /// Takes out what a lease that was not given back left in the slot.
    pub fn remove_lent(&self) -> Result<(), GitError> {
        use std::os::unix::ffi::OsStrExt;
        let Ok(names) = std::fs::read(self.beside(LENT)) else { return Ok(()) };
        for name in names.split(|byte| *byte == 0) {
            let name = Path::new(std::ffi::OsStr::from_bytes(name));
            let mut above = name.ancestors().skip(1);
            // Nothing is removed through a symlink.
            if above.all(|parent| files::is_directory(&self.path.join(parent))) {
                files::clear(&self.path.join(name))?;
            }
        }
        Ok(self.set_lent(&[])?)
    }

    /// Replaces the file of this extension. Only who has the slot's lock writes, so that the temporary file of one that
    /// was killed is the next one's.
    pub fn write(&self, extension: &str, bytes: &[u8], durability: Durability) -> Result<(), DiskError> {
        let temporary = self.beside(&format!("{extension}.{HALF_WRITTEN}"));
        disk::replace_by_way_of(&temporary, &self.beside(extension), bytes, durability)
    }

    fn write_json(
        &self,
        extension: &str,
        value: &impl Serialize,
        durability: Durability,
    ) -> Result<(), GitError> {
        let bytes = serde_json::to_vec(value).expect("plain structs of strings serialise");
        Ok(self.write(extension, &bytes, durability)?)
    }

    /// When it was leased or given back last.
    pub fn used(&self) -> Option<SystemTime> {
        let time =
            |extension| std::fs::metadata(self.beside(extension)).and_then(|meta| meta.modified()).ok();
        time("json").max(time("dirty"))
    }

    fn info(&self) -> Result<SlotInfo, GitError> {
        let mark = self.mark();
        let holder = mark.and_then(|mark| mark.holder);
        // Only one that was not given back is tried: the trial must not make a free slot look busy to someone else.
        let state = match holder {
            None => SlotState::Free,
            Some(_) if Lock::attempt(&self.beside("lock"))?.is_none() => SlotState::Busy,
            Some(_) => SlotState::Dirty,
        };
        let held = self.held();
        Ok(SlotInfo {
            number: self.number,
            path: self.path.clone(),
            state,
            holder,
            tree: held.as_ref().and_then(|held| held.tree.parse().ok()),
            node: held.map(|held| held.node),
            used: self.used(),
        })
    }
}

/// An absolute path without symlinks, as git would record it, also for what does not exist yet.
fn resolve(path: &Path) -> Result<PathBuf, DiskError> {
    let fail = |source| DiskError::new("resolve", path, source);
    let absolute = std::path::absolute(path).map_err(fail)?;
    let mut existing = &*absolute;
    loop {
        match (std::fs::canonicalize(existing), existing.parent()) {
            (Ok(real), _) => {
                let rest = absolute.strip_prefix(existing).unwrap_or(Path::new(""));
                return Ok(real.join(rest).components().collect());
            }
            (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => existing = parent,
            (Err(error), _) => return Err(fail(error)),
        }
    }
}

/// Empty where the system does not tell.
fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
