//! Every method of AMQP 0-9-1 with its arguments: read by borrowing, written straight into the output.
//!
//! @generated from methods.table by examples/generate_methods.rs. Knows no state: which method may come when is the
//! connection's and the channel's matter.

use bytes::{BufMut, BytesMut};

use super::method::{Arguments, MethodError, MethodId, finish};
use super::primitive::*;
use super::table::Table;

/// `connection.start`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionStart<'a> {
    pub version_major: u8,
    pub version_minor: u8,
    pub server_properties: Table<'a>,
    pub mechanisms: &'a [u8],
    pub locales: &'a [u8],
}

impl<'a> ConnectionStart<'a> {
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, version_major) = octet(input)?;
        let (input, version_minor) = octet(input)?;
        let (input, server_properties) = Table::read(input)?;
        let (input, mechanisms) = long_bytes(input)?;
        let (input, locales) = long_bytes(input)?;
        Ok((input, ConnectionStart { version_major, version_minor, server_properties, mechanisms, locales }))
    }
}

impl Arguments for ConnectionStart<'_> {
    const ID: MethodId = MethodId { class: 10, method: 10 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u8(self.version_major);
        out.put_u8(self.version_minor);
        self.server_properties.write(out);
        put_long_bytes(out, self.mechanisms);
        put_long_bytes(out, self.locales);
    }
}

/// `connection.start-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionStartOk<'a> {
    pub client_properties: Table<'a>,
    pub mechanism: &'a str,
    pub response: &'a [u8],
    pub locale: &'a str,
}

impl<'a> ConnectionStartOk<'a> {
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, client_properties) = Table::read(input)?;
        let (input, mechanism) = short_text(input)?;
        let (input, response) = long_bytes(input)?;
        let (input, locale) = short_text(input)?;
        Ok((input, ConnectionStartOk { client_properties, mechanism, response, locale }))
    }
}

impl Arguments for ConnectionStartOk<'_> {
    const ID: MethodId = MethodId { class: 10, method: 11 };

    fn write(&self, out: &mut BytesMut) {
        self.client_properties.write(out);
        put_short_text(out, self.mechanism);
        put_long_bytes(out, self.response);
        put_short_text(out, self.locale);
    }
}

/// `connection.secure`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionSecure<'a> {
    pub challenge: &'a [u8],
}

impl<'a> ConnectionSecure<'a> {
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, challenge) = long_bytes(input)?;
        Ok((input, ConnectionSecure { challenge }))
    }
}

impl Arguments for ConnectionSecure<'_> {
    const ID: MethodId = MethodId { class: 10, method: 20 };

    fn write(&self, out: &mut BytesMut) {
        put_long_bytes(out, self.challenge);
    }
}

/// `connection.secure-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionSecureOk<'a> {
    pub response: &'a [u8],
}

impl<'a> ConnectionSecureOk<'a> {
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, response) = long_bytes(input)?;
        Ok((input, ConnectionSecureOk { response }))
    }
}

impl Arguments for ConnectionSecureOk<'_> {
    const ID: MethodId = MethodId { class: 10, method: 21 };

    fn write(&self, out: &mut BytesMut) {
        put_long_bytes(out, self.response);
    }
}

/// `connection.tune`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionTune {
    pub channel_max: u16,
    pub frame_max: u32,
    pub heartbeat: u16,
}

impl ConnectionTune {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, channel_max) = short(input)?;
        let (input, frame_max) = long(input)?;
        let (input, heartbeat) = short(input)?;
        Ok((input, ConnectionTune { channel_max, frame_max, heartbeat }))
    }
}

impl Arguments for ConnectionTune {
    const ID: MethodId = MethodId { class: 10, method: 30 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(self.channel_max);
        out.put_u32(self.frame_max);
        out.put_u16(self.heartbeat);
    }
}

/// `connection.tune-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionTuneOk {
    pub channel_max: u16,
    pub frame_max: u32,
    pub heartbeat: u16,
}

impl ConnectionTuneOk {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, channel_max) = short(input)?;
        let (input, frame_max) = long(input)?;
        let (input, heartbeat) = short(input)?;
        Ok((input, ConnectionTuneOk { channel_max, frame_max, heartbeat }))
    }
}

impl Arguments for ConnectionTuneOk {
    const ID: MethodId = MethodId { class: 10, method: 31 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(self.channel_max);
        out.put_u32(self.frame_max);
        out.put_u16(self.heartbeat);
    }
}

/// `connection.open`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionOpen<'a> {
    pub virtual_host: &'a str,
}

impl<'a> ConnectionOpen<'a> {
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, virtual_host) = short_text(input)?;
        let (input, _) = short_text(input)?;
        let (input, _) = octet(input)?;
        Ok((input, ConnectionOpen { virtual_host }))
    }
}

