//! Processes of nodes: what they are told, how they are ended, and that hostile values stay values.

use std::collections::BTreeMap;

use crate::common::{World, is_alive};

#[test]
fn the_environment_is_exactly_what_the_documentation_says() {
    let world = World::new();
    let workflow = r#"
env: { W: workflow, SHARED: workflow, N: workflow }
pass_env: [COPIED, ABSENT, SHARED]
secrets: [TOKEN]
nodes:
  n: { env: { N: node, HOME2: x }, outputs: { env: { out: env } }, run: 'tr "\0" "\n" < /proc/$$/environ | grep -v -e ^PWD= -e ^_= -e ^SHLVL= | sort > "$SPB_OUT/env"' }
"#;
    let run = world
        .applying(workflow, &[])
        .env("COPIED", "copied")
        .env("SHARED", "caller")
        .env("TOKEN", "not-shown-anywhere")
        .env("STRAY", "stray")
        .env("GIT_DIR", "/nowhere")
        .env("SPB_NODE", "forged")
        .env("LANG", "C")
        .env("TERM", "dumb")
        .env("USER", "someone")
        .env("SHELL", "/bin/sh");
    let run = run.run();
    // A secret in an output is refused, so the environment is looked at in the next test's way: by name first.
    assert!(run.message("n").contains("holds a secret"), "{run}");
    let names = workflow.replace("| sort", "| sed \"s/^TOKEN=.*/TOKEN=set/\" | sort");
    let run = world
        .applying(&names, &[])
        .env("COPIED", "copied")
        .env("SHARED", "caller")
        .env("TOKEN", "not-shown-anywhere")
        .env("STRAY", "stray")
        .env("GIT_DIR", "/nowhere")
        .env("SPB_NODE", "forged")
        .env("LANG", "C")
        .env("TERM", "dumb")
        .env("USER", "someone")
        .env("SHELL", "/bin/sh")
        .run()
        .success();
    let text = run.output("n", "env");
    let env: BTreeMap<&str, &str> =
        text.as_str().unwrap().lines().map(|line| line.split_once('=').unwrap()).collect();
    let names: Vec<&str> = env.keys().copied().collect();
    assert_eq!(
        names,
        [
            "COPIED",
            "HOME",
            "HOME2",
            "LANG",
            "N",
            "PATH",
            "SHARED",
            "SHELL",
            "SPB_ATTEMPT",
            "SPB_BASE",
            "SPB_CACHE_DIR",
            "SPB_NODE",
            "SPB_OUT",
            "SPB_OUTPUT",
            "SPB_RUN",
            "TERM",
            "TMPDIR",
            "TOKEN",
            "USER",
            "W"
        ]
    );
    let expect = [
        ("COPIED", "copied"),
        ("N", "node"),
        ("W", "workflow"),
        ("SHARED", "caller"),
        ("TOKEN", "set"),
        ("SPB_NODE", "n"),
        ("SPB_ATTEMPT", "1"),
        ("SPB_RUN", &run.id()),
        ("SPB_BASE", &world.git(&["rev-parse", "HEAD"])),
        ("USER", "someone"),
    ];
    for (name, value) in expect {
        assert_eq!(env[name], value, "{name}");
    }
    assert!(!env["SPB_OUT"].starts_with(world.repo.to_str().unwrap()));
}

#[test]
fn a_timeout_ends_the_whole_group() {
    let world = World::new();
    let gate = world.gate("g");
    let workflow = format!(
        r#"
nodes:
  n:
    timeout: 500ms
    run: |
      sh -c 'trap "" TERM; echo $$ > "$HOME/stubborn"; while :; do sleep 1000; done' &
      trap "echo asked >> $HOME/asked; exit 0" TERM
      {}
      while :; do sleep 1000 & wait; done
"#,
        gate.announce()
    );
    let running = world.applying(&workflow, &[]).begin();
    let leader = gate.arrived();
    let run = running.finish().exits(1).ended("n timed_out");
    assert!(run.message("n").contains("did not end within"), "{run}");
    assert!(!is_alive(leader));
    let stubborn = std::fs::read_to_string(world.home().join("stubborn")).unwrap();
    assert!(!is_alive(stubborn.trim().parse().unwrap()));
    assert_eq!(std::fs::read_to_string(world.home().join("asked")).unwrap(), "asked\n");
}

