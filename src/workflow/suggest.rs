//! "Did you mean": the nearest of some names, and short lists of them. Knows nothing of what the names stand for.

use std::cell::Cell;
use std::rc::Rc;

use indexmap::IndexMap;

/// How many candidates are compared: a file with 100,000 nodes must not make a typo slow.
const MAX_CANDIDATES: usize = 20_000;

/// How often the nearest node is looked for in one file: 10,000 typos have one cause.
const MAX_SEARCHES: usize = 50;

/// The nodes of a workflow by name, and the nearest of them.
#[derive(Debug)]
pub struct NodeIndex {
    /// In the order of the file, so that of several near names always the same one is told.
    places: Rc<IndexMap<String, usize>>,
    /// What the names of a file stand behind, innermost first.
    prefixes: Vec<String>,
    searches_left: Cell<usize>,
}

impl NodeIndex {
    pub fn new(names: impl Iterator<Item = String>) -> Self {
        let places = names.enumerate().map(|(place, name)| (name, place)).collect();
        Self { places: Rc::new(places), prefixes: Vec::new(), searches_left: Cell::new(MAX_SEARCHES) }
    }

    /// The same nodes as a file sees them whose names stand behind a prefix: a name is looked for behind each of these,
    /// innermost first, and last as it stands.
    pub fn behind(&self, prefixes: Vec<String>) -> Self {
        Self { places: self.places.clone(), prefixes, searches_left: Cell::new(MAX_SEARCHES) }
    }

    pub fn place(&self, name: &str) -> Option<usize> {
        let behind = |prefix: &String| self.places.get(&format!("{prefix}{name}"));
        self.prefixes.iter().find_map(behind).or_else(|| self.places.get(name)).copied()
    }

    /// Nodes of the same file are called as they are there.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        self.searches_left.set(self.searches_left.get().checked_sub(1)?);
        let own = |full: &'_ String| -> usize {
            self.prefixes.first().filter(|prefix| full.starts_with(prefix.as_str())).map_or(0, String::len)
        };
        nearest(name, self.places.keys().map(|full| &full[own(full)..]))
    }
}

/// The candidate that is most likely meant, if one is close enough.
pub fn nearest<'n>(name: &str, candidates: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > 100 {
        return None;
    }
    let allowed = (name.chars().count() / 3).min(3);
    let folded = name.to_lowercase().replace('-', "_");
    candidates
        .take(MAX_CANDIDATES)
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= allowed)
        .map(|candidate| {
            (strsim::osa_distance(&folded, &candidate.to_lowercase().replace('-', "_")), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `a`, `b` and `c`; at most forty.
pub fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.take(41).collect();
    let shown: Vec<String> = names.iter().take(40).map(|name| format!("`{name}`")).collect();
    match (shown.split_last(), names.len()) {
        (None, _) => "none".to_owned(),
        (Some((last, [])), _) => last.clone(),
        (Some((last, rest)), ..=40) => format!("{} and {last}", rest.join(", ")),
        (Some(_), _) => format!("{} and others", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        let names = ["needs", "run", "when", "timeout", "working_directory"];
        let cases = [
            ("nedds", Some("needs")),
            ("need", Some("needs")),
            ("Run", Some("run")),
            ("working-directory", Some("working_directory")),
            ("tiemout", Some("timeout")),
            ("zzz", None),
            ("", None),
        ];
        for (name, expect) in cases {
            assert_eq!(nearest(name, names.into_iter()), expect, "{name}");
        }
    }

    #[test]
    fn of_several_near_nodes_the_first_of_the_file_is_told() {
        for _ in 0..20 {
            let index = NodeIndex::new((0..30).map(|number| format!("n{number}")));
            assert_eq!((index.nearest("n1x"), index.nearest("n41")), (Some("n1"), Some("n1")));
        }
    }

    #[test]
    fn lists_are_short() {
        assert_eq!(list([].into_iter()), "none");
        assert_eq!(list(["a", "b", "c"].into_iter()), "`a`, `b` and `c`");
        assert!(list(["a"; 1000].into_iter()).ends_with("and others"));
    }
}
