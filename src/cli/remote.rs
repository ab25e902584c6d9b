//! What the environment says of the remote cache. Only the environment: whoever can write there decides what nodes are
//! taken to have made, so that no file of a repository may name it, and credentials are in no file at all.

use std::time::Duration;

use serde::Serialize;

use super::{Env, Failure, out};
use crate::engine::remote::{Left, Mode, Settings};
use crate::remote::{self, Address, Credentials};
use crate::report::text;
use crate::store::envelope::Seal;

const PLACE: &str = "SPB_REMOTE_CACHE";
const MODE: &str = "SPB_REMOTE_CACHE_MODE";
const KEY: &str = "SPB_REMOTE_CACHE_KEY";
const TIMEOUT: &str = "SPB_REMOTE_CACHE_TIMEOUT";
const GRACE: &str = "SPB_REMOTE_CACHE_GRACE";

/// For one operation: a server that is there answers within a second or two.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// What is still being sent when a run is over.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);
/// Longest time that may be set, seconds.
const MOST_SECONDS: u64 = 3600;

/// The remote cache that the environment names; `None` when it names none.
///
/// # Errors
/// When a setting cannot be read. No value is repeated that may be secret.
pub fn settings(env: &Env) -> Result<Option<Settings>, Failure> {
    let Some(place) = value(env, PLACE)? else { return Ok(None) };
    let address = Address::parse(&place)
        .map_err(|error| Failure::invalid(format!("`{PLACE}` names no remote cache: {error}")))?;
    let mode = match value(env, MODE)?.as_deref() {
        None | Some("read") => Mode::Read,
        Some("read-write") => Mode::ReadWrite,
        Some(other) => {
            let message = format!("`{MODE}` is {other:?}; it is `read` or `read-write`");
            return Err(Failure::invalid(message));
        }
    };
    let timeout = seconds(env, TIMEOUT)?.unwrap_or(DEFAULT_TIMEOUT);
    Ok(Some(Settings {
        place: remote::Settings { address, credentials: credentials(env)?, timeout },
        mode,
        seal: value(env, KEY)?.map(|secret| Seal::new(secret.as_bytes())),
        grace: seconds(env, GRACE)?.unwrap_or(DEFAULT_GRACE),
    }))
}

/// What the environment says of the remote cache, for `spb cache stats`. It is not asked.
#[derive(Debug, Serialize)]
pub struct Told {
    address: String,
    /// `read` or `read-write`.
    mode: &'static str,
    signed: bool,
}

impl Told {
    /// # Errors
    /// As [`settings`].
    pub fn of(env: &Env) -> Result<Option<Self>, Failure> {
        Ok(settings(env)?.map(|settings| Self {
            address: settings.place.address.to_string(),
            mode: settings.mode.word(),
            signed: settings.seal.is_some(),
        }))
    }

    pub fn line(&self) -> String {
        let signed = if self.signed { ", signed" } else { "" };
        format!("remote     {} ({}{signed})\n", self.address, self.mode)
    }
}

/// Says what of a run was not sent. What was is in the remote cache, and nobody has to be told.
pub fn tell(left: &Left) {
    if let Some(reason) = &left.given_up {
        out::warn(reason);
    }
    if left.left > 0 {
        let results = text::count(left.left, "result");
        out::warn(&format!("{results} not sent to the remote cache; whoever makes them next sends them"));
    }
    if left.kept > 0 {
        let results = text::count(left.kept, "result");
        out::warn(&format!("{results} not shared: too large, or with a secret in a file"));
    }
}

fn credentials(env: &Env) -> Result<Credentials, Failure> {
    let of = |name| value(env, name);
    Ok(Credentials {
        access_key_id: of("AWS_ACCESS_KEY_ID")?,
        secret_access_key: of("AWS_SECRET_ACCESS_KEY")?,
        session_token: of("AWS_SESSION_TOKEN")?,
        region: of("AWS_REGION")?.or(of("AWS_DEFAULT_REGION")?),
        user: of("SPB_REMOTE_CACHE_USER")?,
        password: of("SPB_REMOTE_CACHE_PASSWORD")?,
        bearer_token: of("SPB_REMOTE_CACHE_TOKEN")?,
    })
}

/// An empty variable is none.
fn value(env: &Env, name: &str) -> Result<Option<String>, Failure> {
    let Some(value) = env.lookup(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    value.into_string().map(Some).map_err(|_| Failure::invalid(format!("`{name}` is not UTF-8")))
}

fn seconds(env: &Env, name: &str) -> Result<Option<Duration>, Failure> {
    let Some(text) = value(env, name)? else { return Ok(None) };
    match text.trim().trim_end_matches('s').parse::<u64>() {
        Ok(seconds @ ..=MOST_SECONDS) => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(Failure::invalid(format!(
            "`{name}` is {text:?}; it is a number of seconds, at most {MOST_SECONDS}"
        ))),
    }
}
