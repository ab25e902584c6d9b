//! What expressions are worth, and what is said of wrong ones.

use std::collections::HashMap;

use serde_json::json;

use super::types::What;
use super::*;
use crate::workflow::suggest::NodeIndex;

fn scope() -> Scope {
    let names = json!({
        "inputs": {
            "task": "say \"hi\"; rm -rf / $(x) `y` ${{ inputs.secret }}\nnext", "count": 3, "ratio": 0.5, "flag": true,
            "files": ["a.rs", "b.md"], "settings": {"name": "x", "a-b": 1}, "whole": 2.0, "none": null
        },
        "matrix": {"os": "linux"},
        "needs": {"my-node": {"outputs": {"x": "1", "list": [1, 2]}, "status": "succeeded"}},
        "run": {"id": "r1"}
    });
    let mut scope = Scope::default();
    for name in ["inputs", "env", "matrix", "needs", "run"] {
        if let Some(value) = names.get(name) {
            scope.set(name, value.clone());
        }
    }
    scope
}

#[track_caller]
fn renders(text: &str, expect: &str) {
    let template = Template::compile(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
    assert_eq!(template.render(&scope()).as_deref(), Ok(expect), "{text}");
}

#[track_caller]
fn worth(text: &str, expect: Value) {
    let template = Template::compile(&format!("${{{{ {text} }}}}"))
        .unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
    assert_eq!(template.value(&scope()), Ok(expect), "{text}");
}

#[track_caller]
fn worthless(text: &str, reason: &str) {
    let template = Template::compile(&format!("${{{{ {text} }}}}"))
        .unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
    assert_eq!(template.value(&scope()).map_err(|error| error.reason), Err(reason.to_owned()), "{text}");
}

#[test]
fn texts_are_rendered_plainly() {
    renders("plain", "plain");
    renders("${{ inputs.count }} of ${{ inputs.ratio }} is ${{ inputs.flag }}", "3 of 0.5 is true");
    renders("${{ inputs.whole }}", "2");
    renders("[${{ inputs.none }}]", "[]");
    renders("${{ inputs.files }} ${{ inputs.settings }}", "[\"a.rs\",\"b.md\"] {\"name\":\"x\",\"a-b\":1}");
    renders("${{ \"${{\" }} ${{ '}}' }}", "${{ }}");
    renders("a ${{ needs.my-node.outputs.x }} b", "a 1 b");
    renders("${{ {\"b\": 1, \"a\": [true]} }}", "{\"a\":[true],\"b\":1}");
    renders("$${{ inputs.count }}", "$3");
}

#[test]
fn values_are_never_parsed_again() {
    let hostile = scope().get("inputs").unwrap()["task"].as_str().unwrap().to_owned();
    renders("${{ inputs.task }}", &hostile);
    renders("<${{ inputs.task }}>", &format!("<{hostile}>"));
    worth("inputs.task + inputs.task", json!(format!("{hostile}{hostile}")));
    assert_eq!(Template::constant("${{ inputs.count }}").render(&scope()).unwrap(), "${{ inputs.count }}");
}

#[test]
fn single_expressions_keep_their_type() {
    worth("inputs.files", json!(["a.rs", "b.md"]));
    worth("inputs.count + 1", json!(4));
    worth("inputs.count - 1", json!(2));
    worth("inputs.ratio * 2.0", json!(1.0));
    worth("inputs.count > 2 && inputs.flag", json!(true));
    worth("inputs.flag ? \"yes\" : \"no\"", json!("yes"));
    worth("inputs.settings[\"a-b\"]", json!(1));
    worth("inputs.settings.a-b", json!(1));
    worth("needs[\"my-node\"].outputs.list[1]", json!(2));
    worth("needs.my-node.outputs.list.map(n, n * 10)", json!([10, 20]));
    worth("inputs.files.filter(f, f.endsWith(\".rs\"))", json!(["a.rs"]));
    worth("inputs.files.exists(f, f == \"b.md\")", json!(true));
    worth("size(inputs.files)", json!(2));
    worth("\"a.rs\" in inputs.files", json!(true));
    worth("has(inputs.settings.name) && !has(inputs.settings.other)", json!(true));
    worth("string(inputs.count) + \"x\"", json!("3x"));
    worth("int(\"7\") + 1", json!(8));
    worth("inputs.files.join(\", \")", json!("a.rs, b.md"));
    worth("\" A,b \".trim().lower().split(\",\")", json!(["a", "b"]));
    worth("\"aXb\".replace(\"X\", \"-\").upper()", json!("A-B"));
    worth("null", Value::Null);
    worth("[1, inputs.none, \"x\"]", json!([1, null, "x"]));
}

#[test]
fn what_has_no_value_says_why() {
    worthless("inputs.nope", "there is no `nope` in `inputs`");
    worthless("inputs.count.x", "there is no `x` in `inputs.count`");
    worthless("env.X", "there is no `env` here");
    worthless("env.X + \"\"", "there is no `env` here");
    worthless("inputs.nope + 1", "there is no `nope`");
    worthless("1 / 0", "it divides by zero");
    worthless("inputs.files[7]", "the list has no item 7");
    worthless("inputs.count + \"x\"", "cannot add int and string");
    worthless("inputs.files < 1", "`<` does not work with list and int");
    worthless("9223372036854775807 + inputs.count", "a number becomes too large");
    worthless("1.0 / 0.0", "the number is infinite or undefined");
    worthless("b\"x\"", "it is a bytes, which has no form outside expressions");
}

#[test]
fn work_is_bounded_whatever_the_values_are() {
    let big: Vec<u64> = (0..20_000).collect();
    let text = "x".repeat(1 << 20);
    let mut scope = Scope::default();
    scope.set("inputs", json!({ "big": big, "text": text }));
    for text in [
        "inputs.big.map(a, inputs.big.map(b, inputs.big.map(c, a + b + c)))",
        "inputs.big.all(a, inputs.big.all(b, a >= 0))",
        "inputs.text.replace(\"x\", inputs.text)",
        "inputs.big.join(inputs.text)",
        "[inputs.text].map(a, a+a+a+a+a+a+a+a).map(a, a+a+a+a+a+a+a+a).map(a, a+a+a+a+a+a+a+a).map(a, a+a+a+a+a+a+a+a)",
        "[[1]].map(a, [a,a,a,a,a,a,a,a,a,a]).map(a, [a,a,a,a,a,a,a,a,a,a]).map(a, [a,a,a,a,a,a,a,a,a,a]).map(a, [a,a,a,a,a,a,a,a,a,a]).map(a, [a,a,a,a,a,a,a,a,a,a]).map(a, [a,a,a,a,a,a,a,a,a,a]).map(a, [a,a,a,a,a,a,a,a,a,a]).map(a, [a,a,a,a,a,a,a,a,a,a]).map(a, [a,a,a,a,a,a,a,a,a,a])",
    ] {
        let template = Template::compile(&format!("${{{{ {text} }}}}")).expect(text);
        let reason = template.value(&scope).map(|_| ()).map_err(|error| error.reason);
        assert_eq!(reason, Err("it takes too much work".to_owned()), "{text}");
    }
}

#[test]
fn conditions_know_the_status_of_needs() {
    let good = NeedsStatus { all_succeeded: true, any_failed: false };
    let bad = NeedsStatus { all_succeeded: false, any_failed: true };
    let skipped = NeedsStatus { all_succeeded: false, any_failed: false };
    let cases = [
        ("success()", StatusUse::ImpliedSuccess, [true, false, false]),
        ("inputs.flag", StatusUse::ImpliedSuccess, [true, false, false]),
        ("${{ inputs.flag }}", StatusUse::ImpliedSuccess, [true, false, false]),
        ("!inputs.flag", StatusUse::ImpliedSuccess, [false, false, false]),
        ("failure()", StatusUse::Explicit, [false, true, false]),
        ("always()", StatusUse::Explicit, [true, true, true]),
        ("always() && inputs.flag", StatusUse::Explicit, [true, true, true]),
        ("success() || failure()", StatusUse::Explicit, [true, true, false]),
        ("true", StatusUse::ImpliedSuccess, [true, false, false]),
    ];
    for (text, usage, expect) in cases {
        let condition = Condition::compile(text).expect(text);
        assert_eq!(condition.status_use(), usage, "{text}");
        let found = [good, bad, skipped].map(|needs| condition.holds(&scope(), needs).expect(text));
        assert_eq!(found, expect, "{text}");
    }
    assert!(Condition::success().holds(&Scope::default(), good).unwrap());
    let text = Condition::compile("inputs.count").unwrap().holds(&scope(), good).unwrap_err().to_string();
    assert_eq!(text, "`inputs.count` has no value: a condition is true or false, not 3");
}

#[test]
fn references_name_what_is_read() {
    let read = |text: &str| -> Vec<String> {
        Template::compile(text).expect(text).references().iter().map(NamePath::to_string).collect()
    };
    assert_eq!(
        read("${{ inputs.a }} ${{ needs.b-c.outputs.d + env.E }}"),
        ["inputs.a", "needs.b-c.outputs.d", "env.E"]
    );
    assert_eq!(read("${{ inputs.files.map(f, f + matrix.os) }}"), ["inputs.files", "matrix.os"]);
    assert_eq!(read("${{ needs[\"a\"].outputs.x }}"), ["needs.a.outputs.x"]);
    assert_eq!(read("${{ needs[inputs.which] }}"), ["needs", "inputs.which"]);
    assert_eq!(read("${{ has(inputs.a.b) }}"), ["inputs.a.b"]);
    assert_eq!(
        read("${{ inputs.a in [matrix.x] ? {\"k\": env.V} : null }}"),
        ["inputs.a", "matrix.x", "env.V"]
    );
}

#[test]
fn broken_grammar_is_pointed_at() {
    let fault = |text: &str| {
        let fault = Template::compile(text).expect_err(text).remove(0);
        (text[fault.range.clone()].to_owned(), fault.message)
    };
    let cases = [
        ("${{ inputs.a", "${{", "`${{` is never closed"),
        ("${{ }}", "", "the expression is empty"),
        ("${{ inputs.a + }}", "", "the expression ends too early"),
        ("${{ inputs.a = 1 }}", "=", "\"=\" does not fit here"),
        ("${{ a b }}", "b", "\"b\" does not fit here"),
        ("${{ (1 }}", "", "the expression ends too early"),
        ("x ${{ needs.my-node.outputs.x ++ }}", "+", "\"+\" does not fit here"),
        ("${{ //é }}", "é", "\"é\" does not fit here"),
        ("${{ f(`a`) }}", "`", "backticks are not part of the language"),
    ];
    for (text, place, message) in cases {
        assert_eq!(fault(text), (place.to_owned(), message.to_owned()), "{text}");
    }
}

fn index(names: &[&str]) -> NodeIndex {
    NodeIndex::new(names.iter().map(|name| (*name).to_owned()))
}

fn names(nodes: &NodeIndex) -> Names<'_> {
    let named = |name: &str, kind: Type| (name.to_owned(), kind);
    let outputs = Type::record(
        What::Outputs("build".to_owned()),
        [named("version", Type::Text), named("data", Type::Any)],
    );
    let build = Type::Need(Arc::new(outputs));
    let inputs = Type::record(
        What::Inputs,
        [
            named("task", Type::Text),
            named("count", Type::Integer),
            named("ratio", Type::Number),
            named("flag", Type::Bool),
            named("files", Type::list(Type::Text)),
            named("any", Type::Map(Box::new(Type::Any))),
        ],
    );
    Names {
        place: "a node",
        roots: vec![
            ("inputs", inputs),
            ("env", Type::record(What::Env, [named("HOME", Type::Text)])),
            ("run", Type::record(What::Run, [named("id", Type::Text)])),
            ("needs", Type::record(What::Needs, [named("build", build)])),
        ],
        nodes,
        renamed: HashMap::new(),
    }
}

