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
//! slow destination makes transactions larger and fewer, and never makes a queue longer. A transaction that is due and cannot
//! close is back-pressure: where documents of a key become one it goes on reading, for as long as there is room for what is
//! unique; elsewhere it stops. One may have to rest behind the one before it, so that less of that is written again, for as long as
//! something comes. What a source says belongs together is read to its end before anything closes; asked to stop before,
//! a shard leaves it for the next run.
//!
//! [`Lifecycle::next`] decides from what has happened so far; [`Lifecycle::on`] takes note of what happened. Neither touches
//! the world, and the shard's loop (`shard.rs`) does nothing but obey.

/// Bounds of one transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Close when it has read so many bytes.
    pub bytes_max: u64,
    /// Close when its first document has waited so long, though more is waiting.
    pub age_us_max: u64,
    /// When it should close and cannot: read on until it is full, rather than wait.
    pub rolls_up: bool,
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
        /// Whether the open transaction has no room for more.
        full: bool,
        /// Whether the open transaction is nothing without what is read next.
        unfinished: bool,
        /// Whether more is waiting.
        more: bool,
        /// When to look again though nothing happened.
        again_us: Option<u64>,
    },
    /// The open transaction was closed and its commit is in flight.
    Closed,
    /// The commit in flight is durable.
    Committed {
        /// How long the next transaction had better grow before it closes, in microseconds.
        rest_us: u64,
    },
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
    /// Since when transactions have been due before the one before them was committed.
    pressed_since_us: Option<u64>,
    /// Until when the open transaction is to grow, as long as something comes.
    rests_until_us: u64,
    /// When something was read last.
    read_us: u64,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    /// When it is due at the latest; earlier once it is large.
    due_us: u64,
    bytes: u64,
    full: bool,
    unfinished: bool,
}

