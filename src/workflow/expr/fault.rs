//! Words and remedies for what `infer` finds. Knows nothing of syntax.

use std::ops::Range;

use super::Fault;
use super::types::{NEED_FIELDS, Names, Record, STATUSES, Type, What};
use crate::workflow::suggest;

/// Names of the language that no place of this version knows.
const LATER: [&str; 1] = ["memory"];

pub fn unknown_root(name: &str, range: Range<usize>, names: &Names<'_>) -> Fault {
    let readable = || suggest::list(names.roots.iter().map(|(root, _)| *root));
    let place = names.place;
    if name == "item" || name == "loop" {
        let key = if name == "item" { "for_each" } else { "loop" };
        return Fault::new(
            "spb::expr::not_here",
            range,
            format!("`{name}` is only known where a node with `{key}` runs"),
        )
        .label("not known here")
        .help(format!("{place} may read {}", readable()));
    }
    if LATER.contains(&name) {
        return Fault::new(
            "spb::expr::unsupported",
            range,
            format!("this version of spb does not know `{name}` yet"),
        )
        .label("not in this version");
    }
    if name == "matrix" && place == "a node" {
        return Fault::new("spb::expr::unknown_axis", range, "this node has no `matrix`")
            .label("no matrix here")
            .help("add one: `matrix: { os: [linux, macos] }`");
    }
    if ["inputs", "env", "matrix", "needs", "run"].contains(&name) {
        return Fault::new("spb::expr::not_here", range, format!("`{name}` cannot be read in {place}"))
            .label("not known here")
            .help(format!("{place} may read {}", readable()));
    }
    let fault = Fault::new("spb::expr::unknown_name", range, format!("there is no `{name}` here"))
        .label("unknown name");
    if ["github", "secrets", "steps", "vars", "job"].contains(&name) {
        return fault.help(elsewhere(name));
    }
    if let Some(near) = suggest::nearest(name, names.roots.iter().map(|(root, _)| *root)) {
        return fault.help(format!("did you mean `{near}`?"));
    }
    for (root, kind) in &names.roots {
        if let Type::Record(record) = kind
            && record.fields.contains_key(name)
        {
            return fault.help(format!("did you mean `{root}.{name}`?"));
        }
    }
    if ["success", "failure", "always"].contains(&name) {
        return fault.help(format!("it is a function of conditions: `when: {name}()`"));
    }
    fault.help(format!("{place} may read {}; a text needs quotes: `\"{name}\"`", readable()))
}

fn elsewhere(name: &str) -> &'static str {
    match name {
        "secrets" => {
            "secrets are never part of an expression: name them under `secrets`, and scripts find them in the environment"
        }
        "steps" => "values of other nodes are read as `needs.<node>.outputs.<name>`",
        "vars" => "parameters are read as `inputs.<name>`, variables as `env.<name>`",
        _ => "what a run knows of itself is read as `run.id`, `run.workflow`, `run.base` and `run.branch`",
    }
}

pub fn unknown_field(record: &Record, name: &str, range: Range<usize>, names: &Names<'_>) -> Fault {
    let fields = || record.fields.keys().map(String::as_str);
    let fault = match &record.what {
        What::Inputs => Fault::new("spb::expr::unknown_input", range, format!("there is no input `{name}`")),
        What::Env => {
            Fault::new("spb::expr::unknown_env", range, format!("the workflow's `env` has no `{name}`"))
        }
        What::Matrix => {
            Fault::new("spb::expr::unknown_axis", range, format!("the matrix of this node has no `{name}`"))
        }
        What::Needs => return unknown_need(record, name, range, names),
        What::Outputs(node) => {
            Fault::new("spb::expr::unknown_output", range, format!("`{node}` has no output `{name}`"))
        }
        What::UsedOutputs { node, file } => Fault::new(
            "spb::expr::unknown_output",
            range,
            format!("`{node}` has no output `{name}`: the workflow `{file}` hands on none of this name"),
        ),
        What::Run => Fault::new("spb::expr::unknown_field", range, format!("`run` has no `{name}`")),
        What::Loop => Fault::new("spb::expr::unknown_field", range, format!("`loop` has no `{name}`")),
        What::Value(value) | What::Open(value) => {
            Fault::new("spb::expr::unknown_field", range, format!("the schema of `{value}` has no `{name}`"))
        }
    }
    .label("unknown");
    if let Some(near) = renamed(&record.what, name).or_else(|| suggest::nearest(name, fields())) {
        return fault.help(format!("did you mean `{near}`?"));
    }
    if let Some(minus) = name.find('-')
        && record.fields.contains_key(&name[..minus])
    {
        return fault.help(format!(
            "`-` is part of a name; to subtract, put blanks around it: `{} - {}`",
            &name[..minus],
            &name[minus + 1..]
        ));
    }
    fault.help(match &record.what {
        What::Inputs => format!(
            "declare it: `inputs: {{ {name}: {{ type: string }} }}`; declared: {}",
            suggest::list(fields())
        ),
        What::Env => format!("only the top-level `env` can be read; it has {}", suggest::list(fields())),
        What::Outputs(node) => format!(
            "declare it in `{node}`: `outputs: {{ {name}: {{}} }}`; declared: {}",
            suggest::list(fields())
        ),
        What::UsedOutputs { file, .. } => format!(
            "name it in `{file}`: `outputs: {{ {name}: \"${{{{ needs.<node>.outputs.{name} }}}}\" }}`; named: {}",
            suggest::list(fields())
        ),
        What::Matrix | What::Run | What::Loop | What::Needs | What::Value(_) | What::Open(_) => {
            format!("known: {}", suggest::list(fields()))
        }
    })
}

