//! Entries that someone changed: each is a miss with a name, and never a result.

use std::path::{Path, PathBuf};

use spb::event::{NodeResult, Usage};
use spb::git::Repo;
use spb::plan::fingerprint::StoredManifest;
use spb::store::archive::Writer;
use spb::store::cache::Entry;
use spb::store::packet::Packet;
use spb::store::{Store, envelope};

use crate::clones::{ALL, Clone, WORKFLOW};

fn entries(world: &crate::common::World, directory: &Path) -> Vec<PathBuf> {
    let mut files = world.all_files(directory);
    files.sort();
    files
}

/// A directory that one clone has filled.
fn filled(settings: &[(&'static str, &str)]) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let first = Clone::writing(&url, settings);
    first.apply(WORKFLOW).success();
    assert_eq!(entries(&first.world, directory.path()).len(), 5);
    (directory, url)
}

#[track_caller]
fn refused(url: &str, settings: &[(&'static str, &str)], expect: &str) {
    let clone = Clone::new(url, settings);
    let run = clone.apply(WORKFLOW).success();
    assert_eq!(clone.world.take_ran(), ALL);
    let warnings = Clone::warnings(&run);
    assert_eq!(warnings.len(), 5, "{run}");
    for warning in warnings {
        assert!(warning.contains("its entry in the remote cache") && warning.contains(expect), "{warning}");
    }
    assert!(
        run.of_kind("node_started").all(|event| event["why"].as_str().unwrap().contains(expect)),
        "{run}"
    );
}

#[test]
fn an_entry_with_another_signature_or_none_is_refused_by_name() {
    let key = |key| [("SPB_REMOTE_CACHE_KEY", key)];
    let (_signed, url) = filled(&key("ours"));
    refused(&url, &key("theirs"), "is not signed with this key");
    refused(&url, &[], "there is no key to check that with");
    let (_unsigned, url) = filled(&[]);
    refused(&url, &key("ours"), "is not signed");
}

#[test]
fn an_entry_under_another_name_is_refused() {
    for key in [&[][..], &[("SPB_REMOTE_CACHE_KEY", "ours")]] {
        let (directory, url) = filled(key);
        let world = crate::common::World::new();
        let files = entries(&world, directory.path());
        let contents: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        for (number, file) in files.iter().enumerate() {
            std::fs::write(file, &contents[(number + 1) % files.len()]).unwrap();
        }
        refused(&url, key, if key.is_empty() { "is damaged" } else { "is not signed with this key" });
    }
}

#[test]
fn a_damaged_entry_is_a_miss_and_is_replaced_by_whoever_makes_the_result() {
    let (directory, url) = filled(&[]);
    let world = crate::common::World::new();
    for (number, file) in entries(&world, directory.path()).iter().enumerate() {
        let mut bytes = std::fs::read(file).unwrap();
        match number {
            0 => bytes.truncate(bytes.len() / 2),
            1 => bytes.clear(),
            2 => bytes.extend(b"more"),
            _ => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
        }
        std::fs::write(file, bytes).unwrap();
    }
    refused(&url, &[], "is damaged");
    Clone::writing(&url, &[]).apply(WORKFLOW).success();
    let last = Clone::new(&url, &[]);
    last.apply(WORKFLOW).success();
    assert_eq!(last.world.take_ran(), "");
}

#[test]
fn an_entry_from_a_newer_spb_is_left_alone() {
    let (directory, url) = filled(&[]);
    let world = crate::common::World::new();
    for file in entries(&world, directory.path()) {
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[8] = 2;
        std::fs::write(&file, bytes).unwrap();
    }
    refused(&url, &[], "was written by a newer spb");
}

#[test]
fn an_entry_of_endless_length_is_refused() {
    let (directory, url) = filled(&[]);
    let world = crate::common::World::new();
    for file in entries(&world, directory.path()) {
        // A hole: it costs no disk, and would cost all memory.
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(1 << 40).unwrap();
    }
    refused(&url, &[], "larger than 512 MiB");
}

/// Puts an entry in place of the one that is there: whole, without a signature, and nothing that its node can have left.
fn forge(
    clone: &Clone<'_>,
    directory: &Path,
    made: &crate::common::Run,
    node: &str,
    from: &str,
    key_of: &str,
) {
    let key = made.node(key_of)["key"].as_str().unwrap().to_owned();
    let digest = spb::digest::Digest::from_hex(&key).unwrap();
    let path = spb::git::repo::discover(&clone.world.repo).unwrap();
    let (store, repo) = (Store::at(&path.common_dir), Repo::open(&path).unwrap());
    let result: NodeResult = serde_json::from_value(made.node(from)["result"].clone()).unwrap();
    let entry = Entry {
        result: NodeResult { heads: Vec::new(), ..result },
        base_tree: None,
        duration_ms: 1,
        usage: Usage::default(),
        log: None,
        created: 0,
        manifest: StoredManifest::default(),
    };
    let packet = Packet::of(&repo, (digest, &[]), ("t", node), &entry).unwrap();
    let mut writer = Writer::new(Vec::new()).unwrap();
    writer.add(&store, &repo, &packet).unwrap();
    let file = entries(&clone.world, directory).into_iter().find(|file| file.ends_with(key_of_file(&key)));
    let file = file.unwrap();
    let name = file.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
    std::fs::write(file, envelope::close(&writer.finish().unwrap(), &name, None)).unwrap();
}

fn key_of_file(key: &str) -> PathBuf {
    PathBuf::from(&key[..2]).join(key)
}

#[test]
fn a_whole_entry_that_its_node_cannot_have_left_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let first = Clone::writing(&url, &[]);
    let made = first.apply(WORKFLOW).success();
    // The result of one node under the key of another: it has other outputs, artifacts, or changes files that it must not.
    for (from, key_of) in [("drop", "name"), ("make", "drop"), ("name", "look"), ("look", "make")] {
        forge(&first, directory.path(), &made, key_of, from, key_of);
    }
    let second = Clone::new(&url, &[]);
    let run = second.apply(WORKFLOW).success();
    assert_eq!(second.world.take_ran(), "drop look make name");
    let warnings = Clone::warnings(&run);
    assert_eq!(warnings.len(), 4, "{run}");
    assert!(warnings.iter().all(|warning| warning.contains("nothing that this node can have left")), "{run}");
    let files = |clone: &Clone<'_>, run: &crate::common::Run| clone.world.files(&run.branch());
    assert_eq!(files(&second, &run), files(&first, &made));
}