#[test]
fn faults_are_found_before_anything_runs() {
    let nodes = index(&["build", "test"]);
    let names = names(&nodes);
    let cases = [
        ("inputs.tsk", "tsk", "there is no input `tsk`"),
        ("inputs.tsk + \"\"", "tsk", "there is no input `tsk`"),
        ("input.task", "input", "there is no `input` here"),
        ("task", "task", "there is no `task` here"),
        ("matrix.os", "matrix", "this node has no `matrix`"),
        ("item.x", "item", "`item` is only known where a node with `for_each` runs"),
        ("github.sha", "github", "there is no `github` here"),
        ("env.USER", "USER", "the workflow's `env` has no `USER`"),
        ("run.number", "number", "`run` has no `number`"),
        ("needs.test.status", "test", "`test` is not among the `needs` of this node"),
        ("needs.biuld.status", "biuld", "there is no node `biuld`"),
        ("needs.build.outputs.verison", "verison", "`build` has no output `verison`"),
        ("needs.build.output.version", "output", "a need has no `output`"),
        ("needs[\"nope\"].status == \"failed\"", "\"nope\"", "there is no node `nope`"),
        ("needs.build.status == \"success\"", "\"success\"", "no node ever has the status \"success\""),
        ("inputs.count-1", "count-1", "there is no input `count-1`"),
        ("inputs.count + \"x\"", "+", "`+` does not work with an integer and a text"),
        ("inputs.ratio * 2", "*", "`*` does not work with a number and an integer"),
        ("inputs.count == \"3\"", "==", "an integer never equals a text"),
        ("inputs.files == \"x\"", "==", "a list never equals a text"),
        ("inputs.task && true", "inputs.task", "expected true or false, not a text"),
        ("!inputs.count", "inputs.count", "expected true or false, not an integer"),
        ("inputs.files.name", "name", "a list has no `name`"),
        ("inputs.task.map(x, x)", "inputs.task", "a loop needs a list, not a text"),
        ("inputs.files.map(f, f + 1)", "+", "`+` does not work with a text and an integer"),
        ("inputs.files.map(f, g)", "g", "there is no `g` here"),
        ("inputs.files.filter(f, f == 1)", "==", "a text never equals an integer"),
        ("inputs.files[\"x\"]", "[", "a list is indexed by an integer, not by a text"),
        ("inputs.task.len()", "len", "there is no function `len`"),
        ("lenght(inputs.task)", "lenght", "there is no function `lenght`"),
        ("inputs.count.size()", "size", "`size` does not work with an integer"),
        ("inputs.task.contains(1)", "contains", "`contains` does not work with a text and an integer"),
        ("success()", "success", "`success()` is known in `when` only"),
        ("\"x\" in inputs.task", "in", "`in` does not work with a text and a text"),
        ("inputs.task < 3", "<", "`<` does not work with a text and an integer"),
        ("inputs.flag ? inputs.nope : 1", "nope", "there is no input `nope`"),
    ];
    for (text, place, message) in cases {
        let whole = format!("a ${{{{ {text} }}}} b");
        let template = Template::compile(&whole).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
        let faults = template.check(&names).1;
        let found: Vec<(&str, &str)> =
            faults.iter().map(|fault| (&whole[fault.range.clone()], fault.message.as_str())).collect();
        assert_eq!(found, [(place, message)], "{text}");
    }
}

