//! Conflicts that an agent settles: real scripts as agents, what they are told, what becomes of what they make.

use crate::common::World;

/// Takes the markers away and keeps the lines of both sides; notes that it ran.
const KEEP_BOTH: &str = r#"
        echo settle >> "$HOME/ran"
        while read -r file; do
          grep -v -e '^<<<<<<< ' -e '^>>>>>>> ' "$file" | sed -e '/^||||||| /,/^=======$/d' > "$HOME/settled"
          cat "$HOME/settled" > "$file"
        done < "$SPB_CONFLICTS"
"#;

/// Two nodes that change the same line, and one that needs both and lets this script settle it.
fn workflow(script: &str, more: &str) -> String {
    format!(
        r#"
agents:
  helper:
    command:
      - sh
      - -e
      - -c
      - |
{script}
      - helper
      - "${{{{ prompt }}}}"
nodes:
  left: {{ run: 'printf "1\nleft\n3\n" > shared.txt; echo l > left.txt' }}
  right: {{ run: 'printf "1\nright\n3\n" > shared.txt; echo r > right.txt' }}
  both: {{ needs: [left, right], on_conflict: {{ agent: helper }}, run: 'echo both >> "$HOME/ran"; cat shared.txt > seen.txt; ls >> seen.txt' }}
{more}
"#
    )
}

fn world() -> World {
    World::with(&[("shared.txt", "1\n2\n3\n"), ("other.txt", "other\n")])
}

/// A script of the agent: these lines, at their place in the file.
fn lines(script: &str) -> String {
    script.lines().map(|line| format!("        {line}\n")).collect()
}

#[test]
fn an_agent_settles_what_conflicts_and_a_second_run_costs_nothing() {
    let world = world();
    let text = workflow(KEEP_BOTH, "");
    let run = world.apply(&text).success();
    assert_eq!(world.take_ran(), "both settle");
    let branch = run.branch();
    assert_eq!(world.show(&branch, "shared.txt").as_deref(), Some("1\nleft\nright\n3\n"));
    assert_eq!(
        world.show(&branch, "seen.txt").as_deref(),
        Some("1\nleft\nright\n3\nleft.txt\nother.txt\nright.txt\nseen.txt\nshared.txt\n")
    );
    let plan = world.spb(["plan".as_ref(), world.workflow(&text).as_os_str()]).run().success();
    assert!(plan.stdout.contains("3 cached") || plan.stdout.matches("cached").count() >= 3, "{plan}");
    world.apply(&text).success();
    assert_eq!(world.take_ran(), "", "everything comes from the cache");
    // The node runs again, and the agent is not asked again.
    let changed = text.replace("cat shared.txt > seen.txt", "cat shared.txt  > seen.txt");
    world.apply(&changed).success();
    assert_eq!(world.take_ran(), "both");
    world.apply_with(&changed, &["--fresh"]).success();
    assert_eq!(world.take_ran(), "both");
    // Another question is another answer.
    let asked = changed.replace("agent: helper", "agent: { use: helper, prompt: Keep both. }");
    world.apply(&asked).success();
    assert_eq!(world.take_ran(), "both settle");
    let why = world.spb(["why", "both"]).run().success();
    assert!(why.stdout.contains("prompt for conflicts"), "{why}");
}

#[test]
fn nodes_with_one_question_ask_once_and_start_from_one_answer() {
    let world = world();
    let more = r#"
  one: { needs: [left, right], on_conflict: { agent: helper }, run: 'cat shared.txt > one.txt' }
  two: { needs: [left, right], on_conflict: { agent: helper }, run: 'cat shared.txt > two.txt' }
  three: { needs: [left, right], on_conflict: { agent: helper }, workspace: readonly, run: grep left shared.txt }
  all: { needs: [both, one, two, three], run: 'cat one.txt two.txt seen.txt > all.txt' }
"#;
    let run = world.apply_with(&workflow(KEEP_BOTH, more), &["--jobs", "4"]).success();
    assert_eq!(world.take_ran(), "both settle");
    assert_eq!(world.show(&run.branch(), "shared.txt").as_deref(), Some("1\nleft\nright\n3\n"));
    assert!(
        world
            .spb(["plan".as_ref(), world.workflow(&workflow(KEEP_BOTH, more)).as_os_str()])
            .run()
            .success()
            .stdout
            .contains("cached")
    );
}

