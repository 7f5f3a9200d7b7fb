//! When a document was published: a location of it that its text does not have, read from its UUID.

use crate::Node;

/// That location as a JSON pointer; its value is a text such as `2021-07-22T21:09:34.123456Z`, in UTC.
pub const PUBLISHED_AT: &str = "/_meta/uuid/date-time";

/// Length of a UUID's text.
const UUID_LEN: usize = 36;
/// Microseconds between 1582-10-15, where UUIDs begin to count, and 1970-01-01.
const EPOCH_US: u64 = 0x01b2_1dd2_1381_4000 / 10;
/// Microseconds of a day.
const DAY_US: u64 = 86_400_000_000;
/// Days between 0000-03-01 and 1970-01-01: years that begin in March have their leap day last.
const DAYS_TO_1970: u64 = 719_468;
/// Days of 400 years, of 100 that have no leap day in their last, and of 4 that have one.
const DAYS: (u64, u64, u64) = (146_097, 36_524, 1_461);

/// The clock of a version 1 UUID's text: ticks of 100 ns since 1582-10-15 in the upper 60 bits, the four bits that extend it in
/// the lower ones. `None` if it is no such UUID.
pub fn uuid_clock(uuid: &[u8]) -> Option<u64> {
    let uuid: &[u8; UUID_LEN] = uuid.try_into().ok()?;
    if uuid[14] != b'1' || [8, 13, 18, 23].iter().any(|&dash| uuid[dash] != b'-') {
        return None;
    }
    let (low, mid, high) = (hex(&uuid[0..8])?, hex(&uuid[9..13])?, hex(&uuid[15..18])?);
    let counter = hex(&uuid[19..23])? >> 10 & 0xf;
    Some((high << 48 | mid << 32 | low) << 4 | counter)
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | u64::from(char::from(*digit).to_digit(16)?)))
}

/// When a document was published, if it was and its UUID tells.
pub(crate) fn published_at(document: Node<'_>) -> Option<String> {
    let clock = uuid_clock(document.get("_meta")?.get("uuid")?.as_str()?.as_bytes())?;
    Some(date_time(((clock >> 4) / 10).saturating_sub(EPOCH_US)))
}

/// A moment in microseconds since 1970 as RFC 3339 has it.
fn date_time(us: u64) -> String {
    let (per_400, per_100, per_4) = DAYS;
    let days = us / DAY_US + DAYS_TO_1970;
    let of_400 = days % per_400;
    let year_of_400 = (of_400 - of_400 / (per_4 - 1) + of_400 / per_100 - of_400 / (per_400 - 1)) / 365;
    let of_year = of_400 - (365 * year_of_400 + year_of_400 / 4 - year_of_400 / 100);
    // Months from March have 31 and 30 days by turns, but for July and August, and December and January.
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let (month, next) = if from_march < 10 { (from_march + 3, 0) } else { (from_march - 9, 1) };
    let year = days / per_400 * 400 + year_of_400 + next;
    let of_day = us % DAY_US;
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arena, Pointer, parse};

    #[test]
    fn documents_tell_when_they_were_published() {
        let pointer: Pointer = PUBLISHED_AT.parse().unwrap();
        for (document, expected) in [
            (r#"{"_meta":{"uuid":"1d99902e-eb31-11eb-8401-35b56d2a9099"}}"#, r#""2021-07-22T21:09:34.746014Z""#),
            (r#"{"_meta":{"uuid":"1d99902e-eb31-41eb-8401-35b56d2a9099"}}"#, "null"),
            (r#"{"_meta":{"uuid":7}}"#, "null"),
            ("{}", "null"),
        ] {
            let arena = Arena::new();
            let node = parse(&arena, document.as_bytes()).unwrap();
            assert_eq!(pointer.value_in(&arena, node).to_json(), expected, "{document}");
            assert_eq!(pointer.query(node), None, "{document}");
        }
        let arena = Arena::new();
        let node = parse(&arena, br#"{"a":1,"_meta":{"uuid":"1d99902e-eb31-11eb-8401-35b56d2a9099"}}"#).unwrap();
        assert_eq!("/a".parse::<Pointer>().unwrap().value_in(&arena, node).to_json(), "1");
        assert_eq!("/_meta/uuid/x".parse::<Pointer>().unwrap().value_in(&arena, node).to_json(), "null");
    }

    #[test]
    fn moments() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000Z"),
            (1_704_067_199, "2023-12-31T23:59:59.000000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(date_time(seconds * 1_000_000), expected);
        }
    }
}
