//! The problems of a file as the protocol tells them. Knows nothing of what they mean.

use std::path::Path;

use lsp_types::{
    Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, Location, NumberOrString, Uri,
};

use super::document::Document;
use crate::plan::cycle;
use crate::workflow;
use crate::workflow::problem::{Problem, Severity, Span};

/// All problems that `spb validate` would tell of a document.
pub fn diagnostics(uri: &Uri, path: &Path, document: &Document) -> Vec<Diagnostic> {
    let loaded = workflow::load_with(path, document.text().as_bytes().to_vec(), cycle::problems);
    // The text that the places count in: the same, but for bytes that are no text.
    let shown = Document::new(loaded.problems.source.text.clone());
    loaded.problems.list.iter().map(|problem| diagnostic(uri, &shown, problem)).collect()
}

fn diagnostic(uri: &Uri, document: &Document, problem: &Problem) -> Diagnostic {
    let range = |span: Span| document.range(span.start..span.end);
    let mut labels = problem.labels.iter();
    let primary = labels.next();
    let related: Vec<DiagnosticRelatedInformation> = labels
        .map(|(span, label)| DiagnosticRelatedInformation {
            location: Location::new(uri.clone(), range(*span)),
            message: label.clone(),
        })
        .collect();
    Diagnostic {
        range: primary.map(|(span, _)| range(*span)).unwrap_or_default(),
        severity: Some(match problem.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
        }),
        code: Some(NumberOrString::String(problem.code.to_owned())),
        source: Some("spb".to_owned()),
        message: match &problem.help {
            Some(help) => format!("{}\nhelp: {help}", problem.message),
            None => problem.message.clone(),
        },
        related_information: (!related.is_empty()).then_some(related),
        ..Diagnostic::default()
    }
}
