//! JSON documents and how they merge: arena nodes, pointers, ordering, keys, schemas, shapes, reductions, combining.
//!
//! This crate opens nothing and cannot observe the world: the same inputs give the same bytes.

mod combine;
mod key;
mod node;
mod order;
mod parse;
mod pointer;
mod published;
mod reduce;
mod schema;
mod shape;
mod write;

pub use combine::{CombineError, Combiner, Documents, Drained, Spill, SpillDrain, SpillFile, SpillingCombiner};
pub use key::{hash, pack, pack_node};
pub use node::{Arena, Field, Node, from_value, to_value};
pub use order::{compare, compare_at};
pub use parse::{ParseError, ParseReason, parse, parse_elements};
pub use pointer::{Pointer, PointerError};
pub use published::{PUBLISHED_AT, published_us, uuid_clock};
pub use reduce::{Reason, ReduceError};
pub use schema::{Formats, Invalid, Schema, SchemaError};
pub use shape::{Exists, Inspection, Located, Property, Shape, Types};
pub use write::{stamp, write, write_fields};
