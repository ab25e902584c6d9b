//! Artifacts: files that git ignores and that belong to a node's result. Content-addressed, compressed, verified when
//! they are taken out again. Knows files and digests, not nodes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use super::Store;
use crate::digest::Digest;
use crate::disk::{self, DiskError, half_made};
use crate::event::Artifact;
use crate::git::step::stays_inside;

/// Why an artifact cannot be kept or given back.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("the stored artifact `{path}` is {what}; the next run or `spb resume` makes it again")]
    Unusable { path: String, what: &'static str },
    #[error("the artifact path `{0}` leaves the workspace")]
    Escapes(String),
    #[error("the artifact `{path}` is a symlink that leads out of the workspace, to `{target}`")]
    Link { path: String, target: String },
    #[error("what came for the artifact {0} is not it")]
    Other(Digest),
    #[error("the artifact {0} unpacks to more than {1} bytes")]
    TooLarge(Digest, u64),
}

/// Compression level: fast, because artifacts are mostly binaries that are used once or twice.
const LEVEL: i32 = 1;

/// Keeps one file or symlink of a workspace. The caller syncs the file system before it tells anyone.
///
/// # Errors
/// When the file cannot be read or kept.
pub fn store(store: &Store, workspace: &Path, relative: &str) -> Result<Artifact, ArtifactError> {
    use std::os::unix::fs::PermissionsExt;
    let path = workspace.join(safe(relative)?);
    if let Ok(target) = std::fs::read_link(&path) {
        return kept_link(relative, &target);
    }
    let read = |source| DiskError::new("read the artifact", &path, source);
    let mut file = File::open(&path).map_err(read)?;
    let meta = file.metadata().map_err(read)?;
    let directory = store.artifacts_directory();
    let write = |source| DiskError::new("keep an artifact in", &directory, source);
    let new = half_made::file(&directory, half_made::private()).map_err(write)?;
    let mut encoder = zstd::Encoder::new(new, LEVEL).map_err(write)?;
    let mut hasher = blake3::Hasher::new();
    let mut size = 0;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = file.read(&mut buffer).map_err(read)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
        encoder.write_all(&buffer[..count]).map_err(write)?;
    }
    let new = encoder.finish().map_err(write)?;
    let digest = hasher.finalize().to_hex().to_string();
    let place = place(store, &digest);
    if let Some(parent) = place.parent() {
        disk::create_directory(parent)?;
    }
    new.as_file().set_modified(VERIFIED).map_err(write)?;
    new.persist(&place).map_err(|error| write(error.error))?;
    let executable = meta.permissions().mode() & 0o111 != 0;
    Ok(Artifact { path: relative.to_owned(), digest, size, executable, link: None })
}

/// A link is its words, and those are part of the record. One that leads out would be another file elsewhere.
fn kept_link(relative: &str, target: &Path) -> Result<Artifact, ArtifactError> {
    let leads_out =
        || ArtifactError::Link { path: relative.to_owned(), target: target.to_string_lossy().into_owned() };
    let words = target.to_str().filter(|words| stays_inside(relative.as_bytes(), words.as_bytes()));
    let words = words.ok_or_else(leads_out)?;
    Ok(Artifact {
        path: relative.to_owned(),
        digest: Digest::of_bytes(words.as_bytes()).to_hex(),
        size: words.len() as u64,
        executable: false,
        link: Some(words.to_owned()),
    })
}

