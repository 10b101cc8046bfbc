//! Every limit of the remoting codec in one place, with the relations between them checked at compile time.
//!
//! Limits of messages are the `message` crate's, those of topics, groups and waits the broker's.

use mailrail_message::PROPERTIES_BYTES_MAX;

/// Whole frame with its first four bytes; the reference broker's default for `frameMaxLength`.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Frame header. A property string of [`PROPERTIES_BYTES_MAX`] bytes, every byte escaped, takes 192 KiB.
pub const HEADER_BYTES_MAX: usize = 1024 * 1024;
/// Extension fields of one header. The widest known request has about 20.
pub const EXT_FIELDS_COUNT_MAX: usize = 512;
/// Containers inside containers in a header value that is only skipped.
pub const JSON_NESTING_COUNT_MAX: usize = 64;
/// JSON bodies that clients send (heartbeats, lock lists, client checks).
pub const JSON_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Groups (producers and consumers together) in one heartbeat.
pub const HEARTBEAT_GROUPS_COUNT_MAX: usize = 4_096;
/// Subscriptions of one consumer group in one heartbeat.
pub const HEARTBEAT_SUBSCRIPTIONS_COUNT_MAX: usize = 4_096;
/// Queues in one lock or unlock request.
pub const LOCK_QUEUES_COUNT_MAX: usize = 16_384;
/// Messages in one batch send.
pub const BATCH_MESSAGES_COUNT_MAX: usize = 65_536;
/// Longest time a pull may be held. Old Go clients sent nanoseconds in the millisecond field.
pub const PULL_SUSPEND_MILLIS_MAX: u64 = 30_000;
/// Characters of a refused value that an error text repeats.
pub const ERROR_VALUE_CHARS_MAX: usize = 64;

const _: () = assert!(HEADER_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(HEADER_BYTES_MAX < 1 << 24, "the length of a header has 24 bits on the wire");
const _: () = assert!(PROPERTIES_BYTES_MAX * 6 < HEADER_BYTES_MAX, "an escaped byte takes six");
const _: () = assert!(JSON_BODY_BYTES_MAX < FRAME_BYTES_MAX);
