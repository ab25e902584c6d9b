//! Commits as what they changed, so that they can be made again in another repository: what their files were before and
//! became, and what the commits say. The size follows the change, not the repository. Where the commits that they stand on are
//! there, the same commits come out; elsewhere some that hold nothing but the change, which can be merged onto any base.
//! Knows nothing of how a step travels.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use git2::{ObjectType, Oid, Signature, Time};

use super::diff::{self, Blob, Difference, MODE_EXECUTABLE, MODE_FILE, MODE_SUBMODULE, MODE_SYMLINK};
use super::edit::{Edit, edit};
use super::walk::is_safe;
use super::{BlobId, CommitId, GitError, Repo, TreeId};

/// A commit, and what it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub id: CommitId,
    pub tree: TreeId,
    pub parents: Vec<CommitId>,
    pub message: String,
    pub author: Who,
    pub committer: Who,
    /// Against its first parent.
    pub files: Vec<StepFile>,
}

/// Who wrote a commit, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    pub name: String,
    pub email: String,
    /// Seconds since the epoch, and minutes east of UTC.
    pub time: (i64, i32),
}

/// One file that differs. Not both sides are `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFile {
    /// From the root, with `/`, in whatever bytes it has.
    pub path: Vec<u8>,
    pub old: Option<StepBlob>,
    pub new: Option<StepBlob>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepBlob {
    /// As git has it: `0o100644`, `0o100755`, `0o120000` (symlink), `0o160000` (submodule).
    pub mode: u32,
    pub id: BlobId,
}

/// What came out of making a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// The very commit, on what it stood on.
    Same(CommitId),
    /// A commit with only the change in it: what it stood on is not in this repository.
    Apart(CommitId),
}

impl Made {
    pub fn commit(self) -> CommitId {
        match self {
            Self::Same(commit) | Self::Apart(commit) => commit,
        }
    }
}

/// A step that no node can have left, and why.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error("the file {0:?} may be in no checkout")]
    Path(String),
    #[error("the file {0:?} is named twice")]
    Twice(String),
    #[error("the file {0:?} is of no kind that git knows")]
    Mode(String),
    #[error("the symlink {0:?} leads out of the repository")]
    Link(String),
    #[error("the content {0} is missing")]
    Missing(BlobId),
    #[error("the content of {0} is not what its name says")]
    Content(BlobId),
    #[error("a time of {0} seconds is none")]
    Time(i64),
    #[error(transparent)]
    Git(#[from] GitError),
}

impl Step {
    /// The last `count` commits of a line of first parents that ends at `tip`, the oldest first.
    ///
    /// # Errors
    /// When a commit, a tree or what the line stands on is missing.
    pub fn line(repo: &Repo, tip: CommitId, count: usize) -> Result<Vec<Self>, GitError> {
        let mut line = vec![Self::of(repo, tip)?];
        while line.len() < count
            && let Some(&parent) = line[line.len() - 1].parents.first()
        {
            line.push(Self::of(repo, parent)?);
        }
        line.reverse();
        Ok(line)
    }

