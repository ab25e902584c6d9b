//! Whether two globs have a path in common, and one such path. A path that is given does match both: the crate that
//! matches paths in a run has the last word. Globs of unusual size or spelling have nothing in common as far as is known
//! here. Knows nothing of nodes.

use std::collections::HashSet;

use globset::{GlobBuilder, GlobMatcher};

/// Longest glob that is looked into, in characters.
const MAX_LENGTH: usize = 256;

/// Most combinations of the braces of one glob.
const MAX_ALTERNATIVES: usize = 32;

/// A glob without braces: one of those that a glob with braces stands for.
#[derive(Debug)]
pub struct Pattern {
    parts: Vec<Part>,
    /// As a run matches it: also what is below it, for a plain path.
    globs: Vec<String>,
}

#[derive(Debug, PartialEq)]
enum Part {
    /// `**`: any directories, none as well.
    Directories,
    /// One name.
    Name(Vec<Token>),
}

#[derive(Debug, PartialEq)]
enum Token {
    One(char),
    Any,
    Star,
    Class { is_negated: bool, ranges: Vec<(char, char)> },
}

/// The globs without braces that a glob stands for; none where it is too large or not understood.
pub fn alternatives(glob: &str) -> Vec<String> {
    if glob.chars().count() > MAX_LENGTH {
        return Vec::new();
    }
    let mut open = vec![glob.trim_start_matches("./").to_owned()];
    let mut done = Vec::new();
    while let Some(text) = open.pop() {
        match first_braces(&text) {
            None => done.push(text),
            Some((before, choices, after)) => {
                // The first choice is looked at first.
                let texts = choices.iter().rev().map(|choice| [before, choice, after].concat());
                open.extend(texts);
            }
        }
        if open.len() + done.len() > MAX_ALTERNATIVES {
            return Vec::new();
        }
    }
    done
}

/// The first outermost braces with their choices, and what is around them.
fn first_braces(text: &str) -> Option<(&str, Vec<&str>, &str)> {
    let (mut depth, mut start, mut from) = (0_usize, 0, 0);
    let mut choices = Vec::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '{' => {
                depth += 1;
                if depth == 1 {
                    (start, from) = (at, at + 1);
                }
            }
            ',' if depth == 1 => {
                choices.push(&text[from..at]);
                from = at + 1;
            }
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    choices.push(&text[from..at]);
                    return Some((&text[..start], choices, &text[at + 1..]));
                }
            }
            _ => {}
        }
    }
    None
}

impl Pattern {
    /// Understands a glob without braces.
    pub fn new(glob: &str) -> Option<Self> {
        let text = if glob.ends_with('/') { format!("{glob}**") } else { glob.to_owned() };
        // A plain path may be a directory, and then everything in it is meant.
        let is_plain = !text.contains(['*', '?', '[', '{', '\\']);
        let mut parts = Vec::new();
        let mut names = text.split('/').peekable();
        while let Some(name) = names.next() {
            match (name, names.peek()) {
                ("", _) => return None,
                ("**", Some(_)) => parts.push(Part::Directories),
                // At the end, something has to be there.
                ("**", None) => parts.extend([Part::Name(vec![Token::Star]), Part::Directories]),
                (name, _) => parts.push(Part::Name(tokens(name)?)),
            }
        }
        let mut globs = vec![text];
        if is_plain {
            globs.push(format!("{}/**", globs[0]));
            parts.push(Part::Directories);
        }
        Some(Self { parts, globs })
    }

    /// The leading names that are spelled out, as one path: whatever matches begins with it.
    pub fn fixed(&self) -> Vec<String> {
        let mut names = Vec::new();
        for part in &self.parts {
            let Part::Name(tokens) = part else { break };
            let name: Option<String> =
                tokens.iter().map(|token| if let Token::One(c) = token { Some(*c) } else { None }).collect();
            match name {
                Some(name) => names.push(name),
                None => break,
            }
        }
        names
    }

    pub fn matches(&self, path: &str) -> bool {
        self.globs.iter().any(|glob| matcher(glob).is_some_and(|matcher| matcher.is_match(path)))
    }

    /// A path that both match.
    pub fn common_path(&self, other: &Self) -> Option<String> {
        let mut names = meet(&self.parts, &other.parts, &mut HashSet::new())?;
        names.reverse();
        let path = names.join("/");
        (self.matches(&path) && other.matches(&path)).then_some(path)
    }
}

fn matcher(text: &str) -> Option<GlobMatcher> {
    let mut builder = GlobBuilder::new(text);
    builder.literal_separator(true).backslash_escape(true).empty_alternates(true);
    builder.build().ok().map(|glob| glob.compile_matcher())
}

fn tokens(name: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' if tokens.last() == Some(&Token::Star) => continue,
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => Token::One(chars.next()?),
            '[' => class(&mut chars)?,
            c => Token::One(c),
        });
    }
    Some(tokens)
}

