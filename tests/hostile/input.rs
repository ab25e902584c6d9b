//! Files and arguments that are not what they should be: told in time, with little memory, and with a reason.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::common::{Run, World, put};

/// Runs `spb` with at most 2 GB of address space and a minute of processor time: what would take all of either fails.
#[track_caller]
fn spb(world: &World, words: &[&str]) -> Run {
    let limited = "ulimit -v 2000000; ulimit -t 60; exec \"$@\"";
    let mut spb = world.spb(words);
    let program = spb.command.get_program().to_owned();
    let mut command = world.command("sh");
    command.args(["-c", limited, "sh"]).arg(program).args(words);
    spb.command = command;
    spb.run()
}

fn fifo(path: &Path) {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a C string.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

const ECHO: &str = "inputs: { x: { type: string, default: none } }\nnodes:\n  a: { env: { X: '${{ inputs.x }}' }, outputs: { x: { stdout: true } }, run: 'printf %s \"$X\"' }\n";

#[test]
fn inputs_that_never_end_or_never_come_are_told() {
    let world = World::new();
    let file = world.workflow(ECHO);
    let file = file.to_str().unwrap();
    let pipe = world.root.join("pipe");
    fifo(&pipe);
    for (path, expect) in [
        (pipe.to_str().unwrap(), "it is a pipe that nobody writes to"),
        ("/dev/zero", "larger than 16 MiB"),
        ("/", "Is a directory"),
        ("/no/where", "No such file"),
    ] {
        for verb in ["apply", "plan", "explain"] {
            let run = spb(&world, &[verb, file, "--inputs", path]).exits(2);
            assert!(run.stderr.contains(expect), "{path}: {run}");
        }
    }
    assert!(!world.store().exists());
    // What a shell calls a file: its writer may be late.
    let script = "exec \"$SPB\" apply \"$FILE\" --events ndjson --inputs <(sleep 0.2; echo 'x: given')";
    let mut piped = world.spb(["apply"]);
    piped.command = world.command("bash");
    piped.command.args(["-c", script]).env("SPB", env!("CARGO_BIN_EXE_spb")).env("FILE", file);
    assert_eq!(piped.run().success().output("a", "x"), "given");
}

#[test]
fn a_workflow_that_is_no_plain_file_is_named_and_nothing_waits() {
    let world = World::new();
    let place = world.root.join("wf");
    fifo(&place.join("pipe.yaml"));
    std::fs::create_dir(place.join("directory.yaml")).unwrap();
    for (link, target) in
        [("circle.yaml", "circle.yaml"), ("nowhere.yaml", "gone"), ("zero.yaml", "/dev/zero")]
    {
        std::os::unix::fs::symlink(target, place.join(link)).unwrap();
    }
    for name in ["pipe", "directory", "circle", "nowhere", "zero"] {
        let direct = place.join(format!("{name}.yaml"));
        let used = world.named_workflow("uses", &format!("nodes: {{ a: {{ uses: ./{name}.yaml }} }}\n"));
        let included = world.named_workflow(
            "includes",
            &format!("include: [./{name}.yaml]\nnodes: {{ a: {{ run: 'true' }} }}\n"),
        );
        for file in [direct, used, included] {
            for verb in ["validate", "plan", "explain", "apply"] {
                let run = spb(&world, &[verb, file.to_str().unwrap()]).exits(2);
                assert!(run.stderr.contains(&format!("{name}.yaml")), "{run}");
            }
        }
    }
    assert!(!world.store().exists());
}

#[test]
fn a_workflow_that_became_something_else_does_not_stop_its_resume() {
    let world = World::new();
    let file = world.workflow("nodes:\n  a: { run: 'test -e \"$HOME/fixed\"' }\n");
    spb(&world, &["apply", file.to_str().unwrap()]).exits(1);
    put(&world.home().join("fixed"), "");
    std::fs::remove_file(&file).unwrap();
    fifo(&file);
    spb(&world, &["resume"]).exits(0);
}

#[test]
fn too_much_is_refused_before_it_is_taken_up() {
    let world = World::new();
    let lists = |count: usize| {
        let items: Vec<String> = (0..10).map(|item| item.to_string()).collect();
        (0..count).map(|at| format!("v{at}: [{}]", items.join(", "))).collect::<Vec<_>>().join(", ")
    };
    let bomb = (0..12).fold("x-0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, at| {
        let item = format!("*a{at}");
        format!("{text}x-{}: &a{} [{}]\n", at + 1, at + 1, [item.as_str(); 9].join(", "))
    });
    let cases = [
        ("aliases", format!("{bomb}nodes: {{ a: {{ run: [*a12] }} }}\n")),
        ("brackets", format!("nodes: {}{}\n", "[".repeat(100_000), "]".repeat(100_000))),
        ("maps", format!("nodes: {}1{}\n", "{a: ".repeat(100_000), "}".repeat(100_000))),
        ("dashes", format!("nodes:\n  {}a\n", "- ".repeat(100_000))),
        ("a long line", format!("nodes: {{ a: {{ run: 'true' }} }} # {}\n", "x".repeat(20_000_000))),
        ("a long name", format!("nodes: {{ {}: {{ run: 'true' }} }}\n", "x".repeat(2_000_000))),
        ("a matrix", format!("nodes: {{ a: {{ matrix: {{ {} }}, run: 'true' }} }}\n", lists(12))),
        ("an expression", format!("nodes: {{ a: {{ when: \"true{}\", run: 'true' }} }}\n", " && true".repeat(20_000))),
        ("a pattern", "inputs: { x: { type: string, default: a, pattern: '((a{100}){100}){100}' } }\nnodes: { a: { env: { X: '${{ inputs.x }}' }, run: 'true' } }\n".to_owned()),
        ("itself", "x-a: &a [*a]\nnodes: { a: { run: 'true' } }\n".to_owned()),
    ];
    for (name, text) in cases {
        let file = world.workflow(&text);
        for verb in ["validate", "plan", "apply"] {
            let run = spb(&world, &[verb, file.to_str().unwrap()]).exits(2);
            assert!(
                run.stderr.len() < 20_000 && run.stderr.contains('×') || run.stderr.contains("larger than"),
                "{name}: {run}"
            );
        }
    }
}

