//! The cache within limits, and whole: what goes, what stays, what git may collect afterwards, and what is said of damage.

use serde_json::Value;

use crate::common::World;

/// Each node writes a tracked file and an artifact of about 100,000 bytes that nothing compresses.
fn workflow(nodes: &[&str]) -> String {
    let node = |name: &&str| {
        format!(
            "  {name}: {{ reads: [src/one.txt], artifacts: [out/{name}.bin], outputs: {{ v: {{}} }}, run: 'echo {name} >> \"$HOME/ran\"; \
             mkdir -p out; yes {name} | head -c 4000 | sha256sum > out/seed; head -c 100000 /dev/urandom > out/{name}.bin; \
             echo {name} > {name}.txt; echo v={name} >> \"$SPB_OUTPUT\"' }}\n"
        )
    };
    format!("nodes:\n{}", nodes.iter().map(node).collect::<String>())
}

fn json(world: &World, words: &[&str]) -> Value {
    let run = world.spb(words).run().success();
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
}

/// As if everything that the index and the runs say had happened so many days earlier.
fn age(world: &World, where_: &str, days: i64) {
    let connection = rusqlite::Connection::open(world.store().join("index.sqlite")).unwrap();
    let earlier = days * 86_400_000;
    let rows: Vec<(Vec<u8>, String)> = connection
        .prepare(&format!("select key, body from entries where {where_}"))
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for (key, body) in rows {
        let mut entry: Value = serde_json::from_str(&body).unwrap();
        let created = entry["created"].as_i64().unwrap() - earlier;
        entry["created"] = created.into();
        let body = entry.to_string();
        let sum = blake3::hash(body.as_bytes());
        let words = "update entries set created = ?2, body = ?3, sum = ?4 where key = ?1";
        connection.execute(words, (&key, created, &body, sum.as_bytes().as_slice())).unwrap();
        connection
            .execute("update quick set sum = ?2 where entry = ?1", (&key, sum.as_bytes().as_slice()))
            .unwrap();
    }
    connection.execute("update uses set used = used - ?1", [days]).unwrap();
    connection.execute("update seen set day = day - ?1", [days]).unwrap();
}

fn artifacts(world: &World) -> usize {
    world.all_files(&world.store().join("artifacts")).len()
}

#[test]
fn what_nobody_used_for_long_goes_and_what_was_used_stays() {
    let world = World::new();
    world.apply(&workflow(&["a", "b"])).success();
    age(&world, "true", 40);
    world.apply(&workflow(&["a"])).success().ended("a cached");
    let gone = json(&world, &["cache", "gc", "--max-age", "30d", "--json"]);
    assert_eq!(
        (&gone["old"], &gone["over"], &gone["entries_left"]),
        (&1.into(), &0.into(), &1.into()),
        "{gone}"
    );
    assert_eq!(artifacts(&world), 1);
    world.take_ran();
    world.apply(&workflow(&["a", "b"])).success().ended("a cached, b succeeded");
    // A use counts from the day on which it was, once for all runs of that day.
    age(&world, "true", 40);
    world.apply(&workflow(&["a", "b"])).success().ended("a cached, b cached");
    let gone = json(&world, &["cache", "gc", "--max-age", "30d", "--json"]);
    assert_eq!((&gone["old"], &gone["entries_left"]), (&0.into(), &2.into()), "{gone}");
    let helped = json(&world, &["cache", "stats", "--json"])["helped"].clone();
    assert_eq!((&helped["hits"], &helped["misses"]), (&4.into(), &3.into()), "{helped}");
}

