//! The functions and operators of expressions, with the types they take and give. Knows nothing of syntax.

use std::ops::Range;

use cel::common::ast::operators;

use super::Fault;
use super::types::Type;
use crate::workflow::suggest;

/// Every function an author may call.
const FUNCTIONS: [&str; 25] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "lower",
    "upper",
    "trim",
    "split",
    "replace",
    "join",
    "string",
    "int",
    "double",
    "bool",
    "has",
    "map",
    "filter",
    "all",
    "exists",
    "exists_one",
    "success",
    "failure",
    "always",
    "dyn",
];

/// The type of a call. `place` is the function's name or the operator.
///
/// # Errors
/// An unknown function, or arguments that it does not take.
pub fn result(name: &str, target: Option<&Type>, args: &[Type], place: Range<usize>) -> Result<Type, Fault> {
    if let Some(sign) = sign(name) {
        return operator(name, sign, args, place);
    }
    if !FUNCTIONS.contains(&name) {
        return Err(unknown(name, place));
    }
    match target {
        Some(target) => method(name, target, args, place),
        None => function(name, args, place),
    }
}

/// An operator as it is written.
fn sign(name: &str) -> Option<&'static str> {
    Some(match name {
        operators::ADD => "+",
        operators::SUBSTRACT | operators::NEGATE => "-",
        operators::MULTIPLY => "*",
        operators::DIVIDE => "/",
        operators::MODULO => "%",
        operators::LESS => "<",
        operators::LESS_EQUALS => "<=",
        operators::GREATER => ">",
        operators::GREATER_EQUALS => ">=",
        operators::IN => "in",
        _ => return None,
    })
}

fn operator(name: &str, sign: &str, args: &[Type], place: Range<usize>) -> Result<Type, Fault> {
    let known = match (name, args) {
        (operators::NEGATE, [kind @ (Type::Integer | Type::Number | Type::Any)]) => Some(kind.clone()),
        (operators::IN, [_, Type::List(_) | Type::Map(_) | Type::Record(_) | Type::Need(_) | Type::Any]) => {
            Some(Type::Bool)
        }
        (operators::ADD, [left, right]) => add(left, right),
        (
            operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO,
            [left, right],
        ) => arithmetic(left, right),
        (
            operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
            [left, right],
        ) => ordered(left, right).then_some(Type::Bool),
        _ => None,
    };
    known.ok_or_else(|| mismatch(sign, args, place))
}

fn add(left: &Type, right: &Type) -> Option<Type> {
    match (left, right) {
        (Type::List(a), Type::List(b)) => Some(Type::list((**a).clone().join((**b).clone()))),
        (Type::List(_), Type::Any) | (Type::Any, Type::List(_)) => Some(Type::list(Type::Any)),
        (left, right) if left.is_text() && right.is_text() => Some(Type::Text),
        (text, Type::Any) | (Type::Any, text) if text.is_text() => Some(Type::Text),
        _ => arithmetic(left, right),
    }
}

fn arithmetic(left: &Type, right: &Type) -> Option<Type> {
    match (left, right) {
        (Type::Integer, Type::Integer) => Some(Type::Integer),
        (Type::Number, Type::Number) => Some(Type::Number),
        (Type::Any, kind @ (Type::Any | Type::Integer | Type::Number))
        | (kind @ (Type::Integer | Type::Number), Type::Any) => Some(kind.clone()),
        _ => None,
    }
}

fn ordered(left: &Type, right: &Type) -> bool {
    match (left, right) {
        (Type::Any, other) | (other, Type::Any) => {
            !matches!(other, Type::List(_) | Type::Map(_) | Type::Record(_) | Type::Need(_) | Type::Null)
        }
        (Type::Integer | Type::Number, Type::Integer | Type::Number) => true,
        (Type::Bool, Type::Bool) => true,
        (left, right) => left.is_text() && right.is_text(),
    }
}

fn mismatch(sign: &str, args: &[Type], place: Range<usize>) -> Fault {
    let kinds: Vec<String> = args.iter().map(Type::to_string).collect();
    let fault =
        Fault::new("spb::expr::type", place, format!("`{sign}` does not work with {}", kinds.join(" and ")))
            .label(format!("{} here", kinds.join(" and ")));
    match args {
        [left, right] if sign == "+" && (left.is_text() || right.is_text()) => fault.help(
            "make both texts, as in `string(inputs.count) + \"x\"`, or write two `${{ }}` side by side",
        ),
        [Type::Integer, Type::Number] | [Type::Number, Type::Integer] => {
            fault.help("make both numbers of one kind: write `2.0` for 2, or `double(inputs.count)`")
        }
        _ => fault,
    }
}

/// `target.name(args)`.
fn method(name: &str, target: &Type, args: &[Type], place: Range<usize>) -> Result<Type, Fault> {
    let text = target.is_text() || *target == Type::Any;
    let texts = |count: usize| {
        text && args.len() == count && args.iter().all(|arg| arg.is_text() || *arg == Type::Any)
    };
    let known = match name {
        "size" if args.is_empty() && sized(target) => Some(Type::Integer),
        "contains" | "startsWith" | "endsWith" | "matches" if texts(1) => Some(Type::Bool),
        "lower" | "upper" | "trim" if texts(0) => Some(Type::Text),
        "replace" if texts(2) => Some(Type::Text),
        "split" if texts(1) => Some(Type::list(Type::Text)),
        "join"
            if matches!(target, Type::List(_) | Type::Any)
                && matches!(args, [arg] if arg.is_text() || *arg == Type::Any) =>
        {
            Some(Type::Text)
        }
        _ => None,
    };
    known.ok_or_else(|| misuse(name, Some(target), args, place))
}

