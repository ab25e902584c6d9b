//! Entries in a directory that several clones can reach: a disk of the machine, or one of the network. Files appear
//! whole or not at all.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::{Answer, Backend, Fault, aside};
use crate::disk::{self, Durability};

#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }
}

impl Backend for Directory {
    fn get<'b>(&'b self, name: &'b str, limit: u64) -> Answer<'b, Option<Vec<u8>>> {
        let path = self.root.join(name);
        aside(move || read(&path, limit))
    }

    fn put<'b>(&'b self, name: &'b str, bytes: Vec<u8>) -> Answer<'b, ()> {
        let path = self.root.join(name);
        let root = self.root.clone();
        aside(move || {
            if !root.is_dir() {
                // A disk that is not mounted must not be filled in its place.
                return Err(Fault::new(format!("there is no directory `{}`", root.display())));
            }
            let fault = |error: disk::DiskError| Fault::new(error.to_string());
            disk::create_directory(path.parent().unwrap_or(&root)).map_err(fault)?;
            disk::replace(&path, &bytes, Durability::Crash).map_err(fault)
        })
    }

    fn has<'b>(&'b self, name: &'b str) -> Answer<'b, bool> {
        let path = self.root.join(name);
        aside(move || match std::fs::metadata(&path) {
            Ok(meta) => Ok(meta.is_file()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Fault::new(format!("cannot look at `{}`: {error}", path.display()))),
        })
    }

    fn check(&self) -> Answer<'_, ()> {
        let root = self.root.clone();
        aside(move || match std::fs::read_dir(&root) {
            Ok(_) => Ok(()),
            Err(error) => Err(Fault::new(format!("cannot read `{}`: {error}", root.display()))),
        })
    }
}

fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
    let fault = |error: std::io::Error| Fault::new(format!("cannot read `{}`: {error}", path.display()));
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > limit { Err(Fault::too_large(limit)) } else { Ok(Some(bytes)) }
}
