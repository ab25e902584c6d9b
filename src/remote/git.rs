//! Entries in a git repository that clones can push to: each is one object under a ref of its own,
//! `refs/spb/cache/<name>`, which no clone or fetch takes along. One listing of the refs tells what is there; wanted
//! entries are fetched and new ones pushed as many at a time as are waiting. Goes through the `git` command, with the
//! user's keys and helpers, and through an empty repository of its own, so that nothing piles up in the user's.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Answer, Backend, Fault};
use crate::git::command;
use crate::process::Tool;

const REFS: &str = "refs/spb/cache/";
/// Most entries that one command fetches or pushes.
const MOST: usize = 200;

#[derive(Debug)]
pub struct Git {
    asks: Option<Sender<Ask>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Ask {
    Get { name: String, limit: u64, reply: Reply<Option<Vec<u8>>> },
    Put { name: String, bytes: Vec<u8>, reply: Reply<()> },
    Has { name: String, reply: Reply<bool> },
    Check { reply: Reply<()> },
}

type Reply<T> = oneshot::Sender<Result<T, Fault>>;

impl Git {
    pub fn new(url: String, timeout: Duration) -> Self {
        let (asks, receiver) = channel();
        let thread = std::thread::spawn(move || Worker::new(url, timeout).work(&receiver));
        Self { asks: Some(asks), thread: Some(thread) }
    }

    fn ask<T: Send + 'static>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Answer<'static, T> {
        let (reply, answer) = oneshot::channel();
        let sent = self.asks.as_ref().is_some_and(|asks| asks.send(ask(reply)).is_ok());
        Box::pin(async move {
            match answer.await {
                Ok(answer) if sent => answer,
                _ => Err(Fault::new("the thread that asks git has ended")),
            }
        })
    }
}

impl Drop for Git {
    /// Waits for the command under way, which ends in time, so that its repository is removed.
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Backend for Git {
    fn get<'b>(&'b self, name: &'b str, limit: u64) -> Answer<'b, Option<Vec<u8>>> {
        self.ask(|reply| Ask::Get { name: name.to_owned(), limit, reply })
    }

    fn put<'b>(&'b self, name: &'b str, bytes: Vec<u8>) -> Answer<'b, ()> {
        self.ask(|reply| Ask::Put { name: name.to_owned(), bytes, reply })
    }

    fn has<'b>(&'b self, name: &'b str) -> Answer<'b, bool> {
        self.ask(|reply| Ask::Has { name: name.to_owned(), reply })
    }

    fn check(&self) -> Answer<'_, ()> {
        self.ask(|reply| Ask::Check { reply })
    }
}

struct Worker {
    url: String,
    timeout: Duration,
    place: Option<tempfile::TempDir>,
    /// Objects by name, as the first listing had them, and what was pushed since.
    listed: Option<HashMap<String, String>>,
}

type Get = (String, u64, Reply<Option<Vec<u8>>>);
type Put = (String, Vec<u8>, Reply<()>);

impl Worker {
    fn new(url: String, timeout: Duration) -> Self {
        Self { url, timeout, place: None, listed: None }
    }

    fn work(mut self, asks: &Receiver<Ask>) {
        while let Ok(first) = asks.recv() {
            let (mut gets, mut puts) = (Vec::new(), Vec::new());
            for ask in std::iter::once(first).chain(asks.try_iter().take(MOST - 1)) {
                match ask {
                    Ask::Get { name, limit, reply } if !reply.is_closed() => gets.push((name, limit, reply)),
                    Ask::Put { name, bytes, reply } if !reply.is_closed() => puts.push((name, bytes, reply)),
                    // Nobody waits for it any more.
                    Ask::Get { .. } | Ask::Put { .. } => {}
                    Ask::Has { name, reply } => {
                        let found = self.listed().map(|listed| listed.contains_key(&name));
                        reply.send(found).ok();
                    }
                    Ask::Check { reply } => {
                        reply.send(self.list().map(drop)).ok();
                    }
                }
            }
            self.get_all(gets);
            self.put_all(puts);
        }
    }

