//! JSON documents and how they merge: arena nodes, pointers, ordering, keys, schemas, shapes, reductions, combining.
//!
//! This crate opens nothing and cannot observe the world: the same inputs give the same bytes.

mod node;

pub use node::{Arena, Field, Node};