#[test]
fn daemons_do_not_survive_whatever_they_do_to_escape() {
    let world = World::new();
    let gate = world.gate("g");
    let workflow = format!(
        r#"
nodes:
  quiet: {{ run: "setsid sh -c '{0}; exec sleep 1000' > /dev/null 2>&1 < /dev/null & wait $!; true" }}
  loud: {{ run: "setsid sh -c '{0}; exec sleep 1000' &" }}
  plain: {{ run: "sh -c '{0}; exec sleep 1000' &" }}
  double: {{ run: "(setsid sh -c '(setsid sh -c \"{0}; exec sleep 1000\" &)' &) > /dev/null 2>&1" }}
"#,
        gate.announce()
    );
    // `quiet` would wait for its own daemon: let it go instead.
    let workflow = workflow.replace("& wait $!; true", "&");
    let running = world.applying(&workflow, &["--jobs", "4"]).begin();
    let run = running.finish();
    assert_eq!(run.code(), Some(0), "{run}");
    while let Some(pid) = gate.next_if_any() {
        assert!(!is_alive(pid), "{pid} survived");
    }
    assert_eq!(world.processes_of(&run.id()), Vec::<u32>::new());
}

#[test]
fn standard_input_is_empty() {
    let world = World::new();
    let mut spb = world.applying(
        "nodes:\n  n: { outputs: { read: { stdout: true } }, run: 'wc -c' }\n  s: { workspace: scratch, run: 'test \"$(cat)\" = \"\"' }\n",
        &[],
    );
    spb.command.stdin(std::process::Stdio::piped());
    let run = spb.run().success();
    assert_eq!(run.output("n", "read").as_str().unwrap().trim(), "0");
}

#[test]
fn a_list_is_executed_without_a_shell_and_may_hold_expressions() {
    let world = World::new();
    let run = world.apply_with(
        r#"
inputs: { text: { type: string } }
nodes:
  n: { outputs: { said: { stdout: true } }, run: [printf, '%s|', "${{ inputs.text }}", '$HOME', '*', '; exit 1', "a ${{ inputs.text }} b"] }
  gone: { run: [no-such-program-anywhere, x] }
"#,
        &["-i", "text=$(id) `id` \"x\" 'y'"],
    );
    let run = run.exits(1).ended("gone failed, n succeeded");
    let text = "$(id) `id` \"x\" 'y'";
    assert_eq!(run.output("n", "said"), format!("{text}|$HOME|*|; exit 1|a {text} b|"));
    assert!(run.message("gone").contains("no-such-program-anywhere"), "{run}");
}

