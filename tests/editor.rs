//! What an author sees while typing: the real yaml-language-server, with the schema of this repository, driven over
//! stdio by `tests/editor/drive.mjs`. The server is installed by npm into `target/editor`, in the pinned version.
//! Without node or npm there is no editor to test, and each test says so; with them, a failed installation fails.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stderr)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};
use spb::workflow::schema;

const MODELINE: &str = "# yaml-language-server: $schema=./workflow.schema.json\n";

const NODE: &str =
    "version: 1\nnodes:\n  build:\n    run: make\n    timeout: 10m\n    workspace: scratch\n    \n";
const WRONG: &str = "version: 1\nnodes:\n  build:\n    run: make\n    nedds: [x]\n    workspace: scrach\n    timeout: [1]\nxyz: 1\n";
const TOP: &str = "version: 1\n\nnodes: { a: { run: make } }\n";
const VALUES: &str = "version: 1
limits: { jobs: auto }
result: { commits: keep }
nodes:
  a:
    run: [make]
    cache: { ttl: 24h }
    retry: { max: 1, on: [timeout] }
    outputs:
      x:
        format: 
    workspace: 
    effect: extrenal
";
const INPUT: &str = "version: 1\ninputs:\n  task:\n    type: string\n    \nnodes: { a: { run: make } }\n";

/// One conversation with the server for all tests: the answers by file name.
static ANSWERS: LazyLock<Option<Value>> = LazyLock::new(|| {
    let server = installed()?;
    let mut questions = vec![
        question("node.yaml", NODE, &[(6, 4), (5, 15)], &[(4, 6), (3, 5), (5, 6)]),
        question("wrong.yaml", WRONG, &[], &[]),
        question("top.yaml", TOP, &[(1, 0)], &[(2, 2)]),
        question(
            "values.yaml",
            VALUES,
            &[(10, 16), (11, 15)],
            &[(1, 12), (2, 12), (2, 21), (5, 6), (6, 6), (6, 13), (7, 6), (7, 21)],
        ),
        question("input.yaml", INPUT, &[(4, 4), (3, 10)], &[]),
    ];
    for path in good_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        questions.push(question(&name_of(&path), text.trim_start_matches('\u{feff}'), &[], &[]));
    }
    let answers = converse(&server, &Value::Array(questions.clone()));
    let named = questions
        .iter()
        .zip(answers)
        .map(|(asked, answer)| (asked["file"].as_str().unwrap().to_owned(), answer));
    Some(Value::Object(named.collect()))
});

/// Lines and characters are those of the text without the modeline.
fn question(file: &str, text: &str, complete: &[(u64, u64)], hover: &[(u64, u64)]) -> Value {
    let places = |places: &[(u64, u64)]| -> Vec<Value> {
        places.iter().map(|(line, character)| json!({ "line": line + 1, "character": character })).collect()
    };
    json!({ "file": file, "text": format!("{MODELINE}{text}"), "complete": places(complete), "hover": places(hover) })
}

