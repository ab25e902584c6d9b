//! The journal of one run: append-only lines, one [`Record`] each, each with a checksum. It is the truth that every
//! other view of a run is made from. Knows how lines are framed, not when they are written (`recorder` does).
//!
//! A line is a JSON object whose last field is `sum`, the first 16 hexadecimal digits of the BLAKE3 of everything in
//! front of that field. A torn or damaged tail is cut at the last whole record; a damaged record in the middle is an
//! error that names its line, because what follows would be read without it.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::StoreError;
use crate::digest::Digest;
use crate::disk::DiskError;
use crate::event::{self, Record, RunEvent};
use crate::name::RunId;

/// One line, line end included.
pub fn encode(record: &Record) -> String {
    let mut text = String::with_capacity(640);
    text.push_str("{\"run\":\"");
    // Neither a run id nor a time has a character that JSON writes otherwise.
    text.push_str(record.run.as_str());
    text.push_str("\",\"seq\":");
    text.push_str(&record.seq.to_string());
    text.push_str(",\"time\":\"");
    text.push_str(&record.time);
    text.push_str("\",");
    let event = visible(serde_json::to_string(&record.event).expect("an event has only string keys"));
    // Events are tagged structs, which serialise to objects: theirs goes on where the line's own fields end.
    text.push_str(&event[1..event.len() - 1]);
    let sum = &Digest::of_bytes(text.as_bytes()).to_hex()[..16];
    text.push_str(",\"sum\":\"");
    text.push_str(sum);
    text.push_str("\"}\n");
    text
}

/// The same JSON without characters that steer a terminal or reorder text: JSON itself leaves all but the first 32 as they
/// are, and whoever looks at it may do so on a terminal.
pub fn visible(json: String) -> String {
    let steers = |character: char| matches!(character, '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if json.bytes().all(|byte| byte < 0x7f) || !json.contains(steers) {
        return json;
    }
    // They are within texts, since nothing else of JSON is beyond ASCII.
    json.chars().fold(String::with_capacity(json.len() + 64), |mut text, character| {
        match steers(character) {
            true => text.push_str(&format!("\\u{:04x}", u32::from(character))),
            false => text.push(character),
        }
        text
    })
}

/// Reads one line without its end.
///
/// # Errors
/// A sentence about what is wrong with it.
pub fn decode(line: &str) -> Result<Record, String> {
    let (body, sum) = line.rsplit_once(",\"sum\":\"").ok_or("the checksum is missing")?;
    let sum = sum.strip_suffix("\"}").ok_or("the line is cut off")?;
    if Digest::of_bytes(body.as_bytes()).to_hex()[..16] != *sum {
        return Err("the checksum does not match".to_owned());
    }
    let mut object: serde_json::Map<String, Value> =
        serde_json::from_str(&format!("{body}}}")).map_err(|error| error.to_string())?;
    let run = object.shift_remove("run").and_then(|run| RunId::parse(run.as_str()?)).ok_or("no run id")?;
    let seq = object.shift_remove("seq").and_then(|seq| seq.as_u64()).ok_or("no sequence number")?;
    let time =
        object.shift_remove("time").and_then(|time| time.as_str().map(str::to_owned)).ok_or("no time")?;
    let event: RunEvent = serde_json::from_value(Value::Object(object)).map_err(|error| error.to_string())?;
    Ok(Record { run, seq, time, event })
}

/// What a journal holds.
#[derive(Debug, Default)]
pub struct Journal {
    pub records: Vec<Record>,
    /// Length in bytes of the whole records; what follows is a torn tail.
    pub whole: u64,
    /// Bytes after the last whole record.
    pub torn: u64,
}

/// Reads all whole records. Locks nothing, writes nothing.
///
/// # Errors
/// When the file cannot be read, is damaged in the middle, or was written by a newer spb.
pub fn read(path: &Path) -> Result<Journal, StoreError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(|source| DiskError::new("read", path, source))?;
    parse(path, &bytes)
}

pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Journal, StoreError> {
    let mut journal = Journal::default();
    let mut at = 0;
    let mut number = 0;
    while at < bytes.len() {
        number += 1;
        let end = bytes[at..].iter().position(|&byte| byte == b'\n').map(|length| at + length);
        let line = &bytes[at..end.unwrap_or(bytes.len())];
        let record = match (end, std::str::from_utf8(line)) {
            (Some(_), Ok(line)) => decode(line),
            (Some(_), Err(_)) => Err("it is not UTF-8".to_owned()),
            (None, _) => Err("the line is cut off".to_owned()),
        };
        match record {
            Ok(record) => {
                refuse_newer(path, &record)?;
                journal.records.push(record);
            }
            Err(reason) if followed_by_a_record(&bytes[end.map_or(bytes.len(), |end| end + 1)..]) => {
                return Err(StoreError::Damaged {
                    path: path.to_owned(),
                    reason: format!("line {number}: {reason}"),
                });
            }
            Err(_) => break,
        }
        at = end.map_or(bytes.len(), |end| end + 1);
        journal.whole = at as u64;
    }
    journal.torn = bytes.len() as u64 - journal.whole;
    Ok(journal)
}

fn followed_by_a_record(rest: &[u8]) -> bool {
    rest.split(|&byte| byte == b'\n')
        .any(|line| std::str::from_utf8(line).is_ok_and(|line| decode(line).is_ok()))
}

fn refuse_newer(path: &Path, record: &Record) -> Result<(), StoreError> {
    match &record.event {
        RunEvent::RunStarted(started) if started.format > event::FORMAT => {
            Err(StoreError::Newer { path: path.to_owned(), found: started.format, known: event::FORMAT })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(seq: u64, message: &str) -> Record {
        Record {
            run: RunId::parse("20261124-131722-k3f9").unwrap(),
            seq,
            time: "2026-11-24T13:17:22.000Z".to_owned(),
            event: RunEvent::Warning { node: None, message: message.to_owned() },
        }
    }

    fn text(count: u64) -> String {
        (1..=count).map(|seq| encode(&record(seq, "a \"quoted\"\nline"))).collect()
    }

    #[test]
    fn a_line_is_one_json_object_and_comes_back_equal() {
        let line = encode(&record(7, "x\u{1b}[0m\",\"sum\":\"y"));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["event"], "warning");
        assert_eq!(value["seq"], 7);
        assert_eq!(decode(line.trim_end()).unwrap(), record(7, "x\u{1b}[0m\",\"sum\":\"y"));
    }

    proptest! {
        #[test]
        fn a_journal_cut_anywhere_keeps_every_whole_record(cut in 0_usize..1000) {
            let full = text(5);
            let cut = cut.min(full.len());
            let journal = parse(Path::new("j"), &full.as_bytes()[..cut]).unwrap();
            let whole = full[..cut].matches('\n').count();
            prop_assert_eq!(journal.records.len(), whole);
            prop_assert_eq!(journal.whole + journal.torn, cut as u64);
        }

        #[test]
        fn a_flipped_bit_is_never_read_as_a_fact(at in 0_usize..1000, bit in 0_u8..8) {
            let mut bytes = text(5).into_bytes();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            match parse(Path::new("j"), &bytes) {
                Ok(journal) => {
                    for (read, seq) in journal.records.iter().zip(1..) {
                        prop_assert_eq!(read, &record(seq, "a \"quoted\"\nline"));
                    }
                }
                Err(error) => prop_assert!(error.to_string().contains("line "), "{}", error),
            }
        }
    }

    #[test]
    fn damage_in_the_middle_names_its_line() {
        let damaged = text(3).replacen("\"seq\":2", "\"seq\":9", 1);
        let error = parse(Path::new("j"), damaged.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "`j` is damaged: line 2: the checksum does not match");
    }
}
