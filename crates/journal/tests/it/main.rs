//! The log from outside: what the trait promises, and what the embedded one adds.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod conformance;
mod crash;
mod embedded;
mod full;
mod keeping;
mod model;
mod support;