/// Gives an artifact back: replaces what is at its path, never writes through a link, verifies the digest first.
///
/// # Errors
/// When it is missing, damaged, or its path would leave the workspace.
pub fn restore(store: &Store, workspace: &Path, artifact: &Artifact) -> Result<(), ArtifactError> {
    use std::os::unix::fs::PermissionsExt;
    let target = workspace.join(safe(&artifact.path)?);
    let parent = target.parent().unwrap_or(workspace);
    make_real_directories(workspace, parent, &artifact.path)?;
    if let Some(words) = &artifact.link {
        if !stays(artifact) {
            return Err(ArtifactError::Link { path: artifact.path.clone(), target: words.clone() });
        }
        return Ok(disk::link(words, &target)?);
    }
    let write = |source| DiskError::new("restore the artifact", &target, source);
    let mode = std::fs::Permissions::from_mode(if artifact.executable { 0o755 } else { 0o644 });
    let fill = |mut out: &File| -> Result<(), ArtifactError> {
        decode(store, artifact, &mut out).map_err(|error| match error {
            ArtifactError::Disk(error) => write(error.source).into(),
            error => {
                distrust(store, artifact);
                error
            }
        })?;
        out.set_permissions(mode).map_err(write)?;
        Ok(disk::remove(&target)?)
    };
    // A crash must not leave in a workspace what its node did not make.
    if let Some(new) = half_made::nameless(parent).map_err(write)? {
        fill(&new)?;
        half_made::give_name(&new, &target).map_err(write)?;
    } else {
        let new = tempfile::Builder::new().prefix(half_made::PREFIX).tempfile_in(parent).map_err(write)?;
        fill(new.as_file())?;
        new.persist(&target).map_err(|error| write(error.error))?;
    }
    Ok(())
}

/// What a look at a stored file may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing.
    Look,
    /// A file found sound is marked, so that the next look is cheap.
    Remember,
}

/// Modification time of a stored file whose content was verified: whoever writes to it afterwards changes that. What no
/// time shows (a bit that rots) is found when the artifact is restored.
const VERIFIED: SystemTime = SystemTime::UNIX_EPOCH;

/// The stored file is there and holds what its digest says. Reads it only when it is not known to be sound.
pub fn is_sound(store: &Store, artifact: &Artifact, check: Check) -> bool {
    if let Some(words) = &artifact.link {
        return Digest::of_bytes(words.as_bytes()).to_hex() == artifact.digest;
    }
    let place = place(store, &artifact.digest);
    let Ok(meta) = std::fs::metadata(&place) else { return false };
    if meta.len() == 0 {
        return false;
    }
    if meta.modified().is_ok_and(|time| time == VERIFIED) {
        return true;
    }
    let is_sound = decode(store, artifact, &mut io::sink()).is_ok();
    if is_sound && check == Check::Remember {
        mark_verified(&place);
    }
    is_sound
}

/// The stored file is there and unpacks to exactly this artifact. Always reads it.
pub fn is_it(store: &Store, artifact: &Artifact) -> bool {
    match artifact.link {
        Some(_) => is_sound(store, artifact, Check::Look),
        None => decode(store, artifact, &mut io::sink()).is_ok(),
    }
}

