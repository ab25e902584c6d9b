//! Places that fail: the run goes on, and its user is told once.

use crate::clones::{ALL, Clone, WORKFLOW};
use crate::common::World;
use crate::servers;

/// Thirty nodes that need nothing of each other.
fn wide() -> String {
    let nodes: String = (0..30)
        .map(|number| format!("  n{number}: {{ workspace: scratch, run: 'echo n >> \"$HOME/ran\"' }}\n"))
        .collect();
    format!("nodes:\n{nodes}")
}

#[test]
fn a_place_that_is_not_there_costs_one_warning() {
    for url in ["file:///nowhere/at/all", "git+file:///nowhere/at/all"] {
        let clone = Clone::writing(url, &[]);
        let run = clone.apply(WORKFLOW).success();
        assert_eq!(clone.world.take_ran(), ALL);
        assert_eq!(Clone::given_up(&run), 1, "{run}");
        assert!(run.stderr.contains("5 results not sent"), "{run}");
    }
}

#[test]
fn a_server_that_fails_is_asked_a_few_times_and_never_again() {
    if !servers::is_built() {
        return;
    }
    let Some(server) = servers::http() else { return };
    server.order("fail", "");
    let clone = Clone::writing(&server.url, &[]);
    let run = clone.apply(&wide()).success();
    assert_eq!(clone.world.take_ran().split(' ').count(), 30);
    assert_eq!(Clone::given_up(&run), 1, "{run}");
    // Three in a row, and those that were under way.
    assert!(server.asked().len() <= 3 + 8, "{:?}", server.asked());
}

#[test]
fn a_server_that_never_answers_costs_a_few_time_limits() {
    if !servers::is_built() {
        return;
    }
    let Some(server) = servers::http() else { return };
    server.order("hang", "");
    let settings = [("SPB_REMOTE_CACHE_TIMEOUT", "1"), ("SPB_REMOTE_CACHE_GRACE", "0")];
    let clone = Clone::writing(&server.url, &settings);
    let run = clone.apply_with(&wide(), &["--jobs", "4"]).success();
    assert_eq!(clone.world.take_ran().split(' ').count(), 30);
    assert_eq!(Clone::given_up(&run), 1, "{run}");
    assert!(server.asked().len() <= 3 + 8, "{:?}", server.asked());
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_run_does_not_fail_it() {
    if !servers::is_built() {
        return;
    }
    let Some(mut server) = servers::http() else { return };
    let clone = Clone::writing(&server.url, &[("SPB_REMOTE_CACHE_GRACE", "5")]);
    let gate = clone.world.gate("middle");
    let more: String = (0..5)
        .map(|number| {
            format!("  z{number}: {{ needs: [b], run: 'echo z >> \"$HOME/ran\"; touch z{number}' }}\n")
        })
        .collect();
    let workflow = format!(
        "nodes:\n  a: {{ run: 'echo a >> \"$HOME/ran\"; touch a' }}\n  b: {{ needs: [a], run: \"echo b >> $HOME/ran; {}\" }}\n{more}",
        gate.script().replace('"', "\\\"")
    );
    let spb = clone.world.applying(&workflow, &[]);
    let running = clone.settings.iter().fold(spb, |spb, (name, value)| spb.env(name, value)).begin();
    gate.arrived();
    server.end();
    gate.open();
    let run = running.finish().success();
    assert_eq!(clone.world.take_ran(), "a b z z z z z");
    assert_eq!(Clone::given_up(&run), 1, "{run}");
}

#[test]
fn what_is_left_when_the_time_is_over_is_counted() {
    if !servers::is_built() {
        return;
    }
    let Some(server) = servers::http() else { return };
    // It answers what is asked first, and hangs from the first upload on.
    let clone = Clone::writing(&server.url, &[("SPB_REMOTE_CACHE_GRACE", "0")]);
    let workflow =
        format!("nodes:\n  a: {{ run: 'touch {}; echo x > x' }}\n", server.place.join("hang").display());
    let run = clone.apply(&workflow).success();
    assert!(run.stderr.contains("1 result not sent to the remote cache"), "{run}");
}

#[test]
fn a_credential_is_never_printed() {
    if !servers::is_built() {
        return;
    }
    let Some(server) = servers::http() else { return };
    server.order("token", "other");
    let clone = Clone::writing(&server.url, &[("SPB_REMOTE_CACHE_TOKEN", "hunter2hunter2")]);
    let run = clone.apply(WORKFLOW).success();
    let doctor = clone.spb(&["doctor"]);
    let all = format!("{run}{doctor}{}", clone.world.journals().concat());
    assert!(all.contains("is not asked any more") && !all.contains("hunter2"), "{all}");
}

#[test]
fn a_refused_push_of_a_git_repository_does_not_fail_a_run() {
    let world = World::new();
    let remote = world.root.join("remote.git");
    world.git(&["init", "-q", "--bare", remote.to_str().unwrap()]);
    let hook = remote.join("hooks/pre-receive");
    crate::common::put(&hook, "#!/bin/sh\nexit 1\n");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let clone = Clone::writing(&format!("git+file://{}", remote.display()), &[]);
    let run = clone.apply(WORKFLOW).success();
    assert!(run.stderr.contains("not sent to the remote cache"), "{run}");
}
