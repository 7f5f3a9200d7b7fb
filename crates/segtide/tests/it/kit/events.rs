//! Segmentation events for files: many users who come and go, the same on every machine.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

const USERS: u64 = 1_000;
const SEGMENTS: u64 = 40;

/// Appends events of these numbers to a file of JSON lines. Event n is a function of n; there are a hundred thousand and more
/// before the day of their timestamps ends.
pub(crate) fn write_events(path: &Path, numbers: Range<u64>) {
    let mut file = BufWriter::new(OpenOptions::new().create(true).append(true).open(path).unwrap());
    for number in numbers {
        writeln!(file, "{}", event(number)).unwrap();
    }
    file.flush().unwrap();
}

/// One event. Of ten, three are removals and three have a value.
fn event(number: u64) -> String {
    let random = mix(number);
    let segment = random % SEGMENTS;
    let vendor = 1 + segment % 10;
    let user = (random >> 8) % USERS;
    let kind = match (random >> 32) % 10 {
        0..3 => r#","remove":true"#.to_owned(),
        3..6 => format!(r#","value":"value {number}""#),
        _ => String::new(),
    };
    let id = mix(!number);
    let id = format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{number:012x}",
        id >> 32,
        id >> 16 & 0xffff,
        id & 0xfff,
        id >> 12 & 0xfff
    );
    let (ms, seconds) = (number % 10 * 100, number / 10);
    let at = format!("{:02}:{:02}:{:02}.{ms:03}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        r#"{{"event":"{id}","timestamp":"2021-01-16T{at}Z","user":"usr-{user:06x}","segment":{{"vendor":{vendor},"name":"seg-{segment:X}"}}{kind}}}"#
    )
}

/// A number that looks random and depends on every bit of another (the finalizer of SplitMix64).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_they_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let (whole, parts) = (directory.path().join("whole"), directory.path().join("parts"));
        write_events(&whole, 0..3_000);
        write_events(&parts, 0..1_234);
        write_events(&parts, 1_234..3_000);
        let whole = std::fs::read_to_string(whole).unwrap();
        assert_eq!(whole, std::fs::read_to_string(parts).unwrap());
        assert_eq!(whole.lines().count(), 3_000);
        assert_eq!(whole.lines().next().unwrap(), event(0));
        for line in whole.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["event"].as_str().unwrap().len(), 36);
            assert!(event.get("remove").is_none() || event.get("value").is_none());
        }
    }
}
