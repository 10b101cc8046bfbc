//! Every limit of the core, in one place, with the relations between them.

/// Longest name of a topic, group or exchange, in UTF-8 bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Most queues of one topic.
pub const TOPIC_QUEUES_MAX: u32 = 1_024;
/// Publish bytes handed to the shard and not yet answered, over all sessions, where memory allows; beyond it publishes
/// are refused as busy.
pub const IN_FLIGHT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of messages that were read for clients and not written to them yet, over all sessions, where memory allows;
/// beyond it readers and consumers wait.
pub const DELIVERY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Parts of them that one client is handed at once, and the least that is.
pub const DELIVERY_STEPS: u64 = 16;
pub const DELIVERY_STEP_BYTES_MIN: usize = 64 * 1024;
/// Bytes of input, and of output, that a connection may hold however little memory is left: short requests and their
/// answers always get through.
pub const CONNECTION_FREE_BYTES: usize = 8 * 1024;
/// Most messages of one receive.
pub const RECEIVE_MESSAGES_MAX: u32 = 1_024;
/// Longest a receive may wait.
pub const RECEIVE_WAIT_MS_MAX: u64 = 60_000;
/// Shortest and longest lease that ends with time.
pub const LEASE_MS_MIN: u64 = 1;
pub const LEASE_MS_MAX: u64 = 12 * 60 * 60 * 1_000;
/// Longest time after which a silent member is dropped, and longest lock.
pub const MEMBER_MS_MAX: u64 = LEASE_MS_MAX;
/// Longest wait before a damaged message is read again.
pub const DAMAGED_RETRY_MS_MAX: u64 = 60 * 60 * 1_000;
/// Most leases of one group on one queue.
pub const GROUP_LEASES_MAX: usize = 1_000_000;
/// Entries behind the oldest unsettled one among which a group in strict order looks for a message group that may be
/// handed out.
pub const FIFO_LOOKAHEAD_ENTRIES_MAX: u64 = 16_384;
/// Most bindings of one exchange.
pub const EXCHANGE_BINDINGS_MAX: usize = 100_000;
/// Most bytes of a binding's attributes.
pub const BINDING_ATTRIBUTES_BYTES_MAX: usize = 64 * 1024;
/// Most routing keys of one message, or topics that it names.
pub const ROUTING_KEYS_MAX: usize = 1_024;
/// Most light queues of one topic, and most that one message may name.
pub const LITE_QUEUES_MAX: usize = if cfg!(test) { 300 } else { 1_000_000 };
pub const MESSAGE_LITE_QUEUES_MAX: usize = 1_024;
/// Most keys that one pass of compaction knows, some 50 bytes of memory each; with more, the next pass goes on.
pub const COMPACTION_KEYS_MAX: usize = if cfg!(test) { 50 } else { 500_000 };
/// Bytes of messages that one step of it reads, and runs of offsets that one record removes.
pub const COMPACTION_STEP_BYTES_MAX: usize = if cfg!(test) { 2_048 } else { 8 * 1024 * 1024 };
pub const COMPACTED_RUNS_MAX: usize = if cfg!(test) { 8 } else { 4_096 };
/// Most exchanges passed on the way from a publish to its queues.
pub const ROUTE_HOPS_MAX: usize = 64;
/// Most topics that one message may reach.
pub const ROUTE_TARGETS_MAX: usize = 100_000;
/// Most bytes of a stored message: what its publisher sent, and where it went.
pub const STORED_MESSAGE_BYTES_MAX: usize =
    mailrail_message::RECORD_MESSAGE_BYTES_MAX + ROUTE_TARGETS_MAX * mailrail_message::TargetSlot::BYTES;
