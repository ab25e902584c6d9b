//! Which files of a tree a slot holds when it is to hold a part of it only: what lies below the directories that are asked
//! for, and the files beside and above them, which is git's own rule ("cone mode"): so the rules of ignoring and of
//! attributes that hold for what is there are there too. Knows nothing of slots.

/// The directories that are asked for; a file stands for the directory that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cone {
    directories: Vec<Vec<u8>>,
}

impl Cone {
    /// `None` when nothing is named: then everything is meant.
    pub fn new(paths: &[String]) -> Option<Self> {
        let tidy = |path: &String| {
            let names = path.split('/').filter(|name| !matches!(*name, "" | "."));
            names.collect::<Vec<_>>().join("/").into_bytes()
        };
        (!paths.is_empty()).then(|| Self { directories: paths.iter().map(tidy).collect() })
    }

    /// Whether the file at this path is there.
    pub(in crate::git) fn holds(&self, path: &[u8]) -> bool {
        let directory = path.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |slash| &path[..slash]);
        directory.is_empty()
            || self.directories.iter().any(|asked| is_within(directory, asked) || is_within(asked, directory))
    }

    /// What git's file `info/sparse-checkout` says of it.
    pub(in crate::git) fn patterns(&self) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = vec![b"/*".to_vec(), b"!/*/".to_vec()];
        for asked in self.directories.iter().filter(|asked| !asked.is_empty()) {
            let slashes = (0..asked.len()).filter(|position| asked[*position] == b'/');
            for above in slashes.map(|slash| escaped(&asked[..slash])) {
                lines.push([b"/", &*above, b"/"].concat());
                lines.push([b"!/", &*above, b"/*/"].concat());
            }
            lines.push([b"/", &*escaped(asked), b"/"].concat());
        }
        let mut seen = std::collections::HashSet::new();
        lines.retain(|line| seen.insert(line.clone()));
        if self.directories.iter().any(Vec::is_empty) {
            lines = vec![b"/*".to_vec()];
        }
        [lines.join(&b'\n'), b"\n".to_vec()].concat()
    }
}

/// Whether a path is a directory or lies below it.
fn is_within(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| directory.is_empty() || rest.is_empty() || rest.starts_with(b"/"))
}

/// As a pattern that means nothing but itself.
fn escaped(path: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b'*' | b'?' | b'[' | b'\\' => vec![b'\\', *byte],
        _ => vec![*byte],
    };
    path.iter().flat_map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_there_with_the_files_beside_and_above_it() {
        let cone = Cone::new(&["./a/b/".into(), "x".into(), "docs/guide.md".into()]).unwrap();
        for path in ["top", "a/file", "a/b/c", "a/b/c/d/e", "x/y", "docs/guide.md", "docs/other.md"] {
            assert!(cone.holds(path.as_bytes()), "{path}");
        }
        for path in ["a/c/file", "a/bc/d", "xy/z", "docs/deep/er"] {
            assert!(!cone.holds(path.as_bytes()), "{path}");
        }
        assert_eq!(
            String::from_utf8(Cone::new(&["a/b*".into(), "a".into()]).unwrap().patterns()).unwrap(),
            "/*\n!/*/\n/a/\n!/a/*/\n/a/b\\*/\n"
        );
        assert_eq!(Cone::new(&[]), None);
        assert!(Cone::new(&[".".into()]).unwrap().holds(b"a/b/c"));
    }
}
