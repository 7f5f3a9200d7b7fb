//! The program as a whole: its borders inside, and what a user sees from outside.
#![allow(clippy::unwrap_used)]

mod borders;
mod examples;
mod failing;
#[expect(dead_code, unused_imports, reason = "end-to-end tests use it once the program has commands")]
mod kit;
