//! Git's wildcard matching over bytes: `*`, `?`, `[a-z]`, `[[:alpha:]]`, `\` and, in paths, `**`. A port of git's
//! `wildmatch.c`, because ignore rules have to mean exactly what git says. Knows nothing of the files patterns are in.

/// Whether `*` and `?` stop at `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::git) enum Slashes {
    /// A pattern for a whole path: only `**` crosses `/`.
    Separate,
    /// A pattern for one name.
    Ordinary,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Match,
    NoMatch,
    /// No later start of an enclosing `*` can match either.
    AbortAll,
    /// The same, except for an enclosing `**`.
    AbortToStarStar,
}

pub(in crate::git) fn wildmatch(pattern: &[u8], text: &[u8], slashes: Slashes) -> bool {
    Matcher { pattern, text, slashes }.from(0, 0) == Found::Match
}

/// Position of the first character that is not taken literally, or the length.
pub(in crate::git) fn literal_length(pattern: &[u8]) -> usize {
    pattern.iter().position(|byte| is_special(*byte)).unwrap_or(pattern.len())
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b'\\')
}

struct Matcher<'a> {
    pattern: &'a [u8],
    text: &'a [u8],
    slashes: Slashes,
}

impl Matcher<'_> {
    /// The byte of the pattern, 0 at its end as in C. (Neither patterns nor paths hold a 0.)
    fn pattern_at(&self, position: usize) -> u8 {
        self.pattern.get(position).copied().unwrap_or(0)
    }

    fn text_at(&self, position: usize) -> u8 {
        self.text.get(position).copied().unwrap_or(0)
    }

    fn from(&self, mut p: usize, mut t: usize) -> Found {
        while self.pattern_at(p) != 0 {
            let (wanted, have) = (self.pattern_at(p), self.text_at(t));
            if have == 0 && wanted != b'*' {
                return Found::AbortAll;
            }
            match wanted {
                b'?' if self.slashes == Slashes::Separate && have == b'/' => return Found::NoMatch,
                b'?' => {}
                b'*' => match self.star(p, t) {
                    Star::Done(found) => return found,
                    Star::NextDirectory { pattern, text } => (p, t) = (pattern, text),
                },
                b'[' => match self.class(p, have) {
                    Ok(end) => p = end,
                    Err(found) => return found,
                },
                b'\\' => {
                    p += 1;
                    if self.pattern_at(p) != have {
                        return Found::NoMatch;
                    }
                }
                _ if wanted != have => return Found::NoMatch,
                _ => {}
            }
            p += 1;
            t += 1;
        }
        if t < self.text.len() { Found::NoMatch } else { Found::Match }
    }

    /// A run of asterisks at `p`.
    fn star(&self, mut p: usize, mut t: usize) -> Star {
        let first = p;
        while self.pattern_at(p) == b'*' {
            p += 1;
        }
        let crosses = match (self.slashes, p - first) {
            (Slashes::Ordinary, _) => true,
            (Slashes::Separate, 1) => false,
            (Slashes::Separate, _) => {
                let opens = first == 0 || self.pattern[first - 1] == b'/';
                let closes = matches!(self.pattern_at(p), 0 | b'/')
                    || (self.pattern_at(p) == b'\\' && self.pattern_at(p + 1) == b'/');
                // `a/**/b` also matches `a/b`.
                if opens && closes && self.pattern_at(p) == b'/' && self.from(p + 1, t) == Found::Match {
                    return Star::Done(Found::Match);
                }
                opens && closes
            }
        };
        let rest = self.text.get(t..).unwrap_or_default();
        if self.pattern_at(p) == 0 {
            let stays = crosses || !rest.contains(&b'/');
            return Star::Done(if stays { Found::Match } else { Found::AbortToStarStar });
        }
        if !crosses && self.pattern_at(p) == b'/' {
            return match rest.iter().position(|byte| *byte == b'/') {
                Some(slash) => Star::NextDirectory { pattern: p, text: t + slash },
                None => Star::Done(Found::AbortAll),
            };
        }
        while t < self.text.len() {
            match self.from(p, t) {
                Found::NoMatch if !crosses && self.text_at(t) == b'/' => {
                    return Star::Done(Found::AbortToStarStar);
                }
                Found::NoMatch => {}
                Found::AbortToStarStar if crosses => {}
                found => return Star::Done(found),
            }
            t += 1;
        }
        Star::Done(Found::AbortAll)
    }

    /// A bracket expression at `p`: where it ends, if it admits the byte.
    fn class(&self, mut p: usize, have: u8) -> Result<usize, Found> {
        p += 1;
        let negated = matches!(self.pattern_at(p), b'!' | b'^');
        p += usize::from(negated);
        let (mut matched, mut previous) = (false, 0);
        loop {
            let mut current = self.pattern_at(p);
            if current == 0 {
                return Err(Found::AbortAll);
            }
            if current == b'\\' {
                p += 1;
                current = self.pattern_at(p);
                if current == 0 {
                    return Err(Found::AbortAll);
                }
                matched |= have == current;
            } else if current == b'-' && previous != 0 && !matches!(self.pattern_at(p + 1), 0 | b']') {
                p += 1;
                let mut last = self.pattern_at(p);
                if last == b'\\' {
                    p += 1;
                    last = self.pattern_at(p);
                    if last == 0 {
                        return Err(Found::AbortAll);
                    }
                }
                matched |= (previous..=last).contains(&have);
                current = 0;
            } else if current == b'[' && self.pattern_at(p + 1) == b':' {
                match self.named_class(p + 2) {
                    Some((end, name)) => {
                        matched |= in_named_class(name, have).ok_or(Found::AbortAll)?;
                        p = end;
                        current = 0;
                    }
                    None if !self.pattern[p + 2..].contains(&b']') => return Err(Found::AbortAll),
                    None => matched |= have == b'[',
                }
            } else {
                matched |= have == current;
            }
            previous = current;
            p += 1;
            if self.pattern_at(p) == b']' {
                break;
            }
        }
        let stops = self.slashes == Slashes::Separate && have == b'/';
        if matched == negated || stops { Err(Found::NoMatch) } else { Ok(p) }
    }

    /// `alpha:]` at `start`: the place of its `]`, and the name.
    fn named_class(&self, start: usize) -> Option<(usize, &[u8])> {
        let end = start + self.pattern[start..].iter().position(|byte| *byte == b']')?;
        let name = self.pattern[start..end].strip_suffix(b":")?;
        Some((end, name))
    }
}