#[test]
fn good_expressions_have_no_faults() {
    let nodes = index(&["build"]);
    let names = names(&nodes);
    for text in [
        "inputs.task",
        "inputs.count + 1 > 2 || inputs.ratio > 1",
        "needs.build.outputs.data.anything[0].at.all",
        "needs.build.outputs.data + 1",
        "needs.build.status == \"skipped\" || needs.build.status in [\"failed\"]",
        "needs.build.changed_files.exists(f, f.startsWith(\"src/\"))",
        "inputs.any.x.y",
        "inputs.any[\"x\"] == 3",
        "has(inputs.any.x) ? inputs.any.x : \"none\"",
        "inputs.files.map(f, f.upper()).join(\",\") + run.id + env.HOME",
        "inputs.files + [\"x\"]",
        "inputs.task == null",
        "size(inputs.files) > 0 && inputs.files[0] != \"\"",
        "needs[inputs.task].status == \"failed\"",
        "string(inputs.ratio) + string(inputs.flag)",
        "inputs.files.filter(f, f != \"\").map(f, f + \"x\").all(f, f.size() > 1)",
        "-inputs.count",
    ] {
        let template = Template::compile(&format!("${{{{ {text} }}}}"))
            .unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
        assert_eq!(template.check(&names).1, [], "{text}");
    }
}

