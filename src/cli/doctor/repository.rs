//! Git and the repository: version, kind, and the oddities that change what runs see.

use super::Check;
use crate::git::{GitError, Head, Repo, RepoPath, command};
use crate::report::text;

/// The `git` command.
pub fn git() -> Check {
    match command::check_version() {
        Ok((major, minor)) => Check::ok("git", format!("version {major}.{minor}")),
        Err(error) => Check::fail("git", error.to_string(), error.help()),
    }
}

pub fn checks(path: &RepoPath) -> Vec<Check> {
    let repo = match Repo::open(path) {
        Ok(repo) => repo,
        Err(error) => return vec![failed("repository", &error)],
    };
    let mut checks = vec![kind(path), start(&repo)];
    if path.work_dir.is_some() {
        checks.push(checkout(&repo));
    }
    checks.extend(oddities(path));
    checks
}

fn failed(name: &'static str, error: &GitError) -> Check {
    Check::fail(name, error.to_string(), error.help())
}

fn kind(path: &RepoPath) -> Check {
    match &path.work_dir {
        Some(work_dir) if path.git_dir == path.common_dir => {
            Check::ok("repository", work_dir.display().to_string())
        }
        Some(work_dir) => Check::ok(
            "repository",
            format!("{}, a worktree of {}", work_dir.display(), path.common_dir.display()),
        ),
        None => Check::warn(
            "repository",
            format!("{} is bare", path.common_dir.display()),
            "nodes with `workspace: repo` and `result.into: current` need a checkout; all others work",
        ),
    }
}

/// What a run would start from.
fn start(repo: &Repo) -> Check {
    match repo.resolve("HEAD") {
        Ok(commit) => Check::ok("start", format!("HEAD is {}", commit.short())),
        Err(error) => failed("start", &error),
    }
}

fn checkout(repo: &Repo) -> Check {
    let checkout = match repo.checkout() {
        Ok(checkout) => checkout,
        Err(error) => return failed("checkout", &error),
    };
    let head = match &checkout.head {
        Head::Branch(name) | Head::Unborn(name) => format!("on branch `{name}`"),
        Head::Detached => "HEAD is detached".to_owned(),
    };
    if let Some(operation) = checkout.in_progress {
        let found = format!("{head}, a {operation} is in progress");
        return Check::warn(
            "checkout",
            found,
            format!("runs start from HEAD: finish the {operation} first, or abort it"),
        );
    }
    match checkout.changed {
        0 => Check::ok("checkout", format!("{head}, clean")),
        changed => Check::ok(
            "checkout",
            format!("{head}, {} not committed: runs do not see them", text::count(changed, "change")),
        ),
    }
}

/// Things that most repositories do not have, each with what it means here.
fn oddities(path: &RepoPath) -> Vec<Check> {
    let mut checks = Vec::new();
    if path.common_dir.join("shallow").exists() {
        let help = "merges may lack a common ancestor: `git fetch --unshallow`";
        checks.push(Check::warn("shallow", "the history is cut off", help));
    }
    if config(path, &["config", "--get-regexp", r"^remote\..*\.promisor$"]) {
        let help = "objects are fetched when they are needed, which takes a network: `git fetch --refetch --no-filter`";
        checks.push(Check::warn("partial clone", "objects are missing here", help));
    }
    if config(path, &["config", "--type=bool", "--get", "core.sparseCheckout"]) {
        checks.push(Check::warn(
            "sparse",
            "the checkout is sparse",
            "worktrees of nodes hold all files, unless `worktrees: { sparse: [...] }` names directories",
        ));
    }
    if listed(path, ".gitmodules") {
        let help = "worktrees of nodes have empty submodule directories: a node can run `git submodule update --init`";
        checks.push(Check::warn("submodules", "the repository has submodules", help));
    }
    if filters(path) {
        let help = "worktrees are filled through the `git` command, so `git-lfs` must be installed";
        checks.push(Check::warn("large files", "files go through the filter of git-lfs", help));
    }
    checks
}

/// Whether git's configuration has a value that is not false.
fn config(path: &RepoPath, arguments: &[&str]) -> bool {
    let asked = command::attempt(command::git_at(path), arguments);
    asked.is_ok_and(|output| {
        output.code == 0 && !output.stdout.trim_ascii().is_empty() && output.stdout.trim_ascii() != b"false"
    })
}

/// Whether HEAD has this file.
fn listed(path: &RepoPath, name: &str) -> bool {
    let listed = command::attempt(command::git_at(path), &["ls-tree", "--name-only", "HEAD", "--", name]);
    listed.is_ok_and(|output| output.code == 0 && !output.stdout.is_empty())
}

fn filters(path: &RepoPath) -> bool {
    let pattern = ["grep", "-q", "-F", "-e", "filter=lfs", "HEAD", "--", ":(glob)**/.gitattributes"];
    command::attempt(command::git_at(path), &pattern).is_ok_and(|output| output.code == 0)
}
