//! The built-in connectors against the real other side: files, SQLite, PostgreSQL, an HTTP receiver.

mod check;
mod file;
mod fixture;
mod generator;
mod sql;
mod webhook;