#[test]
fn the_least_recently_used_goes_until_the_rest_fits() {
    let world = World::new();
    world.apply(&workflow(&["a", "b", "c"])).success();
    age(&world, "node = 'a'", 1);
    age(&world, "node = 'b'", 5);
    age(&world, "node = 'c'", 3);
    let gone = json(&world, &["cache", "gc", "--max-size", "250kB", "--json"]);
    assert_eq!(
        (&gone["old"], &gone["over"], &gone["entries_left"]),
        (&0.into(), &1.into(), &2.into()),
        "{gone}"
    );
    assert!(
        gone["bytes_left"].as_u64().unwrap() <= 250_000 && gone["artifact_bytes"].as_u64().unwrap() > 99_000
    );
    world.apply(&workflow(&["a", "b", "c"])).success().ended("a cached, b succeeded, c cached");
    let gone = json(&world, &["cache", "gc", "--max-size", "0", "--json"]);
    assert_eq!((&gone["over"], &gone["bytes_left"]), (&3.into(), &0.into()), "{gone}");
    assert_eq!(artifacts(&world), 0);
    // From the environment as well, and nonsense is refused.
    world.apply(&workflow(&["a"])).success();
    let run = world.spb(["cache", "gc", "--json"]).env("SPB_CACHE_MAX_SIZE", "1KiB").run().success();
    assert!(run.stdout.contains(r#""over": 1"#), "{run}");
    let run = world.spb(["cache", "gc"]).env("SPB_CACHE_MAX_AGE", "soon").run().exits(2);
    assert!(run.stderr.contains("SPB_CACHE_MAX_AGE"), "{run}");
}

#[test]
fn git_collects_what_went_and_nothing_else() {
    let world = World::new();
    let collect = |world: &World| {
        world.spb(["worktrees", "remove", "--all"]).run().success();
        world.git(&["reflog", "expire", "--expire=now", "--all"]);
        world.git(&["gc", "-q", "--prune=now"]);
        world.git(&["fsck", "--strict", "--no-dangling"]);
    };
    let is_there = |world: &World, commit: &str| {
        world.command("git").args(["cat-file", "-e", commit]).status().unwrap().success()
    };
    let run = world.apply(&workflow(&["a", "b"])).success();
    let commit = |node: &str| run.node(node)["result"]["commit"].as_str().unwrap().to_owned();
    let (a, b) = (commit("a"), commit("b"));
    world.git(&["branch", "-q", "-D", &run.branch()]);
    for name in world.git(&["for-each-ref", "--format=%(refname)", "refs/spb/checkpoints"]).lines() {
        world.git(&["update-ref", "-d", name]);
    }
    json(&world, &["cache", "gc", "--json"]);
    collect(&world);
    assert!(is_there(&world, &a) && is_there(&world, &b), "nothing was evicted");
    age(&world, "node = 'a'", 100);
    let gone = json(&world, &["cache", "gc", "--json"]);
    assert_eq!((&gone["old"], &gone["runs"]), (&1.into(), &1.into()), "{gone}");
    collect(&world);
    assert!(!is_there(&world, &a) && is_there(&world, &b));
    let run = world.apply(&workflow(&["a", "b"])).success().ended("a succeeded, b cached");
    assert_eq!(world.show(&run.branch(), "b.txt").as_deref(), Some("b\n"));
}

#[test]
fn what_a_run_needs_that_is_not_over_stays() {
    let world = World::new();
    let text = format!("{}  c: {{ needs: [a], run: 'cmp out/a.bin \"$HOME/a.bin\"' }}\n", workflow(&["a"]));
    world.apply(&text).exits(1);
    age(&world, "true", 400);
    let gone = json(&world, &["cache", "gc", "--max-size", "0", "--max-age", "off", "--json"]);
    assert_eq!((&gone["over"], &gone["old"]), (&0.into(), &0.into()), "{gone}");
    world.git(&["reflog", "expire", "--expire=now", "--all"]);
    world.git(&["gc", "-q", "--prune=now"]);
    world.take_ran();
    world.resume().exits(1);
    assert_eq!(world.take_ran(), "", "a finished node ran again");
}

#[test]
fn nothing_goes_while_a_run_is_at_work() {
    let world = World::new();
    let gate = world.gate("g");
    let running = world.applying(&format!("nodes:\n  n: {{ run: \"{}\" }}\n", gate.script()), &[]).begin();
    gate.arrived();
    for verb in [&["cache", "gc"][..], &["cache", "verify", "--repair"], &["cache", "clear", "--yes"]] {
        let run = world.spb(verb).run().exits(3);
        assert!(run.stderr.contains("is running and uses the cache"), "{run}");
    }
    world.spb(["cache", "verify"]).run().success();
    gate.open();
    running.finish().success();
    world.spb(["cache", "gc"]).run().success();
}

#[test]
fn leftovers_of_killed_processes_go_too() {
    let world = World::new();
    world.apply(&workflow(&["a"])).success();
    let left = world.store().join("artifacts/.new-abc");
    crate::common::put(&left, "half");
    world.spb(["cache", "gc"]).run().success();
    assert!(!left.exists());
    assert_eq!(artifacts(&world), 1);
}

#[test]
fn once_a_day_a_run_looks_after_the_cache() {
    let world = World::new();
    world.apply(&workflow(&["a", "b"])).success();
    age(&world, "node = 'a'", 100);
    world.apply(&workflow(&["b"])).success();
    assert_eq!(artifacts(&world), 2, "it was looked after today");
    let mark = world.store().join("evicted");
    let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 3600);
    std::fs::File::options().append(true).open(&mark).unwrap().set_modified(yesterday).unwrap();
    let run = world.apply(&workflow(&["b"])).success();
    assert!(run.stderr.contains("the cache forgot 1 result"), "{run}");
    assert_eq!(artifacts(&world), 1);
}

#[test]
fn damage_is_named_and_what_is_damaged_is_made_again() {
    let world = World::new();
    let run = world.apply(&workflow(&["a", "b", "c", "d"])).success();
    let whole = world.spb(["cache", "verify"]).run().success();
    assert_eq!(whole.stdout, "4 results, all whole\n");
    // Of `a` the artifact, of `b` the record, of `c` an object.
    let artifact = run.node("a")["result"]["artifacts"][0]["digest"].as_str().unwrap().to_owned();
    let stored = world.store().join("artifacts").join(&artifact[..2]).join(format!("{}.zst", &artifact[2..]));
    let mut bytes = std::fs::read(&stored).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&stored, bytes).unwrap();
    let connection = rusqlite::Connection::open(world.store().join("index.sqlite")).unwrap();
    connection.execute("update entries set body = body || ' ' where node = 'b'", []).unwrap();
    drop(connection);
    let commit = run.node("c")["result"]["commit"].as_str().unwrap().to_owned();
    let object = world.git(&["rev-parse", &format!("{commit}:c.txt")]);
    let loose = world.repo.join(".git/objects").join(&object[..2]).join(&object[2..]);
    std::fs::set_permissions(&loose, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(&loose, "rot").unwrap();
    let found = world.spb(["cache", "verify"]).run().exits(3);
    for expect in [
        "a of t: its artifact `out/a.bin` is gone or damaged",
        "b of t: its record in the index is damaged",
        &format!("c of t: the object {object} of its commit {} is gone or damaged", &commit[..12]),
        "4 results, 3 damaged; `spb cache verify --repair` removes them",
    ] {
        assert!(found.stdout.contains(expect), "{expect}\n{found}");
    }
    let repaired = world.spb(["cache", "verify", "--repair"]).run().success();
    assert!(repaired.stdout.contains("3 damaged and removed"), "{repaired}");
    let again = world.spb(["cache", "verify"]).run().success();
    assert_eq!(again.stdout, "1 result, all whole\n");
    let run = world.apply(&workflow(&["a", "b", "c", "d"])).success();
    assert_eq!(run.outcomes(), "a succeeded, b succeeded, c succeeded, d cached");
    assert_eq!(world.show(&run.branch(), "c.txt").as_deref(), Some("c\n"));
}
