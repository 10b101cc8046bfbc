//! What a log is configured with, and the limits that hold for every log. It reads no environment and no file.
use std::time::Duration;

use thiserror::Error;

use crate::format::{GROUP_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::width::{narrow, wide};

/// Smallest segment that can be asked for; small ones are for tests, where rolls must happen often.
pub const SEGMENT_BYTES_MIN: u64 = 16 << 10;
/// Largest segment: payload lengths and offsets inside one must fit 32 bits.
pub const SEGMENT_BYTES_MAX: u64 = 2 << 30;
/// A segment is a whole number of these, so that no page belongs to two of them.
pub const SEGMENT_STEP_BYTES: u64 = 4096;
/// A group that has reached this size takes no more; a single larger unit still gets a group of its own.
pub const GROUP_BYTES_SOFT: usize = 1 << 20;
/// Largest payload of one group, when the segment is large enough for it.
pub const GROUP_BYTES_MAX: usize = 64 << 20;
/// Most groups' bytes that go into one vectored write, so that the first of them is not announced late.
pub const WRITE_BYTES_MAX: usize = 8 << 20;
/// Most pieces in one vectored write: IOV_MAX on Linux, less one for what fills the page.
pub const WRITE_PIECES_MAX: usize = 1023;
/// Written bytes that are synced though nobody asked: the next segment can only be begun after a sync of this one, and
/// writers should not wait long for it.
pub const UNSYNCED_BYTES_MAX: u64 = 8 << 20;
/// Two wanted ranges this close to each other are fetched by one read.
pub const READ_GAP_BYTES_MAX: u64 = 16 << 10;
/// Most bytes that one coalesced read fetches, unless a single wanted range is longer.
pub const READ_RUN_BYTES_MAX: u64 = 4 << 20;
/// A longer read is done in parts of so many bytes, so that whoever waits for the disk waits for one of them. While one is
/// read the next is brought, and behind a read that goes on where an earlier one ended, one more.
pub const READ_PART_BYTES_MAX: u64 = 256 << 10;
/// Readers whose order is remembered.
pub const READ_STREAMS_MAX: usize = 64;
/// Files of older segments that are kept open for readers.
pub const READ_FILES_MAX: usize = 128;

/// Settings of one log, checked by [`crate::open`].
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Size of each new segment file in bytes, a multiple of [`SEGMENT_STEP_BYTES`]. Existing files keep theirs.
    pub segment_bytes: u64,
    /// Longest time that written data waits for a sync when nobody asked for one.
    pub sync_interval: Duration,
    /// With less room on the disk the log says that it is short of room; it goes on taking records.
    pub free_bytes_min: u64,
    /// Bytes of the newest submitted pieces that readers find in memory.
    pub cache_bytes: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 128 << 20,
            sync_interval: Duration::from_millis(500),
            free_bytes_min: 0,
            cache_bytes: 16 << 20,
        }
    }
}

/// A setting that no log can work with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error("segment_bytes is {found}, it must be a multiple of {step} from {min} to {max}")]
    SegmentBytes { found: u64, step: u64, min: u64, max: u64 },
}

impl LogConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let found = self.segment_bytes;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&found)
            || !found.is_multiple_of(SEGMENT_STEP_BYTES)
        {
            let (step, min, max) = (SEGMENT_STEP_BYTES, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
            return Err(ConfigError::SegmentBytes { found, step, min, max });
        }
        Ok(())
    }

    /// Largest unit of records, in bytes with their headers and padding, that a new segment's group can hold.
    pub fn group_bytes_max(&self) -> usize {
        // A segment must also hold its own header, the group's header and the group that seals it.
        let overhead = wide(SEGMENT_HEADER_BYTES + 2 * GROUP_HEADER_BYTES);
        narrow(self.segment_bytes.saturating_sub(overhead)).min(GROUP_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(segment_bytes: u64) -> Result<(), ConfigError> {
        LogConfig { segment_bytes, ..LogConfig::default() }.check()
    }

    #[test]
    fn a_segment_has_a_length_between_its_limits() {
        assert_eq!((checked(SEGMENT_BYTES_MIN), checked(SEGMENT_BYTES_MAX)), (Ok(()), Ok(())));
        let beside = [SEGMENT_BYTES_MIN - SEGMENT_STEP_BYTES, SEGMENT_BYTES_MAX + SEGMENT_STEP_BYTES];
        for found in beside.into_iter().chain([SEGMENT_BYTES_MIN + 1, SEGMENT_BYTES_MAX - 1]) {
            let text = checked(found).unwrap_err().to_string();
            let named = [found, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX].map(|bytes| bytes.to_string());
            assert!(named.iter().all(|bytes| text.contains(bytes)), "{text}");
        }
    }

    #[test]
    fn a_group_fits_its_segment_and_is_never_longer_than_the_longest() {
        let overhead = wide(SEGMENT_HEADER_BYTES + 2 * GROUP_HEADER_BYTES);
        let group_bytes_max =
            |segment_bytes| LogConfig { segment_bytes, ..LogConfig::default() }.group_bytes_max();
        assert_eq!(group_bytes_max(wide(GROUP_BYTES_MAX) + overhead), GROUP_BYTES_MAX);
        assert_eq!(group_bytes_max(wide(GROUP_BYTES_MAX) + overhead + 1), GROUP_BYTES_MAX);
        assert_eq!(group_bytes_max(wide(GROUP_BYTES_MAX) + overhead - 1), GROUP_BYTES_MAX - 1);
    }
}
