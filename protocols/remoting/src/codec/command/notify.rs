//! NOTIFY_CONSUMER_IDS_CHANGED (40): the one-way notice to clients that makes them rebalance.
//!
//! Written only; no client sends it to a broker.

use bytes::BytesMut;

use crate::codec::request_code::NOTIFY_CONSUMER_IDS_CHANGED;
use crate::codec::writer::{Envelope, FrameWriter};

/// Appends the notice for one group. `opaque` is our own counter on that connection.
pub fn put_notice(out: &mut BytesMut, opaque: i32, consumer_group: &str) {
    FrameWriter::begin(out, Envelope::push(NOTIFY_CONSUMER_IDS_CHANGED, opaque))
        .text("consumerGroup", consumer_group)
        .finish(0);
}
