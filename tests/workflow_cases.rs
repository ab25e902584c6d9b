//! Whole workflow files: `tests/cases/good` have no problem, `tests/cases/bad` have exactly the problems that their
//! `.txt` shows. `UPDATE_CASES=1` writes the texts anew. Giant and binary files are made here.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use spb::plan::cycle;
use spb::workflow::expr::StatusUse;
use spb::workflow::model::{Action, Commits, Ignored, Into as IntoBranch, Jobs, OutputFrom, Workspace};
use spb::workflow::problem::Severity;
use spb::workflow::{Loaded, ReadError, load, load_with, read, read_with, schema, show};

fn cases(kind: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(Path::new("tests/cases").join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

fn rendered(loaded: &Loaded) -> String {
    show::render(&loaded.problems, false, 100)
}

fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.problems.list.iter().map(|problem| problem.code).collect()
}

fn of(text: impl Into<Vec<u8>>) -> Loaded {
    load(Path::new("made.yaml"), text.into())
}

#[test]
fn good_files_have_no_problems() {
    let files = cases("good");
    assert!(files.len() >= 25, "only {} good files", files.len());
    for path in files {
        let loaded = read(&path).unwrap();
        assert_eq!(rendered(&loaded), "", "{}", path.display());
        assert!(loaded.workflow.is_some(), "{}", path.display());
    }
}

#[test]
fn bad_files_have_exactly_these_problems() {
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let files = cases("bad");
    assert!(files.len() >= 60, "only {} bad files", files.len());
    let mut wrong = String::new();
    for path in files {
        let loaded = read_with(&path, cycle::problems).unwrap();
        assert_consistent(&loaded);
        let (found, kept) = (rendered(&loaded), path.with_extension("txt"));
        if update {
            std::fs::write(&kept, &found).unwrap();
        }
        let expect = std::fs::read_to_string(&kept).unwrap_or_default();
        if found != expect {
            let line =
                found.lines().zip(expect.lines()).take_while(|(found, expect)| found == expect).count();
            let at = |text: &str| text.lines().nth(line).unwrap_or("the end").to_owned();
            writeln!(
                wrong,
                "{} line {}: expected\n{}\nfound\n{}\n",
                kept.display(),
                line + 1,
                at(&expect),
                at(&found)
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nUPDATE_CASES=1 accepts what was found");
}

/// A workflow exactly when there is no error, and every label inside the text.
#[track_caller]
fn assert_consistent(loaded: &Loaded) {
    let errors = loaded.problems.list.iter().any(|problem| problem.severity == Severity::Error);
    assert_eq!(loaded.workflow.is_none(), errors);
    let text = &loaded.problems.source.text;
    for problem in &loaded.problems.list {
        assert!(problem.code.starts_with("spb::"), "{problem:?}");
        for (span, _) in &problem.labels {
            assert!(text.get(span.start..span.end).is_some(), "{problem:?} points outside the text");
        }
    }
}

fn nodes(count: usize, node: impl Fn(usize) -> String) -> String {
    let mut text = String::from("version: 1\nnodes:\n");
    for index in 0..count {
        writeln!(text, "  n{index}: {}", node(index)).unwrap();
    }
    text
}

#[test]
fn a_hundred_thousand_nodes_in_one_chain_are_loaded() {
    // The last node comes first, so that nothing is known yet when it is named.
    let chain = |index: usize| match index {
        99_999 => "{ run: \"true\" }".to_owned(),
        _ => format!("{{ needs: [n{}], run: \"true\" }}", index + 1),
    };
    let workflow = of(format!("{}stages: [a, b]\n", nodes(100_000, chain))).workflow.unwrap();
    assert_eq!(workflow.nodes.len(), 100_000);
    assert_eq!(workflow.nodes["n0"].needs[0].node, "n1");
}

#[test]
fn wide_graphs_with_expressions_are_loaded() {
    let mut text =
        nodes(5_000, |index| format!("{{ run: \"true\", env: {{ A: \"${{{{ run.id }}}}-{index}\" }} }}"));
    let all: Vec<String> = (0..5_000).map(|index| format!("n{index}")).collect();
    writeln!(text, "  join:\n    run: make\n    needs: [{}]", all.join(", ")).unwrap();
    writeln!(text, "    env: {{ A: \"${{{{ needs.n4999.status }}}}\" }}").unwrap();
    let loaded = of(text);
    assert_eq!(codes(&loaded), [""; 0]);
    assert_eq!(loaded.workflow.unwrap().nodes["join"].needs.len(), 5_000);
}

#[test]
fn thousands_of_mistakes_end_in_a_short_report() {
    let loaded = of(nodes(10_000, |index| format!("{{ run: make, needs: [x{index}], nedds: [] }}")));
    assert_consistent(&loaded);
    assert_eq!(loaded.problems.list.len(), 501);
    assert!(loaded.problems.list.iter().any(|problem| problem.message == "and 19500 more problems"));
    assert!(codes(&loaded).contains(&"spb::file::many"));
    assert!(rendered(&loaded).len() < 1 << 20);
}

#[test]
fn texts_that_would_explode_are_refused() {
    let many = |text: &str| text.repeat(100_000);
    let bomb: String =
        (1..40).map(|index| format!("a{index}: &a{index} [*a{0}, *a{0}]\n", index - 1)).collect();
    let merged: String = (1..40)
        .map(|index| format!("a{index}: &a{index} {{ <<: [*a{0}, *a{0}], k{index}: [*a{0}] }}\n", index - 1))
        .collect();
    let cases = [
        ("flow lists", many("["), "spb::yaml::too_deep"),
        ("flow maps", many("{a: "), "spb::yaml::too_deep"),
        ("block lists", many("- "), "spb::yaml::too_deep"),
        (
            "block maps",
            (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
            "spb::yaml::too_deep",
        ),
        ("explicit keys", many("? "), "spb::yaml::too_deep"),
        ("closed lists", format!("{}{}", many("["), many("]")), "spb::yaml::too_deep"),
        ("aliases of aliases", format!("a0: &a0 x\n{bomb}"), "spb::yaml::too_many_aliases"),
        ("merged aliases", format!("a0: &a0 {{}}\n{merged}"), "spb::yaml::too_many_aliases"),
    ];
    for (name, text, code) in cases {
        let loaded = of(text);
        assert_eq!(codes(&loaded), [code], "{name}");
        assert_consistent(&loaded);
        assert!(rendered(&loaded).len() < 10_000, "{name}");
    }
}

#[test]
fn nesting_up_to_the_limit_is_plain_data() {
    let deep = format!("{}x{}", "[".repeat(90), "]".repeat(90));
    let text = format!(
        "version: 1\ninputs: {{ a: {{ type: array, default: {deep} }} }}\nnodes: {{ n: {{ run: make }} }}\n"
    );
    assert!(of(text).workflow.is_some());
}

#[test]
fn bytes_that_are_no_text_are_named() {
    let text = "version: 1\nnodes: { a: { run: make } }\n";
    let utf16 = |bytes: fn(u16) -> [u8; 2], mark: bool| -> Vec<u8> {
        let mark = mark.then_some(0xfeff);
        mark.into_iter().chain(text.encode_utf16()).flat_map(bytes).collect()
    };
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("utf-16le with mark", utf16(u16::to_le_bytes, true), "spb::file::utf16"),
        ("utf-16be with mark", utf16(u16::to_be_bytes, true), "spb::file::utf16"),
        ("utf-16le", utf16(u16::to_le_bytes, false), "spb::file::utf16"),
        ("utf-16be", utf16(u16::to_be_bytes, false), "spb::file::utf16"),
        ("nul", text.replace("make", "ma\0ke").into(), "spb::file::nul"),
        (
            "latin-1",
            text.replace("make", "caf\u{1}").replace('\u{1}', "\u{e9}").chars().map(|c| c as u8).collect(),
            "spb::file::encoding",
        ),
        ("cut character", [text.as_bytes(), b"# \xe2\x82"].concat(), "spb::file::encoding"),
        ("elf", b"\x7fELF\x02\x01\x01\0\0\0\0\0\xff\xfe".to_vec(), "spb::file::encoding"),
    ];
    for (name, bytes, code) in cases {
        let loaded = of(bytes);
        assert_eq!(codes(&loaded), [code], "{name}");
        assert_consistent(&loaded);
        assert!(rendered(&loaded).contains("made.yaml"), "{name}");
    }
}

#[test]
fn ids_of_any_length_are_refused_in_a_few_words() {
    let id = "x".repeat(5_000);
    let loaded = of(format!("version: 1\nnodes:\n  {id}: {{ run: make, needs: [{id}x], {id}: 1 }}\n"));
    assert_eq!(codes(&loaded), ["spb::name::invalid", "spb::needs::unknown", "spb::key::unknown"]);
    assert!(rendered(&loaded).len() < 5_000, "{}", rendered(&loaded));
    let line = format!("version: 1\nnodes: {{ a: {{ run: \"{}\", nedds: [] }} }}\n", "x".repeat(10 << 20));
    assert!(rendered(&of(line)).len() < 2_000);
}

#[test]
fn what_is_no_file_is_an_error_with_its_path() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    let large = std::fs::File::create(path("large")).unwrap();
    large.set_len(17 << 20).unwrap();
    let cases = [
        ("missing", "No such file"),
        ("pipe", "a pipe, socket or device"),
        (".", "a directory"),
        ("large", "16 MiB"),
    ];
    for (name, words) in cases {
        let error: ReadError = read(&path(name)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(words) && text.contains(&*path(name).to_string_lossy()), "{text}");
    }
}

/// Files to start from, so that a change leads somewhere.
fn seeds() -> Vec<String> {
    let paths = [cases("good"), cases("bad")].concat();
    paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

/// Pieces that have a meaning in YAML or in expressions.
const PIECES: [&str; 34] = [
    ": ", "- ", "\n", "  ", "\t", "{", "}", "[", "]", ",", "\"", "'", "&a ", "*a", "<<: *a", "!x ", "|\n",
    ">-\n", "#", "---\n", "${{ ", " }}", "inputs.", "needs.", "\0", "\u{feff}", "\r\n", "é", "😀", "~", "%",
    "@", "`", "1.0",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_text_breaks_the_loader(seed in any::<prop::sample::Index>(), edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..4, any::<prop::sample::Index>()), 1..12)) {
        let seeds = seeds();
        let mut text: Vec<char> = seed.get(&seeds).chars().collect();
        for (place, kind, piece) in edits {
            let at = place.index(text.len() + 1);
            match kind {
                0 => drop(text.splice(at..at, piece.get(&PIECES).chars())),
                1 => drop(text.drain(at..(at + 1 + piece.index(20)).min(text.len()).max(at))),
                2 => text.truncate(at),
                _ => {
                    let copy = text[at..(at + piece.index(200)).min(text.len()).max(at)].to_vec();
                    text.splice(at..at, copy);
                }
            }
        }
        let loaded = of(text.into_iter().collect::<String>());
        assert_consistent(&loaded);
        prop_assert_eq!(rendered(&loaded).is_empty(), loaded.problems.list.is_empty());
        prop_assert_eq!(show::to_json(&loaded.problems).as_array().map(Vec::len), Some(loaded.problems.list.len()));
    }

    #[test]
    fn no_bytes_break_the_loader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let loaded = of(bytes);
        assert_consistent(&loaded);
        rendered(&loaded);
    }
}

fn good(name: &str) -> spb::workflow::model::Workflow {
    read(&Path::new("tests/cases/good").join(name)).unwrap().workflow.unwrap()
}

#[test]
fn every_key_arrives_in_the_model() {
    let workflow = good("every-key.yaml");
    let node = &workflow.nodes["b"];
    assert_eq!(
        (workflow.name.as_str(), workflow.worktrees.base.source()),
        ("every-key", "${{ inputs.choice }}")
    );
    assert_eq!(
        (&*workflow.stages, workflow.jobs),
        (&["first".to_owned(), "second".to_owned()][..], Jobs::Count(4))
    );
    assert_eq!(
        (&*workflow.pass_env, &*workflow.secrets),
        (&["LANG".to_owned()][..], &["TOKEN".to_owned()][..])
    );
    assert_eq!(workflow.env.keys().collect::<Vec<_>>(), ["TEXT", "RATIO", "MAP"]);
    assert_eq!(
        (workflow.result.branch.source(), workflow.result.from[0].node.as_str()),
        ("x/${{ run.id }}", "b")
    );
    assert_eq!((workflow.result.commits, workflow.result.into), (Commits::Keep, IntoBranch::Current));
    assert_eq!(
        (node.stage, node.when.source(), node.when.status_use()),
        (1, "always() && inputs.flag", StatusUse::Explicit)
    );
    assert_eq!((node.timeout, node.allow_failure), (Some(Duration::from_secs(5400)), true));
    assert_eq!(
        format!("{:?}", node.retry),
        "Retry { max: 3, delay: 500ms, factor: 2.0, jitter: 0.2, on: [Timeout, ExitCode(75)], between: Some(\"git clean -fd\") }"
    );
    assert_eq!((node.working_directory.source(), node.workspace), ("sub/dir", Workspace::Worktree));
    assert_eq!(
        (node.reads.as_ref().unwrap().len(), node.writes.as_deref(), node.artifacts.len()),
        // Its own two, and those of the setup.
        (4, Some(&["out/**".to_owned()][..]), 1)
    );
    let worktrees = &workflow.worktrees;
    assert_eq!((worktrees.max, worktrees.copy.len()), (Some(3), 2));
    assert_eq!(worktrees.ignored, Ignored::KeepOnly(vec!["target/".to_owned(), "**/*.cache".to_owned()]));
    assert_eq!(
        worktrees.setup.as_ref().map(|setup| (&*setup.script, setup.reads.len())),
        Some(("./setup.sh", 2))
    );
    assert_eq!(
        (node.cache.ttl, node.cache.extra[0].source()),
        (Some(Duration::from_secs(86_400)), "${{ inputs.count }}")
    );
    let first = &workflow.nodes["a"];
    assert_eq!(first.workspace, Workspace::Readonly, "from the defaults");
    assert_eq!(first.env["CI"].is_constant(), Some("true"));
    assert!(matches!(&first.action, Action::Script { shell, .. } if shell[0] == "bash"));
    let from: Vec<&OutputFrom> = first.outputs.values().map(|output| &output.from).collect();
    let expect = [
        &OutputFrom::Line,
        &OutputFrom::File("a.txt".into()),
        &OutputFrom::Out("a.json".into()),
        &OutputFrom::Stdout,
    ];
    assert_eq!(from, expect);
    assert!(!workflow.nodes["c"].cache.enabled);
}

#[test]
fn scalars_keep_their_spelling() {
    let workflow = good("spelling-of-scalars.yaml");
    let Action::Command { words } = &workflow.nodes["a"].action else { panic!("a command") };
    let words: Vec<&str> = words.iter().map(|word| word.source()).collect();
    assert_eq!(words, ["echo", "1.10", "true", "no", "0x1F", "1e3", "007"]);
    let env: Vec<&str> = workflow.nodes["a"].env.values().map(|value| value.source()).collect();
    assert_eq!(env, ["1.10", "yes", "no", "0o17", "12345678901234567890", "2024-01-01", ""]);
}

#[test]
fn anchors_and_merge_keys_are_resolved() {
    let workflow = good("anchors.yaml");
    let run = |node: &str| match &workflow.nodes[node].action {
        Action::Script { script, .. } => script.clone(),
        Action::Command { .. } | Action::Workflow(_) | Action::Approve { .. } => panic!("a script"),
    };
    assert_eq!([run("a"), run("b"), run("d")], ["make", "make test", "make"]);
    assert_eq!(workflow.nodes["b"].timeout, Some(Duration::from_secs(300)));
    let env: Vec<(&str, &str)> =
        workflow.nodes["c"].env.iter().map(|(name, value)| (name.as_str(), value.source())).collect();
    assert_eq!(env, [("C", "z"), ("A", "x"), ("B", "y")]);
    assert!(workflow.nodes["d"].allow_failure);
}

#[test]
fn stages_default_to_the_latest_need() {
    let workflow = good("stage-defaults.yaml");
    let stages: Vec<(&str, usize)> =
        workflow.nodes.values().map(|node| (node.name.as_str(), node.stage)).collect();
    assert_eq!(stages, [("a", 0), ("b", 1), ("c", 1), ("d", 1), ("e", 0)]);
}

#[test]
fn a_file_without_a_name_is_named_after_its_path() {
    for (path, name) in
        [("a/Release Notes.v2.yaml", "release-notes-v2"), ("ü.yaml", "workflow"), ("x.yml", "x")]
    {
        let loaded = load(Path::new(path), "version: 1\nnodes: { a: { run: make } }\n".into());
        assert_eq!(loaded.workflow.unwrap().name, name);
    }
}

const SCHEMA: &str = "schema/workflow.schema.json";

#[test]
fn the_kept_schema_is_the_one_of_the_types() {
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(SCHEMA, schema::text()).unwrap();
    }
    let kept = std::fs::read_to_string(SCHEMA).unwrap_or_default();
    assert!(
        kept == schema::text(),
        "{SCHEMA} is stale: `spb schema > {SCHEMA}`, or UPDATE_CASES=1, writes it anew"
    );
}