impl Lifecycle {
    /// A shard that has just recovered.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: None,
            committing: false,
            more: true,
            again_us: None,
            ending: false,
            pressed_since_us: None,
            rests_until_us: 0,
            read_us: 0,
        }
    }

    /// What to do at `now_us`.
    pub(crate) fn next(&self, now_us: u64) -> Action {
        let looks_again = self.again_us.is_some_and(|at| now_us >= at);
        let may_grow = |t: Open| t.unfinished || !t.full && (self.limits.rolls_up || !self.is_large(t));
        let has_room = self.open.is_none_or(may_grow);
        let readable = (self.more || looks_again) && !self.ending && has_room;
        // What is unfinished when nothing more is read has never been.
        let rested_us = self.rested_us();
        let is_rested = |open: Open| open.full || rested_us.is_none_or(|at| at <= now_us);
        match self.open.filter(|open| !open.unfinished) {
            Some(open) if !self.committing && is_rested(open) && (open.due_us <= now_us || !readable) => Action::Close,
            _ if readable => Action::Read,
            None if !self.committing && self.ending => Action::Stop,
            _ => {
                let again_us = self.again_us.filter(|_| !self.ending && has_room);
                let rested_us = rested_us.filter(|at| *at > now_us && self.open.is_some() && !self.committing);
                Action::Wait { until_us: again_us.into_iter().chain(rested_us).min() }
            }
        }
    }

    /// When the open transaction has grown for long enough; `None` where it need not.
    fn rested_us(&self) -> Option<u64> {
        let quiet_us = self.read_us.saturating_add(self.limits.age_us_max / 2);
        (!self.ending && self.rests_until_us > 0).then(|| self.rests_until_us.min(quiet_us))
    }

    /// Takes note of an event at `now_us`.
    pub(crate) fn on(&mut self, event: Event, now_us: u64) {
        self.pressed_since_us = self.back_pressured_since_us(now_us);
        match event {
            Event::Read { extended, bytes, full, unfinished, more, again_us } => {
                if extended {
                    self.read_us = now_us;
                    let due_us = now_us.saturating_add(self.limits.age_us_max);
                    let open = self.open.get_or_insert(Open { due_us, bytes: 0, full: false, unfinished });
                    open.bytes += bytes;
                    open.full = full;
                    open.unfinished = unfinished;
                    if full || open.bytes >= self.limits.bytes_max {
                        open.due_us = open.due_us.min(now_us);
                    }
                }
                self.more = more;
                self.again_us = again_us;
            }
            Event::Closed => {
                self.open = None;
                self.committing = true;
            }
            Event::Committed { rest_us } => {
                if self.overdue_since_us(now_us).is_none() {
                    self.pressed_since_us = None;
                }
                self.committing = false;
                self.rests_until_us = if rest_us > 0 { now_us.saturating_add(rest_us) } else { 0 };
            }
            Event::Woken => self.more = true,
            Event::Ended | Event::StopAsked => self.ending = true,
        }
    }

    /// Since when transactions have had to wait for the commits before them; `None` where they do not.
    pub(crate) fn back_pressured_since_us(&self, now_us: u64) -> Option<u64> {
        self.pressed_since_us.or_else(|| self.overdue_since_us(now_us))
    }

    fn overdue_since_us(&self, now_us: u64) -> Option<u64> {
        let due_us = self.open.filter(|open| self.committing && !open.unfinished)?.due_us;
        (due_us <= now_us).then_some(due_us)
    }

    fn is_large(&self, open: Open) -> bool {
        open.bytes >= self.limits.bytes_max
    }

    /// Whether nothing is open, in flight or known to be waiting.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_none() && !self.committing && (!self.more || self.ending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bytes_max: 100, age_us_max: 1_000, rolls_up: false };

    fn read(bytes: u64, more: bool) -> Event {
        Event::Read { extended: bytes > 0, bytes, full: false, unfinished: false, more, again_us: None }
    }

    const COMMITTED: Event = Event::Committed { rest_us: 0 };

    const FULL: Event =
        Event::Read { extended: true, bytes: 10, full: true, unfinished: false, more: true, again_us: None };

    fn part(bytes: u64, more: bool) -> Event {
        Event::Read { extended: true, bytes, full: false, unfinished: true, more, again_us: None }
    }

    fn after(events: &[Event]) -> Lifecycle {
        after_with(LIMITS, events)
    }

    fn after_with(limits: Limits, events: &[Event]) -> Lifecycle {
        let mut lifecycle = Lifecycle::new(limits);
        for event in events {
            lifecycle.on(*event, 0);
        }
        lifecycle
    }

    #[test]
    fn each_situation_has_one_answer() {
        use Action::{Close, Read, Stop, Wait};
        use Event::{Closed, Ended, StopAsked, Woken};
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
            ("until the commit is done", &[read(10, false), Closed, read(100, true), COMMITTED], 0, Close),
            ("full, it closes however little it read", &[FULL], 0, Close),
            ("full, it stops reading, too", &[read(10, false), Closed, FULL], 9_999, idle),
            ("asked to stop it closes what is open", &[read(10, true), StopAsked], 0, Close),
            ("then waits for the commit", &[read(10, true), StopAsked, Closed], 0, idle),
            ("then ends", &[read(10, true), StopAsked, Closed, COMMITTED], 0, Stop),
            ("what belongs together is read to its end", &[part(500, true)], 9_999, Read),
            ("or waited for, however old", &[part(500, false)], 9_999, idle),
            ("then it closes", &[part(500, true), read(1, true)], 0, Close),
            ("also while one commits", &[read(10, false), Closed, part(500, true)], 9_999, Read),
            ("asked to stop it leaves what is unfinished", &[part(500, true), StopAsked], 0, Stop),
            ("once the one before is committed", &[read(10, false), Closed, part(5, true), StopAsked], 0, idle),
            ("a source that ended is the same", &[read(0, true), Ended], 0, Stop),
        ];
        for (name, events, now_us, expected) in cases {
            assert_eq!(after(events).next(*now_us), *expected, "{name}");
        }
    }

    #[test]
    fn one_that_rolls_up_reads_on_until_it_is_full() {
        use Event::Closed;
        let idle = Action::Wait { until_us: None };
        let cases: &[(&str, &[Event], Action)] = &[
            ("large enough: it closes", &[read(100, true)], Action::Close),
            ("large, and one commits: it reads on", &[read(10, true), Closed, read(500, true)], Action::Read),
            ("until it is full", &[read(10, true), Closed, read(500, true), FULL], idle),
            ("or until the commit is done", &[read(10, true), Closed, read(500, true), COMMITTED], Action::Close),
        ];
        for (name, events, expected) in cases {
            assert_eq!(after_with(Limits { rolls_up: true, ..LIMITS }, events).next(0), *expected, "{name}");
        }
    }

    #[test]
    fn one_that_rests_closes_later_or_when_nothing_more_comes() {
        use Action::{Close, Read};
        use Event::{Closed, StopAsked};
        let rests = Event::Committed { rest_us: 5_000 };
        let before = [(0, read(10, false)), (0, Closed), (10, rests)];
        type Case<'c> = (&'c str, &'c [(u64, Event)], u64, Action);
        let cases: &[Case<'_>] = &[
            ("not before it is rested", &[(9, read(9, false))], 500, Action::Wait { until_us: Some(509) }),
            ("though it is large and old", &[(9, read(500, true)), (1_900, read(500, true))], 2_000, Read),
            ("for as long as something comes", &[(9, read(9, true)), (4_000, read(9, true))], 4_499, Read),
            ("but not longer", &[(9, read(9, true)), (4_900, read(9, true))], 5_010, Close),
            ("nothing came for a while", &[(9, read(9, false))], 509, Close),
            ("it is full", &[(9, FULL)], 10, Close),
            ("asked to stop", &[(9, read(9, true)), (10, StopAsked)], 10, Close),
            (
                "and the one after it does not",
                &[(9, FULL), (10, Closed), (11, COMMITTED), (12, read(9, false))],
                12,
                Close,
            ),
        ];
        for (name, events, now_us, expected) in cases {
            let mut lifecycle = Lifecycle::new(Limits { rolls_up: true, ..LIMITS });
            before.iter().chain(*events).for_each(|(at_us, event)| lifecycle.on(*event, *at_us));
            assert_eq!(lifecycle.next(*now_us), *expected, "{name}");
        }
    }

    #[test]
    fn back_pressure_is_a_transaction_that_is_due_and_cannot_close() {
        use Event::{Closed, Woken};
        type Case<'c> = (&'c str, &'c [(u64, Event)], u64, Option<u64>);
        let cases: &[Case<'_>] = &[
            ("nothing is in flight", &[(0, read(100, true))], 5_000, None),
            ("the next has just begun", &[(0, read(9, true)), (1, Closed), (2, read(9, true))], 1_001, None),
            ("it is old", &[(0, read(9, true)), (1, Closed), (2, read(9, true))], 1_002, Some(1_002)),
            ("and stays so", &[(0, read(9, true)), (1, Closed), (2, read(9, true))], 7_000, Some(1_002)),
            ("it is large", &[(0, read(9, true)), (1, Closed), (2, read(100, true))], 3, Some(2)),
            ("it is full", &[(0, read(9, true)), (1, Closed), (7, FULL)], 8, Some(7)),
            (
                "one waits after the other",
                &[(0, FULL), (1, Closed), (2, FULL), (9, COMMITTED), (9, Closed), (10, read(9, true))],
                11,
                Some(2),
            ),
            (
                "until one is committed before the next is due",
                &[(0, FULL), (1, Closed), (2, FULL), (9, COMMITTED), (9, Closed), (10, read(9, true)), (11, COMMITTED)],
                12,
                None,
            ),
            (
                "also where there is no next",
                &[(0, FULL), (1, Closed), (2, FULL), (9, COMMITTED), (9, Closed), (10, COMMITTED), (11, Woken)],
                9_999,
                None,
            ),
        ];
        for (name, events, now_us, expected) in cases {
            let mut lifecycle = Lifecycle::new(LIMITS);
            events.iter().for_each(|(at_us, event)| lifecycle.on(*event, *at_us));
            assert_eq!(lifecycle.back_pressured_since_us(*now_us), *expected, "{name}");
        }
    }

    #[test]
    fn a_time_to_look_again_is_kept() {
        let mut lifecycle = after(&[]);
        let nothing =
            Event::Read { extended: false, bytes: 0, full: false, unfinished: false, more: false, again_us: Some(50) };
        lifecycle.on(nothing, 0);
        assert_eq!(lifecycle.next(49), Action::Wait { until_us: Some(50) });
        assert_eq!(lifecycle.next(50), Action::Read);
    }

    #[test]
    fn idle_means_nothing_open_and_nothing_in_flight() {
        assert!(!after(&[]).is_idle());
        assert!(after(&[read(0, false)]).is_idle());
        assert!(!after(&[read(1, false)]).is_idle());
        assert!(!after(&[read(1, false), Event::Closed]).is_idle());
        assert!(after(&[read(1, false), Event::Closed, COMMITTED]).is_idle());
    }
}
