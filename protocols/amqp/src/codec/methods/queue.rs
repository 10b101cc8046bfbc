//! Methods of the class `queue`. @generated from methods.table by examples/generate_methods.rs.

use bytes::{BufMut, BytesMut};

use crate::codec::method::{Arguments, MethodId};
use crate::codec::primitive::*;
use crate::codec::table::Table;

/// `queue.declare`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueDeclare<'a> {
    pub queue: &'a str,
    pub passive: bool,
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    pub no_wait: bool,
    pub arguments: Table<'a>,
}

impl<'a> QueueDeclare<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, _) = short(input)?;
        let (input, queue) = short_text(input)?;
        let (input, bits) = octet(input)?;
        let passive = bits & 0x01 != 0;
        let durable = bits & 0x02 != 0;
        let exclusive = bits & 0x04 != 0;
        let auto_delete = bits & 0x08 != 0;
        let no_wait = bits & 0x10 != 0;
        let (input, arguments) = Table::read(input)?;
        Ok((input, QueueDeclare { queue, passive, durable, exclusive, auto_delete, no_wait, arguments }))
    }
}

impl Arguments for QueueDeclare<'_> {
    const ID: MethodId = MethodId { class: 50, method: 10 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(0);
        put_short_text(out, self.queue);
        out.put_u8(u8::from(self.passive) | u8::from(self.durable) << 1 | u8::from(self.exclusive) << 2 | u8::from(self.auto_delete) << 3 | u8::from(self.no_wait) << 4);
        self.arguments.write(out);
    }
}

/// `queue.declare-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueDeclareOk<'a> {
    pub queue: &'a str,
    pub message_count: u32,
    pub consumer_count: u32,
}

impl<'a> QueueDeclareOk<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, queue) = short_text(input)?;
        let (input, message_count) = long(input)?;
        let (input, consumer_count) = long(input)?;
        Ok((input, QueueDeclareOk { queue, message_count, consumer_count }))
    }
}

impl Arguments for QueueDeclareOk<'_> {
    const ID: MethodId = MethodId { class: 50, method: 11 };

    fn write(&self, out: &mut BytesMut) {
        put_short_text(out, self.queue);
        out.put_u32(self.message_count);
        out.put_u32(self.consumer_count);
    }
}

/// `queue.bind`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueBind<'a> {
    pub queue: &'a str,
    pub exchange: &'a str,
    pub routing_key: &'a str,
    pub no_wait: bool,
    pub arguments: Table<'a>,
}

impl<'a> QueueBind<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, _) = short(input)?;
        let (input, queue) = short_text(input)?;
        let (input, exchange) = short_text(input)?;
        let (input, routing_key) = short_text(input)?;
        let (input, bits) = octet(input)?;
        let no_wait = bits & 0x01 != 0;
        let (input, arguments) = Table::read(input)?;
        Ok((input, QueueBind { queue, exchange, routing_key, no_wait, arguments }))
    }
}

impl Arguments for QueueBind<'_> {
    const ID: MethodId = MethodId { class: 50, method: 20 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(0);
        put_short_text(out, self.queue);
        put_short_text(out, self.exchange);
        put_short_text(out, self.routing_key);
        out.put_u8(u8::from(self.no_wait));
        self.arguments.write(out);
    }
}

/// `queue.bind-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueBindOk;

impl QueueBindOk {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, QueueBindOk))
    }
}

impl Arguments for QueueBindOk {
    const ID: MethodId = MethodId { class: 50, method: 21 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `queue.purge`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueuePurge<'a> {
    pub queue: &'a str,
    pub no_wait: bool,
}

impl<'a> QueuePurge<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, _) = short(input)?;
        let (input, queue) = short_text(input)?;
        let (input, bits) = octet(input)?;
        let no_wait = bits & 0x01 != 0;
        Ok((input, QueuePurge { queue, no_wait }))
    }
}

impl Arguments for QueuePurge<'_> {
    const ID: MethodId = MethodId { class: 50, method: 30 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(0);
        put_short_text(out, self.queue);
        out.put_u8(u8::from(self.no_wait));
    }
}

/// `queue.purge-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueuePurgeOk {
    pub message_count: u32,
}

impl QueuePurgeOk {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, message_count) = long(input)?;
        Ok((input, QueuePurgeOk { message_count }))
    }
}

impl Arguments for QueuePurgeOk {
    const ID: MethodId = MethodId { class: 50, method: 31 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u32(self.message_count);
    }
}

/// `queue.delete`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueDelete<'a> {
    pub queue: &'a str,
    pub if_unused: bool,
    pub if_empty: bool,
    pub no_wait: bool,
}

impl<'a> QueueDelete<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, _) = short(input)?;
        let (input, queue) = short_text(input)?;
        let (input, bits) = octet(input)?;
        let if_unused = bits & 0x01 != 0;
        let if_empty = bits & 0x02 != 0;
        let no_wait = bits & 0x04 != 0;
        Ok((input, QueueDelete { queue, if_unused, if_empty, no_wait }))
    }
}

impl Arguments for QueueDelete<'_> {
    const ID: MethodId = MethodId { class: 50, method: 40 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(0);
        put_short_text(out, self.queue);
        out.put_u8(u8::from(self.if_unused) | u8::from(self.if_empty) << 1 | u8::from(self.no_wait) << 2);
    }
}

/// `queue.delete-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueDeleteOk {
    pub message_count: u32,
}

impl QueueDeleteOk {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, message_count) = long(input)?;
        Ok((input, QueueDeleteOk { message_count }))
    }
}

impl Arguments for QueueDeleteOk {
    const ID: MethodId = MethodId { class: 50, method: 41 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u32(self.message_count);
    }
}

/// `queue.unbind`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueUnbind<'a> {
    pub queue: &'a str,
    pub exchange: &'a str,
    pub routing_key: &'a str,
    pub arguments: Table<'a>,
}

impl<'a> QueueUnbind<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, _) = short(input)?;
        let (input, queue) = short_text(input)?;
        let (input, exchange) = short_text(input)?;
        let (input, routing_key) = short_text(input)?;
        let (input, arguments) = Table::read(input)?;
        Ok((input, QueueUnbind { queue, exchange, routing_key, arguments }))
    }
}

impl Arguments for QueueUnbind<'_> {
    const ID: MethodId = MethodId { class: 50, method: 50 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(0);
        put_short_text(out, self.queue);
        put_short_text(out, self.exchange);
        put_short_text(out, self.routing_key);
        self.arguments.write(out);
    }
}

/// `queue.unbind-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueUnbindOk;

impl QueueUnbindOk {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, QueueUnbindOk))
    }
}

impl Arguments for QueueUnbindOk {
    const ID: MethodId = MethodId { class: 50, method: 51 };

    fn write(&self, _out: &mut BytesMut) {
    }
}
