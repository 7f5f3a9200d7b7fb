//! How the journals of a collection are kept: packed how, cut where, for how long, in which store.

use std::collections::BTreeMap;

use crate::fragment::{Codec, FRAGMENT_BYTES_MAX};

/// How journals are kept in fragments. What is `None` is as the log's options say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    /// How files are packed.
    pub codec: Codec,
    /// Bytes of documents that close a fragment; more than 64 MiB count as so much, for readers unpack a fragment whole.
    pub bytes_max: Option<u64>,
    /// A fragment ends with the interval, counted from 1970 UTC, in which it began, and with nothing but that or its size. In
    /// milliseconds, not zero.
    pub interval_ms: Option<u64>,
    /// How old fragments have to be before they are removed, and every reader past them; `None` keeps them for ever. In
    /// milliseconds, by the clock.
    pub retention_ms: Option<u64>,
    /// The URL of the store that fragments go to.
    pub store: Option<String>,
}

/// When a tail is closed, how it is packed, where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) bytes_max: u64,
    pub(crate) age_max_us: u64,
    pub(crate) interval_us: Option<u64>,
    pub(crate) retention_us: Option<u64>,
    pub(crate) codec: Codec,
    pub(crate) store: String,
}

/// The policies of all journals.
pub(crate) struct Policies {
    otherwise: Policy,
    by_prefix: BTreeMap<String, Policy>,
    /// The longest age of a tail among them.
    pub(crate) age_max_us: u64,
}

impl Policies {
    /// `templates` are by prefixes of journal names, none of which is a prefix of another.
    pub(crate) fn new(otherwise: Policy, templates: &BTreeMap<String, Template>) -> Policies {
        let policy = |template: &Template| Policy {
            bytes_max: template.bytes_max.unwrap_or(otherwise.bytes_max).clamp(1, FRAGMENT_BYTES_MAX),
            age_max_us: if template.interval_ms.is_some() { u64::MAX } else { otherwise.age_max_us },
            interval_us: template.interval_ms.map(|ms| ms.saturating_mul(1000).max(1)),
            retention_us: template.retention_ms.map(|ms| ms.saturating_mul(1000)),
            codec: template.codec,
            store: template.store.clone().unwrap_or_else(|| otherwise.store.clone()),
        };
        let by_prefix = templates.iter().map(|(prefix, template)| (prefix.clone(), policy(template))).collect();
        Policies { age_max_us: otherwise.age_max_us, otherwise, by_prefix }
    }

    /// The policy of a journal.
    pub(crate) fn of(&self, journal: &str) -> &Policy {
        use std::ops::Bound;
        let before = self.by_prefix.range::<str, _>((Bound::Unbounded, Bound::Included(journal))).next_back();
        before.filter(|(prefix, _)| journal.starts_with(prefix.as_str())).map_or(&self.otherwise, |(_, policy)| policy)
    }

    /// The largest fragment any of them makes, unless a block is larger.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.by_prefix.values().map(|policy| policy.bytes_max).max().unwrap_or(0).max(self.otherwise.bytes_max)
    }

    /// Whether anything is ever removed.
    pub(crate) fn expire(&self) -> bool {
        self.by_prefix.values().any(|policy| policy.retention_us.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_has_the_policy_of_its_prefix() {
        let otherwise = Policy {
            bytes_max: 16,
            age_max_us: 10,
            interval_us: None,
            retention_us: None,
            codec: Codec::Gzip,
            store: "s3://all".to_owned(),
        };
        let large = Template { bytes_max: Some(u64::MAX), interval_ms: Some(60_000), ..Template::default() };
        let short = Template { retention_ms: Some(5), store: Some("s3://b".to_owned()), ..Template::default() };
        let templates = [("a/b/".to_owned(), large), ("a/c/".to_owned(), short)];
        let policies = Policies::new(otherwise.clone(), &templates.into());
        assert_eq!(policies.of("a/b/pivot=00").bytes_max, FRAGMENT_BYTES_MAX);
        assert_eq!(policies.of("a/b/pivot=00").interval_us, Some(60_000_000));
        assert_eq!(policies.of("a/b/pivot=00").store, "s3://all");
        assert_eq!(policies.of("a/c/x=1/pivot=00").store, "s3://b");
        for other in ["a", "a/bb/pivot=00", "a/b", "a/d/pivot=00", "zz"] {
            assert_eq!(policies.of(other), &otherwise, "{other}");
        }
        assert_eq!(policies.bytes_max(), FRAGMENT_BYTES_MAX);
    }
}
