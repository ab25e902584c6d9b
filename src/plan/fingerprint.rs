//! What a key covers, and why it differs from an earlier one: both from one walk over one [`Manifest`], so the
//! explanation can never drift from the key.
//!
//! A node has two keys. The **quick key** uses the identities of what it starts from (base commit, commits of its
//! needs): it is known without touching the repository's trees. The **content key** uses the digest of the files the
//! node reads: an upstream that ran again and changed nothing this node reads still gives a hit (early cut-off).
//! Covered by both: format version, node id, what it runs, environment declared for it, copied environment
//! (`pass_env`), output of `tools`, `extra`, artifacts of its needs, and everything the result's shape depends on.
//! Outputs of needs are covered because expressions are substituted first. Secrets never enter a key, nor do the
//! machine, the clock, absolute paths or `PATH`.

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};

/// Raised whenever the meaning of a key changes: all older entries become misses.
pub const FORMAT: u32 = 1;

/// Name of the item that stands for the files a node reads.
const READS: &str = "files it reads";
/// Name of the item that stands for the commits a node starts from.
const STARTS_FROM: &str = "commits it starts from";

/// Everything one key covers, in a fixed order.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    items: Vec<Item>,
    /// Something that it should cover is not known.
    doubt: Option<String>,
}

#[derive(Clone, Debug)]
struct Item {
    /// In a person's words: `environment variable RUSTFLAGS`.
    what: String,
    value: Vec<u8>,
}

/// A manifest as it is kept with an entry: names, and a digest of each value instead of the value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredManifest {
    items: Vec<(String, String)>,
}

/// The first way in which a manifest differs from an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A sentence: `environment variable RUSTFLAGS added`.
    Item(String),
    /// The files it reads: the trees tell which.
    Reads,
    /// The earlier one says nothing.
    Unknown,
    None,
}

impl Manifest {
    pub fn new(node: &str) -> Self {
        let mut manifest = Self::default();
        manifest.add("key format", FORMAT.to_string());
        manifest.add("node id", node);
        manifest
    }

    /// `what` is unique within a manifest.
    pub fn add(&mut self, what: impl Into<String>, value: impl AsRef<[u8]>) {
        self.items.push(Item { what: what.into(), value: value.as_ref().to_vec() });
    }

    /// Something that the key should cover is not known: there is no key then, for this reason.
    pub fn doubt(&mut self, why: String) {
        self.doubt.get_or_insert(why);
    }

    pub fn doubted(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// The key that needs no tree: `base` and `heads` are commit ids in hexadecimal.
    pub fn quick_key(&self, base: &str, heads: &[String]) -> Digest {
        let mut hasher = self.hasher("quick");
        hasher.field(STARTS_FROM, base.as_bytes());
        for head in heads {
            hasher.field("head", head.as_bytes());
        }
        hasher.finish()
    }

    /// The key over the content of the files read.
    pub fn content_key(&self, reads: Digest) -> Digest {
        let mut hasher = self.hasher("content");
        hasher.field(READS, reads.as_bytes());
        hasher.finish()
    }

    /// The only key of a node that sees no files.
    pub fn fileless_key(&self) -> Digest {
        self.hasher("fileless").finish()
    }

    fn hasher(&self, domain: &str) -> Hasher {
        let mut hasher = Hasher::new(domain);
        for item in &self.items {
            hasher.field(&item.what, &item.value);
        }
        hasher
    }

    /// The form that is kept, with the digest of the files read when there are any.
    pub fn stored(&self, reads: Option<Digest>) -> StoredManifest {
        let short = |digest: Digest| digest.to_hex()[..16].to_owned();
        let mut items: Vec<_> =
            self.items.iter().map(|item| (item.what.clone(), short(Digest::of_bytes(&item.value)))).collect();
        items.extend(reads.map(|reads| (READS.to_owned(), short(reads))));
        StoredManifest { items }
    }
}

impl StoredManifest {
    /// The first item of `self` that `earlier` does not have or has with another value, then the first it lost.
    pub fn difference(&self, earlier: &Self) -> Difference {
        if earlier.items.is_empty() {
            return Difference::Unknown;
        }
        let value = |list: &Self, what: &str| {
            list.items.iter().find(|(name, _)| name == what).map(|(_, value)| value.clone())
        };
        for (what, now) in &self.items {
            match value(earlier, what) {
                Some(before) if before == *now => {}
                _ if what == READS => return Difference::Reads,
                Some(_) => return Difference::Item(format!("{what} changed")),
                None => return Difference::Item(format!("{what} added")),
            }
        }
        for (what, _) in &earlier.items {
            if value(self, what).is_none() {
                return Difference::Item(format!("{what} removed"));
            }
        }
        Difference::None
    }

    /// In how many items two of them differ.
    pub fn distance(&self, other: &Self) -> usize {
        let own: std::collections::HashMap<&str, &str> =
            self.items.iter().map(|(what, value)| (&**what, &**value)).collect();
        let (mut equal, mut common) = (0, 0);
        for (what, value) in &other.items {
            let found = own.get(&**what);
            common += usize::from(found.is_some());
            equal += usize::from(found == Some(&&**value));
        }
        self.items.len() + other.items.len() - common - equal
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest(items: &[(&str, &str)]) -> Manifest {
        let mut manifest = Manifest::new("build");
        for (what, value) in items {
            manifest.add(*what, *value);
        }
        manifest
    }

    #[test]
    fn the_first_difference_is_named() {
        let stored = |items: &[(&str, &str)]| manifest(items).stored(Some(Digest::of_bytes(b"tree")));
        let old = stored(&[("script", "make"), ("environment variable A", "1")]);
        let check = |items: &[(&str, &str)], expect: &str| {
            assert_eq!(stored(items).difference(&old), Difference::Item(expect.to_owned()));
        };
        check(&[("script", "make all"), ("environment variable A", "2")], "script changed");
        check(
            &[("script", "make"), ("environment variable A", "1"), ("environment variable B", "")],
            "environment variable B added",
        );
        check(&[("script", "make")], "environment variable A removed");
        let same = manifest(&[("script", "make"), ("environment variable A", "1")]);
        assert_eq!(same.stored(Some(Digest::of_bytes(b"other"))).difference(&old), Difference::Reads);
        let equal = same.stored(Some(Digest::of_bytes(b"tree")));
        assert_eq!(equal.difference(&old), Difference::None);
        assert_eq!(equal.difference(&StoredManifest::default()), Difference::Unknown);
        assert_eq!((equal.distance(&old), same.stored(None).distance(&old)), (0, 1));
    }

    proptest! {
        #[test]
        fn equal_keys_mean_no_difference_and_the_other_way_round(
            a in proptest::collection::btree_map("[a-c]", "[x-z]{0,2}", 0..4),
            b in proptest::collection::btree_map("[a-c]", "[x-z]{0,2}", 0..4),
        ) {
            let build = |items: &std::collections::BTreeMap<String, String>| {
                let mut manifest = Manifest::new("n");
                for (what, value) in items {
                    manifest.add(what.as_str(), value);
                }
                manifest
            };
            let (a, b) = (build(&a), build(&b));
            let reads = Digest::of_bytes(b"");
            prop_assert_eq!(
                a.content_key(reads) == b.content_key(reads),
                a.stored(None).difference(&b.stored(None)) == Difference::None
            );
            prop_assert_ne!(a.fileless_key(), a.quick_key("x", &[]));
        }
    }
}
