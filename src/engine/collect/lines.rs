//! Reads what a node appended to `$SPB_OUTPUT`: `name=value` lines, and `name<<END` ... `END` for values of several lines,
//! as GitHub's runner defines them. Knows which names are declared, not what their values are for.

use indexmap::IndexMap;

use super::MAX_OUTPUT;
use crate::workflow::model::{Node, OutputFrom};
use crate::workflow::suggest;

/// Largest file of them all, bytes.
pub const MAX_FILE: u64 = 8 * MAX_OUTPUT;

/// Every value by its name.
///
/// # Errors
/// A sentence about the first line that says nothing, a name that is given twice, or a value that is too large or never
/// ends.
pub fn parse(text: &str) -> Result<IndexMap<String, String>, String> {
    let mut given: IndexMap<String, (usize, String)> = IndexMap::new();
    // A program that ends lines with `\r\n` says so in the line that begins a value; in any other, `\r` is its own.
    let mut lines = text.split_terminator('\n').enumerate();
    while let Some((at, whole)) = lines.next() {
        let line = whole.strip_suffix('\r').unwrap_or(whole);
        let has_returns = line.len() < whole.len();
        if line.trim().is_empty() {
            continue;
        }
        let number = at + 1;
        let (name, value) = match form(line) {
            Some(Form::Line { name, value }) => (name, value.to_owned()),
            Some(Form::Document { name, end: "" }) => {
                return Err(format!(
                    "line {number}, {:?}: no word follows `<<`, as in `{name}<<END`",
                    short(line)
                ));
            }
            Some(Form::Document { name, end }) => {
                let mut value = Vec::new();
                loop {
                    let next = lines.next().map(|(at, line)| match line.strip_suffix('\r') {
                        Some(line) if has_returns => (at, line),
                        _ => (at, line),
                    });
                    match next {
                        Some((_, line)) if line.strip_suffix('\r').unwrap_or(line) == end => break,
                        Some((_, line)) => value.push(line),
                        None => {
                            return Err(format!(
                                "line {number}: `{}` is never ended by a line `{}`",
                                short(line),
                                short(end)
                            ));
                        }
                    }
                }
                (name, value.join("\n"))
            }
            None => {
                return Err(format!(
                    "line {number}, {:?}, is neither `name=value` nor `name<<END`; a value of several lines is written \
                     as `name<<END`, the lines, `END`",
                    short(line)
                ));
            }
        };
        if name.is_empty() {
            return Err(format!("line {number}, {:?}, names no output", short(line)));
        }
        if value.len() as u64 > MAX_OUTPUT {
            return Err(format!(
                "`{}` (line {number}) has {} bytes, more than the {MAX_OUTPUT} that a value may have",
                short(name),
                value.len()
            ));
        }
        if let Some((first, _)) = given.insert(name.to_owned(), (number, value)) {
            return Err(format!("`{}` is given twice, on lines {first} and {number}", short(name)));
        }
    }
    Ok(given.into_iter().map(|(name, (_, value))| (name, value)).collect())
}

enum Form<'l> {
    Line { name: &'l str, value: &'l str },
    Document { name: &'l str, end: &'l str },
}

/// Whichever of `=` and `<<` comes first.
fn form(line: &str) -> Option<Form<'_>> {
    let equals = line.find('=');
    match (line.find("<<"), equals) {
        (Some(at), equals) if equals.is_none_or(|equals| at < equals) => {
            Some(Form::Document { name: &line[..at], end: &line[at + 2..] })
        }
        (_, Some(at)) => Some(Form::Line { name: &line[..at], value: &line[at + 1..] }),
        (_, None) => None,
    }
}

