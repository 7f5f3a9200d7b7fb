//! The runtime over a real log, with connectors that fail on script.

mod catalogs;
mod exactly_once;
mod fakes;