/// A field that no need has. Other tools have some of them under another name.
pub fn unknown_need_field(name: &str, range: Range<usize>) -> Fault {
    let fault =
        Fault::new("spb::expr::unknown_field", range, format!("a need has no `{name}`")).label("unknown");
    let near = match name {
        "result" | "outcome" | "conclusion" => Some("status"),
        "output" => Some("outputs"),
        "changes" | "files" => Some("changed_files"),
        "sha" => Some("commit"),
        _ => suggest::nearest(name, NEED_FIELDS.into_iter()),
    };
    match near {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault.help(format!("known: {}", suggest::list(NEED_FIELDS.into_iter()))),
    }
}

/// Fields of `run` that other tools have under another name.
fn renamed(what: &What, name: &str) -> Option<&'static str> {
    match (what, name) {
        (What::Run, "name") => Some("workflow"),
        (What::Run, "ref") => Some("branch"),
        (What::Loop, "iteration" | "round" | "count") => Some("index"),
        _ => None,
    }
}

fn unknown_need(record: &Record, name: &str, range: Range<usize>, names: &Names<'_>) -> Fault {
    let needs: Vec<&str> = record.fields.keys().map(String::as_str).collect();
    if names.nodes.place(name).is_some() {
        let all: Vec<&str> = needs.iter().copied().take(8).chain([name]).collect();
        return Fault::new(
            "spb::expr::not_needed",
            range,
            format!("`{name}` is not among the `needs` of this node"),
        )
        .label("not a need")
        .help(format!("add it: `needs: [{}]`", all.join(", ")));
    }
    let fault = Fault::new("spb::expr::unknown_node", range, format!("there is no node `{name}`"))
        .label("unknown node");
    let near = suggest::nearest(name, needs.iter().copied()).or_else(|| names.nodes.nearest(name));
    match near {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None if names.place == "`outputs`" => fault.help("nodes are the keys under `nodes`"),
        None => fault.help(format!("this node needs {}", suggest::list(needs.into_iter()))),
    }
}

pub fn no_fields(base: &Type, name: &str, range: Range<usize>) -> Fault {
    let fault =
        Fault::new("spb::expr::type", range, format!("{base} has no `{name}`")).label("nothing inside");
    match base {
        Type::List(_) => fault
            .help(format!("this is a list: take one item, as in `[0].{name}`, or `.map(item, item.{name})`")),
        _ => fault,
    }
}

pub fn not_a_list(found: &Type, range: Range<usize>) -> Fault {
    Fault::new("spb::expr::type", range, format!("a loop needs a list, not {found}")).label(found.to_string())
}

pub fn not_a_boolean(found: &Type, range: Range<usize>) -> Fault {
    let fault = Fault::new("spb::expr::type", range, format!("expected true or false, not {found}"))
        .label(found.to_string());
    match found {
        Type::Text | Type::Status => fault.help(
            "compare it, as in `x == \"yes\"` or `x != \"\"`; one of two values is `condition ? one : other`",
        ),
        Type::Integer | Type::Number => fault.help("compare it, as in `x > 0`"),
        Type::List(_) => fault.help("compare its size, as in `x.size() > 0`"),
        _ => fault,
    }
}

pub fn never_equal(left: &Type, right: &Type, range: Range<usize>) -> Fault {
    let fault = Fault::new("spb::expr::type", range, format!("{left} never equals {right}"))
        .label(format!("{left} and {right}"));
    match (left, right) {
        (Type::Text | Type::Status, Type::Integer | Type::Number | Type::Bool) => {
            fault.help("put the value into quotes")
        }
        (Type::Integer | Type::Number | Type::Bool, Type::Text | Type::Status) => {
            fault.help("remove the quotes")
        }
        _ => fault,
    }
}

pub fn unknown_status(found: &str, range: Range<usize>) -> Fault {
    let fault = Fault::new("spb::expr::status", range, format!("no node ever has the status {found:?}"))
        .label("unknown status");
    match found {
        "success" | "succeed" | "ok" => fault.help("did you mean \"succeeded\"?"),
        "cached" => fault.help("a result from the cache has the status \"succeeded\""),
        "failure" | "error" => fault.help("did you mean \"failed\"?"),
        _ => fault.help(format!("a status is one of {}", suggest::list(STATUSES.into_iter()))),
    }
}

pub fn bad_index(base: &Type, index: &Type, range: Range<usize>) -> Fault {
    let message = match base {
        Type::List(_) => format!("a list is indexed by an integer, not by {index}"),
        Type::Map(_) | Type::Record(_) | Type::Need(_) => {
            format!("a map is indexed by a text, not by {index}")
        }
        _ => format!("{base} has no items"),
    };
    Fault::new("spb::expr::type", range, message).label("wrong index")
}

pub fn status_outside_condition(name: &str, range: Range<usize>) -> Fault {
    Fault::new("spb::expr::not_here", range, format!("`{name}()` is known in `when` only"))
        .label("not a condition")
        .help("the status of one need is read as `needs.<node>.status`")
}

/// The whole expression has the wrong type for its place.
pub fn wrong_result(expected: &str, found: &Type, range: Range<usize>, help: &str) -> Fault {
    Fault::new("spb::expr::type", range, format!("{expected}, not {found}"))
        .label(found.to_string())
        .help(help)
}
