//! `spb lsp` as an editor sees it: the program, over its standard input and output.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail, and make what they look at"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

const URI: &str = "file:///workflows/b%20c.yaml";

const FILE: &str = "\
version: 1
inputs:
  task: { type: string, description: What to build. }
nodes:
  plan: { run: make plan, outputs: { spec: { file: spec.md } } }
  build:
    description: 𝄞 Builds.
    needs: [plan, tset]
    env: { TASK: \"${{ inputs.task }}\", SPEC: \"${{ needs.plan.outputs.spec }}\" }
    run: make
    needs: [plan]
";

struct Editor {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    next: i64,
}

impl Editor {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_spb"))
            .args(["lsp", "--stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, to, from, next: 0 }
    }

    /// Started, greeted, with a file open; and the diagnostics of the file.
    fn with(text: &str) -> (Self, Value) {
        let mut editor = Self::start();
        let answer =
            editor.ask("initialize", json!({ "processId": null, "rootUri": null, "capabilities": {} }));
        assert_eq!(answer["result"]["serverInfo"]["name"], "spb");
        editor.tell("initialized", json!({}));
        let document = json!({ "uri": URI, "languageId": "yaml", "version": 1, "text": text });
        editor.tell("textDocument/didOpen", json!({ "textDocument": document }));
        let diagnostics = editor.diagnostics();
        (editor, diagnostics)
    }

    fn send(&mut self, message: &Value) {
        let body = message.to_string();
        write!(self.to, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        self.to.flush().unwrap();
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.from.read_line(&mut line).unwrap() > 0, "the server is gone");
            match line.trim_end().strip_prefix("Content-Length: ") {
                Some(number) => length = number.parse().unwrap(),
                None if line.trim_end().is_empty() => break,
                None => {}
            }
        }
        let mut body = vec![0; length];
        self.from.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// The answer to a request. What the server tells in between is dropped.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let answer = self.receive();
            if answer["id"] == id {
                return answer;
            }
        }
    }

    fn ask_at(&mut self, question: &str, line: u32, character: u32, more: Value) -> Value {
        let mut params =
            json!({ "textDocument": { "uri": URI }, "position": { "line": line, "character": character } });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.ask(&format!("textDocument/{question}"), params)
    }

    fn diagnostics(&mut self) -> Value {
        loop {
            let told = self.receive();
            if told["method"] == "textDocument/publishDiagnostics" {
                assert_eq!(told["params"]["uri"], URI);
                return told["params"]["diagnostics"].clone();
            }
        }
    }

    fn change(&mut self, start: (u32, u32), end: (u32, u32), text: &str) {
        let position = |(line, character)| json!({ "line": line, "character": character });
        let change = json!({ "range": { "start": position(start), "end": position(end) }, "text": text });
        let document = json!({ "uri": URI, "version": 2 });
        self.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": [change] }));
    }

    fn end(mut self) -> Option<i32> {
        self.ask("shutdown", Value::Null);
        self.tell("exit", Value::Null);
        self.child.wait().unwrap().code()
    }
}

/// `line:character-line:character`.
fn range(value: &Value) -> String {
    let place = |end: &str| format!("{}:{}", value[end]["line"], value[end]["character"]);
    format!("{}-{}", place("start"), place("end"))
}

