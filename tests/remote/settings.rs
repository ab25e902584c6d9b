//! What the environment says, and what is said of it.

use crate::clones::{Clone, WORKFLOW};
use crate::servers;

#[test]
fn settings_that_mean_nothing_stop_before_anything_is_touched() {
    for (name, value, expect) in [
        ("SPB_REMOTE_CACHE", "redis://me:hunter2@h/0", "those come from the environment only"),
        ("SPB_REMOTE_CACHE", "ftp://h", "the scheme `ftp` is none of"),
        ("SPB_REMOTE_CACHE_MODE", "write", "it is `read` or `read-write`"),
        ("SPB_REMOTE_CACHE_TIMEOUT", "soon", "it is a number of seconds"),
        ("SPB_REMOTE_CACHE_GRACE", "4000", "at most 3600"),
    ] {
        let clone = Clone::new("file:///tmp", &[(name, value)]);
        let run = clone.apply(WORKFLOW).exits(2);
        assert!(run.stderr.contains(expect) && !run.stderr.contains("hunter2"), "{run}");
        assert!(!clone.world.store().exists());
    }
}

#[test]
fn without_the_library_its_places_are_refused_by_name() {
    if cfg!(feature = "remote") {
        return;
    }
    for url in ["s3://bucket", "redis://h/0", "https://h/x"] {
        let run = Clone::new(url, &[]).apply(WORKFLOW).exits(3);
        assert!(run.stderr.contains("--features remote"), "{run}");
    }
}

#[test]
fn doctor_and_stats_tell_of_the_place_and_whether_it_can_be_reached() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let clone = Clone::writing(&url, &[("SPB_REMOTE_CACHE_KEY", "hunter2")]);
    let doctor = clone.spb(&["doctor"]).success();
    let expect = format!("`{url}` can be reached; read and written, entries are signed");
    assert!(doctor.stdout.contains(&expect) && !doctor.stdout.contains("hunter2"), "{doctor}");
    let stats = clone.spb(&["cache", "stats"]).success();
    assert!(stats.stdout.contains(&format!("remote     {url} (read-write, signed)")), "{stats}");
    let stats = clone.spb(&["cache", "stats", "--json"]).success();
    let stats: serde_json::Value = serde_json::from_str(&stats.stdout).unwrap();
    assert_eq!(stats["remote"], serde_json::json!({ "address": url, "mode": "read-write", "signed": true }));
    drop(directory);
    let doctor = clone.spb(&["doctor"]).success();
    assert!(doctor.stdout.contains("cannot be reached"), "{doctor}");
}

#[test]
fn a_server_that_is_gone_is_a_warning_of_doctor() {
    if !servers::is_built() {
        return;
    }
    let Some(mut server) = servers::http() else { return };
    let clone = Clone::new(&server.url, &[]);
    assert!(clone.spb(&["doctor"]).success().stdout.contains("can be reached; only read"));
    server.end();
    let doctor = clone.spb(&["doctor"]).success();
    assert!(doctor.stdout.contains("cannot be reached"), "{doctor}");
}
