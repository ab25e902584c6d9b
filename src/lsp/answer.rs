//! Answers in the words of the protocol, made of what `workflow::assist` knows. Knows nothing of the conversation.

use std::collections::HashMap;
use std::path::Path;

use lsp_types::{
    CompletionItem, CompletionItemKind, CompletionOptions, CompletionTextEdit, DocumentHighlight,
    DocumentSymbol, Documentation, Hover, HoverContents, HoverProviderCapability, Location, MarkupContent,
    MarkupKind, OneOf, Range, RenameOptions, ServerCapabilities, SymbolKind, TextDocumentSyncCapability,
    TextDocumentSyncKind, TextEdit, Uri, WorkspaceEdit,
};
use serde_json::{Value, json};

use super::document::Document;
use super::uri;
use crate::workflow::assist::{self, Item, ItemKind, Kind, RenameError, Symbols};

/// What this server can do.
pub fn capabilities() -> Value {
    let triggers = ["{", "[", "\"", ".", ",", " ", ":", "("].map(str::to_owned);
    let capabilities = ServerCapabilities {
        text_document_sync: Some(TextDocumentSyncCapability::Kind(TextDocumentSyncKind::INCREMENTAL)),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some(triggers.to_vec()),
            ..CompletionOptions::default()
        }),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        definition_provider: Some(OneOf::Left(true)),
        references_provider: Some(OneOf::Left(true)),
        document_highlight_provider: Some(OneOf::Left(true)),
        document_symbol_provider: Some(OneOf::Left(true)),
        rename_provider: Some(OneOf::Right(RenameOptions {
            prepare_provider: Some(true),
            work_done_progress_options: lsp_types::WorkDoneProgressOptions::default(),
        })),
        ..ServerCapabilities::default()
    };
    json!({
        "capabilities": capabilities,
        "serverInfo": { "name": "spb", "version": env!("CARGO_PKG_VERSION") },
    })
}

pub fn completion(path: &Path, document: &Document, at: usize) -> Vec<CompletionItem> {
    let found = assist::complete(path, document.text(), at);
    let one = |(number, item): (usize, assist::Completion)| CompletionItem {
        label: item.label,
        kind: Some(match item.kind {
            Kind::Key => CompletionItemKind::PROPERTY,
            Kind::Word => CompletionItemKind::ENUM_MEMBER,
            Kind::Node => CompletionItemKind::CLASS,
            Kind::Stage => CompletionItemKind::MODULE,
            Kind::Name => CompletionItemKind::VARIABLE,
            Kind::Function => CompletionItemKind::FUNCTION,
        }),
        detail: (!item.detail.is_empty()).then_some(item.detail),
        documentation: (!item.documentation.is_empty())
            .then(|| Documentation::MarkupContent(markdown(item.documentation))),
        // In the order of the language, not of the alphabet.
        sort_text: Some(format!("{number:05}")),
        text_edit: Some(CompletionTextEdit::Edit(TextEdit::new(document.range(item.replace), item.insert))),
        ..CompletionItem::default()
    };
    found.into_iter().enumerate().map(one).collect()
}

pub fn hover(document: &Document, at: usize) -> Option<Hover> {
    let (card, place) = assist::hover(document.text(), at)?;
    Some(Hover { contents: HoverContents::Markup(markdown(card)), range: Some(document.range(place)) })
}

fn markdown(value: String) -> MarkupContent {
    MarkupContent { kind: MarkupKind::Markdown, value }
}

pub fn definition(uri: &Uri, path: &Path, document: &Document, at: usize) -> Option<Location> {
    let symbols = Symbols::of(document.text());
    if let Some(found) = symbols.at(at).and_then(|found| symbols.definition(&found.symbol)) {
        return Some(Location::new(uri.clone(), document.range(found.span.start..found.span.end)));
    }
    let found = assist::elsewhere(path, document.text(), at)?;
    Some(Location::new(uri::of(&found.path)?, Document::new(found.text).range(found.range)))
}

pub fn references(uri: &Uri, document: &Document, at: usize, declared: bool) -> Vec<Location> {
    places(document, at, declared).into_iter().map(|range| Location::new(uri.clone(), range)).collect()
}

pub fn highlights(document: &Document, at: usize) -> Vec<DocumentHighlight> {
    let one = |range| DocumentHighlight { range, kind: None };
    places(document, at, true).into_iter().map(one).collect()
}

/// All places of the name at `at`.
fn places(document: &Document, at: usize, declared: bool) -> Vec<Range> {
    let symbols = Symbols::of(document.text());
    let Some(found) = symbols.at(at) else { return Vec::new() };
    symbols
        .of_symbol(&found.symbol)
        .filter(|place| declared || !place.is_definition)
        .map(|place| document.range(place.span.start..place.span.end))
        .collect()
}

pub fn prepare_rename(document: &Document, at: usize) -> Option<Range> {
    let symbols = Symbols::of(document.text());
    let found = symbols.at(at).filter(|found| symbols.definition(&found.symbol).is_some())?;
    Some(document.range(found.span.start..found.span.end))
}

/// The edits that give the name at `at` another one.
///
/// # Errors
/// Why it cannot be done everywhere.
pub fn rename(uri: &Uri, document: &Document, at: usize, new: &str) -> Result<WorkspaceEdit, RenameError> {
    let places = Symbols::of(document.text()).rename(document.text(), at, new)?;
    let edits =
        places.into_iter().map(|place| TextEdit::new(document.range(place), new.to_owned())).collect();
    Ok(WorkspaceEdit::new(HashMap::from([(uri.clone(), edits)])))
}

pub fn outline(document: &Document) -> Vec<DocumentSymbol> {
    Symbols::of(document.text()).outline.iter().map(|item| symbol(document, item)).collect()
}

#[expect(deprecated, reason = "the protocol's type has a field that nobody uses any more, and no default")]
fn symbol(document: &Document, item: &Item) -> DocumentSymbol {
    DocumentSymbol {
        name: if item.name.is_empty() { "\"\"".to_owned() } else { item.name.clone() },
        detail: (!item.detail.is_empty()).then(|| item.detail.clone()),
        kind: match item.kind {
            ItemKind::Section => SymbolKind::NAMESPACE,
            ItemKind::Node => SymbolKind::CLASS,
            ItemKind::Input => SymbolKind::VARIABLE,
            ItemKind::Output => SymbolKind::FIELD,
        },
        tags: None,
        deprecated: None,
        range: document.range(item.whole.start..item.whole.end),
        selection_range: document.range(item.own.start..item.own.end),
        children: Some(item.children.iter().map(|child| symbol(document, child)).collect()),
    }
}
