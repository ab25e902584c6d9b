//! Conflicts as files that somebody can settle: git's own merge with its markers, named after whoever made the sides; and
//! what was made of them. Knows neither nodes nor who settles.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::diff::Blob;
use super::edit::edit;
use super::merge::merge_tree;
use super::{CommitId, GitError, Repo, Stamp, TreeId};

/// Two commits merged, with the lines that conflict between markers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    pub ours: CommitId,
    pub theirs: CommitId,
    /// The merge as a commit on both, with the markers in its files.
    pub commit: CommitId,
    pub tree: TreeId,
    /// The files that hold markers, in order.
    pub files: Vec<PathBuf>,
}

/// What marking two commits gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marking {
    Lines(Marked),
    /// These files conflict in something that no markers show: one side removed them, they are binary, a link.
    Other(Vec<PathBuf>),
    /// This git cannot merge without a work tree (before 2.38).
    OldGit,
}

/// Why what was made of the files settles nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsettled {
    /// Files beside those in conflict were changed.
    Others(Vec<String>),
    /// These still hold markers.
    Markers(Vec<String>),
}

/// The least number of signs in a marker; attributes may ask for more.
const MARKER: usize = 7;

/// Merges two commits that conflict, as git does, in the style `diff3`. `names` are what the markers call the two sides.
///
/// # Errors
/// When an object is missing or cannot be written.
pub fn mark(
    repo: &Repo,
    (ours, theirs): (CommitId, CommitId),
    names: (&str, &str),
    stamp: Stamp,
) -> Result<Marking, GitError> {
    let style = ["-c", "merge.conflictStyle=diff3"];
    let Some(by_git) = merge_tree(repo, &style, Vec::new(), ours, theirs)? else {
        return Ok(Marking::OldGit);
    };
    let mut files: Vec<PathBuf> =
        by_git.files.iter().map(|name| PathBuf::from(OsStr::from_bytes(name))).collect();
    files.sort();
    files.dedup();
    let labels = Labels { ours: ours.to_string(), theirs: theirs.to_string(), names };
    let (mut edits, mut others) = (Vec::new(), Vec::new());
    for file in &files {
        match marked_blob(repo, by_git.tree, file, &labels)? {
            Some(blob) => edits.push((file.as_os_str().as_bytes().to_vec(), Some(blob))),
            None => others.push(file.clone()),
        }
    }
    if !others.is_empty() {
        return Ok(Marking::Other(others));
    }
    let tree = edit(repo, by_git.tree, &edits)?;
    let commit = repo.commit(tree, &[ours, theirs], "spb: merge with conflicts", stamp)?;
    Ok(Marking::Lines(Marked { ours, theirs, commit, tree, files }))
}

/// Checks what was made of the files.
///
/// # Errors
/// When an object is missing.
pub fn settled(repo: &Repo, marked: &Marked, tree: TreeId) -> Result<Result<(), Unsettled>, GitError> {
    let changes = repo.changes(marked.tree, tree)?;
    let is_meant = |path: &[u8]| marked.files.iter().any(|file| file.as_os_str().as_bytes() == path);
    let others: Vec<String> = changes
        .iter()
        .filter(|change| !is_meant(&change.path))
        .map(|change| change.name().into_owned())
        .collect();
    if !others.is_empty() {
        return Ok(Err(Unsettled::Others(others)));
    }
    let sides = [repo.tree_of(marked.ours)?, repo.tree_of(marked.theirs)?];
    let mut left = Vec::new();
    for file in &marked.files {
        let Some(text) = repo.read_file(tree, file)? else { continue };
        let before = sides.map(|side| repo.read_file(side, file));
        let [ours, theirs] = before.map(|text| text.map(Option::unwrap_or_default));
        if has_markers(&text, &ours?, &theirs?) {
            left.push(file.to_string_lossy().into_owned());
        }
    }
    Ok(if left.is_empty() { Ok(()) } else { Err(Unsettled::Markers(left)) })
}

struct Labels<'n> {
    ours: String,
    theirs: String,
    names: (&'n str, &'n str),
}

/// The file with the names in its markers; `None` when it holds none.
fn marked_blob(
    repo: &Repo,
    tree: TreeId,
    file: &Path,
    labels: &Labels<'_>,
) -> Result<Option<Blob>, GitError> {
    let tree = repo.tree_object(tree)?;
    let Ok(entry) = tree.get_path(file) else { return Ok(None) };
    if entry.kind() != Some(git2::ObjectType::Blob) {
        return Ok(None);
    }
    let Some(text) = named(&repo.blob(entry.id())?, labels) else { return Ok(None) };
    let id = repo.raw.blob(&text).map_err(GitError::writing(repo, "write a file with conflicts", 0))?;
    Ok(Some(Blob { mode: entry.filemode_raw().unsigned_abs(), id }))
}

