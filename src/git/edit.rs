//! Makes a tree from another one and a few changes. Rewrites only the directories on the way to a change.

use std::collections::BTreeMap;

use git2::{ObjectType, Oid};

use super::diff::{Blob, MODE_TREE, is_tree, name_order};
use super::{GitError, Repo, TreeId};

/// One entry of a tree object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::git) struct Item {
    pub name: Vec<u8>,
    pub mode: u32,
    pub id: Oid,
}

/// A path and what it shall hold: `None` removes it.
pub(in crate::git) type Edit = (Vec<u8>, Option<Blob>);

/// # Errors
/// When a tree is missing or cannot be written.
pub(in crate::git) fn edit(repo: &Repo, base: TreeId, edits: &[Edit]) -> Result<TreeId, GitError> {
    if edits.is_empty() {
        return Ok(base);
    }
    let edits: Vec<(&[u8], Option<Blob>)> = edits.iter().map(|(path, blob)| (&**path, *blob)).collect();
    match directory(repo, Some(base.0), &edits)? {
        Some(id) => Ok(TreeId(id)),
        None => write_tree(repo, &[]).map(TreeId),
    }
}

#[derive(Default)]
struct Group<'a> {
    here: Option<Option<Blob>>,
    below: Vec<(&'a [u8], Option<Blob>)>,
}

/// The edited directory; `None` when nothing is left in it.
fn directory(
    repo: &Repo,
    base: Option<Oid>,
    edits: &[(&[u8], Option<Blob>)],
) -> Result<Option<Oid>, GitError> {
    let mut groups: BTreeMap<&[u8], Group<'_>> = BTreeMap::new();
    for (path, blob) in edits {
        match path.iter().position(|byte| *byte == b'/') {
            None => groups.entry(path).or_default().here = Some(*blob),
            Some(slash) => groups.entry(&path[..slash]).or_default().below.push((&path[slash + 1..], *blob)),
        }
    }
    let tree = base.map(|id| repo.tree_entries(id)).transpose()?;
    let mut items: Vec<Item> = Vec::new();
    for entry in tree.iter().flat_map(|tree| tree.iter()) {
        match groups.get_mut(entry.name_bytes()) {
            None => items.push(Item {
                name: entry.name_bytes().to_vec(),
                mode: entry.filemode_raw().unsigned_abs(),
                id: entry.id(),
            }),
            Some(group) if is_tree(&entry) => {
                if let Some(id) = directory(repo, Some(entry.id()), &group.below)? {
                    items.push(Item { name: entry.name_bytes().to_vec(), mode: MODE_TREE, id });
                }
                group.below.clear();
            }
            Some(group) => {
                if group.here.is_none() {
                    let blob = Blob { mode: entry.filemode_raw().unsigned_abs(), id: entry.id() };
                    group.here = Some(Some(blob));
                }
            }
        }
    }
    for (name, group) in groups {
        let file = group.here.flatten().map(|blob| (blob.mode, blob.id));
        let below = directory_from_nothing(repo, &group.below)?.map(|id| (MODE_TREE, id));
        items.extend(below.or(file).map(|(mode, id)| Item { name: name.to_vec(), mode, id }));
    }
    if items.is_empty() {
        return Ok(None);
    }
    items.sort_by(|a, b| name_order(&a.name, a.mode == MODE_TREE, &b.name, b.mode == MODE_TREE));
    write_tree(repo, &items).map(Some)
}

fn directory_from_nothing(repo: &Repo, edits: &[(&[u8], Option<Blob>)]) -> Result<Option<Oid>, GitError> {
    if edits.is_empty() { Ok(None) } else { directory(repo, None, edits) }
}

/// Writes a tree object; the items are in git's order.
pub(in crate::git) fn write_tree(repo: &Repo, items: &[Item]) -> Result<Oid, GitError> {
    let mut bytes = Vec::with_capacity(items.iter().map(|item| item.name.len() + 28).sum());
    for item in items {
        bytes.extend_from_slice(format!("{:o} ", item.mode).as_bytes());
        bytes.extend_from_slice(&item.name);
        bytes.push(0);
        bytes.extend_from_slice(item.id.as_bytes());
    }
    let write = || repo.raw.odb()?.write(ObjectType::Tree, &bytes);
    write().map_err(GitError::writing(repo, "write a tree", 0))
}
