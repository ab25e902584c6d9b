//! Answers that come while a run works, or after it has ended with exit code 4.

use serde_json::json;

use crate::SHIP;
use crate::common::{World, is_alive, snapshot};

#[test]
fn a_yes_lets_the_dependents_run_and_tells_them_who_said_what() {
    let world = World::new();
    let hostile = "fine \"$(touch pwned)\" `id` ${{ inputs.x }}\n; rm -rf / '\u{1b}[2J\u{202e} äö";
    let running = world.waiting(SHIP, "gate");
    let pid = running.pid();
    let said = world.say(&["approve", "gate", "-m", hostile]).success();
    assert!(said.stdout.contains("approved by Tester; the run goes on"), "{said}");
    let run = running.finish().success().ended("build succeeded, gate succeeded, ship succeeded");
    assert_eq!(world.show(&run.branch(), "said.txt").unwrap(), format!("Tester\n{hostile}"));
    assert_eq!(world.show(&run.branch(), "b.txt").as_deref(), Some("b\n"), "what it needs passes through");
    assert_eq!(run.output("gate", "approved"), json!(true));
    assert_eq!(run.output("gate", "message"), json!(hostile));
    assert_eq!(run.output("gate", "by"), json!("Tester"));
    assert!(!world.repo.join("pwned").exists());
    for words in [&["status"][..], &["why", "gate"], &["logs", "gate"], &["runs"]] {
        let shown = world.say(words).success();
        assert!(!format!("{shown}").contains(['\u{1b}', '\u{202e}']), "{shown}");
    }
    assert!(!is_alive(pid));
    assert_eq!(world.take_ran(), "build ship");
}

