//! Says why a node runs, in plain words: what is wrong with the entry that there is, or the first difference from the nearest
//! earlier result, from the same walk that makes the key.

use super::lookup::{self, Found};
use super::{RunContext, Shared};
use crate::digest::Digest;
use crate::git::tree::{self, Globs};
use crate::git::{Kind, Repo, TreeId};
use crate::plan::fingerprint::{Difference, Manifest};
use crate::store::cache::{Cache, Entry};
use crate::workflow::model::{Effect, Node, Workspace};

/// How many earlier results are looked at for the nearest one.
const NEAR: usize = 8;

/// Of a node without a key.
pub fn never(node: &Node, manifest: &Manifest) -> String {
    if node.workspace == Workspace::Repo {
        "it works in the checkout, which no key covers".to_owned()
    } else if node.effect == Effect::External {
        "it has an external effect".to_owned()
    } else if let Some(doubt) = manifest.doubted().filter(|_| node.cache.enabled) {
        format!("it is not cached: {doubt}")
    } else {
        "its `cache` is false".to_owned()
    }
}

/// Of a node without files, whose key found nothing.
pub fn fileless(
    shared: &Shared,
    (repo, cache): (&Repo, &Cache),
    run: &RunContext,
    instance: usize,
    manifest: &Manifest,
    key: Digest,
) -> String {
    match lookup::content_as_stored(shared, repo, cache, (key, key), run.plan.node(instance)) {
        Found::Miss { reason: Some(reason), .. } => reason,
        Found::Miss { reason: None, .. } | Found::Hit { .. } => {
            changed(cache, run, &run.plan.instances[instance].id, (manifest, key), None)
        }
    }
}

/// Of a node under whose key there is nothing.
pub fn changed(
    cache: &Cache,
    run: &RunContext,
    id: &str,
    (manifest, key): (&Manifest, Digest),
    files: Option<(&Repo, &Node, TreeId, Digest)>,
) -> String {
    let stored = manifest.stored(files.as_ref().map(|(_, _, _, reads)| *reads));
    let earlier = cache.latest(&run.workflow.name, id, NEAR);
    let newest = earlier.iter().map(|entry| entry.created).max();
    let failure = cache.failure(&run.workflow.name, id);
    // Newest first, so that of several that are as near the newest is taken.
    let nearest = earlier.into_iter().min_by_key(|entry| stored.distance(&entry.manifest));
    match (nearest, failure) {
        (None, None) => "never run before".to_owned(),
        (None, Some(failure)) => format!("only failed before, last in run {}", failure.run),
        (Some(_), Some(failure)) if failure.key == Some(key) && newest < Some(failure.time) => {
            format!("it failed the last time, in run {}", failure.run)
        }
        (Some(earlier), _) => match stored.difference(&earlier.manifest) {
            Difference::Item(what) => what,
            Difference::Reads => files
                .and_then(|(repo, node, tree, _)| first_file(repo, node, &earlier, tree))
                .unwrap_or_else(|| "the files it reads changed".to_owned()),
            Difference::Unknown => {
                "of its earlier result only the journal is left, which does not say what it was made from"
                    .to_owned()
            }
            Difference::None => "its cache entry is gone".to_owned(),
        },
    }
}

fn first_file(repo: &Repo, node: &Node, earlier: &Entry, now: TreeId) -> Option<String> {
    let before: TreeId = earlier.base_tree.as_ref()?.parse().ok()?;
    let globs = node.reads.as_ref().and_then(|globs| Globs::compile(globs).ok());
    let (path, kind) = tree::first_difference(repo, before, now, globs.as_ref()).ok()??;
    let verb = match kind {
        Kind::Added => "was added",
        Kind::Modified => "changed",
        Kind::Deleted => "was deleted",
    };
    Some(format!("{path} {verb}"))
}