/// What to say of a name that the node gave and does not declare as one of these lines.
pub fn undeclared(node: &Node, name: &str) -> String {
    let shown = short(name);
    let declared = |name: &str| node.outputs.get(name).map(|output| &output.from);
    if let Some(from) = declared(name) {
        let from = match from {
            OutputFrom::File(path) => format!("the file `{path}`"),
            OutputFrom::Out(path) => format!("the file `$SPB_OUT/{path}`"),
            OutputFrom::Stdout => "standard output".to_owned(),
            OutputFrom::Line => "$SPB_OUTPUT".to_owned(),
        };
        return format!("$SPB_OUTPUT holds `{shown}`, whose declaration reads it from {from}");
    }
    let problem = format!("$SPB_OUTPUT holds `{shown}`, which `outputs` does not declare");
    if matches!(declared(name.trim()), Some(OutputFrom::Line)) {
        return format!("{problem}; write `{}=...` without blanks around the name", name.trim());
    }
    let lines = node.outputs.iter().filter(|(_, output)| output.from == OutputFrom::Line);
    match suggest::nearest(name, lines.map(|(name, _)| name.as_str())) {
        Some(near) => format!("{problem}; did you mean `{near}`?"),
        None => format!("{problem} as a plain value; add `{shown}: {{}}` to it"),
    }
}

/// The start of a text that may be of any length.
pub fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match parse(text) {
            Ok(given) => given.iter().map(|(name, value)| format!("{name}: {value:?}\n")).collect(),
            Err(error) => format!("error: {error}\n"),
        }
    }

    #[test]
    fn lines_and_documents_are_read_as_githubs_runner_reads_them() {
        let text = "a=1\n\nb=x=y<<z\nc<<END\none\n\n  two=2\nEND\nd=\ne<<a=b\nf<<g\na=b\r\nh=last";
        insta::assert_snapshot!(read(text), @r#"
        a: "1"
        b: "x=y<<z"
        c: "one\n\n  two=2"
        d: ""
        e: "f<<g"
        h: "last"
        "#);
        assert_eq!(read(""), "");
        assert_eq!(read("empty<<E\nE\n"), "empty: \"\"\n");
        assert_eq!(read("a=1\r\nb<<E\r\nx\r\nE\r\n"), "a: \"1\"\nb: \"x\"\n");
        assert_eq!(read("b<<E\nx\r\ny\r\r\n\r\nE\n"), "b: \"x\\r\\ny\\r\\r\\n\\r\"\n");
    }

    #[test]
    fn what_says_nothing_is_an_error_with_its_line() {
        for (text, expect) in [
            ("a=1\nhello\n", "line 2, \"hello\", is neither `name=value` nor `name<<END`"),
            ("a<<END\nx\nEND \n", "line 1: `a<<END` is never ended by a line `END`"),
            ("a<<\nx\n\n", "line 1, \"a<<\": no word follows `<<`, as in `a<<END`"),
            ("a=1\nb=2\na<<E\n3\nE\n", "`a` is given twice, on lines 1 and 3"),
            ("=1\n", "line 1, \"=1\", names no output"),
            ("<<E\nE\n", "line 1, \"<<E\", names no output"),
        ] {
            assert!(read(text).starts_with(&format!("error: {expect}")), "{text:?}: {}", read(text));
        }
        let long = "x".repeat(100_000);
        assert!(read(&long).len() < 300, "a message holds no 100,000 characters");
        let large = format!("a={}", "x".repeat(MAX_OUTPUT as usize + 1));
        assert!(read(&large).contains("`a` (line 1) has 1048577 bytes"), "a value that is too large");
    }

    proptest::proptest! {
        #[test]
        fn a_document_gives_back_any_lines(lines in proptest::collection::vec("[^\r\n]{0,12}", 0..6)) {
            proptest::prop_assume!(lines.iter().all(|line| line != "THE END"));
            let value = lines.join("\n");
            let text = format!("before=1\nvalue<<THE END\n{value}{}THE END\nafter=2\n", if lines.is_empty() { "" } else { "\n" });
            let given = parse(&text).unwrap();
            proptest::prop_assert_eq!(&given["value"], &value);
            proptest::prop_assert_eq!(&given["after"], "2");
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[a=<\n\r]*") {
            parse(&text).ok();
        }
    }
}