#[test]
fn a_file_has_the_diagnostics_of_validate_while_it_is_written() {
    let (mut editor, told) = Editor::with(FILE);
    let shown = |told: &Value| -> Vec<String> {
        let one = |one: &Value| {
            format!("{} {} {}", range(&one["range"]), one["severity"], one["code"].as_str().unwrap())
        };
        told.as_array().unwrap().iter().map(one).collect()
    };
    assert_eq!(shown(&told), ["7:18-7:22 1 spb::needs::unknown", "10:4-10:9 1 spb::yaml::duplicate_key"]);
    assert_eq!(told[0]["source"], "spb");
    assert_eq!(told[1]["relatedInformation"][0]["location"]["uri"], URI);
    assert_eq!(range(&told[1]["relatedInformation"][0]["location"]["range"]), "7:4-7:9");
    assert!(told[1]["message"].as_str().unwrap().contains("\nhelp: keep one of them"), "{}", told[1]);
    // Behind a character of two units in UTF-16.
    editor.change((10, 0), (11, 0), "");
    editor.change((7, 16), (7, 22), "");
    editor.change((6, 20), (6, 20), ": x");
    assert_eq!(shown(&editor.diagnostics())[0], "6:20-6:21 1 spb::yaml::syntax");
    editor.change((6, 20), (6, 23), "");
    assert_eq!(editor.diagnostics(), json!([]));
    editor.tell("textDocument/didClose", json!({ "textDocument": { "uri": URI } }));
    assert_eq!(editor.diagnostics(), json!([]));
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn other_files_are_left_alone() {
    let (editor, told) = Editor::with("services:\n  web: { image: x }\n");
    assert_eq!(told, json!([]));
    assert_eq!(editor.end(), Some(0));
}

/// What a file uses is looked at as it is in the editor, or else on the disk.
#[test]
fn files_are_checked_together() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("part.yaml"), "version: 1\nnodes: { a: { run: x, rnu: y } }\n")
        .unwrap();
    let uri = |name: &str| format!("file://{}/{name}", folder.path().display());
    let open = |name: &str, text: &str| json!({ "textDocument": { "uri": uri(name), "languageId": "yaml", "version": 1, "text": text } });
    let mut editor = Editor::start();
    editor.ask("initialize", json!({ "capabilities": {} }));
    editor
        .tell("textDocument/didOpen", open("whole.yaml", "version: 1\nnodes: { b: { uses: part.yaml } }\n"));
    let told = editor.receive();
    let found = &told["params"]["diagnostics"][0];
    assert_eq!(found["code"], "spb::key::unknown", "{told}");
    assert!(found["message"].as_str().unwrap().contains("part.yaml: a node has no key `rnu`"), "{found}");
    let related = &found["relatedInformation"][0]["location"];
    assert_eq!(related["uri"], uri("part.yaml"));
    assert_eq!(range(&related["range"]), "1:22-1:25");
    assert_eq!(range(&found["range"]), "1:20-1:29", "the name of the file is marked");
    editor.tell("textDocument/didOpen", open("part.yaml", "version: 1\nnodes: { a: { run: x } }\n"));
    for _ in 0..2 {
        assert_eq!(editor.receive()["params"]["diagnostics"], json!([]));
    }
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn completion_works_in_the_middle_of_a_line() {
    let (mut editor, _) = Editor::with(FILE);
    let labels = |answer: &Value| -> Vec<String> {
        let items = answer["result"].as_array().unwrap();
        items.iter().map(|item| item["label"].as_str().unwrap().to_owned()).collect()
    };
    let found = editor.ask_at("completion", 7, 20, json!({}));
    assert_eq!(labels(&found), Vec::<String>::new(), "every other node is named already");
    editor.change((10, 0), (11, 0), "");
    editor.change((7, 4), (8, 0), "needs: [p\n");
    let found = editor.ask_at("completion", 7, 13, json!({}));
    assert_eq!(labels(&found), ["plan"]);
    assert_eq!(range(&found["result"][0]["textEdit"]["range"]), "7:12-7:13");
    editor.change((6, 4), (7, 0), "env: { A: \"𝄞 ${{ inp\n");
    let found = editor.ask_at("completion", 6, 25, json!({}));
    assert_eq!(labels(&found)[0], "inputs");
    assert_eq!(range(&found["result"][0]["textEdit"]["range"]), "6:22-6:25");
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn names_are_explained_found_and_renamed() {
    let (mut editor, _) = Editor::with(FILE);
    let hover = editor.ask_at("hover", 8, 30, json!({}));
    assert!(hover["result"]["contents"]["value"].as_str().unwrap().contains("What to build."), "{hover}");
    let definition = editor.ask_at("definition", 7, 13, json!({}));
    assert_eq!(range(&definition["result"]["range"]), "4:2-4:6");
    let places = |answer: &Value| -> Vec<String> {
        answer["result"].as_array().unwrap().iter().map(|place| range(&place["range"])).collect()
    };
    let all = ["4:2-4:6", "7:12-7:16", "8:56-8:60"];
    let context = |declared| json!({ "context": { "includeDeclaration": declared } });
    let found = editor.ask_at("references", 4, 3, context(true));
    assert_eq!(places(&found), all);
    let found = editor.ask_at("references", 4, 3, context(false));
    assert_eq!(places(&found), all[1..]);
    let renamed = editor.ask_at("rename", 7, 13, json!({ "newName": "draft" }));
    let edits = renamed["result"]["changes"][URI].as_array().unwrap();
    assert_eq!(edits.iter().map(|edit| range(&edit["range"])).collect::<Vec<_>>(), all);
    let refused = editor.ask_at("rename", 7, 13, json!({ "newName": "build" }));
    assert_eq!(refused["error"]["message"], "there is `build` already");
    let outline = editor.ask("textDocument/documentSymbol", json!({ "textDocument": { "uri": URI } }));
    let nodes = &outline["result"][2];
    assert_eq!(
        (nodes["name"].as_str(), nodes["children"][1]["name"].as_str()),
        (Some("nodes"), Some("build"))
    );
    assert_eq!(nodes["children"][1]["detail"], "𝄞 Builds.");
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn an_editor_that_is_gone_ends_the_server() {
    let (mut editor, _) = Editor::with(FILE);
    editor.tell("exit", Value::Null);
    assert_eq!(editor.child.wait().unwrap().code(), Some(1));

    let (editor, _) = Editor::with(FILE);
    let Editor { mut child, to, .. } = editor;
    drop(to);
    assert_eq!(child.wait().unwrap().code(), Some(1));

    let mut editor = Editor::start();
    editor.to.write_all(b"Content-Length: 3\r\n\r\nabc").unwrap();
    assert_eq!(editor.child.wait().unwrap().code(), Some(3));
    let mut words = String::new();
    editor.child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert!(words.contains("the editor's messages cannot be read"), "{words}");
}
