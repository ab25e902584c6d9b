//! Where in a file the cursor is: the keys above it and what is typed before it. Found with the lines above it alone
//! that hold it, closed as far as it takes, so that nothing else in the file has to be right. Knows nothing of meaning.

use super::mend;
use crate::workflow::parse;
use crate::workflow::schema;
use crate::workflow::yaml::{Kind, Yaml};

/// Stands where the cursor is.
pub const MARK: &str = "__spb_cursor__";

/// Ways to end what the cursor is in, likeliest first.
const QUOTES: [&str; 3] = ["", "\"", "'"];
const BRACKETS: [&str; 15] =
    ["", "]", "}", "]}", "}}", "]]", "}]", "]}}", "}}}", "}]}", "]]}", "}]]", "]}]", "}}]", "]}}}"];

/// Lines above the cursor that are looked at: a file of a million lines is not written by hand.
const MAX_LINES: usize = 20_000;

/// One step from a value to one that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Item(usize),
}

impl Step {
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Item(_) => None,
        }
    }

    pub fn for_schema(path: &[Step]) -> Vec<schema::Step<'_>> {
        path.iter()
            .map(|step| match step {
                Step::Key(key) => schema::Step::Key(key),
                Step::Item(index) => schema::Step::Item(*index),
            })
            .collect()
    }
}

/// What the cursor is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Key,
    Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From the top of the file to the value that is being typed, or to the map of the key that is.
    pub path: Vec<Step>,
    pub role: Role,
    /// What the key or value holds before the cursor.
    pub before: String,
    /// The other items of its list, or keys of its map, that stand on the lines that are open at the cursor.
    pub siblings: Vec<String>,
    /// What ends everything that is open at the cursor: quotes and brackets.
    pub closing: String,
}

/// The place of byte `at`. `None` in comments, and where no reading makes sense.
pub fn of(text: &str, at: usize) -> Option<Place> {
    let excerpt = excerpt(text, at);
    for brackets in BRACKETS {
        for quote in QUOTES {
            let closing = format!("{quote}{brackets}");
            let candidate = format!("{excerpt}{MARK}{closing}");
            let (tree, _) = parse::parse(&candidate);
            let mut search = Search::default();
            if let Some((role, before)) = tree.and_then(|tree| search.find(&tree)) {
                let Search { path, siblings } = search;
                return Some(Place { path, role, before, siblings, closing });
            }
        }
    }
    None
}

/// The line of the cursor, up to it, under the lines that hold it by their indentation.
fn excerpt(text: &str, at: usize) -> String {
    let own = mend::line(text, at);
    let typed = &text[own.start..text.floor_char_boundary(at)];
    let mut lines = vec![typed];
    let (mut limit, mut is_item) = (indent(typed), is_item(typed));
    for line in text[..own.start].lines().rev().take(MAX_LINES) {
        if limit == 0 && !is_item {
            break;
        }
        let content = line.trim_start();
        let at = indent(line);
        let holds = at < limit || (at == limit && is_item && !self::is_item(line));
        if content.is_empty() || content.starts_with('#') || !holds {
            continue;
        }
        lines.push(line);
        (limit, is_item) = (at, self::is_item(line));
    }
    lines.reverse();
    lines.join("\n")
}

fn indent(line: &str) -> usize {
    line.bytes().take_while(|byte| *byte == b' ').count()
}

fn is_item(line: &str) -> bool {
    let content = line.trim_start();
    content == "-" || content.starts_with("- ")
}

#[derive(Default)]
struct Search {
    path: Vec<Step>,
    siblings: Vec<String>,
}