    fn get_all(&mut self, gets: Vec<Get>) {
        if gets.is_empty() {
            return;
        }
        let listed = match self.listed() {
            Ok(listed) => listed,
            Err(fault) => return gets.into_iter().for_each(|get| drop(get.2.send(Err(fault.clone())))),
        };
        let mut wanted = Vec::new();
        for (name, limit, reply) in gets {
            match listed.get(&name) {
                Some(id) => wanted.push((name, id.clone(), limit, reply)),
                None => drop(reply.send(Ok(None))),
            }
        }
        if wanted.is_empty() {
            return;
        }
        let names: Vec<String> = wanted.iter().map(|(name, ..)| format!("{REFS}{name}")).collect();
        let fixed = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
        let words = fixed.map(str::to_owned).into_iter().chain([self.url.clone()]).chain(names);
        let fetched = self.git(words.collect(), None);
        for (_, id, limit, reply) in wanted {
            let answer = match &fetched {
                Ok(_) => self.read(&id, limit).map(Some),
                Err(fault) => Err(fault.clone()),
            };
            reply.send(answer).ok();
        }
    }

    /// An object of a listing that was replaced meanwhile is gone: a fault of the content, not of the place.
    fn read(&mut self, id: &str, limit: u64) -> Result<Vec<u8>, Fault> {
        let size = self.git(vec!["cat-file".to_owned(), "-s".to_owned(), id.to_owned()], None);
        let size = size.map_err(|fault| Fault { is_content: true, ..fault })?;
        let size: u64 = String::from_utf8_lossy(&size).trim().parse().unwrap_or(u64::MAX);
        if size > limit {
            return Err(Fault::too_large(limit));
        }
        self.git(vec!["cat-file".to_owned(), "blob".to_owned(), id.to_owned()], None)
    }

    fn put_all(&mut self, puts: Vec<Put>) {
        if puts.is_empty() {
            return;
        }
        let mut specs = Vec::new();
        let mut waiting = Vec::new();
        for (name, bytes, reply) in puts {
            match self.git(["hash-object", "-w", "--stdin"].map(str::to_owned).to_vec(), Some(bytes)) {
                Ok(id) => {
                    let id = String::from_utf8_lossy(&id).trim().to_owned();
                    specs.push(format!("+{id}:{REFS}{name}"));
                    waiting.push((name, id, reply));
                }
                Err(fault) => drop(reply.send(Err(fault))),
            }
        }
        let words = ["push", "--quiet", "--no-verify"].map(str::to_owned).into_iter();
        let pushed = self.git(words.chain([self.url.clone()]).chain(specs).collect(), None);
        for (name, id, reply) in waiting {
            if pushed.is_ok()
                && let Some(listed) = &mut self.listed
            {
                listed.insert(name, id);
            }
            reply.send(pushed.clone().map(drop)).ok();
        }
    }

    fn listed(&mut self) -> Result<&HashMap<String, String>, Fault> {
        if self.listed.is_none() {
            self.listed = Some(self.list()?);
        }
        Ok(self.listed.as_ref().expect("just made"))
    }

    fn list(&mut self) -> Result<HashMap<String, String>, Fault> {
        let words = vec!["ls-remote".to_owned(), "--quiet".to_owned(), self.url.clone(), format!("{REFS}*")];
        let printed = self.git(words, None)?;
        let printed = String::from_utf8_lossy(&printed);
        let lines = printed.lines().filter_map(|line| line.split_once('\t'));
        let is_id = |id: &str| id.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(lines
            .filter(|(id, _)| is_id(id))
            .filter_map(|(id, name)| Some((name.strip_prefix(REFS)?.to_owned(), id.to_owned())))
            .collect())
    }

    fn git(&mut self, words: Vec<String>, input: Option<Vec<u8>>) -> Result<Vec<u8>, Fault> {
        let place = self.place()?;
        let mut tool = command::git(&place).env("GIT_DIR", &place).args(&words);
        if let Some(input) = input {
            tool = tool.input(input);
        }
        let said = |what: String| Fault::new(format!("git {}: {what}", words[0]));
        let output = tool.run_or_kill(self.timeout).map_err(|error| said(error.to_string()))?;
        if output.code == 0 {
            return Ok(output.stdout);
        }
        let arguments: Vec<&str> = vec![words[0].as_str()];
        Err(Fault::new(command::failure(&arguments, &output).to_string()))
    }

    fn place(&mut self) -> Result<std::path::PathBuf, Fault> {
        if let Some(place) = &self.place {
            return Ok(place.path().to_owned());
        }
        let fault = |error: std::io::Error| Fault::new(format!("cannot make a directory for git: {error}"));
        let place = tempfile::Builder::new().prefix("spb-remote-").tempdir().map_err(fault)?;
        let path = place.path().to_owned();
        let words = ["init", "--quiet", "--bare"];
        let tool: Tool = command::git(&path).args(words);
        let output = tool.run_or_kill(self.timeout).map_err(fault)?;
        if output.code != 0 {
            return Err(Fault::new(command::failure(&words, &output).to_string()));
        }
        self.place = Some(place);
        Ok(path)
    }
}
