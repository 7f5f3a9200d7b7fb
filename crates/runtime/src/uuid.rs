//! The identity of a published document: a version 1 UUID that tells when, by whom, and in which order.
//!
//! ```text
//! time-low(32) - time-mid(16) - 1 time-high(12) - 10 counter(4) flags(10) - producer(48)
//! ```
//!
//! Time is in 100 ns since 1582-10-15; the counter extends it, so the clock has 64 bits and always rises within a producer.
//! Flags are zero, "outside a transaction": documents reach a journal only when committed, so any reader of the format may
//! trust each line by itself. A producer lives as long as one opening of one shard and is drawn at random.

/// Length of a UUID's text.
pub(crate) const UUID_LEN: usize = 36;

/// 100 ns ticks between 1582-10-15 and 1970-01-01.
const EPOCH_TICKS: u64 = 0x01b2_1dd2_1381_4000;

/// A document's clock: ticks of 100 ns since 1582 in the upper 60 bits, a counter in the lower four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct DocClock(pub u64);

impl DocClock {
    /// The first clock of this microsecond since 1970.
    pub(crate) fn from_us(us: u64) -> Self {
        Self(us.saturating_mul(10).saturating_add(EPOCH_TICKS) << 4)
    }

    /// Microseconds since 1970.
    pub(crate) fn us(self) -> u64 {
        (self.0 >> 4).saturating_sub(EPOCH_TICKS) / 10
    }
}

/// Gives documents their UUIDs.
#[derive(Debug)]
pub(crate) struct Stamper {
    producer: [u8; 6],
    last: DocClock,
}

impl Stamper {
    /// A stamper of a new producer, named by random bits.
    pub(crate) fn new(random: u64) -> Self {
        let b = random.to_be_bytes();
        // The multicast bit says that this is no network card's address.
        Self { producer: [b[0] | 1, b[1], b[2], b[3], b[4], b[5]], last: DocClock::default() }
    }

    /// The next UUID as text. Later than all before it, even when the clock went back.
    pub(crate) fn next(&mut self, now_us: u64) -> [u8; UUID_LEN] {
        self.last = DocClock::from_us(now_us).max(DocClock(self.last.0 + 1));
        text(self.last, self.producer)
    }

    /// The clock of the last UUID given.
    pub(crate) fn last(&self) -> DocClock {
        self.last
    }
}

fn text(clock: DocClock, producer: [u8; 6]) -> [u8; UUID_LEN] {
    let (ticks, counter) = (clock.0 >> 4, clock.0 & 0xf);
    let mut raw = [0u8; 16];
    raw[0..4].copy_from_slice(&(ticks as u32).to_be_bytes());
    raw[4..6].copy_from_slice(&((ticks >> 32) as u16).to_be_bytes());
    raw[6..8].copy_from_slice(&(0x1000 | (ticks >> 48) as u16).to_be_bytes());
    raw[8..10].copy_from_slice(&(0x8000 | (counter as u16) << 10).to_be_bytes());
    raw[10..16].copy_from_slice(&producer);
    let mut out = [b'-'; UUID_LEN];
    let mut at = 0;
    for (i, byte) in raw.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            at += 1;
        }
        out[at] = HEX[usize::from(byte >> 4)];
        out[at + 1] = HEX[usize::from(byte & 0xf)];
        at += 2;
    }
    out
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The clock of a UUID's text; `None` if it is not a version 1 UUID.
pub(crate) fn clock(uuid: &[u8]) -> Option<DocClock> {
    doc::uuid_clock(uuid).map(DocClock)
}

/// The clock of a published document from its text, without parsing it where `_meta` comes first, as it nearly always does.
pub(crate) fn clock_of_line(line: &[u8]) -> Option<DocClock> {
    const LEAD: &[u8] = br#"{"_meta":{"uuid":""#;
    if let Some(rest) = line.strip_prefix(LEAD) {
        return clock(rest.get(..UUID_LEN)?);
    }
    let arena = doc::Arena::new();
    let uuid = doc::parse(&arena, line).ok()?.get("_meta")?.get("uuid")?;
    clock(uuid.as_str()?.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_uuid_has_the_clock_it_says() {
        // 2021-07-22T21:09:34 UTC, counter 1.
        let clock = clock(b"1d99902e-eb31-11eb-8401-35b56d2a9099").unwrap();
        assert_eq!(clock.0 & 0xf, 1);
        assert_eq!(clock.us() / 1_000_000, 1_626_988_174);
    }

    #[test]
    fn clocks_rise_and_survive_the_text() {
        let mut stamper = Stamper::new(0x0123_4567_89ab_cdef);
        let mut last = DocClock::default();
        for now in [5_000_000, 5_000_000, 4_000_000, 0, 6_000_000, 1_700_000_000_000_000] {
            for _ in 0..40 {
                let uuid = stamper.next(now);
                let read = clock(&uuid).unwrap();
                assert_eq!(read, stamper.last());
                assert!(read > last);
                last = read;
            }
        }
        assert_eq!(last.us(), 1_700_000_000_000_000);
    }

    #[test]
    fn other_texts_have_no_clock() {
        for text in [
            "",
            "1d99902e-eb31-41eb-8401-35b56d2a9099",
            "1d99902eeb3111eb840135b56d2a9099aaaa",
            "zd99902e-eb31-11eb-8401-35b56d2a9099",
        ] {
            assert_eq!(clock(text.as_bytes()), None, "{text}");
        }
    }
}
