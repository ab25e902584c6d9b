//! The ways in which a secret commonly turns up in output. Knows nothing of streams.

use std::collections::BTreeSet;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

type Patterns = BTreeSet<Vec<u8>>;

/// Shortest line of a multi-line secret that is masked alone, characters.
const SHORTEST_LINE: usize = 4;
/// Shortest piece of an encoded text that is masked, bytes: shorter ones turn up by chance.
const SHORTEST_PIECE: usize = 6;

/// Adds everything to mask for one secret.
pub(super) fn add(secret: &[u8], patterns: &mut Patterns) {
    add_spellings(secret, patterns);
    let trimmed = secret.trim_ascii();
    if trimmed.len() < secret.len() && trimmed.len() >= SHORTEST_LINE {
        add_spellings(trimmed, patterns);
    }
    let lines: Vec<_> = trimmed.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
    if lines.len() > 1 {
        let long = |line: &&&[u8]| String::from_utf8_lossy(line).chars().count() >= SHORTEST_LINE;
        lines.iter().filter(long).for_each(|line| add_spellings(line, patterns));
    }
}

fn add_spellings(secret: &[u8], patterns: &mut Patterns) {
    patterns.insert(secret.to_vec());
    add_base64(secret, patterns);
    add_percent(secret, patterns);
    add_hexadecimal(secret, patterns);
    if let Ok(text) = std::str::from_utf8(secret) {
        add_json(text, patterns);
        add_shell(text, patterns);
    }
}

/// Alone, with and without padding, wrapped at 76 and 64 columns; and within a longer text, which begins 0, 1 or 2
/// bytes before it (modulo 3): there only the characters that the secret alone decides.
fn add_base64(secret: &[u8], patterns: &mut Patterns) {
    for engine in [&STANDARD, &URL_SAFE] {
        let whole = engine.encode(secret);
        for width in [76, 64] {
            let lines = whole.as_bytes().chunks(width);
            patterns.extend(lines.filter(|line| line.len() >= SHORTEST_PIECE).map(<[u8]>::to_vec));
        }
        patterns.insert(whole.trim_end_matches('=').as_bytes().to_vec());
        patterns.insert(whole.into_bytes());
        for before in 0..3 {
            let shifted = engine.encode([&[0; 3][..before], secret].concat());
            let first = (before * 8).div_ceil(6);
            let end = (before + secret.len()) * 8 / 6;
            if end >= first + SHORTEST_PIECE {
                patterns.insert(shifted.as_bytes()[first..end].to_vec());
            }
        }
    }
}

/// The sets that programs leave as they are differ: RFC 3986, the same with `/`, `encodeURIComponent`, `encodeURI`,
/// forms.
fn add_percent(secret: &[u8], patterns: &mut Patterns) {
    for kept in ["-._~", "-._~/", "-._~!'()*", "-._~!'()*;,/?:@&=+$#", "-._*"] {
        for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
            let encoded = percent(secret, kept, digits);
            patterns.insert(encoded.replace("%20", "+").into_bytes());
            patterns.insert(encoded.into_bytes());
        }
    }
}

fn percent(secret: &[u8], kept: &str, digits: &[u8; 16]) -> String {
    let mut encoded = String::new();
    for byte in secret {
        if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            let digit = |value: u8| char::from(digits[usize::from(value)]);
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

fn add_hexadecimal(secret: &[u8], patterns: &mut Patterns) {
    if secret.len() * 2 > SHORTEST_PIECE {
        let lower: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        patterns.insert(lower.to_ascii_uppercase().into_bytes());
        patterns.insert(lower.into_bytes());
    }
}

/// As a JSON string without its quotes: plain, with `\/`, with everything beyond ASCII escaped, and once more escaped.
fn add_json(secret: &str, patterns: &mut Patterns) {
    let plain = json(secret);
    let ascii = plain.chars().fold(String::new(), |mut text, character| {
        if character.is_ascii() {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
        text
    });
    patterns.insert(plain.replace('/', "\\/").into_bytes());
    patterns.insert(json(&plain).into_bytes());
    patterns.insert(plain.into_bytes());
    patterns.insert(ascii.into_bytes());
}

fn json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// As `set -x` and `printf %q` show it.
fn add_shell(secret: &str, patterns: &mut Patterns) {
    patterns.insert(secret.replace('\'', "'\\''").into_bytes());
    let escaped = secret.chars().fold(String::new(), |mut text, character| {
        if character.is_ascii() && !character.is_ascii_alphanumeric() && !"_-./:=@%+".contains(character) {
            text.push('\\');
        }
        text.push(character);
        text
    });
    patterns.insert(escaped.into_bytes());
}
