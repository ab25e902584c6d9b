//! Takes what a node promised: its outputs and artifacts. What is missing or of the wrong shape is a sentence that
//! names the node's output and what was found. Follows no links out of the workspace, opens no FIFO or device.

mod lines;

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::Value;

use super::workspace::Room;
use crate::disk;
use crate::executor::mask::Mask;
use crate::git::Globs;
use crate::workflow::model::{Node, OutputFormat, OutputFrom};

/// Largest output value, bytes: values travel in records, environments and expressions.
pub const MAX_OUTPUT: u64 = 1024 * 1024;

/// Reads every declared output. Whether they fit their schemas is for [`contracts`].
///
/// # Errors
/// A sentence about the first one that is missing or wrong.
pub fn outputs(
    node: &Node,
    workspace: &Path,
    room: &Room,
    mask: &Mask,
) -> Result<IndexMap<String, Value>, String> {
    let mut lines = lines_given(room, mask)?;
    let is_line = |name: &str| node.outputs.get(name).is_some_and(|output| output.from == OutputFrom::Line);
    if let Some(name) = lines.keys().find(|name| !is_line(name)) {
        // Before what is missing: most often it is the same value under another name.
        return Err(lines::undeclared(node, &mask.apply(name)));
    }
    let mut outputs = IndexMap::new();
    for (name, output) in &node.outputs {
        let (text, place) = match &output.from {
            OutputFrom::File(path) => (read_inside(workspace, path, MAX_OUTPUT), format!("`{path}`")),
            OutputFrom::Out(path) => (read_inside(&room.out, path, MAX_OUTPUT), format!("`$SPB_OUT/{path}`")),
            OutputFrom::Stdout if !room.stdout.exists() => (Ok(Vec::new()), "stdout".to_owned()),
            OutputFrom::Stdout => (read_inside(room.root(), "stdout", MAX_OUTPUT), "stdout".to_owned()),
            OutputFrom::Line => {
                let value = lines.shift_remove(name.as_str()).map(String::into_bytes);
                let missing = || format!("no `{name}=...` line was appended to $SPB_OUTPUT");
                (value.ok_or_else(missing), "$SPB_OUTPUT".to_owned())
            }
        };
        let value = text
            .and_then(|bytes| shaped(bytes, output.format, mask))
            .map_err(|reason| format!("output `{name}` ({place}): {reason}"))?;
        outputs.insert(name.clone(), value);
    }
    Ok(outputs)
}

/// Holds the outputs against their schemas. What is shown of a value may be a part of it only, so nothing here may hold a
/// secret any more.
///
/// # Errors
/// A sentence about the first one that does not fit.
pub fn contracts(node: &Node, outputs: &IndexMap<String, Value>) -> Result<(), String> {
    for (name, value) in outputs {
        let contract = node.outputs.get(name).and_then(|output| output.contract.as_ref());
        if let Some(breach) = contract.and_then(|contract| contract.breach(name, value)) {
            return Err(format!("output `{name}` does not fit its schema: {breach}"));
        }
    }
    Ok(())
}

fn shaped(bytes: Vec<u8>, format: OutputFormat, mask: &Mask) -> Result<Value, String> {
    let text = utf8(bytes)?;
    match format {
        // Like a shell's `$(...)`: what prints a value ends its line.
        OutputFormat::Text => {
            Ok(Value::String(without_nul(&text)?.trim_end_matches(['\n', '\r']).to_owned()))
        }
        OutputFormat::Lines => Ok(without_nul(&text)?.lines().map(str::to_owned).collect()),
        OutputFormat::Json => {
            let found = |error| format!("it is not JSON: {error}{}", excerpt(&mask.apply(&text)));
            serde_json::from_str(&text).map_err(found)
        }
    }
}

fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes)
        .map_err(|error| format!("it is not UTF-8 text (byte {})", error.utf8_error().valid_up_to() + 1))
}

/// No environment variable can hold a NUL, and values travel in those.
fn without_nul(text: &str) -> Result<&str, String> {
    match text.find('\0') {
        Some(at) => Err(format!("it holds a NUL character (byte {}); `format: json` can spell one", at + 1)),
        None => Ok(text),
    }
}

fn excerpt(text: &str) -> String {
    if text.trim().is_empty() {
        "; it is empty".to_owned()
    } else {
        format!("; it begins with {:?}", lines::short(text))
    }
}

/// What the node appended to `$SPB_OUTPUT`.
fn lines_given(room: &Room, mask: &Mask) -> Result<IndexMap<String, String>, String> {
    if std::fs::symlink_metadata(&room.output).is_err() {
        return Ok(IndexMap::new());
    }
    let bytes = read_inside(room.root(), "output", lines::MAX_FILE);
    let text = bytes.and_then(utf8).map_err(|reason| format!("$SPB_OUTPUT: {reason}"))?;
    lines::parse(&text).map_err(|reason| {
        // A line that is shortened must not end within a secret.
        let masked = lines::parse(&mask.apply(&text)).err();
        let reason = if mask.is_none() { Some(reason) } else { masked };
        format!("$SPB_OUTPUT: {}", reason.as_deref().unwrap_or("it holds a secret"))
    })
}

