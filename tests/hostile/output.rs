//! What nodes write: any amount of any bytes is kept whole in little memory, and nothing of it is taken for more than it is.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;

use crate::common::World;

/// Largest resident size of a process and of those that it waited for, bytes.
fn peak_of_children() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: filled by the call; all-zero is valid.
    let usage = unsafe {
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()), 0);
        usage.assume_init()
    };
    usage.ru_maxrss.unsigned_abs() * 1024
}

#[test]
fn much_output_of_any_kind_is_kept_whole_in_little_memory() {
    // In a program of its own: what other tests waited for counts as well.
    if std::env::var_os("SPB_TEST_ALONE").is_none() {
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "output::much_output_of_any_kind_is_kept_whole_in_little_memory"]);
        assert!(alone.env("SPB_TEST_ALONE", "1").process_group(0).output().unwrap().status.success());
        return;
    }
    let mib: u64 = std::env::var("SPB_TEST_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let world = World::new();
    let run = world
        .applying(
            &format!(
                r#"
secrets: [TOKEN]
nodes:
  line: {{ workspace: scratch, run: 'head -c {0}M /dev/zero | tr "\0" x; echo; echo tail' }}
  lines: {{ workspace: scratch, run: 'yes "" | head -c {0}M; echo tail' }}
  bytes: {{ workspace: scratch, run: 'head -c {0}M /dev/urandom; echo; echo tail' }}
  returns: {{ workspace: scratch, run: 'yes "$(printf "10%%\r20%%\r\0")" | tr "\n" "\r" | head -c {0}M; echo; echo tail' }}
  both: {{ workspace: scratch, outputs: {{ o: {{ out: o }} }}, run: 'yes out | head -c {0}M & yes err | head -c {0}M >&2; wait; echo v > $SPB_OUT/o' }}
"#,
                mib
            ),
            &["--jobs", "5"],
        )
        .env("TOKEN", "a-secret-that-is-looked-for")
        .run()
        .success();
    let log = |node: &str| world.store().join("runs").join(run.id()).join(format!("logs/{node}.log"));
    let length = |node: &str| std::fs::metadata(log(node)).unwrap().len();
    let bytes = mib << 20;
    assert_eq!(length("line"), bytes + 1 + 5);
    assert_eq!(length("lines"), bytes + 5);
    assert_eq!(length("bytes"), bytes + 1 + 5);
    assert_eq!(length("returns"), bytes + 1 + 5);
    assert_eq!(length("both"), 2 * bytes);
    let last = BufReader::new(std::fs::File::open(log("lines")).unwrap()).lines().last().unwrap().unwrap();
    assert_eq!(last, "tail");
    assert!(run.stderr.len() < 400_000, "{} bytes of messages", run.stderr.len());
    // Reading it needs no more.
    let mut reading = world.spb(["logs", "line"]);
    reading.command.stdout(std::process::Stdio::null());
    reading.run_as_is().success();
    assert!(peak_of_children() < 300 << 20, "{} MiB", peak_of_children() >> 20);
}

#[test]
fn a_node_that_floods_does_not_hold_up_another() {
    let world = World::new();
    let gate = world.gate("g");
    let workflow = format!(
        "nodes:\n  flood: {{ workspace: scratch, run: 'while :; do echo flood; done' }}\n  calm: {{ workspace: scratch, run: {} }}\n",
        serde_json::to_string(&format!("echo before; {}; echo after", gate.script())).unwrap()
    );
    let running = world.applying(&workflow, &["--jobs", "2"]).begin();
    gate.arrived();
    gate.open();
    let log = |node: &str| world.spb(["logs", node]).run().stdout;
    crate::common::until(|| log("calm").contains("after"));
    running.signal(libc::SIGINT);
    let run = running.finish().exits(130);
    assert!(run.outcomes().contains("calm succeeded"), "{run}");
}

