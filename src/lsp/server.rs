//! What is known between messages: the open documents, which of them are to be checked, and how far the conversation
//! is. Knows which message asks for what; `answer` words the answers.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lsp_server::{ErrorCode, Message, Notification, Request};
use lsp_types::notification::{self as notice, Notification as _};
use lsp_types::request::{self as ask, Request as _};
use lsp_types::{PublishDiagnosticsParams, TextDocumentPositionParams, Uri};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::document::Document;
use super::{End, answer, report, uri};
use crate::workflow::{self, assist};

/// How long the author has stopped typing before the file is checked.
pub const PAUSE: Duration = Duration::from_millis(60);

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    New,
    Ready,
    ShutDown,
}

struct Open {
    uri: Uri,
    path: PathBuf,
    version: i32,
    document: Document,
}

/// The state of a conversation.
#[derive(Default)]
pub struct Server {
    phase: Phase,
    open: HashMap<String, Open>,
    /// Documents that changed since they were checked.
    pending: BTreeSet<String>,
}

type Answer = Result<Value, (ErrorCode, String)>;

impl Server {
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    pub fn end(&self) -> End {
        if self.phase == Phase::ShutDown { End::Asked } else { End::Abrupt }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// The code and words of the protocol for a request that cannot be answered.
    pub fn request(&mut self, request: Request) -> Answer {
        match (&self.phase, request.method.as_str()) {
            (Phase::New, ask::Initialize::METHOD) => {
                self.phase = Phase::Ready;
                Ok(answer::capabilities())
            }
            (Phase::New, _) => Err((ErrorCode::ServerNotInitialized, "`initialize` comes first".to_owned())),
            (Phase::Ready, ask::Shutdown::METHOD) => {
                self.phase = Phase::ShutDown;
                Ok(Value::Null)
            }
            (Phase::Ready, _) => self.question(request),
            (Phase::ShutDown, _) => Err((ErrorCode::InvalidRequest, "the server was shut down".to_owned())),
        }
    }

    fn question(&self, request: Request) -> Answer {
        let params = request.params;
        match request.method.as_str() {
            ask::Completion::METHOD => {
                self.at(params, |open, at| answer::completion(&open.path, &open.document, at))
            }
            ask::HoverRequest::METHOD => self.at(params, |open, at| answer::hover(&open.document, at)),
            ask::GotoDefinition::METHOD => {
                self.at(params, |open, at| answer::definition(&open.uri, &open.path, &open.document, at))
            }
            ask::References::METHOD => {
                let declared = params["context"]["includeDeclaration"] != false;
                self.at(params, |open, at| answer::references(&open.uri, &open.document, at, declared))
            }
            ask::DocumentHighlightRequest::METHOD => {
                self.at(params, |open, at| answer::highlights(&open.document, at))
            }
            ask::PrepareRenameRequest::METHOD => {
                self.at(params, |open, at| answer::prepare_rename(&open.document, at))
            }
            ask::Rename::METHOD => {
                let new = params["newName"].as_str().unwrap_or_default().to_owned();
                let (open, at) = match self.place(params)? {
                    Some(place) => place,
                    None => return Ok(Value::Null),
                };
                answer::rename(&open.uri, &open.document, at, &new)
                    .map(|edit| json!(edit))
                    .map_err(|error| (ErrorCode::InvalidParams, error.to_string()))
            }
            ask::DocumentSymbolRequest::METHOD => {
                let params: lsp_types::DocumentSymbolParams = read(params)?;
                let open = self.open.get(params.text_document.uri.as_str());
                Ok(json!(open.map(|open| answer::outline(&open.document)).unwrap_or_default()))
            }
            method => Err((ErrorCode::MethodNotFound, format!("spb does not know `{method}`"))),
        }
    }

    /// Asks about a place of an open document. Of a document that is not open, nothing is known.
    fn at<T: serde::Serialize>(&self, params: Value, ask: impl FnOnce(&Open, usize) -> T) -> Answer {
        Ok(self.place(params)?.map_or(Value::Null, |(open, at)| json!(ask(open, at))))
    }

    fn place(&self, params: Value) -> Result<Option<(&Open, usize)>, (ErrorCode, String)> {
        let params: TextDocumentPositionParams = read(params)?;
        let open = self.open.get(params.text_document.uri.as_str());
        Ok(open.map(|open| (open, open.document.offset(params.position))))
    }

    /// Takes a notification; gives what is to be told about it.
    pub fn notification(&mut self, notification: Notification) -> Vec<Message> {
        if self.phase != Phase::Ready {
            return Vec::new();
        }
        match notification.method.as_str() {
            notice::DidOpenTextDocument::METHOD => {
                let Ok(params) = read::<lsp_types::DidOpenTextDocumentParams>(notification.params) else {
                    return Vec::new();
                };
                let opened = params.text_document;
                let key = opened.uri.as_str().to_owned();
                let open = Open {
                    path: uri::path(&key),
                    uri: opened.uri,
                    version: opened.version,
                    document: Document::new(opened.text),
                };
                self.open.insert(key.clone(), open);
                self.touched(&key);
            }
            notice::DidChangeTextDocument::METHOD => {
                let Ok(params) = read::<lsp_types::DidChangeTextDocumentParams>(notification.params) else {
                    return Vec::new();
                };
                let key = params.text_document.uri.as_str();
                if let Some(open) = self.open.get_mut(key) {
                    open.version = params.text_document.version;
                    params.content_changes.into_iter().for_each(|change| open.document.change(change));
                    self.touched(key);
                }
            }
            notice::DidCloseTextDocument::METHOD => {
                let Ok(params) = read::<lsp_types::DidCloseTextDocumentParams>(notification.params) else {
                    return Vec::new();
                };
                let key = params.text_document.uri.as_str();
                self.pending.remove(key);
                if self.open.remove(key).is_some() {
                    return vec![told(params.text_document.uri, None, Vec::new())];
                }
            }
            _ => {}
        }
        Vec::new()
    }

    /// The problems of a document, with the files that it uses as they are in the editor, or else on the disk.
    fn diagnostics(&self, open: &Open) -> Vec<lsp_types::Diagnostic> {
        let disk = workflow::disk(&open.path);
        let fetch = |path: &Path| match self.open.values().find(|other| other.path == path) {
            Some(other) => Ok(other.document.text().as_bytes().to_vec()),
            None => disk(path),
        };
        report::diagnostics(&open.uri, &open.path, &open.document, &fetch)
    }

    /// A change of one file may be one of all that use it.
    fn touched(&mut self, key: &str) {
        let uses = |open: &Open| ["uses:", "include:"].iter().any(|word| open.document.text().contains(word));
        let others = self.open.iter().filter(|(_, open)| uses(open)).map(|(key, _)| key.clone());
        self.pending.extend(others.collect::<Vec<_>>());
        self.pending.insert(key.to_owned());
    }

    /// Checks every document that changed.
    pub fn publish(&mut self) -> Vec<Message> {
        let pending = std::mem::take(&mut self.pending);
        let open = pending.iter().filter_map(|key| self.open.get(key));
        open.map(|open| {
            let found = match assist::is_workflow(open.document.text()) {
                true => self.diagnostics(open),
                false => Vec::new(),
            };
            told(open.uri.clone(), Some(open.version), found)
        })
        .collect()
    }
}

fn told(uri: Uri, version: Option<i32>, diagnostics: Vec<lsp_types::Diagnostic>) -> Message {
    let params = PublishDiagnosticsParams { uri, diagnostics, version };
    Notification::new(notice::PublishDiagnostics::METHOD.to_owned(), params).into()
}

fn read<T: DeserializeOwned>(params: Value) -> Result<T, (ErrorCode, String)> {
    serde_json::from_value(params).map_err(|error| (ErrorCode::InvalidParams, error.to_string()))
}