#[test]
fn a_no_fails_the_node_and_is_data_for_others() {
    let workflow = format!(
        "{SHIP}  sorry:
    needs: [gate]
    when: failure() && !needs.gate.outputs.approved
    env: {{ WORDS: \"${{{{ needs.gate.outputs.message }}}}\", STATUS: \"${{{{ needs.gate.status }}}}\" }}
    run: 'echo \"$STATUS $WORDS\" >> \"$HOME/ran\"'\n"
    );
    let world = World::new();
    let running = world.waiting(&workflow, "gate");
    world.say(&["reject", "gate", "-m", "not on a Friday"]).success();
    let run = running.finish().exits(1).ended("build succeeded, gate failed, ship skipped, sorry succeeded");
    assert_eq!(run.message("gate"), "rejected by Tester: not on a Friday");
    assert_eq!(run.output("gate", "approved"), json!(false));
    assert_eq!(world.take_ran(), "build failed not on a Friday");
    // What failed is tried again: the same question, and this time another answer.
    let again = world.resume().exits(4);
    assert_eq!(again.events().iter().find(|event| event["event"] == "approval_asked").unwrap()["number"], 2);
    world.say(&["approve", "-m", "it is Monday"]).success();
    let run = world.resume().success();
    assert_eq!(world.show(&run.branch(), "said.txt").as_deref(), Some("Tester\nit is Monday"));
    assert_eq!(world.take_ran(), "ship");
}

#[test]
fn a_run_that_only_waits_ends_with_4_and_says_what_to_type() {
    let world = World::new();
    let run = world.apply(SHIP).exits(4).ended("build succeeded");
    let id = run.id();
    assert_eq!(run.end()["outcome"], "waiting");
    assert_eq!(run.end()["message"], "`gate` asks: Ship it?");
    assert_eq!(run.end()["branch"], json!(null), "no result before the answer");
    assert!(world.git(&["branch", "--list", "spb/*"]).is_empty());
    assert!(run.stderr.contains(&format!("spb approve {id} gate")), "{run}");
    assert!(run.stderr.contains(&format!("spb resume {id}")), "{run}");
    assert_eq!(world.state(), "waiting");
    let node = world.node("gate");
    assert_eq!((&node["state"], &node["question"]["message"]), (&json!("asking"), &json!("Ship it?")));
    assert_eq!(world.status()["counts"]["asking"], 1);
    let listed = world.say(&["runs", "--state", "waiting", "--json"]).success();
    assert!(listed.stdout.contains(&id), "{listed}");
    let cancelled = world.say(&["cancel"]).success();
    assert!(cancelled.stdout.contains("it waits for an answer"), "{cancelled}");
    // Nobody has answered: the same question again, under the same number.
    let again = world.resume().exits(4);
    assert_eq!(again.id(), id);
    let asked: Vec<_> =
        again.events().into_iter().filter(|event| event["event"] == "approval_asked").collect();
    assert_eq!((asked.len(), &asked[0]["number"]), (1, &json!(1)));
    let short = id.rsplit('-').next().unwrap();
    let said = world.say(&["approve", short, "gate", "--json"]).success();
    let said: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(said["run"], json!(id));
    assert_eq!((&said["verdict"], &said["state"]), (&json!("approved"), &json!("waiting")));
    assert_eq!(world.node("gate")["state"], "answered");
    assert_eq!(world.status()["next"], json!([format!("spb resume {id}")]));
    let run = world.resume().success().ended("gate succeeded, ship succeeded");
    assert_eq!(world.show(&run.branch(), "b.txt").as_deref(), Some("b\n"));
    assert_eq!(world.take_ran(), "build ship");
    assert_eq!(world.state(), "succeeded");
}

#[test]
fn an_answer_can_carry_on_at_once() {
    let world = World::new();
    world.apply(SHIP).exits(4);
    let said = world.say(&["approve", "--resume"]).success();
    assert!(said.stdout.contains("carrying on"), "{said}");
    assert_eq!(world.state(), "succeeded");
    world.apply(&SHIP.replace("Ship it?", "Really?")).exits(4);
    world.say(&["reject", "--resume"]).exits(1);
    assert_eq!(world.state(), "failed");
}

#[test]
fn the_first_answer_counts_and_a_second_says_so() {
    let world = World::new();
    world.apply(SHIP).exits(4);
    world.say(&["approve", "gate", "-m", "one"]).success();
    let same = world.say(&["approve", "gate", "-m", "two"]).success();
    assert!(same.stdout.contains("was already approved by Tester"), "{same}");
    let other = world.say(&["reject", "gate"]).exits(2);
    assert!(
        other.stderr.contains("was already approved by Tester") && other.stderr.contains("one"),
        "{other}"
    );
    let run = world.resume().success();
    assert_eq!(run.output("gate", "message"), json!("one"));
    for words in [&["approve", &run.id(), "gate"][..], &["reject", "gate"]] {
        let late = world.say(words).exits(2);
        assert!(late.stderr.contains("has its answer: approved by Tester: one"), "{late}");
    }
}

#[test]
fn what_asks_nothing_is_told_with_what_does() {
    let world = World::new();
    let nothing = world.say(&["approve"]).exits(2);
    assert!(nothing.stderr.contains("no run asks anything"), "{nothing}");
    let run = world.apply(SHIP).exits(4);
    for (words, expect) in [
        (&["approve", "gaet"][..], "no run matches `gaet`"),
        (&["approve", "latest", "gaet"], "did you mean `gate`?"),
        (&["approve", "build"], "`build` of run"),
        (&["approve", "ship"], "has not asked anything yet"),
        (&["approve", "ship"], "what asks: `gate`"),
        (&["approve", "a", "b", "c"], "unexpected value 'c'"),
    ] {
        let refused = world.say(words).exits(2);
        assert!(refused.stderr.contains(expect), "{expect:?}\n{refused}");
    }
    let long = "x".repeat(64 * 1024 + 1);
    world.say(&["approve", "-m", &long]).exits(2);
    let inside = world.spb(["approve"]).env("SPB_NODE", "build").run().exits(2);
    assert!(inside.stderr.contains("cannot answer for a person"), "{inside}");
    world.say(&["approve", &run.id()]).success();
}

#[test]
fn a_question_without_an_answer_in_time_is_a_failure_that_counts_as_no() {
    let workflow = SHIP.replace("Ship it?\"", "Ship it?\", timeout: 300ms").replace(
        "  ship:",
        "  late: { needs: [gate], when: failure() && !needs.gate.outputs.approved, run: 'echo late >> \"$HOME/ran\"' }\n  ship:",
    );
    let world = World::new();
    let ends = "build succeeded, gate timed_out, late succeeded, ship skipped";
    let run = world.applying(&workflow, &["--wait"]).run().exits(1).ended(ends);
    assert_eq!(run.message("gate"), "nobody answered in time");
    let late = world.say(&["approve", &run.id(), "gate"]).exits(2);
    assert!(late.stderr.contains("has its answer: nobody answered in time"), "{late}");
    assert_eq!(world.take_ran(), "build late");
    // The time also passes while nobody works on the run.
    let world = World::new();
    world.apply(&workflow).exits(4);
    let until = world.node("gate")["question"]["until"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    crate::common::until(|| jiff::Timestamp::now() > until);
    let late = world.say(&["approve", "gate"]).exits(2);
    assert!(late.stderr.contains("has expired"), "{late}");
    let run = world.resume().exits(1);
    assert_eq!(run.message("gate"), "nobody answered in time");
}

#[test]
fn an_answer_in_time_counts_whenever_an_engine_finds_it() {
    let world = World::new();
    world.apply(&SHIP.replace("Ship it?\"", "Ship it?\", timeout: 2s")).exits(4);
    world.say(&["approve", "gate"]).success();
    let until = world.node("gate")["question"]["until"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    crate::common::until(|| jiff::Timestamp::now() > until);
    world.resume().success();
}

#[test]
fn plan_shows_the_question_and_writes_nothing() {
    let world = World::new();
    let workflow = world.workflow(SHIP);
    let file = workflow.to_str().unwrap();
    let before = snapshot(&world.root);
    let plan = world.say(&["plan", file]).success();
    assert!(plan.stdout.contains("depends  on what build gives"), "{plan}");
    let explained = world.say(&["explain", file, "gate"]).success();
    assert!(explained.stdout.contains("approve: Ship it?"), "{explained}");
    crate::common::assert_unchanged(&before, &snapshot(&world.root));
    world.apply(SHIP).exits(4);
    let plan = world.say(&["plan", file]).success();
    assert!(
        plan.stdout.lines().any(|line| line.contains("gate   asks") && line.contains("Ship it?")),
        "{plan}"
    );
}

#[test]
fn whoever_answers_has_the_name_that_git_knows_or_the_users() {
    let world = World::new();
    world.git(&["config", "--unset", "user.name"]);
    world.apply(SHIP).exits(4);
    let said = world.spb(["approve"]).env("USER", "ann").run().success();
    assert!(said.stdout.contains("approved by ann"), "{said}");
}
