//! stub
use crate::{Pointer, Shape, Types, shape::Located};
pub(crate) fn infer() {}
impl Shape {
    pub(crate) const fn of_types(types: Types) -> Shape {
        Shape {
            types,
            values: None,
            format: None,
            content_encoding: None,
            content_type: None,
            title: None,
            description: None,
            default: None,
            reduce: None,
            length_min: 0,
            length_max: None,
            properties: std::collections::BTreeMap::new(),
            patterns: std::collections::BTreeMap::new(),
            additional_properties: None,
            tuple: Vec::new(),
            items: None,
            items_min: 0,
            items_max: None,
        }
    }
    /// What is proven about one location.
    pub fn locate(&self, pointer: &Pointer) -> Located<'_> {
        unimplemented!()
    }
    /// Every location the schema names without a pattern, the root first, in the order of pointers.
    pub fn locations(&self) -> Vec<(Pointer, Located<'_>)> {
        unimplemented!()
    }
}
