//! Words for durations, sizes and times, and text from elsewhere made fit for a terminal.

use std::borrow::Cow;

use crate::executor::clean::terminal_safe;

/// `340ms`, `3.2s`, `1m 05s`, `2h 03m`.
pub fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match milliseconds {
        0..1_000 => format!("{milliseconds}ms"),
        1_000..60_000 => format!("{seconds}.{}s", milliseconds % 1000 / 100),
        60_000..3_600_000 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `17 B`, `1.4 KiB`, `3.0 GiB`.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    if count < 1024 {
        return format!("{count} B");
    }
    for unit in ["KiB", "MiB", "GiB"] {
        value /= 1024.0;
        if value < 1023.95 {
            return format!("{value:.1} {unit}");
        }
    }
    format!("{:.1} TiB", value / 1024.0)
}

/// `1 file`, `3 files`.
pub fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// An RFC 3339 time as the local clock shows it: `2026-11-24 13:17:22`.
pub fn local_time(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(timestamp) => {
            timestamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        Err(_) => line(time).into_owned(),
    }
}

/// Milliseconds from an RFC 3339 time until now; 0 if it cannot be read.
pub fn since(time: &str) -> u64 {
    let Ok(time) = time.parse::<jiff::Timestamp>() else { return 0 };
    u64::try_from(jiff::Timestamp::now().as_millisecond() - time.as_millisecond()).unwrap_or(0)
}

/// Milliseconds from one RFC 3339 time to a later one; 0 if they cannot be compared.
pub fn between(from: &str, to: &str) -> u64 {
    let parse = |time: &str| time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond);
    let (Some(from), Some(to)) = (parse(from), parse(to)) else { return 0 };
    u64::try_from(to - from).unwrap_or(0)
}

/// The first twelve digits of an object id.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Text from elsewhere as one plain line: no control characters, no colours of its own.
pub fn line(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let safe = terminal_safe(text.trim_end());
    let plain = anstream::adapter::strip_str(&safe).to_string();
    Cow::Owned(plain.replace(['\n', '\t'], " "))
}

/// Text from elsewhere that may have lines and colours, and nothing else.
pub fn block(text: &str) -> Cow<'_, str> {
    terminal_safe(text)
}

/// Output of a node as a terminal would show it at last: colours stay, what carriage returns overwrote is gone.
pub fn output(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split('\n').map(last_shown).collect::<Vec<_>>().join("\n");
    terminal_safe(&lines).into_owned()
}

/// The last part of a line that a carriage return did not overwrite.
pub fn last_shown(line: &str) -> &str {
    line.trim_end_matches('\r').rsplit('\r').next().unwrap_or(line)
}

/// Columns that a text takes on a terminal, without its colours.
pub fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

/// The text cut to a number of columns, with `...` where something is missing.
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    console::truncate_str(text, columns, if columns > 3 { "..." } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_well_at_every_scale() {
        let cases = [(0, "0ms"), (999, "999ms"), (3_250, "3.2s"), (65_000, "1m 05s"), (7_380_000, "2h 03m")];
        for (milliseconds, expect) in cases {
            assert_eq!(duration(milliseconds), expect);
        }
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1434, "1.4 KiB"),
            (1_048_575, "1.0 MiB"),
            (3 << 30, "3.0 GiB"),
            (2 << 40, "2.0 TiB"),
        ];
        for (size, expect) in cases {
            assert_eq!(bytes(size), expect);
        }
        assert_eq!((count(1, "file"), count(0, "file")), ("1 file".to_owned(), "0 files".to_owned()));
    }

    #[test]
    fn a_line_of_a_stranger_stays_one_plain_line() {
        assert_eq!(line("a\x1b[31mred\x1b[0m\nb\x07\u{202e}"), "ared b\u{2407}<U+202E>");
        assert_eq!(last_shown("10%\r50%\r100%\r"), "100%");
        assert_eq!(output(b"10%\r100%\r\n\x1b[32mok\x1b[2J\xff\n"), "100%\n\x1b[32mok\u{fffd}\n\x1b[0m");
    }

    #[test]
    fn times_that_cannot_be_read_are_shown_as_they_are() {
        assert_eq!(local_time("soon\x1b[2J"), "soon");
        assert_eq!(between("2026-11-24T13:17:22.000Z", "2026-11-24T13:17:23.500Z"), 1500);
        assert_eq!(between("x", "2026-11-24T13:17:23.500Z"), 0);
    }
}
