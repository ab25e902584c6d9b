//! A lease: the right to one slot, brought to one commit, until it is given back. What the node left is read back as a
//! tree. Knows nothing of the node but its name.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::capture::Taken;
use super::index::{Listed, Manifest, Stat};
use super::settings::{Driver, Settings};
use super::slot::{Held, Inner, Mark, Numbers, Place, READY};
use super::workspace::{Disk, Known, Workspace};
use super::{
    CommitId, Cone, GitError, Globs, Holder, Pool, Repo, Tampered, TreeId, bring, capture, files, ignored,
    orphans, plain, worktree,
};
use crate::digest::Digest;
use crate::disk::{self, Durability, Lock};

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
    /// Where the node moved `HEAD` to, if it did.
    pub head: Option<CommitId>,
    /// Repositories that the node made inside its slot, and that are no part of the tree.
    pub skipped: Vec<String>,
}

/// The right to a slot. Dropped without [`Lease::finish`], the slot stays marked with its holder.
#[must_use]
pub struct Lease {
    pool: Arc<Inner>,
    slot: Place,
    admin: PathBuf,
    holder: Holder,
    prefer: String,
    commit: CommitId,
    tree: TreeId,
    settings: Arc<Settings>,
    repo: Option<Repo>,
    /// `None` with the plain driver.
    known: Option<Known>,
    cone: Option<Cone>,
    /// The index file as we left it.
    index: Option<Stat>,
    /// The same with its tree, for the next process.
    listed: Option<Listed>,
    _lock: Lock,
}

impl Pool {
    /// Takes a free slot, or makes one, and brings it to the commit: tracked files as in its tree, nothing untracked,
    /// ignored files kept.
    ///
    /// # Errors
    /// When the commit is missing, git fails, or the disk does.
    pub fn lease(&self, request: &LeaseRequest<'_>) -> Result<Lease, GitError> {
        self.lease_part(request, None)
    }

    /// The same with a part of the commit's files, if there is a cone. The others count as unchanged.
    ///
    /// # Errors
    /// As [`Pool::lease`].
    pub fn lease_part(&self, request: &LeaseRequest<'_>, cone: Option<Cone>) -> Result<Lease, GitError> {
        let pool = &self.inner;
        let settings = pool.settings()?;
        pool.guard.look(&pool.repo);
        let repo = pool.take_repo()?;
        let tree = repo.tree_of(request.commit)?;
        let (slot, lock) = pool.take(request.prefer, tree)?;
        let mark = slot.mark();
        if let Some(previous) = mark.as_ref().and_then(|mark| mark.holder.as_ref()) {
            (request.sweep)(previous);
        }
        slot.mark_dirty(Some(request.holder))?;
        let mut lease = Lease {
            pool: Arc::clone(pool),
            admin: PathBuf::new(),
            holder: request.holder.clone(),
            prefer: request.prefer.to_owned(),
            commit: request.commit,
            tree,
            settings,
            repo: Some(repo),
            known: None,
            cone,
            index: None,
            listed: None,
            slot,
            _lock: lock,
        };
        lease.slot.remove_lent()?;
        lease.bring_or_rebuild(mark.as_ref())?;
        Ok(lease)
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

    /// Removes the ignored files that the slot holds from earlier, but for those that `keep` matches.
    ///
    /// # Errors
    /// When the list of tracked files cannot be read, or a file cannot be removed.
    pub fn keep_only(&self, keep: &Globs) -> Result<(), GitError> {
        let loaded;
        let manifest = match &self.known {
            Some(known) => &known.manifest,
            None => {
                let index = self.workspace()?.index();
                // Without the list, tracked files would look like ignored ones.
                loaded =
                    Manifest::load(&index).ok_or_else(|| self.slot.error("has no index that can be read"))?;
                &loaded
            }
        };
        ignored::keep_only(&self.slot.path, manifest, keep)
    }

    /// What the setup that made this slot ready last covered, if none has failed since.
    pub fn readiness(&self) -> Option<Digest> {
        let text = std::fs::read_to_string(self.slot.beside(READY)).ok()?;
        Digest::from_hex(text.trim_end())
    }

    /// Notes what the slot was made ready for; `None` before that changes.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn set_readiness(&self, readiness: Option<Digest>) -> Result<(), GitError> {
        match readiness {
            Some(digest) => self.slot.write(READY, format!("{digest}\n").as_bytes(), Durability::Crash)?,
            None => disk::remove(&self.slot.beside(READY))?,
        }
        Ok(())
    }