impl Search {
    /// Leaves the path at the mark.
    fn find(&mut self, yaml: &Yaml<'_>) -> Option<(Role, String)> {
        let before = |text: &str| text.find(MARK).map(|end| text[..end].to_owned());
        match &yaml.kind {
            Kind::Scalar(scalar) => before(&scalar.text).map(|before| (Role::Value, before)),
            Kind::List(items) => items.iter().enumerate().find_map(|(index, item)| {
                let found = self.step(Step::Item(index), item)?;
                let others = items.iter().filter_map(Yaml::text).filter(|text| !text.contains(MARK));
                if item.text().is_some() {
                    self.siblings = others.map(str::to_owned).collect();
                }
                Some(found)
            }),
            Kind::Map(entries) => entries.iter().find_map(|entry| match before(&entry.key) {
                Some(before) => {
                    let others = entries.iter().filter(|other| !other.key.contains(MARK));
                    self.siblings = others.map(|other| other.key.to_string()).collect();
                    Some((Role::Key, before))
                }
                None => self.step(Step::Key(entry.key.to_string()), &entry.value),
            }),
        }
    }

    fn step(&mut self, step: Step, yaml: &Yaml<'_>) -> Option<(Role, String)> {
        self.path.push(step);
        let found = self.find(yaml);
        if found.is_none() {
            self.path.pop();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `|` is the cursor. The answer: path, role, what is typed.
    #[track_caller]
    fn check(text: &str, expect: &str) {
        let at = text.find('|').unwrap();
        let text = text.replacen('|', "", 1);
        let shown = of(&text, at).map_or("nothing".to_owned(), |place| {
            let path: Vec<String> = place
                .path
                .iter()
                .map(|step| match step {
                    Step::Key(key) => key.clone(),
                    Step::Item(index) => index.to_string(),
                })
                .collect();
            format!("{} {:?} {:?}", path.join("."), place.role, place.before)
        });
        assert_eq!(shown, expect);
    }

    #[test]
    fn the_cursor_is_found_while_typing() {
        check("nodes:\n  a:\n    run: x\n    ne|", "nodes.a Value \"ne\"");
        check("nodes:\n  a:\n    run: x\n    |\n    env: {}\n", "nodes.a Value \"\"");
        check("nodes:\n  a:\n    needs: [b, |\n    env: {}\n", "nodes.a.needs.1 Value \"\"");
        check("nodes:\n  a:\n    needs: [b, c|]\n", "nodes.a.needs.1 Value \"c\"");
        check("nodes:\n  a:\n    needs:\n      - b\n      - |\n", "nodes.a.needs.0 Value \"\"");
        check("nodes:\n  a:\n    needs:\n    - b\n    - c|\n", "nodes.a.needs.0 Value \"c\"");
        check("nodes:\n  a: { run: x, ne|", "nodes.a Key \"ne\"");
        check("nodes:\n  a: { run: x, needs: [|] }\n", "nodes.a.needs.0 Value \"\"");
        check("nodes:\n  a:\n    env: { A: \"${{ inputs.|", "nodes.a.env.A Value \"${{ inputs.\"");
        check("nodes:\n  a:\n    env: { A: '${{ inputs.| }}' }\n", "nodes.a.env.A Value \"${{ inputs.\"");
        check(
            "nodes:\n  a:\n    env:\n      A: x ${{ inputs.a }} ${{ en|\n",
            "nodes.a.env.A Value \"x ${{ inputs.a }} ${{ en\"",
        );
        check("nodes:\n  a:\n    when: inputs.|\n", "nodes.a.when Value \"inputs.\"");
        check(
            "nodes:\n  a:\n    run: |-\n      echo |\n".replacen("|-", ">-", 1).as_str(),
            "nodes.a.run Value \"echo \"",
        );
        check("inp|", " Value \"inp\"");
        check("version: 1\n|\nnodes: {}\n", " Value \"\"");
        check("nodes:\n  a:\n    needs: [\n      b,\n      |\n    ]\n", "nodes.a.needs.0 Value \"\"");
        check("# not he|re\n", "nothing");
    }

    #[test]
    fn what_is_wrong_elsewhere_does_not_matter() {
        check("a: [\nb: }\nnodes:\n  a:\n    when: |\n  : :\n", "nodes.a.when Value \"\"");
    }
}
