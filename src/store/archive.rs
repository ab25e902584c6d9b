//! Entries in one stream of bytes, with everything that belongs to them: for a file that a CI cache keeps, or for one
//! entry in a shared place. No name in it ever becomes the name of a file: contents are found by their digests, and what
//! a packet names is checked where it is used.
//!
//! `spb cache 1\n`, then one zstd stream of records: a kind (one byte), a length (eight bytes, little endian), so many
//! bytes. `g` is the content of a file in git; `a` the digest of an artifact (32 bytes) and its stored, compressed form; `e` a
//! packet, behind all that it names. The last is `z`: the BLAKE3 of all bytes before it.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};

use super::Store;
use super::artifacts::{self, ArtifactError};
use super::packet::{Arrived, MAX_PACKET, Packet, PacketError};
use crate::digest::Digest;
use crate::git::{GitError, Repo};

/// Why an archive cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("it is no archive of `spb cache export`")]
    Other,
    #[error("it has format {found}, and this spb knows {FORMAT}")]
    Format { found: String },
    #[error("it is cut off or damaged")]
    Damaged,
    #[error("it unpacks to more than {max} bytes")]
    TooLarge { max: u64 },
    #[error(transparent)]
    Packet(#[from] PacketError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Version of the form.
pub const FORMAT: u32 = 1;
const MAGIC: &str = "spb cache ";
const LEVEL: i32 = 3;

const CONTENT: u8 = b'g';
const ARTIFACT: u8 = b'a';
const ENTRY: u8 = b'e';
const END: u8 = b'z';

/// Writes entries one by one; what several share is written once.
pub struct Writer<W: Write> {
    out: zstd::Encoder<'static, W>,
    hasher: blake3::Hasher,
    written: HashSet<Vec<u8>>,
}

impl<W: Write> Writer<W> {
    /// # Errors
    /// When `out` refuses.
    pub fn new(mut out: W) -> Result<Self, ArchiveError> {
        out.write_all(format!("{MAGIC}{FORMAT}\n").as_bytes())?;
        let out = zstd::Encoder::new(out, LEVEL)?;
        Ok(Self { out, hasher: blake3::Hasher::new(), written: HashSet::new() })
    }

    /// # Errors
    /// When something that the packet names is missing or damaged (then nothing of the packet itself was written), or `out`
    /// refuses.
    pub fn add(&mut self, store: &Store, repo: &Repo, packet: &Packet) -> Result<(), ArchiveError> {
        for artifact in packet.artifacts() {
            let digest = Digest::from_hex(&artifact.digest).ok_or(ArchiveError::Damaged)?;
            if !self.written.contains(&digest.as_bytes()[..]) && artifact.link.is_none() {
                let (mut stored, length) = artifacts::stored(store, artifact)?;
                self.head(ARTIFACT, length + 32)?;
                self.bytes(digest.as_bytes())?;
                self.copy(&mut stored, length)?;
                self.written.insert(digest.as_bytes().to_vec());
            }
        }
        for id in packet.contents()? {
            if !self.written.contains(id.as_bytes()) {
                self.record(CONTENT, &repo.content(id)?)?;
                self.written.insert(id.as_bytes().to_vec());
            }
        }
        self.record(ENTRY, &packet.encode())
    }

    /// # Errors
    /// When `out` refuses.
    pub fn finish(mut self) -> Result<W, ArchiveError> {
        let sum = *self.hasher.finalize().as_bytes();
        self.record(END, &sum)?;
        Ok(self.out.finish()?)
    }

    fn record(&mut self, kind: u8, payload: &[u8]) -> Result<(), ArchiveError> {
        self.head(kind, payload.len() as u64)?;
        self.bytes(payload)
    }

    fn head(&mut self, kind: u8, length: u64) -> Result<(), ArchiveError> {
        self.bytes(&[&[kind][..], &length.to_le_bytes()].concat())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.hasher.update(bytes);
        Ok(self.out.write_all(bytes)?)
    }

    fn copy(&mut self, from: &mut impl Read, length: u64) -> Result<(), ArchiveError> {
        let mut left = length;
        let mut buffer = vec![0; 128 * 1024];
        while left > 0 {
            let part = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            from.read_exact(&mut buffer[..part])?;
            self.bytes(&buffer[..part])?;
            left -= part as u64;
        }
        Ok(())
    }
}

/// A record, whose bytes come next.
enum Record {
    Content(u64),
    /// So many bytes behind the digest.
    Artifact(Digest, u64),
    Entry(u64),
    End,
}

/// Reads records, and gives the last one only when all before it were whole.
struct Reader<R: Read> {
    input: zstd::Decoder<'static, io::BufReader<R>>,
    hasher: blake3::Hasher,
    /// Bytes that may still come.
    left: u64,
    max: u64,
}

impl<R: Read> Reader<R> {
    fn new(mut input: R, max: u64) -> Result<Self, ArchiveError> {
        let mut magic = Vec::new();
        while !magic.ends_with(b"\n") && magic.len() < 32 {
            let mut byte = [0];
            input.read_exact(&mut byte).map_err(|_| ArchiveError::Other)?;
            magic.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&magic).into_owned();
        let found = text.strip_prefix(MAGIC).ok_or(ArchiveError::Other)?.trim_end();
        if found != FORMAT.to_string() {
            return Err(ArchiveError::Format { found: found.chars().filter(|c| !c.is_control()).collect() });
        }
        let mut input = zstd::Decoder::new(input)?;
        // A stream that asks for more memory than any of ours is not read.
        input.window_log_max(27)?;
        Ok(Self { input, hasher: blake3::Hasher::new(), left: max, max })
    }

    fn next(&mut self) -> Result<Record, ArchiveError> {
        let so_far = *self.hasher.finalize().as_bytes();
        let head = self.bytes(9)?;
        let length = u64::from_le_bytes(head[1..].try_into().expect("eight bytes"));
        match head[0] {
            CONTENT => Ok(Record::Content(length)),
            ENTRY if length > MAX_PACKET => Err(ArchiveError::TooLarge { max: MAX_PACKET }),
            ENTRY => Ok(Record::Entry(length)),
            ARTIFACT if length >= 32 => {
                let digest = Digest::from_slice(&self.bytes(32)?).expect("32 bytes");
                Ok(Record::Artifact(digest, length - 32))
            }
            END if length == 32 && self.bytes(32)? == so_far => match self.input.read(&mut [0]) {
                Ok(0) => Ok(Record::End),
                _ => Err(ArchiveError::Damaged),
            },
            _ => Err(ArchiveError::Damaged),
        }
    }

    /// Hands so many bytes on, part by part.
    fn copy(&mut self, length: u64, to: &mut impl Write) -> Result<(), ArchiveError> {
        let mut left = length;
        while left > 0 {
            let part = left.min(128 * 1024);
            to.write_all(&self.bytes(part)?)?;
            left -= part;
        }
        Ok(())
    }

    fn bytes(&mut self, length: u64) -> Result<Vec<u8>, ArchiveError> {
        self.left = self.left.checked_sub(length).ok_or(ArchiveError::TooLarge { max: self.max })?;
        // A length that lies makes no room: it grows with what is there.
        let mut bytes = Vec::new();
        let read = (&mut self.input).take(length).read_to_end(&mut bytes);
        if read.map_err(|_| ArchiveError::Damaged)? as u64 != length {
            return Err(ArchiveError::Damaged);
        }
        self.hasher.update(&bytes);
        Ok(bytes)
    }
}

/// Reads an archive to its end and takes nothing of it. Returns how many entries it has.
///
/// # Errors
/// When it is cut off, damaged, of another format, or larger than `max` bytes unpacked.
pub fn check(input: impl Read, max: u64) -> Result<usize, ArchiveError> {
    let mut reader = Reader::new(input, max)?;
    let mut entries = 0;
    loop {
        match reader.next()? {
            Record::Entry(length) => {
                entries += 1;
                reader.copy(length, &mut io::sink())?;
            }
            Record::Content(length) | Record::Artifact(_, length) => reader.copy(length, &mut io::sink())?,
            Record::End => return Ok(entries),
        }
    }
}

/// What is taken of an archive, entry by entry: an entry, or why there is none.
pub type Taken = Result<Arrived, ArchiveError>;

/// Takes the entries of an archive that `wants` says are wanted: their objects are in the repository and the store
/// afterwards, the index has to be told. An entry that is refused does not keep the others away. `max` counts all bytes, those
/// that artifacts unpack to as well.
///
/// # Errors
/// When the archive as a whole cannot be read: what came before stays as objects that nobody names.
pub fn take(
    input: impl Read,
    max: u64,
    (store, repo): (&Store, &Repo),
    mut wants: impl FnMut(&Packet) -> bool,
) -> Result<Vec<Taken>, ArchiveError> {
    let mut reader = Reader::new(input, max)?;
    let mut taken = Vec::new();
    loop {
        match reader.next()? {
            Record::Content(length) => {
                repo.keep_content(&reader.bytes(length)?)?;
            }
            Record::Artifact(digest, length) => {
                let left = reader.left;
                let size = artifacts::accept(store, digest, left, |file| reader.copy(length, file))?;
                reader.left = reader.left.checked_sub(size).ok_or(ArchiveError::TooLarge { max })?;
            }
            Record::Entry(length) => match Packet::decode(&reader.bytes(length)?) {
                Ok(packet) if !wants(&packet) => {}
                Ok(packet) => {
                    taken.push(packet.accept(store, repo, &BTreeMap::new()).map_err(ArchiveError::from));
                }
                Err(error) => taken.push(Err(error.into())),
            },
            Record::End => return Ok(taken),
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make the files that they look at")]
mod tests {
    use super::*;
    use crate::event::{NodeResult, Usage};
    use crate::git::Stamp;
    use crate::git::repo::discover;
    use crate::plan::fingerprint::StoredManifest;
    use crate::process::Tool;
    use crate::store::cache::Entry;

    struct Place {
        directory: tempfile::TempDir,
        store: Store,
        repo: Repo,
    }

    fn git(place: &std::path::Path, words: &[&str]) {
        let settings = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        let done = Tool::new("git").directory(place).args(settings).args(words).run().unwrap();
        assert_eq!(done.code, 0, "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Two of these have the same commit.
    fn place() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        git(path, &["init", "-q"]);
        std::fs::write(path.join("a"), "a").unwrap();
        git(path, &["add", "a"]);
        git(path, &["commit", "-q", "-m", "base", "--date", "2026-01-02T03:04:05Z"]);
        let found = discover(path).unwrap();
        let store = Store::at(&found.common_dir);
        store.prepare().unwrap();
        Place { store, repo: Repo::open(&found).unwrap(), directory }
    }

    fn packet(place: &Place) -> Packet {
        let base = place.repo.resolve("HEAD").unwrap();
        std::fs::write(place.directory.path().join("b"), "b".repeat(1000)).unwrap();
        std::fs::write(place.directory.path().join("tool"), "t".repeat(300_000)).unwrap();
        git(place.directory.path(), &["add", "b"]);
        git(place.directory.path(), &["commit", "-q", "-m", "other"]);
        let tree = place.repo.tree_of(place.repo.resolve("HEAD").unwrap()).unwrap();
        let commit = place.repo.commit(tree, &[base], "spb: n", Stamp::Like(base)).unwrap();
        let artifact = artifacts::store(&place.store, place.directory.path(), "tool").unwrap();
        let result = NodeResult {
            commit: Some(commit.to_string()),
            artifacts: vec![artifact],
            ..NodeResult::default()
        };
        let entry = Entry {
            result,
            base_tree: None,
            duration_ms: 7,
            usage: Usage::default(),
            log: None,
            created: 5,
            manifest: StoredManifest::default(),
        };
        let key = Digest::of_bytes(b"key");
        Packet::of(&place.repo, (key, &[Digest::of_bytes(b"quick")]), ("w", "n"), &entry).unwrap()
    }

    fn archive(place: &Place, packet: &Packet) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.add(&place.store, &place.repo, packet).unwrap();
        writer.add(&place.store, &place.repo, packet).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn an_entry_arrives_with_all_that_belongs_to_it() {
        let (here, there) = (place(), place());
        let packet = packet(&here);
        let bytes = archive(&here, &packet);
        assert!(bytes.len() < 2000, "what is shared is written once, and compressed: {}", bytes.len());
        assert_eq!(check(&*bytes, 10_000_000).unwrap(), 2);
        let mut seen = 0;
        let wants = |_: &Packet| {
            seen += 1;
            seen == 2
        };
        let taken = take(&*bytes, 10_000_000, (&there.store, &there.repo), wants).unwrap();
        let [Ok(arrived)] = &taken[..] else { panic!("{taken:?}") };
        assert!(arrived.commit.is_some_and(|commit| there.repo.has_commit(commit)));
        let artifact = &arrived.saved.entry().result.artifacts[0];
        artifacts::restore(&there.store, there.directory.path(), artifact).unwrap();
        assert_eq!(std::fs::read(there.directory.path().join("tool")).unwrap().len(), 300_000);
        assert_eq!(arrived.saved.key(), Digest::of_bytes(b"key"));
    }

    #[test]
    fn what_is_cut_off_damaged_or_too_large_is_refused() {
        let (here, there) = (place(), place());
        let bytes = archive(&here, &packet(&here));
        for length in 0..bytes.len() {
            assert!(check(&bytes[..length], 10_000_000).is_err(), "{length}");
        }
        for at in (0..bytes.len()).step_by(7) {
            let mut other = bytes.clone();
            other[at] ^= 0x10;
            let same = check(&*other, 10_000_000).is_ok();
            // A bit that says nothing of the content, such as a flag of a block, may be another one.
            assert!(
                !same || zstd::decode_all(&other[12..]).unwrap() == zstd::decode_all(&bytes[12..]).unwrap()
            );
        }
        let small = check(&*bytes, 500).unwrap_err();
        assert_eq!(small.to_string(), "it unpacks to more than 500 bytes");
        let bomb = take(&*bytes, 20_000, (&there.store, &there.repo), |_| true).unwrap_err();
        assert!(bomb.to_string().contains("unpacks to more than"), "{bomb}");
        let newer = check(&b"spb cache 2\n..."[..], 500).unwrap_err();
        assert_eq!(newer.to_string(), "it has format 2, and this spb knows 1");
        assert!(matches!(check(&b"PK zip"[..], 500), Err(ArchiveError::Other)));
    }
}
