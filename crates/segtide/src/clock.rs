//! The wall clock: the one place that reads it.

use std::time::SystemTime;

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl journal::Clock for SystemClock {
    fn now_us(&self) -> u64 {
        // A clock before 1970 is no clock; documents then order by their counters.
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
    }
}
