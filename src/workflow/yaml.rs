//! The positioned tree of a YAML text: every value and key with its bytes in the source, scalars in the author's
//! spelling. Knows how YAML 1.2 reads a plain scalar; knows nothing of parsing or of what the keys mean.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::problem::Span;

/// One value of the file.
#[derive(Clone, Debug)]
pub struct Yaml<'a> {
    pub span: Span,
    pub kind: Kind<'a>,
}

#[derive(Clone, Debug)]
pub enum Kind<'a> {
    Scalar(Scalar<'a>),
    List(Vec<Yaml<'a>>),
    Map(Vec<Entry<'a>>),
}

/// Text as written, after quotes and escapes are undone.
#[derive(Clone, Debug)]
pub struct Scalar<'a> {
    pub text: Cow<'a, str>,
    /// Without quotes, so that `1` is a number and `true` a boolean.
    pub plain: bool,
}

#[derive(Clone, Debug)]
pub struct Entry<'a> {
    pub key: Cow<'a, str>,
    pub key_span: Span,
    pub value: Yaml<'a>,
}

/// What YAML 1.2 (core schema) makes of a scalar.
#[derive(Clone, Debug, PartialEq)]
pub enum Atom<'t> {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(&'t str),
}

impl Scalar<'_> {
    pub fn atom(&self) -> Atom<'_> {
        if self.plain { atom(&self.text) } else { Atom::Text(&self.text) }
    }
}

impl<'a> Yaml<'a> {
    pub fn entries(&self) -> &[Entry<'a>] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Scalar(_) | Kind::List(_) => &[],
        }
    }

    pub fn items(&self) -> &[Yaml<'a>] {
        match &self.kind {
            Kind::List(items) => items,
            Kind::Scalar(_) | Kind::Map(_) => &[],
        }
    }

    /// The value of a key, for maps.
    pub fn get(&self, key: &str) -> Option<&Yaml<'a>> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The spelling of a scalar: `1.10` stays `1.10`.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(&scalar.text),
            Kind::List(_) | Kind::Map(_) => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.atom() == Atom::Null)
    }

    /// What a person would call it: `a list`, `the number 3`, `the text "x"`.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
            Kind::Scalar(scalar) => match scalar.atom() {
                Atom::Null => "nothing".to_owned(),
                Atom::Bool(_) => format!("the boolean `{}`", scalar.text),
                Atom::Integer(_) | Atom::Number(_) => format!("the number `{}`", shorten(&scalar.text)),
                Atom::Text(text) => format!("the text {:?}", shorten(text)),
            },
        }
    }

    /// Its JSON value. `None` for what JSON cannot hold: an infinite number, or none.
    pub fn to_json(&self) -> Option<Json> {
        Some(match &self.kind {
            Kind::List(items) => Json::Array(items.iter().map(Yaml::to_json).collect::<Option<_>>()?),
            Kind::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|entry| Some((entry.key.to_string(), entry.value.to_json()?)))
                    .collect::<Option<_>>()?,
            ),
            Kind::Scalar(scalar) => match scalar.atom() {
                Atom::Null => Json::Null,
                Atom::Bool(value) => Json::Bool(value),
                Atom::Integer(value) => Json::from(value),
                Atom::Number(value) => Json::Number(serde_json::Number::from_f64(value)?),
                Atom::Text(text) => Json::String(text.to_owned()),
            },
        })
    }

    /// The same value for `serde_yaml`, which deserialises pieces of the file into the wire types. Numbers and
    /// booleans carry their spelling as a tag: a field of numbers looks through it, one of texts reads it, so that
    /// `1.10` stays `1.10`.
    pub fn to_serde(&self) -> serde_yaml::Value {
        use serde_yaml::Value;
        let spelled = |text: &str, value: Value| {
            Value::Tagged(Box::new(serde_yaml::value::TaggedValue {
                tag: serde_yaml::value::Tag::new(text),
                value,
            }))
        };
        match &self.kind {
            Kind::List(items) => Value::Sequence(items.iter().map(Yaml::to_serde).collect()),
            Kind::Map(entries) => Value::Mapping(
                entries
                    .iter()
                    .map(|entry| (Value::from(entry.key.as_ref()), entry.value.to_serde()))
                    .collect(),
            ),
            Kind::Scalar(scalar) => match scalar.atom() {
                Atom::Null => Value::Null,
                Atom::Bool(value) => spelled(&scalar.text, Value::from(value)),
                Atom::Integer(value) => spelled(&scalar.text, Value::from(value)),
                Atom::Number(value) => spelled(&scalar.text, Value::from(value)),
                Atom::Text(text) => Value::from(text),
            },
        }
    }

    /// The same tree of its own, with its places further on.
    pub fn moved(self, by: usize) -> Yaml<'static> {
        let kind = match self.kind {
            Kind::Scalar(Scalar { text, plain }) => {
                Kind::Scalar(Scalar { text: Cow::Owned(text.into_owned()), plain })
            }
            Kind::List(items) => Kind::List(items.into_iter().map(|item| item.moved(by)).collect()),
            Kind::Map(entries) => Kind::Map(
                entries
                    .into_iter()
                    .map(|entry| Entry {
                        key: Cow::Owned(entry.key.into_owned()),
                        key_span: entry.key_span.moved(by),
                        value: entry.value.moved(by),
                    })
                    .collect(),
            ),
        };
        Yaml { span: self.span.moved(by), kind }
    }

    /// How many values it holds, itself included, and how deep they nest.
    pub fn measure(&self) -> (usize, usize) {
        let children: Vec<(usize, usize)> = match &self.kind {
            Kind::Scalar(_) => return (1, 1),
            Kind::List(items) => items.iter().map(Yaml::measure).collect(),
            Kind::Map(entries) => entries.iter().map(|entry| entry.value.measure()).collect(),
        };
        children.iter().fold((1, 1), |(count, depth), child| (count + child.0, depth.max(child.1 + 1)))
    }
}

