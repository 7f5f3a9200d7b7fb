//! Builds a golden catalog, and the same with one mistake at a time.

mod build;
mod host;
mod mistakes;
