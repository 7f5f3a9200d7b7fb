//! The log: transactions, shard state, journals, fragments, recovery.
//!
//! This crate knows bytes, offsets and ranges of hashes. It does not know what a schema or a key is, nor what a task does. [`Log`] is the contract;
//! [`Embedded`] keeps it on one machine, in one data directory. The bytes on disk are drawn in `docs/formats.md`.

mod directory;
mod embedded;
pub mod failpoint;
mod fragment;
mod keys;
mod log;
mod remote;
mod template;

pub use directory::OpenError;
pub use embedded::{Embedded, Finding, Fragments, Options, Stats, Verified, verify};
pub use fragment::{Codec, FragmentInfo};
pub use keys::{KeyRange, Part, Piece, take_over};
pub use log::{Append, Block, Clock, Commit, Delta, Head, Log, LogError, Opened, Register};
pub use remote::check as check_store;
pub use template::Template;
