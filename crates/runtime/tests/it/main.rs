//! The runtime over a real log, with connectors that fail on script.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod catalogs;
mod dead_letters;
mod exactly_once;
mod fakes;
mod partitions;
