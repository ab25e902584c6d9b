//! Merges three trees into one. Looks only into directories that both sides changed, so the cost follows the changes and
//! not the size of the repository; contents are merged by the library. Renames are not looked for: what conflicts here is
//! for the caller to try again with git, which does.

use std::collections::BTreeMap;

use git2::{MergeFileInput, Oid};

use super::diff::{Blob, MODE_EXECUTABLE, MODE_FILE, MODE_TREE, is_tree, mode, name_order};
use super::edit::{Item, write_tree};
use super::{GitError, Repo, TreeId};

/// A merged tree, or what stands against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::git) enum MergedTree {
    Clean(TreeId),
    /// The paths on which both sides disagree, in order.
    Conflict(Vec<String>),
    /// Attribute files ask for a merge of their own kind.
    Special,
}

/// # Errors
/// When an object is missing or cannot be written.
pub(in crate::git) fn merge_trees(
    repo: &Repo,
    base: Option<TreeId>,
    ours: TreeId,
    theirs: TreeId,
) -> Result<MergedTree, GitError> {
    let mut merger =
        Merger { repo, path: Vec::new(), attributes: Vec::new(), conflicts: Vec::new(), special: false };
    let sides = Three { base: base.map(|id| id.0), ours: Some(ours.0), theirs: Some(theirs.0) };
    let merged = merger.directories(sides)?;
    if merger.special {
        return Ok(MergedTree::Special);
    }
    if !merger.conflicts.is_empty() {
        merger.conflicts.sort();
        merger.conflicts.dedup();
        return Ok(MergedTree::Conflict(merger.conflicts));
    }
    match merged {
        Some(id) => Ok(MergedTree::Clean(TreeId(id))),
        None => Ok(MergedTree::Clean(TreeId(write_tree(repo, &[])?))),
    }
}

#[derive(Clone, Copy, Debug)]
struct Three<T> {
    base: Option<T>,
    ours: Option<T>,
    theirs: Option<T>,
}

impl<T> Default for Three<T> {
    fn default() -> Self {
        Self { base: None, ours: None, theirs: None }
    }
}

impl<T: PartialEq + Copy> Three<T> {
    /// The result where one side did nothing or both did the same.
    fn trivial(&self) -> Option<Option<T>> {
        if self.ours == self.theirs || self.base == self.theirs {
            Some(self.ours)
        } else if self.base == self.ours {
            Some(self.theirs)
        } else {
            None
        }
    }
}

struct Merger<'a> {
    repo: &'a Repo,
    path: Vec<u8>,
    /// For each directory on the way, whether its attribute file speaks of merging.
    attributes: Vec<bool>,
    conflicts: Vec<String>,
    special: bool,
}

/// What one name is on the three sides: a file, a directory, or first one and then the other.
#[derive(Default)]
struct Name {
    file: Three<Blob>,
    directory: Three<Oid>,
}

