//! What all methods share: their ids, how arguments are written, and why a method cannot be read.
//!
//! The methods themselves are generated, see [`super::methods`].

use std::fmt;

use bytes::BytesMut;

use super::primitive::*;

/// Class and method number; 0.0 where no method is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MethodId {
    pub class: u16,
    pub method: u16,
}

impl MethodId {
    /// No method in particular, as close frames say it.
    pub const NONE: MethodId = MethodId { class: 0, method: 0 };

    pub(super) fn read(payload: &[u8]) -> Result<(MethodId, &[u8]), MethodError> {
        let read = |input| {
            let (input, class) = short(input)?;
            let (input, method) = short(input)?;
            Ok((input, MethodId { class, method }))
        };
        match read(payload) {
            Ok((input, id)) => Ok((id, input)),
            Err(error) => Err(MethodError::Arguments { id: MethodId::NONE, reason: reason(error) }),
        }
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => out.write_str(name),
            None => write!(out, "{}.{}", self.class, self.method),
        }
    }
}

/// A method that can be written. Implemented by the generated structures.
pub trait Arguments {
    const ID: MethodId;

    /// Appends the arguments, without the ids.
    fn write(&self, out: &mut BytesMut);
}

/// Why a method frame cannot be read. Scope: the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    #[error("method {0} is unknown")]
    Unknown(MethodId),
    #[error("the arguments of {id} are malformed: {reason}")]
    Arguments { id: MethodId, reason: Malformed },
}

pub(super) fn finish<T>(id: MethodId, parsed: Parsed<'_, T>) -> Result<T, MethodError> {
    whole(parsed).map_err(|reason| MethodError::Arguments { id, reason })
}
