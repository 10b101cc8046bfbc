//! Bytes to typed frames and back: frame envelope, both header serializers, request headers, bodies.
//!
//! Deliberately absent: IO, clocks, broker types, and the stored message layout (the `message` crate's).
//! Errors of [`frame`] end the connection; errors of [`command`] and [`body`] cost one request.

mod binary_header;
pub mod body;
pub mod command;
pub mod fields;
pub mod frame;
pub mod header;
mod hex_id;
mod json_header;
mod json_text;
pub mod limits;
pub mod request_code;
pub mod response_code;
#[cfg(test)]
pub(crate) mod testing;
pub mod writer;

pub use command::{Command, CommandError};
pub use frame::{Frame, FrameError, decode};
pub use header::{Header, Language, Serializer};
pub use writer::{Envelope, FrameWriter};
