//! Keeps commits that no ref holds yet from `git gc --prune=now`, which anybody may run at any time: one small ref for each,
//! until something else holds them all. The files are written as git writes them, but whole by one rename and without a
//! lock: nobody else ever writes these names, and a kill leaves nothing that would be in the way. Knows nothing of runs but
//! their names.

use std::path::PathBuf;

use super::{CommitId, GitError, Repo};
use crate::disk::{self, Durability};

fn prefix(run: &str) -> String {
    format!("refs/spb/live/{run}/")
}

impl Repo {
    /// Holds a commit for a run.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn pin(&self, run: &str, commit: CommitId) -> Result<(), GitError> {
        let directory = self.pins(run);
        disk::create_directory(&directory)?;
        let line = format!("{commit}\n");
        Ok(disk::replace(&directory.join(commit.to_string()), line.as_bytes(), Durability::Crash)?)
    }

    /// Lets go of everything that was held for a run.
    ///
    /// # Errors
    /// When a ref cannot be removed.
    pub fn unpin(&self, run: &str) -> Result<(), GitError> {
        disk::remove(&self.pins(run))?;
        // Who packed the refs meanwhile took these along.
        let packed = std::fs::read(self.path().common_dir.join("packed-refs")).unwrap_or_default();
        let prefix = prefix(run);
        if packed.windows(prefix.len()).any(|window| window == prefix.as_bytes()) {
            for (name, _) in self.refs(&prefix)? {
                self.delete_ref(&name)?;
            }
            disk::remove(&self.pins(run))?;
        }
        let _others = std::fs::remove_dir(self.path().common_dir.join("refs/spb/live"));
        Ok(())
    }

    fn pins(&self, run: &str) -> PathBuf {
        self.path().common_dir.join(prefix(run))
    }
}
