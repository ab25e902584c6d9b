//! Values that want to be code: whatever way one travels, it arrives byte for byte, and nothing that it says happens.

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::common::{Run, World, put};

const WORDS: [&str; 32] = [
    "\"; touch pwned; \"",
    "'; touch pwned; '",
    "$(touch pwned)",
    "`touch pwned`",
    "${IFS}",
    "&& touch pwned",
    "| tee pwned",
    "> pwned",
    "\ntouch pwned\n",
    "\r\n",
    "\t",
    "\\",
    "\\n",
    "$HOME",
    "${{ inputs.x }}",
    "${{ '",
    "{{",
    "}}",
    "%s%n",
    "--help",
    "-rf",
    "* ? [a-z] ~",
    "{a,b}",
    "!!",
    "#",
    "a=b",
    "<<EOF",
    "\u{1b}[31m\u{1b}]0;t\u{7}",
    "\u{202e}",
    "é✓\u{1f511}",
    "***",
    " ",
];

fn value() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
        1 => any::<char>().prop_filter("no NUL", |character| *character != '\0').prop_map(String::from),
    ];
    prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat())
}

const WORKFLOW: &str = r#"
inputs: { x: { type: string }, list: { type: array } }
env: { TOP: "${{ inputs.x }}" }
agents: { settler: { command: [sh, -e, -c, 'printf %s "$1" > "$HOME/got/agent"; cat "$SPB_PROMPT" > "$HOME/got/prompt"; echo settled > both.txt', sh, "${{ prompt }}"] } }
nodes:
  top: { workspace: scratch, run: 'printf %s "$TOP" > "$HOME/got/top"' }
  env: { workspace: scratch, env: { X: "${{ inputs.x }}" }, run: 'printf %s "$X" > "$HOME/got/env"' }
  argv: { workspace: scratch, run: [sh, -c, 'printf %s "$1" > "$HOME/got/argv"; printf %s "$2" > "$HOME/got/glued"', "${{ inputs.x }}", "${{ inputs.x }}", "a${{ inputs.x }}b"] }
  make:
    workspace: scratch
    env: { JSON: "${{ [inputs.x] }}", X: "${{ inputs.x }}" }
    outputs: { list: { out: list, format: json }, line: {}, text: { out: text } }
    run: |
      printf %s "$JSON" > "$SPB_OUT/list"; printf %s "$X" > "$SPB_OUT/text"
      printf 'line<<THE-END-OF-IT\n%s\nTHE-END-OF-IT\n' "$X" >> "$SPB_OUTPUT"
  need: { workspace: scratch, needs: [make], env: { X: "${{ needs.make.outputs.list[0] }}", L: "${{ needs.make.outputs.line }}", T: "${{ needs.make.outputs.text }}" }, run: 'printf %s "$X" > "$HOME/got/need"; printf %s "$L" > "$HOME/got/line"; printf %s "$T" > "$HOME/got/text"' }
  each: { workspace: scratch, needs: [make], for_each: "${{ needs.make.outputs.list }}", env: { X: "${{ item }}" }, run: 'printf %s "$X" > "$HOME/got/item"' }
  given: { workspace: scratch, for_each: "${{ inputs.list }}", run: [sh, -c, 'printf %s "$1" > "$HOME/got/given"', "${{ item }}", "${{ item }}"] }
  matrix: { workspace: scratch, matrix: { m: [LITERAL] }, env: { X: "${{ matrix.m }}" }, run: 'printf %s "$X" > "$HOME/got/matrix"' }
  loop: { workspace: scratch, needs: [make], loop: { until: "loop.index == 2", max: 3 }, outputs: { o: { out: o, format: json } }, env: { LAST: "${{ loop.index == 1 ? '' : loop.last.outputs.o }}", X: "${{ needs.make.outputs.list }}" }, run: 'printf %s "$LAST" > "$HOME/got/last"; printf %s "$X" | sed "s/^.//; s/.$//" > "$SPB_OUT/o"' }
  used: { uses: ./used.yaml, with: { y: "${{ inputs.x }}" } }
  back: { workspace: scratch, needs: [used], env: { X: "${{ needs.used.outputs.z }}" }, run: 'printf %s "$X" > "$HOME/got/back"' }
  when: { workspace: scratch, needs: [make], when: "needs.make.outputs.list[0] == inputs.x && inputs.x == inputs.list[0]", run: 'printf same > "$HOME/got/when"' }
  left: { run: 'echo left > both.txt' }
  right: { run: 'echo right > both.txt' }
  both: { needs: [left, right], on_conflict: { agent: { use: settler, prompt: "${{ inputs.x }}" } }, run: 'test "$(cat both.txt)" = settled' }
  ask: { needs: [both, make], approve: "Really? ${{ inputs.x }}" }
  answered: { workspace: scratch, needs: [ask], env: { X: "${{ needs.ask.outputs.message }}" }, run: 'printf %s "$X" > "$HOME/got/message"' }
"#;

const USED: &str = r#"
version: 1
name: used
inputs: { y: { type: string } }
nodes:
  in: { workspace: scratch, env: { X: "${{ inputs.y }}", J: "${{ [inputs.y] }}" }, outputs: { z: { out: z, format: json } }, run: 'printf %s "$X" > "$HOME/got/used"; printf %s "$J" > "$SPB_OUT/z"' }
outputs: { z: "${{ needs.in.outputs.z[0] }}" }
"#;

struct Trip {
    world: World,
}

impl Trip {
    fn new() -> Self {
        let world = World::new();
        std::fs::create_dir(world.home().join("got")).unwrap();
        put(&world.root.join("wf/used.yaml"), USED);
        Self { world }
    }

