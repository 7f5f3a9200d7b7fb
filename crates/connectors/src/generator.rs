//! `event-generator`: segment events that look like traffic, as many a second as one likes.
//!
//! With a seed, document n is a function of (seed, n), all but its timestamp. Each document has a stream of random numbers
//! of its own, so none depends on having made the ones before it: a repeat picks the number of an earlier document and
//! makes that one's sample again. Four in ten samples repeat, so a chain of them is short: 1.7 samples on average.

mod sample;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use catalog::{ConfigError, Endpoint};
use jiff::Timestamp;
use runtime::{Batch, ConnectorError, Progress, Source};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Fields;
use crate::error;
use sample::Samples;

/// The only stream there is.
pub(crate) const STREAM: &str = "segmentation-events";

/// The fields of a configuration.
pub(crate) const CONFIG_FIELDS: &[&str] =
    &["maxEventsPerSecond", "seed", "segmentCardinality", "userCardinality", "onInvalid"];
/// The fields of a resource; those behind the first are for other connectors, and as good as used.
pub(crate) const RESOURCE_FIELDS: &[&str] = &["stream", "syncMode", "namespace", "cursorField", "primaryKey"];

const RATE_DEFAULT: u64 = 1000;
const RATE_MAX: u64 = 10_000_000;
const READ_MIN_NS: u64 = 10_000_000;
const READ_MAX_NS: u64 = 20_000_000;
const CATCH_UP_NS_MAX: u64 = 1_000_000_000;
const BATCH_BYTES_MAX: usize = 256 << 10;

/// Microseconds since 1970 UTC.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The generator's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    rate: u64,
    seed: Option<u64>,
    segments: u64,
    users: u64,
    halts_on_invalid: bool,
}

impl Config {
    pub(crate) fn read(endpoint: &Endpoint) -> Result<Self, Vec<ConfigError>> {
        let mut fields = Fields::config(&endpoint.config, CONFIG_FIELDS);
        let rate = fields.optional("maxEventsPerSecond").unwrap_or(RATE_DEFAULT);
        let seed = fields.optional("seed");
        let segments: Option<u64> = fields.required("segmentCardinality", "how many segments there are, such as 1000");
        let users: Option<u64> = fields.required("userCardinality", "how many users there are, such as 10000");
        if rate == 0 || rate > RATE_MAX {
            fields.wrong("maxEventsPerSecond", format!("must be between 1 and {RATE_MAX}"), None);
        }
        for (name, value) in [("segmentCardinality", segments), ("userCardinality", users)] {
            if value.is_some_and(|value| value == 0 || value > u64::from(u32::MAX)) {
                fields.wrong(name, format!("must be between 1 and {}", u32::MAX), None);
            }
        }
        let halts_on_invalid = fields.halts_on_invalid();
        let errors = fields.finish();
        match (segments, users) {
            (Some(segments), Some(users)) if errors.is_empty() => {
                Ok(Self { rate, seed, segments, users, halts_on_invalid })
            }
            _ => Err(errors),
        }
    }
}

