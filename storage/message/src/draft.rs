//! A message as its producer sent it, and how it becomes stored bytes. Offsets, position and store time are not known
//! yet: the encoder leaves their places, and [`crate::place`] fills them in where the bytes lie.

use std::net::SocketAddr;

use bytes::{BufMut, BytesMut};

use crate::annex::{AnnexKind, put_annex};
use crate::layout::*;
use crate::read::len_u32;

/// A message on its way in. Borrowed from whatever the protocol decoded.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    pub topic: &'a str,
    /// The application's own flag; the broker gives it no meaning.
    pub flag: i32,
    /// Bits of [`sys_flag`]; the host bits are set by the encoder.
    pub sys_flags: u32,
    /// Milliseconds of the Unix epoch, by the producer's clock.
    pub born_ms: u64,
    pub born_host: SocketAddr,
    /// Address that clients may dial for this message: the advertised remoting address.
    pub store_host: SocketAddr,
    /// How often a consumer has failed on it before.
    pub reconsume_times: u32,
    pub body: &'a [u8],
    /// Properties in RocketMQ's form (`key 0x01 value 0x02` repeated).
    pub properties: &'a [u8],
    /// More of the same, appended behind `properties`; the broker's own additions.
    pub more_properties: &'a [u8],
    /// Annexes but for the targets, which the encoder appends.
    pub annexes: &'a [(AnnexKind, &'a [u8])],
}

/// Why a draft cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    #[error("the body has {bytes} bytes; at most {max} are allowed")]
    Body { bytes: usize, max: usize },
    #[error("the properties have {bytes} bytes; at most {max} are allowed")]
    Properties { bytes: usize, max: usize },
    #[error("the topic has {bytes} bytes; 1 to {max} are allowed")]
    Topic { bytes: usize, max: usize },
    #[error("the message has {bytes} bytes with its headers; at most {max} are allowed")]
    Whole { bytes: usize, max: usize },
}

impl Draft<'_> {
    /// Bytes that [`Draft::encode`] will append.
    pub fn encoded_len(&self) -> usize {
        let annexes: usize = self.annexes.iter().map(|(_, bytes)| ANNEX_HEADER_BYTES + bytes.len()).sum();
        self.record_len() + annexes + TargetSlot::BYTES
    }

    /// Checks every length against its limit. To be called before any state changes.
    pub fn check(&self) -> Result<(), DraftError> {
        let (body, topic) = (self.body.len(), self.topic.len());
        let mut properties = self.properties.len() + self.more_properties.len();
        properties += usize::from(self.needs_separator());
        if body > BODY_BYTES_MAX {
            return Err(DraftError::Body { bytes: body, max: BODY_BYTES_MAX });
        }
        if properties > PROPERTIES_BYTES_MAX {
            return Err(DraftError::Properties { bytes: properties, max: PROPERTIES_BYTES_MAX });
        }
        if topic == 0 || topic > TOPIC_BYTES_MAX {
            return Err(DraftError::Topic { bytes: topic, max: TOPIC_BYTES_MAX });
        }
        let bytes = self.encoded_len();
        if bytes > RECORD_MESSAGE_BYTES_MAX {
            return Err(DraftError::Whole { bytes, max: RECORD_MESSAGE_BYTES_MAX });
        }
        Ok(())
    }

    /// Appends the stored form with one reserved target. The draft must have passed [`Draft::check`].
    pub fn encode(&self, out: &mut BytesMut) {
        let (magic, wide) = magic_for(self.topic);
        let mut flags = self.sys_flags & !(sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6);
        flags |= if self.born_host.is_ipv6() { sys_flag::BORN_HOST_V6 } else { 0 };
        flags |= if self.store_host.is_ipv6() { sys_flag::STORE_HOST_V6 } else { 0 };
        out.reserve(self.encoded_len());
        out.extend_from_slice(&len_u32(self.record_len()).to_be_bytes());
        out.extend_from_slice(&magic.to_be_bytes());
        out.extend_from_slice(&body_crc(self.body).to_be_bytes());
        out.extend_from_slice(&0u32.to_be_bytes());
        out.extend_from_slice(&self.flag.to_be_bytes());
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&self.born_ms.to_be_bytes());
        put_host(out, self.born_host);
        out.extend_from_slice(&[0; 8]);
        put_host(out, self.store_host);
        out.extend_from_slice(&self.reconsume_times.to_be_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&len_u32(self.body.len()).to_be_bytes());
        out.extend_from_slice(self.body);
        let topic_len = len_u32(self.topic.len()).to_be_bytes();
        out.extend_from_slice(if wide { &topic_len[2..] } else { &topic_len[3..] });
        out.extend_from_slice(self.topic.as_bytes());
        let [_, _, high, low] = len_u32(self.properties_len()).to_be_bytes();
        out.extend_from_slice(&[high, low]);
        out.extend_from_slice(self.properties);
        if self.needs_separator() {
            out.put_u8(crate::property::PAIR_END);
        }
        out.extend_from_slice(self.more_properties);
        for (kind, bytes) in self.annexes {
            put_annex(out, *kind, bytes);
        }
        put_annex(out, AnnexKind::Targets, &[0; TARGET_BYTES]);
    }

    fn needs_separator(&self) -> bool {
        !self.more_properties.is_empty()
            && self.properties.last().is_some_and(|last| *last != crate::property::PAIR_END)
    }

    fn properties_len(&self) -> usize {
        self.properties.len() + self.more_properties.len() + usize::from(self.needs_separator())
    }

    fn record_len(&self) -> usize {
        let (_, wide) = magic_for(self.topic);
        let hosts = host_bytes(self.born_host.is_ipv6()) + host_bytes(self.store_host.is_ipv6());
        let fixed = AT_BORN_HOST + hosts + 8 + 4 + 8 + 4 + 2;
        fixed + self.body.len() + usize::from(wide) + 1 + self.topic.len() + self.properties_len()
    }
}

/// The magic for a topic's length, and whether the length takes two bytes.
pub(crate) fn magic_for(topic: &str) -> (u32, bool) {
    if topic.len() > TOPIC_V1_BYTES_MAX { (MAGIC_V2, true) } else { (MAGIC_V1, false) }
}

pub(crate) fn put_host(out: &mut impl BufMut, host: SocketAddr) {
    match host {
        SocketAddr::V4(v4) => out.put_slice(&v4.ip().octets()),
        SocketAddr::V6(v6) => out.put_slice(&v6.ip().octets()),
    }
    out.put_u32(u32::from(host.port()));
}

/// CRC-32 of a body in 31 bits, as RocketMQ keeps it.
pub(crate) fn body_crc(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7FFF_FFFF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_of_more_bytes_than_one_length_byte_may_say_takes_two() {
        let topic = "t".repeat(TOPIC_V1_BYTES_MAX + 1);
        assert_eq!(magic_for(&topic[1..]), (MAGIC_V1, false));
        assert_eq!(magic_for(&topic), (MAGIC_V2, true));
    }
}
