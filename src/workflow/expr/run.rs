//! Values of expressions. No effects, and a bounded amount of work: a guarded tree pays for every name it reads and
//! every round of a loop. Knows nothing of places in the file.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::common::types::{CelBool, CelList, CelMap, CelString, DYN_TYPE, LIST_TYPE, STRING_TYPE};
use cel::common::value::{CowVal, Val};
use cel::objects::{Key, Map};
use cel::{Context, Env, ExecutionError, Value};
use serde_json::Value as Json;

use super::lex::LOOP;
use super::program::{CHARGE, Expression, Form, TICK, Tree};
use super::{NeedsStatus, Scope};

/// What one evaluation may spend: a unit per round of a loop, one per value that it reads, and one per
/// [`TEXT_PER_UNIT`] bytes of text.
const FUEL: u64 = 1024 * 1024;
const TEXT_PER_UNIT: u64 = 32;

thread_local! {
    /// What is left for the evaluation that runs on this thread.
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

/// The functions of the language: CEL's own, and a few on texts and lists.
static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(environment().expect("the names are ours alone")));

/// The value of an expression.
///
/// # Errors
/// Why it has none, in words that follow "... has no value: ".
pub fn evaluate(expression: &Expression, scope: &Scope, status: Option<NeedsStatus>) -> Result<Json, String> {
    match &expression.form {
        Form::Path(path) => lookup(path.segments(), scope).cloned(),
        Form::Cel(tree) => run(tree, expression, scope, status),
    }
}

fn lookup<'s>(path: &[String], scope: &'s Scope) -> Result<&'s Json, String> {
    let (root, rest) = path.split_first().expect("a path has a first name");
    let mut value = scope.get(root).ok_or_else(|| format!("there is no `{root}` here"))?;
    for (index, segment) in rest.iter().enumerate() {
        let inner = match value {
            Json::Object(fields) => fields.get(segment),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => None,
        };
        value = inner.ok_or_else(|| format!("there is no `{segment}` in `{}`", path[..=index].join(".")))?;
    }
    Ok(value)
}

fn run(
    tree: &Tree,
    expression: &Expression,
    scope: &Scope,
    status: Option<NeedsStatus>,
) -> Result<Json, String> {
    let mut context = Context::with_env(ENVIRONMENT.clone());
    for path in &expression.references {
        let root = path.root();
        if let Some(value) = scope.get(root) {
            let name = if root == LOOP.0 { LOOP.1 } else { root };
            context.add_variable_from_value(name, to_cel(value));
        }
    }
    if let Some(status) = status {
        let functions = [("success", status.all_succeeded), ("failure", status.any_failed), ("always", true)];
        for (name, value) in functions {
            context.add_function(name, move || value).expect("CEL has no function of this name");
        }
    }
    LEFT.set(FUEL);
    let value = Value::resolve(&tree.guarded, &context).map_err(|error| plain(&error))?;
    from_cel(&value)
}

/// What is wrong, without the names of CEL's internals.
fn plain(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("there is no `{key}`"),
        ExecutionError::UndeclaredReference(name) => format!("there is no `{name}` here"),
        ExecutionError::FunctionError { message, .. } => message.clone(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "it divides by zero".to_owned()
        }
        ExecutionError::IndexOutOfBounds(index) => match index {
            Value::Int(index) => format!("the list has no item {index}"),
            _ => "the list has no such item".to_owned(),
        },
        ExecutionError::Overflow(..) => "a number becomes too large".to_owned(),
        ExecutionError::NoSuchOverload(call) => format!(
            "`{}` does not work with {}",
            call.function().trim_matches(['_', '@']),
            call.argument_types().join(" and ")
        ),
        ExecutionError::UnsupportedBinaryOperator(name, left, right) => {
            format!("cannot {name} {} and {}", left.type_of(), right.type_of())
        }
        other => other.to_string(),
    }
}

pub(super) fn to_cel(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::Int(value),
            (None, Some(value)) => Value::UInt(value),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Json::Object(fields) => {
            let fields =
                fields.iter().map(|(key, value)| (Key::String(Arc::new(key.clone())), to_cel(value)));
            Value::Map(Map { map: Arc::new(fields.collect::<HashMap<_, _>>()) })
        }
    }
}

