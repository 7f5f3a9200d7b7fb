//! The log: transactions, shard state, journals, fragments, recovery.
//!
//! This crate knows bytes and offsets. It does not know what a schema, a key or a task is. [`Log`] is the contract;
//! [`Embedded`] keeps it on one machine, in one data directory. The bytes on disk are drawn in `docs/formats.md`.

mod directory;
mod embedded;
pub mod failpoint;
mod fragment;
mod log;
mod remote;
mod template;

pub use directory::OpenError;
pub use embedded::{Embedded, Finding, Fragments, Options, Stats, Verified, verify};
pub use fragment::{Codec, FragmentInfo};
pub use log::{Append, Block, Clock, Commit, Delta, Head, Log, LogError, Opened};
pub use remote::check as check_store;
pub use template::Template;
