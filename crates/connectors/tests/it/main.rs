//! The built-in connectors against the real other side: files, SQLite, PostgreSQL, an HTTP receiver.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod airbyte;
mod check;
mod file;
mod fixture;
mod generator;
mod sql;
mod tls;
mod webhook;
