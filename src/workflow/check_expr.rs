//! Templates and conditions of the file: compiled once per text, checked in their place, faults pointed at in the
//! source. Knows where a value was written, not what it is for.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::expr::types::{Names, Type};
use super::expr::{Condition, Fault, NamePath, Template};
use super::model::Source;
use super::problem::{Problem, Span};

/// Compiled texts, and what they read.
#[derive(Default)]
pub struct Expressions {
    /// The files that the texts are in.
    pub sources: Vec<Arc<Source>>,
    templates: HashMap<Arc<str>, Template>,
    conditions: HashMap<String, Condition>,
    used_inputs: HashSet<String>,
    /// Some expression reads `inputs` as a whole.
    all_inputs: bool,
    watch: Option<Watch>,
}

/// A mark in the text, and what the place with the mark may read.
struct Watch {
    mark: &'static str,
    seen: Option<Seen>,
}

/// What an expression in some place may read.
#[derive(Debug)]
pub struct Seen {
    pub roots: Vec<(&'static str, Type)>,
    /// The place takes a bare condition.
    pub condition: bool,
}

impl Expressions {
    /// Remembers what the text that holds `mark` may read.
    pub fn watch(&mut self, mark: &'static str) {
        self.watch = Some(Watch { mark, seen: None });
    }

    pub fn seen(self) -> Option<Seen> {
        self.watch?.seen
    }

    fn notice(&mut self, text: &str, condition: bool, roots: impl FnOnce() -> Vec<(&'static str, Type)>) {
        if let Some(watch) = self.watch.as_mut().filter(|watch| text.contains(watch.mark)) {
            watch.seen = Some(Seen { roots: roots(), condition });
        }
    }

    /// A template at a place; a faulty one becomes an empty constant.
    pub fn template<'n>(
        &mut self,
        text: &str,
        span: Span,
        mut names: impl FnMut() -> &'n Names<'n>,
        problems: &mut Vec<Problem>,
    ) -> Template {
        self.typed(text, span, &mut names, problems).0
    }

    /// The same with the type of its value.
    pub fn typed<'n>(
        &mut self,
        text: &str,
        span: Span,
        mut names: impl FnMut() -> &'n Names<'n>,
        problems: &mut Vec<Problem>,
    ) -> (Template, Type) {
        self.notice(text, false, || names().roots.clone());
        let Some(template) = self.compiled(text, span, problems) else {
            return (Template::constant(""), Type::Any);
        };
        if template.is_constant().is_some() {
            return (template, Type::Text);
        }
        let (kind, faults) = template.check(names());
        let kind = if faults.is_empty() { kind } else { Type::Any };
        problems.extend(faults.into_iter().map(|fault| self.problem(fault, span, text)));
        (template.renamed(&names().renamed), kind)
    }

    /// A template that yields a list, for what `taker` names.
    pub fn list(
        &mut self,
        text: &str,
        span: Span,
        (names, taker): (&Names<'_>, &str),
        problems: &mut Vec<Problem>,
    ) -> Template {
        self.notice(text, false, || names.roots.clone());
        let Some(template) = self.compiled(text, span, problems) else { return Template::constant("") };
        let faults = template.check_list(names, taker);
        problems.extend(faults.into_iter().map(|fault| self.problem(fault, span, text)));
        template.renamed(&names.renamed)
    }

    /// A condition at a place; a faulty one becomes the default.
    pub fn condition<'n>(
        &mut self,
        text: &str,
        span: Span,
        mut names: impl FnMut() -> &'n Names<'n>,
        problems: &mut Vec<Problem>,
    ) -> Condition {
        self.notice(text, true, || names().roots.clone());
        let condition = match self.conditions.get(text) {
            Some(known) => known.clone(),
            None => match Condition::compile(text) {
                Ok(condition) => {
                    self.conditions.insert(text.to_owned(), condition.clone());
                    condition
                }
                Err(fault) => {
                    problems.push(self.problem(fault, span, text));
                    return Condition::success();
                }
            },
        };
        self.remember(condition.references());
        let faults = if condition.references().is_empty() && condition.source() == "success()" {
            Vec::new()
        } else {
            condition.check(names())
        };
        problems.extend(faults.into_iter().map(|fault| self.problem(fault, span, text)));
        if condition.references().iter().any(|path| path.root() == "needs") {
            return condition.renamed(&names().renamed);
        }
        condition
    }

    /// The place in the source of a range of a scalar's text.
    pub fn place(&self, span: Span, text: &str, range: Range<usize>) -> Span {
        self.locate(span, text, &range)
    }

