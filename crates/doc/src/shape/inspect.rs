//! stub
use crate::{Pointer, Shape};

/// A mistake that shows only in the shape of the whole schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The location in documents.
    pub pointer: Pointer,
    /// Names the kind of mistake.
    pub slug: &'static str,
    /// What is wrong.
    pub message: String,
}
impl Shape {
    /// What is wrong with how the schema reduces.
    pub fn inspect(&self) -> Vec<Inspection> {
        unimplemented!()
    }
}
