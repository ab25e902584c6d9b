//! A hit always equals a run, over everything that a key covers: random graphs with files, environment, outputs, artifacts,
//! matrices, scratch and readonly nodes, nodes that fail, that are not cached or grow old; random edits, kills, lost indexes and
//! evictions. The slow model is spb itself in another clone, which looks nothing up.
//!
//! `SPB_LAW_CASES=200 cargo test --test apply cache_law_wide` looks longer.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use crate::common::{Run, World, until};

const SOURCES: usize = 3;

#[derive(Clone, Debug)]
struct Node {
    needs: Vec<usize>,
    sources: Vec<usize>,
    workspace: &'static str,
    cache: &'static str,
    /// Has an instance for each of two values.
    is_matrix: bool,
    has_artifact: bool,
    /// Fails where what it sees holds a `2`.
    is_fragile: bool,
    /// Tells only how long it was what it saw: often the same although that changed.
    is_coarse: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Edit(usize, u8),
    EditOutput(usize, u8),
    Env(u8),
    PassEnv(u8),
    Unrelated(u8),
    Fresh,
    Kill,
    LoseIndex,
    Evict,
    Again,
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let node = |at: usize| {
        let needs = proptest::sample::subsequence((0..at).collect::<Vec<_>>(), 0..=at.min(2));
        let sources = proptest::sample::subsequence((0..SOURCES).collect::<Vec<_>>(), 0..=2);
        let workspace = prop_oneof![3 => Just("worktree"), 1 => Just("scratch"), 1 => Just("readonly")];
        let cache = prop_oneof![4 => Just("true"), 1 => Just("false"), 1 => Just("{ ttl: 1ms }"), 1 => Just("{ ttl: 1h, extra: [7] }")];
        let flags = proptest::array::uniform4(proptest::bool::weighted(0.3));
        (needs, sources, workspace, cache, flags).prop_map(|(needs, sources, workspace, cache, flags)| {
            let [is_matrix, has_artifact, is_fragile, is_coarse] = flags;
            Node { needs, sources, workspace, cache, is_matrix, has_artifact, is_fragile, is_coarse }
        })
    };
    (1..5_usize).prop_flat_map(move |count| (0..count).map(node).collect::<Vec<_>>())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..SOURCES, 0..3_u8).prop_map(|(file, value)| Step::Edit(file, value)),
        1 => (0..4_usize, 0..3_u8).prop_map(|(file, value)| Step::EditOutput(file, value)),
        2 => (0..3_u8).prop_map(Step::Env),
        2 => (0..3_u8).prop_map(Step::PassEnv),
        1 => (0..3_u8).prop_map(Step::Unrelated),
        1 => Just(Step::Fresh),
        1 => Just(Step::Kill),
        1 => Just(Step::LoseIndex),
        1 => Just(Step::Evict),
        2 => Just(Step::Again),
    ]
}

fn workflow(nodes: &[Node], env: u8) -> String {
    let mut text = format!("env: {{ E: '{env}' }}\npass_env: [P]\nnodes:\n");
    for (at, node) in nodes.iter().enumerate() {
        let suffix = if node.is_matrix { "-$M" } else { "" };
        let of_needs = node.needs.iter().flat_map(|need| match nodes[*need].is_matrix {
            true => vec![format!("o{need}-1"), format!("o{need}-2")],
            false => vec![format!("o{need}")],
        });
        let files: Vec<String> =
            node.sources.iter().map(|source| format!("s{source}")).chain(of_needs).collect();
        let mut reads = files.clone();
        // Honest: what its own file holds decides whether writing it changes anything.
        reads.extend([format!("o{at}"), format!("o{at}-1"), format!("o{at}-2")]);
        let needs: Vec<String> = node.needs.iter().map(|need| format!("n{need}")).collect();
        let values: Vec<String> =
            node.needs.iter().map(|need| format!("${{{{ needs.n{need}.outputs.v }}}}")).collect();
        // What an earlier node left in the worktree and git ignores is nobody's input: only artifacts of the needs are.
        let given = node.needs.iter().filter(|need| nodes[**need].has_artifact);
        let given: String = given.map(|need| format!("out/a{need}*.bin ")).collect();
        let look = format!(
            "x=$(cat {} {given}/dev/null 2>/dev/null || true; echo \"$E $P $M $V\")",
            files.join(" ")
        );
        let fail = if node.is_fragile { "case $x in *2*) exit 1;; esac; " } else { "" };
        let tell = if node.is_coarse { "x=${#x}; " } else { "" };
        let write = if node.workspace == "scratch" {
            String::new()
        } else {
            format!("echo \"$x\" > o{at}{suffix}; ")
        };
        let keep = if node.has_artifact {
            format!(
                "mkdir -p out; echo \"$x\" | cksum > out/a{at}{suffix}.bin; ln -sf a{at}{suffix}.bin out/l{at}{suffix}; "
            )
        } else {
            String::new()
        };
        let artifacts = if node.has_artifact { format!("['out/?{at}*']") } else { "[]".to_owned() };
        let matrix = if node.is_matrix { "matrix: { m: [1, 2] }, " } else { "" };
        let m = if node.is_matrix { "M: \"${{ matrix.m }}\", " } else { "" };
        text.push_str(&format!(
            "  n{at}:\n    {{ needs: [{}], {matrix}workspace: {}, {}cache: {}, artifacts: {artifacts}, outputs: {{ v: {{}} }}, \
             env: {{ {m}V: '{}' }}, run: '{look}; {fail}{tell}{write}{keep}echo \"v=$(echo \"$x\" | cksum)\" >> \"$SPB_OUTPUT\"' }}\n",
            needs.join(", "),
            node.workspace,
            if node.workspace == "scratch" { String::new() } else { format!("reads: [{}], ", reads.join(", ")) },
            node.cache,
            values.join(" "),
        ));
    }
    text
}