impl Arguments for ConnectionOpen<'_> {
    const ID: MethodId = MethodId { class: 10, method: 40 };

    fn write(&self, out: &mut BytesMut) {
        put_short_text(out, self.virtual_host);
        put_short_text(out, "");
        out.put_u8(0);
    }
}

/// `connection.open-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionOpenOk;

impl ConnectionOpenOk {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, _) = short_text(input)?;
        Ok((input, ConnectionOpenOk))
    }
}

impl Arguments for ConnectionOpenOk {
    const ID: MethodId = MethodId { class: 10, method: 41 };

    fn write(&self, out: &mut BytesMut) {
        put_short_text(out, "");
    }
}

/// `connection.close`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionClose<'a> {
    pub reply_code: u16,
    pub reply_text: &'a str,
    pub class_id: u16,
    pub method_id: u16,
}

impl<'a> ConnectionClose<'a> {
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, reply_code) = short(input)?;
        let (input, reply_text) = short_text(input)?;
        let (input, class_id) = short(input)?;
        let (input, method_id) = short(input)?;
        Ok((input, ConnectionClose { reply_code, reply_text, class_id, method_id }))
    }
}

impl Arguments for ConnectionClose<'_> {
    const ID: MethodId = MethodId { class: 10, method: 50 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(self.reply_code);
        put_short_text(out, self.reply_text);
        out.put_u16(self.class_id);
        out.put_u16(self.method_id);
    }
}

/// `connection.close-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionCloseOk;

impl ConnectionCloseOk {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, ConnectionCloseOk))
    }
}

impl Arguments for ConnectionCloseOk {
    const ID: MethodId = MethodId { class: 10, method: 51 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `connection.blocked`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionBlocked<'a> {
    pub reason: &'a str,
}

impl<'a> ConnectionBlocked<'a> {
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, reason) = short_text(input)?;
        Ok((input, ConnectionBlocked { reason }))
    }
}

impl Arguments for ConnectionBlocked<'_> {
    const ID: MethodId = MethodId { class: 10, method: 60 };

    fn write(&self, out: &mut BytesMut) {
        put_short_text(out, self.reason);
    }
}

/// `connection.unblocked`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionUnblocked;

impl ConnectionUnblocked {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, ConnectionUnblocked))
    }
}

impl Arguments for ConnectionUnblocked {
    const ID: MethodId = MethodId { class: 10, method: 61 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `connection.update-secret`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionUpdateSecret<'a> {
    pub new_secret: &'a [u8],
    pub reason: &'a str,
}

impl<'a> ConnectionUpdateSecret<'a> {
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, new_secret) = long_bytes(input)?;
        let (input, reason) = short_text(input)?;
        Ok((input, ConnectionUpdateSecret { new_secret, reason }))
    }
}

impl Arguments for ConnectionUpdateSecret<'_> {
    const ID: MethodId = MethodId { class: 10, method: 70 };

    fn write(&self, out: &mut BytesMut) {
        put_long_bytes(out, self.new_secret);
        put_short_text(out, self.reason);
    }
}

/// `connection.update-secret-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionUpdateSecretOk;

impl ConnectionUpdateSecretOk {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, ConnectionUpdateSecretOk))
    }
}

impl Arguments for ConnectionUpdateSecretOk {
    const ID: MethodId = MethodId { class: 10, method: 71 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `channel.open`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelOpen;

impl ChannelOpen {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, _) = short_text(input)?;
        Ok((input, ChannelOpen))
    }
}

impl Arguments for ChannelOpen {
    const ID: MethodId = MethodId { class: 20, method: 10 };

    fn write(&self, out: &mut BytesMut) {
        put_short_text(out, "");
    }
}

/// `channel.open-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelOpenOk;

impl ChannelOpenOk {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, _) = long_bytes(input)?;
        Ok((input, ChannelOpenOk))
    }
}

impl Arguments for ChannelOpenOk {
    const ID: MethodId = MethodId { class: 20, method: 11 };

    fn write(&self, out: &mut BytesMut) {
        put_long_bytes(out, &[]);
    }
}

/// `channel.flow`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelFlow {
    pub active: bool,
}

impl ChannelFlow {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, bits) = octet(input)?;
        let active = bits & 0x01 != 0;
        Ok((input, ChannelFlow { active }))
    }
}

impl Arguments for ChannelFlow {
    const ID: MethodId = MethodId { class: 20, method: 20 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(self.active));
    }
}

/// `channel.flow-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelFlowOk {
    pub active: bool,
}

impl ChannelFlowOk {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, bits) = octet(input)?;
        let active = bits & 0x01 != 0;
        Ok((input, ChannelFlowOk { active }))
    }
}