fn good_files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("tests/cases/good").unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The server, installed if it is not there yet. `None` where no program could run it.
fn installed() -> Option<PathBuf> {
    if !has("node") || !has("npm") {
        eprintln!("not tested: node and npm are needed to run yaml-language-server, and are not installed");
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("editor");
    std::fs::create_dir_all(&folder).unwrap();
    let lock = "package-lock.json";
    let wanted = std::fs::read(Path::new("tests/editor").join(lock)).unwrap();
    let server = folder.join("node_modules/yaml-language-server/bin/yaml-language-server");
    let stamp = folder.join("installed");
    if std::fs::read(&stamp).is_ok_and(|found| found == wanted) && server.exists() {
        return Some(server);
    }
    for file in ["package.json", lock] {
        std::fs::copy(Path::new("tests/editor").join(file), folder.join(file)).unwrap();
    }
    let npm = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(
        npm.status.success(),
        "npm could not install the server:\n{}",
        String::from_utf8_lossy(&npm.stderr)
    );
    std::fs::write(stamp, wanted).unwrap();
    Some(server)
}

fn converse(server: &Path, questions: &Value) -> Vec<Value> {
    let workspace = tempfile::tempdir().unwrap();
    std::fs::write(workspace.path().join("workflow.schema.json"), schema::text()).unwrap();
    let mut child = Command::new("node")
        .arg("tests/editor/drive.mjs")
        .args([server, workspace.path()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(questions.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the conversation failed: {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The answer for a file. `None` where there is no editor.
fn answer(file: &str) -> Option<&'static Value> {
    ANSWERS.as_ref().map(|answers| &answers[file])
}

/// Line, first character and message of every diagnostic, without the modeline.
fn diagnostics(answer: &Value) -> Vec<(u64, u64, String)> {
    let one = |found: &Value| {
        let start = &found["range"]["start"];
        (
            start["line"].as_u64().unwrap() - 1,
            start["character"].as_u64().unwrap(),
            found["message"].as_str().unwrap().to_owned(),
        )
    };
    let mut found: Vec<_> = answer["diagnostics"].as_array().unwrap().iter().map(one).collect();
    found.sort();
    found
}

fn labels(items: &Value) -> Vec<&str> {
    items.as_array().unwrap().iter().map(|item| item["label"].as_str().unwrap()).collect()
}

/// The text that an editor shows beside a completion.
fn documentation<'a>(items: &'a Value, label: &str) -> &'a str {
    let item = items.as_array().unwrap().iter().find(|item| item["label"] == label);
    let shown = &item.unwrap_or_else(|| panic!("{label} is not offered"))["documentation"];
    shown.as_str().or_else(|| shown["value"].as_str()).unwrap_or_default()
}

fn description(path: &[&str]) -> &'static str {
    let start = schema::schema();
    let found = path.iter().fold(start, |at, key| &at["properties"][*key]);
    let found = if found.is_null() {
        &start["properties"]["nodes"]["additionalProperties"]["properties"][path[0]]
    } else {
        found
    };
    found["description"].as_str().unwrap()
}

#[test]
fn good_files_have_no_diagnostics() {
    for path in good_files() {
        let Some(answer) = answer(&name_of(&path)) else { return };
        assert_eq!(diagnostics(answer), [], "{}", path.display());
    }
}

#[test]
fn mistakes_are_marked_where_they_are() {
    let Some(answer) = answer("wrong.yaml") else { return };
    let places: Vec<(u64, u64)> =
        diagnostics(answer).iter().map(|(line, character, _)| (*line, *character)).collect();
    assert_eq!(places, [(4, 4), (5, 15), (6, 13), (7, 0)]);
    let words: Vec<String> = diagnostics(answer).into_iter().map(|(_, _, message)| message).collect();
    assert!(
        words[0].contains("nedds") && words[1].contains("scratch") && words[3].contains("xyz"),
        "{words:?}"
    );
}

#[test]
fn a_node_is_completed_with_every_key_and_its_words() {
    let Some(answer) = answer("node.yaml") else { return };
    let items = &answer["complete"][0];
    let node = &schema::schema()["properties"]["nodes"]["additionalProperties"]["properties"];
    let written = ["run", "timeout", "workspace"];
    for key in node.as_object().unwrap().keys().filter(|key| !written.contains(&key.as_str())) {
        assert_eq!(documentation(items, key), node[key]["description"].as_str().unwrap(), "{key}");
    }
    assert!(!labels(items).contains(&"run"), "what is written already is offered again");
}

#[test]
fn values_are_completed_with_their_words() {
    let Some(answer) = answer("node.yaml") else { return };
    assert_eq!(labels(&answer["complete"][1]), ["worktree", "readonly", "scratch", "repo"]);
    assert_eq!(
        documentation(&answer["complete"][1], "readonly"),
        "A git worktree of its own; changes are thrown away."
    );
}

#[test]
fn the_top_level_is_completed() {
    let Some(answer) = answer("top.yaml") else { return };
    assert_eq!(documentation(&answer["complete"][0], "stages"), description(&["stages"]));
    let Some(Value::Object(top)) = schema::schema().get("properties") else { panic!("properties") };
    for key in top.keys().filter(|key| !["version", "nodes"].contains(&key.as_str())) {
        assert!(labels(&answer["complete"][0]).contains(&key.as_str()), "{key} is not offered");
    }
}

#[test]
fn inputs_are_completed() {
    let Some(answer) = self::answer("input.yaml") else { return };
    let keys = labels(&answer["complete"][0]);
    for key in ["description", "default", "enum", "pattern", "minimum", "maximum", "items"] {
        assert!(keys.contains(&key), "{key} is not offered");
    }
    assert_eq!(labels(&answer["complete"][1]), ["string", "integer", "number", "boolean", "array", "object"]);
}

#[test]
fn hovering_shows_what_a_key_is_for() {
    let Some(answer) = answer("node.yaml") else { return };
    for (index, key) in ["timeout", "run"].into_iter().enumerate() {
        let shown = answer["hover"][index]["contents"]["value"].as_str().unwrap();
        let shown = shown.replace("&lt;", "<").replace("&gt;", ">");
        assert!(shown.contains(description(&[key])), "{key}: {shown}");
        assert!(shown.contains("Example"), "{shown}");
    }
}

/// The hover texts of a file, without the escapes of Markdown.
fn hovers(answer: &Value) -> Vec<String> {
    let plain = |shown: &Value| {
        let text = shown["contents"]["value"].as_str().unwrap_or_default();
        text.replace("&lt;", "<").replace("&gt;", ">").replace('\\', "")
    };
    answer["hover"].as_array().unwrap().iter().map(plain).collect()
}

/// What the schema says at a path of properties.
fn rules(path: &[&str]) -> &'static Value {
    path.iter().fold(schema::schema(), |at, key| match *key {
        "*" => &at["additionalProperties"],
        key => {
            let variants = at["anyOf"].as_array().into_iter().flatten();
            let inner = variants.map(|variant| &variant["properties"][key]).find(|found| !found.is_null());
            Some(&at["properties"][key]).filter(|found| !found.is_null()).or(inner).unwrap()
        }
    })
}

#[test]
fn hovering_tells_of_the_key_and_of_every_word_it_may_have() {
    let Some(answer) = answer("values.yaml") else { return };
    let shown = hovers(answer);
    let node = |key: &'static str| vec!["nodes", "*", key];
    let places = [
        vec!["limits", "jobs"],
        vec!["result", "commits"],
        vec!["result", "commits"],
        node("run"),
        node("cache"),
        vec!["nodes", "*", "cache", "ttl"],
        node("retry"),
        vec!["nodes", "*", "retry", "on"],
    ];
    for (shown, path) in shown.iter().zip(places) {
        let rules = rules(&path);
        assert!(shown.contains(rules["description"].as_str().unwrap()), "{path:?}: {shown}");
        let words = rules["enum"].as_array().into_iter().flatten();
        for (word, meaning) in words.zip(rules["enumDescriptions"].as_array().into_iter().flatten()) {
            let line = format!("* `{}`: {}", word.as_str().unwrap(), meaning.as_str().unwrap());
            assert!(shown.contains(&line), "{path:?}: {line} is not in {shown}");
        }
    }
}

#[test]
fn words_are_completed_wherever_a_key_takes_them() {
    let Some(answer) = answer("values.yaml") else { return };
    let places = [vec!["nodes", "*", "outputs", "*", "format"], vec!["nodes", "*", "workspace"]];
    for (offered, path) in answer["complete"].as_array().unwrap().iter().zip(places) {
        let rules = rules(&path);
        let words: Vec<&str> = rules["enum"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(labels(offered), words, "{path:?}");
        for (word, meaning) in words.into_iter().zip(rules["enumDescriptions"].as_array().unwrap()) {
            assert_eq!(documentation(offered, word), meaning.as_str().unwrap());
        }
    }
}

#[test]
fn a_wrong_word_is_told_together_with_the_right_ones() {
    let Some(answer) = answer("values.yaml") else { return };
    let found = diagnostics(answer);
    let last = found.last().unwrap();
    assert_eq!((last.0, last.1), (12, 12), "{found:?}");
    assert_eq!(last.2, "Value is not accepted. Valid values: \"local\", \"external\".");
}
