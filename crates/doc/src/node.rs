//! A JSON document as a tree of small copyable nodes in an arena.
//!
//! A node borrows its strings from the text it was parsed from, or from the arena when they were escaped. Nodes are freed
//! with their arena, all at once, so building and dropping a document costs no allocation per value.

/// Where nodes live. One arena serves a block of documents and is reset after it.
pub type Arena = bumpalo::Bump;

/// A JSON value. Twenty-four bytes, and `Copy`.
#[derive(Clone, Copy, Debug, Default)]
pub enum Node<'a> {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer of zero or more.
    U64(u64),
    /// An integer below zero; zero and above are always [`Node::U64`].
    I64(i64),
    /// A number that was written with a fraction or an exponent, or that arithmetic made so. Always finite.
    F64(f64),
    /// A string.
    Str(&'a str),
    /// An array.
    Array(&'a [Node<'a>]),
    /// An object: fields sorted by name (bytewise), each name once.
    Object(&'a [Field<'a>]),
}

/// One property of an object.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The property's name.
    pub name: &'a str,
    /// Its value.
    pub value: Node<'a>,
}