impl Arguments for ChannelFlowOk {
    const ID: MethodId = MethodId { class: 20, method: 21 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(self.active));
    }
}

/// `channel.close`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelClose<'a> {
    pub reply_code: u16,
    pub reply_text: &'a str,
    pub class_id: u16,
    pub method_id: u16,
}

impl<'a> ChannelClose<'a> {
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, reply_code) = short(input)?;
        let (input, reply_text) = short_text(input)?;
        let (input, class_id) = short(input)?;
        let (input, method_id) = short(input)?;
        Ok((input, ChannelClose { reply_code, reply_text, class_id, method_id }))
    }
}

impl Arguments for ChannelClose<'_> {
    const ID: MethodId = MethodId { class: 20, method: 40 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(self.reply_code);
        put_short_text(out, self.reply_text);
        out.put_u16(self.class_id);
        out.put_u16(self.method_id);
    }
}

/// `channel.close-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelCloseOk;

impl ChannelCloseOk {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, ChannelCloseOk))
    }
}

impl Arguments for ChannelCloseOk {
    const ID: MethodId = MethodId { class: 20, method: 41 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `access.request`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccessRequest<'a> {
    pub realm: &'a str,
    pub exclusive: bool,
    pub passive: bool,
    pub active: bool,
    pub write: bool,
    pub read: bool,
}

impl<'a> AccessRequest<'a> {
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, realm) = short_text(input)?;
        let (input, bits) = octet(input)?;
        let exclusive = bits & 0x01 != 0;
        let passive = bits & 0x02 != 0;
        let active = bits & 0x04 != 0;
        let write = bits & 0x08 != 0;
        let read = bits & 0x10 != 0;
        Ok((input, AccessRequest { realm, exclusive, passive, active, write, read }))
    }
}

impl Arguments for AccessRequest<'_> {
    const ID: MethodId = MethodId { class: 30, method: 10 };

    fn write(&self, out: &mut BytesMut) {
        put_short_text(out, self.realm);
        out.put_u8(u8::from(self.exclusive) | u8::from(self.passive) << 1 | u8::from(self.active) << 2 | u8::from(self.write) << 3 | u8::from(self.read) << 4);
    }
}

/// `access.request-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccessRequestOk {
    pub ticket: u16,
}

impl AccessRequestOk {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, ticket) = short(input)?;
        Ok((input, AccessRequestOk { ticket }))
    }
}

impl Arguments for AccessRequestOk {
    const ID: MethodId = MethodId { class: 30, method: 11 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u16(self.ticket);
    }
}

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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, ExchangeUnbindOk))
    }
}

impl Arguments for ExchangeUnbindOk {
    const ID: MethodId = MethodId { class: 40, method: 51 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, QueueUnbindOk))
    }
}

impl Arguments for QueueUnbindOk {
    const ID: MethodId = MethodId { class: 50, method: 51 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `basic.qos`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BasicQos {
    pub prefetch_size: u32,
    pub prefetch_count: u16,
    pub global: bool,
}

impl BasicQos {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    fn read(input: &[u8]) -> Parsed<'_, Self> {
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

/// `confirm.select`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConfirmSelect {
    pub no_wait: bool,
}

impl ConfirmSelect {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        let (input, bits) = octet(input)?;
        let no_wait = bits & 0x01 != 0;
        Ok((input, ConfirmSelect { no_wait }))
    }
}

impl Arguments for ConfirmSelect {
    const ID: MethodId = MethodId { class: 85, method: 10 };

    fn write(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(self.no_wait));
    }
}

/// `confirm.select-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConfirmSelectOk;

impl ConfirmSelectOk {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, ConfirmSelectOk))
    }
}

impl Arguments for ConfirmSelectOk {
    const ID: MethodId = MethodId { class: 85, method: 11 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `tx.select`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TxSelect;

impl TxSelect {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, TxSelect))
    }
}

impl Arguments for TxSelect {
    const ID: MethodId = MethodId { class: 90, method: 10 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `tx.select-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TxSelectOk;

impl TxSelectOk {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, TxSelectOk))
    }
}

impl Arguments for TxSelectOk {
    const ID: MethodId = MethodId { class: 90, method: 11 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `tx.commit`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TxCommit;

impl TxCommit {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, TxCommit))
    }
}

impl Arguments for TxCommit {
    const ID: MethodId = MethodId { class: 90, method: 20 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `tx.commit-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TxCommitOk;

impl TxCommitOk {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, TxCommitOk))
    }
}

impl Arguments for TxCommitOk {
    const ID: MethodId = MethodId { class: 90, method: 21 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `tx.rollback`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TxRollback;

impl TxRollback {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, TxRollback))
    }
}

