//! The other files that a file names with `uses` and `include`: their nodes and inputs, as they are on the disk. Knows
//! where a file may name another; whether it may is for the checks.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::mend;
use crate::workflow::files;
use crate::workflow::parse;
use crate::workflow::problem::Span;
use crate::workflow::yaml::Yaml;

/// How many files may include one another here.
const MAX_DEPTH: usize = 8;

/// A place in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    pub path: PathBuf,
    pub text: String,
    pub range: Range<usize>,
}

/// What the word at byte `at` leads to in another file: the file itself, or a node that it brings.
pub fn elsewhere(path: &Path, text: &str, at: usize) -> Option<Elsewhere> {
    let mended = mend::mend(text, None)?;
    let (tree, _) = parse::parse(&mended);
    let tree = tree?;
    if let Some(named) = named(&tree).find(|named| holds(named.span, at)) {
        let path = beside(path, named.text()?);
        let text = String::from_utf8(files::disk(&path)(&path).ok()?).ok()?;
        return Some(Elsewhere { path, text, range: 0..0 });
    }
    let symbols = super::Symbols::in_tree(&mended, &tree);
    match &symbols.at(at)?.symbol {
        super::Symbol::Node(name) => {
            let mut found = None;
            brought(path, &tree, &mut Vec::new(), &mut |node, place| {
                if node == name {
                    found = Some(place.clone());
                }
            });
            found
        }
        _ => None,
    }
}

/// The names of all nodes that `include` brings.
pub fn included_nodes(path: &Path, root: &Yaml<'_>) -> Vec<String> {
    let mut names = Vec::new();
    brought(path, root, &mut Vec::new(), &mut |name, _| names.push(name.to_owned()));
    names
}

/// Looks at the file that a node uses.
pub fn with_used<T>(path: &Path, node: &Yaml<'_>, look: impl FnOnce(&Yaml<'_>) -> T) -> Option<T> {
    let text = read(path, node.get("uses")?.text()?)?.1;
    let mended = mend::mend(&text, None)?;
    let (tree, _) = parse::parse(&mended);
    tree.map(|tree| look(&tree))
}

/// The values that name files.
fn named<'y, 'a>(root: &'y Yaml<'a>) -> impl Iterator<Item = &'y Yaml<'a>> {
    let nodes = root.get("nodes").map_or(&[][..], Yaml::entries).iter();
    let used = nodes.filter_map(|node| node.value.get("uses"));
    used.chain(includes(root).map(|(file, _)| file))
}

/// The files under `include`, each with its prefix.
fn includes<'y, 'a>(root: &'y Yaml<'a>) -> impl Iterator<Item = (&'y Yaml<'a>, &'y str)> {
    let items = root.get("include").map_or(&[][..], Yaml::items).iter();
    items.filter_map(|item| match item.text() {
        Some(_) => Some((item, "")),
        None => Some((item.get("file")?, item.get("prefix").and_then(Yaml::text).unwrap_or_default())),
    })
}

/// Visits the nodes that a file includes, under their names there. `way` holds the files that led to it: one that
/// includes itself is not followed.
fn brought(path: &Path, root: &Yaml<'_>, way: &mut Vec<PathBuf>, visit: &mut dyn FnMut(&str, &Elsewhere)) {
    for (file, prefix) in includes(root) {
        let read = file.text().filter(|_| way.len() < MAX_DEPTH).and_then(|name| read(path, name));
        let Some((path, text)) = read.filter(|(path, _)| !way.contains(path)) else { continue };
        let Some(mended) = mend::mend(&text, None) else { continue };
        let (Some(tree), _) = parse::parse(&mended) else { continue };
        let full = |name: &str| match prefix {
            "" => name.to_owned(),
            prefix => format!("{prefix}-{name}"),
        };
        for node in tree.get("nodes").map_or(&[][..], Yaml::entries) {
            let range = node.key_span.start..node.key_span.end;
            visit(&full(&node.key), &Elsewhere { path: path.clone(), text: text.clone(), range });
        }
        way.push(path.clone());
        brought(&path, &tree, way, &mut |name, place| visit(&full(name), place));
        way.pop();
    }
}

fn beside(path: &Path, name: &str) -> PathBuf {
    // `Path::components` drops the `.` of `./name`.
    path.parent().unwrap_or(Path::new("")).join(name).components().collect()
}

fn read(path: &Path, name: &str) -> Option<(PathBuf, String)> {
    let other = beside(path, name);
    let text = String::from_utf8(files::disk(path)(&other).ok()?).ok()?;
    Some((other, text))
}

fn holds(span: Span, at: usize) -> bool {
    span.start <= at && at <= span.end
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make the files that they look at")]
mod tests {
    use super::super::complete;
    use super::*;

    const WHOLE: &str = "version: 1\ninclude: [{ file: ./lint.yaml, prefix: lint }]\nnodes:\n  part: { uses: ./part.yaml, with: { } }\n  last: { needs: [lint-code], run: make }\n";

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("lint.yaml", "version: 1\ninclude: [more.yaml, lint.yaml]\nnodes: { code: { run: make } }\n");
        put("more.yaml", "version: 1\nnodes: { docs: { run: make } }\n");
        put("part.yaml", "version: 1\ninputs: { level: { type: integer } }\nnodes: { a: { run: make } }\n");
        folder
    }

    #[test]
    fn nodes_and_inputs_of_other_files_are_offered() {
        let folder = folder();
        let path = folder.path().join("whole.yaml");
        let offered = |after: &str| -> Vec<String> {
            let at = WHOLE.find(after).unwrap() + after.len();
            complete(&path, WHOLE, at).into_iter().map(|item| item.label).take(4).collect()
        };
        assert_eq!(offered("needs: ["), ["part", "lint-code", "lint-docs"]);
        assert_eq!(offered("with: { "), ["level"]);
    }

    #[test]
    fn words_lead_to_other_files() {
        let folder = folder();
        let path = folder.path().join("whole.yaml");
        let at = |word: &str| elsewhere(&path, WHOLE, WHOLE.find(word).unwrap() + 3);
        assert_eq!(at("./part.yaml").unwrap().path, folder.path().join("part.yaml"));
        assert_eq!(at("./lint.yaml").unwrap().path, folder.path().join("lint.yaml"));
        let node = at("lint-code").unwrap();
        assert_eq!((&node.text[node.range.clone()], node.path), ("code", folder.path().join("lint.yaml")));
        assert_eq!(at("last"), None);
    }
}
