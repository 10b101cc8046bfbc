//! Conversions between the widths of lengths in memory and in files. It knows nothing of their meaning.

const _: () = assert!(usize::BITS == 64, "positions are held in memory as usize ranges");

#[expect(clippy::as_conversions, reason = "usize is 64 bits wide, asserted above")]
pub(crate) const fn wide(length: usize) -> u64 {
    length as u64
}

#[expect(clippy::as_conversions, reason = "usize is 64 bits wide, asserted above")]
pub(crate) const fn narrow(length: u64) -> usize {
    length as usize
}

#[expect(clippy::as_conversions, reason = "every u32 fits the 64 bits of usize")]
pub(crate) const fn from_u32(length: u32) -> usize {
    length as usize
}
