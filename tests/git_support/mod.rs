//! Repositories for tests: real git, hermetic, in a temporary directory.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use spb::git::{CommitId, Holder, Lease, LeaseRequest, Pool, Repo, RepoPath, TreeId, repo};

/// A repository at `<temporary>/home/repo`; its pool goes to `<temporary>/pool`.
pub struct TestRepo {
    temporary: tempfile::TempDir,
    pub path: PathBuf,
}

impl TestRepo {
    /// On branch `main`, without commits.
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().canonicalize().unwrap().join("home/repo");
        std::fs::create_dir_all(&path).unwrap();
        let test = Self { temporary, path };
        test.git(&["init", "-q", "-b", "main"]);
        let settings = [
            ("user.name", "Tester"),
            ("user.email", "tester@example.org"),
            ("core.autocrlf", "false"),
            ("core.excludesFile", "/dev/null"),
            ("core.attributesFile", "/dev/null"),
        ];
        for (name, value) in settings {
            test.git(&["config", name, value]);
        }
        test
    }

    /// With one commit of these files.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let test = Self::new();
        test.commit("start", files);
        test
    }

    /// The same with a setting that makes slots be handled by the git command alone.
    pub fn plain(files: &[(&str, &str)]) -> Self {
        let test = Self::with(files);
        test.git(&["config", "core.precomposeUnicode", "true"]);
        test
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.path, arguments)
    }

    /// Writes files in the checkout and commits everything there is.
    pub fn commit(&self, message: &str, files: &[(&str, &str)]) -> CommitId {
        for (name, content) in files {
            write(&self.path.join(name), content.as_bytes());
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.head()
    }

    /// A commit on top of `base` that writes (`Some`) and removes (`None`) files; the checkout stays where it is.
    pub fn commit_on(&self, base: CommitId, files: &[(&str, Option<&str>)]) -> CommitId {
        let now = self.git(&["rev-parse", "--abbrev-ref", "HEAD"]);
        self.git(&["checkout", "-q", "--detach", &base.to_string()]);
        for (name, content) in files {
            match content {
                Some(content) => write(&self.path.join(name), content.as_bytes()),
                None => std::fs::remove_file(self.path.join(name)).unwrap(),
            }
        }
        let commit = self.commit("change", &[]);
        self.git(&["checkout", "-q", now.trim()]);
        commit
    }

    pub fn head(&self) -> CommitId {
        self.git(&["rev-parse", "HEAD"]).trim().parse().unwrap()
    }

    /// Paths in a tree, one a line.
    pub fn listed(&self, tree: TreeId) -> String {
        self.git(&["ls-tree", "-r", "--name-only", &tree.to_string()])
    }

    pub fn repo_path(&self) -> RepoPath {
        repo::discover(&self.path).unwrap()
    }

    pub fn repo(&self) -> Repo {
        Repo::open(&self.repo_path()).unwrap()
    }

    pub fn temporary(&self) -> PathBuf {
        self.temporary.path().canonicalize().unwrap()
    }

    pub fn pool_directory(&self) -> PathBuf {
        self.temporary().join("pool")
    }

    pub fn pool(&self) -> Pool {
        Pool::open(&self.repo_path(), self.pool_directory()).unwrap()
    }
}

/// Runs git with nothing of the caller's configuration, and with fixed dates.
#[track_caller]
pub fn git(directory: &Path, arguments: &[&str]) -> String {
    git_with(directory, &[], arguments)
}

/// The same with more environment.
#[track_caller]
pub fn git_with(directory: &Path, environment: &[(&str, &OsStr)], arguments: &[&str]) -> String {
    let output = git_output(directory, environment, arguments);
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same, whatever the exit code.
#[expect(clippy::disallowed_methods, reason = "tests drive real git")]
pub fn git_output(
    directory: &Path,
    environment: &[(&str, &OsStr)],
    arguments: &[&str],
) -> std::process::Output {
    std::process::Command::new("git")
        .current_dir(directory)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_AUTHOR_DATE", "2024-01-01T00:00:00Z")
        .env("GIT_COMMITTER_DATE", "2024-01-01T00:00:00Z")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "test files need no durability")]