/// Longest delay of a publish.
pub const DELAY_MS_MAX: u64 = 10 * 366 * 24 * 60 * 60 * 1_000;
/// Most delay levels.
pub const DELAY_LEVELS_MAX: usize = 64;
/// Most messages that are dispatched together, and their bytes; one is, however long it is.
pub const DISPATCHED_MESSAGES_MAX: usize = 256;
pub const DISPATCHED_BYTES_MAX: u64 = 1024 * 1024;
/// With more of the log not synced, nothing is dispatched: a million messages may be due, and copies wait in memory.
pub const DISPATCH_UNSYNCED_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Most half messages that are open at once: some 70 bytes of memory each.
pub const HALF_MESSAGES_MAX: usize = if cfg!(test) { 200 } else { 1_000_000 };
/// How often producers are asked what becomes of a half message before it is given up, how long after one check comes
/// the next, and when the first comes where the message does not say: as with RocketMQ.
pub const HALF_CHECKS_MAX: u32 = 15;
pub const HALF_CHECK_INTERVAL_MS: u64 = 30_000;
pub const HALF_FIRST_CHECK_MS: u64 = 6_000;
/// Longest wait for the first check.
pub const HALF_FIRST_CHECK_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1_000;
/// A half message is given up when nobody could be asked of it for so long: as long as RocketMQ keeps it.
pub const HALF_UNASKED_MS_MAX: u64 = 72 * 60 * 60 * 1_000;
/// Half messages that are asked for together, and their bytes; one is, however long it is.
pub const CHECKED_MESSAGES_MAX: usize = 256;
pub const CHECKED_BYTES_MAX: u64 = 1024 * 1024;
/// Most groups of which one session has a producer.
pub const SESSION_PRODUCER_GROUPS_MAX: u64 = 1_024;
/// Open half messages that are listed at once.
pub const OPEN_HALVES_LISTED_MAX: usize = 1_000;
/// Messages that are stored together or not at all, their bytes, and leases that end with them.
pub const TOGETHER_MESSAGES_MAX: usize = if cfg!(test) { 100 } else { 10_000 };
pub const TOGETHER_BYTES_MAX: usize = if cfg!(test) { 64 * 1024 } else { 16 * 1024 * 1024 };
pub const TOGETHER_RECEIPTS_MAX: usize = if cfg!(test) { 1_000 } else { 65_536 };
/// Longest time for which a topic remembers what it has stored.
pub const DEDUPLICATION_WINDOW_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// Longest deduplication key or producer id, in bytes; a digest of it is kept.
pub const DEDUPLICATION_KEY_BYTES_MAX: usize = 1_024;
/// Messages that one topic, and all together, remember at most, some 150 bytes of memory each. With more, the topic
/// forgets its oldest early, and of all topics the one that remembers most does: a window is then shorter than its
/// time, and nothing is refused.
pub const DEDUPLICATION_TOPIC_ENTRIES_MAX: usize = if cfg!(test) { 200 } else { 250_000 };
pub const DEDUPLICATION_ENTRIES_MAX: usize = if cfg!(test) { 300 } else { 500_000 };
/// Receipts of one producer's newest messages that a topic remembers; of older ones it knows that they were stored.
pub const DEDUPLICATION_PRODUCER_RECEIPTS_MAX: usize = if cfg!(test) { 8 } else { 64 };
/// Entries of one read by offset.
pub const READ_ENTRIES_MAX: usize = 1_024;
/// Entries that a filter may pass over in one read; of their messages it looks at [`READ_BYTES_MAX`] bytes at most.
pub const FILTERED_ENTRIES_MAX: usize = 4_096;
/// How long a group's filter on a topic is kept, and another one refused, after somebody last received by it: members that
/// ask again and again are gone in between.
pub const FILTER_HELD_MS: u64 = 60_000;
/// Longest text of a filter.
pub const FILTER_BYTES_MAX: usize = 16 * 1024;
/// Deepest nesting of an expression: each level is a frame on the stack of whoever compiles or asks it.
pub const FILTER_DEPTH_MAX: usize = 64;
/// Most tags of a filter, and most operands, operators and listed texts of an expression.
pub const FILTER_TERMS_MAX: usize = 1_024;
/// Characters of a refused filter that its error shows.
pub const FILTER_ERROR_SHOWN_CHARACTERS_MAX: usize = 40;
/// Bytes of one read by offset; one message is always returned, however long.
pub const READ_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of messages read at once for consumers and receives; one message is always read, however long.
pub const FETCH_BYTES_MAX: usize = DISK_READ_BYTES_MAX;
/// Bytes that one client gets from the disk at once, so that the others' turn comes soon; one message always, however
/// long.
pub const DISK_READ_BYTES_MAX: usize = 1024 * 1024;

