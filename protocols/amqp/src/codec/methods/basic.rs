//! Methods of the class `basic`. @generated from methods.table by examples/generate_methods.rs.

use bytes::{BufMut, BytesMut};

use crate::codec::method::{Arguments, MethodId};
use crate::codec::primitive::*;
use crate::codec::table::Table;

/// `basic.qos`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicQos {
    pub prefetch_size: u32,
    pub prefetch_count: u16,
    pub global: bool,
}

impl BasicQos {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, prefetch_size) = long(input)?;
        let (input, prefetch_count) = short(input)?;
        let (input, bits) = octet(input)?;
        let global = bits & 0x01 != 0;
        Ok((input, BasicQos { prefetch_size, prefetch_count, global }))
    }
}

impl Arguments for BasicQos {
    const ID: MethodId = MethodId { class: 60, method: 10 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u32(self.prefetch_size);
        out.put_u16(self.prefetch_count);
        out.put_u8(u8::from(self.global));
    }
}

/// `basic.qos-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicQosOk;

impl BasicQosOk {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, BasicQosOk))
    }
}

impl Arguments for BasicQosOk {
    const ID: MethodId = MethodId { class: 60, method: 11 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `basic.consume`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicConsume<'a> {
    pub queue: &'a str,
    pub consumer_tag: &'a str,
    pub no_local: bool,
    pub no_ack: bool,
    pub exclusive: bool,
    pub no_wait: bool,
    pub arguments: Table<'a>,
}

impl<'a> BasicConsume<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, _) = short(input)?;
        let (input, queue) = short_text(input)?;
        let (input, consumer_tag) = short_text(input)?;
        let (input, bits) = octet(input)?;
        let no_local = bits & 0x01 != 0;
        let no_ack = bits & 0x02 != 0;
        let exclusive = bits & 0x04 != 0;
        let no_wait = bits & 0x08 != 0;
        let (input, arguments) = Table::read(input)?;
        Ok((input, BasicConsume { queue, consumer_tag, no_local, no_ack, exclusive, no_wait, arguments }))
    }
}

impl Arguments for BasicConsume<'_> {
    const ID: MethodId = MethodId { class: 60, method: 20 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(0);
        put_short_text(out, self.queue);
        put_short_text(out, self.consumer_tag);
        out.put_u8(u8::from(self.no_local) | u8::from(self.no_ack) << 1 | u8::from(self.exclusive) << 2 | u8::from(self.no_wait) << 3);
        self.arguments.write(out);
    }
}

/// `basic.consume-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicConsumeOk<'a> {
    pub consumer_tag: &'a str,
}

impl<'a> BasicConsumeOk<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, consumer_tag) = short_text(input)?;
        Ok((input, BasicConsumeOk { consumer_tag }))
    }
}

impl Arguments for BasicConsumeOk<'_> {
    const ID: MethodId = MethodId { class: 60, method: 21 };

    fn write(&self, out: &mut BytesMut) {
        put_short_text(out, self.consumer_tag);
    }
}

/// `basic.cancel`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicCancel<'a> {
    pub consumer_tag: &'a str,
    pub no_wait: bool,
}

impl<'a> BasicCancel<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, consumer_tag) = short_text(input)?;
        let (input, bits) = octet(input)?;
        let no_wait = bits & 0x01 != 0;
        Ok((input, BasicCancel { consumer_tag, no_wait }))
    }
}

impl Arguments for BasicCancel<'_> {
    const ID: MethodId = MethodId { class: 60, method: 30 };

    fn write(&self, out: &mut BytesMut) {
        put_short_text(out, self.consumer_tag);
        out.put_u8(u8::from(self.no_wait));
    }
}

/// `basic.cancel-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicCancelOk<'a> {
    pub consumer_tag: &'a str,
}

impl<'a> BasicCancelOk<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, consumer_tag) = short_text(input)?;
        Ok((input, BasicCancelOk { consumer_tag }))
    }
}