#[test]
fn conditions_are_booleans() {
    let nodes = index(&[]);
    let names = names(&nodes);
    let check = |text: &str| {
        Condition::compile(text)
            .expect(text)
            .check(&names)
            .iter()
            .map(|fault| fault.message.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(check("inputs.flag && success()"), Vec::<String>::new());
    assert_eq!(check("failure() || needs.build.outputs.data"), Vec::<String>::new());
    assert_eq!(check("inputs.task"), ["a condition is true or false, not a text"]);
    assert_eq!(check("${{ inputs.count }}"), ["a condition is true or false, not an integer"]);
    assert_eq!(check("success(1)"), ["`success()` takes no argument"]);
    assert!(Condition::compile("a ${{ inputs.flag }}").is_err());
    assert!(Condition::compile("${{ inputs.flag }} && ${{ inputs.flag }}").is_err());
}

#[test]
fn templates_travel_between_threads() {
    fn sent<T: Send + Sync>() {}
    sent::<Template>();
    sent::<Condition>();
}

/// Words and signs of the language, and some that are none.
const WORDS: [&str; 58] = [
    "inputs", "needs", "matrix", "task", "count", "files", "my-node", "outputs", "x", "f", ".", ".", ".",
    "[", "]", "(", ")", "{", "}", ",", ":", "?", "+", "-", "*", "/", "%", "<", "<=", "==", "!=", "&&", "||",
    "!", "in", "1", "2.5", "1u", "0x1f", "1e9", "\"a\"", "'b'", "r'c'", "b'd'", "true", "null", "size",
    "has", "map", "filter", "all", "success", "string", "join", " ", "é", "\\", "@",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 500, ..Default::default() })]

    #[test]
    fn no_text_breaks_an_expression(words in proptest::collection::vec(proptest::sample::select(&WORDS[..]), 0..14)) {
        let text = words.concat();
        let nodes = index(&["build"]);
        if let Ok(condition) = Condition::compile(&text) {
            condition.check(&names(&nodes));
            drop(condition.holds(&scope(), NeedsStatus { all_succeeded: true, any_failed: false }));
        }
        let whole = format!("{text} ${{{{ {text} }}}}");
        match Template::compile(&whole) {
            Ok(template) => {
                for fault in template.check(&names(&nodes)).1 {
                    proptest::prop_assert!(whole.get(fault.range.clone()).is_some(), "{:?} in {}", fault, whole);
                }
                drop(template.render(&scope()));
                drop(template.value(&scope()));
            }
            Err(faults) => for fault in faults {
                proptest::prop_assert!(whole.get(fault.range.clone()).is_some(), "{:?} in {}", fault, whole);
            },
        }
    }
}

