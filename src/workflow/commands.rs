//! The commands of a shell script, as far as they can be told without running it: pipelines, lists, substitutions in
//! parentheses, quotes and here-documents. What it does not understand (`case`, functions, backquotes, `eval`) it says it
//! did not. Knows nothing of what the commands do.

use std::ops::Range;

/// Deepest substitution that is followed.
const MAX_DEPTH: usize = 50;

/// What a script runs.
#[derive(Debug, Default)]
pub struct Commands {
    pub list: Vec<Command>,
    /// Whether these are all: nothing was met that is not understood.
    pub is_all: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    pub words: Vec<Word>,
    /// Bytes of the script, from the first word to the last.
    pub range: Range<usize>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Word {
    /// Without quotes.
    pub text: String,
    /// Nothing in it depends on variables or on other commands.
    pub is_fixed: bool,
    range: Range<usize>,
}

/// Words that only say how the commands after them go together.
const RESERVED: &[&str] =
    &["if", "then", "elif", "else", "fi", "while", "until", "do", "done", "!", "{", "}", "esac"];

/// Commands whose words are commands, or that give words a new meaning.
const OPAQUE: &[&str] = &["case", "function", "select", "[[", "eval", "alias", ".", "source", "trap"];

/// Reads a script.
pub fn commands(script: &str) -> Commands {
    let mut reader = Reader {
        text: script,
        at: 0,
        depth: 0,
        documents: Vec::new(),
        found: Commands { list: Vec::new(), is_all: true },
    };
    reader.list(None);
    reader.found
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    /// Here-documents whose text begins with the next line: the word that ends it, whether tabs go, whether it is
    /// taken literally.
    documents: Vec<(String, bool, bool)>,
    found: Commands,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip(&mut self, c: char) {
        self.at += c.len_utf8();
    }

    fn unsure(&mut self) {
        self.found.is_all = false;
    }

    /// Commands up to a closing parenthesis, or the end.
    fn list(&mut self, closer: Option<char>) {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            self.unsure();
            self.at = self.text.len();
        }
        let mut words: Vec<Word> = Vec::new();
        loop {
            let Some(c) = self.peek() else {
                if closer.is_some() || !self.documents.is_empty() {
                    self.unsure();
                }
                self.finish(&mut words);
                break;
            };
            match c {
                '\n' => {
                    self.finish(&mut words);
                    self.skip(c);
                    self.documents();
                }
                ';' | '&' | '|' => {
                    self.finish(&mut words);
                    self.skip(c);
                    if self.rest().starts_with('>') {
                        // `&>file` is no end of a command.
                        self.unsure();
                    }
                }
                '\\' if self.rest().starts_with("\\\n") => self.at += 2,
                c if c.is_whitespace() => self.skip(c),
                '#' => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                '(' => {
                    if !words.is_empty() || self.rest().starts_with("((") {
                        self.unsure();
                    }
                    self.finish(&mut words);
                    self.skip(c);
                    self.list(Some(')'));
                }
                ')' => {
                    self.finish(&mut words);
                    self.skip(c);
                    if closer.is_some() {
                        break;
                    }
                    self.unsure();
                }
                '<' | '>' => self.redirection(&mut words),
                _ => {
                    let word = self.word();
                    add(&mut words, word);
                }
            }
        }
        self.depth -= 1;
    }

    fn finish(&mut self, words: &mut Vec<Word>) {
        let (Some(first), Some(last)) = (words.first(), words.last()) else { return };
        if OPAQUE.contains(&first.text.as_str()) {
            self.found.is_all = false;
        }
        let range = first.range.start..last.range.end;
        self.found.list.push(Command { words: std::mem::take(words), range });
    }

    /// From the first `<` or `>`, with the word that it is about.
    fn redirection(&mut self, words: &mut Vec<Word>) {
        // A number right before it is no word: `2>log`.
        if let Some(last) = words.last()
            && last.range.end == self.at
            && last.text.bytes().all(|byte| byte.is_ascii_digit())
        {
            words.pop();
        }
        if self.rest().starts_with("<(") || self.rest().starts_with(">(") {
            self.at += 2;
            return self.list(Some(')'));
        }
        let length =
            self.rest().find(|c| !matches!(c, '<' | '>' | '&' | '|' | '-')).unwrap_or(self.rest().len());
        let operator = self.rest()[..length].to_owned();
        self.at += length;
        while let Some(c @ (' ' | '\t')) = self.peek() {
            self.skip(c);
        }
        if matches!(self.peek(), None | Some('\n' | ';' | ')' | '(' | '<' | '>')) {
            return;
        }
        let start = self.at;
        let word = self.word();
        if operator == "<<" || operator == "<<-" {
            let is_literal = self.text[start..self.at].contains(['\'', '"', '\\']);
            self.documents.push((word.text, operator.ends_with('-'), is_literal));
        }
    }

    /// The texts of the here-documents that begin with this line.
    fn documents(&mut self) {
        for (end, tabs_go, is_literal) in std::mem::take(&mut self.documents) {
            let start = self.at;
            let mut is_closed = false;
            while !is_closed && self.at < self.text.len() {
                let length = self.rest().find('\n').map_or(self.rest().len(), |at| at + 1);
                let line = self.rest()[..length].trim_end_matches('\n');
                let line = if tabs_go { line.trim_start_matches('\t') } else { line };
                is_closed = line == end;
                self.at += length;
            }
            let body = &self.text[start..self.at];
            if !is_closed || !is_literal && (body.contains("$(") || body.contains('`')) {
                self.unsure();
            }
        }
    }