impl Arguments for BasicCancelOk<'_> {
    const ID: MethodId = MethodId { class: 60, method: 31 };

    fn write(&self, out: &mut BytesMut) {
        put_short_text(out, self.consumer_tag);
    }
}

/// `basic.publish`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicPublish<'a> {
    pub exchange: &'a str,
    pub routing_key: ShortBytes<'a>,
    pub mandatory: bool,
    pub immediate: bool,
}

impl<'a> BasicPublish<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, _) = short(input)?;
        let (input, exchange) = short_text(input)?;
        let (input, routing_key) = short_bytes(input)?;
        let (input, bits) = octet(input)?;
        let mandatory = bits & 0x01 != 0;
        let immediate = bits & 0x02 != 0;
        Ok((input, BasicPublish { exchange, routing_key, mandatory, immediate }))
    }
}

impl Arguments for BasicPublish<'_> {
    const ID: MethodId = MethodId { class: 60, method: 40 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(0);
        put_short_text(out, self.exchange);
        put_short_bytes(out, self.routing_key);
        out.put_u8(u8::from(self.mandatory) | u8::from(self.immediate) << 1);
    }
}

/// `basic.return`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicReturn<'a> {
    pub reply_code: u16,
    pub reply_text: &'a str,
    pub exchange: &'a str,
    pub routing_key: ShortBytes<'a>,
}

impl<'a> BasicReturn<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, reply_code) = short(input)?;
        let (input, reply_text) = short_text(input)?;
        let (input, exchange) = short_text(input)?;
        let (input, routing_key) = short_bytes(input)?;
        Ok((input, BasicReturn { reply_code, reply_text, exchange, routing_key }))
    }
}

impl Arguments for BasicReturn<'_> {
    const ID: MethodId = MethodId { class: 60, method: 50 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(self.reply_code);
        put_short_text(out, self.reply_text);
        put_short_text(out, self.exchange);
        put_short_bytes(out, self.routing_key);
    }
}

/// `basic.deliver`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicDeliver<'a> {
    pub consumer_tag: &'a str,
    pub delivery_tag: u64,
    pub redelivered: bool,
    pub exchange: &'a str,
    pub routing_key: ShortBytes<'a>,
}

impl<'a> BasicDeliver<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, consumer_tag) = short_text(input)?;
        let (input, delivery_tag) = long_long(input)?;
        let (input, bits) = octet(input)?;
        let redelivered = bits & 0x01 != 0;
        let (input, exchange) = short_text(input)?;
        let (input, routing_key) = short_bytes(input)?;
        Ok((input, BasicDeliver { consumer_tag, delivery_tag, redelivered, exchange, routing_key }))
    }
}

impl Arguments for BasicDeliver<'_> {
    const ID: MethodId = MethodId { class: 60, method: 60 };

    fn write(&self, out: &mut BytesMut) {
        put_short_text(out, self.consumer_tag);
        out.put_u64(self.delivery_tag);
        out.put_u8(u8::from(self.redelivered));
        put_short_text(out, self.exchange);
        put_short_bytes(out, self.routing_key);
    }
}

/// `basic.get`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicGet<'a> {
    pub queue: &'a str,
    pub no_ack: bool,
}

impl<'a> BasicGet<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, _) = short(input)?;
        let (input, queue) = short_text(input)?;
        let (input, bits) = octet(input)?;
        let no_ack = bits & 0x01 != 0;
        Ok((input, BasicGet { queue, no_ack }))
    }
}

impl Arguments for BasicGet<'_> {
    const ID: MethodId = MethodId { class: 60, method: 70 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(0);
        put_short_text(out, self.queue);
        out.put_u8(u8::from(self.no_ack));
    }
}

/// `basic.get-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicGetOk<'a> {
    pub delivery_tag: u64,
    pub redelivered: bool,
    pub exchange: &'a str,
    pub routing_key: ShortBytes<'a>,
    pub message_count: u32,
}

