//! Loose objects and refs that did not reach the disk before the machine stopped: their names are there, their content
//! is not. git takes the name for the object and never writes it again, so that whoever makes the same object meets the
//! damage for ever; and it refuses to read or replace a ref that holds nothing. Knows nothing of why the machine stopped.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{GitError, RepoPath, command};
use crate::disk::{self, DiskError};
use crate::process::Tool;

/// Moves damaged loose objects to `aside`, under their ids: all that are empty, and of those written since `since` all
/// that cannot be read to their end. Returns how many.
///
/// # Errors
/// When git cannot be started or a file cannot be moved.
pub fn set_aside_damaged(repo: &RepoPath, since: SystemTime, aside: &Path) -> Result<usize, GitError> {
    let objects = repo.common_dir.join("objects");
    let (mut empty, mut new) = (Vec::new(), Vec::new());
    for id in loose_objects(&objects) {
        match std::fs::metadata(place(&objects, &id)) {
            Ok(meta) if meta.len() == 0 => empty.push(id),
            Ok(meta) if meta.modified().is_ok_and(|time| time >= since) => new.push(id),
            _ => {}
        }
    }
    let mut moved = 0;
    let mut set_aside = |id: &str| -> Result<(), DiskError> {
        disk::create_directory(aside)?;
        let path = place(&objects, id);
        std::fs::rename(&path, aside.join(id))
            .map_err(|source| DiskError::new("set aside", &path, source))?;
        moved += 1;
        Ok(())
    };
    for id in &empty {
        set_aside(id)?;
    }
    while let Some(bad) = first_unreadable(repo, &new)? {
        set_aside(&new.remove(bad))?;
    }
    Ok(moved)
}

/// Moves refs below `refs` or a part of it that were written since `since` and hold nothing to `aside`, under their names. Returns how many.
///
/// # Errors
/// When a file cannot be moved.
pub fn set_aside_lost_refs(
    repo: &RepoPath,
    below: &str,
    since: SystemTime,
    aside: &Path,
) -> Result<usize, GitError> {
    let mut moved = 0;
    let mut open = vec![PathBuf::from(below)];
    while let Some(relative) = open.pop() {
        let entries = std::fs::read_dir(repo.common_dir.join(&relative)).into_iter().flatten().flatten();
        for entry in entries {
            let (name, Ok(meta)) = (relative.join(entry.file_name()), entry.metadata()) else { continue };
            let is_new = meta.modified().is_ok_and(|time| time >= since);
            // A lock is empty while it is held.
            let is_lock = name.extension().is_some_and(|extension| extension == "lock");
            if meta.is_dir() {
                open.push(name);
            } else if meta.is_file() && is_new && !is_lock && holds_nothing(&entry.path()) {
                let place = aside.join(&name);
                disk::create_directory(place.parent().unwrap_or(aside))?;
                std::fs::rename(entry.path(), place)
                    .map_err(|source| DiskError::new("set aside", &entry.path(), source))?;
                moved += 1;
            }
        }
    }
    Ok(moved)
}

/// Those of these objects that are missing or cannot be read to their end.
///
/// # Errors
/// When git cannot be started.
pub fn unreadable(repo: &RepoPath, ids: &[String]) -> Result<Vec<String>, GitError> {
    let mut left = ids.to_vec();
    let mut found = Vec::new();
    while let Some(bad) = first_unreadable(repo, &left)? {
        found.push(left.remove(bad));
    }
    Ok(found)
}

/// By commit, the contents that it brought against its first parent. One of which a tree is missing or damaged is left out.
///
/// # Errors
/// When git cannot be started.
pub fn brought(repo: &RepoPath, commits: &[String]) -> Result<HashMap<String, Vec<String>>, GitError> {
    const WORDS: [&str; 6] = ["diff-tree", "--stdin", "-r", "--root", "--no-renames", "--raw"];
    let ask = |commits: &[String]| {
        let input = commits.iter().flat_map(|commit| [commit.as_bytes(), b"\n"]).flatten().copied().collect();
        let tool = command::git_at(repo).input(input);
        command::attempt(tool, &[&WORDS[..], &["--no-abbrev", "--always"]].concat())
    };
    let all = ask(commits)?;
    if all.code == 0 {
        return Ok(parsed(&all.stdout, commits));
    }
    let mut found = HashMap::new();
    for commit in commits {
        let one = ask(std::slice::from_ref(commit))?;
        if one.code == 0 {
            found.extend(parsed(&one.stdout, std::slice::from_ref(commit)));
        }
    }
    Ok(found)
}

/// The last `count` commits of the line of first parents that ends at `tip`; `None` when one is missing or damaged.
///
/// # Errors
/// When git cannot be started.
pub fn line(repo: &RepoPath, tip: &str, count: usize) -> Result<Option<Vec<String>>, GitError> {
    let count = format!("--max-count={count}");
    let listed = command::attempt(command::git_at(repo), &["rev-list", "--first-parent", &count, tip, "--"])?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    Ok((listed.code == 0).then(|| text.lines().map(str::to_owned).collect()))
}

