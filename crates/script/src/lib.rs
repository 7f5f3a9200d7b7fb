//! Lambdas of derivations: methods of a TypeScript class, checked when a catalog is built and called for blocks of documents.
//!
//! A module is parsed and loses its types once (`typescript`, `check`). Its methods run in QuickJS (`quickjs`), where they can
//! do nothing but compute: no clock, no randomness, no input, bounded memory, stack and time. What QuickJS returns is JSON
//! again, so numbers are those of JavaScript: integers beyond 2^53 lose their last digits.

mod check;
mod engine;
mod quickjs;
mod typescript;

pub use engine::{Engine, RunError, check};
pub use quickjs::Limits;

/// The longest module, in bytes of text.
pub const MODULE_BYTES_MAX: usize = 256 << 10;

/// A mistake in a module.
#[derive(Debug)]
pub struct ModuleError {
    /// Byte range in the module's text.
    pub range: std::ops::Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}
