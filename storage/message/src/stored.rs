//! A stored message, read in place. Parsing checks every length once; the getters then borrow from the stored bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::annex::{AnnexKind, Annexes};
use crate::draft::body_crc;
use crate::layout::*;
use crate::property::Properties;
use crate::read::*;
use crate::targets::{self, Target};

/// A view of a stored message.
#[derive(Clone, Copy, Debug)]
pub struct StoredMessage<'a> {
    bytes: &'a [u8],
    record_len: usize,
    born_v6: bool,
    store_v6: bool,
    body_at: usize,
    body_len: usize,
    topic: &'a str,
    properties: &'a [u8],
}

impl<'a> StoredMessage<'a> {
    /// Reads the frame of a stored message. Trailing padding of zeros behind the annexes is allowed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LayoutError> {
        let record_len = to_usize(u32_at(bytes, AT_TOTAL_SIZE)?);
        let record = slice_at(bytes, 0, record_len)?;
        let wide = match u32_at(record, AT_MAGIC)? {
            MAGIC_V1 => false,
            MAGIC_V2 => true,
            magic => return Err(LayoutError::Magic(magic)),
        };
        let flags = u32_at(record, AT_SYS_FLAG)?;
        let (born_v6, store_v6) = (flags & sys_flag::BORN_HOST_V6 != 0, flags & sys_flag::STORE_HOST_V6 != 0);
        let at_body_len = AT_BORN_HOST + host_bytes(born_v6) + 8 + host_bytes(store_v6) + 4 + 8;
        let body_len = to_usize(u32_at(record, at_body_len)?);
        let body_at = at_body_len + 4;
        let at_topic_len = body_at.saturating_add(body_len);
        let (topic_len, topic_at) = if wide {
            (usize::from(u16::from_be_bytes(bytes_at(record, at_topic_len)?)), at_topic_len + 2)
        } else {
            let [len] = bytes_at(record, at_topic_len)?;
            (usize::from(len), at_topic_len + 1)
        };
        let topic = std::str::from_utf8(slice_at(record, topic_at, topic_len)?)
            .map_err(|_| LayoutError::Text { field: "topic" })?;
        let at_properties = topic_at + topic_len;
        let properties_len = usize::from(u16::from_be_bytes(bytes_at(record, at_properties)?));
        let properties = slice_at(record, at_properties + 2, properties_len)?;
        Ok(StoredMessage { bytes, record_len, born_v6, store_v6, body_at, body_len, topic, properties })
    }

    /// All of it, with annexes.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The RocketMQ record alone: what a pull response carries.
    pub fn record(&self) -> &'a [u8] {
        self.bytes.get(..self.record_len).unwrap_or(&[])
    }

    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(self.body_at..self.body_at + self.body_len).unwrap_or(&[])
    }

    /// Where the body lies in the stored bytes, for slicing shared buffers.
    pub fn body_range(&self) -> std::ops::Range<usize> {
        self.body_at..self.body_at + self.body_len
    }

    pub fn topic(&self) -> &'a str {
        self.topic
    }

    pub fn properties(&self) -> Properties<'a> {
        Properties::new(self.properties)
    }

    pub fn flag(&self) -> i32 {
        self.u32(AT_FLAG).cast_signed()
    }

    pub fn sys_flags(&self) -> u32 {
        self.u32(AT_SYS_FLAG)
    }

    pub fn compression(&self) -> Option<Compression> {
        Compression::of(self.sys_flags())
    }

    pub fn body_crc(&self) -> u32 {
        self.u32(AT_BODY_CRC)
    }

    /// The body is what its checksum says.
    pub fn has_whole_body(&self) -> bool {
        self.body_crc() == body_crc(self.body())
    }

    pub fn queue_index(&self) -> u32 {
        self.u32(AT_QUEUE_INDEX)
    }

    pub fn queue_offset(&self) -> u64 {
        self.u64(AT_QUEUE_OFFSET)
    }

    pub fn position(&self) -> u64 {
        self.u64(AT_POSITION)
    }

    pub fn born_ms(&self) -> u64 {
        self.u64(AT_BORN_MS)
    }

    pub fn store_ms(&self) -> u64 {
        self.u64(AT_BORN_HOST + host_bytes(self.born_v6))
    }

    pub fn reconsume_times(&self) -> u32 {
        self.u32(AT_BORN_HOST + host_bytes(self.born_v6) + 8 + host_bytes(self.store_v6))
    }

    pub fn born_host(&self) -> SocketAddr {
        self.host(AT_BORN_HOST, self.born_v6)
    }

    pub fn store_host(&self) -> SocketAddr {
        self.host(AT_BORN_HOST + host_bytes(self.born_v6) + 8, self.store_v6)
    }

    /// The annexes behind the record, the targets last.
    pub fn annexes(&self) -> Annexes<'a> {
        Annexes::new(self.bytes.get(self.record_len..).unwrap_or(&[]))
    }

    /// The first annex of a kind. A damaged annex ends the search.
    pub fn annex(&self, kind: AnnexKind) -> Option<&'a [u8]> {
        self.annexes().map_while(Result::ok).find(|annex| annex.kind == kind).map(|annex| annex.bytes)
    }

    /// The queues the message is in; empty for one that waits.
    pub fn targets(&self) -> Result<Vec<Target>, LayoutError> {
        for annex in self.annexes() {
            let annex = annex?;
            if annex.kind == AnnexKind::Targets {
                return targets::targets(annex.bytes);
            }
        }
        Ok(Vec::new())
    }

    /// Number of queues the message is in; 0 for one that waits.
    pub fn target_count(&self) -> usize {
        self.annex(AnnexKind::Targets).map_or(0, targets::target_count)
    }

    fn u32(&self, at: usize) -> u32 {
        u32_at(self.bytes, at).unwrap_or(0)
    }

    fn u64(&self, at: usize) -> u64 {
        u64_at(self.bytes, at).unwrap_or(0)
    }

    fn host(&self, at: usize, v6: bool) -> SocketAddr {
        let address_bytes = if v6 { 16 } else { 4 };
        let ip = if v6 {
            bytes_at::<16>(self.bytes, at).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
        } else {
            bytes_at::<4>(self.bytes, at).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
        };
        let port = u16::try_from(self.u32(at + address_bytes)).unwrap_or(0);
        SocketAddr::new(ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port)
    }
}