/// Lines of a commit's id, each before `:old-mode new-mode old-id new-id letter` of its files.
fn parsed(printed: &[u8], commits: &[String]) -> HashMap<String, Vec<String>> {
    let mut found: HashMap<String, Vec<String>> =
        commits.iter().map(|commit| (commit.clone(), Vec::new())).collect();
    let text = String::from_utf8_lossy(printed);
    let mut commit = "";
    for line in text.lines() {
        match line.strip_prefix(':').map(|rest| rest.split(' ').collect::<Vec<_>>()) {
            Some(words) => {
                // Neither a file that went away nor a submodule is an object here.
                if let [_, mode, _, id, ..] = words[..]
                    && !matches!(mode, "000000" | "160000")
                {
                    found.entry(commit.to_owned()).or_default().push(id.to_owned());
                }
            }
            None => commit = line.get(..40).unwrap_or(line),
        }
    }
    found
}

/// Empty, or of the right length and nothing but zeros: file systems leave the one or the other.
fn holds_nothing(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 0))
}

/// Position of the first object that git cannot read. Packing reads each to its end. The library is not asked: it never
/// returns from an object that is cut off.
fn first_unreadable(repo: &RepoPath, ids: &[String]) -> Result<Option<usize>, GitError> {
    if ids.is_empty() {
        return Ok(None);
    }
    let reading = Tool::new("sh")
        .args(["-c", "exec git pack-objects --stdout -q --window=0 --compression=0 > /dev/null"])
        .directory(&repo.git_dir)
        .env("GIT_DIR", &repo.git_dir)
        .env("LC_ALL", "C")
        .env_remove("GIT_OBJECT_DIRECTORY")
        .input(ids.join("\n").into_bytes());
    let output = reading.run().map_err(GitError::NoGit)?;
    if output.code == 0 {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    match ids.iter().position(|id| said.contains(id.as_str())) {
        Some(bad) => Ok(Some(bad)),
        None => Err(command::failure(&["pack-objects"], &output)),
    }
}

fn place(objects: &Path, id: &str) -> PathBuf {
    objects.join(&id[..2]).join(&id[2..])
}

/// Ids of the loose objects.
fn loose_objects(objects: &Path) -> impl Iterator<Item = String> {
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    let is_hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    entries(objects).filter(|entry| entry.file_name().len() == 2).flat_map(move |directory| {
        let start = directory.file_name();
        entries(&directory.path()).filter_map(move |file| {
            let id = format!("{}{}", start.to_str()?, file.file_name().to_str()?);
            (matches!(id.len(), 40 | 64) && is_hexadecimal(&id)).then_some(id)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::git::Repo;
    use crate::git::repo::discover;
    use crate::git::testing::repository;

    #[test]
    fn new_refs_that_hold_nothing_are_set_aside() {
        let directory = repository();
        let repo = discover(directory.path()).unwrap();
        crate::git::testing::git(directory.path(), &["commit", "-q", "--allow-empty", "-m", "start"]);
        let refs = repo.common_dir.join("refs");
        for (name, content) in [("heads/a", &[0; 41][..]), ("spb/cache", b""), ("spb/held.lock", b"")] {
            crate::git::testing::write(&refs.join(name), content);
        }
        let aside = repo.common_dir.join("aside");
        let later = SystemTime::now() + Duration::from_secs(60);
        assert_eq!(set_aside_lost_refs(&repo, "refs", later, &aside).unwrap(), 0);
        assert_eq!(set_aside_lost_refs(&repo, "refs", SystemTime::UNIX_EPOCH, &aside).unwrap(), 2);
        assert!(aside.join("refs/spb/cache").exists() && refs.join("spb/held.lock").exists());
        let listed = crate::git::testing::git(directory.path(), &["for-each-ref", "--format=%(refname)"]);
        assert_eq!(String::from_utf8_lossy(&listed).lines().count(), 1);
    }

    #[test]
    fn only_what_cannot_be_read_is_set_aside_and_can_then_be_written_again() {
        let directory = repository();
        let repo = Repo::open(&discover(directory.path()).unwrap()).unwrap();
        let write = |text: &str| repo.raw.blob(text.as_bytes()).unwrap().to_string();
        let (whole, empty, cut) = (write("whole"), write("empty"), write(&"cut ".repeat(1000)));
        let objects = repo.path().common_dir.join("objects");
        let damage = |id: &str, length: u64| {
            let path = place(&objects, id);
            let mut permissions = std::fs::metadata(&path).unwrap().permissions();
            std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
            std::fs::set_permissions(&path, permissions).unwrap();
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        };
        damage(&empty, 0);
        damage(&cut, 20);
        let aside = repo.path().common_dir.join("aside");
        let later = SystemTime::now() + Duration::from_secs(60);
        let count = |since| set_aside_damaged(repo.path(), since, &aside).unwrap();
        assert_eq!(count(later), 1);
        assert!(aside.join(&empty).exists() && place(&objects, &cut).exists());
        assert_eq!(count(SystemTime::UNIX_EPOCH), 1);
        assert_eq!(count(SystemTime::UNIX_EPOCH), 0);
        assert!(place(&objects, &whole).exists() && !place(&objects, &cut).exists());
        assert_eq!(write("empty"), empty);
        assert!(std::fs::metadata(place(&objects, &empty)).unwrap().len() > 0);
    }
}
