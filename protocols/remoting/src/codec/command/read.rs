//! Reading typed values out of extension fields, as liberally as the reference broker does.
//!
//! Values are text on the wire whatever the client wrote; absent and null are the same.

use super::CommandError;
use crate::codec::header::{Header, text};
use crate::codec::json_header::parse_i64;
use crate::codec::limits::ERROR_VALUE_CHARS_MAX;

/// The extension fields of one request, read by name. For requests off the hot path.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) header: &'a Header,
}

impl<'a> Fields<'a> {
    /// None when absent or empty: C++ clients write `""` for what they do not have.
    pub(super) fn text(self, field: &'static str) -> Option<&'a str> {
        self.header.field(field).filter(|value| !value.is_empty())
    }

    pub(super) fn needed(self, field: &'static str) -> Result<&'a str, CommandError> {
        self.text(field).ok_or(CommandError::Missing { request: self.header.code, field })
    }

    pub(super) fn number<N: TryFrom<i64>>(self, field: &'static str) -> Result<Option<N>, CommandError> {
        self.text(field).map(|value| number(self.header.code, field, value.as_bytes())).transpose()
    }

    pub(super) fn needed_number<N: TryFrom<i64>>(self, field: &'static str) -> Result<N, CommandError> {
        number(self.header.code, field, self.needed(field)?.as_bytes())
    }

    pub(super) fn flag(self, field: &'static str) -> Option<bool> {
        self.text(field).map(|value| flag(value.as_bytes()))
    }
}

pub(super) fn number<N: TryFrom<i64>>(
    request: i32,
    field: &'static str,
    value: &[u8],
) -> Result<N, CommandError> {
    let number = parse_i64(value).and_then(|number| N::try_from(number).ok());
    number.ok_or_else(|| invalid(request, field, value, "an integer in range"))
}

/// Java writes `true`, the old C++ client `1`; whatever else there is means no, as in Java.
pub(super) fn flag(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"true") || value == b"1"
}

pub(super) fn invalid(
    request: i32,
    field: &'static str,
    value: &[u8],
    expected: &'static str,
) -> CommandError {
    let value = text(value).chars().take(ERROR_VALUE_CHARS_MAX).collect();
    CommandError::Invalid { request, field, value, expected }
}
