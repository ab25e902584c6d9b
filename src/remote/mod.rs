//! The place where several clones share results: bytes under names, got and put within a time limit, given up when it fails
//! again and again. Knows nothing of what the bytes are, of nodes, or of who is trusted.
//!
//! Directories and git repositories need nothing but this program; S3, Redis and HTTP come from a library
//! behind the feature `remote`, which takes long to build.

mod address;
mod breaker;
mod directory;
mod git;
#[cfg(feature = "remote")]
mod library;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use address::{Address, AddressError, Place};
use breaker::{After, Breaker};
use tokio::sync::Semaphore;

/// Operations under way at once: enough to hide latency, few enough for a small server.
const AT_ONCE: usize = 8;
/// What a slow connection gets through at least, bytes a second: large entries have longer.
const SLOWEST: u64 = 256 * 1024;

/// What a place needs to know beside its address. Never printed.
#[derive(Clone, Default)]
pub struct Credentials {
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<String>,
    pub session_token: Option<String>,
    /// Where an S3 is, when its address does not say.
    pub region: Option<String>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub bearer_token: Option<String>,
}

impl Credentials {
    /// What must not be told.
    #[cfg(feature = "remote")]
    fn secrets(&self) -> impl Iterator<Item = &str> {
        let all = [
            &self.access_key_id,
            &self.secret_access_key,
            &self.session_token,
            &self.password,
            &self.bearer_token,
        ];
        all.into_iter().filter_map(|secret| secret.as_deref()).filter(|secret| !secret.is_empty())
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Everything about a place.
#[derive(Clone, Debug)]
pub struct Settings {
    pub address: Address,
    pub credentials: Credentials,
    /// For one operation, from its start to its answer.
    pub timeout: Duration,
}

/// A place that cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("`{0}` needs an spb that was built with `--features remote`")]
    NotBuilt(String),
    #[error("`{address}` cannot be used: {reason}")]
    Settings { address: String, reason: String },
}

/// One operation that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    message: String,
    /// The place works, what it holds is of no use.
    is_content: bool,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_content: false }
    }

    fn too_large(limit: u64) -> Self {
        let message = format!("the entry is larger than {} MiB", limit / (1024 * 1024));
        Self { message, is_content: true }
    }
}

type Answer<'b, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'b>>;

trait Backend: Send + Sync + std::fmt::Debug {
    /// `None` where there is nothing of this name. Never more than `limit` bytes.
    fn get<'b>(&'b self, name: &'b str, limit: u64) -> Answer<'b, Option<Vec<u8>>>;
    fn put<'b>(&'b self, name: &'b str, bytes: Vec<u8>) -> Answer<'b, ()>;
    fn has<'b>(&'b self, name: &'b str) -> Answer<'b, bool>;
    /// Whether it can be reached.
    fn check(&self) -> Answer<'_, ()>;
}

/// Why an operation gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missed {
    /// The place was given up earlier.
    Off,
    /// It failed; `given_up` says once why the place is not asked any more.
    Failed { message: String, given_up: Option<String> },
    /// The place works, what it holds under this name is of no use.
    Unusable(String),
}

/// A place, reached within limits.
#[derive(Debug)]
pub struct Remote {
    address: Address,
    backend: Box<dyn Backend>,
    timeout: Duration,
    breaker: Breaker,
    at_once: Semaphore,
}

impl Remote {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// When the settings are of no use, or this spb was built without what the place needs.
    pub fn open(settings: Settings) -> Result<Self, RemoteError> {
        let Settings { address, credentials, timeout } = settings;
        let backend: Box<dyn Backend> = match &address.place {
            Place::Directory(path) => Box::new(directory::Directory::new(path.clone())),
            Place::Git(url) => Box::new(git::Git::new(url.clone(), timeout)),
            Place::S3 { .. } | Place::Redis { .. } | Place::Http { .. } => {
                by_library(&address, &credentials)?
            }
        };
        Ok(Self { address, backend, timeout, breaker: Breaker::default(), at_once: Semaphore::new(AT_ONCE) })
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether it was given up.
    pub fn is_off(&self) -> bool {
        self.breaker.is_open()
    }

    /// # Errors
    /// [`Missed`].
    pub async fn get(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Missed> {
        self.within(0, self.backend.get(name, limit)).await
    }

    /// # Errors
    /// [`Missed`].
    pub async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), Missed> {
        let length = bytes.len() as u64;
        self.within(length, self.backend.put(name, bytes)).await
    }

    /// # Errors
    /// [`Missed`].
    pub async fn has(&self, name: &str) -> Result<bool, Missed> {
        self.within(0, self.backend.has(name)).await
    }

    /// # Errors
    /// [`Missed`].
    pub async fn check(&self) -> Result<(), Missed> {
        self.within(0, self.backend.check()).await
    }

    async fn within<T>(&self, bytes: u64, answer: Answer<'_, T>) -> Result<T, Missed> {
        if self.is_off() {
            return Err(Missed::Off);
        }
        let _turn = self.at_once.acquire().await.expect("the semaphore is never closed");
        if self.is_off() {
            return Err(Missed::Off);
        }
        let limit = self.timeout + Duration::from_secs(bytes / SLOWEST);
        let done = match tokio::time::timeout(limit, answer).await {
            Ok(done) => done,
            Err(_) => Err(Fault::new(format!("no answer within {} s", limit.as_secs_f32()))),
        };
        match done {
            Ok(found) => {
                self.breaker.worked();
                Ok(found)
            }
            Err(Fault { message, is_content: true }) => {
                self.breaker.worked();
                Err(Missed::Unusable(message))
            }
            Err(Fault { message, is_content: false }) => Err(self.failed(message)),
        }
    }

    fn failed(&self, message: String) -> Missed {
        let given_up = match self.breaker.failed() {
            After::GoesOn => None,
            After::GivenUp => Some(format!(
                "the remote cache `{}` is not asked any more in this run: {} failures in a row, the last one: {message}",
                self.address,
                breaker::PATIENCE
            )),
        };
        Missed::Failed { message, given_up }
    }
}

#[cfg(feature = "remote")]
fn by_library(address: &Address, credentials: &Credentials) -> Result<Box<dyn Backend>, RemoteError> {
    library::open(address, credentials)
}

#[cfg(not(feature = "remote"))]
fn by_library(address: &Address, _: &Credentials) -> Result<Box<dyn Backend>, RemoteError> {
    Err(RemoteError::NotBuilt(address.to_string()))
}

/// Work on a thread of its own: one that hangs (a network disk) is left behind, and holds up neither the runtime nor
/// the end of the process.
fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Answer<'static, T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || sender.send(work()).ok());
    Box::pin(async move {
        receiver.await.unwrap_or_else(|_| Err(Fault::new("a bug in spb: the work ended early")))
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
