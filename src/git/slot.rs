//! The pool of worktrees ("slots") and the files that say what each holds. Knows how slots are found, made, locked,
//! listed and removed; bringing one to a tree and reading it back is the lease's.
//!
//! `<pool>/<N>/` is a linked worktree with a detached `HEAD`. Beside it:
//! - `<N>.lock`: held through the kernel while the slot is leased, so that a crash frees it;
//! - `<N>.dirty`: written before the slot is touched, with who holds it; there after a crash: "unknown", never "clean";
//! - `<N>.json`: what it held last, only to choose well.
//!
//! Slots are made one at a time, under `<common dir>/spb/worktrees.lock`, because parallel `git worktree add` trips over
//! its own locks. Only worktrees whose recorded place is a slot of this pool are ever touched; nothing is ever pruned.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CommitId, GitError, RepoPath, TreeId, command};
use crate::digest::Digest;
use crate::disk::{self, DiskError, Durability, Lock};

/// Version of the files beside the slots.
const FORMAT: u32 = 1;

/// Who uses a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub run: String,
    pub node: String,
}

/// The slots of one repository. Cheap to clone; shared by threads and, through the file system, by processes.
#[derive(Clone, Debug)]
pub struct Pool {
    pub(in crate::git) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(in crate::git) struct Inner {
    pub repo: RepoPath,
    pub directory: PathBuf,
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    Free,
    /// Leased now.
    Busy,
    /// Free, but its holder did not give it back: it is checked before it is used again.
    Dirty,
}

impl SlotInfo {
    /// Bytes on disk, counted now: this reads the whole slot's directories.
    pub fn disk_bytes(&self) -> u64 {
        directory_bytes(&self.path)
    }
}

/// Which slots to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    Number(u32),
}

/// What became of a slot that was to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    Removed(u32),
    /// In use by someone.
    Busy(u32),
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
    /// # Errors
    /// When the directories cannot be made.
    pub fn open(repo: &RepoPath, directory: PathBuf) -> Result<Self, GitError> {
        disk::create_directory(&directory)?;
        disk::create_directory(&repo.common_dir.join("spb"))?;
        let directory = std::fs::canonicalize(&directory)
            .map_err(|source| DiskError::new("resolve", &directory, source))?;
        Ok(Self { inner: Arc::new(Inner { repo: repo.clone(), directory }) })
    }

    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// All slots in order of their numbers. Writes nothing; a slot is tried for a moment to see whether it is in use.
    ///
    /// # Errors
    /// When the pool's directory cannot be read.
    pub fn list(&self) -> Result<Vec<SlotInfo>, GitError> {
        let slots = self.inner.numbers()?.into_iter().map(|number| self.inner.place(number));
        slots.map(|slot| slot.info()).collect()
    }

    /// Removes free slots with everything in them; those in use stay and are reported.
    ///
    /// # Errors
    /// When something of a free slot cannot be removed.
    pub fn remove(&self, which: Which) -> Result<Vec<Removal>, GitError> {
        let numbers = match which {
            Which::All => self.inner.numbers()?,
            Which::Number(number) => self.inner.numbers()?.into_iter().filter(|n| *n == number).collect(),
        };
        numbers.into_iter().map(|number| self.inner.remove(number)).collect()
    }
}

impl Inner {
    pub fn place(&self, number: u32) -> Place {
        Place { number, path: self.directory.join(number.to_string()) }
    }

