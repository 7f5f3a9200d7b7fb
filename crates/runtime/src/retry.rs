//! What follows an error: waiting and trying again, or giving up. Decided here and nowhere else, from values alone; nothing that
//! is called from a retry tries again by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::connector::Retry;

/// The longest wait after the first failure; it doubles with each further one …
const WAIT_MS_MIN: u64 = 100;
/// … to here.
const WAIT_MS_MAX: u64 = 10_000;
/// Longest wait that the other side may ask for.
const ASKED_MAX: Duration = Duration::from_secs(3600);
/// So often in a row something may be refused before that counts as the last word; takes about twenty seconds.
const REFUSALS_MAX: u32 = 10;

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Try again after so long.
    Wait(Duration),
    /// It will not get better: somebody has to act, or what was refused is set aside.
    GiveUp,
}

/// What to do about the n-th failure in a row, counted from one. Waits are drawn from all that is shorter than the longest
/// (full jitter), so that those who failed together do not come back together.
pub(crate) fn decide(retry: Retry, failures: u32, random: u64) -> Action {
    match retry {
        Retry::Never => Action::GiveUp,
        Retry::AFewTimes if failures >= REFUSALS_MAX => Action::GiveUp,
        Retry::After(asked) => Action::Wait(asked.min(ASKED_MAX)),
        Retry::Later | Retry::AFewTimes => {
            let doubled = WAIT_MS_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16));
            Action::Wait(Duration::from_millis(random % (doubled.min(WAIT_MS_MAX) + 1)))
        }
    }
}

/// Random numbers for waits, from a seed. Clones draw from the same sequence.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(Arc<AtomicU64>);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// The next number.
    pub(crate) fn draw(&self) -> u64 {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_what_follows_them() {
        let ms = |ms| Action::Wait(Duration::from_millis(ms));
        let hour = Action::Wait(Duration::from_secs(3600));
        const ALL: u64 = u64::MAX;
        for (retry, failures, random, expected) in [
            (Retry::Never, 1, 0, Action::GiveUp),
            // The longest waits are one less than the numbers that are drawn from.
            (Retry::Later, 1, 100, ms(100)),
            (Retry::Later, 1, 101, ms(0)),
            (Retry::Later, 2, 200, ms(200)),
            (Retry::Later, 2, 30, ms(30)),
            (Retry::Later, 7, 6_400, ms(6_400)),
            (Retry::Later, 8, 10_000, ms(10_000)),
            (Retry::Later, 8, 10_001, ms(0)),
            (Retry::Later, u32::MAX, 10_000, ms(10_000)),
            (Retry::AFewTimes, 9, 10_000, ms(10_000)),
            (Retry::AFewTimes, 10, 0, Action::GiveUp),
            (Retry::After(Duration::from_millis(7)), 1, ALL, ms(7)),
            (Retry::After(Duration::from_secs(86_400)), 99, 0, hour),
        ] {
            assert_eq!(decide(retry, failures, random), expected, "{retry:?}, {failures} failures, {random}");
        }
    }

    #[test]
    fn waits_use_the_whole_range() {
        let jitter = Jitter::new(7);
        let waits: Vec<u64> = (0..1_000)
            .map(|_| match decide(Retry::Later, 20, jitter.draw()) {
                Action::Wait(wait) => wait.as_millis() as u64,
                Action::GiveUp => panic!("it may pass"),
            })
            .collect();
        assert!(waits.iter().all(|wait| *wait <= WAIT_MS_MAX));
        assert!(
            waits.iter().any(|wait| *wait < WAIT_MS_MAX / 10) && waits.iter().any(|wait| *wait > WAIT_MS_MAX * 9 / 10)
        );
        let clone = Jitter::new(7);
        assert_eq!(clone.draw(), Jitter::new(7).draw(), "a seed gives one sequence");
        assert_ne!(clone.draw(), Jitter::new(7).draw());
    }
}
