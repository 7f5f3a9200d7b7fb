//! When a document was published: a location of it that its text does not have, read from its UUID.

use crate::Node;

/// That location as a JSON pointer; its value is a text such as `2021-07-22T21:09:34.123456Z`, in UTC.
pub const PUBLISHED_AT: &str = "/_meta/uuid/date-time";

/// Length of a UUID's text.
const UUID_LEN: usize = 36;
/// Microseconds between 1582-10-15, where UUIDs begin to count, and 1970-01-01.
const EPOCH_US: u64 = 0x01b2_1dd2_1381_4000 / 10;

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

/// The same in microseconds since 1970.
pub fn published_us(uuid: &[u8]) -> Option<u64> {
    Some(((uuid_clock(uuid)? >> 4) / 10).saturating_sub(EPOCH_US))
}

/// When a document was published, if it was and its UUID tells.
pub(crate) fn published_at(document: Node<'_>) -> Option<String> {
    let since_1970_us = published_us(document.get("_meta")?.get("uuid")?.as_str()?.as_bytes())?;
    let at = jiff::Timestamp::from_microsecond(since_1970_us as i64).ok()?;
    Some(format!("{at:.6}"))
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
}