#[test]
fn a_node_that_changes_nothing_hands_on_what_the_agent_made() {
    let world = world();
    let text = workflow(KEEP_BOTH, "").replace("cat shared.txt > seen.txt; ls >> seen.txt", "true");
    let text = format!("{text}\n  last: {{ needs: [both], run: 'cp shared.txt last.txt' }}\n");
    let run = world.apply(&text).success();
    assert_eq!(world.show(&run.branch(), "last.txt").as_deref(), Some("1\nleft\nright\n3\n"));
    world.git(&["reflog", "expire", "--expire=now", "--all"]);
    world.git(&["gc", "-q", "--prune=now"]);
    world.take_ran();
    world.apply(&text.replace("last.txt'", "last.txt; true'")).success();
    assert_eq!(world.take_ran(), "", "what it made is kept");
}

#[test]
fn the_agent_is_told_what_a_node_is_and_more() {
    let world = world();
    let script = r#"
        {
          printf '%s|%s|%s\n' "$SPB_NODE" "${SPB_OUT-none}" "$WHO"
          cat "$SPB_CONFLICTS"
          cat shared.txt
          printf '[%s]\n' "$1"
          test "$(cat "$SPB_PROMPT")" = "$1" && echo same
          git status --porcelain
          pwd -P | grep -c /pool/
        } > "$HOME/told"
        echo "printed by the agent"
        printf '1\nsettled\n3\n' > shared.txt
"#;
    let text = workflow(script, "").replace(
        "on_conflict: { agent: helper }",
        "env: { WHO: '${{ inputs.who }}' }, on_conflict: { agent: { use: helper, prompt: 'Ask ${{ inputs.who }}: $(no shell).' } }",
    );
    let run = world.apply(&format!("inputs: {{ who: {{ type: string, default: me }} }}\n{text}")).success();
    assert_eq!(world.show(&run.branch(), "shared.txt").as_deref(), Some("1\nsettled\n3\n"));
    let told = std::fs::read_to_string(world.home().join("told")).unwrap();
    assert_eq!(
        told,
        "both|none|me\nshared.txt\n1\n<<<<<<< left\nleft\n||||||| base\n2\n=======\nright\n>>>>>>> right\n3\n\
         [Ask me: $(no shell).\n\nFiles with conflicts, each between <<<<<<< and >>>>>>>:\n- shared.txt\n]\n1\n"
    );
    let logs = world.spb(["logs", &run.id(), "both"]).run().success();
    assert!(logs.stdout.contains("printed by the agent"), "{logs}");
    assert!(run.stdout.contains("node_settling"), "{run}");
    // Three commits meet: the sides are the parents of what the agent made.
    let merge = world.git(&["log", "--all", "--format=%H %P", "--grep=conflicts settled by helper"]);
    assert_eq!(merge.split_whitespace().count(), 3, "{merge}");
}

#[test]
fn an_agent_that_does_not_settle_everything_fails_the_node() {
    for (script, expect) in [
        ("echo nothing done", "the agent `helper` left conflict markers in shared.txt"),
        (
            "printf '1\\n=======\\n3\\n' > shared.txt",
            "the agent `helper` left conflict markers in shared.txt",
        ),
        (
            "printf '1\\n2\\n3\\n' > shared.txt; echo x > other.txt; echo y > new.txt",
            "the agent `helper` changed files beside those in conflict: new.txt, other.txt; it may change shared.txt only",
        ),
        ("echo gave up; exit 3", "the agent `helper`, asked to settle shared.txt, exited with code 3"),
        ("kill -9 $$", "the agent `helper`, asked to settle shared.txt, was killed by signal 9"),
    ] {
        let world = world();
        let run = world.apply(&workflow(&lines(script), "")).exits(1);
        let run = run.ended("both failed, left succeeded, right succeeded");
        assert!(run.message("both").starts_with(expect), "{script}: {}", run.message("both"));
        assert_eq!(world.take_ran(), "", "{script}: the node ran");
        assert!(run.stderr.contains("helper"), "{run}");
        assert!(world.rooms().is_empty(), "a room was left");
        // Nothing of it is remembered: a better agent is asked, and so is the same one.
        let run = world.spb(["resume", "--events", "ndjson"]).run().exits(1);
        assert!(run.stdout.contains("node_settling"), "{run}");
    }
}

#[test]
fn an_agent_may_end_a_conflict_by_removing_the_file() {
    let world = world();
    let text = workflow(&lines("rm shared.txt"), "")
        .replace("cat shared.txt > seen.txt; ls >> seen.txt", "ls > seen.txt");
    let run = world.apply(&text).success();
    assert_eq!(
        world.show(&run.branch(), "seen.txt").as_deref(),
        Some("left.txt\nother.txt\nright.txt\nseen.txt\n")
    );
}

