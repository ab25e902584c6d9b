//! Makes text from elsewhere safe to show on a terminal: it can colour itself and nothing else. Stores nothing.

use std::borrow::Cow;

/// The text without control sequences other than colours and styles, with every other control character shown
/// visibly (`␀`, `<U+202E>`). Line feeds and tabs stay; a text that coloured itself ends uncoloured.
pub fn terminal_safe(text: &str) -> Cow<'_, str> {
    if text.chars().all(|character| character == '\n' || character == '\t' || !is_dangerous(character)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    let mut coloured = false;
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        rest = match character {
            '\n' | '\t' => {
                safe.push(character);
                after
            }
            '\x1b' => escape(rest, &mut safe, &mut coloured),
            '\r' if after.starts_with('\n') => after,
            _ if is_dangerous(character) => {
                show(character, &mut safe);
                after
            }
            _ => {
                safe.push(character);
                after
            }
        };
    }
    if coloured {
        safe.push_str("\x1b[0m");
    }
    Cow::Owned(safe)
}

/// Control characters, and those that reorder, hide or break text.
fn is_dangerous(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn show(character: char, safe: &mut String) {
    let visible = match u32::from(character) {
        code @ 0..0x20 => char::from_u32(0x2400 + code),
        0x7f => Some('\u{2421}'),
        _ => None,
    };
    match visible {
        Some(visible) => safe.push(visible),
        None => safe.push_str(&format!("<U+{:04X}>", u32::from(character))),
    }
}

/// Reads one sequence that begins with ESC; returns what follows it.
fn escape<'a>(text: &'a str, safe: &mut String, coloured: &mut bool) -> &'a str {
    let body = &text[1..];
    match body.chars().next() {
        Some('[') => control_sequence(text, safe, coloured),
        // Operating system command, device control, start of string, privacy message, application command.
        Some(']' | 'P' | 'X' | '^' | '_') => after_string(&body[1..]),
        // ESC, intermediate bytes, one final byte.
        Some(' '..='/') => {
            let rest = body.trim_start_matches(|byte| (' '..='/').contains(&byte));
            rest.strip_prefix(|byte| ('0'..='~').contains(&byte)).unwrap_or(rest)
        }
        Some('0'..='~') => &body[1..],
        _ => {
            show('\x1b', safe);
            body
        }
    }
}

fn control_sequence<'a>(text: &'a str, safe: &mut String, coloured: &mut bool) -> &'a str {
    let body = &text[2..];
    let end = body.find(|byte| !(' '..='?').contains(&byte)).unwrap_or(body.len());
    let Some(last) = body[end..].chars().next().filter(|byte| ('@'..='~').contains(byte)) else {
        return &body[end..];
    };
    if last == 'm'
        && let Some(colours) = harmless_style(&body[..end])
    {
        safe.push_str(&text[..2 + end + 1]);
        *coloured = colours;
    }
    &body[end + 1..]
}

/// Whether a style may be shown, and if so, whether anything but the plain style is on after it. Concealing and
/// blinking are not: they make text that is not seen, or looks like ours.
fn harmless_style(parameters: &str) -> Option<bool> {
    let mut on = false;
    let mut numbers = parameters.split([';', ':']).map(|number| match number {
        "" => Some(0),
        number => number.parse::<u16>().ok(),
    });
    while let Some(number) = numbers.next() {
        match number? {
            0 => on = false,
            5 | 6 | 8 => return None,
            38 | 48 | 58 => {
                // The colour's own numbers are not styles: `5;N` or `2;R;G;B`.
                on = true;
                let arguments = if numbers.next()?? == 5 { 1 } else { 3 };
                numbers.by_ref().take(arguments).for_each(|_| ());
            }
            _ => on = true,
        }
    }
    Some(on)
}

/// What follows a control string: it ends with BEL, ST or the end of the line, which an unfinished one may not swallow.
fn after_string(body: &str) -> &str {
    let Some(end) = body.find(['\x07', '\x1b', '\u{9c}', '\n']) else { return "" };
    let rest = &body[end..];
    match rest.strip_prefix("\x1b\\") {
        Some(rest) => rest,
        None if rest.starts_with(['\n', '\x1b']) => rest,
        None => &rest[rest.chars().next().map_or(0, char::len_utf8)..],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(terminal_safe(text), expect);
    }

    #[test]
    fn colours_stay_and_everything_else_goes_or_shows() {
        check("plain\ttext\n", "plain\ttext\n");
        check("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m");
        check("\x1b[31mred", "\x1b[31mred\x1b[0m");
        check("a\x1b[2Jb\x1b[1;1Hc", "abc");
        check("\x1b]0;title\x07x\x1b]8;;http://e\x1b\\link", "xlink");
        check("100%\rok", "100%␍ok");
        check("line\r\n", "line\n");
        check("a\0b\x7f", "a␀b␡");
        check("\u{9b}31m", "<U+009B>31m");
        check("\u{202e}txt", "<U+202E>txt");
        check("\x1b[8mhidden\x1b[5mblink", "hiddenblink");
        check("\x1b[38;5;8mgrey\x1b[m", "\x1b[38;5;8mgrey\x1b[m");
        check("\x1b[38;2;1;2;3mcolour", "\x1b[38;2;1;2;3mcolour\x1b[0m");
        check("\x1b[31", "");
        check("\x1b[31\nnext", "\nnext");
        check("end\x1b", "end␛");
        check("\x1bcreset \x1b(B", "reset ");
        check("\x1bPdevice\nnext", "\nnext");
    }
    proptest::proptest! {
        #[test]
        fn whatever_comes_only_text_and_colours_leave(
            text in r"(\x1b[\[\]PX^_(c0-9;m]{0,3}|[0-9;:]{0,3}m|[\r\n\x07\x9b\x9c\u{202e}\u{2066}a]|\PC|\pC){0,30}",
        ) {
            let safe = terminal_safe(&text);
            let colours = regex::Regex::new(r"\x1b\[[0-9;:]*m").unwrap();
            let bare = colours.replace_all(&safe, "");
            let dangerous = bare.chars().find(|found| is_dangerous(*found) && !matches!(found, '\n' | '\t'));
            proptest::prop_assert_eq!(dangerous, None, "{:?}", safe);
            proptest::prop_assert_eq!(&terminal_safe(&safe), &safe);
        }
    }
}
