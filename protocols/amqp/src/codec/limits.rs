//! Every limit of the AMQP codec and its state machines, in one place, with the relations between them.
//!
//! Limits on messages and names that hold for all protocols are not here; the broker has them.

/// Type, channel, size and end octet around every payload.
pub const FRAME_OVERHEAD_BYTES: usize = 8;
/// Smallest frame-max that may be agreed on (AMQP 0-9-1, `frame-min-size`).
pub const FRAME_BYTES_MIN: u32 = 4_096;
/// Largest frame offered. What every client agrees to without being told.
pub const FRAME_BYTES_MAX: u32 = 131_072;
/// Payload of any frame before tuning. Tokens used as passwords do not fit into the smallest frame.
pub const HANDSHAKE_PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// Payload of method and header frames after tuning. They cannot be split, so frame-max does not hold for them.
pub const METHOD_PAYLOAD_BYTES_MAX: usize = 512 * 1024;

/// Highest channel number offered; RabbitMQ's, which client suites assert.
pub const CHANNEL_COUNT_MAX: u16 = 2_047;
/// Tables and arrays inside each other.
pub const TABLE_DEPTH_MAX: usize = 16;
/// Entries of one table with everything inside it.
pub const TABLE_ENTRIES_MAX: usize = 4_096;
/// A short string: its length is one octet.
pub const SHORT_TEXT_BYTES_MAX: usize = 255;

/// Time a client has from its first octet to `connection.open`.
pub const HANDSHAKE_SECONDS_MAX: u64 = 10;
/// Time a peer has to answer `connection.close`.
pub const CLOSE_SECONDS_MAX: u64 = 5;
/// Wait before a refused login is dropped without a word, so that guessing is slow.
pub const REFUSED_LOGIN_SECONDS: u64 = 1;
/// Heartbeat offered.
pub const HEARTBEAT_SECONDS: u16 = 60;

/// Consumers of one channel.
pub const CHANNEL_CONSUMERS_MAX: usize = 1_024;
/// Deliveries of one channel that wait for their acknowledgement.
pub const CHANNEL_UNACKED_MAX: usize = 1_000_000;
/// Publishes of one channel that wait for their confirm; beyond it the channel is not read.
pub const CHANNEL_UNCONFIRMED_MAX: usize = 1_000_000;
/// Deliveries that one channel settles in one transaction.
pub const TRANSACTION_SETTLED_MAX: usize = 65_536;
/// Bytes one consumer may have under way from the broker, by the average size of its messages so far.
pub const CONSUMER_WINDOW_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Messages one consumer may have under way from the broker.
pub const CONSUMER_WINDOW_MESSAGES_MAX: u32 = 2_048;
/// Bytes waiting to be written, above which consumers get no more credit.
pub const OUTPUT_WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes waiting to be written, above which nothing is read: returns and answers to a client that reads none of them
/// would have no end.
pub const OUTPUT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What is kept for publishes and requests until the broker's answer is taken, above which nothing is read. Answers are
/// not taken while the client does not read.
pub const OUTSTANDING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Input kept while its next frame waits for an answer of the broker, above which nothing is read. Until then
/// heartbeats count.
pub const HELD_INPUT_BYTES_MAX: usize = 1024 * 1024;
/// Time for which publishes must have been held back before the client is told, and after which this is looked at
/// again. What is shorter than that is felt, and not worth a word.
pub const CONGESTION_CHECK_MILLIS: u64 = 250;
/// Room reserved for a body before its bytes have come: a header may claim any size.
pub const BODY_RESERVED_BYTES_MAX: usize = 256 * 1024;

#[expect(clippy::as_conversions, reason = "u32 into usize, in a constant")]
const _: () = {
    assert!(FRAME_BYTES_MAX >= FRAME_BYTES_MIN);
    assert!(HANDSHAKE_PAYLOAD_BYTES_MAX >= 2 * FRAME_BYTES_MIN as usize);
    assert!(METHOD_PAYLOAD_BYTES_MAX > FRAME_BYTES_MAX as usize);
    // The rest of half a frame can always be read.
    assert!(HELD_INPUT_BYTES_MAX > METHOD_PAYLOAD_BYTES_MAX + FRAME_OVERHEAD_BYTES);
    assert!(OUTPUT_BYTES_MAX > OUTPUT_WAITING_BYTES_MAX);
};
