//! Results shared with other clones: asked for when this one has none, offered when a node left one. Whatever goes wrong
//! there costs a run of the node at most. What is trusted and what travels is decided here; how it gets there is for
//! `remote`, its form for `store::archive` and `store::envelope`.

mod ask;
mod offer;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

pub use ask::{Ahead, Answer, ask};
pub use offer::{Left, Sending, Uploads};

use crate::digest::Digest;
use crate::event::RunEvent;
use crate::remote::{self, Missed, Remote, RemoteError};
use crate::store::envelope::Seal;
use crate::store::recorder::{Objects, Recorder};

/// Largest entry, bytes as it travels: it is held in memory.
const MAX_ENTRY: u64 = 512 * 1024 * 1024;
/// The same unpacked, with what artifacts unpack to.
const MAX_UNPACKED: u64 = 8 * 1024 * 1024 * 1024;

/// What may be done with the remote cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Read,
    ReadWrite,
}

impl Mode {
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ReadWrite => "read-write",
        }
    }
}

/// What the user said of it.
#[derive(Clone, Debug)]
pub struct Settings {
    pub place: remote::Settings,
    pub mode: Mode,
    /// Entries are signed with it, and others refused.
    pub seal: Option<Seal>,
    /// How long the end of a run waits for what is still being sent.
    pub grace: Duration,
}

/// The remote cache of this process.
#[derive(Debug)]
pub struct Sharing {
    remote: Arc<Remote>,
    seal: Option<Seal>,
    grace: Duration,
    /// Entries that were not taken, in this process.
    refused: AtomicUsize,
    /// Absent where nothing may be written.
    offers: Option<offer::Offers>,
}

impl Sharing {
    /// Connects to nothing yet. The uploads are for the runtime of the runs.
    ///
    /// # Errors
    /// When the settings are of no use.
    pub fn open(settings: Settings) -> Result<(Self, Option<Uploads>), RemoteError> {
        let remote = Arc::new(Remote::open(settings.place)?);
        let (offers, uploads) = match settings.mode {
            Mode::Read => (None, None),
            Mode::ReadWrite => {
                let (offers, uploads) = offer::queue(Arc::clone(&remote), settings.seal.clone());
                (Some(offers), Some(uploads))
            }
        };
        Ok((
            Self { remote, seal: settings.seal, grace: settings.grace, refused: AtomicUsize::new(0), offers },
            uploads,
        ))
    }

    pub fn grace(&self) -> Duration {
        self.grace
    }
}

/// Whether a remote cache can be reached: outside of a runtime.
///
/// # Errors
/// Why not.
pub fn reach(settings: Settings) -> Result<(), String> {
    let remote = Remote::open(settings.place).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(remote.check()).map_err(|missed| match missed {
        Missed::Failed { message, .. } | Missed::Unusable(message) => message,
        Missed::Off => "it was given up".to_owned(),
    })
}

/// Where the entry of a key lies. Keys say nothing of the machine, and results may be of its kind: each kind has its own.
fn name(key: Digest) -> String {
    let key = key.to_hex();
    format!("v1/{}-{}/{}/{key}", std::env::consts::OS, std::env::consts::ARCH, &key[..2])
}

/// Tells of a place that was given up, once.
fn tell(recorder: &Recorder, journal: usize, missed: &Missed) {
    if let Missed::Failed { given_up: Some(message), .. } = missed {
        warn(recorder, journal, None, message.clone());
    }
}

fn warn(recorder: &Recorder, journal: usize, node: Option<String>, message: String) {
    recorder.fact(journal, RunEvent::Warning { node, message }, Vec::new(), Objects::None);
}
