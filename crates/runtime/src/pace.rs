//! How far a capture may run ahead of the derivations that read what it brings.
//!
//! What was committed last is in memory; a derivation that is further behind has fragments unpacked for it again, which costs
//! more than deriving. A source that is pulled from keeps what it has, so its capture waits instead. A derivation that does not
//! move is not waited for: it has halted, or waits for something itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::status::Counters;

/// A capture waits while a derivation has more bytes than this before it …
const AHEAD_BYTES_MAX: u64 = 4 << 20;
/// … and has read some within this time.
const STILL_US: u64 = 1_000_000;
/// How often the capture looks again.
pub(crate) const LOOK: Duration = Duration::from_millis(2);

/// The derivations that read what a capture brings.
#[derive(Debug, Default)]
pub(crate) struct Pace(Vec<Reader>);

#[derive(Debug)]
struct Reader {
    counters: Arc<Counters>,
    read: u64,
    moved_us: u64,
}

impl Pace {
    /// The pace that these derivations set.
    pub(crate) fn of(readers: &[Arc<Counters>]) -> Self {
        Self(readers.iter().map(|counters| Reader { counters: Arc::clone(counters), read: 0, moved_us: 0 }).collect())
    }

    /// Whether one of them is far behind, and moves.
    pub(crate) fn is_ahead(&mut self, now_us: u64) -> bool {
        let is_behind = |reader: &mut Reader| {
            let read = reader.counters.bytes_in.load(Ordering::Relaxed);
            if read != reader.read {
                (reader.read, reader.moved_us) = (read, now_us);
            }
            let moves = now_us.saturating_sub(reader.moved_us) < STILL_US;
            moves && reader.counters.ready_bytes.load(Ordering::Relaxed) > AHEAD_BYTES_MAX
        };
        // Each is looked at, so that none seems to stand still because another was looked at first.
        self.0.iter_mut().map(is_behind).fold(false, |any, is_behind| any | is_behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_moves_and_is_far_behind_is_waited_for() {
        let counters = [(); 2].map(|()| Arc::new(Counters::default()));
        let mut pace = Pace::of(&counters);
        let at = |n: usize, read: u64, behind: u64| {
            counters[n].bytes_in.store(read, Ordering::Relaxed);
            counters[n].ready_bytes.store(behind, Ordering::Relaxed);
        };
        assert!(!pace.is_ahead(10_000_000), "nothing was read yet");
        at(1, 1, AHEAD_BYTES_MAX);
        assert!(!pace.is_ahead(10_000_000), "not far");
        at(1, 1, AHEAD_BYTES_MAX + 1);
        assert!(pace.is_ahead(10_999_999));
        assert!(!pace.is_ahead(11_000_000), "it stands still");
        at(1, 2, AHEAD_BYTES_MAX + 1);
        assert!(pace.is_ahead(11_000_000));
        at(0, 1, 1 << 40);
        at(1, 3, 0);
        assert!(pace.is_ahead(11_500_000), "the other one");
    }
}