enum Star {
    Done(Found),
    /// `*/` goes on at the next slash of the text.
    NextDirectory {
        pattern: usize,
        text: usize,
    },
}

fn in_named_class(name: &[u8], byte: u8) -> Option<bool> {
    Some(match name {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_match_as_in_git() {
        use Slashes::{Ordinary, Separate};
        let cases = [
            ("foo", "foo", Separate, true),
            ("f*o", "fabco", Separate, true),
            ("foo*", "foo/bar", Separate, false),
            ("foo*", "foo/bar", Ordinary, true),
            ("**/foo", "foo", Separate, true),
            ("**/foo", "a/b/foo", Separate, true),
            ("foo/**/bar", "foo/bar", Separate, true),
            ("foo/**/bar", "foo/x/y/bar", Separate, true),
            ("foo/**", "foo/x/y", Separate, true),
            ("foo**bar", "foo/bar", Separate, false),
            ("*/*/c", "a/b/c", Separate, true),
            ("*/c", "a/b/c", Separate, false),
            ("a[]]b", "a]b", Separate, true),
            ("a[!x-z]b", "ayb", Separate, false),
            ("a[^x-z]b", "aab", Separate, true),
            ("[[:digit:][:upper:]][[:space:]]", "A ", Separate, true),
            ("[a-c-e]", "-", Separate, true),
            ("[\\-]", "-", Separate, true),
            ("\\*", "*", Separate, true),
            ("\\*", "x", Separate, false),
            ("foo\\", "foo", Separate, false),
            ("[ab", "a", Separate, false),
            ("?", "/", Separate, false),
            ("*a*b*c*", "xxaxxbxxcxx", Separate, true),
        ];
        for (pattern, text, slashes, expect) in cases {
            let found = wildmatch(pattern.as_bytes(), text.as_bytes(), slashes);
            assert_eq!(found, expect, "{pattern} {text} {slashes:?}");
        }
    }

    #[test]
    fn many_asterisks_do_not_take_for_ever() {
        let (pattern, text) = ("*a".repeat(30) + "b", "a".repeat(2000));
        assert!(!wildmatch(pattern.as_bytes(), text.as_bytes(), Slashes::Separate));
    }
}
