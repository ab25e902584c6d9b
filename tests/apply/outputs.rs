//! What a node hands on: values that fit their schema, and sentences about those that do not.

use crate::common::World;

/// A node that writes this JSON as its output `report`, whose schema this is, and one that reads it.
fn report(value: &str, schema: &str) -> String {
    format!(
        r#"
nodes:
  make:
    reads: []
    outputs: {{ report: {{ out: report.json, format: json, schema: {schema} }} }}
    run: 'echo make >> "$HOME/ran"; printf "%s" {quoted} > "$SPB_OUT/report.json"'
  read:
    needs: [make]
    reads: []
    env: {{ REPORT: "${{{{ needs.make.outputs.report }}}}" }}
    run: 'echo "$REPORT" > seen.txt'
"#,
        quoted = format_args!("''{}''", value)
    )
}

const LIST: &str =
    "{ type: array, items: { type: object, required: [id], properties: { id: { type: integer } } } }";

#[test]
fn a_value_that_fits_its_schema_is_handed_on() {
    let world = World::new();
    let run = world.apply(&report(r#"[{"id":1},{"id":2}]"#, LIST)).success();
    assert_eq!(world.show(&run.branch(), "seen.txt").as_deref(), Some("[{\"id\":1},{\"id\":2}]\n"));
}

#[test]
fn a_value_that_does_not_fit_fails_its_node_and_says_where_and_why() {
    let world = World::new();
    let run = world.apply(&report(r#"[{"id":1},{"id":"two"}]"#, LIST)).exits(1);
    let run = run.ended("make failed, read skipped");
    assert_eq!(
        run.message("make"),
        "output `report` does not fit its schema: `report[1].id` is the text \"two\", expected a whole number"
    );
    assert!(run.stderr.contains("report[1].id"), "{run}");
    // It is not in the cache either.
    world.take_ran();
    world.apply(&report(r#"[{"id":1},{"id":"two"}]"#, LIST)).exits(1);
    assert_eq!(world.take_ran(), "make");
}

#[test]
fn another_schema_is_another_node_and_the_order_of_its_keys_is_not() {
    let world = World::new();
    let text = |schema: &str| report("[]", schema);
    world.apply(&text("{ type: array, maxItems: 3 }")).success();
    assert_eq!(world.take_ran(), "make");
    world.apply(&text("{ maxItems: 3, type: array }")).success();
    assert_eq!(world.take_ran(), "", "the same schema, spelled in another order");
    world.apply(&text("{ maxItems: 4, type: array }")).success();
    assert_eq!(world.take_ran(), "make");
    let why = world.spb(["why", "make"]).run().success();
    assert!(why.stdout.contains("declaration of output `report`"), "{why}");
}

#[test]
fn texts_and_lines_have_schemas_too() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  tag:
    outputs: { tag: { schema: { pattern: '^v[0-9]+$' } } }
    run: 'echo "tag=latest" >> "$SPB_OUTPUT"'
  list:
    outputs: { files: { stdout: true, format: lines, schema: { minItems: 2 } } }
    run: echo only.txt
"#,
    );
    let run = run.exits(1);
    assert_eq!(
        run.message("tag"),
        "output `tag` does not fit its schema: `tag` is the text \"latest\", expected a text that matches \"^v[0-9]+$\""
    );
    assert_eq!(
        run.message("list"),
        "output `files` does not fit its schema: `files` is a list of 1 item, expected at least 2 items"
    );
}

#[test]
fn a_secret_in_a_value_that_does_not_fit_is_not_shown() {
    let world = World::new();
    let secret = "s3cret-".repeat(12);
    let run = world
        .applying(
            r#"
secrets: [TOKEN]
nodes:
  cut: { outputs: { o: { format: json, stdout: true, schema: { type: integer } } }, run: 'printf "\"%s\"" "$TOKEN"' }
  bad: { outputs: { o: { format: json, stdout: true } }, run: 'echo "$TOKEN"' }
  line: { outputs: { o: {} }, run: 'echo "$TOKEN" >> "$SPB_OUTPUT"' }
"#,
            &[],
        )
        .env("TOKEN", &secret)
        .run()
        .exits(1);
    for node in ["cut", "bad", "line"] {
        assert!(!run.message(node).contains("s3cret"), "{}", run.message(node));
    }
    assert!(run.message("cut").contains("holds a secret"), "{run}");
}

/// The message of a node with the outputs `one` (a line) and `file`, whose script this is.
#[track_caller]
fn message(script: &str) -> String {
    let world = World::new();
    let script: String = script.lines().map(|line| format!("      {line}\n")).collect();
    let run = world.apply(&format!(
        "nodes:\n  n:\n    workspace: scratch\n    outputs: {{ one: {{}}, file: {{ out: f }} }}\n    run: |\n      echo x > $SPB_OUT/f\n{script}"
    ));
    run.exits(1).message("n")
}

#[test]
fn lines_of_outputs_that_are_wrong_are_named() {
    for (script, expect) in [
        ("true", "output `one` ($SPB_OUTPUT): no `one=...` line was appended to $SPB_OUTPUT"),
        (
            "echo one=1 >> $SPB_OUTPUT; echo one=2 >> $SPB_OUTPUT",
            "$SPB_OUTPUT: `one` is given twice, on lines 1 and 2",
        ),
        (
            "printf 'one<<END\\nx\\n' > $SPB_OUTPUT",
            "$SPB_OUTPUT: line 1: `one<<END` is never ended by a line `END`",
        ),
        (
            "printf 'one=1\\nON=2\\n' > $SPB_OUTPUT",
            "$SPB_OUTPUT holds `ON`, which `outputs` does not declare as a plain value; add `ON: {}` to it",
        ),
        (
            "printf 'one=1\\nonce=2\\n' > $SPB_OUTPUT",
            "$SPB_OUTPUT holds `once`, which `outputs` does not declare; did you mean `one`?",
        ),
        (
            "echo 'one = 1' > $SPB_OUTPUT",
            "$SPB_OUTPUT holds `one `, which `outputs` does not declare; write `one=...` without blanks around the name",
        ),
        (
            "printf 'one=1\\nfile=2\\n' > $SPB_OUTPUT",
            "$SPB_OUTPUT holds `file`, whose declaration reads it from the file `$SPB_OUT/f`",
        ),
        ("printf 'one=\\377\\n' > $SPB_OUTPUT", "$SPB_OUTPUT: it is not UTF-8 text (byte 5)"),
        (
            "printf 'one=a\\000b\\n' > $SPB_OUTPUT",
            "output `one` ($SPB_OUTPUT): it holds a NUL character (byte 2); `format: json` can spell one",
        ),
        ("mkdir $SPB_OUTPUT", "$SPB_OUTPUT: it is a directory"),
        ("ln -s /etc/passwd $SPB_OUTPUT", "$SPB_OUTPUT: it is a link to a file outside of the workspace"),
        (
            "{ printf one=; head -c 1048577 /dev/zero | tr '\\000' x; } > $SPB_OUTPUT",
            "$SPB_OUTPUT: `one` (line 1) has 1048577 bytes, more than the 1048576 that a value may have",
        ),
        (
            "head -c 9000000 /dev/zero > $SPB_OUTPUT",
            "$SPB_OUTPUT: it has 9000000 bytes, more than the 8388608 that it may have; use `artifacts` for files",
        ),
        ("mkfifo $SPB_OUTPUT", "$SPB_OUTPUT: it is not a regular file"),
        (
            "echo one=1 > $SPB_OUTPUT; printf 'a\\000' > $SPB_OUT/f",
            "output `file` (`$SPB_OUT/f`): it holds a NUL character (byte 2); `format: json` can spell one",
        ),
    ] {
        assert_eq!(message(script), expect, "{script}");
    }
}

#[test]
fn a_here_document_carries_several_lines() {
    let world = World::new();
    let run = world.apply(
        r#"
nodes:
  say:
    outputs: { notes: {}, list: { format: lines }, data: { format: json, schema: { type: object, properties: { n: { type: integer } } } } }
    run: |
      { echo 'notes<<END'; echo 'first; $(no shell)'; echo; echo 'last=1'; echo END; } >> "$SPB_OUTPUT"
      printf 'list<<--\na\nb\n--\ndata={"n": 41}\n' >> "$SPB_OUTPUT"
  hear:
    needs: [say]
    env:
      NOTES: "${{ needs.say.outputs.notes }}"
      LIST: "${{ needs.say.outputs.list }}"
      NEXT: "${{ needs.say.outputs.data.n + 1 }}"
    run: 'printf "%s|%s|%s\n" "$NOTES" "$LIST" "$NEXT" > seen.txt'
"#,
    );
    let run = run.success();
    assert_eq!(
        world.show(&run.branch(), "seen.txt").as_deref(),
        Some("first; $(no shell)\n\nlast=1|[\"a\",\"b\"]|42\n")
    );
}

#[test]
fn expressions_know_what_a_schema_says() {
    let world = World::new();
    let file = world.workflow(
        r#"
nodes:
  make:
    outputs:
      closed: { out: c, format: json, schema: { type: object, properties: { total: { type: integer } }, additionalProperties: false } }
      list: { out: l, format: json, schema: { type: array, items: { type: string } } }
    run: "true"
  read:
    needs: [make]
    when: needs.make.outputs.closed.total == "3"
    env: { A: "${{ needs.make.outputs.closed.totl }}", B: "${{ needs.make.outputs.list.size }}" }
    run: "true"
"#,
    );
    let run = world.spb(["validate".as_ref(), file.as_os_str()]).run().exits(2);
    for words in [
        "an integer never equals a text",
        "the schema of `closed` has no `totl`",
        "did you mean `total`?",
        "a list has no `size`",
    ] {
        assert!(run.stderr.contains(words) || run.stdout.contains(words), "{words}: {run}");
    }
}
