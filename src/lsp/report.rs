//! The problems of a file as the protocol tells them. Knows nothing of what they mean.

use std::path::Path;

use lsp_types::{
    Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, Location, NumberOrString, Range, Uri,
};

use super::document::Document;
use super::uri;
use crate::plan::cycle;
use crate::workflow::model::Source;
use crate::workflow::problem::{Problem, Problems, Severity, Span};
use crate::workflow::{self, Fetch};

/// All problems that `spb validate` would tell of a document. Those of files that it includes or uses stand where it names
/// the file, or else at its top, and say where they are.
pub fn diagnostics(uri: &Uri, path: &Path, document: &Document, fetch: &Fetch<'_>) -> Vec<Diagnostic> {
    let loaded = workflow::load_from(path, document.text().as_bytes().to_vec(), fetch, cycle::problems);
    let problems = &loaded.problems;
    // The text that the places count in: the same, but for bytes that are no text.
    let texts = Texts { uri, own: Document::new(problems.source.text.clone()), problems };
    problems.list.iter().map(|problem| texts.diagnostic(problem)).collect()
}

struct Texts<'t> {
    uri: &'t Uri,
    own: Document,
    problems: &'t Problems,
}

impl Texts<'_> {
    fn is_own(&self, source: &Source) -> bool {
        source.start == self.problems.source.start
    }

    /// Where a span is. `None` in a file whose path makes no URI.
    fn location(&self, span: Span) -> Option<Location> {
        let source = self.problems.source_of(span);
        let own = source.own(span);
        if self.is_own(source) {
            return Some(Location::new(self.uri.clone(), self.own.range(own.start..own.end)));
        }
        let range = Document::new(source.text.clone()).range(own.start..own.end);
        Some(Location::new(uri::of(&source.path)?, range))
    }

    /// Where the document names another file.
    fn mention(&self, other: &Source) -> Range {
        let name = other.path.file_name().and_then(|name| name.to_str());
        let found = name.and_then(|name| Some((self.own.text().find(name)?, name.len())));
        found.map(|(start, length)| self.own.range(start..start + length)).unwrap_or_default()
    }

    fn diagnostic(&self, problem: &Problem) -> Diagnostic {
        let primary = problem.labels.first().map(|(span, _)| *span).unwrap_or_default();
        let source = self.problems.source_of(primary);
        let is_own = self.is_own(source);
        let told = problem.labels.iter().skip(usize::from(is_own));
        let related: Vec<DiagnosticRelatedInformation> = told
            .filter_map(|(span, label)| {
                let message = if label.is_empty() { problem.message.clone() } else { label.clone() };
                Some(DiagnosticRelatedInformation { location: self.location(*span)?, message })
            })
            .collect();
        let message = match is_own {
            true => problem.message.clone(),
            false => format!("in {}: {}", source.path.display(), problem.message),
        };
        Diagnostic {
            range: if is_own { self.own.range(primary.start..primary.end) } else { self.mention(source) },
            severity: Some(match problem.severity {
                Severity::Error => DiagnosticSeverity::ERROR,
                Severity::Warning => DiagnosticSeverity::WARNING,
            }),
            code: Some(NumberOrString::String(problem.code.to_owned())),
            source: Some("spb".to_owned()),
            message: match &problem.help {
                Some(help) => format!("{message}\nhelp: {help}"),
                None => message,
            },
            related_information: (!related.is_empty()).then_some(related),
            ..Diagnostic::default()
        }
    }
}
