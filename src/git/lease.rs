//! A lease: the right to one slot, brought to one commit, until it is given back. What the node left is read back as a
//! tree. Knows nothing of the node but its name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::slot::{Inner, Place, make_writable};
use super::{CommitId, GitError, Holder, Pool, Repo, RepoPath, TreeId, command};
use crate::disk::{self, Durability, Lock};
use crate::process::Tool;

/// What a lease is for.
pub struct LeaseRequest<'a> {
    /// The slot is brought to this commit.
    pub commit: CommitId,
    pub holder: &'a Holder,
    /// The slot that last ran a node of this name is taken if it is free: its ignored files (build caches) are warm.
    pub prefer: &'a str,
    /// Ends whatever is left of a holder that died without giving its slot back. Called before the slot is touched.
    pub sweep: &'a dyn Fn(&Holder),
}

/// What a node left in its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Tracked files as they are on disk, and new files that git does not ignore.
    pub tree: TreeId,
    /// Where the node moved `HEAD` to, if it did. Only the tree counts.
    pub head: Option<CommitId>,
}

/// The right to a slot. Dropped without [`Lease::finish`], the slot stays marked as dirty.
#[derive(Debug)]
#[must_use]
pub struct Lease {
    pool: Arc<Inner>,
    slot: Place,
    admin: PathBuf,
    commit: CommitId,
    _lock: Lock,
}

impl Pool {
    /// Takes a free slot, or makes one, and brings it to the commit: tracked files as in its tree, nothing untracked,
    /// ignored files kept.
    ///
    /// # Errors
    /// When the commit is missing, git fails, or the disk does.
    pub fn lease(&self, request: &LeaseRequest<'_>) -> Result<Lease, GitError> {
        let repo = Repo::open(&self.inner.repo)?;
        let tree = repo.tree_of(request.commit)?;
        let (slot, lock) = self.inner.take(request.prefer, tree)?;
        if let Some(previous) = slot.mark().and_then(|mark| mark.holder) {
            (request.sweep)(&previous);
        }
        slot.mark_dirty(Some(request.holder))?;
        let admin = match self.inner.admin(&slot) {
            Some(admin) => bring(&self.inner, &slot, admin, request.commit)?,
            None => fresh(&self.inner, &slot, request.commit)?,
        };
        slot.set_held(request.prefer, tree)?;
        Ok(Lease { pool: Arc::clone(&self.inner), slot, admin, commit: request.commit, _lock: lock })
    }
}

impl Lease {
    pub fn path(&self) -> &Path {
        &self.slot.path
    }

    pub fn number(&self) -> u32 {
        self.slot.number
    }

    /// The commit that the slot was brought to.
    pub fn commit(&self) -> CommitId {
        self.commit
    }

    /// Reads back what the node left. Nothing of the node may run any more.
    ///
    /// # Errors
    /// When the node took its slot apart (`.git` is gone), or git cannot read a file.
    pub fn capture(&mut self) -> Result<Captured, GitError> {
        if self.pool.admin(&self.slot).as_ref() != Some(&self.admin) {
            return Err(self.slot.error("is no worktree any more: its `.git` was removed or replaced"));
        }
        remove_locks(&self.admin);
        let tool = || slot_git(&self.pool, &self.slot, &self.admin);
        if let Err(first) = command::run(tool(), &["add", "-A"]) {
            // The node may have left an index that git cannot read.
            disk::remove(&self.admin.join("index"))?;
            command::run(tool(), &["read-tree", &self.commit.to_string()])?;
            command::run(tool(), &["add", "-A"]).map_err(|_| first)?;
        }
        let tree = command::run(tool(), &["write-tree"])?;
        let tree = String::from_utf8_lossy(&tree).trim().parse();
        let tree = tree.map_err(|_| self.slot.error("gave no tree"))?;
        let head = command::run(tool(), &["rev-parse", "--verify", "-q", "HEAD"]).ok();
        let head = head.and_then(|id| String::from_utf8_lossy(&id).trim().parse().ok());
        Ok(Captured { tree, head: head.filter(|head| *head != self.commit) })
    }

