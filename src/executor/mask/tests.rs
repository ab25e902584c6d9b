//! Tests of masking: any secret, any split.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

fn stream(mask: &Arc<Mask>, chunks: &[&[u8]]) -> Vec<u8> {
    let mut stream = mask.stream();
    let mut out = Vec::new();
    chunks.iter().for_each(|chunk| stream.push(chunk, &mut out));
    stream.finish(&mut out);
    out
}

#[track_caller]
fn check(secret: &str, text: &str, expect: &str) {
    assert_eq!(Mask::new([("S", secret)]).apply(text), expect);
}

#[test]
fn a_secret_split_over_chunks_is_masked() {
    let mask = Arc::new(Mask::new([("TOKEN", "hunter2")]));
    let out = stream(&mask, &[b"a hun", b"te", b"r2 b hunter"]);
    assert_eq!(String::from_utf8_lossy(&out), "a *** b hunter");
}

#[test]
fn only_the_beginning_of_a_secret_is_held_back() {
    let mask = Arc::new(Mask::new([("TOKEN", "hunter2")]));
    let mut stream = mask.stream();
    let mut out = Vec::new();
    stream.push(b"password: ", &mut out);
    assert_eq!(out, b"password: ");
    stream.push(b"say hunt", &mut out);
    assert_eq!(out, b"password: say ");
    stream.push(b"ing", &mut out);
    assert_eq!(out, b"password: say hunting");
}

#[test]
fn a_secret_that_begins_another_waits_for_the_longer_one() {
    let mask = Arc::new(Mask::new([("A", "alpha"), ("B", "alphabet soup")]));
    assert_eq!(stream(&mask, &[b"alpha", b"bet soup!"]), b"***!");
    assert_eq!(stream(&mask, &[b"alpha", b"bet", b" soap"]), b"***bet soap");
}

#[test]
fn usual_spellings_are_masked() {
    let secret = "p@ss w/\"o'rd\u{e9}\\1";
    check(secret, &STANDARD.encode(secret), "***");
    check(secret, &URL_SAFE_NO_PAD.encode(secret), "***");
    check(secret, "p%40ss%20w%2F%22o%27rd%C3%A9%5C1", "***");
    check(secret, "p%40ss%20w%2F%22o'rd%C3%A9%5C1", "***");
    check(secret, "q=p%40ss+w%2f%22o%27rd%c3%a9%5c1", "q=***");
    check(secret, "q=p%40ss%20w%2f%22o%27rd%c3%a9%5c1", "q=***");
    check(secret, "http://p@ss%20w/%22o'rd%C3%A9%5C1@host", "http://***@host");
    check(secret, "{\"a\":\"p@ss w/\\\"o'rd\u{e9}\\\\1\"}", "{\"a\":\"***\"}");
    check(secret, "\"p@ss w\\/\\\"o'rd\u{e9}\\\\1\"", "\"***\"");
    check(secret, "\"p@ss w/\\\"o'rd\\u00e9\\\\1\"", "\"***\"");
    check(secret, "echo 'p@ss w/\"o'\\''rd\u{e9}\\1'", "echo '***'");
    let hexadecimal: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    check(secret, &format!("0x{hexadecimal}"), "0x***");
    check(secret, &hexadecimal.to_uppercase(), "***");
}

#[test]
fn each_line_of_a_secret_of_several_lines_is_masked() {
    let key = "-----BEGIN KEY-----\nMIIEvQ+IBADANBg\nab\n-----END KEY-----\n";
    check(key, "  MIIEvQ+IBADANBg\r\nab\n", "  ***\r\nab\n");
    check(key, &format!("<{key}>"), "<***>");
    check(key, &format!("<{}>", key.trim()), "<***>");
    check(key, &STANDARD.encode(key), "***");
}

#[test]
fn base64_that_is_wrapped_is_masked() {
    let secret: String = (0..40).map(|number| format!("{number:03}.")).collect();
    for width in [64, 76] {
        let encoded = STANDARD.encode(&secret);
        let wrapped: Vec<_> =
            encoded.as_bytes().chunks(width).map(|line| str::from_utf8(line).unwrap()).collect();
        let masked = vec!["***"; wrapped.len()].join("\n");
        check(&secret, &wrapped.join("\n"), &masked);
    }
}

#[test]
fn too_short_ones_are_named_and_not_masked() {
    let mask = Mask::new([("PIN", "42"), ("BLANK", " \n "), ("KEY", "long enough")]);
    assert_eq!(mask.unmasked(), ["PIN", "BLANK"]);
    assert_eq!(mask.apply("42, long enough"), "42, ***");
    assert!(Mask::new([("PIN", "42")]).is_none());
}