impl Arguments for TxRollback {
    const ID: MethodId = MethodId { class: 90, method: 30 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// `tx.rollback-ok`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TxRollbackOk;

impl TxRollbackOk {
    fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, TxRollbackOk))
    }
}

impl Arguments for TxRollbackOk {
    const ID: MethodId = MethodId { class: 90, method: 31 };

    fn write(&self, _out: &mut BytesMut) {
    }
}

/// Any method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method<'a> {
    ConnectionStart(ConnectionStart<'a>),
    ConnectionStartOk(ConnectionStartOk<'a>),
    ConnectionSecure(ConnectionSecure<'a>),
    ConnectionSecureOk(ConnectionSecureOk<'a>),
    ConnectionTune(ConnectionTune),
    ConnectionTuneOk(ConnectionTuneOk),
    ConnectionOpen(ConnectionOpen<'a>),
    ConnectionOpenOk(ConnectionOpenOk),
    ConnectionClose(ConnectionClose<'a>),
    ConnectionCloseOk(ConnectionCloseOk),
    ConnectionBlocked(ConnectionBlocked<'a>),
    ConnectionUnblocked(ConnectionUnblocked),
    ConnectionUpdateSecret(ConnectionUpdateSecret<'a>),
    ConnectionUpdateSecretOk(ConnectionUpdateSecretOk),
    ChannelOpen(ChannelOpen),
    ChannelOpenOk(ChannelOpenOk),
    ChannelFlow(ChannelFlow),
    ChannelFlowOk(ChannelFlowOk),
    ChannelClose(ChannelClose<'a>),
    ChannelCloseOk(ChannelCloseOk),
    AccessRequest(AccessRequest<'a>),
    AccessRequestOk(AccessRequestOk),
    ExchangeDeclare(ExchangeDeclare<'a>),
    ExchangeDeclareOk(ExchangeDeclareOk),
    ExchangeDelete(ExchangeDelete<'a>),
    ExchangeDeleteOk(ExchangeDeleteOk),
    ExchangeBind(ExchangeBind<'a>),
    ExchangeBindOk(ExchangeBindOk),
    ExchangeUnbind(ExchangeUnbind<'a>),
    ExchangeUnbindOk(ExchangeUnbindOk),
    QueueDeclare(QueueDeclare<'a>),
    QueueDeclareOk(QueueDeclareOk<'a>),
    QueueBind(QueueBind<'a>),
    QueueBindOk(QueueBindOk),
    QueuePurge(QueuePurge<'a>),
    QueuePurgeOk(QueuePurgeOk),
    QueueDelete(QueueDelete<'a>),
    QueueDeleteOk(QueueDeleteOk),
    QueueUnbind(QueueUnbind<'a>),
    QueueUnbindOk(QueueUnbindOk),
    BasicQos(BasicQos),
    BasicQosOk(BasicQosOk),
    BasicConsume(BasicConsume<'a>),
    BasicConsumeOk(BasicConsumeOk<'a>),
    BasicCancel(BasicCancel<'a>),
    BasicCancelOk(BasicCancelOk<'a>),
    BasicPublish(BasicPublish<'a>),
    BasicReturn(BasicReturn<'a>),
    BasicDeliver(BasicDeliver<'a>),
    BasicGet(BasicGet<'a>),
    BasicGetOk(BasicGetOk<'a>),
    BasicGetEmpty(BasicGetEmpty),
    BasicAck(BasicAck),
    BasicReject(BasicReject),
    BasicRecoverAsync(BasicRecoverAsync),
    BasicRecover(BasicRecover),
    BasicRecoverOk(BasicRecoverOk),
    BasicNack(BasicNack),
    ConfirmSelect(ConfirmSelect),
    ConfirmSelectOk(ConfirmSelectOk),
    TxSelect(TxSelect),
    TxSelectOk(TxSelectOk),
    TxCommit(TxCommit),
    TxCommitOk(TxCommitOk),
    TxRollback(TxRollback),
    TxRollbackOk(TxRollbackOk),
}

impl<'a> Method<'a> {
    /// Reads the payload of a method frame.
    pub fn read(payload: &'a [u8]) -> Result<Self, MethodError> {
        let (id, input) = MethodId::read(payload)?;
        match (id.class, id.method) {
            (10, 10) => finish(id, ConnectionStart::read(input)).map(Method::ConnectionStart),
            (10, 11) => finish(id, ConnectionStartOk::read(input)).map(Method::ConnectionStartOk),
            (10, 20) => finish(id, ConnectionSecure::read(input)).map(Method::ConnectionSecure),
            (10, 21) => finish(id, ConnectionSecureOk::read(input)).map(Method::ConnectionSecureOk),
            (10, 30) => finish(id, ConnectionTune::read(input)).map(Method::ConnectionTune),
            (10, 31) => finish(id, ConnectionTuneOk::read(input)).map(Method::ConnectionTuneOk),
            (10, 40) => finish(id, ConnectionOpen::read(input)).map(Method::ConnectionOpen),
            (10, 41) => finish(id, ConnectionOpenOk::read(input)).map(Method::ConnectionOpenOk),
            (10, 50) => finish(id, ConnectionClose::read(input)).map(Method::ConnectionClose),
            (10, 51) => finish(id, ConnectionCloseOk::read(input)).map(Method::ConnectionCloseOk),
            (10, 60) => finish(id, ConnectionBlocked::read(input)).map(Method::ConnectionBlocked),
            (10, 61) => finish(id, ConnectionUnblocked::read(input)).map(Method::ConnectionUnblocked),
            (10, 70) => finish(id, ConnectionUpdateSecret::read(input)).map(Method::ConnectionUpdateSecret),
            (10, 71) => finish(id, ConnectionUpdateSecretOk::read(input)).map(Method::ConnectionUpdateSecretOk),
            (20, 10) => finish(id, ChannelOpen::read(input)).map(Method::ChannelOpen),
            (20, 11) => finish(id, ChannelOpenOk::read(input)).map(Method::ChannelOpenOk),
            (20, 20) => finish(id, ChannelFlow::read(input)).map(Method::ChannelFlow),
            (20, 21) => finish(id, ChannelFlowOk::read(input)).map(Method::ChannelFlowOk),
            (20, 40) => finish(id, ChannelClose::read(input)).map(Method::ChannelClose),
            (20, 41) => finish(id, ChannelCloseOk::read(input)).map(Method::ChannelCloseOk),
            (30, 10) => finish(id, AccessRequest::read(input)).map(Method::AccessRequest),
            (30, 11) => finish(id, AccessRequestOk::read(input)).map(Method::AccessRequestOk),
            (40, 10) => finish(id, ExchangeDeclare::read(input)).map(Method::ExchangeDeclare),
            (40, 11) => finish(id, ExchangeDeclareOk::read(input)).map(Method::ExchangeDeclareOk),
            (40, 20) => finish(id, ExchangeDelete::read(input)).map(Method::ExchangeDelete),
            (40, 21) => finish(id, ExchangeDeleteOk::read(input)).map(Method::ExchangeDeleteOk),
            (40, 30) => finish(id, ExchangeBind::read(input)).map(Method::ExchangeBind),
            (40, 31) => finish(id, ExchangeBindOk::read(input)).map(Method::ExchangeBindOk),
            (40, 40) => finish(id, ExchangeUnbind::read(input)).map(Method::ExchangeUnbind),
            (40, 51) => finish(id, ExchangeUnbindOk::read(input)).map(Method::ExchangeUnbindOk),
            (50, 10) => finish(id, QueueDeclare::read(input)).map(Method::QueueDeclare),
            (50, 11) => finish(id, QueueDeclareOk::read(input)).map(Method::QueueDeclareOk),
            (50, 20) => finish(id, QueueBind::read(input)).map(Method::QueueBind),
            (50, 21) => finish(id, QueueBindOk::read(input)).map(Method::QueueBindOk),
            (50, 30) => finish(id, QueuePurge::read(input)).map(Method::QueuePurge),
            (50, 31) => finish(id, QueuePurgeOk::read(input)).map(Method::QueuePurgeOk),
            (50, 40) => finish(id, QueueDelete::read(input)).map(Method::QueueDelete),
            (50, 41) => finish(id, QueueDeleteOk::read(input)).map(Method::QueueDeleteOk),
            (50, 50) => finish(id, QueueUnbind::read(input)).map(Method::QueueUnbind),
            (50, 51) => finish(id, QueueUnbindOk::read(input)).map(Method::QueueUnbindOk),
            (60, 10) => finish(id, BasicQos::read(input)).map(Method::BasicQos),
            (60, 11) => finish(id, BasicQosOk::read(input)).map(Method::BasicQosOk),
            (60, 20) => finish(id, BasicConsume::read(input)).map(Method::BasicConsume),
            (60, 21) => finish(id, BasicConsumeOk::read(input)).map(Method::BasicConsumeOk),
            (60, 30) => finish(id, BasicCancel::read(input)).map(Method::BasicCancel),
            (60, 31) => finish(id, BasicCancelOk::read(input)).map(Method::BasicCancelOk),
            (60, 40) => finish(id, BasicPublish::read(input)).map(Method::BasicPublish),
            (60, 50) => finish(id, BasicReturn::read(input)).map(Method::BasicReturn),
            (60, 60) => finish(id, BasicDeliver::read(input)).map(Method::BasicDeliver),
            (60, 70) => finish(id, BasicGet::read(input)).map(Method::BasicGet),
            (60, 71) => finish(id, BasicGetOk::read(input)).map(Method::BasicGetOk),
            (60, 72) => finish(id, BasicGetEmpty::read(input)).map(Method::BasicGetEmpty),
            (60, 80) => finish(id, BasicAck::read(input)).map(Method::BasicAck),
            (60, 90) => finish(id, BasicReject::read(input)).map(Method::BasicReject),
            (60, 100) => finish(id, BasicRecoverAsync::read(input)).map(Method::BasicRecoverAsync),
            (60, 110) => finish(id, BasicRecover::read(input)).map(Method::BasicRecover),
            (60, 111) => finish(id, BasicRecoverOk::read(input)).map(Method::BasicRecoverOk),
            (60, 120) => finish(id, BasicNack::read(input)).map(Method::BasicNack),
            (85, 10) => finish(id, ConfirmSelect::read(input)).map(Method::ConfirmSelect),
            (85, 11) => finish(id, ConfirmSelectOk::read(input)).map(Method::ConfirmSelectOk),
            (90, 10) => finish(id, TxSelect::read(input)).map(Method::TxSelect),
            (90, 11) => finish(id, TxSelectOk::read(input)).map(Method::TxSelectOk),
            (90, 20) => finish(id, TxCommit::read(input)).map(Method::TxCommit),
            (90, 21) => finish(id, TxCommitOk::read(input)).map(Method::TxCommitOk),
            (90, 30) => finish(id, TxRollback::read(input)).map(Method::TxRollback),
            (90, 31) => finish(id, TxRollbackOk::read(input)).map(Method::TxRollbackOk),
            _ => Err(MethodError::Unknown(id)),
        }
    }

    pub fn id(&self) -> MethodId {
        match self {
            Method::ConnectionStart(_) => ConnectionStart::ID,
            Method::ConnectionStartOk(_) => ConnectionStartOk::ID,
            Method::ConnectionSecure(_) => ConnectionSecure::ID,
            Method::ConnectionSecureOk(_) => ConnectionSecureOk::ID,
            Method::ConnectionTune(_) => ConnectionTune::ID,
            Method::ConnectionTuneOk(_) => ConnectionTuneOk::ID,
            Method::ConnectionOpen(_) => ConnectionOpen::ID,
            Method::ConnectionOpenOk(_) => ConnectionOpenOk::ID,
            Method::ConnectionClose(_) => ConnectionClose::ID,
            Method::ConnectionCloseOk(_) => ConnectionCloseOk::ID,
            Method::ConnectionBlocked(_) => ConnectionBlocked::ID,
            Method::ConnectionUnblocked(_) => ConnectionUnblocked::ID,
            Method::ConnectionUpdateSecret(_) => ConnectionUpdateSecret::ID,
            Method::ConnectionUpdateSecretOk(_) => ConnectionUpdateSecretOk::ID,
            Method::ChannelOpen(_) => ChannelOpen::ID,
            Method::ChannelOpenOk(_) => ChannelOpenOk::ID,
            Method::ChannelFlow(_) => ChannelFlow::ID,
            Method::ChannelFlowOk(_) => ChannelFlowOk::ID,
            Method::ChannelClose(_) => ChannelClose::ID,
            Method::ChannelCloseOk(_) => ChannelCloseOk::ID,
            Method::AccessRequest(_) => AccessRequest::ID,
            Method::AccessRequestOk(_) => AccessRequestOk::ID,
            Method::ExchangeDeclare(_) => ExchangeDeclare::ID,
            Method::ExchangeDeclareOk(_) => ExchangeDeclareOk::ID,
            Method::ExchangeDelete(_) => ExchangeDelete::ID,
            Method::ExchangeDeleteOk(_) => ExchangeDeleteOk::ID,
            Method::ExchangeBind(_) => ExchangeBind::ID,
            Method::ExchangeBindOk(_) => ExchangeBindOk::ID,
            Method::ExchangeUnbind(_) => ExchangeUnbind::ID,
            Method::ExchangeUnbindOk(_) => ExchangeUnbindOk::ID,
            Method::QueueDeclare(_) => QueueDeclare::ID,
            Method::QueueDeclareOk(_) => QueueDeclareOk::ID,
            Method::QueueBind(_) => QueueBind::ID,
            Method::QueueBindOk(_) => QueueBindOk::ID,
            Method::QueuePurge(_) => QueuePurge::ID,
            Method::QueuePurgeOk(_) => QueuePurgeOk::ID,
            Method::QueueDelete(_) => QueueDelete::ID,
            Method::QueueDeleteOk(_) => QueueDeleteOk::ID,
            Method::QueueUnbind(_) => QueueUnbind::ID,
            Method::QueueUnbindOk(_) => QueueUnbindOk::ID,
            Method::BasicQos(_) => BasicQos::ID,
            Method::BasicQosOk(_) => BasicQosOk::ID,
            Method::BasicConsume(_) => BasicConsume::ID,
            Method::BasicConsumeOk(_) => BasicConsumeOk::ID,
            Method::BasicCancel(_) => BasicCancel::ID,
            Method::BasicCancelOk(_) => BasicCancelOk::ID,
            Method::BasicPublish(_) => BasicPublish::ID,
            Method::BasicReturn(_) => BasicReturn::ID,
            Method::BasicDeliver(_) => BasicDeliver::ID,
            Method::BasicGet(_) => BasicGet::ID,
            Method::BasicGetOk(_) => BasicGetOk::ID,
            Method::BasicGetEmpty(_) => BasicGetEmpty::ID,
            Method::BasicAck(_) => BasicAck::ID,
            Method::BasicReject(_) => BasicReject::ID,
            Method::BasicRecoverAsync(_) => BasicRecoverAsync::ID,
            Method::BasicRecover(_) => BasicRecover::ID,
            Method::BasicRecoverOk(_) => BasicRecoverOk::ID,
            Method::BasicNack(_) => BasicNack::ID,
            Method::ConfirmSelect(_) => ConfirmSelect::ID,
            Method::ConfirmSelectOk(_) => ConfirmSelectOk::ID,
            Method::TxSelect(_) => TxSelect::ID,
            Method::TxSelectOk(_) => TxSelectOk::ID,
            Method::TxCommit(_) => TxCommit::ID,
            Method::TxCommitOk(_) => TxCommitOk::ID,
            Method::TxRollback(_) => TxRollback::ID,
            Method::TxRollbackOk(_) => TxRollbackOk::ID,
        }
    }

    /// Appends the arguments, without the ids.
    pub fn write_arguments(&self, out: &mut BytesMut) {
        match self {
            Method::ConnectionStart(method) => method.write(out),
            Method::ConnectionStartOk(method) => method.write(out),
            Method::ConnectionSecure(method) => method.write(out),
            Method::ConnectionSecureOk(method) => method.write(out),
            Method::ConnectionTune(method) => method.write(out),
            Method::ConnectionTuneOk(method) => method.write(out),
            Method::ConnectionOpen(method) => method.write(out),
            Method::ConnectionOpenOk(method) => method.write(out),
            Method::ConnectionClose(method) => method.write(out),
            Method::ConnectionCloseOk(method) => method.write(out),
            Method::ConnectionBlocked(method) => method.write(out),
            Method::ConnectionUnblocked(method) => method.write(out),
            Method::ConnectionUpdateSecret(method) => method.write(out),
            Method::ConnectionUpdateSecretOk(method) => method.write(out),
            Method::ChannelOpen(method) => method.write(out),
            Method::ChannelOpenOk(method) => method.write(out),
            Method::ChannelFlow(method) => method.write(out),
            Method::ChannelFlowOk(method) => method.write(out),
            Method::ChannelClose(method) => method.write(out),
            Method::ChannelCloseOk(method) => method.write(out),
            Method::AccessRequest(method) => method.write(out),
            Method::AccessRequestOk(method) => method.write(out),
            Method::ExchangeDeclare(method) => method.write(out),
            Method::ExchangeDeclareOk(method) => method.write(out),
            Method::ExchangeDelete(method) => method.write(out),
            Method::ExchangeDeleteOk(method) => method.write(out),
            Method::ExchangeBind(method) => method.write(out),
            Method::ExchangeBindOk(method) => method.write(out),
            Method::ExchangeUnbind(method) => method.write(out),
            Method::ExchangeUnbindOk(method) => method.write(out),
            Method::QueueDeclare(method) => method.write(out),
            Method::QueueDeclareOk(method) => method.write(out),
            Method::QueueBind(method) => method.write(out),
            Method::QueueBindOk(method) => method.write(out),
            Method::QueuePurge(method) => method.write(out),
            Method::QueuePurgeOk(method) => method.write(out),
            Method::QueueDelete(method) => method.write(out),
            Method::QueueDeleteOk(method) => method.write(out),
            Method::QueueUnbind(method) => method.write(out),
            Method::QueueUnbindOk(method) => method.write(out),
            Method::BasicQos(method) => method.write(out),
            Method::BasicQosOk(method) => method.write(out),
            Method::BasicConsume(method) => method.write(out),
            Method::BasicConsumeOk(method) => method.write(out),
            Method::BasicCancel(method) => method.write(out),
            Method::BasicCancelOk(method) => method.write(out),
            Method::BasicPublish(method) => method.write(out),
            Method::BasicReturn(method) => method.write(out),
            Method::BasicDeliver(method) => method.write(out),
            Method::BasicGet(method) => method.write(out),
            Method::BasicGetOk(method) => method.write(out),
            Method::BasicGetEmpty(method) => method.write(out),
            Method::BasicAck(method) => method.write(out),
            Method::BasicReject(method) => method.write(out),
            Method::BasicRecoverAsync(method) => method.write(out),
            Method::BasicRecover(method) => method.write(out),
            Method::BasicRecoverOk(method) => method.write(out),
            Method::BasicNack(method) => method.write(out),
            Method::ConfirmSelect(method) => method.write(out),
            Method::ConfirmSelectOk(method) => method.write(out),
            Method::TxSelect(method) => method.write(out),
            Method::TxSelectOk(method) => method.write(out),
            Method::TxCommit(method) => method.write(out),
            Method::TxCommitOk(method) => method.write(out),
            Method::TxRollback(method) => method.write(out),
            Method::TxRollbackOk(method) => method.write(out),
        }
    }
}

impl MethodId {
    /// `class.method` as the specification spells it; `None` for ids it does not have.
    pub fn name(self) -> Option<&'static str> {
        Some(match (self.class, self.method) {
            (10, 10) => "connection.start",
            (10, 11) => "connection.start-ok",
            (10, 20) => "connection.secure",
            (10, 21) => "connection.secure-ok",
            (10, 30) => "connection.tune",
            (10, 31) => "connection.tune-ok",
            (10, 40) => "connection.open",
            (10, 41) => "connection.open-ok",
            (10, 50) => "connection.close",
            (10, 51) => "connection.close-ok",
            (10, 60) => "connection.blocked",
            (10, 61) => "connection.unblocked",
            (10, 70) => "connection.update-secret",
            (10, 71) => "connection.update-secret-ok",
            (20, 10) => "channel.open",
            (20, 11) => "channel.open-ok",
            (20, 20) => "channel.flow",
            (20, 21) => "channel.flow-ok",
            (20, 40) => "channel.close",
            (20, 41) => "channel.close-ok",
            (30, 10) => "access.request",
            (30, 11) => "access.request-ok",
            (40, 10) => "exchange.declare",
            (40, 11) => "exchange.declare-ok",
            (40, 20) => "exchange.delete",
            (40, 21) => "exchange.delete-ok",
            (40, 30) => "exchange.bind",
            (40, 31) => "exchange.bind-ok",
            (40, 40) => "exchange.unbind",
            (40, 51) => "exchange.unbind-ok",
            (50, 10) => "queue.declare",
            (50, 11) => "queue.declare-ok",
            (50, 20) => "queue.bind",
            (50, 21) => "queue.bind-ok",
            (50, 30) => "queue.purge",
            (50, 31) => "queue.purge-ok",
            (50, 40) => "queue.delete",
            (50, 41) => "queue.delete-ok",
            (50, 50) => "queue.unbind",
            (50, 51) => "queue.unbind-ok",
            (60, 10) => "basic.qos",
            (60, 11) => "basic.qos-ok",
            (60, 20) => "basic.consume",
            (60, 21) => "basic.consume-ok",
            (60, 30) => "basic.cancel",
            (60, 31) => "basic.cancel-ok",
            (60, 40) => "basic.publish",
            (60, 50) => "basic.return",
            (60, 60) => "basic.deliver",
            (60, 70) => "basic.get",
            (60, 71) => "basic.get-ok",
            (60, 72) => "basic.get-empty",
            (60, 80) => "basic.ack",
            (60, 90) => "basic.reject",
            (60, 100) => "basic.recover-async",
            (60, 110) => "basic.recover",
            (60, 111) => "basic.recover-ok",
            (60, 120) => "basic.nack",
            (85, 10) => "confirm.select",
            (85, 11) => "confirm.select-ok",
            (90, 10) => "tx.select",
            (90, 11) => "tx.select-ok",
            (90, 20) => "tx.commit",
            (90, 21) => "tx.commit-ok",
            (90, 30) => "tx.rollback",
            (90, 31) => "tx.rollback-ok",
            _ => return None,
        })
    }

    /// True for methods that only a server sends.
    pub fn is_servers_alone(self) -> bool {
        matches!(
            (self.class, self.method),
            (10, 10)
                | (10, 20)
                | (10, 30)
                | (10, 41)
                | (10, 60)
                | (10, 61)
                | (10, 71)
                | (20, 11)
                | (30, 11)
                | (40, 11)
                | (40, 21)
                | (40, 31)
                | (40, 51)
                | (50, 11)
                | (50, 21)
                | (50, 31)
                | (50, 41)
                | (50, 51)
                | (60, 11)
                | (60, 21)
                | (60, 50)
                | (60, 60)
                | (60, 71)
                | (60, 72)
                | (60, 111)
                | (85, 11)
                | (90, 11)
                | (90, 21)
                | (90, 31)
        )
    }
}
