//! What differs between two trees. Reads tree objects only, and only those that differ: the cost follows the size of
//! the change, not of the repository.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::ControlFlow;

use git2::Oid;

use super::{GitError, Repo, TreeId};

/// One file that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// From the root of the tree, with `/`, in whatever bytes it has.
    pub path: Vec<u8>,
    pub kind: Kind,
}

impl Change {
    /// The path for people and for JSON.
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.path)
    }
}

/// How a file differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Added,
    Modified,
    Deleted,
}

impl Kind {
    /// The letter that `git status` uses.
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Modified => 'M',
            Self::Deleted => 'D',
        }
    }
}

pub(in crate::git) const MODE_TREE: u32 = 0o040_000;
pub(in crate::git) const MODE_FILE: u32 = 0o100_644;
pub(in crate::git) const MODE_EXECUTABLE: u32 = 0o100_755;
pub(in crate::git) const MODE_SYMLINK: u32 = 0o120_000;
pub(in crate::git) const MODE_SUBMODULE: u32 = 0o160_000;

/// A file, symlink or submodule in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::git) struct Blob {
    pub mode: u32,
    pub id: Oid,
}

/// A difference at one path: what the old and the new tree have there. Not both are `None`.
pub(in crate::git) struct Difference<'a> {
    pub path: &'a [u8],
    pub old: Option<Blob>,
    pub new: Option<Blob>,
}

impl Difference<'_> {
    pub fn kind(&self) -> Kind {
        match (self.old, self.new) {
            (None, _) => Kind::Added,
            (_, None) => Kind::Deleted,
            (Some(_), Some(_)) => Kind::Modified,
        }
    }
}

/// Which directories to look into, and what to do with each difference.
pub(in crate::git) trait Visit {
    fn enter(&mut self, _directory: &[u8]) -> bool {
        true
    }
    fn differs(&mut self, difference: &Difference<'_>) -> ControlFlow<()>;
}

impl<F: FnMut(&Difference<'_>) -> ControlFlow<()>> Visit for F {
    fn differs(&mut self, difference: &Difference<'_>) -> ControlFlow<()> {
        self(difference)
    }
}

pub(in crate::git) fn changes(repo: &Repo, old: TreeId, new: TreeId) -> Result<Vec<Change>, GitError> {
    let mut found = Vec::new();
    let mut collect = |difference: &Difference<'_>| {
        found.push(Change { path: difference.path.to_vec(), kind: difference.kind() });
        ControlFlow::Continue(())
    };
    walk(repo, Some(old), Some(new), &mut collect)?;
    // A file that became a directory, or the other way round, is two differences at neighbouring names.
    found.sort();
    Ok(found)
}

/// Calls `visit` for each path that differs, in the order of git's trees. `None` is the empty tree.
pub(in crate::git) fn walk(
    repo: &Repo,
    old: Option<TreeId>,
    new: Option<TreeId>,
    visit: &mut dyn Visit,
) -> Result<(), GitError> {
    if old != new {
        let mut path = Vec::new();
        let _stopped = trees(repo, old.map(|id| id.0), new.map(|id| id.0), &mut path, visit)?;
    }
    Ok(())
}

fn trees(
    repo: &Repo,
    old: Option<Oid>,
    new: Option<Oid>,
    path: &mut Vec<u8>,
    visit: &mut dyn Visit,
) -> Result<ControlFlow<()>, GitError> {
    let old_tree = old.map(|id| repo.tree_entries(id)).transpose()?;
    let new_tree = new.map(|id| repo.tree_entries(id)).transpose()?;
    let mut olds = old_tree.iter().flat_map(|tree| tree.iter()).peekable();
    let mut news = new_tree.iter().flat_map(|tree| tree.iter()).peekable();
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => return Ok(ControlFlow::Continue(())),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => tree_order(old, new),
        };
        let left = if order.is_le() { olds.next() } else { None };
        let right = if order.is_ge() { news.next() } else { None };
        if pair(repo, left.as_ref(), right.as_ref(), path, visit)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
}

/// Two entries of one name and both a directory or both not, or one that stands alone.
fn pair(
    repo: &Repo,
    old: Option<&git2::TreeEntry<'_>>,
    new: Option<&git2::TreeEntry<'_>>,
    path: &mut Vec<u8>,
    visit: &mut dyn Visit,
) -> Result<ControlFlow<()>, GitError> {
    let (old_blob, new_blob) = (old.map(blob), new.map(blob));
    if old_blob == new_blob {
        return Ok(ControlFlow::Continue(()));
    }
    let Some(any) = old.or(new) else { return Ok(ControlFlow::Continue(())) };
    let before = path.len();
    if before > 0 {
        path.push(b'/');
    }
    path.extend_from_slice(any.name_bytes());
    let flow = if !is_tree(any) {
        visit.differs(&Difference { path, old: old_blob, new: new_blob })
    } else if visit.enter(path) {
        trees(repo, old.map(git2::TreeEntry::id), new.map(git2::TreeEntry::id), path, visit)?
    } else {
        ControlFlow::Continue(())
    };
    path.truncate(before);
    Ok(flow)
}

fn blob(entry: &git2::TreeEntry<'_>) -> Blob {
    Blob { mode: mode(entry), id: entry.id() }
}

/// The mode as git writes it today: old repositories have group-writable files that mean the same.
pub(in crate::git) fn mode(entry: &git2::TreeEntry<'_>) -> u32 {
    entry.filemode().unsigned_abs()
}

pub(in crate::git) fn is_tree(entry: &git2::TreeEntry<'_>) -> bool {
    mode(entry) == MODE_TREE
}

/// The order of entries in a tree: a directory's name counts with a slash at its end.
fn tree_order(a: &git2::TreeEntry<'_>, b: &git2::TreeEntry<'_>) -> Ordering {
    name_order(a.name_bytes(), is_tree(a), b.name_bytes(), is_tree(b))
}

pub(in crate::git) fn name_order(a: &[u8], a_is_tree: bool, b: &[u8], b_is_tree: bool) -> Ordering {
    let common = a.len().min(b.len());
    a[..common].cmp(&b[..common]).then_with(|| {
        let end = |name: &[u8], is_tree: bool| name.get(common).copied().or(is_tree.then_some(b'/'));
        end(a, a_is_tree).cmp(&end(b, b_is_tree)).then(a.len().cmp(&b.len()))
    })
}