    /// Sends a value everywhere; says what arrived as something else.
    fn send(&self, value: &str) -> Vec<String> {
        let world = &self.world;
        let quoted = serde_json::to_string(value).unwrap();
        // A list in YAML takes JSON but for what YAML does not let in plainly.
        let literal: String = quoted.chars().fold(String::new(), |mut text, character| {
            match character {
                ' '..='~' => text.push(character),
                other => other
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .for_each(|unit| text.push_str(&format!("\\u{unit:04x}"))),
            }
            text
        });
        let literal = if value.chars().all(|c| c.len_utf16() == 1) && !value.contains("${{") {
            literal
        } else {
            "a".into()
        };
        let inputs = world.root.join("inputs.json");
        put(&inputs, format!("{{\"list\": [{quoted}]}}"));
        let text = WORKFLOW.replace("LITERAL", &literal);
        let run =
            world.apply_with(&text, &["-i", &format!("x={value}"), "--inputs", inputs.to_str().unwrap()]);
        let run = run.exits(4);
        let said = world.spb(["approve", "--message", value]).run().success();
        let resumed = world.spb(["resume", "--events", "ndjson"]).run().success();
        let mut wrong = Vec::new();
        let mut check = |place: &str, expect: &str| {
            let got = std::fs::read(world.home().join("got").join(place)).unwrap_or_default();
            if got != expect.as_bytes() {
                let got = String::from_utf8_lossy(&got).chars().take(300).collect::<String>();
                let expect: String = expect.chars().take(300).collect();
                wrong.push(format!("{place}: {got:?} instead of {expect:?}"));
            }
        };
        for place in ["top", "env", "argv", "need", "item", "given", "used", "back", "last"] {
            check(place, value);
        }
        check("glued", &format!("a{value}b"));
        check("line", value.trim_end_matches(['\n', '\r']));
        check("text", value.trim_end_matches(['\n', '\r']));
        check("matrix", if literal == "a" { "a" } else { value });
        check("when", "same");
        check("message", value);
        let prompt = std::fs::read_to_string(world.home().join("got/prompt")).unwrap_or_default();
        let agent = std::fs::read_to_string(world.home().join("got/agent")).unwrap_or_default();
        if !prompt.starts_with(value.trim_end()) || prompt.trim_end() != agent.trim_end() {
            wrong.push(format!("the prompt: {prompt:?} {agent:?}"));
        }
        wrong.extend(self.executed().iter().map(|path| format!("{} was made", path.display())));
        for run in [&run, &said, &resumed] {
            wrong.extend(controls(run));
        }
        std::fs::remove_dir_all(world.home().join("got")).unwrap();
        std::fs::create_dir(world.home().join("got")).unwrap();
        wrong
    }

    fn executed(&self) -> Vec<PathBuf> {
        let names =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains("pwned"));
        crate::common::snapshot(&self.world.root).into_keys().filter(names).collect()
    }
}

/// Nothing but text and line ends may be among the messages.
fn controls(run: &Run) -> Option<String> {
    let bad = |character: &char| {
        (character.is_control() && !"\n\t".contains(*character))
            || ('\u{202a}'..='\u{202e}').contains(character)
    };
    run.stderr.chars().find(bad).map(|found| format!("{found:?} is in the messages: {}", run.stderr))
}

#[test]
fn values_arrive_as_they_are_and_nothing_they_say_happens() {
    let trip = Trip::new();
    let all = WORDS.concat();
    assert_eq!(trip.send(&all), Vec::<String>::new());
    assert_eq!(
        trip.send("\u{7f}\u{80}\u{85}\u{9f}\u{2028}\u{2029}\u{feff}\u{fffe}\u{ffff}\u{10ffff}"),
        Vec::<String>::new()
    );
    assert_eq!(trip.send(&"x'\"$(touch pwned)`\n".repeat(3000)), Vec::<String>::new());
    let mut runner = TestRunner::new(Config {
        cases: crate::cases(5),
        max_shrink_iters: 8,
        failure_persistence: None,
        ..Config::default()
    });
    let law = |value: String| {
        let wrong = trip.send(&value);
        prop_assert!(wrong.is_empty(), "{wrong:#?}");
        Ok(())
    };
    runner.run(&value(), law).unwrap();
}

#[test]
fn a_value_of_a_megabyte_goes_from_node_to_node_and_says_what_cannot_take_it() {
    let world = World::new();
    put(
        &world.root.join("wf/used.yaml"),
        "version: 1\nname: used\ninputs: { y: { type: string } }\nnodes:\n  n: { run: 'true' }\noutputs: { z: '${{ inputs.y }}' }\n",
    );
    let run = world.apply(
        r#"
nodes:
  make: { outputs: { o: { stdout: true } }, run: 'head -c 1000000 /dev/zero | tr "\0" x' }
  over: { outputs: { o: { stdout: true } }, run: 'head -c 1100000 /dev/zero | tr "\0" x' }
  used: { needs: [make], uses: ./used.yaml, with: { y: "${{ needs.make.outputs.o }}" } }
  env: { needs: [make], env: { X: "${{ needs.make.outputs.o }}" }, run: 'true' }
"#,
    );
    let run = run.exits(1);
    assert_eq!(run.output("used", "z"), "x".repeat(1_000_000));
    assert!(run.message("over").contains("more than the 1048576"), "{}", run.message("over"));
    assert!(
        run.message("env").contains("environment variable `X` with 1000002 bytes"),
        "{}",
        run.message("env")
    );
}