/// What follows a `[`, up to its `]`.
fn class(chars: &mut std::str::Chars<'_>) -> Option<Token> {
    let mut ranges: Vec<(char, char)> = Vec::new();
    let mut c = chars.next()?;
    let is_negated = matches!(c, '!' | '^');
    if is_negated {
        c = chars.next()?;
    }
    loop {
        let mut rest = chars.clone();
        match (rest.next(), rest.next()) {
            (Some('-'), Some(end)) if end != ']' => {
                ranges.push((c, end));
                *chars = rest;
            }
            _ => ranges.push((c, c)),
        }
        c = chars.next()?;
        if c == ']' {
            return Some(Token::Class { is_negated, ranges });
        }
    }
}

/// Names of a path that matches both, last one first. What leads nowhere is remembered.
fn meet(a: &[Part], b: &[Part], dead: &mut HashSet<(usize, usize)>) -> Option<Vec<String>> {
    let place = (a.len(), b.len());
    if dead.contains(&place) {
        return None;
    }
    let found = match (a, b) {
        ([], []) => Some(Vec::new()),
        ([Part::Directories, rest_a @ ..], [Part::Directories, rest_b @ ..]) => {
            meet(rest_a, b, dead).or_else(|| meet(a, rest_b, dead))
        }
        ([Part::Directories, rest_a @ ..], _) => meet(rest_a, b, dead).or_else(|| {
            let (name, rest_b) = first_name(b)?;
            with(meet(a, rest_b, dead), name)
        }),
        (_, [Part::Directories, rest_b @ ..]) => meet(a, rest_b, dead).or_else(|| {
            let (name, rest_a) = first_name(a)?;
            with(meet(rest_a, b, dead), name)
        }),
        ([Part::Name(one), rest_a @ ..], [Part::Name(other), rest_b @ ..]) => {
            name_of_both(one, other).and_then(|name| with(meet(rest_a, rest_b, dead), name))
        }
        ([], _) | (_, []) => None,
    };
    if found.is_none() {
        dead.insert(place);
    }
    found
}

/// A name that the first part matches, and the parts after it: what a `**` on the other side takes.
fn first_name(parts: &[Part]) -> Option<(String, &[Part])> {
    let [Part::Name(tokens), rest @ ..] = parts else { return None };
    Some((name_of_both(tokens, &[Token::Star])?, rest))
}

fn with(names: Option<Vec<String>>, name: String) -> Option<Vec<String>> {
    names.map(|mut names| {
        names.push(name);
        names
    })
}

/// A name that both match, with something in the place of a leading or trailing `*` where that is possible.
fn name_of_both(a: &[Token], b: &[Token]) -> Option<String> {
    let mut chars = Vec::new();
    if !join(a, b, &mut chars, &mut HashSet::new()) {
        return None;
    }
    let short: String = chars.into_iter().rev().collect();
    let fits = |name: &str| {
        let name: Vec<Token> = name.chars().map(Token::One).collect();
        [a, b].iter().all(|tokens| join(tokens, &name, &mut Vec::new(), &mut HashSet::new()))
    };
    let is_odd = short.is_empty() || short.starts_with('.') || short.ends_with(['.', '-', '_']);
    let longer = [format!("x{short}"), format!("{short}x")];
    match longer.into_iter().filter(|_| is_odd).find(|name| fits(name)) {
        Some(name) => Some(name),
        None => Some(short).filter(|name| !matches!(name.as_str(), "" | "." | "..")),
    }
}

/// Characters that both match, last one first.
fn join(a: &[Token], b: &[Token], chars: &mut Vec<char>, dead: &mut HashSet<(usize, usize)>) -> bool {
    let place = (a.len(), b.len());
    if dead.contains(&place) {
        return false;
    }
    let found = match (a, b) {
        ([], []) => true,
        ([Token::Star, rest @ ..], _) if join(rest, b, chars, dead) => true,
        (_, [Token::Star, rest @ ..]) if join(a, rest, chars, dead) => true,
        ([Token::Star, ..], [token, rest @ ..]) | ([token, rest @ ..], [Token::Star, ..])
            if *token != Token::Star =>
        {
            let (a, b) = if matches!(a, [Token::Star, ..]) { (a, rest) } else { (rest, b) };
            common(token, &Token::Any).is_some_and(|c| join(a, b, chars, dead) && keep(chars, c))
        }
        ([one, rest_a @ ..], [other, rest_b @ ..]) => {
            common(one, other).is_some_and(|c| join(rest_a, rest_b, chars, dead) && keep(chars, c))
        }
        ([], _) | (_, []) => false,
    };
    if !found {
        dead.insert(place);
    }
    found
}