pub fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

pub fn holder(node: &str) -> Holder {
    Holder { run: "20240101-000000-test".into(), node: node.into() }
}

/// Leases for a node; a sweep is a failure of the test.
#[track_caller]
pub fn lease(pool: &Pool, node: &str, commit: CommitId) -> Lease {
    let sweep = |previous: &Holder| panic!("swept {previous:?}");
    lease_with(pool, node, commit, &sweep)
}

#[track_caller]
pub fn lease_with(pool: &Pool, node: &str, commit: CommitId, sweep: &dyn Fn(&Holder)) -> Lease {
    let holder = holder(node);
    pool.lease(&LeaseRequest { commit, holder: &holder, prefer: node, sweep }).unwrap()
}

/// The next lease of the slot is as a fresh checkout; gives it.
#[track_caller]
pub fn lease_is_fresh(test: &TestRepo, pool: &Pool, commit: CommitId) -> Lease {
    let fresh = test.temporary().join("fresh");
    git(&test.path, &["worktree", "add", "-q", "--detach", fresh.to_str().unwrap(), &commit.to_string()]);
    let lease = lease(pool, "node", commit);
    assert_same(snapshot(lease.path()), snapshot(&fresh));
    assert_eq!(git(lease.path(), &["status", "--porcelain"]), "");
    assert_eq!(git(lease.path(), &["rev-parse", "--abbrev-ref", "HEAD"]), "HEAD\n");
    git(&test.path, &["worktree", "remove", "--force", fresh.to_str().unwrap()]);
    lease
}

/// What git itself would record of a slot.
#[track_caller]
pub fn recorded_by_git(test: &TestRepo, slot: &Path, base: CommitId) -> String {
    let index = test.temporary().join("index");
    let environment = [("GIT_INDEX_FILE", index.as_os_str())];
    git_with(slot, &environment, &["read-tree", &base.to_string()]);
    git_with(slot, &environment, &["add", "-A"]);
    git_with(slot, &environment, &["write-tree"]).trim().to_owned()
}

/// Fails with the paths that differ, and with a little of what is there.
#[track_caller]
pub fn assert_same(mut here: BTreeMap<OsString, String>, mut there: BTreeMap<OsString, String>) {
    let same: Vec<OsString> = here
        .iter()
        .filter(|(path, now)| there.get(*path) == Some(now))
        .map(|(path, _)| path.clone())
        .collect();
    for path in same {
        here.remove(&path);
        there.remove(&path);
    }
    for text in here.values_mut().chain(there.values_mut()) {
        text.truncate(60);
    }
    assert!(here.is_empty() && there.is_empty(), "here: {here:?}\nexpected: {there:?}");
}

/// Everything in a directory but the top `.git`: kind, permission to execute and content of each path.
pub fn snapshot(root: &Path) -> BTreeMap<OsString, String> {
    let mut found = BTreeMap::new();
    let mut rest = vec![PathBuf::new()];
    while let Some(directory) = rest.pop() {
        for entry in std::fs::read_dir(root.join(&directory)).unwrap().map(Result::unwrap) {
            let path = directory.join(entry.file_name());
            if path == Path::new(".git") {
                continue;
            }
            let meta = std::fs::symlink_metadata(root.join(&path)).unwrap();
            let text = if meta.is_dir() {
                rest.push(path.clone());
                "directory".to_owned()
            } else if meta.is_symlink() {
                format!("-> {:?}", std::fs::read_link(root.join(&path)).unwrap())
            } else if meta.is_file() {
                let content = std::fs::read(root.join(&path)).unwrap();
                format!("{} {}", meta.permissions().mode() & 0o100, content.escape_ascii())
            } else {
                "special".to_owned()
            };
            found.insert(path.into_os_string(), text);
        }
    }
    found
}

pub fn bytes_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
