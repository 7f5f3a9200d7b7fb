//! Time that only moves when asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A clock moved by hand. Clones share their time.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    now_us: Arc<AtomicU64>,
}

impl Clock {
    /// A clock that stands at `now_us` microseconds since 1970 UTC.
    pub fn at(now_us: u64) -> Self {
        Self { now_us: Arc::new(AtomicU64::new(now_us)) }
    }

    /// The time, in microseconds since 1970 UTC.
    pub fn now_us(&self) -> u64 {
        self.now_us.load(Ordering::SeqCst)
    }

    /// Moves the time forward.
    pub fn advance(&self, by: Duration) {
        self.now_us.fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Sets the time, to an earlier one as well.
    pub fn set(&self, now_us: u64) {
        self.now_us.store(now_us, Ordering::SeqCst);
    }
}

impl journal::Clock for Clock {
    fn now_us(&self) -> u64 {
        Clock::now_us(self)
    }
}