    fn word(&mut self) -> Word {
        let start = self.at;
        let mut word = Word { text: String::new(), is_fixed: true, range: start..start };
        while let Some(c) = self.peek() {
            match c {
                '\'' => {
                    self.skip(c);
                    let end = self.rest().find('\'');
                    let length = end.unwrap_or(self.rest().len());
                    word.text.push_str(&self.rest()[..length]);
                    self.at += length + usize::from(end.is_some());
                    self.found.is_all &= end.is_some();
                }
                '"' => {
                    self.skip(c);
                    self.quoted(&mut word);
                }
                '\\' => self.escaped(&mut word),
                '$' => self.dollar(&mut word),
                '`' => self.backquoted(&mut word),
                c if c.is_whitespace() || matches!(c, ';' | '&' | '|' | '<' | '>' | '(' | ')') => break,
                c => {
                    self.skip(c);
                    word.text.push(c);
                }
            }
        }
        word.range.end = self.at;
        word
    }

    /// Up to the closing quote.
    fn quoted(&mut self, word: &mut Word) {
        while let Some(c) = self.peek() {
            match c {
                '"' => return self.skip(c),
                '\\' => self.escaped(word),
                '$' => self.dollar(word),
                '`' => self.backquoted(word),
                c => {
                    self.skip(c);
                    word.text.push(c);
                }
            }
        }
        self.unsure();
    }

    fn escaped(&mut self, word: &mut Word) {
        self.skip('\\');
        if let Some(c) = self.peek() {
            self.skip(c);
            if c != '\n' {
                word.text.push(c);
            }
        }
    }

    fn dollar(&mut self, word: &mut Word) {
        word.is_fixed = false;
        if self.rest().starts_with("$((") {
            self.unsure();
        }
        if self.rest().starts_with("$(") {
            self.at += 2;
            return self.list(Some(')'));
        }
        if self.rest().starts_with("${") {
            let length = self.rest().find('}').map_or(self.rest().len(), |at| at + 1);
            let inner = &self.rest()[..length];
            // A default may run commands, and `${!name}` names its variable elsewhere.
            if inner[2..].contains(['$', '`', '!']) {
                self.found.is_all = false;
            }
            self.at += length;
            return;
        }
        self.skip('$');
    }

    fn backquoted(&mut self, word: &mut Word) {
        word.is_fixed = false;
        self.unsure();
        self.skip('`');
        self.at += self.rest().find('`').map_or(self.rest().len(), |at| at + 1);
    }
}

/// Adds a word to a command that it belongs to: reserved words and assignments before the first one do not.
fn add(words: &mut Vec<Word>, word: Word) {
    let is_quoted = word.range.len() != word.text.len();
    let is_reserved = !is_quoted && RESERVED.contains(&word.text.as_str());
    let is_assignment = word.text.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    if !words.is_empty() || !is_reserved && !is_assignment {
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(script: &str, expect: &[&str], is_all: bool) {
        let found = commands(script);
        let lines: Vec<String> = found
            .list
            .iter()
            .map(|command| {
                let words = command.words.iter().map(|word| match word.is_fixed {
                    true => word.text.clone(),
                    false => format!("{}$", word.text),
                });
                words.collect::<Vec<_>>().join(" ")
            })
            .collect();
        assert_eq!(
            (lines, found.is_all),
            (expect.iter().map(|line| (*line).to_owned()).collect(), is_all),
            "{script}"
        );
    }

    #[test]
    fn every_command_of_a_script_is_found() {
        check(
            "make && git push origin main; ls | wc -l",
            &["make", "git push origin main", "ls", "wc -l"],
            true,
        );
        check("A=1 B=\"$C\" make 2>&1 >log <in\n", &["make"], true);
        check("if [ -f x ]; then git push; fi", &["[ -f x ]", "git push"], true);
        check("for x in a b; do echo $x; done", &["for x in a b", "echo x$"], true);
        check("x=$(cat a | sort) # git push\n", &["cat a", "sort"], true);
        check("echo \"$(git push)\" 'git pull'", &["git push", "echo $ git pull"], true);
        check("(cd sub; make)", &["cd sub", "make"], true);
        check("git \\\n  push", &["git push"], true);
        check("cat <<EOF > a\ngit push\nEOF\nmake", &["cat", "make"], true);
        check("cat <<-'E O'\n\tx $(y)\n\tE O\nmake", &["cat", "make"], true);
        check("$TOOL push", &["TOOL$ push"], true);
        check("echo '#' a#b", &["echo # a#b"], true);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        check("case $x in a) make ;; esac", &["case x$ in a", "make"], false);
        check("f() { make; }", &["f", "make"], false);
        check("eval \"$x\"", &["eval x$"], false);
        check("echo `make`", &["echo $"], false);
        check("cat <<EOF\n$(make)\nEOF\n", &["cat"], false);
        check("cat <<EOF\nx\n", &["cat"], false);
        check("echo \"a", &["echo a"], false);
        check("echo ${x:-$(make)}", &["echo $"], false);
        check("(make", &["make"], false);
        for script in ["$(".repeat(100_000), "(".repeat(100_000), "\"$(".repeat(100_000)] {
            assert!(!commands(&script).is_all);
        }
    }

    #[test]
    fn a_command_knows_its_place() {
        let script = "make\n  git push origin >log\n";
        let ranges: Vec<&str> =
            commands(script).list.iter().map(|command| &script[command.range.clone()]).collect();
        assert_eq!(ranges, ["make", "git push origin"]);
    }
}
