//! Every limit of the REST surface that is not the core's, in one place, with the relations between them.

use mailrail_broker::limits::{READ_ENTRIES_MAX, RECEIVE_MESSAGES_MAX};
use mailrail_message::BODY_BYTES_MAX;

/// Bytes of one request body. JSON is read without recursion into unknown fields, so it needs no depth of its own.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of request bodies that may be in memory at once, over all requests.
pub const UPLOAD_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Bytes of each of them that are not counted: a short request always finds room.
pub const UPLOAD_FREE_BYTES: usize = 16 * 1024;
/// Longest a request body may take to arrive.
pub const UPLOAD_MS_MAX: u64 = 30_000;
/// Longest the broker may take to answer, beyond what a request asked it to wait.
pub const ANSWER_MS_MAX: u64 = 30_000;
/// Messages of one publish request.
pub const PUBLISH_MESSAGES_MAX: usize = 1_000;
/// User properties of one message.
pub const PROPERTIES_MAX: usize = 1_000;
/// Keys of one message.
pub const KEYS_MAX: usize = 100;
/// Messages of one page of a read, or of one receive.
pub const PAGE_MESSAGES_MAX: u32 = 1_000;
pub const PAGE_MESSAGES_DEFAULT: u32 = 100;
pub const RECEIVE_MESSAGES_DEFAULT: u32 = 16;
/// Receives that wait in the broker at once, those included whose client has gone and whose time is not over yet.
pub const RECEIVES_MAX: usize = 10_000;
pub const LEASE_MS_DEFAULT: u64 = 30_000;
/// Bytes of bodies in one answer, as its reader sees them; one message is always let through.
pub const ANSWER_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of answers with messages that may be in memory at once, over all requests.
pub const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Reads by offset or id under way at once; the others wait for their turn. What they read is not counted before it is
/// there, so this bounds it.
pub const READS_MAX: usize = 32;
/// Receipts of one settle or extend request, over all its lists.
pub const RECEIPTS_MAX: usize = 1_000;
/// Topics or groups of one page of a list.
pub const LIST_ITEMS_MAX: usize = 1_000;
pub const LIST_ITEMS_DEFAULT: usize = 100;
/// Steps of a group's backoff.
pub const BACKOFF_STEPS_MAX: usize = 64;
/// Reads of one request that found nothing to let through, before it answers with how far it got.
pub const FILTER_READS_MAX: u32 = 64;
/// Copies of a message, as dead letters above all, whose steps one answer follows; of each it shows as many steps as a
/// page has messages.
pub const TRACED_COPIES_MAX: usize = 16;
/// Event streams open at once.
pub const EVENT_STREAMS_MAX: usize = 1_000;
/// Backups made at once: each keeps what is trimmed from the log on the disk.
pub const BACKUPS_MAX: usize = 1;
/// Bytes that one turn of an event stream gathers; one message is always let through.
pub const EVENT_TURN_BYTES_MAX: usize = 64 * 1024;
/// A longer turn, as a long message makes it, is counted among the answers; the others are bounded by how many streams
/// there may be.
pub const EVENT_TURN_UNCOUNTED_BYTES_MAX: usize = 2 * EVENT_TURN_BYTES_MAX;
/// Queues up to which each event of a stream carries the whole cursor; beyond, each turn's last one does.
pub const EVENT_CURSOR_QUEUES_MAX: usize = 16;
/// Silence after which an event stream sends a comment, so that proxies keep it open.
pub const EVENT_SILENCE_MS_MAX: u64 = 15_000;
/// Sessions kept for the next request.
pub const SESSIONS_IDLE_MAX: usize = 256;
/// Stored bytes that are turned into JSON without leaving the async worker.
pub const RENDER_INLINE_BYTES_MAX: usize = 256 * 1024;

const _: () = assert!(REQUEST_BYTES_MAX > BODY_BYTES_MAX / 3 * 4 + 64 * 1024, "a body in base64 must fit");
const _: () = assert!(UPLOAD_BYTES_MAX >= 4 * REQUEST_BYTES_MAX);
const _: () = assert!(ANSWER_BODY_BYTES_MAX >= BODY_BYTES_MAX);
const _: () = assert!(
    ANSWER_BYTES_MAX >= 8 * (ANSWER_BODY_BYTES_MAX + BODY_BYTES_MAX),
    "one answer must fit though JSON writes a byte as up to six"
);
const _: () = assert!(PAGE_MESSAGES_MAX <= RECEIVE_MESSAGES_MAX);
const _: () = assert!(PAGE_MESSAGES_MAX < 1 << 16 && READ_ENTRIES_MAX >= 1_000);