#[test]
fn hostile_values_arrive_as_they_are_everywhere() {
    let world = World::new();
    let hostile = [
        "\"; touch pwned; \"",
        "$(touch pwned)",
        "`touch pwned`",
        "${IFS}touch${IFS}pwned",
        "'; touch pwned; '",
        "line one\nline two\n",
        "tab\tand \\ backslash \\n",
        "-rf --help",
        "${{ inputs.x }}",
        "{{ }} %s %n",
        "ünïcödé \u{202e} \u{1b}[31mred",
        "a=b=c",
        " spaces  around ",
        "",
        "&& exit 1 || true | cat > pwned",
        "../../etc/passwd",
        "~ * ? [a-z]",
        "!!",
    ];
    let workflow = r#"
inputs: { x: { type: string } }
nodes:
  first:
    env: { X: "${{ inputs.x }}" }
    outputs: { x: { out: x, format: json }, line: { out: line, format: json } }
    run: 'printf %s "$X" > raw.bin; printf %s "$QUOTED" > "$SPB_OUT/x"; cp "$SPB_OUT/x" "$SPB_OUT/line"'
  second:
    needs: [first]
    env: { X: "${{ needs.first.outputs.x }}", LIST: "${{ [inputs.x, needs.first.outputs.line] }}" }
    run: 'printf %s "$X" > env.bin; printf %s "$LIST" > list.json'
  third:
    needs: [second]
    run: [sh, -c, 'printf %s "$1" > argv.bin; printf %s "$2" > name.bin', "${{ inputs.x }}", "${{ inputs.x }}", "x${{ inputs.x }}"]
"#;
    for value in hostile {
        let quoted = serde_json::to_string(value).unwrap();
        // The node knows the value only as data: its JSON form is handed to it beside.
        let workflow = workflow.replace(
            "env: { X: \"${{ inputs.x }}\" }",
            "env: { X: \"${{ inputs.x }}\", QUOTED: \"${{ inputs.q }}\" }",
        );
        let workflow =
            workflow.replace("{ x: { type: string } }", "{ x: { type: string }, q: { type: string } }");
        let (x, q) = (format!("x={value}"), format!("q={quoted}"));
        let run = world.apply_with(&workflow, &["-i", &x, "-i", &q]).success();
        let branch = run.branch();
        for file in ["raw.bin", "env.bin", "argv.bin"] {
            assert_eq!(world.show(&branch, file).as_deref(), Some(value), "{file} of {value:?}");
        }
        assert_eq!(world.show(&branch, "name.bin"), Some(format!("x{value}")));
        let list: Vec<String> = serde_json::from_str(&world.show(&branch, "list.json").unwrap()).unwrap();
        assert_eq!(list, [value, value]);
        assert_eq!(world.show(&branch, "pwned"), None);
        assert!(!world.repo.join("pwned").exists() && !world.home().join("pwned").exists());
        assert!(!run.stderr.contains('\u{1b}') && !run.stderr.contains('\u{202e}'), "{run}");
    }
}

#[test]
fn a_template_in_a_script_is_refused_and_the_help_shows_the_way() {
    let world = World::new();
    let run = world
        .apply("inputs: { x: { type: string, default: a } }\nnodes:\n  n: { run: 'echo ${{ inputs.x }}' }\n")
        .exits(2);
    assert!(run.stderr.contains("env:"), "{run}");
    assert!(!world.store().exists(), "an invalid workflow touched something");
}