    /// Notes what is put into the slot for this lease only: these files are removed with it, after a crash by the next one.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn lend(&self, paths: &[PathBuf]) -> Result<(), GitError> {
        Ok(self.slot.set_lent(paths)?)
    }

    /// Reads back what the node left. Nothing of the node may run any more, and nothing may run in the slot afterwards
    /// but after [`Lease::reset`]: if the lease is finished next, the slot is taken to be as it was read.
    ///
    /// # Errors
    /// When the node removed its whole slot, a file cannot be read, or a filter fails.
    pub fn capture(&mut self) -> Result<Captured, GitError> {
        if !std::fs::symlink_metadata(&self.slot.path).is_ok_and(|meta| meta.is_dir()) {
            return Err(self.slot.error("was removed by the node that ran in it"));
        }
        files::open_up(&self.slot.path);
        let head = self.head();
        let mut known = self.known.take();
        let taken = self.take(known.as_mut());
        self.known = known;
        let taken = taken?;
        self.tree = taken.tree;
        Ok(Captured { tree: taken.tree, head, skipped: taken.skipped })
    }

    /// What became of the configuration that the slot shares with the user's checkout, since this was asked last.
    ///
    /// # Errors
    /// When what would break the checkout cannot be put back.
    pub fn tampered(&self) -> Result<Tampered, GitError> {
        self.pool.guard.check(&self.pool.repo)
    }

    /// Brings the slot back to the commit of the lease: what an attempt left is gone, ignored files stay.
    ///
    /// # Errors
    /// When the disk or a filter fails.
    pub fn reset(&mut self) -> Result<(), GitError> {
        if let Some(repo) = &self.repo {
            self.tree = repo.tree_of(self.commit)?;
        }
        if let Some(known) = &mut self.known {
            known.disk = Disk::Unknown;
        }
        self.bring_or_rebuild(None)
    }

    /// Gives the slot back. What the node left in it is cleared when it is leased again, as far as it differs. Only
    /// what others can see is put right now: a branch that the node checked out is free, and git can read the
    /// worktree's state.
    ///
    /// # Errors
    /// When its files cannot be written; the slot is free all the same.
    pub fn finish(mut self) -> Result<(), GitError> {
        worktree::ensure(&self.pool.repo, &self.slot.path, &self.admin_name(), self.commit)?;
        let written = self.slot.set_held(&self.prefer, self.tree, self.listed.take())?;
        if let Some(mut known) = self.known.take() {
            known.manifest.stamp = written.modified;
            self.pool.remember(&self.slot, written, known);
        }
        self.slot.remove_lent()?;
        self.slot.mark_dirty(None)
    }

    fn take(&self, known: Option<&mut Known>) -> Result<Taken, GitError> {
        let slot = self.workspace()?;
        match known {
            Some(known) => capture::capture(&slot, known, self.tree, self.index),
            None => {
                worktree::ensure(&self.pool.repo, &self.slot.path, &self.admin_name(), self.commit)?;
                plain::capture(&slot, self.commit)
            }
        }
    }

    fn bring_or_rebuild(&mut self, mark: Option<&Mark>) -> Result<(), GitError> {
        match self.bring(mark) {
            Err(GitError::Disk(_) | GitError::Command { .. }) => {
                // Something that a node left stands in the way: begin again with nothing.
                self.set_readiness(None)?;
                files::clear(&self.slot.path)?;
                worktree::forget(&self.pool.repo, &self.admin_name())?;
                self.bring(None)
            }
            other => other,
        }
    }

    fn bring(&mut self, mark: Option<&Mark>) -> Result<(), GitError> {
        let name = self.admin_name();
        let has_crashed = mark.is_some_and(|mark| mark.holder.is_some() && !mark.is_of_this_boot());
        if has_crashed || !files::is_directory(&self.slot.path) {
            // What the setup made is gone, or may be.
            self.set_readiness(None)?;
        }
        self.admin = worktree::ensure(&self.pool.repo, &self.slot.path, &name, self.commit)?;
        let known = self.known.take().or_else(|| self.pool.recall(&self.slot));
        let slot = self.workspace()?;
        let known = match self.settings.driver {
            Driver::Plain => {
                plain::bring(&slot, self.commit)?;
                None
            }
            Driver::Direct => {
                let distrust = mark.is_some_and(|mark| !mark.is_of_this_boot());
                let known = known.unwrap_or_else(|| on_record(&slot, self.slot.held(), distrust));
                Some(bring::bring(&slot, known, self.tree)?)
            }
        };
        let index = slot.stat_index();
        let written = known.as_ref().and_then(|known| known.manifest.written());
        self.listed = written.map(|index| Listed { tree: self.tree.to_string(), index });
        self.known = known;
        self.index = index;
        let written = self.slot.set_held(&self.prefer, self.tree, self.listed.clone())?;
        if let Some(known) = &mut self.known {
            known.manifest.stamp = written.modified;
        }
        Ok(())
    }

    fn admin_name(&self) -> String {
        worktree::admin_name(&self.pool.directory, self.slot.number)
    }

    fn workspace(&self) -> Result<Workspace<'_>, GitError> {
        let repo = self.repo.as_ref().ok_or_else(|| self.slot.error("has no open repository"))?;
        Ok(Workspace {
            repo,
            settings: &self.settings,
            root: &self.slot.path,
            admin: &self.admin,
            holder: &self.holder,
            cone: self.cone.as_ref(),
        })
    }

    /// Where the node left `HEAD`, if that is somewhere else.
    fn head(&self) -> Option<CommitId> {
        let text = files::read_plain_text(&self.admin.join("HEAD"));
        let text = text.trim_end();
        let commit = match text.strip_prefix("ref: ") {
            Some(name) => self.repo.as_ref()?.read_ref(name).ok().flatten(),
            None => text.parse().ok(),
        };
        commit.filter(|commit| *commit != self.commit)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(repo) = self.repo.take() {
            self.pool.give_repo(repo);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("path", &self.slot.path).field("commit", &self.commit).finish()
    }
}

/// What the slot's own index says, which may be from another process or from a node: only if nobody wrote it since a
/// lease did, the tree that it lists is known. After the system went down, what it says of files proves nothing.
fn on_record(slot: &Workspace<'_>, held: Option<Held>, distrust: bool) -> Known {
    let mut manifest = Manifest::load(&slot.index()).unwrap_or_default();
    let listed = held.and_then(|held| held.listed);
    let same = listed.filter(|listed| !distrust && manifest.written() == Some(listed.index));
    if distrust {
        manifest.distrust();
    }
    Known { manifest, tree: same.and_then(|listed| listed.tree.parse().ok()), disk: Disk::Unknown }
}

impl Inner {
    /// Locks the best free slot: the one that last ran this node, else one that holds the tree, else any, else a new
    /// number.
    fn take(&self, node: &str, tree: TreeId) -> Result<(Place, Lock), GitError> {
        disk::create_directory(&self.directory).map_err(GitError::NoPool)?;
        let numbers = self.numbers(Numbers::All)?;
        if numbers.is_empty() {
            orphans::note(&self.directory, &self.repo)?;
        }
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