    /// Numbers that have a slot, a lock or a mark.
    pub fn numbers(&self) -> Result<Vec<u32>, GitError> {
        let fail = |source| DiskError::new("read the directory", &self.directory, source);
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            let stem = name.to_str().and_then(|name| name.split('.').next());
            numbers.extend(stem.and_then(|stem| stem.parse::<u32>().ok()).filter(|number| *number > 0));
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    fn remove(&self, number: u32) -> Result<Removal, GitError> {
        let slot = self.place(number);
        let Some(_lock) = Lock::attempt(&slot.beside("lock"))? else { return Ok(Removal::Busy(number)) };
        slot.mark_dirty(None)?;
        self.discard(&slot)?;
        for file in ["json", "dirty", "lock"] {
            disk::remove(&slot.beside(file))?;
        }
        Ok(Removal::Removed(number))
    }

    /// Makes the worktree of a slot from nothing, at a commit, without files. The slot's lock is held by the caller.
    pub fn build(&self, slot: &Place, commit: CommitId) -> Result<PathBuf, GitError> {
        let _lock = Lock::wait(&self.repo.common_dir.join("spb/worktrees.lock"))?;
        self.discard_locked(slot)?;
        let path = slot.path.to_string_lossy();
        let commit = commit.to_string();
        let arguments = ["worktree", "add", "--detach", "--no-checkout", "--", &path, &commit];
        command::run(command::git_at(&self.repo), &arguments)?;
        self.admin(slot).ok_or_else(|| slot.error("is not usable right after it was made"))
    }

    fn discard(&self, slot: &Place) -> Result<(), GitError> {
        let _lock = Lock::wait(&self.repo.common_dir.join("spb/worktrees.lock"))?;
        self.discard_locked(slot)
    }

    /// Removes a slot's files and whatever git has on record for its place.
    fn discard_locked(&self, slot: &Place) -> Result<(), GitError> {
        make_writable(&slot.path);
        disk::remove(&slot.path)?;
        for admin in self.admins_of(slot) {
            disk::remove(&admin)?;
        }
        Ok(())
    }

    /// The administrative directory of a slot, if both sides agree and it is whole.
    pub fn admin(&self, slot: &Place) -> Option<PathBuf> {
        let file = slot.path.join(".git");
        if !std::fs::symlink_metadata(&file).ok()?.is_file() {
            return None;
        }
        let text = std::fs::read_to_string(&file).ok()?;
        let admin = PathBuf::from(text.strip_prefix("gitdir: ")?.strip_suffix('\n')?);
        let ours = admin.parent()? == self.repo.common_dir.join("worktrees")
            && recorded_place(&admin).as_deref() == Some(&*slot.path)
            && !admin.join("locked").exists()
            && admin.join("HEAD").is_file()
            && std::fs::read_to_string(admin.join("commondir")).is_ok_and(|text| text.trim_end() == "../..");
        ours.then_some(admin)
    }

    /// Every record of git that says its worktree is in this slot, whole or not.
    fn admins_of(&self, slot: &Place) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.repo.common_dir.join("worktrees")) else {
            return Vec::new();
        };
        let admins = entries.filter_map(Result::ok).map(|entry| entry.path());
        admins.filter(|admin| recorded_place(admin).as_deref() == Some(&*slot.path)).collect()
    }
}

/// Where git believes the worktree of an administrative directory to be.
fn recorded_place(admin: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(admin.join("gitdir")).ok()?;
    Some(Path::new(text.trim_end_matches('\n')).parent()?.to_owned())
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
}

/// `<N>.dirty`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::git) struct Mark {
    version: u32,
    /// `None`: someone removed the slot, or gave it back.
    pub holder: Option<Holder>,
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

    pub fn set_held(&self, node: &str, tree: TreeId) -> Result<(), GitError> {
        let held = Held { version: FORMAT, node: node.to_owned(), tree: tree.to_string() };
        write_json(&self.beside("json"), &held, Durability::Crash)
    }

    /// The mark, if there is one. One that cannot be read says only that the slot is dirty.
    pub fn mark(&self) -> Option<Mark> {
        let bytes = std::fs::read(self.beside("dirty")).ok()?;
        Some(serde_json::from_slice(&bytes).unwrap_or(Mark { version: FORMAT, holder: None }))
    }

    /// Makes the mark, durably if there was none: a crash from here on is seen.
    pub fn mark_dirty(&self, holder: Option<&Holder>) -> Result<(), GitError> {
        let path = self.beside("dirty");
        let durability = if path.exists() { Durability::Crash } else { Durability::PowerLoss };
        write_json(&path, &Mark { version: FORMAT, holder: holder.cloned() }, durability)
    }

    fn info(&self) -> Result<SlotInfo, GitError> {
        let mark = self.mark();
        let lock = self.beside("lock");
        let busy = lock.exists() && Lock::attempt(&lock)?.is_none();
        let holder = mark.and_then(|mark| mark.holder);
        let state = match (busy, &holder) {
            (true, _) => SlotState::Busy,
            (false, Some(_)) => SlotState::Dirty,
            (false, None) => SlotState::Free,
        };
        let held = self.held();
        Ok(SlotInfo {
            number: self.number,
            path: self.path.clone(),
            state,
            holder,
            tree: held.as_ref().and_then(|held| held.tree.parse().ok()),
            node: held.map(|held| held.node),
        })
    }
}

fn write_json(path: &Path, value: &impl Serialize, durability: Durability) -> Result<(), GitError> {
    let bytes = serde_json::to_vec(value).expect("plain structs of strings serialise");
    Ok(disk::replace(path, &bytes, durability)?)
}

/// Gives the owner full rights on every directory below, so that what a node locked can be removed. Best effort: what
/// it cannot change shows when the removal fails.
pub(in crate::git) fn make_writable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(meta) = std::fs::symlink_metadata(path) else { return };
    if !meta.is_dir() {
        return;
    }
    if meta.permissions().mode() & 0o700 != 0o700 {
        let _best_effort =
            std::fs::set_permissions(path, PermissionsExt::from_mode(meta.permissions().mode() | 0o700));
    }
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

fn directory_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(meta) = std::fs::symlink_metadata(path) else { return 0 };
    let own = meta.blocks() * 512;
    if !meta.is_dir() {
        return own;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    own + entries.map(|entry| directory_bytes(&entry.path())).sum::<u64>()
}
