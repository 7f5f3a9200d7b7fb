//! What stands behind flags: how it is written, and what it means.

use std::net::IpAddr;
use std::time::Duration;

/// Where files go instead of the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stores {
    /// To this store.
    Url(String),
    /// To those of the catalog's `storageMappings`.
    Mapped,
}

pub fn stores(text: &str) -> Result<Stores, String> {
    match text {
        "mapped" => Ok(Stores::Mapped),
        url => journal::check_store(url).map(|()| Stores::Url(url.to_owned())),
    }
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// In microseconds since 1970.
    At(u64),
    /// So long before now.
    Ago(Duration),
}

impl Moment {
    /// In microseconds since 1970.
    pub fn us(self, now_us: u64) -> u64 {
        match self {
            Self::At(us) => us,
            Self::Ago(long) => now_us.saturating_sub(u64::try_from(long.as_micros()).unwrap_or(u64::MAX)),
        }
    }
}

pub fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(long) = humantime::parse_duration(text) {
        return Ok(Moment::Ago(long));
    }
    let midnight = format!("{text}T00:00:00Z");
    let at = text.parse().or_else(|_| midnight.parse::<jiff::Timestamp>());
    let at = at.map_err(|_| "write it like 2026-02-03T10:12:44Z, 2026-02-03, or 10m for ten minutes ago")?;
    // Nothing was published before 1970.
    Ok(Moment::At(u64::try_from(at.as_microsecond()).unwrap_or(0)))
}

pub fn pair(text: &str) -> Result<(String, String), String> {
    let (field, value) = text.split_once('=').ok_or("write it as field=value")?;
    Ok((field.to_owned(), value.to_owned()))
}

pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; write it like 50ms, 1s or 2m"))
}

pub fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "write it like 127.0.0.1, 0.0.0.0 or ::".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let second = 1_000_000;
        for (text, expected) in [
            ("1970-01-02T00:00:01Z", Some(86_401 * second)),
            ("1970-01-02T01:00:01.5+01:00", Some(86_401 * second + second / 2)),
            ("1970-01-02", Some(86_400 * second)),
            ("1960-01-01", Some(0)),
            ("10m", Some(400 * second)),
            ("2h", Some(0)),
            ("yesterday", None),
            ("1970-13-01", None),
            ("", None),
        ] {
            assert_eq!(moment(text).ok().map(|moment| moment.us(1_000 * second)), expected, "{text}");
        }
    }
}