impl<'a> BasicGetOk<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, delivery_tag) = long_long(input)?;
        let (input, bits) = octet(input)?;
        let redelivered = bits & 0x01 != 0;
        let (input, exchange) = short_text(input)?;
        let (input, routing_key) = short_bytes(input)?;
        let (input, message_count) = long(input)?;
        Ok((input, BasicGetOk { delivery_tag, redelivered, exchange, routing_key, message_count }))
    }
}

impl Arguments for BasicGetOk<'_> {
    const ID: MethodId = MethodId { class: 60, method: 71 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u64(self.delivery_tag);
        out.put_u8(u8::from(self.redelivered));
        put_short_text(out, self.exchange);
        put_short_bytes(out, self.routing_key);
        out.put_u32(self.message_count);
    }
}

/// `basic.get-empty`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicGetEmpty;

impl BasicGetEmpty {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, _) = short_text(input)?;
        Ok((input, BasicGetEmpty))
    }
}

impl Arguments for BasicGetEmpty {
    const ID: MethodId = MethodId { class: 60, method: 72 };

    fn write(&self, out: &mut BytesMut) {
        put_short_text(out, "");
    }
}

/// `basic.ack`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicAck {
    pub delivery_tag: u64,
    pub multiple: bool,
}

impl BasicAck {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, delivery_tag) = long_long(input)?;
        let (input, bits) = octet(input)?;
        let multiple = bits & 0x01 != 0;
        Ok((input, BasicAck { delivery_tag, multiple }))
    }
}

impl Arguments for BasicAck {
    const ID: MethodId = MethodId { class: 60, method: 80 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u64(self.delivery_tag);
        out.put_u8(u8::from(self.multiple));
    }
}

/// `basic.reject`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicReject {
    pub delivery_tag: u64,
    pub requeue: bool,
}

impl BasicReject {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, delivery_tag) = long_long(input)?;
        let (input, bits) = octet(input)?;
        let requeue = bits & 0x01 != 0;
        Ok((input, BasicReject { delivery_tag, requeue }))
    }
}

impl Arguments for BasicReject {
    const ID: MethodId = MethodId { class: 60, method: 90 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u64(self.delivery_tag);
        out.put_u8(u8::from(self.requeue));
    }
}

/// `basic.recover-async`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicRecoverAsync {
    pub requeue: bool,
}

impl BasicRecoverAsync {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, bits) = octet(input)?;
        let requeue = bits & 0x01 != 0;
        Ok((input, BasicRecoverAsync { requeue }))
    }
}

impl Arguments for BasicRecoverAsync {
    const ID: MethodId = MethodId { class: 60, method: 100 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(self.requeue));
    }
}

/// `basic.recover`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicRecover {
    pub requeue: bool,
}

impl BasicRecover {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, bits) = octet(input)?;
        let requeue = bits & 0x01 != 0;
        Ok((input, BasicRecover { requeue }))
    }
}

impl Arguments for BasicRecover {
    const ID: MethodId = MethodId { class: 60, method: 110 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(self.requeue));
    }
}

/// `basic.recover-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicRecoverOk;

impl BasicRecoverOk {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, BasicRecoverOk))
    }
}

impl Arguments for BasicRecoverOk {
    const ID: MethodId = MethodId { class: 60, method: 111 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `basic.nack`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicNack {
    pub delivery_tag: u64,
    pub multiple: bool,
    pub requeue: bool,
}

impl BasicNack {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, delivery_tag) = long_long(input)?;
        let (input, bits) = octet(input)?;
        let multiple = bits & 0x01 != 0;
        let requeue = bits & 0x02 != 0;
        Ok((input, BasicNack { delivery_tag, multiple, requeue }))
    }
}

impl Arguments for BasicNack {
    const ID: MethodId = MethodId { class: 60, method: 120 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u64(self.delivery_tag);
        out.put_u8(u8::from(self.multiple) | u8::from(self.requeue) << 1);
    }
}
