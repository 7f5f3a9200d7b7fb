//! Steps at which tests let the program die or pause, and defects they switch on to see that a test would catch them.
//!
//! All of it is empty unless the feature `failpoints` is on: then a run can be [`arm`]ed with a plan, and counts how often it
//! comes to each point. Points stand where the next step is one that survives a crash and the one before does not, so a
//! crash *at every point* is a crash in every state that recovery has to understand. Errors are not raised here: those of
//! the system are injected into its calls, in the program as it is shipped.

#[cfg(feature = "failpoints")]
pub use armed::{Act, Plan, arm, defect, durable_point, hits};

/// A step of this name has come. Does nothing without the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn durable_point(_name: &'static str) {}

/// Whether the defect of this name is switched on. Never without the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub const fn defect(_name: &'static str) -> bool {
    false
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, OnceLock, PoisonError};

    /// What a run does at its points.
    #[derive(Debug, Default, PartialEq, Eq)]
    pub struct Plan {
        /// What to do, and when; nothing only counts.
        act: Option<(Act, When)>,
        /// The defect that is switched on.
        defect: Option<String>,
    }

    /// What happens at the chosen hit.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Act {
        /// The process dies as by `kill -9`.
        Kill,
        /// The process pauses until it is told to go on.
        Stop,
    }

    /// The hit at which it happens, counted from one.
    #[derive(Debug, PartialEq, Eq)]
    enum When {
        /// Of all points together.
        Any(u64),
        /// Of the point of this name.
        Named(String, u64),
    }

    impl Plan {
        /// Reads `kill@17`, `stop@journal.synced:2` or `count`, and the name of a defect. `None` if it cannot be read.
        pub fn parse(act: &str, defect: &str) -> Option<Plan> {
            let defect = (!defect.is_empty()).then(|| defect.to_owned());
            let (verb, when) = match act {
                "" | "count" => return Some(Plan { act: None, defect }),
                act => act.split_once('@')?,
            };
            let act = match verb {
                "kill" => Act::Kill,
                "stop" => Act::Stop,
                _ => return None,
            };
            let when = match when.split_once(':') {
                Some((name, hit)) => When::Named(name.to_owned(), hit.parse().ok()?),
                None => When::Any(when.parse().ok()?),
            };
            Some(Plan { act: Some((act, when)), defect })
        }
    }

    struct Armed {
        plan: Plan,
        perform: fn(Act),
        hits: Mutex<BTreeMap<&'static str, u64>>,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Arms this process, once, with a plan and the means to perform it.
    pub fn arm(plan: Plan, perform: fn(Act)) {
        let _ = ARMED.set(Armed { plan, perform, hits: Mutex::default() });
    }

    /// A step of this name has come.
    pub fn durable_point(name: &'static str) {
        let Some(armed) = ARMED.get() else { return };
        let mut hits = armed.hits.lock().unwrap_or_else(PoisonError::into_inner);
        let hit = hits.entry(name).or_default();
        *hit += 1;
        let hit = *hit;
        let is_due = match &armed.plan.act {
            Some((_, When::Named(chosen, at))) => chosen == name && *at == hit,
            Some((_, When::Any(at))) => *at == hits.values().sum::<u64>(),
            None => false,
        };
        if let Some((act, _)) = armed.plan.act.as_ref().filter(|_| is_due) {
            // Nobody passes another point while this process dies or pauses.
            (armed.perform)(*act);
        }
    }

    /// Whether the defect of this name is switched on.
    pub fn defect(name: &'static str) -> bool {
        ARMED.get().is_some_and(|armed| armed.plan.defect.as_deref() == Some(name))
    }

    /// How often this process came to each point.
    pub fn hits() -> Vec<(&'static str, u64)> {
        let Some(armed) = ARMED.get() else { return Vec::new() };
        armed.hits.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(name, hits)| (*name, *hits)).collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn plans_are_read() {
            let plan = |act, defect: Option<&str>| Some(Plan { act, defect: defect.map(str::to_owned) });
            for (act, defect, expected) in [
                ("", "", plan(None, None)),
                ("count", "", plan(None, None)),
                ("", "skip-fence", plan(None, Some("skip-fence"))),
                ("kill@17", "", plan(Some((Act::Kill, When::Any(17))), None)),
                ("stop@a.b:2", "x", plan(Some((Act::Stop, When::Named("a.b".into(), 2))), Some("x"))),
                ("kill", "", None),
                ("kill@", "", None),
                ("err@1", "", None),
                ("kill@a:b", "", None),
            ] {
                assert_eq!(Plan::parse(act, defect), expected, "{act:?} {defect:?}");
            }
        }
    }
}
