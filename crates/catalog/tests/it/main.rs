//! Builds a golden catalog, and the same with one mistake at a time.

// The lint spares test functions, and not what they share.
#![allow(clippy::unwrap_used)]

mod build;
mod host;
mod hostile;
mod mistakes;
mod typescript;
