//! Checks an expression before anything runs: that every name exists in its place, and that the types fit. Finds all
//! faults, each at its token. Knows nothing of values.

use std::ops::Range;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::Fault;
use super::fault;
use super::functions;
use super::lex::LOOP;
use super::program::{Expression, Form, STATUS_FUNCTIONS, Tree};
use super::types::{Names, STATUSES, Type, What};

/// Whether status functions may be called: in conditions only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Value,
    Condition,
}

/// The type of an expression, and what is wrong with it. Ranges are bytes of the expression's text.
pub fn infer(expression: &Expression, names: &Names<'_>, place: Use) -> (Type, Vec<Fault>) {
    match &expression.form {
        Form::Path(path) => {
            let mut faults = Vec::new();
            let kind = path_type(path.segments(), names, &mut faults);
            (kind, faults)
        }
        Form::Cel(tree) => {
            let mut walk = Walk { tree, names, place, locals: Vec::new(), faults: Vec::new() };
            let kind = walk.infer(&tree.root);
            (kind, walk.faults)
        }
    }
}

fn path_type(path: &[String], names: &Names<'_>, faults: &mut Vec<Fault>) -> Type {
    let mut at = path[0].len();
    let mut kind = match names.root(&path[0]) {
        Some(kind) => kind.clone(),
        None => {
            faults.push(fault::unknown_root(&path[0], 0..at, names));
            return Type::Any;
        }
    };
    for segment in &path[1..] {
        let range = at + 1..at + 1 + segment.len();
        at = range.end;
        kind = match field(&kind, segment, range, names) {
            Ok(kind) => kind,
            Err(fault) => {
                faults.push(fault);
                return Type::Any;
            }
        };
    }
    kind
}

/// The type of `base.name`.
fn field(base: &Type, name: &str, range: Range<usize>, names: &Names<'_>) -> Result<Type, Fault> {
    match base {
        Type::Any => Ok(Type::Any),
        Type::Map(item) => Ok((**item).clone()),
        Type::Record(record) if matches!(record.what, What::Open(_)) => {
            Ok(record.fields.get(name).cloned().unwrap_or(Type::Any))
        }
        Type::Record(record) => {
            record.fields.get(name).cloned().ok_or_else(|| fault::unknown_field(record, name, range, names))
        }
        Type::Need(outputs) if name == "outputs" => Ok((**outputs).clone()),
        Type::Need(_) => Type::of_need(name).ok_or_else(|| fault::unknown_need_field(name, range)),
        other => Err(fault::no_fields(other, name, range)),
    }
}

struct Walk<'t> {
    tree: &'t Tree,
    names: &'t Names<'t>,
    place: Use,
    /// Variables of the loops around, innermost last.
    locals: Vec<(&'t str, Type)>,
    faults: Vec<Fault>,
}

