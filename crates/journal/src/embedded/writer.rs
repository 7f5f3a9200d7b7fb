//! Behind the commit: one thread turns closed tails into fragments, one at a time.
//!
//! ```text
//! 1  one batch: where the next fragment ends
//! 2  blocks of the tail up to there ─▶ gzip ─▶ file, synced, then its name, synced
//! 3  one batch: fragment into the index, blocks out of the tail, plan done
//! ```
//!
//! A crash before 3 leaves the tail, and perhaps a file. By the plan the next run cuts the tail at the same place, so it writes
//! the same file again: whoever reads the files without the index finds each document once.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use sha1::{Digest, Sha1};

use super::Shared;
use super::commit::{Request, stopped};
use super::expiry::Expiry;
use super::journals::{Journal, TailBlock};
use super::layout::BlockKey;
use crate::failpoint::{defect, durable_point};
use crate::fragment::{Codec, FragmentInfo, Packer, Sum, hour, sha256};
use crate::log::LogError;
use crate::template::Policy;

/// How often tails are looked at: a quarter of their longest age, within these bounds.
const TICK_MIN: Duration = Duration::from_millis(10);
const TICK_MAX: Duration = Duration::from_millis(500);
/// How long to wait after a failure; twice as long after each further one.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What the writer is told.
pub(crate) enum Signal {
    /// A tail is large.
    Nudge,
    /// Write every tail, then say how it went.
    Flush(Sender<Result<(), LogError>>),
    Stop,
}

impl Policy {
    /// How many first blocks of the tail are the next fragment; zero while it may still grow. A fragment is of one hour of
    /// append time, and of `bytes_max` at most unless a single block is larger. It is closed when nothing can be added any
    /// more, when its first block is old, or at once with `flush`.
    fn next(&self, tail: impl IntoIterator<Item = TailBlock>, now_us: u64, flush: bool) -> usize {
        let mut tail = tail.into_iter();
        let Some(first) = tail.next() else {
            return 0;
        };
        let (mut count, mut bytes) = (1, u64::from(first.key.len));
        let mut is_closed = bytes >= self.bytes_max;
        for block in tail {
            is_closed = !self.has_room(first.key.time_us, bytes, &block.key);
            if is_closed {
                break;
            }
            count += 1;
            bytes += u64::from(block.key.len);
            is_closed = bytes >= self.bytes_max;
        }
        // A clock that jumped back makes tails old too: a fragment too early is harmless.
        let is_old = match self.interval_us {
            Some(interval) => now_us / interval != first.arrived_us / interval,
            None => now_us.abs_diff(first.arrived_us) >= self.age_max_us,
        };
        if is_closed || is_old || flush { count } else { 0 }
    }

    /// Whether a block goes behind so many bytes of a fragment that began at `first_us`.
    pub(crate) fn has_room(&self, first_us: u64, bytes: u64, block: &BlockKey) -> bool {
        let span = |time_us| (hour(time_us), self.interval_us.map(|interval| time_us / interval));
        bytes + u64::from(block.len) <= self.bytes_max && span(block.time_us) == span(first_us)
    }
}

/// Writes fragments until told to stop.
pub(crate) fn run(shared: &Arc<Shared>, signals: &Receiver<Signal>) {
    let policies = &shared.policies;
    let tick = Duration::from_micros(policies.age_max_us / 4).clamp(TICK_MIN, TICK_MAX);
    let mut expiry = Expiry::new(policies);
    let mut retry: Option<(Duration, Instant)> = None;
    loop {
        shared.space.replenish();
        let flushed = match signals.recv_timeout(tick) {
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Signal::Flush(done)) => Some(done),
            Ok(Signal::Nudge) | Err(RecvTimeoutError::Timeout) => None,
        };
        if flushed.is_none() && retry.is_some_and(|(wait, since)| since.elapsed() < wait) {
            continue;
        }
        let result = write_tails(shared, flushed.is_some()).and(expiry.turn(shared));
        retry = result.is_err().then(|| {
            shared.stats.fragment_failures.fetch_add(1, Relaxed);
            let wait = retry.map_or(RETRY_MIN, |(wait, _)| (2 * wait).min(RETRY_MAX));
            (wait, Instant::now())
        });
        if let Some(done) = flushed {
            // Whoever asked may have gone.
            let _ = done.send(result);
        }
    }
}