/// Most users.
pub const USERS_MAX: usize = 4_000;
/// Most rules of one user.
pub const USER_RULES_MAX: usize = 256;
/// Longest text of a pattern in a rule.
pub const RULE_PATTERN_BYTES_MAX: usize = 512;
/// What a regular expression in a rule may take when it is compiled.
pub const RULE_REGEX_BYTES_MAX: usize = 256 * 1024;
/// Most source addresses or networks of a rule, and how much of a wrong one its error shows.
pub const RULE_SOURCES_MAX: usize = 32;
pub const RULE_SOURCE_BYTES_SHOWN_MAX: usize = 64;
/// Longest password, and longest secret to sign with.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
pub const SIGNING_SECRET_BYTES_MAX: usize = 1_024;
/// Decisions that are remembered for one connection; with more, it forgets them all.
pub const DECISIONS_REMEMBERED_MAX: usize = 1_024;
/// Logins that wait to be checked; with more, further ones are refused as busy.
pub const LOGINS_WAITING_MAX: usize = 256;
/// Outcomes of logins that are remembered; with more, all are forgotten.
pub const LOGINS_REMEMBERED_MAX: usize = 4_096;
/// Administrative changes that are kept, the bytes of each text in them, and how many one answer has.
pub const AUDIT_ENTRIES_MAX: usize = 1_000;
pub const AUDIT_TEXT_BYTES_MAX: usize = 1_024;
pub const AUDIT_PAGE_ENTRIES_MAX: usize = 100;
/// Steps of traced messages that wait to be written; further ones are lost. As many are written together.
pub const TRACE_STEPS_WAITING_MAX: usize = if cfg!(test) { 200 } else { 16_384 };
pub const TRACE_BATCH_STEPS_MAX: usize = if cfg!(test) { 50 } else { 256 };
/// Entries of one commit that are looked at for what is traced among them.
pub const TRACE_COMMIT_ENTRIES_MAX: u64 = if cfg!(test) { 100 } else { 4_096 };
/// Copies of traced messages that are traced in their place.
pub const TRACE_COPIES_FOLLOWED_MAX: usize = if cfg!(test) { 20 } else { 65_536 };
/// What is kept of the name that a client gives itself.
pub const CLIENT_NAME_BYTES_MAX: usize = 255;

/// Entries that one consumer gets before the next one's turn.
pub const TURN_ENTRIES_MAX: u64 = 64;

/// Pieces of the state (a queue, a group's position ...) that a checkpoint, a snapshot or a survey looks at in one turn
/// of the shard; less where they are large.
pub const TURN_PIECES_MAX: usize = 256;

/// Longest stored message.
pub use mailrail_message::RECORD_MESSAGE_BYTES_MAX;
/// Bytes of the log that a backup reads at once.
pub const BACKUP_CHUNK_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(ROUTE_TARGETS_MAX >= EXCHANGE_BINDINGS_MAX);
const _: () = assert!(READ_BYTES_MAX > STORED_MESSAGE_BYTES_MAX);
const _: () =
    assert!(FETCH_BYTES_MAX <= mailrail_message::RECORD_MESSAGE_BYTES_MAX, "what a fetch may bring");
const _: () = assert!(DEDUPLICATION_TOPIC_ENTRIES_MAX < DEDUPLICATION_ENTRIES_MAX);
const _: () = assert!(CONNECTION_FREE_BYTES < DELIVERY_STEP_BYTES_MIN);