/// Checks the resource of the n-th binding and returns what it names.
pub(crate) fn read_resource(n: usize, resource: &Value) -> Result<String, Vec<ConfigError>> {
    let mut fields = Fields::resource(n, resource, RESOURCE_FIELDS);
    let stream: Option<String> = fields.required("stream", "the only one is `segmentation-events`");
    if stream.as_ref().is_some_and(|stream| stream != STREAM) {
        fields.wrong("stream", "there is no such stream", Some("the only one is `segmentation-events`"));
    }
    let errors = fields.finish();
    if errors.is_empty() { Ok(stream.unwrap_or_default()) } else { Err(errors) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// The number of the next document.
    n: u64,
    seed: u64,
}

/// A running generator.
pub(crate) struct Generator {
    config: Config,
    bindings: usize,
    cursor: Cursor,
    samples: Samples,
    clock: Clock,
    /// Documents due until then have been made.
    made_ns: u64,
    /// How many are left of the one second's worth that a source which ends gives.
    left: Option<u64>,
    stamp: Stamp,
}

impl Generator {
    /// Goes on after the cursor. A seed in the configuration that is not the cursor's begins its own events anew.
    pub(crate) fn open(
        config: Config,
        bindings: usize,
        cursor: Option<&[u8]>,
        tail: bool,
        clock: Clock,
    ) -> Result<Self, ConnectorError> {
        let cursor = match cursor {
            None => Cursor { n: 0, seed: config.seed.unwrap_or_else(rand::random) },
            Some(text) => {
                let kept: Cursor = serde_json::from_slice(text)
                    .map_err(|reason| error::user(format!("the generator's cursor cannot be read: {reason}")))?;
                match config.seed {
                    Some(seed) if seed != kept.seed => Cursor { n: 0, seed },
                    _ => kept,
                }
            }
        };
        let samples = Samples::new(cursor.seed, config.segments, config.users);
        let made_ns = clock() * 1000;
        let left = (!tail).then_some(config.rate);
        Ok(Self { config, bindings, cursor, samples, clock, made_ns, left, stamp: Stamp::default() })
    }

    /// How many documents are due, in a read of ten to twenty milliseconds of them; or how long until then.
    fn due(&mut self) -> Result<u64, Duration> {
        let now_ns = (self.clock)() * 1000;
        // The wall clock may jump either way: neither a flood nor a silence may come of it.
        self.made_ns = self.made_ns.clamp(now_ns.saturating_sub(CATCH_UP_NS_MAX), now_ns);
        if let Some(left) = self.left {
            return Ok(left.min(1 + self.config.rate / 50));
        }
        let rate = u128::from(self.config.rate);
        let waited_ns = now_ns - self.made_ns;
        let due = (u128::from(waited_ns.min(READ_MAX_NS)) * rate / 1_000_000_000) as u64;
        let due_late = (u128::from(waited_ns) * rate / 1_000_000_000) as u64;
        let apart_ns = 1_000_000_000 / self.config.rate;
        if due_late == 0 || waited_ns < READ_MIN_NS {
            return Err(Duration::from_nanos(apart_ns.max(READ_MIN_NS).saturating_sub(waited_ns) + 1));
        }
        Ok(due.max(1))
    }
}

impl Source for Generator {
    fn halts_on_invalid(&self) -> bool {
        self.config.halts_on_invalid
    }

    fn read(&mut self, batch: &mut Batch) -> Result<Progress, ConnectorError> {
        if self.left == Some(0) {
            return Ok(Progress::Done);
        }
        let due = match self.due() {
            Ok(due) => due,
            Err(wait) => return Ok(Progress::Wait(wait)),
        };
        let begin = batch.text.len();
        let mut made = 0;
        while made < due && batch.text.len() - begin < BATCH_BYTES_MAX {
            let at_ns = self.made_ns + made * 1_000_000_000 / self.config.rate;
            let start = batch.text.len();
            write_event(self.samples.event(self.cursor.n), self.stamp.at(at_ns / 1000), &mut batch.text);
            for binding in 0..self.bindings {
                batch.documents.push((binding, start..batch.text.len()));
            }
            batch.text.push(b'\n');
            self.cursor.n += 1;
            made += 1;
        }
        self.made_ns += made * 1_000_000_000 / self.config.rate;
        if let Some(left) = &mut self.left {
            *left -= made;
        }
        batch.cursor = Some(serde_json::to_vec(&self.cursor).expect("two numbers are JSON"));
        Ok(Progress::More)
    }
}

/// One event, but for its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    id: [u8; 16],
    sample: sample::Sample,
    value: Option<u32>,
}

fn write_event(event: Event, timestamp: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(br#"{"event":""#);
    for (n, byte) in event.id.iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    let sample = event.sample;
    let (vendor, segment, user) = (1 + sample.segment % 10, sample.segment, sample.user);
    write!(
        out,
        r#"","timestamp":"{timestamp}","user":"usr-{user:06x}","segment":{{"vendor":{vendor},"name":"seg-{segment:X}"}}"#,
    )
    .expect("memory can be written to");
    if let Some(value) = event.value {
        write!(out, r#","value":"val-{value:x}""#).expect("memory can be written to");
    }
    out.extend_from_slice(if sample.add { b"}" } else { br#","remove":true}"# });
}

/// RFC 3339 in UTC with six digits of the second, so that later is greater; the date is worked out once a second.
#[derive(Default)]
struct Stamp {
    second: u64,
    text: String,
}

impl Stamp {
    fn at(&mut self, us: u64) -> &str {
        use std::fmt::Write;
        const SECOND: usize = "2021-07-22T21:00:00".len();
        let second = us / 1_000_000;
        if self.text.is_empty() || second != self.second {
            let whole = i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
            self.text = whole.unwrap_or(Timestamp::MAX).to_string();
            self.second = second;
        }
        self.text.truncate(SECOND);
        write!(self.text, ".{:06}Z", us % 1_000_000).expect("memory can be written to");
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        let mut stamp = Stamp::default();
        assert_eq!(stamp.at(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(stamp.at(1_626_987_600_000_042), "2021-07-22T21:00:00.000042Z");
        assert_eq!(stamp.at(1_626_987_600_900_000), "2021-07-22T21:00:00.900000Z");
        assert_eq!(stamp.at(1_626_987_601_000_000), "2021-07-22T21:00:01.000000Z");
    }

    #[test]
    fn an_event_is_written_as_the_schema_says() {
        let sample = sample::Sample { segment: 0xAB, user: 0x12, add: false };
        let id = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0x4e, 0xf0, 0x81, 0, 0, 0, 0, 0, 0, 1];
        let mut out = Vec::new();
        write_event(Event { id, sample, value: None }, "T", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"event":"12345678-9abc-4ef0-8100-000000000001","timestamp":"T","user":"usr-000012","segment":{"vendor":2,"name":"seg-AB"},"remove":true}"#
        );
    }
}