/// Writes what is due; a journal that fails does not stop the others, and the first failure is returned.
fn write_tails(shared: &Shared, flush: bool) -> Result<(), LogError> {
    let unwritable = |reason| LogError::Unwritable { what: "fragments".to_owned(), reason };
    shared.space.admits_fragments().map_err(unwritable)?;
    let now_us = shared.clock.now_us();
    let due: Vec<(Arc<str>, u64)> = shared.journals.with(|journals| {
        let is_due = |name: &str, journal: &Journal| {
            let next = || shared.policies.of(name).next(journal.tail.iter().copied(), now_us, flush);
            journal.next_end.is_some() || (!journal.tail.is_empty() && next() > 0)
        };
        let due = journals.iter().filter(|(name, journal)| is_due(name, journal));
        due.map(|(name, journal)| (name.clone(), journal.end)).collect()
    });
    // All at once, which is one sync.
    plan(shared, &due, now_us, flush)?;
    let mut result = Ok(());
    for (name, end) in due {
        let written = write_tail(shared, &name, end, now_us, flush);
        result = result.and(written);
    }
    result
}

/// Decides where the next fragments of these journals end, of what their tails held when looked at, and makes it durable. A
/// plan that is there stays.
fn plan(shared: &Shared, tails: &[(Arc<str>, u64)], now_us: u64, flush: bool) -> Result<(), LogError> {
    let mut answers = Vec::new();
    for (name, end) in tails {
        let next = shared.journals.with(|journals| {
            let journal = &journals[name];
            let tail = || journal.tail.iter().copied().take_while(|block| block.key.end() <= *end);
            let next = || shared.policies.of(name).next(tail(), now_us, flush);
            let count = if journal.next_end.is_some() { 0 } else { next() };
            tail().take(count).last().map(|block| (journal.id, block.key.end()))
        });
        if let Some((id, end)) = next {
            let (done, answer) = crossbeam_channel::bounded(1);
            shared.queue.push(Request::Plan { journal: name.clone(), id, end, done });
            answers.push(answer);
        }
    }
    answers.into_iter().try_for_each(|answer| answer.recv().unwrap_or_else(|_| Err(stopped())))
}

/// Writes what is due of one tail, up to where it ended when looked at.
fn write_tail(shared: &Shared, name: &Arc<str>, end: u64, now_us: u64, flush: bool) -> Result<(), LogError> {
    let policy = shared.policies.of(name);
    loop {
        plan(shared, &[(name.clone(), end)], now_us, flush)?;
        durable_point("fragment.planned");
        let blocks: Vec<_> = shared.journals.with(|journals| journals[name].planned().copied().collect());
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else {
            return Ok(());
        };
        let (sha1, file) = pack(shared, name, policy.codec, &blocks)?;
        let fragment = FragmentInfo {
            journal: name.to_string(),
            begin: first.key.begin,
            end: last.key.end(),
            time_us: first.key.time_us,
            sha1,
            file_bytes: file.len() as u64,
            last_us: blocks.iter().map(|block| block.key.time_us).max().unwrap_or(first.key.time_us),
            codec: policy.codec,
            sha256: Some(sha256(&file)),
            store: policy.store.clone(),
        };
        let blocks: Vec<_> = blocks.iter().map(|block| block.key).collect();
        durable_point("fragment.packed");
        let drop_tail = |fragment, blocks| {
            let (done, moved) = crossbeam_channel::bounded(1);
            shared.queue.push(Request::Move { fragment, blocks, done });
            moved.recv().unwrap_or_else(|_| Err(stopped()))
        };
        if defect("tail-dropped-first") {
            drop_tail(fragment.clone(), blocks.clone())?;
        }
        durable_point("fragment.before_file");
        let what = format!("fragment {}{}", fragment.store, fragment.path());
        let put = shared.files.put(fragment, file);
        let fragment = put.map_err(|reason| LogError::Unwritable { what, reason })?;
        let file_bytes = fragment.file_bytes;
        durable_point("fragment.durable");
        if !defect("tail-dropped-first") {
            drop_tail(fragment, blocks)?;
        }
        durable_point("fragment.indexed");
        shared.stats.fragments.fetch_add(1, Relaxed);
        shared.stats.fragment_bytes.fetch_add(file_bytes, Relaxed);
    }
}

