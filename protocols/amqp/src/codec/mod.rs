//! AMQP 0-9-1 bytes to typed frames and back. Borrows from the input and writes straight into the output.
//!
//! No socket, no clock, no broker, and no state: what may come when is decided by [`crate::connection`] and
//! [`crate::channel`].

pub mod content;
pub mod frame;
pub mod limits;
pub mod method;
#[rustfmt::skip]
pub mod methods;
mod primitive;
pub mod properties;
pub mod reply_code;
pub mod table;
pub mod writer;

pub use content::ContentHeader;
pub use frame::{Frame, FrameError, FrameKind, FrameLimits};
pub use method::{Arguments, MethodError, MethodId};
pub use methods::Method;
pub use primitive::{Malformed, ShortBytes};
pub use properties::BasicProperties;
pub use reply_code::{ReplyCode, Scope};
pub use table::{Array, ArrayBuffer, Table, TableBuffer, Value};
pub use writer::Outgoing;
