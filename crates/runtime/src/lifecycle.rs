//! What a transaction goes through, as a pure function.
//!
//! ```text
//!            ┌──────────── more ────────────┐
//!            ▼                              │
//!  Idle ── Read ──► Extend ── Close ──► Commit ──► Acknowledge ──► Idle
//!            ▲          │                   │
//!            └──────────┘                   └─ the next transaction extends meanwhile
//! ```
//!
//! A shard has at most two transactions: one open, which extends, and one whose commit is in flight. Closing is a policy over
//! measurements: when nothing more is waiting, or the open one is large or old enough; never while a commit is in flight, so a
//! slow destination makes transactions larger and fewer, and never makes a queue longer.
//!
//! [`Lifecycle::next`] decides from what has happened so far; [`Lifecycle::on`] takes note of what happened. Neither touches
//! the world, and the shard's loop (`shard.rs`) does nothing but obey.

/// Bounds of one transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Close when it has read so many bytes; wait for the commit in flight when it cannot.
    pub bytes_max: u64,
    /// Close when its first document has waited so long, though more is waiting.
    pub age_us_max: u64,
}

/// What the shard is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Read what is there, and extend the open transaction by it.
    Read,
    /// Drain the open transaction and start its commit.
    Close,
    /// Do nothing until something happens, or until this time.
    Wait {
        /// Microseconds; `None` waits for an event alone.
        until_us: Option<u64>,
    },
    /// End: nothing is open, nothing in flight.
    Stop,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A read ended.
    Read {
        /// Whether there is anything to commit for it.
        extended: bool,
        /// Bytes it added.
        bytes: u64,
        /// Whether more is waiting.
        more: bool,
        /// When to look again though nothing happened.
        again_us: Option<u64>,
    },
    /// The open transaction was closed and its commit is in flight.
    Closed,
    /// The commit in flight is durable.
    Committed,
    /// Something may be there to read.
    Woken,
    /// The source has ended: nothing will ever be there to read again.
    Ended,
    /// Somebody asks the task to stop.
    StopAsked,
}

/// A shard's transactions.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    limits: Limits,
    open: Option<Open>,
    committing: bool,
    more: bool,
    again_us: Option<u64>,
    ending: bool,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    since_us: u64,
    bytes: u64,
}

impl Lifecycle {
    /// A shard that has just recovered.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, open: None, committing: false, more: true, again_us: None, ending: false }
    }

    /// What to do at `now_us`.
    pub(crate) fn next(&self, now_us: u64) -> Action {
        let full = self.open.is_some_and(|t| t.bytes >= self.limits.bytes_max);
        let old = self.open.is_some_and(|t| now_us.saturating_sub(t.since_us) >= self.limits.age_us_max);
        let due = self.again_us.is_some_and(|at| now_us >= at);
        let readable = (self.more || due) && !self.ending && !full;
        match (&self.open, self.committing) {
            (Some(_), false) if full || old || !readable => Action::Close,
            (_, _) if readable => Action::Read,
            (None, false) if self.ending => Action::Stop,
            (_, true) => Action::Wait { until_us: self.again_us.filter(|_| !self.ending && !full) },
            (_, false) => Action::Wait { until_us: self.again_us },
        }
    }

    /// Takes note of an event at `now_us`.
    pub(crate) fn on(&mut self, event: Event, now_us: u64) {
        match event {
            Event::Read { extended, bytes, more, again_us } => {
                if extended {
                    self.open.get_or_insert(Open { since_us: now_us, bytes: 0 }).bytes += bytes;
                }
                self.more = more;
                self.again_us = again_us;
            }
            Event::Closed => {
                self.open = None;
                self.committing = true;
            }
            Event::Committed => self.committing = false,
            Event::Woken => self.more = true,
            Event::Ended | Event::StopAsked => self.ending = true,
        }
    }

    /// Whether nothing is open, in flight or known to be waiting.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_none() && !self.committing && (!self.more || self.ending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bytes_max: 100, age_us_max: 1_000 };

    fn read(bytes: u64, more: bool) -> Event {
        Event::Read { extended: bytes > 0, bytes, more, again_us: None }
    }

    fn after(events: &[Event]) -> Lifecycle {
        let mut lifecycle = Lifecycle::new(LIMITS);
        for event in events {
            lifecycle.on(*event, 0);
        }
        lifecycle
    }

    #[test]
    fn each_situation_has_one_answer() {
        use Action::{Close, Read, Stop, Wait};
        use Event::{Closed, Committed, Ended, StopAsked, Woken};
        let idle = Wait { until_us: None };
        let cases: &[(&str, &[Event], u64, Action)] = &[
            ("a new shard looks for documents", &[], 0, Read),
            ("with none it waits", &[read(0, false)], 0, idle),
            ("woken it looks again", &[read(0, false), Woken], 0, Read),
            ("more is waiting: it extends", &[read(10, true)], 0, Read),
            ("nothing more is waiting: it closes", &[read(10, false)], 0, Close),
            ("large enough: it closes", &[read(100, true)], 0, Close),
            ("old enough: it closes", &[read(10, true)], 1_000, Close),
            ("while one commits the next extends", &[read(10, false), Closed, Woken], 0, Read),
            ("but does not close, however old", &[read(10, false), Closed, read(10, false)], 9_999, idle),
            ("and at its bound stops reading", &[read(10, false), Closed, read(100, true)], 9_999, idle),
            ("until the commit is done", &[read(10, false), Closed, read(100, true), Committed], 0, Close),
            ("asked to stop it closes what is open", &[read(10, true), StopAsked], 0, Close),
            ("then waits for the commit", &[read(10, true), StopAsked, Closed], 0, idle),
            ("then ends", &[read(10, true), StopAsked, Closed, Committed], 0, Stop),
            ("a source that ended is the same", &[read(0, true), Ended], 0, Stop),
        ];
        for (name, events, now_us, expected) in cases {
            assert_eq!(after(events).next(*now_us), *expected, "{name}");
        }
    }

    #[test]
    fn a_time_to_look_again_is_kept() {
        let mut lifecycle = after(&[]);
        lifecycle.on(Event::Read { extended: false, bytes: 0, more: false, again_us: Some(50) }, 0);
        assert_eq!(lifecycle.next(49), Action::Wait { until_us: Some(50) });
        assert_eq!(lifecycle.next(50), Action::Read);
    }

    #[test]
    fn idle_means_nothing_open_and_nothing_in_flight() {
        assert!(!after(&[]).is_idle());
        assert!(after(&[read(0, false)]).is_idle());
        assert!(!after(&[read(1, false)]).is_idle());
        assert!(!after(&[read(1, false), Event::Closed]).is_idle());
        assert!(after(&[read(1, false), Event::Closed, Event::Committed]).is_idle());
    }
}
