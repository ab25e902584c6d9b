//! A cache entry on its way to another clone: what the index has of it, and its commits as steps that can be made again
//! there. Names what belongs to it (contents of files, artifacts) and does not carry it: `archive` does. What arrives is checked
//! before anything of it is believed. Knows nothing of where entries travel.
//!
//! A packet says nothing of this machine: keys hold no paths, and logs stay at home. Whoever can write one can claim any
//! result for any key, so that packets are taken from places that are trusted as the workflow itself is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Store;
use super::artifacts;
use super::cache::{Entry, Saved};
use crate::digest::Digest;
use crate::event::Artifact;
use crate::git::step::{self, Made, Step, StepBlob, StepError, StepFile, Who};
use crate::git::{BlobId, CommitId, GitError, Repo};

/// Version of the stored form. Another one is refused by name.
pub const FORMAT: u32 = 1;

/// Largest stored form, bytes: outputs have at most 1 MiB each.
pub const MAX_PACKET: u64 = 256 * 1024 * 1024;

/// Why an entry cannot be sent or taken.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    #[error("the entry has format {found}, and this spb knows {FORMAT}")]
    Format { found: u32 },
    #[error("the entry cannot be read: {0}")]
    Shape(String),
    #[error("the entry of `{node}`: {source}")]
    Step { node: String, source: StepError },
    #[error("the entry of `{node}`: the artifact `{path}` {why}")]
    Artifact { node: String, path: String, why: &'static str },
    #[error(transparent)]
    Git(#[from] GitError),
}

/// One entry with everything that it is, but for contents and artifacts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Packet {
    format: u32,
    /// Hexadecimal, as those that follow.
    key: String,
    /// Under which it is found without a look at files, on the very base it was made on.
    quick_keys: Vec<String>,
    pub workflow: String,
    pub node: String,
    pub entry: Entry,
    /// Its commits, the oldest first; none when it changed nothing.
    steps: Vec<WireStep>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct WireStep {
    id: String,
    tree: String,
    parents: Vec<String>,
    message: String,
    author: WireWho,
    committer: WireWho,
    files: Vec<WireFile>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct WireWho {
    name: String,
    email: String,
    time: (i64, i32),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct WireFile {
    /// Bytes that are no plain ASCII as `%XX`.
    path: String,
    old: Option<(u32, String)>,
    new: Option<(u32, String)>,
}

/// An entry that has arrived: its objects are there, the index has to be told.
#[derive(Debug)]
pub struct Arrived {
    pub saved: Saved,
    /// Must be kept from `git gc`.
    pub commit: Option<CommitId>,
}

impl Packet {
    /// Of an entry in this repository. `quick_keys` are those that find it with the commit it has.
    ///
    /// # Errors
    /// When its commit is not there any more.
    pub fn of(
        repo: &Repo,
        (key, quick_keys): (Digest, &[Digest]),
        (workflow, node): (&str, &str),
        entry: &Entry,
    ) -> Result<Self, GitError> {
        let commit = entry.result.commit.as_ref().and_then(|commit| commit.parse::<CommitId>().ok());
        let steps = commit.map(|commit| Step::line(repo, commit, entry.result.commits())).transpose()?;
        // The log stays where it was written: it is of one machine, and may be long.
        let entry = Entry { log: None, ..entry.clone() };
        Ok(Self {
            format: FORMAT,
            key: key.to_hex(),
            quick_keys: quick_keys.iter().map(|key| key.to_hex()).collect(),
            workflow: workflow.to_owned(),
            node: node.to_owned(),
            entry,
            steps: steps.iter().flatten().map(WireStep::of).collect(),
        })
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a packet has only string keys")
    }

    /// Reads what [`Packet::encode`] wrote, and refuses what no node can have left.
    ///
    /// # Errors
    /// When it is of another format or of the wrong shape.
    pub fn decode(bytes: &[u8]) -> Result<Self, PacketError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let shape = |error: serde_json::Error| PacketError::Shape(error.to_string());
        let Format { format } = serde_json::from_slice(bytes).map_err(shape)?;
        if format != FORMAT {
            return Err(PacketError::Format { found: format });
        }
        let packet: Self = serde_json::from_slice(bytes).map_err(shape)?;
        packet.key()?;
        packet.quick_keys()?;
        packet.steps()?;
        let result = &packet.entry.result;
        let named = packet.steps.last().map(|step| &step.id);
        let is_line = packet.steps.windows(2).all(|pair| pair[1].parents.first() == Some(&pair[0].id));
        let counts = packet.steps.is_empty() || packet.steps.len() == result.commits();
        if result.commit.as_ref() != named || !is_line || !counts || !result.heads.is_empty() {
            return Err(PacketError::Shape("it names a commit that it does not hold".to_owned()));
        }
        for artifact in &packet.entry.result.artifacts {
            let why = match Digest::from_hex(&artifact.digest) {
                None => "has no digest",
                Some(_) if !artifacts::is_inside(&artifact.path) => "leaves the workspace",
                Some(_) if !artifacts::stays(artifact) => "is a symlink that leads out of the workspace",
                Some(_) => continue,
            };
            return Err(PacketError::Artifact { node: packet.node, path: artifact.path.clone(), why });
        }
        Ok(packet)
    }

    /// The content key.
    ///
    /// # Errors
    /// When it is none.
    pub fn key(&self) -> Result<Digest, PacketError> {
        digest(&self.key)
    }

    fn quick_keys(&self) -> Result<Vec<Digest>, PacketError> {
        self.quick_keys.iter().map(|key| digest(key)).collect()
    }

    /// Contents of files that have to be there before [`Packet::accept`], or be given to it.
    ///
    /// # Errors
    /// When its step has the wrong shape.
    pub fn contents(&self) -> Result<Vec<BlobId>, PacketError> {
        Ok(step::contents(&self.steps()?))
    }

    /// Artifacts that have to be in the store before [`Packet::accept`].
    pub fn artifacts(&self) -> &[Artifact] {
        &self.entry.result.artifacts
    }

    /// Makes its commit in this repository. Nothing names it yet: the caller tells the index and keeps the commit.
    ///
    /// # Errors
    /// When something of it is missing, damaged or nothing that a node leaves.
    pub fn accept(
        self,
        store: &Store,
        repo: &Repo,
        contents: &BTreeMap<BlobId, Vec<u8>>,
    ) -> Result<Arrived, PacketError> {
        for artifact in &self.entry.result.artifacts {
            // Read to its end: the size that the packet tells must be true as well.
            if !artifacts::is_it(store, artifact) {
                let (node, path) = (self.node, artifact.path.clone());
                return Err(PacketError::Artifact { node, path, why: "is missing or damaged" });
            }
        }
        let (key, mut quick_keys) = (self.key()?, self.quick_keys()?);
        let wrong = |source| PacketError::Step { node: self.node.clone(), source };
        let steps = self.steps()?;
        let made = (!steps.is_empty()).then(|| step::make(repo, &steps, contents));
        let made = made.transpose().map_err(wrong)?;
        if matches!(made, Some(Made::Apart(_))) {
            // They speak of what the entry stood on, and that is not here.
            quick_keys.clear();
        }
        let mut entry = self.entry;
        entry.result.commit = made.map(|made| made.commit().to_string());
        // A clock that was ahead must not keep it from growing old.
        entry.created = entry.created.min(jiff::Timestamp::now().as_millisecond());
        let commit = made.map(Made::commit);
        Ok(Arrived {
            saved: Saved::from_elsewhere((key, quick_keys), self.workflow, self.node, entry),
            commit,
        })
    }

    fn steps(&self) -> Result<Vec<Step>, PacketError> {
        self.steps.iter().map(WireStep::read).collect()
    }
}

impl WireStep {
    fn of(step: &Step) -> Self {
        let who = |who: &Who| WireWho { name: who.name.clone(), email: who.email.clone(), time: who.time };
        let side = |blob: Option<StepBlob>| blob.map(|blob| (blob.mode, blob.id.to_string()));
        let file = |file: &StepFile| WireFile {
            path: escaped(&file.path),
            old: side(file.old),
            new: side(file.new),
        };
        Self {
            id: step.id.to_string(),
            tree: step.tree.to_string(),
            parents: step.parents.iter().map(ToString::to_string).collect(),
            message: step.message.clone(),
            author: who(&step.author),
            committer: who(&step.committer),
            files: step.files.iter().map(file).collect(),
        }
    }

    fn read(&self) -> Result<Step, PacketError> {
        let side = |side: &Option<(u32, String)>| -> Result<Option<StepBlob>, PacketError> {
            side.as_ref().map(|(mode, id)| Ok(StepBlob { mode: *mode, id: parsed(id)? })).transpose()
        };
        let files = self.files.iter().map(|file| {
            Ok(StepFile { path: plain(&file.path)?, old: side(&file.old)?, new: side(&file.new)? })
        });
        let who = |who: &WireWho| Who { name: who.name.clone(), email: who.email.clone(), time: who.time };
        Ok(Step {
            id: parsed(&self.id)?,
            tree: parsed(&self.tree)?,
            parents: self.parents.iter().map(|parent| parsed(parent)).collect::<Result<_, _>>()?,
            message: self.message.clone(),
            author: who(&self.author),
            committer: who(&self.committer),
            files: files.collect::<Result<_, PacketError>>()?,
        })
    }
}

fn digest(text: &str) -> Result<Digest, PacketError> {
    Digest::from_hex(text).ok_or_else(|| PacketError::Shape("a key is no digest".to_owned()))
}

fn parsed<T: std::str::FromStr<Err = impl std::fmt::Display>>(text: &str) -> Result<T, PacketError> {
    text.parse().map_err(|error| PacketError::Shape(format!("{error}")))
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02x}")),
        }
    }
    text
}

fn plain(text: &str) -> Result<Vec<u8>, PacketError> {
    let wrong = || PacketError::Shape(format!("{text:?} is no path"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(|digit| char::from(digit.unwrap_or(b'?')).to_digit(16));
        let [Some(high), Some(low)] = digits else { return Err(wrong()) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_path_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = escaped(&bytes);
            prop_assert!(text.is_ascii());
            prop_assert_eq!(plain(&text).unwrap(), bytes);
        }
    }

    #[test]
    fn another_format_is_told_before_its_shape_is_looked_at() {
        let error = Packet::decode(br#"{"format":2,"whatever":[]}"#).unwrap_err();
        assert_eq!(error.to_string(), "the entry has format 2, and this spb knows 1");
        assert!(Packet::decode(b"{}").is_err() && Packet::decode(b"").is_err());
    }
}
