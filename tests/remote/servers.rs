//! The servers: started on a free port, ended with the test.

#![cfg_attr(not(feature = "remote"), allow(dead_code, reason = "servers are for the feature `remote`"))]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::{PATIENCE, until};

/// Ended when it is dropped.
pub struct Server {
    child: Child,
    /// For `SPB_REMOTE_CACHE`.
    pub url: String,
    /// Where a plain HTTP server finds its orders and keeps its log.
    pub place: PathBuf,
    _directory: tempfile::TempDir,
}

impl Server {
    pub fn end(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Gives the plain HTTP server an order.
    pub fn order(&self, name: &str, text: &str) {
        std::fs::write(self.place.join(name), text).unwrap();
    }

    /// What the plain HTTP server was asked: `GET /x` ...
    pub fn asked(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.place.join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Says why a test does not run; where servers are required that is a failure.
pub fn skip(why: &str) {
    assert!(std::env::var_os("SPB_REQUIRE_SERVERS").is_none(), "servers are required: {why}");
    eprintln!("skipped: {why}");
}

/// Servers need the library; without it there is nothing to test.
pub fn is_built() -> bool {
    let is_built = cfg!(feature = "remote");
    if !is_built {
        skip("built without `--features remote`");
    }
    is_built
}

fn started(command: &mut Command) -> Option<Child> {
    command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

pub fn http() -> Option<Server> {
    let directory = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/remote/http_server.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(directory.path()).stdout(Stdio::piped());
    let Some(mut child) = started(&mut command) else {
        skip("there is no python3");
        return None;
    };
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let url = format!("http://127.0.0.1:{}/cache", port.trim());
    Some(Server { child, url, place: directory.path().to_owned(), _directory: directory })
}

/// Another process may take the port between this and its use: then the server does not come up, and the test says so.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn answers(port: u16, child: &mut Child) {
    until(|| {
        assert!(child.try_wait().unwrap().is_none(), "the server ended");
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
}

pub const REDIS_PASSWORD: &str = "correct horse";

pub fn redis() -> Option<Server> {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--requirepass", REDIS_PASSWORD])
        .current_dir(directory.path())
        .stdout(Stdio::null());
    let Some(mut child) = started(&mut command) else {
        skip("there is no redis-server");
        return None;
    };
    answers(port, &mut child);
    let url = format!("redis://127.0.0.1:{port}/3");
    Some(Server { child, url, place: directory.path().to_owned(), _directory: directory })
}

/// `$SPB_TEST_PYTHON` is a Python that has `moto[server]`.
pub fn s3() -> Option<Server> {
    let python = std::env::var_os("SPB_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let has = Command::new(&python).args(["-c", "import moto.server"]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        skip("no Python has `moto[server]`; see SPB_TEST_PYTHON");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = Command::new(&python);
    command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null());
    let mut child = started(&mut command).unwrap();
    answers(port, &mut child);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = format!("127.0.0.1:{port}");
    write!(stream, "PUT /results HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let url = format!("s3://results/team/x?endpoint=http://{host}&region=eu-central-1");
    Some(Server { child, url, place: directory.path().to_owned(), _directory: directory })
}