fn keep(chars: &mut Vec<char>, c: char) -> bool {
    chars.push(c);
    true
}

/// A character that both match; neither is a `*`.
fn common(a: &Token, b: &Token) -> Option<char> {
    let usual = || {
        ['x', 'y', 'z'].into_iter().chain('a'..='w').chain('0'..='9').chain('A'..='Z').chain(['_', '-', '.'])
    };
    let own = [a, b].into_iter().flat_map(|token| match token {
        Token::One(c) => vec![*c],
        Token::Class { ranges, .. } => ranges.iter().flat_map(|(low, high)| [*low, *high]).collect(),
        Token::Any | Token::Star => Vec::new(),
    });
    own.collect::<Vec<_>>().into_iter().chain(usual()).find(|c| admits(a, *c) && admits(b, *c))
}

fn admits(token: &Token, c: char) -> bool {
    match token {
        _ if c == '/' => false,
        Token::One(one) => *one == c,
        Token::Any | Token::Star => true,
        Token::Class { is_negated, ranges } => {
            ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *is_negated
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn common(a: &str, b: &str) -> Option<String> {
        let patterns = |glob: &str| -> Vec<Pattern> {
            alternatives(glob).iter().map(|one| Pattern::new(one).unwrap()).collect()
        };
        let (a, b) = (patterns(a), patterns(b));
        a.iter().find_map(|a| b.iter().find_map(|b| a.common_path(b)))
    }

    #[test]
    fn a_common_path_is_one_that_a_person_would_name() {
        for (a, b, expect) in [
            ("CHANGELOG.md", "CHANGELOG.md", Some("CHANGELOG.md")),
            ("CHANGELOG.md", "*.md", Some("CHANGELOG.md")),
            ("docs/**", "docs/guide/*.md", Some("docs/guide/x.md")),
            ("docs", "docs/guide.md", Some("docs/guide.md")),
            ("docs/", "docs/a/b", Some("docs/a/b")),
            ("docs", "docs/**", Some("docs/x")),
            ("src/**/*.rs", "src/**", Some("src/x.rs")),
            ("**", "**", Some("x")),
            ("**/*.rs", "src/**/lib.*", Some("src/lib.rs")),
            ("{a,b}/*", "b/c", Some("b/c")),
            ("{src,tests}/**", "{docs,tests}/x/**", Some("tests/x/x")),
            ("a*c", "*bc*", Some("abc")),
            ("v[0-9].txt", "v?.*", Some("v0.txt")),
            ("[!a]x", "[a-c]x", Some("cx")),
            ("./a", "a", Some("a")),
            ("**/a/**", "**/b/**", Some("a/b/x")),
            ("src/**", "srcs/**", None),
            ("*.md", "docs/*.md", None),
            ("src/*.rs", "src/*.toml", None),
            ("src/a/**", "src/b/**", None),
            ("src/**", "src", Some("src/x")),
            ("a/**", "a", Some("a/x")),
            ("[ab]", "[!ab]", None),
            ("a?", "a", None),
            ("\\*", "x", None),
        ] {
            assert_eq!(common(a, b).as_deref(), expect, "{a} {b}");
            assert_eq!(common(b, a).is_some(), expect.is_some(), "{b} {a}");
        }
    }

    #[test]
    fn a_long_glob_takes_no_time() {
        let stars = "a*".repeat(100);
        assert!(common(&stars, &format!("{stars}b")).is_some());
        assert_eq!(common(&format!("{}x", "**/a/".repeat(50)), &format!("{}y", "**/b/".repeat(50))), None);
        assert!(alternatives(&"{a,b}".repeat(10)).is_empty());
    }

    fn glob() -> impl Strategy<Value = String> {
        let name = prop::string::string_regex("[ab*?.]{1,3}|\\[[!]?[ab]\\][ab]?|\\{a,b\\}|\\*\\*").unwrap();
        prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
    }

    fn path() -> impl Strategy<Value = String> {
        let name = prop::string::string_regex("[ab.]{1,3}").unwrap();
        prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn globs_have_a_common_path_if_any_path_matches_both(a in glob(), b in glob(), paths in prop::collection::vec(path(), 20)) {
            let matches = |glob: &str, path: &str| {
                alternatives(glob).iter().filter_map(|one| Pattern::new(one)).any(|one| one.matches(path))
            };
            // `.` and `..` are no names of files.
            let real = |path: &&String| !path.split('/').any(|name| matches!(name, "." | ".."));
            let found = common(&a, &b);
            if let Some(path) = &found {
                prop_assert!(matches(&a, path) && matches(&b, path), "{a} {b}: {path}");
            }
            for path in paths.iter().filter(real) {
                let both = matches(&a, path) && matches(&b, path);
                prop_assert!(!both || found.is_some(), "{a} {b}: {path}");
            }
        }
    }
}