/// A name in backticks; one that could not be told from the sentence around it, in quotes.
pub fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_-./* ".contains(c));
    if plain { format!("`{}`", shorten(text)) } else { format!("{:?}", shorten(text)) }
}

/// At most 40 characters of a text that goes into a message.
pub fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(40) {
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Resolves a plain scalar by the core schema of YAML 1.2 (section 10.3.2): `no` is a text.
fn atom(text: &str) -> Atom<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Atom::Null,
        "true" | "True" | "TRUE" => return Atom::Bool(true),
        "false" | "False" | "FALSE" => return Atom::Bool(false),
        _ => {}
    }
    let first = text.as_bytes()[0];
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return Atom::Text(text);
    }
    integer(text).or_else(|| float(text)).unwrap_or(Atom::Text(text))
}

fn integer(text: &str) -> Option<Atom<'_>> {
    let radix = |digits: &str, base| match digits.starts_with(['+', '-']) {
        true => None,
        false => i64::from_str_radix(digits, base).ok(),
    };
    match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(digits), _) => radix(digits, 16),
        (_, Some(digits)) => radix(digits, 8),
        _ => text.parse().ok(),
    }
    .map(Atom::Integer)
}

fn float(text: &str) -> Option<Atom<'_>> {
    match text {
        ".nan" | ".NaN" | ".NAN" => return Some(Atom::Number(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(Atom::Number(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => return Some(Atom::Number(f64::NEG_INFINITY)),
        _ => {}
    }
    let numeric =
        text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    (numeric && text.bytes().any(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
        .map(Atom::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_yaml_1_2() {
        let cases = [
            ("no", Atom::Text("no")),
            ("yes", Atom::Text("yes")),
            ("on", Atom::Text("on")),
            ("~", Atom::Null),
            ("", Atom::Null),
            ("True", Atom::Bool(true)),
            ("tRue", Atom::Text("tRue")),
            ("1", Atom::Integer(1)),
            ("+1", Atom::Integer(1)),
            ("-7", Atom::Integer(-7)),
            ("010", Atom::Integer(10)),
            ("0o10", Atom::Integer(8)),
            ("0x1F", Atom::Integer(31)),
            ("0x-1", Atom::Text("0x-1")),
            ("1.10", Atom::Number(1.1)),
            ("1e3", Atom::Number(1000.0)),
            (".5", Atom::Number(0.5)),
            ("1.2.3", Atom::Text("1.2.3")),
            ("1-2", Atom::Text("1-2")),
            ("-", Atom::Text("-")),
            (".", Atom::Text(".")),
            ("12:30", Atom::Text("12:30")),
            ("1_000", Atom::Text("1_000")),
            ("-.inf", Atom::Number(f64::NEG_INFINITY)),
            ("inf", Atom::Text("inf")),
            ("99999999999999999999", Atom::Number(1e20)),
        ];
        for (text, expect) in cases {
            assert_eq!(atom(text), expect, "{text}");
        }
        assert!(matches!(atom(".nan"), Atom::Number(value) if value.is_nan()));
    }
}
