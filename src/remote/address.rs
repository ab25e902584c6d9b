//! Where the shared cache is: reads the URL that a user gives. What is printed of it never holds a credential, because
//! one that holds any is refused. Knows nothing of how places are reached.

use std::fmt;
use std::path::PathBuf;

/// A place for entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub place: Place,
    /// As it was given.
    text: String,
}

/// Which kind of place it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// S3 and whatever speaks its language.
    S3 {
        bucket: String,
        prefix: String,
        endpoint: Option<String>,
        region: Option<String>,
    },
    /// `host:port` of a Redis, and the number of its database.
    Redis {
        endpoint: String,
        database: i64,
    },
    /// A server that takes plain `GET`, `HEAD` and `PUT`.
    Http {
        endpoint: String,
        path: String,
    },
    Directory(PathBuf),
    /// Whatever `git push` takes.
    Git(String),
}

/// Why a URL names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("it has no scheme such as `s3://`, `redis://`, `https://`, `file:///` or `git+ssh://`")]
    NoScheme,
    #[error(
        "the scheme `{0}` is none of s3, redis, rediss, http, https, file, git+ssh, git+https, git+http, git+file"
    )]
    Scheme(String),
    #[error("it holds a user name or a password; those come from the environment only")]
    Credentials,
    #[error("the scheme `{scheme}` needs {what}")]
    Missing { scheme: String, what: &'static str },
    #[error("the setting `{0}` is unknown; `s3://` knows `endpoint` and `region`")]
    Setting(String),
}