    fn locate(&self, span: Span, text: &str, range: &Range<usize>) -> Span {
        let Some(source) = self.sources.iter().find(|source| source.holds(span)) else { return span };
        locate(&source.text, source.own(span), text, range).moved(source.start)
    }

    pub fn reads_input(&self, name: &str) -> bool {
        self.all_inputs || self.used_inputs.contains(name)
    }

    fn compiled(&mut self, text: &str, span: Span, problems: &mut Vec<Problem>) -> Option<Template> {
        if !text.contains("${{") {
            return Some(Template::constant(text));
        }
        if let Some(known) = self.templates.get(text) {
            return Some(known.clone());
        }
        match Template::compile(text) {
            Ok(template) => {
                self.remember(template.references());
                self.templates.insert(template.shared_source(), template.clone());
                Some(template)
            }
            Err(faults) => {
                problems.extend(faults.into_iter().map(|fault| self.problem(fault, span, text)));
                self.remember_roughly(text);
                None
            }
        }
    }

    fn remember(&mut self, references: &[NamePath]) {
        for path in references.iter().filter(|path| path.root() == "inputs") {
            match path.segments().get(1) {
                Some(name) => drop(self.used_inputs.insert(name.clone())),
                None => self.all_inputs = true,
            }
        }
    }

    /// A text that does not compile may well read inputs: no warning on top of its error.
    fn remember_roughly(&mut self, text: &str) {
        self.all_inputs |= text.contains("inputs");
    }

    fn problem(&self, fault: Fault, span: Span, text: &str) -> Problem {
        let place = self.locate(span, text, &fault.range);
        let problem = Problem::error(fault.code, place, fault.message).label(fault.label);
        match fault.help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }
}

/// The place in the source of a range of a scalar's text. The scalar may have quotes, escapes or folded lines, so
/// the range is looked for where the source spells it as the text does, else the whole expression is meant.
fn locate(source: &str, span: Span, text: &str, range: &Range<usize>) -> Span {
    let Some(raw) = source.get(span.start..span.end) else { return span };
    let quote = usize::from(raw.starts_with(['"', '\'']));
    if raw[quote..].starts_with(text) {
        return Span { start: span.start + quote + range.start, end: span.start + quote + range.end };
    }
    let before = text.get(..range.start).unwrap_or_default();
    let opened =
        if text[range.start..].starts_with("${{") { range.start } else { before.rfind("${{").unwrap_or(0) };
    let ordinal = before.matches("${{").count().saturating_sub(usize::from(opened < range.start));
    let from = match raw.match_indices("${{").nth(ordinal) {
        Some((at, _)) => at,
        None => return bare(raw, span, text, range),
    };
    let length = range.end - opened;
    if raw.get(from..from + length) == text.get(opened..range.end) {
        let start = span.start + from + (range.start - opened);
        return Span { start, end: start + range.len() };
    }
    let end = raw[from..].find("}}").map_or(raw.len(), |end| from + end + 2);
    Span { start: span.start + from, end: span.start + end }
}

/// A condition without `${{`: the range is where its words are, if they are there once.
fn bare(raw: &str, span: Span, text: &str, range: &Range<usize>) -> Span {
    let words = text.get(range.clone()).unwrap_or_default();
    match raw.match_indices(words).next() {
        Some((at, _)) if !words.is_empty() => {
            Span { start: span.start + at, end: span.start + at + words.len() }
        }
        _ => span,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, text: &str, words: &str, expect: &str) {
        let start = text.find(words).unwrap();
        let found = locate(raw, Span { start: 0, end: raw.len() }, text, &(start..start + words.len()));
        assert_eq!(&raw[found.start..found.end], expect);
    }

    #[test]
    fn faults_are_found_in_every_spelling() {
        check("a ${{ b.c }}", "a ${{ b.c }}", "b.c", "b.c");
        check("\"a ${{ b.c }}\"", "a ${{ b.c }}", "b.c", "b.c");
        check("\"a\\n${{ b }} ${{ c.d }}\"", "a\n${{ b }} ${{ c.d }}", "c.d", "c.d");
        check("|\n    first\n    ${{ x }}\n", "first\n${{ x }}\n", "x }", "x }");
        check("'it''s ${{ a == ''b'' }}'", "it's ${{ a == 'b' }}", "'b'", "${{ a == ''b'' }}");
        check(">\n  a\n  && bad", "a && bad", "bad", "bad");
    }
}
