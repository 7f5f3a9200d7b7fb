//! Lambdas of derivations, called for blocks of documents: methods of a TypeScript class, or statements of SQLite.
//!
//! A module is parsed and loses its types once (`typescript`, `check`). Its methods run in QuickJS (`quickjs`), where they can
//! do nothing but compute: no clock, no randomness, no input, bounded memory, stack and time. What QuickJS returns is JSON
//! again, so numbers are those of JavaScript: integers beyond 2^53 lose their last digits.
//!
//! Methods that only shape data do not need QuickJS: they are compiled (`native`), and give the same.
//!
//! Statements run in SQLite itself (`sqlite`), over a database that commits with the checkpoint of its task.

mod check;
mod engine;
mod lambdas;
mod native;
mod quickjs;
mod sqlite;
mod typescript;

pub use engine::{Engine, check};
pub use lambdas::{check_module, check_sql, open, read_module, refusals};
pub use native::Refusal;
pub use quickjs::Limits;

/// The longest module, in bytes of text.
pub const MODULE_BYTES_MAX: usize = 256 << 10;
