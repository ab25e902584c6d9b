//! The repository: objects, slots, leases, merges. Knows nothing of workflows.
//!
//! Objects, trees and merges go through libgit2, in memory. What touches a work tree or needs the user's own
//! configuration (filters, large files, status) goes through the `git` command, with hooks and file-system monitors
//! switched off. The variables `GIT_DIR`, `GIT_WORK_TREE`, `GIT_INDEX_FILE` and their like are ignored everywhere: the
//! repository is the one that the directory is in, so that a run started from a hook or an alias acts on what its user
//! sees.

mod bring;
mod capture;
pub mod checkout;
pub mod collect;
pub mod command;
pub mod conflict;
mod diff;
mod edit;
mod error;
mod files;
mod filters;
mod globs;
mod guard;
mod history;
mod id;
mod ignore;
mod ignored;
mod index;
mod index_file;
mod inflate;
pub mod lease;
pub mod local;
pub mod loose;
pub mod merge;
mod merge_tree;
pub mod orphans;
mod path;
mod pattern;
pub mod permit;
mod pin;
mod plain;
pub mod repo;
mod settings;
pub mod slot;
mod sparse;
pub mod step;
#[cfg(test)]
mod testing;
pub mod tree;
mod untracked;
mod walk;
mod workspace;
mod worktree;

pub use checkout::{Checkout, Head};
pub use diff::{Change, Kind};
pub use error::GitError;
pub use guard::Tampered;
pub use history::{LONGEST, carry};
pub use id::{BlobId, CommitId, TreeId};
pub use lease::{Captured, Lease, LeaseRequest};
pub use merge::{Favor, Joined, Merged, Stuck, join_heads, merge_heads, merge_heads_favoring, transplant};
pub use path::RepoPath;
pub use repo::{Expect, Repo, Stamp};
pub use slot::{Holder, Pool, SlotInfo, SlotState, default_directory};
pub use sparse::Cone;
/// Whether git accepts this as the short name of a branch.
pub fn is_branch_name(name: &str) -> bool {
    git2::Branch::name_is_valid(name).unwrap_or(false)
}

pub use tree::{Globs, ReadsMemo};
