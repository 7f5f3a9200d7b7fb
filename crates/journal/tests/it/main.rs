//! The log from outside: what the trait promises, and what the embedded one adds.

mod conformance;
mod crash;
mod embedded;
mod model;
mod support;