#[test]
fn the_timeout_of_the_node_is_that_of_its_agent() {
    let world = world();
    let text = workflow(&lines("exec sleep 1000"), "")
        .replace("needs: [left, right],", "needs: [left, right], timeout: 300ms,");
    let run = world.apply(&text).exits(1).ended("both timed_out, left succeeded, right succeeded");
    assert!(run.message("both").contains("did not end within 300ms"), "{run}");
    assert_eq!(world.processes_of(&run.id()), Vec::<u32>::new());
}

#[test]
fn what_no_lines_decide_is_not_given_to_the_agent() {
    let world = World::with(&[("shared.txt", "1\n2\n3\n"), ("gone.txt", "x\n")]);
    let text = workflow(KEEP_BOTH, "")
        .replace("echo l > left.txt", "rm gone.txt")
        .replace("echo r > right.txt", "echo y > gone.txt");
    let run = world.apply(&text).exits(1);
    assert_eq!(
        run.message("both"),
        "the changes of `left` and `right` do not merge: gone.txt; let one need the other, or keep their files apart; \
         `on_conflict: agent` settles lines of text only"
    );
    assert_eq!(world.take_ran(), "");
}

#[test]
fn explain_shows_who_is_asked_what() {
    let world = world();
    let text = workflow(KEEP_BOTH, "").replace(
        "{ agent: helper }",
        "{ agent: { use: helper, prompt: 'Do ${{ inputs.task }}: ${{ needs.left.status }}' } }",
    );
    let file = world.workflow(&format!("inputs: {{ task: {{ type: string }} }}\n{text}"));
    let words = ["explain".as_ref(), file.as_os_str(), "both".as_ref(), "-i".as_ref(), "task=this".as_ref()];
    let shown = world.spb(words).run().success().stdout;
    for line in
        ["agent:", "use: helper", "Do ${{ inputs.task }}: ${{ needs.left.status }}", "- ${{ prompt }}"]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

#[test]
fn three_sides_are_settled_two_at_a_time() {
    let world = world();
    let more = "  third: { run: 'printf \"1\\nthird\\n3\\n\" > shared.txt' }\n";
    let text = workflow(KEEP_BOTH, more).replace("needs: [left, right]", "needs: [left, right, third]");
    let run = world.apply(&text).success();
    assert_eq!(world.take_ran(), "both settle settle");
    assert_eq!(world.show(&run.branch(), "shared.txt").as_deref(), Some("1\nleft\nright\nthird\n3\n"));
}

#[test]
fn a_node_outside_of_only_asks_no_agent() {
    let world = world();
    let text = workflow(KEEP_BOTH, "  last: { needs: [both], run: 'true' }\n");
    let run = world.apply(&text.replace("on_conflict: { agent: helper }", "on_conflict: ours")).success();
    assert!(run.stdout.contains("run_finished"));
    world.take_ran();
    let run = world.apply_with(&text, &["--only", "last"]).exits(1);
    assert!(run.message("both").contains("no agent has settled what it needs"), "{}", run.message("both"));
    assert_eq!(world.take_ran(), "");
}

#[test]
fn the_example_runs_without_any_model() {
    let world = world();
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/conflict-agent.yaml");
    let run = world
        .spb(["apply".as_ref(), example.as_os_str(), "--events".as_ref(), "ndjson".as_ref()])
        .run()
        .success();
    assert_eq!(
        world.show(&run.branch(), "news.md").as_deref(),
        Some("- written by left\n- written by right\n")
    );
    assert_eq!(run.stdout.matches("node_settling").count(), 1, "{run}");
}

#[test]
fn agents_come_with_the_files_that_are_included() {
    let world = world();
    let text = workflow(KEEP_BOTH, "");
    let (agents, nodes) = text.split_once("nodes:\n").unwrap();
    world.named_workflow("agents", &format!("{agents}nodes: {{ idle: {{ run: 'true' }} }}\n"));
    let run = world.apply(&format!("include: [agents.yaml]\nnodes:\n{nodes}")).success();
    assert_eq!(world.show(&run.branch(), "shared.txt").as_deref(), Some("1\nleft\nright\n3\n"));
    assert_eq!(world.take_ran(), "both settle");
}

#[test]
fn every_item_of_a_list_starts_from_one_answer() {
    let world = world();
    let more = r#"
  each: { needs: [left, right], for_each: [a, b, c], on_conflict: { agent: helper }, env: { ITEM: "${{ item }}" }, run: 'cat shared.txt > "$ITEM.txt"' }
"#;
    let run = world.apply_with(&workflow(KEEP_BOTH, more), &["--jobs", "4"]).success();
    assert_eq!(world.take_ran(), "both settle");
    for file in ["a.txt", "b.txt", "c.txt"] {
        assert_eq!(world.show(&run.branch(), file).as_deref(), Some("1\nleft\nright\n3\n"));
    }
}