impl<'t> Walk<'t> {
    fn infer(&mut self, node: &'t IdedExpr) -> Type {
        match &node.expr {
            Expr::Literal(literal) => literal_type(literal),
            Expr::Ident(name) if name == LOOP.1 => self.name(LOOP.0, self.tree.place(node.id)),
            Expr::Ident(name) => self.name(name, self.tree.place(node.id)),
            Expr::Select(select) => {
                let base = self.infer(&select.operand);
                if select.test {
                    // `has(x.y)` asks whether the field is there.
                    return Type::Bool;
                }
                let range = self.tree.field_place(node.id, &select.field);
                self.keep(field(&base, &select.field, range, self.names))
            }
            Expr::Call(call) => self.call(call, node.id),
            Expr::List(list) => {
                let items = list.elements.iter().map(|item| self.infer(item)).collect::<Vec<_>>();
                Type::list(items.into_iter().reduce(Type::join).unwrap_or(Type::Any))
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.infer(&entry.key);
                        self.infer(&entry.value);
                    }
                }
                Type::Map(Box::new(Type::Any))
            }
            Expr::Comprehension(inner) => self.comprehension(inner),
            Expr::Struct(_) | Expr::Unspecified => {
                self.faults.push(Fault::new(
                    "spb::expr::syntax",
                    self.tree.place(node.id),
                    "this has no meaning here",
                ));
                Type::Any
            }
        }
    }

    fn keep(&mut self, found: Result<Type, Fault>) -> Type {
        found.unwrap_or_else(|fault| {
            self.faults.push(fault);
            Type::Any
        })
    }

    fn name(&mut self, name: &str, range: Range<usize>) -> Type {
        if let Some((_, kind)) = self.locals.iter().rev().find(|(local, _)| *local == name) {
            return kind.clone();
        }
        match self.names.root(name) {
            Some(kind) => kind.clone(),
            None => {
                self.faults.push(fault::unknown_root(name, range, self.names));
                Type::Any
            }
        }
    }

    /// `map`, `filter`, `all`, `exists` and `exists_one`, which CEL turns into loops.
    fn comprehension(&mut self, inner: &'t ComprehensionExpr) -> Type {
        let item = match self.infer(&inner.iter_range) {
            Type::List(item) => *item,
            Type::Map(_) | Type::Record(_) | Type::Need(_) => Type::Text,
            Type::Any => Type::Any,
            other => {
                let range = self.span(&inner.iter_range);
                self.faults.push(fault::not_a_list(&other, range));
                Type::Any
            }
        };
        let start = self.infer(&inner.accu_init);
        self.locals.push((&inner.iter_var, item.clone()));
        self.locals.push((&inner.accu_var, Type::Any));
        for part in [&inner.loop_cond, &inner.loop_step] {
            self.infer(part);
        }
        self.locals.truncate(self.locals.len() - 2);
        match start {
            // A filter keeps the items: its step adds the loop variable itself.
            Type::List(_) if adds_variable(inner) => Type::list(item),
            Type::List(_) => Type::list(Type::Any),
            _ => Type::Bool,
        }
    }

    fn call(&mut self, call: &'t CallExpr, id: u64) -> Type {
        let range = self.tree.place(id);
        if call.target.is_none() && STATUS_FUNCTIONS.contains(&call.func_name.as_str()) {
            return self.status_function(call, range);
        }
        let target = call.target.as_deref().map(|target| self.infer(target));
        let args: Vec<Type> = call.args.iter().map(|arg| self.infer(arg)).collect();
        match (call.func_name.as_str(), args.as_slice()) {
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
                self.equality(call, left, right, range)
            }
            (operators::INDEX, [base, index]) => self.index(call, base, index, range),
            (operators::CONDITIONAL, [condition, yes, no]) => {
                self.boolean(condition, &call.args[0]);
                yes.clone().join(no.clone())
            }
            (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, _) => {
                for (kind, arg) in args.iter().zip(&call.args) {
                    self.boolean(kind, arg);
                }
                Type::Bool
            }
            (name, _) if name.starts_with('@') && name != operators::IN => Type::Bool,
            (name, _) => {
                let place = self.function_place(call, range);
                let found = functions::result(name, target.as_ref(), &args, place);
                self.keep(found)
            }
        }
    }

    /// The name of a function rather than its bracket; the token of an operator.
    fn function_place(&self, call: &CallExpr, range: Range<usize>) -> Range<usize> {
        let named = call.func_name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match named && !call.func_name.starts_with('_') {
            true if range.start >= call.func_name.len() => range.start - call.func_name.len()..range.start,
            _ => range,
        }
    }

    fn status_function(&mut self, call: &CallExpr, range: Range<usize>) -> Type {
        let place = self.function_place(call, range);
        if self.place == Use::Value {
            self.faults.push(fault::status_outside_condition(&call.func_name, place));
        } else if !call.args.is_empty() {
            self.faults.push(
                Fault::new("spb::expr::function", place, format!("`{}()` takes no argument", call.func_name))
                    .help("the status of one need is read as `needs.<node>.status`"),
            );
        }
        Type::Bool
    }

    fn boolean(&mut self, kind: &Type, node: &IdedExpr) {
        if !matches!(kind, Type::Any | Type::Bool) {
            let range = self.span(node);
            self.faults.push(fault::not_a_boolean(kind, range));
        }
    }

    fn equality(&mut self, call: &CallExpr, left: &Type, right: &Type, range: Range<usize>) -> Type {
        if !left.comparable(right) {
            self.faults.push(fault::never_equal(left, right, range));
        }
        for (kind, other) in [(left, &call.args[1]), (right, &call.args[0])] {
            if let (Type::Status, Expr::Literal(LiteralValue::String(text))) = (kind, &other.expr)
                && !STATUSES.contains(&text.inner())
            {
                let place = self.tree.place(other.id);
                self.faults.push(fault::unknown_status(text.inner(), place));
            }
        }
        Type::Bool
    }

    fn index(&mut self, call: &CallExpr, base: &Type, index: &Type, range: Range<usize>) -> Type {
        match (base, index, &call.args[1].expr) {
            (Type::Any, ..) => Type::Any,
            (Type::List(item), Type::Integer | Type::Any, _) => (**item).clone(),
            (Type::Map(item), Type::Text | Type::Status | Type::Any, _) => (**item).clone(),
            (Type::Record(_) | Type::Need(_), _, Expr::Literal(LiteralValue::String(name))) => {
                let place = self.tree.place(call.args[1].id);
                self.keep(field(base, name.inner(), place, self.names))
            }
            (Type::Record(record), Type::Text | Type::Status | Type::Any, _) => {
                if matches!(record.what, What::Open(_)) {
                    return Type::Any;
                }
                record.fields.values().cloned().reduce(Type::join).unwrap_or(Type::Any)
            }
            (Type::Need(_), Type::Text | Type::Status | Type::Any, _) => Type::Any,
            (base, index, _) => {
                self.faults.push(fault::bad_index(base, index, range));
                Type::Any
            }
        }
    }

    /// The whole text of a simple part, the token of any other.
    fn span(&self, node: &IdedExpr) -> Range<usize> {
        match &node.expr {
            Expr::Select(select) => {
                let start = self.span(&select.operand).start;
                start..self.tree.field_place(node.id, &select.field).end
            }
            _ => self.tree.place(node.id),
        }
    }
}

fn literal_type(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Integer,
        LiteralValue::Double(_) => Type::Number,
        LiteralValue::String(_) => Type::Text,
        LiteralValue::Null => Type::Null,
        LiteralValue::Bytes(_) => Type::Any,
    }
}

fn adds_variable(inner: &ComprehensionExpr) -> bool {
    fn holds(node: &IdedExpr, name: &str) -> bool {
        match &node.expr {
            Expr::List(list) => {
                matches!(list.elements.as_slice(), [IdedExpr { expr: Expr::Ident(only), .. }] if only == name)
            }
            Expr::Call(call) => call.args.iter().any(|arg| holds(arg, name)),
            _ => false,
        }
    }
    holds(&inner.loop_step, &inner.iter_var)
}