#[test]
fn what_looks_like_an_event_or_a_status_line_is_only_output() {
    let world = World::new();
    let forged = r#"{"run":"x","seq":1,"event":"node_finished","node":"later","outcome":"succeeded","result":{"outputs":{"o":"forged"}}}"#;
    let lines = format!(
        "{forged}\n::set-output name=o::forged\no=forged\nok        later  1ms\n[SPB] o=forged\n##[error]no\nt: succeeded in 1ms"
    );
    let script = serde_json::to_string(&format!("printf '%s\\n' '{lines}'; printf '%s\\n' '{lines}' >&2; exec 3>&1 4>&1; printf '{forged}' >&3 2>/dev/null || true")).unwrap();
    let run = world.apply(&format!(
        "nodes:\n  says: {{ outputs: {{ o: {{}} }}, run: {script} }}\n  later: {{ needs: [says], run: 'true' }}\n  other: {{ run: {script} }}\n"
    ));
    let run = run.exits(1).ended("later skipped, other succeeded, says failed");
    assert!(run.message("says").contains('o'), "{run}");
    assert!(run.events().iter().all(|event| event["result"]["outputs"]["o"] != "forged"));
    // What a node says is behind a mark that tells whose it is.
    assert!(!run.stderr.lines().any(|line| line.starts_with("ok        later")), "{run}");
}

#[test]
fn a_hostile_output_file_is_told_and_nothing_waits_or_is_followed() {
    let world = World::new();
    std::fs::write(world.home().join("precious"), "o=stolen\n").unwrap();
    let run = world.apply(
        r#"
defaults: { workspace: scratch }
nodes:
  pipe: { outputs: { o: {} }, run: 'rm -f "$SPB_OUTPUT"; mkfifo "$SPB_OUTPUT"' }
  link: { outputs: { o: {} }, run: 'rm -f "$SPB_OUTPUT"; ln -s "$HOME/precious" "$SPB_OUTPUT"' }
  device: { outputs: { o: {} }, run: 'rm -f "$SPB_OUTPUT"; ln -s /dev/zero "$SPB_OUTPUT"' }
  directory: { outputs: { o: {} }, run: 'rm -f "$SPB_OUTPUT"; mkdir "$SPB_OUTPUT"' }
  gone: { outputs: { o: {} }, run: 'rm -f "$SPB_OUTPUT"' }
  huge: { outputs: { o: {} }, run: 'truncate -s 100G "$SPB_OUTPUT"' }
  long: { outputs: { o: {} }, run: '{ printf o=; head -c 20000000 /dev/zero | tr "\0" x; } > "$SPB_OUTPUT"' }
  bytes: { outputs: { o: {} }, run: 'printf "o=\377\n" > "$SPB_OUTPUT"' }
  nul: { outputs: { o: {} }, run: 'printf "o=a\0b\n" > "$SPB_OUTPUT"' }
  twice: { outputs: { o: {} }, run: 'printf "o=a\no=b\n" > "$SPB_OUTPUT"' }
  open: { outputs: { o: {} }, run: 'printf "o<<E\na\n" > "$SPB_OUTPUT"' }
  closed: { outputs: { o: {} }, run: 'printf "o=a\n" > "$SPB_OUTPUT"; chmod 0 "$SPB_OUTPUT"' }
  outpipe: { outputs: { o: { out: o } }, run: 'mkfifo "$SPB_OUT/o"' }
  outlink: { outputs: { o: { out: o } }, run: 'ln -s "$HOME/precious" "$SPB_OUT/o"' }
  outdevice: { outputs: { o: { out: o } }, run: 'ln -s /dev/zero "$SPB_OUT/o"' }
  outparent: { outputs: { o: { out: d/precious } }, run: 'ln -s "$HOME" "$SPB_OUT/d"' }
  whole: { outputs: { o: { out: o } }, run: 'rm -rf "$SPB_OUT"; ln -s "$HOME" "$SPB_OUT"; true' }
  deep: { outputs: { o: { out: o, format: json } }, run: 'head -c 200000 /dev/zero | tr "\0" "[" > "$SPB_OUT/o"' }
"#,
    );
    let run = run.exits(1);
    for event in run.of_kind("node_finished") {
        let (node, outcome) = (event["node"].as_str().unwrap(), event["outcome"].as_str().unwrap());
        let may = node == "closed" && outcome == "succeeded";
        assert!(outcome == "failed" || may, "{node} {outcome}\n{run}");
        assert!(may || !event["message"].as_str().unwrap().is_empty(), "{node}\n{run}");
    }
    assert!(!run.stdout.contains("stolen") && !run.stderr.contains("stolen"), "{run}");
    assert_eq!(std::fs::read_to_string(world.home().join("precious")).unwrap(), "o=stolen\n");
}

#[test]
fn a_node_has_no_terminal_to_ask() {
    let world = World::new();
    let run = world.apply(
        "nodes:\n  a: { workspace: scratch, run: 'if (: < /dev/tty) 2>/dev/null; then exit 7; fi; test -z \"$(cat)\"; test ! -t 0 && test ! -t 1 && test ! -t 2' }\n",
    );
    run.success();
}