/// Puts the names in place of commit ids, in the lines that git wrote.
fn named(text: &[u8], labels: &Labels<'_>) -> Option<Vec<u8>> {
    let mut named = Vec::with_capacity(text.len());
    let mut size = None;
    let mut found = false;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let mut put = |sign: u8, size: usize, label: &str| {
            named.extend(std::iter::repeat_n(sign, size));
            named.push(b' ');
            named.extend(label.bytes().map(|byte| if byte < b' ' { b' ' } else { byte }));
            // A file of carriage returns has them at the end of markers too.
            let end = if line.ends_with(b"\r\n") { "\r\n" } else { "\n" };
            named.extend_from_slice(end.as_bytes());
        };
        match (marker(line), size) {
            (Some((b'<', count, label)), None) if is_label(label, &labels.ours) => {
                (size, found) = (Some(count), true);
                put(b'<', count, labels.names.0);
            }
            (Some((b'|', count, _)), Some(own)) if count == own => put(b'|', count, "base"),
            (Some((b'>', count, label)), Some(own)) if count == own && is_label(label, &labels.theirs) => {
                size = None;
                put(b'>', count, labels.names.1);
            }
            _ => named.extend_from_slice(line),
        }
    }
    found.then_some(named)
}

/// A commit's id; behind a colon git says what a renamed file was called there.
fn is_label(label: &[u8], commit: &str) -> bool {
    let rest = label.strip_prefix(commit.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b":"))
}

/// The sign, how often it stands there, and the label, if a line may be one of git's markers.
fn marker(line: &[u8]) -> Option<(u8, usize, &[u8])> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let sign = *line.first().filter(|sign| b"<|=>".contains(sign))?;
    let count = line.iter().take_while(|byte| **byte == sign).count();
    let label = match &line[count..] {
        [] => &[][..],
        [b' ', label @ ..] => label,
        _ => return None,
    };
    (count >= MARKER).then_some((sign, count, label))
}

/// Whether a text holds lines like markers that neither side had: a document about git may well hold some.
fn has_markers(text: &[u8], ours: &[u8], theirs: &[u8]) -> bool {
    let lines = |text| <[u8]>::split_inclusive(text, |byte: &u8| *byte == b'\n');
    let same = |text, line: &[u8]| lines(text).filter(|other| trimmed(other) == trimmed(line)).count();
    lines(text).any(|line| match marker(line) {
        // Headings are underlined with them: there may be as many as on both sides.
        Some((b'=', _, label)) => {
            label.is_empty() && same(text, line) > same(ours, line) + same(theirs, line)
        }
        Some(_) => same(ours, line) + same(theirs, line) == 0,
        None => false,
    })
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_get_the_names_of_their_sides() {
        let (ours, theirs) = ("a".repeat(40), "b".repeat(40));
        let labels = Labels { ours: ours.clone(), theirs: theirs.clone(), names: ("left", "right:x\ny") };
        let text = format!(
            "1\n<<<<<<< {ours}\nL\n||||||| 12ab\n2\n<<<<<<<<< other\n=======\nR\n>>>>>>> {theirs}:old\n<<<<<<< {ours}x\n"
        );
        let expect = format!(
            "1\n<<<<<<< left\nL\n||||||| base\n2\n<<<<<<<<< other\n=======\nR\n>>>>>>> right:x y\n<<<<<<< {ours}x\n"
        );
        assert_eq!(String::from_utf8(named(text.as_bytes(), &labels).unwrap()).unwrap(), expect);
        assert_eq!(named(b"no marker\n<<<<<<< HEAD\n", &labels), None);
        let wide = format!("<<<<<<<<<< {ours}\r\nL\r\n==========\r\n>>>>>>>>>> {theirs}\r\n");
        let expect = "<<<<<<<<<< left\r\nL\r\n==========\r\n>>>>>>>>>> right:x y\r\n";
        assert_eq!(String::from_utf8(named(wide.as_bytes(), &labels).unwrap()).unwrap(), expect);
    }

    #[test]
    fn only_markers_that_no_side_had_are_left_over() {
        let heading = b"Title\n=======\n";
        for (text, is_left) in [
            (&b"fine\n"[..], false),
            (b"<<<<<<< left\n", true),
            (b"a\n>>>>>>> right\r\n", true),
            (b"||||||| base", true),
            (b"=======\n", false),
            (b"=======\n=======\n=======\n", true),
            (b"======= x\n", false),
            (b"<<<<<<<no marker\n", false),
            (b"<<<<<< six\n", false),
        ] {
            assert_eq!(has_markers(text, heading, heading), is_left, "{}", String::from_utf8_lossy(text));
        }
        let about = b"<<<<<<< HEAD\nmine\n=======\nyours\n>>>>>>> topic\n";
        assert!(!has_markers(about, about, b""));
        assert!(has_markers(about, b"", b""));
    }
}
