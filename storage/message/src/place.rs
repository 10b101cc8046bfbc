//! Filling in what is known only when the shard has taken a message: queue, offset, position, time.

use crate::layout::*;
use crate::read::{LayoutError, put, u32_at};
use crate::targets::Target;

/// Where a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Number of the queue within its topic, from 0.
    pub queue_index: u32,
    pub target: Target,
    /// Log position of the record that holds the message.
    pub position: u64,
    /// Milliseconds of the Unix epoch, by the shard's clock.
    pub store_ms: u64,
}

/// Fills the placement into `message`, a freshly encoded draft that ends with its one reserved target.
pub fn place(message: &mut [u8], placement: &Placement) -> Result<(), LayoutError> {
    place_record(message, placement)?;
    let at_target = message.len().saturating_sub(TARGET_BYTES);
    put(message, at_target, &placement.target.to_bytes())
}

/// As [`place`], for a message whose targets annex is complete: fills in the record alone.
pub fn place_record(message: &mut [u8], placement: &Placement) -> Result<(), LayoutError> {
    let flags = u32_at(message, AT_SYS_FLAG)?;
    let at_store_ms = AT_BORN_HOST + host_bytes(flags & sys_flag::BORN_HOST_V6 != 0);
    put(message, AT_QUEUE_INDEX, &placement.queue_index.to_be_bytes())?;
    put(message, AT_QUEUE_OFFSET, &placement.target.offset.to_be_bytes())?;
    put(message, AT_POSITION, &placement.position.to_be_bytes())?;
    put(message, at_store_ms, &placement.store_ms.to_be_bytes())
}