/// The stored, compressed form of an artifact that was found sound, and its length.
///
/// # Errors
/// When it is missing or damaged.
pub fn stored(store: &Store, artifact: &Artifact) -> Result<(File, u64), ArtifactError> {
    let open = || {
        decode(store, artifact, &mut io::sink())?;
        let path = place(store, &artifact.digest);
        let read = |source| DiskError::new("read the artifact", &path, source);
        let file = File::open(&path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        Ok((file, length))
    };
    open().inspect_err(|_| distrust(store, artifact))
}

/// Keeps a stored form that came from elsewhere: `write` puts it into a file. It must unpack to what the digest says, and to at
/// most `max` bytes. Returns how many.
///
/// # Errors
/// When it is something else, or cannot be kept.
pub fn accept<E: From<ArtifactError>>(
    store: &Store,
    digest: Digest,
    max: u64,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<u64, E> {
    let directory = store.artifacts_directory();
    let kept = |source| E::from(DiskError::new("keep an artifact in", &directory, source).into());
    let mut new = half_made::file(&directory, half_made::private()).map_err(kept)?;
    write(new.as_file_mut())?;
    let size = unpacked(new.path(), digest, max).map_err(E::from)?;
    let place = place(store, &digest.to_hex());
    disk::create_directory(place.parent().unwrap_or(&directory)).map_err(|error| E::from(error.into()))?;
    new.as_file().set_modified(VERIFIED).map_err(kept)?;
    new.persist(&place).map_err(|error| kept(error.error))?;
    Ok(size)
}

fn unpacked(path: &Path, digest: Digest, max: u64) -> Result<u64, ArtifactError> {
    let other = |_| ArtifactError::Other(digest);
    let mut decoder = File::open(path).and_then(zstd::Decoder::new).map_err(other)?;
    let mut hasher = blake3::Hasher::new();
    let mut size = 0;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = decoder.read(&mut buffer).map_err(other)?;
        size += count as u64;
        if size > max {
            return Err(ArtifactError::TooLarge(digest, max));
        }
        hasher.update(&buffer[..count]);
        if count == 0 {
            let is_it = hasher.finalize().as_bytes() == digest.as_bytes();
            return if is_it { Ok(size) } else { Err(ArtifactError::Other(digest)) };
        }
    }
}

/// A mark that cannot be made costs a second look, no more.
fn mark_verified(place: &Path) {
    if let Ok(file) = OpenOptions::new().append(true).open(place) {
        file.set_modified(VERIFIED).ok();
    }
}

/// Number and bytes of all stored artifacts.
pub fn usage(store: &Store) -> (usize, u64) {
    let mut total = (0, 0);
    let Ok(directories) = std::fs::read_dir(store.artifacts_directory()) else { return total };
    for directory in directories.flatten() {
        for file in std::fs::read_dir(directory.path()).into_iter().flatten().flatten() {
            total.0 += 1;
            total.1 += file.metadata().map_or(0, |meta| meta.len());
        }
    }
    total
}

/// Writes the content of an artifact to `out`.
///
/// # Errors
/// When it is missing or damaged.
pub fn copy(store: &Store, artifact: &Artifact, out: &mut impl Write) -> Result<(), ArtifactError> {
    decode(store, artifact, out)
}

/// Writes the content of an artifact, and fails when it was not what its digest says.
fn decode(store: &Store, artifact: &Artifact, out: &mut impl Write) -> Result<(), ArtifactError> {
    let unusable = |what| ArtifactError::Unusable { path: artifact.path.clone(), what };
    let file = File::open(place(store, &artifact.digest)).map_err(|_| unusable("missing"))?;
    let mut decoder = zstd::Decoder::new(file).map_err(|_| unusable("damaged"))?;
    let mut hasher = blake3::Hasher::new();
    let mut size = 0;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = decoder.read(&mut buffer).map_err(|_| unusable("damaged"))?;
        if count == 0 {
            let is_whole = size == artifact.size && hasher.finalize().to_hex().as_str() == artifact.digest;
            return if is_whole { Ok(()) } else { Err(unusable("damaged")) };
        }
        size += count as u64;
        // A damaged length must not fill the disk.
        if size > artifact.size {
            return Err(unusable("damaged"));
        }
        hasher.update(&buffer[..count]);
        out.write_all(&buffer[..count])
            .map_err(|source| DiskError::new("restore the artifact", Path::new(&artifact.path), source))?;
    }
}

/// A stored file that let someone down is not trusted again: the next look at it reads it.
fn distrust(store: &Store, artifact: &Artifact) {
    if let Ok(file) = OpenOptions::new().append(true).open(place(store, &artifact.digest)) {
        file.set_modified(SystemTime::now()).ok();
    }
}

/// Makes the folders between the workspace and a file; one that is a link or a file is replaced by a folder, so that
/// nothing is written outside.
fn make_real_directories(workspace: &Path, parent: &Path, name: &str) -> Result<(), ArtifactError> {
    let relative = parent.strip_prefix(workspace).map_err(|_| ArtifactError::Escapes(name.to_owned()))?;
    let mut at = workspace.to_owned();
    for part in relative.components() {
        at.push(part);
        match std::fs::symlink_metadata(&at) {
            Ok(meta) if meta.is_dir() => continue,
            Ok(_) => disk::remove(&at)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(DiskError::new("look at", &at, error).into()),
        }
        disk::create_directory(&at)?;
    }
    Ok(())
}