#[test]
fn secrets_are_masked_wherever_something_is_stored_or_shown() {
    let world = World::new();
    let secret = "s3cr3t-t0ken-val\u{fc}e-0123456789";
    let workflow = r#"
secrets: [TOKEN]
nodes:
  print: { run: 'echo "plain $TOKEN end"; echo "error $TOKEN" >&2; printf %s "$TOKEN" | base64 -w0; echo; printf "%s" "${TOKEN%5*}"; sleep 0.1; printf "%s\n" "5${TOKEN##*5}"' }
  fails: { run: 'echo "$TOKEN"; cd "/no/$TOKEN"' }
  argv: { run: [sh, -c, 'exec "/no/$TOKEN"'] }
  output: { outputs: { o: {} }, run: 'echo "o=$TOKEN" >> "$SPB_OUTPUT"' }
  name: { outputs: { o: {} }, run: 'echo "$TOKEN=1" >> "$SPB_OUTPUT"' }
  json: { outputs: { o: { stdout: true, format: json } }, run: 'printf "{\"a\": [\"%s\"]}" "$TOKEN"' }
  bad: { outputs: { o: { stdout: true, format: json } }, run: 'printf "%s" "$TOKEN"' }
  stray: { writes: [], run: 'touch "$TOKEN"' }
"#;
    let run = world.applying(workflow, &[]).env("TOKEN", secret).run().exits(1).ended(
        "argv failed, bad failed, fails failed, json failed, name failed, output failed, print succeeded, stray failed",
    );
    assert!(run.message("output").contains("holds a secret"), "{run}");
    let encoded = {
        let output = world.command("sh").args(["-c", "printf %s \"$1\" | base64 -w0", "sh", secret]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let hidden = [secret.as_bytes(), encoded.as_bytes()];
    let check = |place: &str, bytes: &[u8]| {
        for needle in hidden {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "a secret is in {place}");
        }
    };
    check("the events", run.stdout.as_bytes());
    check("the terminal", run.stderr.as_bytes());
    for (words, name) in [
        (&["status", "--json"][..], "status"),
        (&["logs"], "logs"),
        (&["logs", "--raw"], "raw logs"),
        (&["status"], "status"),
        (&["why", "print"], "why"),
    ] {
        let run = world.spb(words).run();
        check(name, run.stdout.as_bytes());
        check(name, run.stderr.as_bytes());
    }
    for path in world.all_files(&world.store()) {
        check(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
    // Refused results must not stay behind in objects that a branch would show.
    assert!(!run.stdout.contains("\"branch\":\"spb"), "{run}");
}

#[test]
fn working_directories_are_inside_the_workspace() {
    let world = World::new();
    std::os::unix::fs::symlink("/", world.repo.join("root")).unwrap();
    world.commit("link");
    let run = world.apply(
        r#"
inputs: { d: { type: string, default: src } }
nodes:
  in: { working_directory: "${{ inputs.d }}", outputs: { o: { stdout: true } }, run: 'ls' }
  none: { working_directory: nowhere, run: 'true' }
  link: { working_directory: root/etc, run: 'true' }
  up: { working_directory: "${{ '..' }}", run: 'true' }
"#,
    );
    let run = run.exits(1).ended("in succeeded, link failed, none failed, up failed");
    assert_eq!(run.output("in", "o"), "one.txt\ntwo.txt");
    assert!(run.message("none").contains("nowhere"), "{run}");
}

#[test]
fn retries_run_until_one_succeeds_and_only_for_what_is_worth_it() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  third: { retry: { max: 3 }, run: 'echo "$SPB_ATTEMPT" >> "$HOME/third"; echo "$SPB_ATTEMPT" >> a.txt; test "$SPB_ATTEMPT" = 3' }
  never: { retry: { max: 2 }, run: 'echo x >> "$HOME/never"; exit 4' }
  other: { retry: { max: 2, on: [5, timeout] }, run: 'echo x >> "$HOME/other"; exit 4' }
  worth: { retry: { max: 1, on: [5] }, run: 'echo x >> "$HOME/worth"; exit 5' }
  slow: { timeout: 200ms, retry: { max: 1, on: [timeout] }, run: 'echo x >> "$HOME/slow"; sleep 100' }
  between: { retry: { max: 1, between: 'echo between >> "$HOME/between"' }, run: 'exit 1' }
"#,
    );
    let run = run.exits(1);
    let count = |name: &str| std::fs::read_to_string(world.home().join(name)).unwrap().lines().count();
    assert_eq!(
        [count("third"), count("never"), count("other"), count("worth"), count("slow")],
        [3, 3, 1, 2, 2]
    );
    assert_eq!(count("between"), 1);
    assert_eq!(run.node("third")["outcome"], "succeeded");
    assert_eq!(run.node("third")["attempts"], 3);
    assert_eq!(run.node("third")["result"]["changed"], serde_json::json!(["a.txt"]));
    let log = world.spb(["logs", "third", "--attempt", "1"]).run();
    assert_eq!(log.code(), Some(0), "{log}");
}

#[test]
fn much_output_is_kept_whole_and_little_memory_is_used() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  line: { run: 'head -c 50000000 /dev/zero | tr "\0" x; echo; echo tail-of-line' }
  lines: { run: 'yes some line of text | head -n 1000000; echo tail-of-lines' }
  bytes: { run: 'head -c 3000000 /dev/urandom; printf "\r\0\33[2J\n"; echo tail-of-bytes' }
"#,
    );
    let run = run.success();
    let length = |node: &str| {
        std::fs::metadata(world.store().join("runs").join(run.id()).join(format!("logs/{node}.log")))
            .unwrap()
            .len()
    };
    assert_eq!(length("line"), 50_000_000 + 1 + 13);
    assert_eq!(length("lines"), 18 * 1_000_000 + 14);
    assert!(length("bytes") > 3_000_000);
    assert!(run.stderr.len() < 200_000, "{} bytes on the terminal", run.stderr.len());
}
