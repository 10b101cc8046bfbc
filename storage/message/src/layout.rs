//! Where each field of a stored message lies. Facts only; reading and writing are in the neighbouring files.
//!
//! Source: RocketMQ `MessageDecoder` (offsets for V1 with IPv4 hosts; an IPv6 host is 12 bytes longer and shifts what
//! follows).

/// Magic of a record whose topic length is one byte.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Magic of a record whose topic length is two bytes, used for topics longer than 127 bytes.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;

/// Longest body any protocol may store, in bytes.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest property string; its length is a signed 16-bit field.
pub const PROPERTIES_BYTES_MAX: usize = 32_767;
/// Longest topic name, in UTF-8 bytes.
pub const TOPIC_BYTES_MAX: usize = 255;
/// Longest topic that fits the V1 layout.
pub(crate) const TOPIC_V1_BYTES_MAX: usize = 127;
/// Upper bound of a whole stored message with its annexes.
pub const RECORD_MESSAGE_BYTES_MAX: usize = BODY_BYTES_MAX + 512 * 1024;

pub(crate) const AT_TOTAL_SIZE: usize = 0;
pub(crate) const AT_MAGIC: usize = 4;
pub(crate) const AT_BODY_CRC: usize = 8;
pub(crate) const AT_QUEUE_INDEX: usize = 12;
pub(crate) const AT_FLAG: usize = 16;
pub(crate) const AT_QUEUE_OFFSET: usize = 20;
pub(crate) const AT_POSITION: usize = 28;
pub(crate) const AT_SYS_FLAG: usize = 36;
pub(crate) const AT_BORN_MS: usize = 40;
pub(crate) const AT_BORN_HOST: usize = 48;
pub(crate) const HOST_V4_BYTES: usize = 8;
pub(crate) const HOST_V6_BYTES: usize = 20;
pub(crate) const TARGET_BYTES: usize = 16;
pub(crate) const ANNEX_HEADER_BYTES: usize = 4;

/// Bits of the record's `sysFlag`.
pub mod sys_flag {
    /// The body is compressed; the codec is in bits 8 to 10.
    pub const COMPRESSED: u32 = 0x1;
    /// The tag filter must treat TAGS as several tags.
    pub const MULTI_TAGS: u32 = 0x2;
    /// Two bits: 4 prepared, 8 commit, 12 rollback.
    pub const TRANSACTION_BITS: u32 = 0xC;
    pub const PREPARED: u32 = 0x4;
    pub const COMMITTED: u32 = 0x8;
    /// The born host is an IPv6 address.
    pub const BORN_HOST_V6: u32 = 0x10;
    /// The store host is an IPv6 address.
    pub const STORE_HOST_V6: u32 = 0x20;
    /// Shift of the three bits that name the compression codec.
    pub const COMPRESSION_SHIFT: u32 = 8;
}

/// How a producer compressed a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Zlib,
    Lz4,
    Zstd,
}

impl Compression {
    /// Reads the codec out of `sysFlag`; `None` when the body is not compressed. Values 0 and 3 both mean zlib;
    /// unknown ones too, as RocketMQ has it.
    pub fn of(sys_flags: u32) -> Option<Compression> {
        if sys_flags & sys_flag::COMPRESSED == 0 {
            return None;
        }
        Some(match (sys_flags >> sys_flag::COMPRESSION_SHIFT) & 7 {
            1 => Compression::Lz4,
            2 => Compression::Zstd,
            _ => Compression::Zlib,
        })
    }
}

/// Bytes of a host field.
pub(crate) fn host_bytes(v6: bool) -> usize {
    if v6 { HOST_V6_BYTES } else { HOST_V4_BYTES }
}

/// Where the one target a draft reserves lies, counted from the end of the encoded message.
#[derive(Clone, Copy, Debug)]
pub struct TargetSlot;

impl TargetSlot {
    /// Bytes at the end of a freshly drafted message that hold its targets annex with one target.
    pub const BYTES: usize = ANNEX_HEADER_BYTES + TARGET_BYTES;
}
