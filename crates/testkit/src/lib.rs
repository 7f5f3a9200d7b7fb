//! What tests share: a private PostgreSQL, a webhook receiver that misbehaves on script, a clock moved by hand,
//! a disk to fill.
//!
//! For tests only, so it panics with a message that says what is wrong with the machine rather than returning errors.
#![allow(clippy::unwrap_used)]

mod bucket;
mod clock;
mod disk;
mod postgres;
mod receiver;

pub use bucket::{Bucket, Fault};
pub use clock::Clock;
pub use disk::{Disk, Filler};
pub use postgres::Postgres;
pub use receiver::{Answer, Received, Receiver};
