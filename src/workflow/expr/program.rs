//! One compiled expression: its CEL tree with places, the names it reads, and a guarded copy that cannot run away.
//! Knows nothing of values; see `run`.

use std::ops::Range;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators,
};
use cel::parser::Parser;

use super::lex::{self, Prepared};
use super::{Fault, NamePath};

/// Called by guarded trees once per round of a loop.
pub const TICK: &str = "@tick";
/// Called by guarded trees with every value that a name stands for.
pub const CHARGE: &str = "@charge";

/// The names that only conditions know.
pub const STATUS_FUNCTIONS: [&str; 3] = ["success", "failure", "always"];

#[derive(Debug)]
pub struct Expression {
    /// As the author wrote it, without `${{ }}` and outer blanks.
    pub text: String,
    pub form: Form,
    pub references: Vec<NamePath>,
    pub uses_status: bool,
}

#[derive(Debug)]
pub enum Form {
    /// Nothing but a name: read without CEL.
    Path(NamePath),
    Cel(Box<Tree>),
}

#[derive(Debug)]
pub struct Tree {
    pub root: IdedExpr,
    pub guarded: IdedExpr,
    prepared: Prepared,
    places: SourceInfo,
}

/// Compiles the text of an expression. Ranges of faults are bytes of `text`.
///
/// # Errors
/// What is wrong with its grammar.
pub fn compile(text: &str) -> Result<Expression, Fault> {
    if let Some(path) = lex::whole_path(text) {
        let path = NamePath::new(path);
        let references = vec![path.clone()];
        return Ok(Expression {
            text: text.to_owned(),
            form: Form::Path(path),
            references,
            uses_status: false,
        });
    }
    let prepared = lex::prepare(text)
        .map_err(|error| Fault::new("spb::expr::syntax", error.range, error.message).label("here"))?;
    let parser = Parser::new().enable_ident_escape_syntax(true);
    let (root, places) =
        parser.parse_with_source_info(&prepared.text).map_err(|errors| syntax(&errors, &prepared, text))?;
    let mut seen = Seen::default();
    seen.walk(&root, &mut Vec::new());
    let mut guarded = root.clone();
    guard(&mut guarded);
    let tree = Tree { root, guarded, prepared, places };
    Ok(Expression {
        text: text.to_owned(),
        form: Form::Cel(Box::new(tree)),
        references: seen.references,
        uses_status: seen.uses_status,
    })
}

impl Tree {
    /// Where a node of the tree was written: its own token, in bytes of the author's text.
    pub fn place(&self, id: u64) -> Range<usize> {
        let (start, stop) = self.places.offset_for(id).unwrap_or((0, 0));
        self.prepared.original(start as usize..stop as usize + 1)
    }

    /// Where a field name was written: it follows the `.` that is the place of its selection.
    pub fn field_place(&self, id: u64, field: &str) -> Range<usize> {
        let dot = self.place(id);
        dot.end..dot.end + field.len()
    }
}

/// The first complaint of the CEL parser, in plain words.
fn syntax(errors: &cel::ParseErrors, prepared: &Prepared, source: &str) -> Fault {
    let Some(first) = errors.errors.first() else {
        return Fault::new("spb::expr::syntax", 0..source.len(), "this is not an expression");
    };
    let line = usize::try_from(first.pos.0 - 1).unwrap_or(0);
    let line_start: usize = prepared.text.split_inclusive('\n').take(line).map(str::len).sum();
    let start = (line_start + usize::try_from(first.pos.1 - 1).unwrap_or(0)).min(prepared.text.len());
    let at = prepared.original(start..start).start.min(source.len());
    let length = source[at..].chars().next().map_or(0, char::len_utf8);
    let found = &source[at..at + length];
    let message = match found {
        "" if source.trim().is_empty() => "the expression is empty".to_owned(),
        "" => "the expression ends too early".to_owned(),
        found => format!("{found:?} does not fit here"),
    };
    let fault = Fault::new("spb::expr::syntax", at..at + length, message).label("not understood");
    let rest = &source[at..];
    let word = &rest[..rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len())];
    let before = source[..at].trim_end();
    match found {
        _ if before == "not" || before.ends_with(" not") => fault.help("write `!` for not, as in `!inputs.fast`"),
        _ if word == "and" || word == "or" => fault.help("write `||` for or, `&&` for and"),
        _ if word.len() > 18 && word.bytes().all(|byte| byte.is_ascii_digit()) => {
            fault.help("the number is too large: whole numbers have 64 bits")
        }
        "=" => fault.help("compare with `==`"),
        "|" | "&" => fault.help("write `||` for or, `&&` for and"),
        _ => fault.help("an expression is a name, a value, or a combination, as in `inputs.count > 3 && matrix.os == \"linux\"`"),
    }
}

/// What a tree reads.
#[derive(Default)]
struct Seen {
    references: Vec<NamePath>,
    uses_status: bool,
}

