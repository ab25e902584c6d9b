//! One slot as its bring-up and its capture see it. Knows nothing of locks, marks or who holds it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::diff::Blob;
use super::filters::{self, Mentions};
use super::index::{Manifest, Stat};
use super::settings::Settings;
use super::{Cone, GitError, Holder, Repo, RepoPath, TreeId, command};
use crate::process::Tool;

pub(in crate::git) struct Workspace<'a> {
    pub repo: &'a Repo,
    pub settings: &'a Settings,
    /// The slot's directory.
    pub root: &'a Path,
    /// Its administrative directory.
    pub admin: &'a Path,
    pub holder: &'a Holder,
    /// The part of the tree that it holds, if not all.
    pub cone: Option<&'a Cone>,
}

/// What is known of a slot's files.
#[derive(Debug)]
pub(in crate::git) struct Known {
    pub manifest: Manifest,
    /// The tree that the list is exactly the files of.
    pub tree: Option<TreeId>,
    pub disk: Disk,
}

/// Whether the disk is as the list says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::git) enum Disk {
    /// It was compared after the last process in the slot had ended.
    AsListed,
    Unknown,
}

impl Workspace<'_> {
    pub fn index(&self) -> PathBuf {
        self.admin.join("index")
    }

    pub fn absolute(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }

    /// A git command in the slot. It bears the marks of the holder's own processes, so that it is found with them when
    /// spb is killed while it runs.
    pub fn git(&self) -> Tool {
        let at = RepoPath {
            git_dir: self.admin.to_owned(),
            common_dir: self.repo.path().common_dir.clone(),
            work_dir: Some(self.root.to_owned()),
        };
        command::git_at(&at)
            .args(["-c", "core.sparseCheckout=false", "-c", "core.bare=false"])
            .env("SPB_RUN", &self.holder.run)
            .env("SPB_NODE", &self.holder.node)
    }

    /// Stat data of the index file.
    pub fn stat_index(&self) -> Option<Stat> {
        std::fs::symlink_metadata(self.index()).ok().map(|meta| Stat::of(&meta))
    }

    /// Stat data of a file of the slot as it is now; `None` when it is not there.
    pub fn stat(&self, path: &[u8]) -> Option<(Stat, std::fs::Metadata)> {
        let meta = std::fs::symlink_metadata(self.absolute(path)).ok()?;
        Some((Stat::of(&meta), meta))
    }

    /// What the attribute files among these files of the repository ask for, with those outside of the tree.
    pub fn mentions_of<'b>(
        &self,
        files: impl Iterator<Item = (&'b [u8], Blob)>,
    ) -> Result<Mentions, GitError> {
        let mut mentions = self.settings.mentions;
        for (_, blob) in files.filter(|(path, _)| filters::is_attributes(path)) {
            let object =
                self.repo.raw.find_blob(blob.id).map_err(GitError::library("read an attribute file"))?;
            mentions.add(object.content());
        }
        Ok(mentions)
    }
}
