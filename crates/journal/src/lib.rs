//! The log: transactions, shard state, journals, fragments, recovery.
//!
//! This crate knows bytes and offsets. It does not know what a schema, a key or a task is.

mod log;

pub use log::{Append, Block, Clock, Commit, Delta, Head, Log, LogError, Opened};