#[test]
fn the_word_loop_is_a_name_like_others() {
    let mut scope = Scope::default();
    scope.set("loop", serde_json::json!({ "index": 2, "last": { "outputs": { "a-b": "x" } } }));
    for (text, value) in [
        ("${{ loop.index }}", serde_json::json!(2)),
        ("${{ loop.index + loop.index }}", serde_json::json!(4)),
        ("${{ loop.last.outputs.a-b == 'x' }}", serde_json::json!(true)),
        ("${{ [1, 2, 3].filter(n, n < loop.index) }}", serde_json::json!([1])),
        ("${{ loop['index'] == 2 }}", serde_json::json!(true)),
    ] {
        let template = Template::compile(text).unwrap();
        assert_eq!(template.value(&scope).unwrap(), value, "{text}");
        assert!(template.references().iter().all(|path| path.root() == "loop"), "{text}");
    }
}

#[test]
fn expressions_as_deep_as_they_may_be_fit_into_a_small_stack() {
    let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(8), close.repeat(8));
    let long = |word: &str| format!("{}1", word.repeat(95));
    for text in [
        nested("(", ")"),
        nested("[", "]"),
        nested("{'a': ", "}"),
        nested("size(", ")"),
        nested("[1].map(x, ", ")"),
        nested("!(-(", "))"),
        long("1 + "),
        long("true && "),
        long("true ? 1 : "),
        "-".repeat(300) + "1",
        "!".repeat(300) + "true",
        format!("inputs.a{}", ".a".repeat(150)),
        format!("inputs.a{}", "[0]".repeat(90)),
    ] {
        // What it means is not asked: that it is answered is.
        let run = move || drop(Template::compile(&format!("${{{{ {text} }}}}")));
        std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
    }
}
