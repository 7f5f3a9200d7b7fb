//! The built-in connectors against the real other side: files, SQLite, PostgreSQL, an HTTP receiver.
#![allow(clippy::unwrap_used)]

mod check;
mod file;
mod fixture;
mod generator;
mod sql;
mod webhook;
