//! Methods of the class `exchange`. @generated from methods.table by examples/generate_methods.rs.

use bytes::{BufMut, BytesMut};

use crate::codec::method::{Arguments, MethodId};
use crate::codec::primitive::*;
use crate::codec::table::Table;

/// `exchange.declare`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExchangeDeclare<'a> {
    pub exchange: &'a str,
    pub kind: &'a str,
    pub passive: bool,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub no_wait: bool,
    pub arguments: Table<'a>,
}

impl<'a> ExchangeDeclare<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, _) = short(input)?;
        let (input, exchange) = short_text(input)?;
        let (input, kind) = short_text(input)?;
        let (input, bits) = octet(input)?;
        let passive = bits & 0x01 != 0;
        let durable = bits & 0x02 != 0;
        let auto_delete = bits & 0x04 != 0;
        let internal = bits & 0x08 != 0;
        let no_wait = bits & 0x10 != 0;
        let (input, arguments) = Table::read(input)?;
        Ok((input, ExchangeDeclare { exchange, kind, passive, durable, auto_delete, internal, no_wait, arguments }))
    }
}

impl Arguments for ExchangeDeclare<'_> {
    const ID: MethodId = MethodId { class: 40, method: 10 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(0);
        put_short_text(out, self.exchange);
        put_short_text(out, self.kind);
        out.put_u8(u8::from(self.passive) | u8::from(self.durable) << 1 | u8::from(self.auto_delete) << 2 | u8::from(self.internal) << 3 | u8::from(self.no_wait) << 4);
        self.arguments.write(out);
    }
}

/// `exchange.declare-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExchangeDeclareOk;

impl ExchangeDeclareOk {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, ExchangeDeclareOk))
    }
}

impl Arguments for ExchangeDeclareOk {
    const ID: MethodId = MethodId { class: 40, method: 11 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `exchange.delete`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExchangeDelete<'a> {
    pub exchange: &'a str,
    pub if_unused: bool,
    pub no_wait: bool,
}

impl<'a> ExchangeDelete<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, _) = short(input)?;
        let (input, exchange) = short_text(input)?;
        let (input, bits) = octet(input)?;
        let if_unused = bits & 0x01 != 0;
        let no_wait = bits & 0x02 != 0;
        Ok((input, ExchangeDelete { exchange, if_unused, no_wait }))
    }
}

impl Arguments for ExchangeDelete<'_> {
    const ID: MethodId = MethodId { class: 40, method: 20 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(0);
        put_short_text(out, self.exchange);
        out.put_u8(u8::from(self.if_unused) | u8::from(self.no_wait) << 1);
    }
}

/// `exchange.delete-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExchangeDeleteOk;

impl ExchangeDeleteOk {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, ExchangeDeleteOk))
    }
}

impl Arguments for ExchangeDeleteOk {
    const ID: MethodId = MethodId { class: 40, method: 21 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `exchange.bind`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExchangeBind<'a> {
    pub destination: &'a str,
    pub source: &'a str,
    pub routing_key: &'a str,
    pub no_wait: bool,
    pub arguments: Table<'a>,
}

impl<'a> ExchangeBind<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, _) = short(input)?;
        let (input, destination) = short_text(input)?;
        let (input, source) = short_text(input)?;
        let (input, routing_key) = short_text(input)?;
        let (input, bits) = octet(input)?;
        let no_wait = bits & 0x01 != 0;
        let (input, arguments) = Table::read(input)?;
        Ok((input, ExchangeBind { destination, source, routing_key, no_wait, arguments }))
    }
}

impl Arguments for ExchangeBind<'_> {
    const ID: MethodId = MethodId { class: 40, method: 30 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(0);
        put_short_text(out, self.destination);
        put_short_text(out, self.source);
        put_short_text(out, self.routing_key);
        out.put_u8(u8::from(self.no_wait));
        self.arguments.write(out);
    }
}

/// `exchange.bind-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExchangeBindOk;

impl ExchangeBindOk {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, ExchangeBindOk))
    }
}

impl Arguments for ExchangeBindOk {
    const ID: MethodId = MethodId { class: 40, method: 31 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `exchange.unbind`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExchangeUnbind<'a> {
    pub destination: &'a str,
    pub source: &'a str,
    pub routing_key: &'a str,
    pub no_wait: bool,
    pub arguments: Table<'a>,
}

impl<'a> ExchangeUnbind<'a> {
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, _) = short(input)?;
        let (input, destination) = short_text(input)?;
        let (input, source) = short_text(input)?;
        let (input, routing_key) = short_text(input)?;
        let (input, bits) = octet(input)?;
        let no_wait = bits & 0x01 != 0;
        let (input, arguments) = Table::read(input)?;
        Ok((input, ExchangeUnbind { destination, source, routing_key, no_wait, arguments }))
    }
}

impl Arguments for ExchangeUnbind<'_> {
    const ID: MethodId = MethodId { class: 40, method: 40 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(0);
        put_short_text(out, self.destination);
        put_short_text(out, self.source);
        put_short_text(out, self.routing_key);
        out.put_u8(u8::from(self.no_wait));
        self.arguments.write(out);
    }
}

/// `exchange.unbind-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExchangeUnbindOk;

impl ExchangeUnbindOk {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, ExchangeUnbindOk))
    }
}

impl Arguments for ExchangeUnbindOk {
    const ID: MethodId = MethodId { class: 40, method: 51 };

    fn write(&self, _out: &mut BytesMut) {
    }
}
