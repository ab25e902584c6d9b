//! A hit always equals a run: random small graphs, random edits, random `--fresh`, against a slow and obvious model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::common::World;

const SOURCES: usize = 3;

/// A node writes `o<i>` from the files it reads: sources, and outputs of the nodes it needs.
#[derive(Clone, Debug)]
struct Node {
    needs: Vec<usize>,
    sources: Vec<usize>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Writes everything that it read.
    Copy,
    /// Writes only how many different first letters it read: often the same although its input changed.
    Coarse,
    /// Removes its file when it read a `0` first, so that it changes nothing, or deletes.
    Fickle,
}

#[derive(Clone, Debug)]
enum Step {
    Edit(usize, u8),
    /// Someone edits a file that a node writes.
    EditOutput(usize, u8),
    Unrelated(u8),
    Fresh,
    Again,
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let node = |at: usize| {
        (
            proptest::sample::subsequence((0..at).collect::<Vec<_>>(), 0..=at.min(2)),
            proptest::sample::subsequence((0..SOURCES).collect::<Vec<_>>(), 0..=2),
            prop_oneof![Just(Kind::Copy), Just(Kind::Coarse), Just(Kind::Fickle)],
        )
            .prop_map(|(needs, sources, kind)| Node { needs, sources, kind })
    };
    (1..4_usize).prop_flat_map(move |count| (0..count).map(node).collect::<Vec<_>>())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..SOURCES, 0..3_u8).prop_map(|(file, value)| Step::Edit(file, value)),
        1 => (0..3_usize, 0..3_u8).prop_map(|(file, value)| Step::EditOutput(file, value)),
        1 => (0..3_u8).prop_map(Step::Unrelated),
        1 => Just(Step::Fresh),
        2 => Just(Step::Again),
    ]
}

fn workflow(nodes: &[Node]) -> String {
    let mut text = "nodes:\n".to_owned();
    for (at, node) in nodes.iter().enumerate() {
        let reads: Vec<String> = node
            .sources
            .iter()
            .map(|source| format!("s{source}"))
            .chain(node.needs.iter().map(|need| format!("o{need}")))
            .collect();
        // Honest: what its own file holds decides whether writing or removing it changes anything.
        let honest = [reads.clone(), vec![format!("o{at}")]].concat();
        let needs: Vec<String> = node.needs.iter().map(|need| format!("n{need}")).collect();
        let all = format!("cat {} /dev/null 2>/dev/null || true", reads.join(" "));
        let script = match node.kind {
            Kind::Copy => format!("x=$({all}); echo \"$x\" > o{at}"),
            Kind::Coarse => format!("x=$({all}); echo ${{#x}} > o{at}"),
            Kind::Fickle => {
                format!("x=$({all}); case $x in 0*) rm -f o{at};; *) echo \"f$x\" > o{at};; esac")
            }
        };
        text.push_str(&format!(
            "  n{at}:\n    needs: [{}]\n    reads: [{}]\n    run: '{script}'\n",
            needs.join(", "),
            honest.join(", ")
        ));
    }
    text
}

/// What the tree would be if every node ran.
fn model(nodes: &[Node], base: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    // What a node starts from is the base with the outputs of everything below it.
    let mut below: Vec<BTreeMap<String, Option<String>>> = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let mut changes: BTreeMap<String, Option<String>> = BTreeMap::new();
        for need in &node.needs {
            changes.extend(below[*need].clone());
        }
        let seen = |name: &str| changes.get(name).cloned().unwrap_or_else(|| base.get(name).cloned());
        let names =
            node.sources.iter().map(|s| format!("s{s}")).chain(node.needs.iter().map(|n| format!("o{n}")));
        let text: String = names.filter_map(|name| seen(&name)).collect();
        let text = text.trim_end_matches('\n');
        let value = match node.kind {
            Kind::Copy => Some(format!("{text}\n")),
            Kind::Coarse => Some(format!("{}\n", text.len())),
            Kind::Fickle => (!text.starts_with('0')).then(|| format!("f{text}\n")),
        };
        changes.insert(format!("o{at}"), value);
        below.push(changes);
    }
    let mut tree = base.clone();
    for (name, value) in below.into_iter().flatten() {
        match value {
            Some(value) => tree.insert(name, value),
            None => tree.remove(&name),
        };
    }
    tree
}

fn tree_of(world: &World, revision: &str) -> BTreeMap<String, String> {
    let names = world.git(&["ls-tree", "-r", "--name-only", revision]);
    names.lines().map(|name| (name.to_owned(), world.show(revision, name).unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_hit_equals_a_run(nodes in nodes(), steps in proptest::collection::vec(step(), 1..5)) {
        let world = World::with(&[("s0", "1\n"), ("s1", "1\n"), ("s2", "1\n")]);
        let workflow = workflow(&nodes);
        let mut fresh = false;
        for step in std::iter::once(&Step::Again).chain(&steps) {
            match step {
                Step::Edit(file, value) => world.write(&format!("s{file}"), format!("{value}\n")),
                Step::EditOutput(file, value) => world.write(&format!("o{file}"), format!("{value}\nby hand\n")),
                Step::Unrelated(value) => world.write("unrelated", format!("{value}\n")),
                Step::Fresh => fresh = true,
                Step::Again => {}
            }
            world.commit("step");
            let base = tree_of(&world, "HEAD");
            let run = world.apply_with(&workflow, if fresh { &["--fresh"] } else { &[] }).success();
            let branch = run.end()["branch"].as_str().unwrap_or("HEAD").to_owned();
            prop_assert_eq!(tree_of(&world, &branch), model(&nodes, &base), "after {:?}\n{}\n{}", step, workflow, run);
            fresh = false;
        }
    }
}