fn as_json(text: &str) -> Option<serde_json::Value> {
    let text = text.trim_start_matches('\u{feff}');
    let mut value: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
    for _ in 0..4 {
        // Once for each merge inside of a merged map.
        value.apply_merge().ok()?;
    }
    serde_json::to_value(value).ok()
}

#[test]
fn the_schema_accepts_every_good_file() {
    let validator = jsonschema::draft7::new(schema::schema()).unwrap();
    for path in cases("good") {
        // Keys such as `null` are names of nodes here, and nothing that JSON could hold.
        let Some(value) = as_json(&std::fs::read_to_string(&path).unwrap()) else { continue };
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{} {error}", error.instance_path())).collect();
        assert_eq!(errors, [""; 0], "{}", path.display());
    }
}

#[test]
fn the_schema_refuses_wrong_keys_and_types() {
    let validator = jsonschema::draft7::new(schema::schema()).unwrap();
    let codes_of_shape = [
        "spb::key::unknown",
        "spb::key::unsupported",
        "spb::key::missing",
        "spb::value::type",
        "spb::value::choice",
    ];
    let mut checked = 0;
    for path in cases("bad") {
        let loaded = read(&path).unwrap();
        let shape = loaded.problems.list.iter().any(|problem| codes_of_shape.contains(&problem.code));
        // JSON Schema takes `1.0` for the integer 1.
        let shape = shape && !path.ends_with("version-float.yaml");
        if let (true, Some(value)) = (shape, as_json(&loaded.problems.source.text)) {
            assert!(!validator.is_valid(&value), "{}", path.display());
            checked += 1;
        }
    }
    assert!(checked >= 10, "only {checked} files");
}

#[test]
fn a_cycle_is_told_with_the_other_problems() {
    let text =
        "version: 1\nnodes:\n  a: { run: make, needs: [b], nedds: [] }\n  b: { run: make, needs: [a] }\n";
    let loaded = load_with(Path::new("made.yaml"), text.into(), cycle::problems);
    assert!(loaded.workflow.is_none());
    let found = codes(&loaded);
    assert!(
        found.contains(&"spb::key::unknown") && found.iter().any(|code| code.contains("cycle")),
        "{found:?}"
    );
}
