//! Turns one task on one thread: asks the [`Lifecycle`] what to do, does it, tells it what happened.
//!
//! A shard that fails drops everything it holds and recovers as after a crash, so that there is one way back and it is used
//! often.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use doc::{CombineError, Spill};
use journal::{Clock, Log, LogError};

use crate::connector::{ConnectorError, LambdaError, Retry};
use crate::lifecycle::{self, Event, Lifecycle, Limits};
use crate::needed::Progress;
use crate::reader::Ends;
use crate::retry::{self, Jitter};
use crate::status::{Counters, State};

/// Wait before a full disk is looked at again.
const FULL_WAIT: Duration = Duration::from_secs(1);
/// Longest wait without looking around: bounds what a lost wake-up could cost.
const WAIT_MS_MAX: u64 = 1_000;

/// What a shard turns. Dropping it abandons what is open.
pub(crate) trait Task {
    /// Whether what it commits makes the log grow, so that it waits where there is no room.
    const GROWS: bool;
    /// Reads what is there and extends the open transaction by it.
    fn extend(&mut self, now_us: u64) -> Result<Extended, Failure>;
    /// Drains the open transaction and starts its commit.
    fn close(&mut self, now_us: u64) -> Result<(), Failure>;
    /// Whether the commit in flight is done. Never blocks.
    fn committed(&mut self) -> Result<bool, Failure>;
    /// Behind a commit: how long the next transaction had better grow before it closes, in microseconds.
    fn rest_us(&self) -> u64 {
        0
    }
    /// Whether recovery left a commit to finish before the first transaction may close.
    fn recovered_in_flight(&self) -> bool {
        false
    }
}

/// What one read did.
#[derive(Debug, Default)]
pub(crate) struct Extended {
    pub documents: u64,
    pub bytes: u64,
    /// There is something to commit although no document was read, such as a cursor.
    pub progress: bool,
    /// The open transaction has no room for more.
    pub full: bool,
    /// What was read belongs together with what is read next.
    pub unfinished: bool,
    pub more: bool,
    pub again_us: Option<u64>,
    pub ended: bool,
}

/// Why a task stopped, and whether to start it again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Failure {
    pub why: String,
    pub retry: Retry,
}

impl Failure {
    pub(crate) fn never(why: impl Into<String>) -> Self {
        Self { why: why.into(), retry: Retry::Never }
    }
}

impl Failure {
    /// Documents that cannot be combined; `what` they are.
    pub(crate) fn combining(what: &str, error: CombineError) -> Self {
        let retry = if matches!(error, CombineError::Spill(_)) { Retry::Later } else { Retry::Never };
        Self { why: format!("{what}: {error}"), retry }
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let retry = match error {
            LogError::Full { .. } => Retry::After(FULL_WAIT),
            // Where fragments are kept may be away for a while.
            LogError::Unreadable { .. } | LogError::Unwritable { .. } => Retry::Later,
            _ => Retry::Never,
        };
        Self { why: error.to_string(), retry }
    }
}

impl From<LambdaError> for Failure {
    fn from(error: LambdaError) -> Self {
        Self::never(error.to_string())
    }
}

impl From<ConnectorError> for Failure {
    fn from(error: ConnectorError) -> Self {
        Self { why: error.message, retry: error.retry }
    }
}

