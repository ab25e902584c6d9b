//! Entries in S3, Redis and on HTTP servers, through OpenDAL. Credentials are those that were given: no file of the user
//! and no service of a cloud is asked for any.

use futures_util::StreamExt;
use opendal::services::{Http, Redis, S3, Webdav};
use opendal::{ErrorKind, Operator};

use super::{Address, Answer, Backend, Credentials, Fault, Place, RemoteError};

/// Where most servers that speak the language of S3 claim to be.
const REGION: &str = "us-east-1";
/// Characters of an error that are told.
const TOLD: usize = 400;
/// A name that nothing is stored under.
const NOTHING: &str = "v1/reachable";

pub fn open(address: &Address, credentials: &Credentials) -> Result<Box<dyn Backend>, RemoteError> {
    // The second call of a process finds both done.
    rustls::crypto::ring::default_provider().install_default().ok();
    opendal_http_transport_reqwest::install_default();
    let (reads, writes) = operators(&address.place, credentials).map_err(|error| RemoteError::Settings {
        address: address.to_string(),
        reason: told(&error, credentials),
    })?;
    Ok(Box::new(Library { reads, writes, credentials: credentials.clone() }))
}

#[derive(Debug)]
struct Library {
    reads: Operator,
    writes: Operator,
    credentials: Credentials,
}

/// For reading and for writing: the same, but for plain HTTP.
fn operators(place: &Place, credentials: &Credentials) -> opendal::Result<(Operator, Operator)> {
    let one = match place {
        Place::S3 { bucket, prefix, endpoint, region } => {
            let mut settings = S3::default()
                .bucket(bucket)
                .root(&format!("/{prefix}"))
                .region(region.as_deref().or(credentials.region.as_deref()).unwrap_or(REGION))
                .disable_config_load()
                .disable_ec2_metadata();
            if let Some(endpoint) = endpoint {
                settings = settings.endpoint(endpoint);
            }
            settings = match (&credentials.access_key_id, &credentials.secret_access_key) {
                (Some(id), Some(secret)) => settings.access_key_id(id).secret_access_key(secret),
                _ => settings.skip_signature(),
            };
            if let Some(token) = &credentials.session_token {
                settings = settings.session_token(token);
            }
            Operator::new(settings)?
        }
        Place::Redis { endpoint, database } => {
            let mut settings = Redis::default().endpoint(endpoint).db(*database).root("/spb");
            if let Some(user) = &credentials.user {
                settings = settings.username(user);
            }
            if let Some(password) = &credentials.password {
                settings = settings.password(password);
            }
            Operator::new(settings)?
        }
        Place::Http { endpoint, path } => return http(endpoint, path, credentials),
        Place::Directory(_) | Place::Git(_) => unreachable!("those need no library"),
    };
    Ok((one.clone(), one))
}

/// A plain server answers `GET`, `HEAD` and `PUT`; the WebDAV service can write without asking for directories first.
fn http(endpoint: &str, path: &str, credentials: &Credentials) -> opendal::Result<(Operator, Operator)> {
    let root = format!("/{path}");
    let mut reads = Http::default().endpoint(endpoint).root(&root);
    let mut writes = Webdav::default().endpoint(endpoint).root(&root).disable_create_dir(true);
    if let Some(token) = &credentials.bearer_token {
        reads = reads.token(token);
        writes = writes.token(token);
    } else if let Some(user) = &credentials.user {
        let password = credentials.password.as_deref().unwrap_or_default();
        reads = reads.username(user).password(password);
        writes = writes.username(user).password(password);
    }
    Ok((Operator::new(reads)?, Operator::new(writes)?))
}

impl Library {
    fn fault(&self, error: &opendal::Error) -> Fault {
        Fault::new(told(error, &self.credentials))
    }
}

/// On one line, of a bounded length, and without what is secret. The library tells whole answers, headers and all: of those
/// the status is enough.
fn told(error: &opendal::Error, credentials: &Credentials) -> String {
    let whole = error.to_string();
    let status = whole.split_once("status: ").and_then(|(_, rest)| rest.get(..3));
    let status = status.filter(|status| status.bytes().all(|byte| byte.is_ascii_digit()));
    let message = whole.rsplit_once("=> ").map_or("", |(_, message)| message);
    let text = match status {
        Some(status) => format!("status {status} {message}"),
        None => format!("{}: {message}", error.kind()),
    };
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for secret in credentials.secrets() {
        text = text.replace(secret, "***");
    }
    text.chars().filter(|c| !c.is_control()).take(TOLD).collect()
}

impl Backend for Library {
    fn get<'b>(&'b self, name: &'b str, limit: u64) -> Answer<'b, Option<Vec<u8>>> {
        Box::pin(async move {
            match read(&self.reads, name, limit).await {
                Ok(Some(bytes)) => Ok(Some(bytes)),
                Ok(None) => Err(Fault::too_large(limit)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(self.fault(&error)),
            }
        })
    }

    fn put<'b>(&'b self, name: &'b str, bytes: Vec<u8>) -> Answer<'b, ()> {
        Box::pin(
            async move { self.writes.write(name, bytes).await.map(drop).map_err(|error| self.fault(&error)) },
        )
    }

    fn has<'b>(&'b self, name: &'b str) -> Answer<'b, bool> {
        Box::pin(async move {
            match self.reads.stat(name).await {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(self.fault(&error)),
            }
        })
    }

    fn check(&self) -> Answer<'_, ()> {
        Box::pin(async move { self.has(NOTHING).await.map(drop) })
    }
}

/// Part by part, so that a server cannot fill the memory; `None` when there is more than `limit`.
async fn read(operator: &Operator, name: &str, limit: u64) -> opendal::Result<Option<Vec<u8>>> {
    let mut parts = operator.reader(name).await?.into_stream(..).await?;
    let mut bytes = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part?;
        if (bytes.len() + part.len()) as u64 > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&part.to_bytes());
    }
    Ok(Some(bytes))
}