    fn of(repo: &Repo, id: CommitId) -> Result<Self, GitError> {
        let commit = repo.commit_object(id)?;
        let parents: Vec<CommitId> = commit.parent_ids().map(CommitId).collect();
        let before = parents.first().map(|&parent| repo.tree_of(parent)).transpose()?;
        let tree = TreeId(commit.tree_id());
        let mut files = Vec::new();
        let side = |blob: Option<Blob>| blob.map(|blob| StepBlob { mode: blob.mode, id: BlobId(blob.id) });
        diff::walk(repo, before, Some(tree), &mut |found: &Difference<'_>| {
            files.push(StepFile { path: found.path.to_vec(), old: side(found.old), new: side(found.new) });
            ControlFlow::Continue(())
        })?;
        let message = String::from_utf8_lossy(commit.message_raw_bytes()).into_owned();
        let (author, committer) = (Who::of(&commit.author()), Who::of(&commit.committer()));
        Ok(Self { id, tree, parents, message, author, committer, files })
    }

    /// The very commit, where all that it stands on is there.
    fn again(&self, repo: &Repo) -> Result<Option<CommitId>, GitError> {
        let Some(&first) = self.parents.first() else { return Ok(None) };
        if !self.parents.iter().all(|&parent| repo.has_commit(parent)) {
            return Ok(None);
        }
        // What comes out as another tree, if at all, does as the change alone.
        let Ok(tree) = edit(repo, repo.tree_of(first)?, &self.edits()) else { return Ok(None) };
        if tree != self.tree {
            return Ok(None);
        }
        let made = self.commit(repo, tree, &self.parents)?;
        Ok((made == self.id).then_some(made))
    }

    fn edits(&self) -> Vec<Edit> {
        self.files.iter().map(|file| (file.path.clone(), file.new.map(to_blob))).collect()
    }

    fn commit(&self, repo: &Repo, tree: TreeId, parents: &[CommitId]) -> Result<CommitId, GitError> {
        let (author, committer) = (self.author.signature()?, self.committer.signature()?);
        repo.commit_by((&author, &committer), tree, parents, &self.message)
    }

    fn check(
        &self,
        repo: &Repo,
        odb: &git2::Odb<'_>,
        contents: &BTreeMap<BlobId, Vec<u8>>,
    ) -> Result<(), StepError> {
        self.author.check()?;
        self.committer.check()?;
        let mut seen = HashSet::new();
        for file in &self.files {
            let name = || String::from_utf8_lossy(&file.path).into_owned();
            if !is_safe(&file.path) {
                return Err(StepError::Path(name()));
            }
            if !seen.insert(&file.path) {
                return Err(StepError::Twice(name()));
            }
            for blob in [file.old, file.new].into_iter().flatten() {
                match blob.mode {
                    MODE_FILE | MODE_EXECUTABLE | MODE_SYMLINK => {}
                    MODE_SUBMODULE => continue,
                    _ => return Err(StepError::Mode(name())),
                }
                if !contents.contains_key(&blob.id) && !odb.exists(blob.id.0) {
                    return Err(StepError::Missing(blob.id));
                }
            }
            if let Some(link) = file.new.filter(|blob| blob.mode == MODE_SYMLINK) {
                let target = match contents.get(&link.id) {
                    Some(target) => target.clone(),
                    None => repo.blob(link.id.0)?,
                };
                if !stays_inside(&file.path, &target) {
                    return Err(StepError::Link(name()));
                }
            }
        }
        Ok(())
    }
}

impl Who {
    fn of(signature: &Signature<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let time = signature.when();
        Self {
            name: text(signature.name_bytes()),
            email: text(signature.email_bytes()),
            time: (time.seconds(), time.offset_minutes()),
        }
    }

    fn signature(&self) -> Result<Signature<'static>, GitError> {
        Signature::new(&self.name, &self.email, &Time::new(self.time.0, self.time.1))
            .map_err(GitError::library("make a signature"))
    }

    fn check(&self) -> Result<(), StepError> {
        // A year that git can write, and a time zone of this earth.
        if !(0..1 << 40).contains(&self.time.0) || !(-1440..=1440).contains(&self.time.1) {
            return Err(StepError::Time(self.time.0));
        }
        Ok(())
    }
}

