//! Files that git converts between repository and disk: large-file storage and other filters, encodings, line ends.
//! Decides cheaply whether there can be any, and leaves the conversion to git.

use std::collections::HashSet;

use super::{GitError, command};
use crate::process::Tool;

/// Which conversions attribute files speak of at all, for whatever paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::git) struct Mentions {
    /// `filter`, `ident`, `working-tree-encoding`: in both directions.
    pub conversions: bool,
    /// `eol`: may change what is written to disk.
    pub line_ends: bool,
    /// `text`, `crlf`: change what is read from disk, where it has carriage returns.
    pub text: bool,
}

impl Mentions {
    /// Adds what one attribute file says.
    pub fn add(&mut self, attributes: &[u8]) {
        let has = |word: &[u8]| attributes.windows(word.len()).any(|window| window == word);
        self.conversions |= has(b"filter") || has(b"ident") || has(b"working-tree-encoding");
        self.line_ends |= has(b"eol");
        self.text |= has(b"text") || has(b"crlf") || has(b"eol");
    }

    /// Whether some file may be written other than as it is.
    pub fn on_writing(self) -> bool {
        self.conversions || self.line_ends
    }
}

/// Whether a path is an attribute file.
pub(in crate::git) fn is_attributes(path: &[u8]) -> bool {
    path == b".gitattributes" || path.ends_with(b"/.gitattributes")
}

/// Of these paths, those that git converts when it writes or reads them, by the attribute files on disk.
///
/// # Errors
/// When git fails.
pub(in crate::git) fn converted(tool: Tool, paths: &[Vec<u8>]) -> Result<HashSet<Vec<u8>>, GitError> {
    const ASKED: [&str; 7] =
        ["check-attr", "-z", "--stdin", "filter", "ident", "working-tree-encoding", "eol"];
    if paths.is_empty() {
        return Ok(HashSet::new());
    }
    let printed = command::run(tool.input(nul_separated(paths)), &ASKED)?;
    let fields: Vec<&[u8]> = printed.split(|byte| *byte == 0).collect();
    let set = |record: &&[&[u8]]| match (record[1], record[2]) {
        (_, b"unspecified" | b"unset") => false,
        (b"eol", value) => value == b"crlf",
        _ => true,
    };
    Ok(fields.chunks_exact(3).filter(set).map(|record| record[0].to_vec()).collect())
}

/// Writes files from disk into the repository as git would, and gives their ids in order.
///
/// # Errors
/// When git or a filter fails.
pub(in crate::git) fn hash(tool: Tool, paths: &[Vec<u8>]) -> Result<Vec<git2::Oid>, GitError> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let input: Vec<u8> = paths.iter().flat_map(|path| quoted_line(path)).collect();
    let arguments = ["hash-object", "-w", "--stdin-paths"];
    let printed = command::run(tool.input(input), &arguments)?;
    let printed = String::from_utf8_lossy(&printed);
    let ids = printed.lines().map(git2::Oid::from_str).collect::<Result<Vec<_>, _>>();
    let ids = ids.map_err(GitError::library("read the output of `git hash-object`"))?;
    debug_assert_eq!(ids.len(), paths.len());
    Ok(ids)
}

/// Writes files from the slot's index to disk as git would.
///
/// # Errors
/// When git or a filter fails.
pub(in crate::git) fn write(tool: Tool, paths: &[Vec<u8>]) -> Result<(), GitError> {
    if paths.is_empty() {
        return Ok(());
    }
    command::run(tool.input(nul_separated(paths)), &["checkout-index", "-f", "-q", "-z", "--stdin"]).map(drop)
}

fn nul_separated(paths: &[Vec<u8>]) -> Vec<u8> {
    paths.iter().flat_map(|path| path.iter().copied().chain([0])).collect()
}

/// A path on a line of its own, in quotes that git takes off.
fn quoted_line(path: &[u8]) -> Vec<u8> {
    let escaped = path.iter().flat_map(|byte| match byte {
        b'"' | b'\\' => vec![b'\\', *byte],
        b'\n' => b"\\n".to_vec(),
        _ => vec![*byte],
    });
    [b'"'].into_iter().chain(escaped).chain(*b"\"\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_files_are_judged_by_the_words_in_them() {
        let mentions = |text: &str| {
            let mut mentions = Mentions::default();
            mentions.add(text.as_bytes());
            (mentions.conversions, mentions.line_ends, mentions.text)
        };
        assert_eq!(mentions("*.png binary\n*.rs linguist-language=Rust"), (false, false, false));
        assert_eq!(mentions("* text=auto"), (false, false, true));
        assert_eq!(mentions("*.bat eol=crlf"), (false, true, true));
        assert_eq!(mentions("*.bin filter=lfs -text"), (true, false, true));
    }
}
