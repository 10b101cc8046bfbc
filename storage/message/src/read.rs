//! Bounds-checked reads and writes of big- and little-endian fields. Nothing here panics on foreign bytes.

/// A stored message that does not hold what its layout says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("the message ends at byte {have}, but a field reaches to byte {need}")]
    Short { need: usize, have: usize },
    #[error("unknown magic {0:#010x}")]
    Magic(u32),
    #[error("{field} is not valid UTF-8")]
    Text { field: &'static str },
    #[error("{field} holds {value}, which is out of range")]
    Range { field: &'static str, value: i64 },
}

pub(crate) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], LayoutError> {
    let short = LayoutError::Short { need: at.saturating_add(N), have: bytes.len() };
    let slice = bytes.get(at..at.saturating_add(N)).ok_or(short)?;
    slice.try_into().map_err(|_| short)
}

pub(crate) fn slice_at(bytes: &[u8], at: usize, len: usize) -> Result<&[u8], LayoutError> {
    let end = at.saturating_add(len);
    bytes.get(at..end).ok_or(LayoutError::Short { need: end, have: bytes.len() })
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, LayoutError> {
    bytes_at(bytes, at).map(u32::from_be_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Result<u64, LayoutError> {
    bytes_at(bytes, at).map(u64::from_be_bytes)
}

/// Overwrites bytes that the caller's own encoder laid out; a range outside is left alone and reported.
pub(crate) fn put(bytes: &mut [u8], at: usize, field: &[u8]) -> Result<(), LayoutError> {
    let end = at.saturating_add(field.len());
    let have = bytes.len();
    bytes.get_mut(at..end).ok_or(LayoutError::Short { need: end, have })?.copy_from_slice(field);
    Ok(())
}

/// A length as a `u32`; lengths in this crate are bounded by limits far below, so saturation never shows.
pub(crate) fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// The other way; `usize` has at least 32 bits wherever this runs.
pub(crate) fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