impl Address {
    /// # Errors
    /// Why it names no place; the text itself is not repeated, it may hold a password.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::NoScheme)?;
        if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+') {
            return Err(AddressError::NoScheme);
        }
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        refuse_credentials(scheme, path, query)?;
        let place = match scheme {
            "s3" => s3(path, query)?,
            "file" => directory(path)?,
            "redis" | "rediss" => redis(scheme, path)?,
            "http" | "https" => http(scheme, path)?,
            "git+ssh" | "git+https" | "git+http" | "git+file" => Place::Git(git(scheme, rest)?),
            other => return Err(AddressError::Scheme(other.to_owned())),
        };
        match query {
            Some(query) if !matches!(place, Place::S3 { .. }) => {
                Err(AddressError::Setting(query.split('=').next().unwrap_or_default().to_owned()))
            }
            _ => Ok(Self { place, text: text.to_owned() }),
        }
    }

    /// Whether the library of the feature `remote` is needed.
    pub fn needs_library(&self) -> bool {
        match self.place {
            Place::S3 { .. } | Place::Redis { .. } | Place::Http { .. } => true,
            Place::Directory(_) | Place::Git(_) => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `@` marks them, in the address and in the endpoint of an S3. A user of ssh is no secret; a password is one.
fn refuse_credentials(scheme: &str, path: &str, query: Option<&str>) -> Result<(), AddressError> {
    let in_query = query.is_some_and(|query| query.contains('@') || query.contains("%40"));
    let authority = path.split('/').next().unwrap_or_default();
    let in_path = match authority.rsplit_once('@') {
        None => false,
        Some((user, _)) => scheme != "git+ssh" || user.contains(':') || user.contains('@'),
    };
    let in_path = in_path || authority.contains("%40");
    if in_query || in_path { Err(AddressError::Credentials) } else { Ok(()) }
}

fn missing(scheme: &str, what: &'static str) -> AddressError {
    AddressError::Missing { scheme: scheme.to_owned(), what }
}

fn s3(path: &str, query: Option<&str>) -> Result<Place, AddressError> {
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    if bucket.is_empty() {
        return Err(missing("s3", "a bucket: `s3://bucket/prefix`"));
    }
    let (mut endpoint, mut region) = (None, None);
    for setting in query.into_iter().flat_map(|query| query.split('&')).filter(|setting| !setting.is_empty())
    {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        let value = Some(unescaped(value)).filter(|value| !value.is_empty());
        match name {
            "endpoint" => endpoint = value,
            "region" => region = value,
            other => return Err(AddressError::Setting(other.to_owned())),
        }
    }
    let prefix = prefix.trim_matches('/').to_owned();
    Ok(Place::S3 { bucket: bucket.to_owned(), prefix, endpoint, region })
}

/// `%3A` and its like, which tools write in queries.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        let digits = more.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.filter(|_| byte == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(value) => {
                bytes.push(value);
                rest = &more[2..];
            }
            None => {
                bytes.push(byte);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn directory(path: &str) -> Result<Place, AddressError> {
    if path.starts_with('/') && path.len() > 1 {
        Ok(Place::Directory(PathBuf::from(path)))
    } else {
        Err(missing("file", "an absolute path: `file:///directory`"))
    }
}

fn redis(scheme: &str, path: &str) -> Result<Place, AddressError> {
    let (host, database) = path.split_once('/').unwrap_or((path, ""));
    let number = if database.is_empty() { Ok(0) } else { database.parse() };
    match number {
        Ok(database) if !host.is_empty() && database >= 0 => {
            Ok(Place::Redis { endpoint: format!("{scheme}://{host}"), database })
        }
        _ => Err(missing(scheme, "a host and the number of a database: `redis://host:6379/0`")),
    }
}

fn http(scheme: &str, path: &str) -> Result<Place, AddressError> {
    let (host, path) = path.split_once('/').unwrap_or((path, ""));
    if host.is_empty() {
        return Err(missing(scheme, "a host"));
    }
    Ok(Place::Http { endpoint: format!("{scheme}://{host}"), path: path.trim_matches('/').to_owned() })
}

fn git(scheme: &str, rest: &str) -> Result<String, AddressError> {
    let plain = scheme.trim_start_matches("git+");
    if rest.trim_matches('/').is_empty() || rest.starts_with('-') {
        return Err(missing(scheme, "a repository"));
    }
    Ok(format!("{plain}://{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn place(text: &str) -> Place {
        let address = Address::parse(text).unwrap();
        assert_eq!(address.to_string(), text);
        address.place
    }

    #[test]
    fn every_kind_of_place_is_read() {
        assert_eq!(
            place("s3://b"),
            Place::S3 { bucket: "b".to_owned(), prefix: String::new(), endpoint: None, region: None }
        );
        assert_eq!(
            place("s3://b/team/x/?endpoint=http%3A%2F%2F127.0.0.1:9000&region=eu-west-1"),
            Place::S3 {
                bucket: "b".to_owned(),
                prefix: "team/x".to_owned(),
                endpoint: Some("http://127.0.0.1:9000".to_owned()),
                region: Some("eu-west-1".to_owned())
            }
        );
        assert_eq!(place("redis://h:1/2"), Place::Redis { endpoint: "redis://h:1".to_owned(), database: 2 });
        assert_eq!(place("rediss://h"), Place::Redis { endpoint: "rediss://h".to_owned(), database: 0 });
        assert_eq!(
            place("https://h:8/a/b/"),
            Place::Http { endpoint: "https://h:8".to_owned(), path: "a/b".to_owned() }
        );
        assert_eq!(place("file:///srv/cache"), Place::Directory(PathBuf::from("/srv/cache")));
        assert_eq!(place("git+ssh://git@h/x.git"), Place::Git("ssh://git@h/x.git".to_owned()));
        assert_eq!(place("git+file:///srv/x.git"), Place::Git("file:///srv/x.git".to_owned()));
    }

    #[test]
    fn credentials_in_an_address_are_refused_and_not_repeated() {
        for text in [
            "redis://:hunter2@h/0",
            "redis://me:hunter2@h",
            "https://hunter2@h/x",
            "s3://k:hunter2@bucket",
            "s3://b?endpoint=http://me:hunter2@h",
            "s3://b?endpoint=http://me:hunter2%40h",
            "git+https://hunter2@h/x.git",
            "git+ssh://me:hunter2@h/x.git",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert_eq!(error, AddressError::Credentials, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn what_names_no_place_is_told() {
        for text in [
            "",
            "bucket",
            "://x",
            "ftp://h/x",
            "s3://",
            "s3://b?colour=red",
            "file://x",
            "file:///",
            "redis:///0",
            "redis://h/x",
            "redis://h/-1",
            "http:///x",
            "git+file://",
            "https://h/x?a=b",
            "git+ssh://-oProxyCommand=x/y",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
