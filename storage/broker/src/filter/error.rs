//! Why a filter was refused. Scope: the subscription that brought it.

use crate::limits::*;

/// A refused filter. Positions are bytes from the start of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("the filter has {bytes} bytes; at most {FILTER_BYTES_MAX} are allowed")]
    TooLong { bytes: usize },
    #[error("the filter has more than {FILTER_TERMS_MAX} terms, from byte {at} on")]
    TooManyTerms { at: usize },
    #[error("the expression is nested deeper than {FILTER_DEPTH_MAX} at byte {at}")]
    TooDeep { at: usize },
    #[error("at byte {at}: {found} where {expected} is expected")]
    Syntax { at: usize, expected: &'static str, found: String },
    #[error("at byte {at}: {misuse}")]
    Misuse { at: usize, misuse: Misuse },
    #[error("{0:?} names no tag")]
    NoTag(String),
}

/// What is well-formed and has no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    #[error("neither true nor false can come of this")]
    NotBoolean,
    #[error("only numbers and properties have an order")]
    NotOrdered,
    #[error("NULL equals nothing; IS NULL asks for a missing property")]
    EqualsNull,
    #[error("TRUE and FALSE cannot be compared with this")]
    BooleanWithOther,
    #[error("only a property can be looked up in a list or compared with a pattern")]
    NotProperty,
    #[error("the lower bound is above the upper one")]
    BoundsCrossed,
    #[error("the number is out of range: 64 bits for whole ones, a double above 0 for others")]
    NumberRange,
    #[error("an escape is one character, and does not end a pattern")]
    Escape,
}
