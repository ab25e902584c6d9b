//! One problem of a workflow file: stable code, exact place, remedy. Knows how it is shown (miette), not who finds it.

use std::ops::Range;
use std::sync::Arc;

use super::model::Source;

/// Byte offsets, `start..end`, into the texts of all files that were read together, one after the other; those of the
/// first file are its own. See [`Source::start`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn new(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }

    /// The same, further on.
    #[must_use]
    pub fn moved(self, by: usize) -> Self {
        Self { start: self.start + by, end: self.end + by }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// What is wrong, where, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable: `spb::needs::unknown`.
    pub code: &'static str,
    pub severity: Severity,
    pub message: String,
    /// The first is the primary place; the text says what is there.
    pub labels: Vec<(Span, String)>,
    pub help: Option<String>,
}

impl Problem {
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            labels: vec![(span, String::new())],
            help: None,
        }
    }

    /// Something that runs, though hardly as meant.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        if let Some(first) = self.labels.first_mut() {
            first.1 = text.into();
        }
        self
    }

    #[must_use]
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push((span, text.into()));
        self
    }

    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// The same with all its places further on.
    #[must_use]
    pub(super) fn moved(mut self, by: usize) -> Self {
        for (span, _) in &mut self.labels {
            *span = span.moved(by);
        }
        self
    }

    /// The primary place.
    pub fn span(&self) -> Span {
        self.labels.first().map(|label| label.0).unwrap_or_default()
    }
}

/// Problems together with the texts they point into.
#[derive(Clone, Debug)]
pub struct Problems {
    /// The file that was asked for.
    pub source: Arc<Source>,
    /// Files that it includes and uses, as far as they were read.
    pub others: Vec<Arc<Source>>,
    pub list: Vec<Problem>,
}

impl Problems {
    /// The file that a span points into.
    pub fn source_of(&self, span: Span) -> &Arc<Source> {
        self.others.iter().find(|source| source.holds(span)).unwrap_or(&self.source)
    }
}
