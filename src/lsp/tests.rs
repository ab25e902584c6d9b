//! Conversations with the server over channels, about any text.

use lsp_server::{Connection, Message, Notification, Request, RequestId};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Sends the messages and collects what comes back before the end.
fn converse(messages: Vec<Message>) -> (End, Vec<Message>) {
    let (client, server) = Connection::memory();
    for message in messages {
        client.sender.send(message).unwrap();
    }
    let end = serve(&server);
    drop(server);
    (end, client.receiver.into_iter().collect())
}

fn request(id: i32, method: &str, params: Value) -> Message {
    Request { id: RequestId::from(id), method: method.to_owned(), params }.into()
}

fn notice(method: &str, params: Value) -> Message {
    Notification { method: method.to_owned(), params }.into()
}

const QUESTIONS: [&str; 7] = [
    "completion",
    "hover",
    "definition",
    "references",
    "documentHighlight",
    "prepareRename",
    "documentSymbol",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gets_its_answers(
        text in "(version: 1\nnodes:\n|stages: \\[|  a: \\{ needs: \\[b|\\]|\\}|    when: |\\$\\{\\{ inputs\\.|\r\n|é|𝄞|\"|\n|\\PC){0,14}",
        line in 0u32..8, character in 0u32..20, typed in "\\PC{0,3}",
    ) {
        let document = json!({ "uri": "file:///a.yaml" });
        let position = json!({ "line": line, "character": character });
        let mut messages = vec![
            request(0, "initialize", json!({ "capabilities": {} })),
            notice("textDocument/didOpen", json!({ "textDocument":
                { "uri": "file:///a.yaml", "languageId": "yaml", "version": 1, "text": text } })),
            notice("textDocument/didChange", json!({
                "textDocument": { "uri": "file:///a.yaml", "version": 2 },
                "contentChanges": [{ "range": { "start": position, "end": position }, "text": typed }],
            })),
        ];
        for (id, question) in (1..).zip(QUESTIONS) {
            let params = json!({ "textDocument": document, "position": position, "context": { "includeDeclaration": true } });
            messages.push(request(id, &format!("textDocument/{question}"), params));
        }
        messages.push(request(99, "shutdown", Value::Null));
        messages.push(notice("exit", Value::Null));
        let (end, answers) = converse(messages);
        prop_assert_eq!(end, End::Asked);
        let answered = answers.iter().filter(|answer| matches!(answer, Message::Response(response) if response.response_result.is_ok()));
        prop_assert_eq!(answered.count(), QUESTIONS.len() + 2);
    }
}

#[test]
fn the_order_of_the_protocol_is_kept() {
    let code = |answer: &Message| match answer {
        Message::Response(response) => response.response_result.as_ref().err().map(|error| error.code),
        Message::Request(_) | Message::Notification(_) => None,
    };
    let (end, answers) = converse(vec![
        request(1, "textDocument/hover", json!({})),
        notice("textDocument/didOpen", json!({})),
        request(2, "initialize", json!({})),
        request(3, "textDocument/hover", json!({})),
        request(4, "workspace/nothing", json!({})),
        request(5, "shutdown", Value::Null),
        request(6, "textDocument/hover", json!({})),
        notice("exit", Value::Null),
    ]);
    assert_eq!(end, End::Asked);
    let codes: Vec<Option<i32>> = answers.iter().map(code).collect();
    assert_eq!(codes, [Some(-32002), None, Some(-32602), Some(-32601), None, Some(-32600)]);
    assert_eq!(converse(vec![notice("exit", Value::Null)]).0, End::Abrupt);
}