impl Merger<'_> {
    fn directories(&mut self, sides: Three<Oid>) -> Result<Option<Oid>, GitError> {
        if let Some(result) = sides.trivial() {
            return Ok(result);
        }
        let mut names: BTreeMap<Vec<u8>, Name> = BTreeMap::new();
        self.collect(sides.base, &mut names, |three| &mut three.base, |three| &mut three.base)?;
        self.collect(sides.ours, &mut names, |three| &mut three.ours, |three| &mut three.ours)?;
        self.collect(sides.theirs, &mut names, |three| &mut three.theirs, |three| &mut three.theirs)?;
        self.attributes.push(self.speaks_of_merging(&names)?);
        let mut items = Vec::with_capacity(names.len());
        for (name, sides) in names {
            let before = self.path.len();
            if before > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name);
            let file = self.files(sides.file)?;
            let directory = self.directories(sides.directory)?;
            if file.is_some() && directory.is_some() {
                self.conflict();
            }
            self.path.truncate(before);
            let directory = directory.map(|id| Blob { mode: MODE_TREE, id });
            items.extend(directory.or(file).map(|blob| Item { name, mode: blob.mode, id: blob.id }));
        }
        self.attributes.pop();
        if items.is_empty() || !self.conflicts.is_empty() || self.special {
            return Ok(None);
        }
        items.sort_by(|a, b| name_order(&a.name, a.mode == MODE_TREE, &b.name, b.mode == MODE_TREE));
        write_tree(self.repo, &items).map(Some)
    }

    fn collect(
        &self,
        tree: Option<Oid>,
        names: &mut BTreeMap<Vec<u8>, Name>,
        file_side: fn(&mut Three<Blob>) -> &mut Option<Blob>,
        directory_side: fn(&mut Three<Oid>) -> &mut Option<Oid>,
    ) -> Result<(), GitError> {
        let Some(id) = tree else { return Ok(()) };
        for entry in &self.repo.tree_entries(id)? {
            let name = names.entry(entry.name_bytes().to_vec()).or_default();
            if is_tree(&entry) {
                *directory_side(&mut name.directory) = Some(entry.id());
            } else {
                *file_side(&mut name.file) = Some(Blob { mode: mode(&entry), id: entry.id() });
            }
        }
        Ok(())
    }

    fn files(&mut self, sides: Three<Blob>) -> Result<Option<Blob>, GitError> {
        if let Some(result) = sides.trivial() {
            return Ok(result);
        }
        let (Some(ours), Some(theirs)) = (sides.ours, sides.theirs) else {
            // One side changed what the other removed.
            self.conflict();
            return Ok(None);
        };
        let id = match (Three {
            base: sides.base.map(|blob| blob.id),
            ours: Some(ours.id),
            theirs: Some(theirs.id),
        })
        .trivial()
        {
            Some(id) => id,
            None => self.contents(sides.base, ours, theirs)?,
        };
        let modes =
            Three { base: sides.base.map(|b| b.mode), ours: Some(ours.mode), theirs: Some(theirs.mode) };
        match (id, modes.trivial().flatten()) {
            (Some(id), Some(mode)) if is_file(ours) == is_file(theirs) => Ok(Some(Blob { mode, id })),
            _ => {
                self.conflict();
                Ok(None)
            }
        }
    }

    /// The merged content of two files; `None` when it cannot be told.
    fn contents(&mut self, base: Option<Blob>, ours: Blob, theirs: Blob) -> Result<Option<Oid>, GitError> {
        if self.attributes.contains(&true) {
            self.special = true;
            return Ok(None);
        }
        let both_have = base.filter(|base| is_file(*base));
        let (Some(base), true, true) = (both_have, is_file(ours), is_file(theirs)) else { return Ok(None) };
        let contents = [self.repo.blob(base.id)?, self.repo.blob(ours.id)?, self.repo.blob(theirs.id)?];
        if contents.iter().any(|content| is_binary(content)) {
            return Ok(None);
        }
        let mut inputs = [MergeFileInput::new(), MergeFileInput::new(), MergeFileInput::new()];
        for (input, content) in inputs.iter_mut().zip(&contents) {
            input.content(content);
        }
        let [base, ours, theirs] = &inputs;
        let merged = git2::merge_file(base, ours, theirs, None).map_err(GitError::library("merge a file"))?;
        if !merged.is_automergeable() {
            return Ok(None);
        }
        let written = self.repo.raw.blob(merged.content());
        written.map(Some).map_err(GitError::writing(self.repo, "write a merged file", 0))
    }

    fn speaks_of_merging(&self, names: &BTreeMap<Vec<u8>, Name>) -> Result<bool, GitError> {
        let Some(name) = names.get(&b".gitattributes"[..]) else { return Ok(false) };
        for blob in [name.file.base, name.file.ours, name.file.theirs].into_iter().flatten() {
            let text = self.repo.blob(blob.id)?;
            let has = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
            if has(b"merge") || has(b"binary") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn conflict(&mut self) {
        self.conflicts.push(String::from_utf8_lossy(&self.path).into_owned());
    }
}

fn is_file(blob: Blob) -> bool {
    matches!(blob.mode, MODE_FILE | MODE_EXECUTABLE)
}

/// Git's rule: a zero byte among the first 8000.
fn is_binary(content: &[u8]) -> bool {
    content[..content.len().min(8000)].contains(&0)
}
