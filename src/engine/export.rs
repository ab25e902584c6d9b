//! Takes the cache to another clone and back: every entry that is whole into one file, and what a file holds into this
//! repository, beside what is there. Knows nothing of how files are named or told of.

use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom, Write};

use super::{EngineError, keep};
use crate::digest::Digest;
use crate::disk::{self, Lock};
use crate::git::{CommitId, Repo, RepoPath};
use crate::store::archive::{self, ArchiveError, Writer};
use crate::store::packet::{Packet, PacketError};
use crate::store::{Store, StoreError, entries, index};

/// Why a cache cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

macro_rules! from_engine {
    ($($error:ty),*) => {
        $(impl From<$error> for ShareError {
            fn from(error: $error) -> Self {
                Self::Engine(error.into())
            }
        })*
    };
}
from_engine!(StoreError, disk::DiskError, crate::git::GitError);

/// What went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Exported {
    pub entries: usize,
    /// Not whole, or not used lately.
    pub left_out: usize,
}

/// Writes all entries that were made or used at `since` or later, milliseconds since the epoch.
///
/// # Errors
/// When the store cannot be read or `out` refuses. An entry that is not whole is left out.
pub fn export<W: Write>(
    store: &Store,
    repository: &RepoPath,
    since: i64,
    out: W,
) -> Result<(Exported, W), ShareError> {
    let repo = Repo::open(repository)?;
    let mut writer = Writer::new(out)?;
    let mut exported = Exported::default();
    let rows = match index::open_to_read(store)? {
        Some(connection) => entries::all(&connection)
            .map_err(|source| StoreError::Index { path: store.index_path(), source })?,
        None => Vec::new(),
    };
    // Those that were made first go first: what another one stands on is there before it.
    for row in rows {
        let entry = row.entry.as_ref().filter(|_| row.used >= since);
        let packet = entry
            .map(|entry| Packet::of(&repo, (row.key, &row.quick_keys), (&row.workflow, &row.node), entry));
        let added = match packet {
            Some(Ok(packet)) => writer.add(store, &repo, &packet),
            Some(Err(_)) | None => Err(ArchiveError::Damaged),
        };
        match added {
            Ok(()) => exported.entries += 1,
            Err(ArchiveError::Io(error)) => return Err(ArchiveError::Io(error).into()),
            Err(_) => exported.left_out += 1,
        }
    }
    Ok((exported, writer.finish()?))
}

/// What came in.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    pub entries: usize,
    /// There already.
    pub known: usize,
    /// What was refused, and why.
    pub refused: Vec<String>,
}

/// Takes all entries of an archive that are not there yet. The archive is read to its end before anything of it is taken.
///
/// # Errors
/// When the archive is none, of another format, damaged or larger than `max` bytes unpacked; then nothing was taken. When the
/// store or the repository cannot be written.
pub fn import(
    store: &Store,
    repository: &RepoPath,
    max: u64,
    mut input: impl Read + Seek,
) -> Result<Imported, ShareError> {
    archive::check(&mut input, max)?;
    input.seek(SeekFrom::Start(0)).map_err(ArchiveError::Io)?;
    store.prepare()?;
    let _in_use = Lock::share(&store.in_use())?;
    let repo = Repo::open(repository)?;
    let mut connection = index::open(store)?;
    let fail = |source| StoreError::Index { path: store.index_path(), source };
    let there: HashSet<Digest> = entries::all(&connection)
        .map_err(fail)?
        .iter()
        .filter(|row| is_there(store, &repo, row))
        .map(|row| row.key)
        .collect();
    let mut imported = Imported::default();
    let wants = |packet: &Packet| {
        let is_known = packet.key().is_ok_and(|key| there.contains(&key));
        imported.known += usize::from(is_known);
        !is_known
    };
    let mut saved = Vec::new();
    let mut commits: Vec<CommitId> = Vec::new();
    for taken in archive::take(input, max, (store, &repo), wants)? {
        match taken {
            Ok(arrived) => {
                commits.extend(arrived.commit);
                saved.push(arrived.saved);
            }
            Err(ArchiveError::Packet(PacketError::Git(error))) => return Err(error.into()),
            Err(error) => imported.refused.push(error.to_string()),
        }
    }
    commits.sort_unstable();
    commits.dedup();
    disk::sync_file_system(store.root())?;
    keep::add(store, &repo, &commits)?;
    imported.entries = saved.len();
    let transaction = connection.transaction().map_err(fail)?;
    for one in &saved {
        one.insert(&transaction).map_err(fail)?;
    }
    transaction.commit().map_err(fail)?;
    Ok(imported)
}

fn is_there(store: &Store, repo: &Repo, row: &entries::Row) -> bool {
    use crate::store::artifacts::{Check, is_sound};
    let Some(entry) = &row.entry else { return false };
    let commit = entry.result.commit.as_ref().map(|commit| commit.parse::<CommitId>());
    commit.is_none_or(|commit| commit.is_ok_and(|commit| repo.has_commit(commit)))
        && entry.result.artifacts.iter().all(|artifact| is_sound(store, artifact, Check::Look))
}
