//! What a key covers and what it does not, one change at a time.

use crate::common::World;

/// Runs `before`, then `after` with its environment, and checks which of the nodes ran the second time.
#[track_caller]
fn check(before: (&str, &[(&str, &str)]), after: (&str, &[(&str, &str)]), ran: &str) {
    let world = World::new();
    let apply = |(workflow, env): (&str, &[(&str, &str)])| {
        let mut spb = world.applying(workflow, &[]);
        for (name, value) in env {
            spb = spb.env(name, value);
        }
        spb.run().success()
    };
    apply(before);
    world.take_ran();
    let run = apply(after);
    assert_eq!(world.take_ran(), ran, "{run}");
}

#[track_caller]
fn change(before: &str, after: &str, ran: &str) {
    let node = |text: &str| {
        format!(
            "nodes:\n  n: {{ {text} }}\n  s: {{ workspace: scratch, {text} }}\n  r: {{ workspace: readonly, {text} }}\n"
        )
    };
    check((&node(before), &[]), (&node(after), &[]), ran);
}

const RUN: &str = r#"run: 'echo "$SPB_NODE" >> "$HOME/ran"'"#;

#[test]
fn a_changed_definition_is_a_miss() {
    for (before, after) in [
        ("env: { A: '1' }", "env: { A: '2' }"),
        ("env: { A: '1' }", "env: { A: '1', B: '' }"),
        ("env: { A: '1', B: '2' }", "env: { A: '12', B: '' }"),
        ("cache: { extra: [a] }", "cache: { extra: [b] }"),
        ("cache: { tools: ['echo 1'] }", "cache: { tools: ['echo 2'] }"),
        ("shell: [sh, -e, -c]", "shell: [sh, -c]"),
        ("outputs: {}", "outputs: { o: { stdout: true } }"),
        ("outputs: { o: { stdout: true } }", "outputs: { o: { stdout: true, format: lines } }"),
    ] {
        change(&format!("{before}, {RUN}"), &format!("{after}, {RUN}"), "n r s");
    }
    change(RUN, &RUN.replace("'echo", "'true; echo"), "n r s");
}

#[test]
fn what_only_says_when_and_how_long_is_not_covered() {
    let note = r#"run: 'echo "$SPB_NODE" >> "$HOME/ran"'"#;
    for (before, after) in [
        ("timeout: 1m", "timeout: 2m"),
        ("retry: { max: 1 }", "retry: { max: 2 }"),
        ("description: one", "description: two"),
        ("allow_failure: true", "allow_failure: false"),
        ("when: 'true'", "when: success()"),
    ] {
        change(&format!("{before}, {note}"), &format!("{after}, {note}"), "");
    }
}

#[test]
fn a_copied_variable_is_covered_and_a_secret_is_not() {
    let workflow = |kind: &str| {
        format!("{kind}: [TOKEN]\nnodes:\n  n: {{ {RUN} }}\n  s: {{ workspace: scratch, {RUN} }}\n")
    };
    let (copied, secret) = (workflow("pass_env"), workflow("secrets"));
    check((&copied, &[("TOKEN", "one-value")]), (&copied, &[("TOKEN", "two-value")]), "n s");
    check((&copied, &[]), (&copied, &[("TOKEN", "")]), "n s");
    check((&copied, &[("TOKEN", "one-value")]), (&copied, &[("TOKEN", "one-value")]), "");
    check((&secret, &[("TOKEN", "one-value")]), (&secret, &[("TOKEN", "two-value")]), "");
    check((&secret, &[("OTHER", "one-value")]), (&secret, &[("OTHER", "two-value")]), "");
}

#[test]
fn the_answer_of_a_tool_is_covered() {
    let world = World::new();
    let tool = world.home().join("tool");
    let workflow = format!("nodes:\n  n: {{ cache: {{ tools: ['cat {}'] }}, {RUN} }}\n", tool.display());
    for (version, ran) in [(Some("1"), "n"), (Some("1"), ""), (Some("2"), "n"), (None, "n"), (None, "")] {
        match version {
            Some(version) => crate::common::put(&tool, version),
            None => std::fs::remove_file(&tool).unwrap_or_default(),
        }
        let run = world.apply(&workflow).success();
        assert_eq!(world.take_ran(), ran, "{version:?}\n{run}");
    }
}