/// Reads a regular file below `root`, refusing links that lead outside.
fn read_inside(root: &Path, relative: &str, max: u64) -> Result<Vec<u8>, String> {
    let path = root.join(relative);
    let meta = match std::fs::metadata(&path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("the file was not written{}", neighbours(&path)));
        }
        Err(error) => return Err(format!("it cannot be read: {error}")),
    };
    if !meta.is_file() {
        let what = if meta.is_dir() { "a directory" } else { "not a regular file" };
        return Err(format!("it is {what}"));
    }
    let real = path.canonicalize().map_err(|error| error.to_string())?;
    let root = root.canonicalize().map_err(|error| error.to_string())?;
    if !real.starts_with(&root) {
        return Err("it is a link to a file outside of the workspace".to_owned());
    }
    if meta.len() > max {
        return Err(format!(
            "it has {} bytes, more than the {max} that it may have; use `artifacts` for files",
            meta.len()
        ));
    }
    let mut bytes = Vec::new();
    File::open(&real)
        .and_then(|file| file.take(max).read_to_end(&mut bytes))
        .map_err(|error| format!("it cannot be read: {error}"))?;
    Ok(bytes)
}

fn neighbours(path: &Path) -> String {
    let Some(Ok(entries)) = path.parent().map(std::fs::read_dir) else { return String::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != ".git")
        .collect();
    names.sort_unstable();
    match names.len() {
        0 => "; its directory is empty".to_owned(),
        1..=5 => format!("; its directory holds {}", names.join(", ")),
        count => format!("; its directory holds {} and {} more", names[..4].join(", "), count - 4),
    }
}

/// Files and symlinks below `workspace` that the artifact globs match, in order, `.git` left out. No link is followed.
///
/// # Errors
/// A sentence about a glob that matches nothing.
pub fn artifact_paths(globs: &[String], workspace: &Path) -> Result<Vec<String>, String> {
    let mut paths: Vec<String> = Vec::new();
    for glob in globs {
        let set = Globs::compile(std::slice::from_ref(glob))
            .map_err(|error| format!("artifact `{glob}`: {error}"))?;
        let start = literal_prefix(glob);
        let mut found = 0;
        let mut open: Vec<PathBuf> = Vec::new();
        if is_reached_inside(workspace, &start) {
            open.push(start);
        }
        while let Some(relative) = open.pop() {
            let full = workspace.join(&relative);
            let Ok(meta) = std::fs::symlink_metadata(&full) else { continue };
            if meta.is_dir() {
                for entry in std::fs::read_dir(&full).into_iter().flatten().flatten() {
                    if entry.file_name() != ".git" {
                        open.push(relative.join(entry.file_name()));
                    }
                }
            } else if (meta.is_file() || meta.is_symlink()) && set.matches(relative.as_os_str().as_bytes()) {
                found += 1;
                let text = relative.to_str().ok_or_else(|| {
                    format!("artifact `{}`: the name is not UTF-8", relative.to_string_lossy())
                })?;
                paths.push(text.to_owned());
            }
        }
        if found == 0 {
            return Err(format!("artifact `{glob}`: no file matches after the run"));
        }
    }
    paths.sort_unstable();
    paths.dedup();
    Ok(paths)
}

/// Whether no link on the way to a path leads out of the workspace.
pub fn is_reached_inside(workspace: &Path, relative: &Path) -> bool {
    let full = workspace.join(relative);
    let parent = if relative.as_os_str().is_empty() { Some(&*full) } else { full.parent() };
    match (parent.map(Path::canonicalize), workspace.canonicalize()) {
        (Some(Ok(parent)), Ok(workspace)) => parent.starts_with(workspace),
        _ => false,
    }
}

fn literal_prefix(glob: &str) -> PathBuf {
    let magic = |part: &&str| part.contains(['*', '?', '[', '{', '\\']);
    glob.split('/').take_while(|part| !magic(part)).collect()
}

/// Removes what an earlier node left at the places of this one's promises, so that a promise not kept is seen.
/// Files of the base tree stay: they are inputs.
pub fn clear_promises(node: &Node, workspace: &Path, is_tracked: impl Fn(&str) -> bool) {
    for output in node.outputs.values() {
        if let OutputFrom::File(path) = &output.from
            && !is_tracked(path)
            && is_reached_inside(workspace, Path::new(path))
        {
            disk::remove(&workspace.join(path)).ok();
        }
    }
    for glob in &node.artifacts {
        for path in artifact_paths(std::slice::from_ref(glob), workspace).unwrap_or_default() {
            if !is_tracked(&path) {
                disk::remove(&workspace.join(&path)).ok();
            }
        }
    }
}