/// The file of a fragment of these blocks, and the sum of their documents.
fn pack(shared: &Shared, name: &Arc<str>, codec: Codec, blocks: &[TailBlock]) -> Result<(Sum, Vec<u8>), LogError> {
    let missing = |key: &BlockKey| LogError::Damaged {
        what: name.to_string(),
        reason: format!("the block at offset {} is missing", key.begin),
    };
    let begin = blocks.first().map(|block| block.key.begin);
    // Where the sum is known, what was packed before need not be unpacked.
    let known = blocks.last().and_then(|block| block.sum).filter(|(from, _)| Some(*from) == begin);
    let sums = known.is_none() || cfg!(debug_assertions);
    let mut sum = Sha1::new();
    let mut packer = Packer::new(codec);
    for TailBlock { key, .. } in blocks {
        let is_packed = key.codec == codec && codec != Codec::None;
        if is_packed {
            packer.push_packed(&shared.store.stored(name, key)?.ok_or_else(|| missing(key))?);
        }
        if is_packed && !sums {
            continue;
        }
        let documents = match shared.live_block(key) {
            Some(documents) => documents,
            None => shared.store.block(name, key)?.ok_or_else(|| missing(key))?,
        };
        if !is_packed {
            packer.push(&documents);
        }
        if sums {
            sum.update(&documents);
        }
    }
    let sum = if sums { Some(sum.finalize().into()) } else { None };
    debug_assert!(known.is_none_or(|(_, known)| Some(known) == sum), "documents were summed while they were appended");
    let sum = sum.or(known.map(|(_, known)| known)).expect("it is made where it is not known");
    Ok((sum, packer.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000;

    fn next(blocks: &[(u32, u64)], now_us: u64, flush: bool) -> usize {
        let block = |&(len, time_us): &(u32, u64)| TailBlock {
            key: BlockKey { journal: 0, begin: 0, len, time_us, codec: Codec::None, crc: 0 },
            arrived_us: 1000,
            sum: None,
        };
        let tail: Vec<_> = blocks.iter().map(block).collect();
        let policy = |interval_us| Policy {
            bytes_max: 100,
            age_max_us: 50,
            interval_us,
            retention_us: None,
            codec: Codec::Gzip,
            store: String::new(),
        };
        let plain = policy(None).next(tail.clone(), now_us, flush);
        // An interval of hours adds nothing to what they do by themselves, but that age does not count.
        let hourly = policy(Some(HOUR)).next(tail, now_us, flush);
        assert!(hourly == plain || hourly == 0, "{hourly} and {plain}");
        plain
    }

    #[test]
    fn a_fragment_ends_with_its_interval() {
        let minute = 60_000_000;
        let policy = Policy {
            bytes_max: 100,
            age_max_us: u64::MAX,
            interval_us: Some(minute),
            retention_us: None,
            codec: Codec::Gzip,
            store: String::new(),
        };
        let tail = |times: &[u64]| -> Vec<TailBlock> {
            let block = |&time_us: &u64| TailBlock {
                key: BlockKey { journal: 0, begin: 0, len: 1, time_us, codec: Codec::None, crc: 0 },
                arrived_us: time_us,
                sum: None,
            };
            times.iter().map(block).collect()
        };
        let next = |times: &[u64], now_us| policy.next(tail(times), now_us, false);
        assert_eq!(next(&[1, 2], minute - 1), 0, "the minute goes on");
        assert_eq!(next(&[1, 2], minute), 2, "it is over");
        assert_eq!(next(&[1, minute + 1], minute + 2), 1, "the next one has begun");
    }

    #[test]
    fn a_tail_is_closed_by_bytes_age_hour_or_flush() {
        type Case = (&'static str, &'static [(u32, u64)], u64, bool, usize);
        let cases: &[Case] = &[
            ("nothing is never due", &[], 9999, true, 0),
            ("small and young may grow", &[(10, 0), (20, 0)], 1049, false, 0),
            ("old goes whole", &[(10, 0), (20, 0)], 1050, false, 2),
            ("a clock that jumped back makes it old", &[(10, 0)], 3, false, 1),
            ("flush does not wait", &[(10, 0), (20, 0)], 1000, true, 2),
            ("exactly full", &[(60, 0), (40, 0), (10, 0)], 1000, false, 2),
            ("the next block would not fit", &[(60, 0), (30, 0), (20, 0)], 1000, false, 2),
            ("one block above the bound is a fragment of its own", &[(500, 0), (1, 0)], 1000, false, 1),
            ("the hour ended", &[(1, HOUR - 1), (1, HOUR), (1, HOUR)], 1000, false, 1),
            ("time went back an hour", &[(1, HOUR), (1, HOUR - 1)], 1000, false, 1),
            ("flush keeps hours apart", &[(1, HOUR - 1), (1, HOUR)], 1000, true, 1),
        ];
        for &(name, blocks, now_us, flush, expected) in cases {
            assert_eq!(next(blocks, now_us, flush), expected, "{name}");
        }
    }
}