impl Seen {
    fn walk<'e>(&mut self, node: &'e IdedExpr, locals: &mut Vec<&'e str>) {
        if let Some(path) = as_path(node) {
            self.path(path, locals);
        } else if let Expr::Comprehension(inner) = &node.expr {
            self.comprehension(inner, locals);
        }
        if let Expr::Call(call) = &node.expr {
            self.uses_status |= call.target.is_none() && STATUS_FUNCTIONS.contains(&call.func_name.as_str());
        }
        for child in unnamed_children(node) {
            self.walk(child, locals);
        }
    }

    fn path(&mut self, path: Vec<&str>, locals: &[&str]) {
        if path[0].starts_with('@') || locals.contains(&path[0]) {
            return;
        }
        let path = NamePath::new(path.into_iter().map(str::to_owned).collect());
        if !self.references.contains(&path) {
            self.references.push(path);
        }
    }

    fn comprehension<'e>(&mut self, inner: &'e ComprehensionExpr, locals: &mut Vec<&'e str>) {
        self.walk(&inner.iter_range, locals);
        self.walk(&inner.accu_init, locals);
        locals.push(&inner.iter_var);
        for part in [&inner.loop_cond, &inner.loop_step, &inner.result] {
            self.walk(part, locals);
        }
        locals.pop();
    }
}

/// The parts to look into after the node itself was understood: none of a name or a comprehension, whose parts are
/// visited with their names in scope.
fn unnamed_children(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Comprehension(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Vec::new(),
        Expr::Call(call) if as_path(node).is_some() => {
            // `needs["a"].b[inputs.x]`: the index of a path is text, so nothing else is read.
            debug_assert_eq!(call.func_name, operators::INDEX);
            Vec::new()
        }
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Select(_) if as_path(node).is_some() => Vec::new(),
        Expr::Select(select) => vec![&select.operand],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
        Expr::Struct(made) => made.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
    }
}

pub(super) fn entry_parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

/// The segments of a name: `a.b.c`, or `a["b"].c`.
pub fn as_path(node: &IdedExpr) -> Option<Vec<&str>> {
    match &node.expr {
        Expr::Ident(name) if name == lex::LOOP.1 => Some(vec![lex::LOOP.0]),
        Expr::Ident(name) => Some(vec![name]),
        Expr::Select(select) => {
            let mut path = as_path(&select.operand)?;
            path.push(&select.field);
            Some(path)
        }
        Expr::Call(call) if call.func_name == operators::INDEX && call.args.len() == 2 => {
            let Expr::Literal(LiteralValue::String(key)) = &call.args[1].expr else { return None };
            let mut path = as_path(&call.args[0])?;
            path.push(key.inner());
            Some(path)
        }
        _ => None,
    }
}

/// Makes a tree pay for what it does: every value that a name stands for, and every round of a loop. The work of any
/// expression is then bounded by what `run` gives it, whatever the values are.
fn guard(node: &mut IdedExpr) {
    let tested = matches!(&node.expr, Expr::Select(select) if select.test);
    let name = as_path(node).map(|path| path[0].starts_with('@'));
    match (name, &mut node.expr) {
        (Some(_), _) if tested => {}
        (Some(true), _) => {}
        (Some(false), _) => charge(node),
        (None, Expr::Comprehension(inner)) => guard_loop(inner),
        (None, Expr::Call(inner)) => {
            inner.target.as_deref_mut().into_iter().chain(&mut inner.args).for_each(guard)
        }
        (None, Expr::Select(select)) => guard(&mut select.operand),
        (None, Expr::List(list)) => list.elements.iter_mut().for_each(guard),
        (None, Expr::Map(map)) => map.entries.iter_mut().for_each(|entry| guard_entry(&mut entry.expr)),
        (None, Expr::Struct(made)) => made.entries.iter_mut().for_each(|entry| guard_entry(&mut entry.expr)),
        (None, Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified) => {}
    }
}

fn guard_loop(inner: &mut ComprehensionExpr) {
    let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } = inner;
    for part in [iter_range, accu_init, &mut *loop_step, result] {
        guard(part);
    }
    if matches!(loop_cond.expr, Expr::Literal(_)) {
        // `map` and `filter`: CEL appends in place only while their condition is a literal.
        return charge_step(loop_step);
    }
    let id = loop_cond.id;
    let condition = std::mem::take(loop_cond);
    *loop_cond = call(id, operators::LOGICAL_AND, vec![condition, call(id, TICK, Vec::new())]);
}

/// `cond ? @result + [value] : @result`: pays for the condition and for the value.
fn charge_step(step: &mut IdedExpr) {
    let Expr::Call(inner) = &mut step.expr else { return };
    match (inner.func_name.as_str(), inner.args.as_mut_slice()) {
        (operators::CONDITIONAL, [condition, add, _]) => {
            charge(condition);
            charge_step(add);
        }
        (operators::ADD, [_, IdedExpr { expr: Expr::List(items), .. }]) => {
            items.elements.iter_mut().for_each(charge)
        }
        _ => {}
    }
}

fn charge(node: &mut IdedExpr) {
    let inner = std::mem::take(node);
    *node = call(inner.id, CHARGE, vec![inner]);
}

fn guard_entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::StructField(field) => guard(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            guard(&mut entry.key);
            guard(&mut entry.value);
        }
    }
}

fn call(id: u64, function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr { id, expr: Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args }) }
}