/// Whether an artifact of this path lies in its workspace.
pub fn is_inside(relative: &str) -> bool {
    safe(relative).is_ok()
}

/// Whether an artifact, if it is a symlink, leads to a place in its workspace.
pub fn stays(artifact: &Artifact) -> bool {
    let words = artifact.link.as_ref();
    words.is_none_or(|words| stays_inside(artifact.path.as_bytes(), words.as_bytes()))
}

fn safe(relative: &str) -> Result<PathBuf, ArtifactError> {
    let path = PathBuf::from(relative);
    let plain = path.components().all(|part| matches!(part, Component::Normal(name) if name != ".git"));
    if plain && !relative.is_empty() { Ok(path) } else { Err(ArtifactError::Escapes(relative.to_owned())) }
}

/// Where the stored form of an artifact lies.
pub fn place(store: &Store, digest: &str) -> PathBuf {
    let (first, rest) = digest.split_at_checked(2).unwrap_or((digest, ""));
    store.artifacts_directory().join(first).join(format!("{rest}.zst"))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make the files that they look at")]
mod tests {
    use std::fs;

    use super::*;

    fn setting() -> (tempfile::TempDir, Store, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path());
        store.prepare().unwrap();
        let workspace = directory.path().join("work");
        fs::create_dir_all(workspace.join("target")).unwrap();
        (directory, store, workspace)
    }

    #[test]
    fn a_file_comes_back_with_its_content_and_mode() {
        use std::os::unix::fs::PermissionsExt;
        let (_directory, place, workspace) = setting();
        fs::write(workspace.join("target/tool"), b"binary").unwrap();
        fs::set_permissions(workspace.join("target/tool"), fs::Permissions::from_mode(0o755)).unwrap();
        let artifact = store(&place, &workspace, "target/tool").unwrap();
        fs::remove_dir_all(workspace.join("target")).unwrap();
        restore(&place, &workspace, &artifact).unwrap();
        assert_eq!(fs::read(workspace.join("target/tool")).unwrap(), b"binary");
        let mode = fs::metadata(workspace.join("target/tool")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn links_on_the_way_are_replaced_and_never_followed() {
        let (directory, place, workspace) = setting();
        fs::write(workspace.join("target/a"), b"new").unwrap();
        let artifact = store(&place, &workspace, "target/a").unwrap();
        let outside = directory.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("a"), b"precious").unwrap();
        fs::remove_dir_all(workspace.join("target")).unwrap();
        std::os::unix::fs::symlink(&outside, workspace.join("target")).unwrap();
        restore(&place, &workspace, &artifact).unwrap();
        assert_eq!(fs::read(outside.join("a")).unwrap(), b"precious");
        assert_eq!(fs::read(workspace.join("target/a")).unwrap(), b"new");
    }

    #[test]
    fn damage_and_escapes_are_named() {
        let (_directory, place_of, workspace) = setting();
        fs::write(workspace.join("target/a"), vec![7; 10_000]).unwrap();
        let artifact = store(&place_of, &workspace, "target/a").unwrap();
        let stored = place(&place_of, &artifact.digest);
        let mut bytes = fs::read(&stored).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(&stored, &bytes).unwrap();
        let error = restore(&place_of, &workspace, &artifact).unwrap_err().to_string();
        assert_eq!(
            error,
            "the stored artifact `target/a` is damaged; the next run or `spb resume` makes it again"
        );
        fs::remove_file(&stored).unwrap();
        let error = restore(&place_of, &workspace, &artifact).unwrap_err().to_string();
        assert_eq!(
            error,
            "the stored artifact `target/a` is missing; the next run or `spb resume` makes it again"
        );
        for path in ["../x", "/etc/passwd", ".git/config", "a/../../b", ""] {
            let artifact = Artifact { path: path.to_owned(), ..artifact.clone() };
            assert!(matches!(restore(&place_of, &workspace, &artifact), Err(ArtifactError::Escapes(_))));
        }
    }
}