fn from_cel(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::UInt(value) => Json::from(*value),
        Value::Float(value) => {
            Json::Number(serde_json::Number::from_f64(*value).ok_or("the number is infinite or undefined")?)
        }
        Value::String(text) => Json::String(text.to_string()),
        Value::List(items) => Json::Array(items.iter().map(from_cel).collect::<Result<_, _>>()?),
        Value::Map(map) => {
            // CEL's maps have no order: sorted, so that the same map is always the same text.
            let mut fields: Vec<(String, &Value)> =
                map.map.iter().map(|(key, value)| (key.to_string(), value)).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            let fields: Result<_, String> =
                fields.into_iter().map(|(key, value)| Ok((key, from_cel(value)?))).collect();
            Json::Object(fields?)
        }
        other => return Err(format!("it is a {}, which has no form outside expressions", other.type_of())),
    })
}

fn environment() -> Result<Env, cel::DeclarationError> {
    let mut env = Env::stdlib().with_optional_support(false);
    env.add_overload(TICK, "tick", vec![], |_| {
        spend(1)?;
        Ok(CowVal::owned(CelBool::from(true)))
    })?;
    env.add_overload(CHARGE, "charge", vec![DYN_TYPE], |mut args| {
        let value = args.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
        spend(size(value.as_ref()))?;
        Ok(value)
    })?;
    env.add_member_overload("lower", "string_lower", STRING_TYPE, vec![], |args| {
        Ok(text(own(&args, 0)?.to_lowercase()))
    })?;
    env.add_member_overload("upper", "string_upper", STRING_TYPE, vec![], |args| {
        Ok(text(own(&args, 0)?.to_uppercase()))
    })?;
    env.add_member_overload("trim", "string_trim", STRING_TYPE, vec![], |args| {
        Ok(text(own(&args, 0)?.trim().to_owned()))
    })?;
    env.add_member_overload("split", "string_split", STRING_TYPE, vec![STRING_TYPE], |args| {
        let parts = own(&args, 0)?.split(own(&args, 1)?).map(|part| Value::String(Arc::new(part.to_owned())));
        list(parts.collect())
    })?;
    env.add_member_overload(
        "replace",
        "string_replace",
        STRING_TYPE,
        vec![STRING_TYPE, STRING_TYPE],
        |args| {
            let (whole, old, new) = (own(&args, 0)?, own(&args, 1)?, own(&args, 2)?);
            spend(units(whole.matches(old).count().saturating_mul(new.len())))?;
            Ok(text(whole.replace(old, new)))
        },
    )?;
    env.add_member_overload("join", "list_join", LIST_TYPE, vec![STRING_TYPE], |args| {
        let items = Value::try_from(args[0].as_ref())?;
        let (Value::List(items), separator) = (items, own(&args, 1)?) else {
            return Err(ExecutionError::function_error("join", "`join` needs a list"));
        };
        spend(units(items.len().saturating_mul(separator.len())))?;
        let texts: Result<Vec<String>, String> =
            items.iter().map(|item| from_cel(item).map(|json| super::text_of(&json))).collect();
        Ok(text(texts.map_err(|error| ExecutionError::function_error("join", error))?.join(separator)))
    })?;
    Ok(env)
}

fn spend(units: u64) -> Result<(), ExecutionError> {
    let left = LEFT.get().checked_sub(units);
    LEFT.set(left.unwrap_or(0));
    left.map(drop).ok_or_else(|| ExecutionError::function_error("", "it takes too much work"))
}

/// What reading a value costs.
fn size(value: &dyn Val) -> u64 {
    if let Some(text) = value.downcast_ref::<CelString>() {
        return units(text.inner().len());
    }
    if let Some(list) = value.downcast_ref::<CelList>() {
        return 1 + list.inner().iter().map(|item| size(item.as_ref())).sum::<u64>();
    }
    match value.downcast_ref::<CelMap>() {
        Some(map) => 1 + map.inner().values().map(|item| 1 + size(item.as_ref())).sum::<u64>(),
        None => 1,
    }
}

fn units(bytes: usize) -> u64 {
    1 + bytes as u64 / TEXT_PER_UNIT
}

/// The text that an argument is; the declared types of the overload guarantee one.
fn own<'a>(args: &'a [CowVal<'_, '_>], index: usize) -> Result<&'a str, ExecutionError> {
    let text = args.get(index).and_then(|value| value.as_ref().downcast_ref::<CelString>());
    text.map(|text| text.inner()).ok_or_else(ExecutionError::missing_argument_or_target)
}

fn text<'b, 'v>(text: String) -> CowVal<'b, 'v> {
    CowVal::owned(CelString::from(text))
}

fn list<'b, 'v>(items: Vec<Value>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let value: Box<dyn Val> = Value::List(Arc::new(items)).try_into()?;
    Ok(CowVal::Owned(value))
}