    /// Brings the slot back to the commit of the lease: what an attempt left is gone, ignored files stay.
    ///
    /// # Errors
    /// When git or the disk fails.
    pub fn reset(&mut self) -> Result<(), GitError> {
        self.admin = match self.pool.admin(&self.slot) {
            Some(admin) => bring(&self.pool, &self.slot, admin, self.commit)?,
            None => fresh(&self.pool, &self.slot, self.commit)?,
        };
        Ok(())
    }

    /// Gives the slot back. What the node left in it is cleared when it is leased again.
    ///
    /// # Errors
    /// When the mark cannot be written; the slot is free all the same.
    pub fn finish(self) -> Result<(), GitError> {
        self.slot.mark_dirty(None)
    }
}

impl Inner {
    /// Locks the best free slot: the one that last ran this node, else one that holds the tree, else any, else a new
    /// number.
    fn take(&self, node: &str, tree: TreeId) -> Result<(Place, Lock), GitError> {
        let numbers = self.numbers()?;
        let tree = tree.to_string();
        let mut slots: Vec<(u8, Place)> = numbers
            .iter()
            .map(|number| self.place(*number))
            .map(|slot| match slot.held() {
                Some(held) if held.node == node => (0, slot),
                Some(held) if held.tree == tree => (1, slot),
                Some(_) => (2, slot),
                None => (3, slot),
            })
            .collect();
        slots.sort_by_key(|(rank, slot)| (*rank, slot.number));
        for (_, slot) in slots {
            if let Some(lock) = Lock::attempt(&slot.beside("lock"))? {
                return Ok((slot, lock));
            }
        }
        let mut number = numbers.last().copied().unwrap_or(0);
        loop {
            number += 1;
            let slot = self.place(number);
            if let Some(lock) = Lock::attempt(&slot.beside("lock"))? {
                return Ok((slot, lock));
            }
        }
    }
}

/// Brings a slot that is whole to a commit; makes it anew when what a node left stands in the way.
fn bring(pool: &Inner, slot: &Place, admin: PathBuf, commit: CommitId) -> Result<PathBuf, GitError> {
    match checkout(pool, slot, &admin, commit) {
        Ok(()) => Ok(admin),
        Err(_) => fresh(pool, slot, commit),
    }
}

fn fresh(pool: &Inner, slot: &Place, commit: CommitId) -> Result<PathBuf, GitError> {
    let admin = pool.build(slot, commit)?;
    checkout(pool, slot, &admin, commit)?;
    Ok(admin)
}

fn checkout(pool: &Inner, slot: &Place, admin: &Path, commit: CommitId) -> Result<(), GitError> {
    remove_locks(admin);
    // Detached before anything moves: a node may have checked out a branch, which must stay where it is.
    disk::replace(&admin.join("HEAD"), format!("{commit}\n").as_bytes(), Durability::Crash)?;
    make_writable(&slot.path);
    let commit = commit.to_string();
    command::run(slot_git(pool, slot, admin), &["reset", "--hard", "-q", &commit])?;
    command::run(slot_git(pool, slot, admin), &["clean", "-ffdq"]).map(drop)
}

/// Lock files in the slot's own directory: whoever made them is dead, because the slot's lock is ours.
fn remove_locks(admin: &Path) {
    for name in ["index.lock", "HEAD.lock"] {
        let _absent = std::fs::remove_file(admin.join(name));
    }
}

fn slot_git(pool: &Inner, slot: &Place, admin: &Path) -> Tool {
    let at = RepoPath {
        git_dir: admin.to_owned(),
        common_dir: pool.repo.common_dir.clone(),
        work_dir: Some(slot.path.clone()),
    };
    command::git_at(&at).args(["-c", "core.sparseCheckout=false", "-c", "core.bare=false"])
}
