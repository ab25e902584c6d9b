//! A sealed envelope around an archive that lies in a shared place: who wrote it, and that nothing of it changed. Says
//! nothing of what is inside: that is checked when it is taken out.
//!
//! ```text
//! "SPBENTRY"  version u8  sealed u8  seal [u8; 32]  archive
//! ```
//! The seal covers the name under which the entry lies, so that one entry cannot stand in for another. With a key it is
//! a keyed BLAKE3; without one it is a plain BLAKE3, which shows damage and proves nothing of who wrote it.

const MAGIC: &[u8; 8] = b"SPBENTRY";
/// Raised when an older reader would misread what is written.
const VERSION: u8 = 1;
/// Bytes before the archive.
const FRONT: usize = 8 + 1 + 1 + 32;
const CONTEXT: &str = "spb shared cache, key of seals, version 1";

/// The key of seals.
#[derive(Clone)]
pub struct Seal([u8; 32]);

impl Seal {
    /// From a secret of any length.
    pub fn new(secret: &[u8]) -> Self {
        Self(blake3::derive_key(CONTEXT, secret))
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(..)")
    }
}

/// Why an envelope is not opened; fits after "its entry".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("is not signed")]
    Unsigned,
    #[error("is signed, and there is no key to check that with")]
    NoKey,
    #[error("is not signed with this key, or was changed")]
    WrongSeal,
    #[error("is damaged")]
    Damaged,
    #[error("was written by a newer spb")]
    Newer,
}

/// Puts an archive into an envelope that will lie under `name`.
pub fn close(archive: &[u8], name: &str, seal: Option<&Seal>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FRONT + archive.len());
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    bytes.push(u8::from(seal.is_some()));
    bytes.extend_from_slice(sum(name, seal, archive).as_bytes());
    bytes.extend_from_slice(archive);
    bytes
}

/// The archive in an envelope that lay under `name`, if its seal holds.
///
/// # Errors
/// The reason not to look inside. With a key, whatever is not sealed with it.
pub fn open<'b>(bytes: &'b [u8], name: &str, seal: Option<&Seal>) -> Result<&'b [u8], Refused> {
    if bytes.len() < FRONT || &bytes[..8] != MAGIC {
        return Err(Refused::Damaged);
    }
    if bytes[8] != VERSION {
        return Err(Refused::Newer);
    }
    match (bytes[9], seal) {
        (0, None) | (1, Some(_)) => {}
        (0, Some(_)) => return Err(Refused::Unsigned),
        (1, None) => return Err(Refused::NoKey),
        _ => return Err(Refused::Damaged),
    }
    let claimed: [u8; 32] = bytes[10..FRONT].try_into().expect("thirty-two bytes");
    let archive = &bytes[FRONT..];
    // The library compares in constant time.
    if sum(name, seal, archive) == blake3::Hash::from_bytes(claimed) {
        Ok(archive)
    } else {
        Err(if seal.is_some() { Refused::WrongSeal } else { Refused::Damaged })
    }
}

fn sum(name: &str, seal: Option<&Seal>, archive: &[u8]) -> blake3::Hash {
    let mut hasher = match seal {
        Some(Seal(key)) => blake3::Hasher::new_keyed(key),
        None => blake3::Hasher::new(),
    };
    for part in [MAGIC.as_slice(), &[VERSION], name.as_bytes(), archive] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_closed_opens_again() {
        for seal in [None, Some(Seal::new(b"secret"))] {
            let bytes = close(b"archive", "name", seal.as_ref());
            assert_eq!(open(&bytes, "name", seal.as_ref()), Ok(b"archive".as_slice()));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        for seal in [None, Some(Seal::new(b"secret"))] {
            let bytes = close(b"archive", "name", seal.as_ref());
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut bytes = bytes.clone();
                    bytes[at] ^= 1 << bit;
                    assert!(open(&bytes, "name", seal.as_ref()).is_err(), "byte {at} bit {bit}");
                }
                assert!(open(&bytes[..at], "name", seal.as_ref()).is_err(), "cut at {at}");
            }
        }
    }

    #[test]
    fn a_seal_holds_for_one_key_and_one_name() {
        let (ours, theirs) = (Seal::new(b"ours"), Seal::new(b"theirs"));
        let sealed = close(b"archive", "name", Some(&ours));
        let plain = close(b"archive", "name", None);
        assert_eq!(open(&sealed, "name", Some(&theirs)), Err(Refused::WrongSeal));
        assert_eq!(open(&sealed, "other", Some(&ours)), Err(Refused::WrongSeal));
        assert_eq!(open(&plain, "other", None), Err(Refused::Damaged));
        assert_eq!(open(&plain, "name", Some(&ours)), Err(Refused::Unsigned));
        assert_eq!(open(&sealed, "name", None), Err(Refused::NoKey));
        assert_eq!(format!("{ours:?}"), "Seal(..)");
    }
}
