//! What a reader may see differently from what was stored: another queue's view, a changed address, a redelivery.
//! The body is never touched.

use std::net::SocketAddr;

use crate::draft::{magic_for, put_host};
use crate::layout::*;
use crate::read::len_u32;
use crate::stored::StoredMessage;

/// Fields to replace; `None` keeps what was stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rewrite<'a> {
    pub topic: Option<&'a str>,
    pub queue_index: Option<u32>,
    pub queue_offset: Option<u64>,
    pub store_host: Option<SocketAddr>,
    pub reconsume_times: Option<u32>,
    /// Appended to the properties, in RocketMQ's form.
    pub more_properties: &'a [u8],
}

/// Appends the RocketMQ record of `message` with the replacements of `rewrite`, without annexes. Properties that no
/// longer fit are left out.
pub fn rewrite_into(message: &StoredMessage<'_>, rewrite: &Rewrite<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    let topic = rewrite.topic.unwrap_or(message.topic());
    let (magic, wide) = magic_for(topic);
    let store_host = rewrite.store_host.unwrap_or(message.store_host());
    let mut flags = message.sys_flags() & !sys_flag::STORE_HOST_V6;
    flags |= if store_host.is_ipv6() { sys_flag::STORE_HOST_V6 } else { 0 };
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&magic.to_be_bytes());
    out.extend_from_slice(&message.body_crc().to_be_bytes());
    out.extend_from_slice(&rewrite.queue_index.unwrap_or(message.queue_index()).to_be_bytes());
    out.extend_from_slice(&message.flag().to_be_bytes());
    out.extend_from_slice(&rewrite.queue_offset.unwrap_or(message.queue_offset()).to_be_bytes());
    out.extend_from_slice(&message.position().to_be_bytes());
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&message.born_ms().to_be_bytes());
    put_host(out, message.born_host());
    out.extend_from_slice(&message.store_ms().to_be_bytes());
    put_host(out, store_host);
    out.extend_from_slice(&rewrite.reconsume_times.unwrap_or(message.reconsume_times()).to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&len_u32(message.body().len()).to_be_bytes());
    out.extend_from_slice(message.body());
    let [_, _, high, low] = len_u32(topic.len()).to_be_bytes();
    if wide {
        out.push(high);
    }
    out.push(low);
    out.extend_from_slice(topic.as_bytes());
    put_properties(out, message.properties().as_bytes(), rewrite.more_properties);
    let total = len_u32(out.len() - start).to_be_bytes();
    if let Some(size) = out.get_mut(start..start + 4) {
        size.copy_from_slice(&total);
    }
}

fn put_properties(out: &mut Vec<u8>, stored: &[u8], more: &[u8]) {
    let separator = !more.is_empty() && stored.last().is_some_and(|last| *last != crate::property::PAIR_END);
    let both = stored.len() + usize::from(separator) + more.len();
    let fits = both <= PROPERTIES_BYTES_MAX;
    let [_, _, high, low] = len_u32(if fits { both } else { stored.len() }).to_be_bytes();
    out.extend_from_slice(&[high, low]);
    out.extend_from_slice(stored);
    if fits {
        if separator {
            out.push(crate::property::PAIR_END);
        }
        out.extend_from_slice(more);
    }
}