/// `name(args)`.
fn function(name: &str, args: &[Type], place: Range<usize>) -> Result<Type, Fault> {
    let scalar = |kind: &Type| {
        !matches!(kind, Type::List(_) | Type::Map(_) | Type::Record(_) | Type::Need(_) | Type::Null)
    };
    let known = match (name, args) {
        ("size", [kind]) if sized(kind) => Some(Type::Integer),
        ("string", [kind]) if scalar(kind) => Some(Type::Text),
        ("int", [kind]) if scalar(kind) && *kind != Type::Bool => Some(Type::Integer),
        ("double", [kind]) if scalar(kind) && *kind != Type::Bool => Some(Type::Number),
        ("bool", [kind]) if kind.is_text() || matches!(kind, Type::Bool | Type::Any) => Some(Type::Bool),
        ("matches", [text, pattern])
            if [text, pattern].iter().all(|kind| kind.is_text() || **kind == Type::Any) =>
        {
            Some(Type::Bool)
        }
        ("dyn", [_]) => Some(Type::Any),
        _ => None,
    };
    known.ok_or_else(|| misuse(name, None, args, place))
}

fn sized(kind: &Type) -> bool {
    matches!(
        kind,
        Type::Any
            | Type::Text
            | Type::Status
            | Type::List(_)
            | Type::Map(_)
            | Type::Record(_)
            | Type::Need(_)
    )
}

/// Every function with how it is called: `text.name(...)` on a text, `list.name(...)` on a list, else `name(...)`.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    FUNCTIONS.into_iter().map(|name| (name, usage(name)))
}

/// How a function is called.
fn usage(name: &str) -> &'static str {
    match name {
        "size" => "`size(list)` or `text.size()`",
        "contains" => "`text.contains(\"part\")`; for lists: `\"item\" in list`",
        "startsWith" => "`text.startsWith(\"part\")`",
        "endsWith" => "`text.endsWith(\"part\")`",
        "matches" => "`text.matches(\"[a-z]+\")`",
        "lower" => "`text.lower()`",
        "upper" => "`text.upper()`",
        "trim" => "`text.trim()`",
        "split" => "`text.split(\",\")`",
        "replace" => "`text.replace(\"old\", \"new\")`",
        "join" => "`list.join(\", \")`",
        "string" => "`string(value)` of a text, number or boolean",
        "int" => "`int(value)` of a text or number",
        "double" => "`double(value)` of a text or number",
        "bool" => "`bool(text)`",
        "has" => "`has(inputs.settings.name)`",
        "map" => "`list.map(item, item + \".md\")`",
        "filter" => "`list.filter(item, item.endsWith(\".rs\"))`",
        "all" => "`list.all(item, item != \"\")`",
        "exists" => "`list.exists(item, item == \"a\")`",
        "exists_one" => "`list.exists_one(item, item == \"a\")`",
        "success" => "`success()`: all needs succeeded",
        "failure" => "`failure()`: at least one need failed or timed out",
        "always" => "`always()`: also when needs failed or were skipped",
        _ => "`dyn(value)`",
    }
}

fn misuse(name: &str, target: Option<&Type>, args: &[Type], place: Range<usize>) -> Fault {
    let kinds: Vec<String> = target.into_iter().chain(args).map(Type::to_string).collect();
    let with = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(" and ") };
    Fault::new("spb::expr::function", place, format!("`{name}` does not work with {with}"))
        .label(format!("called with {with}"))
        .help(format!("write {}", usage(name)))
}

fn unknown(name: &str, place: Range<usize>) -> Fault {
    let fault = Fault::new("spb::expr::function", place, format!("there is no function `{name}`"))
        .label("unknown function");
    let instead = match name {
        "toJSON" | "toJson" => Some("a list or a map that stands alone in `${{ }}` becomes JSON by itself"),
        "fromJSON" | "fromJson" => {
            Some("an output with `format: json` is looked into as it is: `needs.x.outputs.y.z`")
        }
        "format" => Some("write several `${{ }}` into one text, or join texts with `+`"),
        "hashFiles" => Some("files that the result depends on are called `reads`, and are part of its key"),
        _ => None,
    };
    if let Some(instead) = instead {
        return fault.help(instead);
    }
    let elsewhere = match name {
        "lowerAscii" | "toLowerCase" => Some("lower"),
        "upperAscii" | "toUpperCase" => Some("upper"),
        "length" | "len" | "count" => Some("size"),
        "cancelled" | "canceled" => Some("failure"),
        _ => suggest::nearest(name, FUNCTIONS.into_iter()),
    };
    match elsewhere {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault.help(format!("functions: {}", suggest::list(FUNCTIONS.into_iter()))),
    }
}