/// Wakes a shard's thread.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    pub(crate) fn notify(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// Waits for a notification after `seen`; the new count.
    pub(crate) fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(count, timeout, |count| *count == seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What every shard has.
#[derive(Clone)]
pub(crate) struct Context {
    pub log: Arc<dyn Log>,
    pub clock: Arc<dyn Clock>,
    pub signal: Arc<Signal>,
    pub counters: Arc<Counters>,
    pub progress: Arc<Progress>,
    pub stop: Arc<AtomicBool>,
    /// Where journals ended when the catalog started to run.
    pub started: Arc<Ends>,
    pub limits: Limits,
    /// Memory for what the task keeps from one document to the next, in bytes.
    pub memory_bytes: usize,
    /// Memory for documents that were read and wait to be merged with others, in bytes.
    pub read_bytes: usize,
    /// Where there is room for more.
    pub spill: Spill,
    pub jitter: Jitter,
}

impl Context {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// What to do about the n-th failure in a row.
    pub(crate) fn decide(&self, retry: Retry, failures: u32) -> retry::Action {
        retry::decide(retry, failures, self.jitter.draw())
    }

    /// Sleeps so long, or until asked to stop.
    pub(crate) fn sleep(&self, wait: Duration) {
        let until_us = self.clock.now_us().saturating_add(wait.as_micros() as u64);
        let mut seen = self.signal.wait(u64::MAX, Duration::ZERO);
        while !self.is_stopping() {
            let left = until_us.saturating_sub(self.clock.now_us()).min(wait.as_micros() as u64);
            if left == 0 {
                return;
            }
            seen = self.signal.wait(seen, Duration::from_micros(left).min(Duration::from_millis(WAIT_MS_MAX)));
        }
    }
}

/// Runs a task to its end: it was asked to stop, its source ended, or it failed for good.
pub(crate) fn run<T: Task>(context: &Context, mut recover: impl FnMut() -> Result<T, Failure>) {
    let (mut attempts, mut since_us) = (0, 0);
    let opened = || context.counters.opened.store(true, Ordering::Release);
    let mut recover = || room::<T>(context).and_then(|()| recover()).inspect(|_| opened());
    while let Err(failure) = recover().and_then(|task| turn(context, task, &mut attempts)) {
        opened();
        context.counters.idle_at.store(0, Ordering::Release);
        context.counters.pressed_since_us.store(0, Ordering::Relaxed);
        if attempts == 0 {
            since_us = context.clock.now_us();
        }
        attempts += 1;
        context.counters.failed();
        let retry::Action::Wait(wait) = context.decide(failure.retry, attempts) else {
            return context.counters.set_state(State::Halted { why: failure.why });
        };
        context.counters.set_state(State::Retrying { since_us, why: failure.why, attempts });
        context.sleep(wait);
        if context.is_stopping() {
            break;
        }
    }
    context.counters.idle_at.store(u64::MAX, Ordering::Release);
    context.counters.set_state(State::Stopped);
}

/// Whether there is room for what the task commits.
fn room<T: Task>(context: &Context) -> Result<(), Failure> {
    if T::GROWS { context.log.room().map_err(Failure::from) } else { Ok(()) }
}

fn turn<T: Task>(context: &Context, mut task: T, attempts: &mut u32) -> Result<(), Failure> {
    let mut lifecycle = Lifecycle::new(context.limits);
    let now = || context.clock.now_us();
    let mut in_flight = task.recovered_in_flight();
    if in_flight {
        lifecycle.on(Event::Closed, now());
    } else {
        context.counters.set_state(State::Running);
    }
    let mut seen = context.signal.wait(u64::MAX, Duration::ZERO);
    let mut commits_seen = 0;
    let mut stop_told = false;
    loop {
        if !stop_told && context.is_stopping() {
            stop_told = true;
            lifecycle.on(Event::StopAsked, now());
        }
        if in_flight && task.committed()? {
            in_flight = false;
            *attempts = 0;
            context.counters.set_state(State::Running);
            context.counters.transactions.fetch_add(1, Ordering::Relaxed);
            lifecycle.on(Event::Committed { rest_us: task.rest_us() }, now());
        }
        let pressed_since_us = lifecycle.back_pressured_since_us(now()).unwrap_or(0);
        context.counters.pressed_since_us.store(pressed_since_us, Ordering::Relaxed);
        match lifecycle.next(now()) {
            lifecycle::Action::Read => {
                room::<T>(context)?;
                commits_seen = context.log.follow(0, Duration::ZERO);
                let read = task.extend(now())?;
                context.counters.documents_in.fetch_add(read.documents, Ordering::Relaxed);
                context.counters.bytes_in.fetch_add(read.bytes, Ordering::Relaxed);
                lifecycle.on(
                    Event::Read {
                        extended: read.documents > 0 || read.progress,
                        bytes: read.bytes,
                        full: read.full,
                        unfinished: read.unfinished,
                        more: read.more,
                        again_us: read.again_us,
                    },
                    now(),
                );
                if read.ended {
                    lifecycle.on(Event::Ended, now());
                }
            }
            lifecycle::Action::Close => {
                context.counters.idle_at.store(0, Ordering::Release);
                task.close(now())?;
                in_flight = true;
                lifecycle.on(Event::Closed, now());
            }
            lifecycle::Action::Wait { until_us } => {
                if lifecycle.is_idle() {
                    context.counters.idle_at.store(commits_seen + 1, Ordering::Release);
                }
                let longest = Duration::from_millis(WAIT_MS_MAX);
                let wait = until_us.map_or(longest, |at| Duration::from_micros(at.saturating_sub(now()))).min(longest);
                let count = context.signal.wait(seen, wait);
                if count != seen {
                    seen = count;
                    lifecycle.on(Event::Woken, now());
                }
            }
            lifecycle::Action::Stop => return Ok(()),
        }
    }
}