#[test]
fn an_environment_above_the_limits_of_the_system_says_so() {
    let world = World::new();
    let run = world.apply(&format!(
        "nodes:\n  one: {{ workspace: scratch, env: {{ A: \"{}\" }}, run: 'true' }}\n  all: {{ workspace: scratch, env: {{ {} }}, run: 'true' }}\n  script: {{ workspace: scratch, run: \"{}\" }}\n  nul: {{ workspace: scratch, env: {{ N: \"a\\0b\" }}, run: 'true' }}\n",
        "x".repeat(200_000),
        (0..80).map(|at| format!("A{at}: \"{}\"", "x".repeat(100_000))).collect::<Vec<_>>().join(", "),
        "true; ".repeat(40_000) + "true",
    ));
    let run = run.exits(1);
    assert!(
        run.message("one").contains("the longest is environment variable `A` with 200002 bytes"),
        "{run}"
    );
    assert!(run.message("all").contains("too long for this system"), "{run}");
    assert!(run.message("script").contains("argument 3"), "{run}");
    assert!(run.message("nul").contains("a NUL byte is in environment variable `N`"), "{run}");
}

/// In a debug build on a shared machine, so that time tells nothing; what is quadratic takes minutes of it all the same.
#[test]
fn many_nodes_long_chains_and_wide_fans_are_planned_explained_and_run() {
    let world = World::new();
    let node = |at: usize, rest: &str| {
        format!("  n{at}: {{ workspace: scratch, cache: false{rest}, run: ['true'] }}\n")
    };
    let flat: String = (0..2000).map(|at| node(at, "")).collect();
    let chain: String = (0..800)
        .map(|at| node(at, &(if at == 0 { String::new() } else { format!(", needs: [n{}]", at - 1) })))
        .collect();
    let names: Vec<String> = (0..2000).map(|at| format!("n{at}")).collect();
    let fan =
        format!("{flat}  all: {{ workspace: scratch, needs: [{}], run: ['true'] }}\n", names.join(", "));
    for (nodes, count) in [(chain, 800), (fan, 2001)] {
        let file = world.workflow(&format!("nodes:\n{nodes}"));
        let file = file.to_str().unwrap();
        spb(&world, &["plan", file]).success();
        spb(&world, &["explain", file]).success();
        let run = spb(&world, &["apply", file, "--events", "ndjson"]).success();
        assert_eq!(run.starts(), count);
    }
}