#[test]
fn debug_output_tells_nothing() {
    let text = format!("{:?}", Mask::new([("KEY", "hunter2")]));
    assert!(!text.contains("hunter") && text.contains("patterns"), "{text}");
}

/// Obvious and slow: at every place the longest pattern that is there.
fn model(patterns: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let here = patterns.iter().filter(|pattern| text[at..].starts_with(pattern));
        match here.map(Vec::len).max() {
            Some(length) => {
                out.extend_from_slice(REPLACEMENT.as_bytes());
                at += length;
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn cut(text: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let (mut chunks, mut from) = (Vec::new(), 0);
    for cut in cuts.iter().cycle().take_while(|_| !cuts.is_empty()) {
        if from >= text.len() {
            break;
        }
        let to = (from + cut).min(text.len());
        chunks.push(text[from..to].to_vec());
        from = to;
    }
    chunks.push(text[from..].to_vec());
    chunks
}

proptest! {
    // Each case builds an automaton, which takes a while without optimisation.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Few letters, so that secrets overlap themselves and one another.
    #[test]
    fn a_stream_cut_anywhere_is_masked_as_the_whole(
        secrets in prop::collection::vec("[ab]{3,9}", 1..4),
        text in "[ab]{0,200}",
        cuts in prop::collection::vec(1usize..20, 0..5),
    ) {
        let mask = Arc::new(Mask::new(secrets.iter().map(|secret| ("S", secret))));
        let chunks = cut(text.as_bytes(), &cuts);
        let chunks: Vec<_> = chunks.iter().map(Vec::as_slice).collect();
        let out = stream(&mask, &chunks);
        prop_assert_eq!(&out, &model(&mask.search.as_ref().unwrap().patterns, text.as_bytes()));
        let applied = mask.apply(&text);
        prop_assert_eq!(&out, applied.as_bytes());
        for secret in &secrets {
            prop_assert!(!contains(&out, secret.as_bytes()));
        }
    }

    /// Filler that no spelling uses: exactly the secrets go.
    #[test]
    fn any_secret_in_any_text_goes_and_everything_else_stays(
        secret in prop::collection::vec(any::<u8>().prop_filter("not of the filler", |byte| !b"* \n\0,".contains(byte)), 4..60),
        fillers in prop::collection::vec("[ \n\0,]{1,9}", 2..6),
        cuts in prop::collection::vec(1usize..40, 0..5),
    ) {
        prop_assume!(String::from_utf8_lossy(secret.trim_ascii()).chars().count() >= SHORTEST);
        let mask = Arc::new(Mask::new([("S", &secret)]));
        let fillers: Vec<_> = fillers.iter().map(String::as_bytes).collect();
        let text = fillers.join(&secret[..]);
        let chunks = cut(&text, &cuts);
        let chunks: Vec<_> = chunks.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(stream(&mask, &chunks), fillers.join(REPLACEMENT.as_bytes()));
    }

    /// Whatever stands before and after it in an encoded text: at most the edges, which other bytes share, remain.
    #[test]
    fn a_secret_inside_an_encoded_text_is_masked(
        before in prop::collection::vec(any::<u8>(), 0..7),
        secret in "[!-)+-~]{7,40}",
        after in prop::collection::vec(any::<u8>(), 0..7),
    ) {
        let whole = [&before[..], secret.as_bytes(), &after[..]].concat();
        let encoded = STANDARD_NO_PAD.encode(&whole);
        let masked = Mask::new([("S", &secret)]).apply(&encoded).into_owned();
        prop_assert!(masked.contains(REPLACEMENT), "{encoded} {masked}");
        let around = (before.len() + after.len()) * 4 / 3 + 6;
        prop_assert!(masked.len() <= around + REPLACEMENT.len(), "{encoded} {masked}");
    }
}

#[test]
fn a_probe_finds_a_secret_that_two_writes_cut_and_keeps_little() {
    use std::io::Write;
    let mask = Mask::new([("TOKEN", "hunter2-hunter2")]);
    for cut in 0..15 {
        let mut probe = mask.probe();
        probe.write_all(&[b'x'; 1000]).unwrap();
        probe.write_all(&b"hunter2-hunter2"[..cut]).unwrap();
        assert!(!probe.found());
        probe.write_all(&b"hunter2-hunter2"[cut..]).unwrap();
        assert!(probe.found(), "cut at {cut}");
    }
    let mut probe = mask.probe();
    probe.write_all(b"hunter2-hunter").unwrap();
    assert!(!probe.found() && mask.finds_in(b"a hunter2-hunter2") && !mask.finds_in(b"hunter"));
    assert!(!Mask::none().finds_in(b"hunter2-hunter2"));
}
