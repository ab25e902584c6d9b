//! One open repository: commits, trees, refs and files in them. Knows nothing of work trees on disk.

use std::path::Path;

use git2::{ErrorClass, ErrorCode, Oid, Repository, RepositoryOpenFlags, Signature, Time};

pub use super::path::{RepoPath, discover};
use super::{Change, CommitId, GitError, TreeId, command, diff};

/// An open repository. Cheap to open; one per thread, as the library wants it.
pub struct Repo {
    pub(in crate::git) raw: Repository,
    path: RepoPath,
}

/// Who made a commit, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// `spb <spb@localhost>` at the time of this commit: equal inputs give equal commit ids.
    Like(CommitId),
    /// Author, committer and dates of this commit.
    Of(CommitId),
    /// The user's git identity and the present.
    Now,
}

/// What a ref must hold for a change of it to go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Any,
    Absent,
    Is(CommitId),
}

impl Repo {
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &RepoPath) -> Result<Self, GitError> {
        let none: [&Path; 0] = [];
        let raw = Repository::open_ext(&path.git_dir, RepositoryOpenFlags::NO_SEARCH, none)
            .map_err(GitError::library(format!("open the repository `{}`", path.git_dir.display())))?;
        Ok(Self { raw, path: path.clone() })
    }

    pub fn path(&self) -> &RepoPath {
        &self.path
    }

    /// Finds the commit that a revision names: a branch, a tag, an id, `HEAD~2`.
    ///
    /// # Errors
    /// [`GitError::Unborn`] for `HEAD` before the first commit, [`GitError::UnknownRevision`].
    pub fn resolve(&self, revision: &str) -> Result<CommitId, GitError> {
        let found = self.raw.revparse_single(revision).and_then(|object| object.peel_to_commit());
        found.map(|commit| CommitId(commit.id())).map_err(|error| match (self.raw.head(), error.class()) {
            (Err(head), _) if revision == "HEAD" && head.code() == ErrorCode::UnbornBranch => {
                GitError::Unborn
            }
            // What cannot be read may well be there.
            (_, ErrorClass::Os | ErrorClass::Odb | ErrorClass::Zlib)
                if error.code() != ErrorCode::NotFound =>
            {
                GitError::library(format!("read the revision {revision:?}"))(error)
            }
            _ => GitError::UnknownRevision(revision.to_owned()),
        })
    }

    /// # Errors
    /// When the commit is not in the repository.
    pub fn tree_of(&self, commit: CommitId) -> Result<TreeId, GitError> {
        Ok(TreeId(self.commit_object(commit)?.tree_id()))
    }

    /// # Errors
    /// When the commit is not in the repository.
    pub fn parents(&self, commit: CommitId) -> Result<Vec<CommitId>, GitError> {
        Ok(self.commit_object(commit)?.parent_ids().map(CommitId).collect())
    }

    /// The whole message of a commit, as it was written.
    ///
    /// # Errors
    /// When the commit is not in the repository.
    pub fn message(&self, commit: CommitId) -> Result<String, GitError> {
        Ok(String::from_utf8_lossy(self.commit_object(commit)?.message_raw_bytes()).into_owned())
    }

    /// Whether the commit, its tree and everything it needs at hand is there; history is not walked.
    pub fn has_commit(&self, commit: CommitId) -> bool {
        self.commit_object(commit)
            .and_then(|found| found.tree().map_err(GitError::library("read a tree")))
            .is_ok()
    }

    /// Whether `ancestor` is `commit` or one of those before it.
    ///
    /// # Errors
    /// When a commit is missing.
    pub fn contains(&self, commit: CommitId, ancestor: CommitId) -> Result<bool, GitError> {
        if commit == ancestor {
            return Ok(true);
        }
        self.raw.graph_descendant_of(commit.0, ancestor.0).map_err(GitError::library(format!(
            "walk from {} to {}",
            commit.short(),
            ancestor.short()
        )))
    }

    /// Writes a commit. No ref moves, no hook runs, nothing is signed.
    ///
    /// # Errors
    /// When the tree or a parent is missing, or the object store cannot be written.
    pub fn commit(
        &self,
        tree: TreeId,
        parents: &[CommitId],
        message: &str,
        stamp: Stamp,
    ) -> Result<CommitId, GitError> {
        let (author, committer) = self.signatures(stamp)?;
        self.commit_by((&author, &committer), tree, parents, message)
    }

    /// The same by whoever wrote and signs.
    pub(in crate::git) fn commit_by(
        &self,
        (author, committer): (&Signature<'_>, &Signature<'_>),
        tree: TreeId,
        parents: &[CommitId],
        message: &str,
    ) -> Result<CommitId, GitError> {
        let tree = self.tree_object(tree)?;
        let parents = parents.iter().map(|id| self.commit_object(*id)).collect::<Result<Vec<_>, _>>()?;
        let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
        // In two steps: `git_commit_create` gives an id even where the object could not be written.
        let content = self
            .raw
            .commit_create_buffer(author, committer, message, &tree, &parents)
            .map_err(GitError::library("make a commit"))?;
        self.raw
            .odb()
            .and_then(|objects| objects.write(git2::ObjectType::Commit, &content))
            .map(CommitId)
            .map_err(GitError::writing(self, "write a commit", 0))
    }

    /// Makes or moves a ref, if it still holds what is expected.
    ///
    /// # Errors
    /// [`GitError::RefMoved`] when it does not.
    pub fn set_ref(
        &self,
        name: &str,
        target: CommitId,
        expect: Expect,
        log_message: &str,
    ) -> Result<(), GitError> {
        let done = match expect {
            Expect::Any => self.raw.reference(name, target.0, true, log_message),
            Expect::Absent => self.raw.reference(name, target.0, false, log_message),
            Expect::Is(old) => self.raw.reference_matching(name, target.0, true, old.0, log_message),
        };
        done.map(drop).map_err(|error| match (error.code(), expect) {
            (ErrorCode::Exists, Expect::Absent) | (ErrorCode::Modified, _) => moved(name),
            (ErrorCode::NotFound, Expect::Is(_)) if self.raw.find_reference(name).is_err() => moved(name),
            _ => GitError::library(format!("write the ref `{name}`"))(error),
        })
    }

    /// The commit that a ref points at, or `None` when there is no such ref.
    ///
    /// # Errors
    /// When the ref cannot be read or is not a commit.
    pub fn read_ref(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        match self.raw.find_reference(name).and_then(|reference| reference.peel_to_commit()) {
            Ok(commit) => Ok(Some(CommitId(commit.id()))),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(GitError::library(format!("read the ref `{name}`"))(error)),
        }
    }

    /// Removes a ref; one that is not there is fine.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn delete_ref(&self, name: &str) -> Result<(), GitError> {
        match self.raw.find_reference(name).and_then(|mut reference| reference.delete()) {
            Err(error) if error.code() != ErrorCode::NotFound => {
                Err(GitError::library(format!("remove the ref `{name}`"))(error))
            }
            _ => Ok(()),
        }
    }

    /// All refs whose names begin with `prefix` (`refs/spb/runs/`), in order of their names. Names that are not UTF-8
    /// and refs that are no commits are left out.
    ///
    /// # Errors
    /// When the refs cannot be listed.
    pub fn refs(&self, prefix: &str) -> Result<Vec<(String, CommitId)>, GitError> {
        let all = self.raw.references().map_err(GitError::library("list the refs"))?;
        let mut found: Vec<(String, CommitId)> = all
            .filter_map(Result::ok)
            .filter_map(|reference| {
                let name = reference.name().ok().filter(|name| name.starts_with(prefix))?.to_owned();
                Some((name, CommitId(reference.peel_to_commit().ok()?.id())))
            })
            .collect();
        found.sort();
        Ok(found)
    }

    /// The files that differ between two trees, in path order. A rename is a deletion and an addition.
    ///
    /// # Errors
    /// When a tree is missing.
    pub fn changes(&self, old: TreeId, new: TreeId) -> Result<Vec<Change>, GitError> {
        diff::changes(self, old, new)
    }

    /// Whether the tree has a file or symlink at this path. Its content is not read.
    ///
    /// # Errors
    /// When a tree is missing.
    pub fn has_file(&self, tree: TreeId, path: &Path) -> Result<bool, GitError> {
        Ok(self.file_id(tree, path)?.is_some())
    }

    /// The content of a file or the target of a symlink; `None` when the tree has no such file.
    ///
    /// # Errors
    /// When the tree or the file's object is missing.
    pub fn read_file(&self, tree: TreeId, path: &Path) -> Result<Option<Vec<u8>>, GitError> {
        self.file_id(tree, path)?.map(|id| self.blob(id)).transpose()
    }

    fn file_id(&self, tree: TreeId, path: &Path) -> Result<Option<Oid>, GitError> {
        match self.tree_object(tree)?.get_path(path) {
            Ok(entry) => Ok((entry.kind() == Some(git2::ObjectType::Blob)).then(|| entry.id())),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(GitError::library(format!("find `{}`", path.display()))(error)),
        }
    }

    /// The content of a file. In a partial clone git fetches what is missing.
    pub(in crate::git) fn blob(&self, id: Oid) -> Result<Vec<u8>, GitError> {
        match self.raw.find_blob(id) {
            Ok(blob) => Ok(blob.content().to_vec()),
            Err(error) if error.code() == ErrorCode::NotFound => {
                command::run(command::git_at(&self.path), &["cat-file", "blob", &id.to_string()])
            }
            Err(error) => Err(GitError::library(format!("read the object {id}"))(error)),
        }
    }

    /// A unified patch from one tree to another, as `git diff` prints it.
    ///
    /// # Errors
    /// When git fails.
    pub fn diff_text(&self, old: TreeId, new: TreeId, colour: Colour) -> Result<Vec<u8>, GitError> {
        self.diff("--patch", old, new, colour)
    }

    /// How many lines changed in which files, as `git diff --stat` prints it.
    ///
    /// # Errors
    /// When git fails.
    pub fn diff_stat(&self, old: TreeId, new: TreeId, colour: Colour) -> Result<Vec<u8>, GitError> {
        self.diff("--stat", old, new, colour)
    }

    fn diff(&self, form: &str, old: TreeId, new: TreeId, colour: Colour) -> Result<Vec<u8>, GitError> {
        let colour = match colour {
            Colour::Never => "--color=never",
            Colour::Always => "--color=always",
        };
        let (old, new) = (old.to_string(), new.to_string());
        let arguments = ["diff", "--no-ext-diff", "--no-textconv", "-M", form, colour, &old, &new, "--"];
        command::run(command::git_at(&self.path), &arguments)
    }

    pub(in crate::git) fn commit_object(&self, id: CommitId) -> Result<git2::Commit<'_>, GitError> {
        self.raw.find_commit(id.0).map_err(|error| match error.code() {
            ErrorCode::NotFound => GitError::MissingCommit(id),
            _ => GitError::library(format!("read the commit {}", id.short()))(error),
        })
    }

    pub(in crate::git) fn tree_object(&self, id: TreeId) -> Result<git2::Tree<'_>, GitError> {
        self.raw.find_tree(id.0).map_err(GitError::library(format!("read the tree {}", id.short())))
    }

    pub(in crate::git) fn tree_entries(&self, id: Oid) -> Result<git2::Tree<'_>, GitError> {
        self.tree_object(TreeId(id))
    }

    /// `user.name`, if the configuration has one.
    pub fn user_name(&self) -> Option<String> {
        let name = self.raw.config().and_then(|config| config.get_string("user.name")).ok()?;
        Some(name.trim().to_owned()).filter(|name| !name.is_empty())
    }

    fn signatures(&self, stamp: Stamp) -> Result<(Signature<'static>, Signature<'static>), GitError> {
        let twice = |signature: Signature<'static>| (signature.clone(), signature);
        let ours = |time: &Time| Signature::new("spb", "spb@localhost", time);
        match stamp {
            Stamp::Like(commit) => ours(&self.commit_object(commit)?.time()).map(twice),
            Stamp::Of(commit) => {
                let commit = self.commit_object(commit)?;
                Ok((commit.author().to_owned(), commit.committer().to_owned()))
            }
            Stamp::Now => self.raw.signature().or_else(|_| Signature::now("spb", "spb@localhost")).map(twice),
        }
        .map_err(GitError::library("make a signature"))
    }
}

/// Whether a text for people carries colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Never,
    Always,
}

fn moved(name: &str) -> GitError {
    GitError::RefMoved { name: name.to_owned() }
}
