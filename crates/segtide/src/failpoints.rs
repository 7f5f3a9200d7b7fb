//! For tests: arms the points of this run from the environment, and tells how often it came to each.
//!
//! `SEGTIDE_FAILPOINTS` is `count`, `kill@N`, `kill@NAME:N`, `stop@N` or `stop@NAME:N`; `SEGTIDE_DEFECT` is a defect's name.

use journal::failpoint::{self, Act, Plan};
use signal_hook::consts::signal::{SIGKILL, SIGSTOP};
use signal_hook::low_level::raise;

/// Reads the environment; a plan that cannot be read must not pass for a run without faults.
pub fn arm() {
    let read = |name| std::env::var(name).unwrap_or_default();
    let (act, defect) = (read("SEGTIDE_FAILPOINTS"), read("SEGTIDE_DEFECT"));
    let plan = Plan::parse(&act, &defect).unwrap_or_else(|| panic!("{act:?} is no plan of failpoints"));
    failpoint::arm(plan, |act| {
        let signal = match act {
            Act::Kill => SIGKILL,
            Act::Stop => SIGSTOP,
        };
        raise(signal).expect("a process may signal itself");
    });
}

/// One line a point.
pub fn tell() {
    for (name, hits) in failpoint::hits() {
        crate::output::tell(&format!("failpoint {name} {hits}"));
    }
}
