//! Identities of commits, trees and files' contents. Knows nothing of what they hold.

use std::fmt;
use std::str::FromStr;

use git2::Oid;

/// A text that is not 40 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an object id of 40 hexadecimal digits")]
pub struct BadId(String);

macro_rules! object_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub(in crate::git) Oid);

        impl $name {
            /// The first twelve digits, for people.
            pub fn short(self) -> String {
                self.0.to_string()[..12].to_owned()
            }

            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                match Oid::from_str(text) {
                    Ok(id) if text.len() == 40 => Ok(Self(id)),
                    _ => Err(BadId(text.chars().take(64).collect())),
                }
            }
        }
    };
}

object_id!(
    /// The id of a commit.
    CommitId
);
object_id!(
    /// The id of a tree: equal trees have equal ids.
    TreeId
);

object_id!(
    /// The id of a file's content.
    BlobId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_writes_and_nothing_shorter() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        let id: CommitId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(id.short(), "0123456789ab");
        for bad in ["", "0123", "xyz", "--help", &text[..39]] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad:?} was accepted");
        }
    }
}