/// What a run gave, whether it ran or was found: by node the outcome, outputs, artifacts and tree; and the tree of the branch.
fn gave(world: &World, run: &Run) -> BTreeMap<String, String> {
    let tree = |revision: &str| world.git(&["rev-parse", &format!("{revision}^{{tree}}")]);
    let mut gave: BTreeMap<String, String> = BTreeMap::new();
    for event in run.of_kind("node_finished") {
        let outcome = event["outcome"].as_str().unwrap().replace("cached", "succeeded");
        let result = &event["result"];
        let mut artifacts: Vec<String> = result["artifacts"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| format!("{} {} {}", one["path"], one["digest"], one["link"]))
            .collect();
        artifacts.sort();
        let files = result["commit"].as_str().map(tree);
        let what = format!("{outcome} {} {artifacts:?} {files:?}", result["outputs"]);
        gave.insert(event["node"].as_str().unwrap().to_owned(), what);
    }
    let branch = run.end()["branch"].as_str().map(tree);
    gave.insert("branch".to_owned(), format!("{branch:?}"));
    gave
}

fn cases() -> u32 {
    std::env::var("SPB_LAW_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_hit_equals_a_run_of_everything(nodes in nodes(), steps in proptest::collection::vec(step(), 2..7)) {
        let files = [(".gitignore", "out/\n"), ("s0", "0\n"), ("s1", "1\n"), ("s2", "0\n")];
        let (quick, slow) = (World::with(&files), World::with(&files));
        let (mut env, mut pass) = (0, 0);
        for step in std::iter::once(&Step::Again).chain(&steps) {
            let mut words: Vec<&str> = Vec::new();
            for world in [&quick, &slow] {
                match step {
                    Step::Edit(file, value) => world.write(&format!("s{file}"), format!("{value}\n")),
                    Step::EditOutput(file, value) => world.write(&format!("o{file}"), format!("{value}\nby hand\n")),
                    Step::Unrelated(value) => world.write("unrelated", format!("{value}\n")),
                    _ => {}
                }
                world.commit("step");
            }
            match step {
                Step::Env(value) => env = *value,
                Step::PassEnv(value) => pass = *value,
                Step::Fresh => words.push("--fresh"),
                Step::LoseIndex => {
                    for suffix in ["", "-wal", "-shm"] {
                        std::fs::remove_file(quick.store().join(format!("index.sqlite{suffix}"))).ok();
                    }
                }
                Step::Evict => {
                    quick.spb(["cache", "gc", "--max-size", "2KiB"]).run().success();
                }
                _ => {}
            }
            let text = workflow(&nodes, env);
            let pass = pass.to_string();
            if matches!(step, Step::Kill) {
                let runs = quick.journals().len();
                let running = quick.applying(&text, &words).env("P", &pass).begin();
                until(|| quick.journals().len() > runs);
                running.signal(libc::SIGKILL);
                drop(running);
            }
            let run = quick.applying(&text, &words).env("P", &pass).run();
            let model = slow.applying(&text, &["--fresh"]).env("P", &pass).run();
            prop_assert_eq!(run.code(), model.code(), "after {:?}\n{}\n{}\n{}", step, text, run, model);
            prop_assert_eq!(gave(&quick, &run), gave(&slow, &model), "after {:?}\n{}\n{}\n{}", step, text, run, model);
            let whole = quick.spb(["cache", "verify", "--json"]).run().success();
            let whole: Value = serde_json::from_str(&whole.stdout).unwrap();
            prop_assert_eq!(&whole["damaged"], &serde_json::json!([]));
        }
    }
}