#[test]
fn inputs_count_only_where_they_are_used() {
    let world = World::new();
    let workflow = format!(
        "inputs:\n  who: {{ type: string }}\nnodes:\n  a: {{ env: {{ WHO: \"${{{{ inputs.who }}}}\" }}, {RUN} }}\n  b: {{ {RUN} }}\n"
    );
    world.apply_with(&workflow, &["-i", "who=x"]).success();
    assert_eq!(world.take_ran(), "a b");
    world.apply_with(&workflow, &["-i", "who=y"]).success().ended("a succeeded, b cached");
    assert_eq!(world.take_ran(), "a");
}

#[test]
fn content_and_mode_of_a_needed_artifact_are_covered() {
    let world = World::new();
    let workflow = |text: &str, mode: &str| {
        format!(
            "nodes:\n  make: {{ reads: [], artifacts: [out/tool], run: 'mkdir -p out; echo {text} > out/tool; chmod {mode} out/tool' }}\n  use: {{ needs: [make], reads: [], workspace: readonly, run: 'echo use >> \"$HOME/ran\"; cat out/tool' }}\n"
        )
    };
    world.apply(&workflow("one", "644")).success();
    assert_eq!(world.take_ran(), "use");
    world.apply(&workflow("one", "0644")).success().ended("make succeeded, use cached");
    world.apply(&workflow("two", "644")).success().ended("make succeeded, use succeeded");
    world.apply(&workflow("two", "755")).success().ended("make succeeded, use succeeded");
    world.apply(&workflow("two", "755")).success().ended("make cached, use cached");
}

#[test]
fn an_output_of_a_need_is_covered_where_it_is_used() {
    let world = World::new();
    let workflow = |value: &str| {
        format!(
            "nodes:\n  a: {{ reads: [], outputs: {{ v: {{}} }}, run: 'echo v={value} >> \"$SPB_OUTPUT\"' }}\n  b: {{ needs: [a], reads: [], env: {{ V: \"${{{{ needs.a.outputs.v }}}}\" }}, {RUN} }}\n  c: {{ needs: [a], reads: [], {RUN} }}\n"
        )
    };
    world.apply(&workflow("1")).success();
    world.take_ran();
    let run = world.apply(&workflow("2")).success();
    assert_eq!(world.take_ran(), "b", "{run}");
}

#[test]
fn a_mode_a_link_and_a_deletion_of_a_file_read_are_covered() {
    let world = World::new();
    let workflow =
        format!("nodes:\n  n: {{ reads: ['src/**'], {RUN} }}\n  o: {{ reads: [other.txt], {RUN} }}\n");
    world.apply(&workflow).success();
    world.take_ran();
    let check = |ran: &str, edit: &dyn Fn()| {
        edit();
        world.commit("edit");
        let run = world.apply(&workflow).success();
        assert_eq!(world.take_ran(), ran, "{run}");
    };
    let one = world.repo.join("src/one.txt");
    check("n", &|| {
        std::fs::set_permissions(&one, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap()
    });
    check("n", &|| std::fs::remove_file(world.repo.join("src/two.txt")).unwrap());
    check("n", &|| std::os::unix::fs::symlink("one.txt", world.repo.join("src/two.txt")).unwrap());
    check("o", &|| world.write("other.txt", ""));
    check("", &|| world.write("unread.txt", ""));
}

#[test]
fn plan_says_what_apply_then_does_and_writes_nothing() {
    let world = World::new();
    let workflow = format!(
        "nodes:\n  a: {{ reads: [src/one.txt], {RUN} }}\n  b: {{ needs: [a], reads: [src/two.txt], {RUN} }}\n"
    );
    let file = world.workflow(&workflow);
    world.spb(["plan".as_ref(), file.as_os_str()]).run().success();
    assert!(!world.store().exists(), "`plan` wrote a store");
    assert!(!world.root.join("pool").exists(), "`plan` made a pool");
    world.apply(&workflow).success();
    world.write("src/two.txt", "zwei\n");
    world.commit("two");
    let written = || {
        // The lock table of the index, which readers lock as well.
        let mut files = crate::common::snapshot(&world.repo.join(".git"));
        files.remove(&world.store().join("index.sqlite-shm"));
        files
    };
    let before = written();
    let plan = world.spb(["plan".as_ref(), file.as_os_str(), "--json".as_ref()]).run().success();
    crate::common::assert_unchanged(&before, &written());
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    let states: Vec<String> = plan["workflows"][0]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| format!("{} {}", node["node"].as_str().unwrap(), node["state"].as_str().unwrap()))
        .collect();
    assert_eq!(states, ["a cached", "b runs"]);
    world.apply(&workflow).success().ended("a cached, b succeeded");
}