/// The contents that steps need, each once, in order. A submodule is another repository's.
pub fn contents(steps: &[Step]) -> Vec<BlobId> {
    let sides = steps.iter().flat_map(|step| &step.files).flat_map(|file| [file.old, file.new]);
    let mut ids: Vec<BlobId> =
        sides.flatten().filter(|blob| blob.mode != MODE_SUBMODULE).map(|blob| blob.id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Makes a line of commits, the oldest first, from contents that came along or are there. Everything is checked before
/// anything is written.
///
/// # Errors
/// When it is nothing that a node can have left, a content is missing or another one, or the repository refuses.
pub fn make(repo: &Repo, line: &[Step], contents: &BTreeMap<BlobId, Vec<u8>>) -> Result<Made, StepError> {
    let odb = repo.raw.odb().map_err(GitError::library("open the objects"))?;
    for step in line {
        step.check(repo, &odb, contents)?;
    }
    for (id, content) in contents {
        let found = Oid::hash_object(ObjectType::Blob, content)
            .map_err(GitError::library("hash a file's content"))?;
        if found != id.0 {
            return Err(StepError::Content(*id));
        }
    }
    for (id, content) in contents {
        if !odb.exists(id.0) {
            odb.write(ObjectType::Blob, content).map_err(GitError::library("write a file's content"))?;
        }
    }
    let mut same = None;
    for step in line {
        same = step.again(repo)?;
        if same.is_none() {
            break;
        }
    }
    match same {
        Some(tip) => Ok(Made::Same(tip)),
        None => Ok(Made::Apart(apart(repo, line)?)),
    }
}

/// The same changes on a commit that has the files that they change, as they were, and no others.
fn apart(repo: &Repo, line: &[Step]) -> Result<CommitId, GitError> {
    let empty = repo.raw.treebuilder(None).and_then(|tree| tree.write());
    let empty = TreeId(empty.map_err(GitError::library("write the empty tree"))?);
    let mut before: BTreeMap<&[u8], Option<StepBlob>> = BTreeMap::new();
    for file in line.iter().flat_map(|step| &step.files) {
        before.entry(&file.path).or_insert(file.old);
    }
    let there = before.into_iter().filter_map(|(path, blob)| Some((path.to_vec(), Some(to_blob(blob?)))));
    let mut tree = edit(repo, empty, &there.collect::<Vec<Edit>>())?;
    let Some(first) = line.first() else {
        return Err(GitError::library("make no commit")(git2::Error::from_str("no steps")));
    };
    let who =
        Signature::new("spb", "spb@localhost", &Time::new(first.committer.time.0, first.committer.time.1))
            .map_err(GitError::library("make a signature"))?;
    let mut at = repo.commit_by((&who, &who), tree, &[], "spb: what a result from elsewhere changes")?;
    for step in line {
        tree = edit(repo, tree, &step.edits())?;
        at = step.commit(repo, tree, &[at])?;
    }
    Ok(at)
}

impl Repo {
    /// The content of a file, by its id.
    ///
    /// # Errors
    /// When it is missing.
    pub fn content(&self, id: BlobId) -> Result<Vec<u8>, GitError> {
        self.blob(id.0)
    }

    /// Its bytes, without reading them.
    ///
    /// # Errors
    /// When it is missing.
    pub fn content_size(&self, id: BlobId) -> Result<u64, GitError> {
        let header = self.raw.odb().and_then(|objects| objects.read_header(id.0));
        header.map(|(size, _)| size as u64).map_err(GitError::library("look at a file's content"))
    }

    /// Keeps a content that nothing names yet.
    ///
    /// # Errors
    /// When the repository cannot be written.
    pub fn keep_content(&self, content: &[u8]) -> Result<BlobId, GitError> {
        let written = self.raw.odb().and_then(|objects| objects.write(ObjectType::Blob, content));
        written.map(BlobId).map_err(GitError::library("write a file's content"))
    }
}

fn to_blob(blob: StepBlob) -> Blob {
    Blob { mode: blob.mode, id: blob.id.0 }
}

/// Whether a symlink at `path` leads to a place in the same repository, by its words alone. `..` counts only at the
/// start: behind a name, which may be a link itself, nobody knows where it leads.
pub fn stays_inside(path: &[u8], target: &[u8]) -> bool {
    if target.is_empty() || target[0] == b'/' || target.contains(&0) {
        return false;
    }
    let depth = path.iter().filter(|byte| **byte == b'/').count();
    let mut parts = target.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).peekable();
    let mut up = 0;
    while parts.next_if_eq(&&b".."[..]).is_some() {
        up += 1;
    }
    up <= depth && parts.all(|part| part != b"..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Stamp;
    use crate::git::repo::discover;
    use crate::git::testing::{git, repository, write};

    fn committed(directory: &std::path::Path, message: &str) -> CommitId {
        git(directory, &["add", "-A"]);
        git(directory, &["-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "-m", message]);
        opened(directory).resolve("HEAD").unwrap()
    }

    fn opened(directory: &std::path::Path) -> Repo {
        Repo::open(&discover(directory).unwrap()).unwrap()
    }

    /// A repository with a base, and a change of a node on it.
    fn changed() -> (tempfile::TempDir, Repo, CommitId, CommitId) {
        let directory = repository();
        write(&directory.path().join("kept"), b"kept");
        write(&directory.path().join("d/old"), b"old");
        write(&directory.path().join("gone"), b"gone");
        let base = committed(directory.path(), "base");
        write(&directory.path().join("d/old"), b"new");
        write(&directory.path().join("added"), b"added");
        std::fs::remove_file(directory.path().join("gone")).unwrap();
        std::os::unix::fs::symlink("d/old", directory.path().join("link")).unwrap();
        let other = committed(directory.path(), "other");
        let repo = opened(directory.path());
        let tree = repo.tree_of(other).unwrap();
        let change = repo.commit(tree, &[base], "spb: n", Stamp::Like(base)).unwrap();
        (directory, repo, base, change)
    }

    fn all(repo: &Repo, line: &[Step]) -> BTreeMap<BlobId, Vec<u8>> {
        contents(line).into_iter().map(|id| (id, repo.content(id).unwrap())).collect()
    }

    #[test]
    fn a_step_gives_the_very_commit_where_its_base_is_there() {
        let (directory, repo, base, change) = changed();
        let line = Step::line(&repo, change, 1).unwrap();
        assert_eq!(line[0].files.len(), 4);
        let elsewhere = repository();
        let from = directory.path().to_str().unwrap();
        git(elsewhere.path(), &["fetch", "-q", "--depth", "1", from, &base.to_string()]);
        let there = opened(elsewhere.path());
        assert!(!there.has_commit(change));
        let made = make(&there, &line, &all(&repo, &line)).unwrap();
        assert_eq!(made, Made::Same(change));
        git(elsewhere.path(), &["fsck", "--strict", "--no-dangling"]);
    }

    #[test]
    fn a_line_of_commits_travels_with_its_authors_and_messages() {
        let (directory, repo, base, _) = changed();
        write(&directory.path().join("d/old"), b"newer");
        let tip = committed(directory.path(), "mine");
        let line = Step::line(&repo, tip, 2).unwrap();
        assert_eq!(line[0].parents, [base]);
        let full = all(&repo, &line);
        let elsewhere = repository();
        write(&elsewhere.path().join("d/old"), b"old");
        write(&elsewhere.path().join("gone"), b"gone");
        let other = committed(elsewhere.path(), "another base");
        let there = opened(elsewhere.path());
        let Made::Apart(made) = make(&there, &line, &full).unwrap() else { panic!("its base is not there") };
        let crate::git::Merged::Clean(moved) = crate::git::carry(&there, made, 2, other).unwrap() else {
            panic!("nothing is in its way")
        };
        let told = git(elsewhere.path(), &["log", "--format=%an %s", &moved.to_string()]);
        assert_eq!(String::from_utf8_lossy(&told), "a mine\na other\na another base\n");
        let shown = git(elsewhere.path(), &["show", &format!("{moved}:d/old")]);
        assert_eq!(shown, b"newer");
        let from = directory.path().to_str().unwrap();
        git(elsewhere.path(), &["fetch", "-q", "--depth", "1", from, &base.to_string()]);
        assert_eq!(make(&there, &line, &full).unwrap(), Made::Same(tip));
    }

    #[test]
    fn a_step_without_its_base_can_be_moved_to_any_other() {
        let (_directory, repo, _, change) = changed();
        let line = Step::line(&repo, change, 1).unwrap();
        let elsewhere = repository();
        write(&elsewhere.path().join("d/old"), b"old");
        write(&elsewhere.path().join("gone"), b"gone");
        write(&elsewhere.path().join("more"), b"more");
        let base = committed(elsewhere.path(), "another base");
        let there = opened(elsewhere.path());
        let Made::Apart(made) = make(&there, &line, &all(&repo, &line)).unwrap() else {
            panic!("its base is not there")
        };
        let crate::git::Merged::Clean(moved) = crate::git::transplant(&there, made, base).unwrap() else {
            panic!("nothing is in its way")
        };
        let tree = there.tree_of(moved).unwrap();
        let listed = git(elsewhere.path(), &["ls-tree", "-r", "--name-only", &tree.to_string()]);
        assert_eq!(String::from_utf8_lossy(&listed), "added\nd/old\nlink\nmore\n");
        git(elsewhere.path(), &["fsck", "--strict", "--no-dangling"]);
    }

    #[test]
    fn what_no_node_leaves_is_refused_by_name() {
        let (_directory, repo, _, change) = changed();
        let good = Step::line(&repo, change, 1).unwrap().remove(0);
        let elsewhere = repository();
        let there = opened(elsewhere.path());
        let full = all(&repo, std::slice::from_ref(&good));
        let check = |alter: &dyn Fn(&mut Step), expect: &str| {
            let mut step = good.clone();
            alter(&mut step);
            let error = make(&there, &[step], &full).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        for path in ["../x", "/x", "a/../../x", ".git/config", "a/.GIT/hooks/x", "", "a//b"] {
            check(&|step| step.files[0].path = path.as_bytes().to_vec(), "may be in no checkout");
        }
        check(&|step| step.files[1].path = step.files[0].path.clone(), "twice");
        check(&|step| step.files[0].new.as_mut().unwrap().mode = 0o060_644, "no kind");
        check(&|step| step.author.time.0 = -1, "none");
        let target = there.raw.blob(b"../../etc/passwd").unwrap();
        check(
            &|step| step.files[0].new = Some(StepBlob { mode: MODE_SYMLINK, id: BlobId(target) }),
            "leads out",
        );
        let mut other = full.clone();
        *other.values_mut().next().unwrap() = b"other".to_vec();
        let good = [good];
        assert!(make(&there, &good, &other).unwrap_err().to_string().contains("not what its name says"));
        assert!(make(&there, &good, &BTreeMap::new()).unwrap_err().to_string().contains("missing"));
    }

    #[test]
    fn links_are_judged_by_their_words() {
        for (path, target, expect) in [
            ("a", "b", true),
            ("d/a", "../b", true),
            ("d/a", "../../b", false),
            ("a", "/etc/passwd", false),
            ("a", "x/../b", false),
            ("d/e/a", ".././../b", true),
            ("d/e/a", "../../../b", false),
            ("a", "", false),
        ] {
            assert_eq!(stays_inside(path.as_bytes(), target.as_bytes()), expect, "{path} -> {target}");
        }
    }
}
