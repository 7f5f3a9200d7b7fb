//! stub

/// Why two documents cannot be reduced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("while reducing {location:?}, having values LHS: {left}, RHS: {right}: {reason}")]
pub struct ReduceError {
    /// Where in the document, as a JSON pointer.
    pub location: String,
    /// What is wrong.
    pub reason: String,
    /// The left value, shortened.
    pub left: String,
    /// The right value, shortened.
    pub right: String,
}
