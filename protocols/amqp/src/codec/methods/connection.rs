//! Methods of the class `connection`. @generated from methods.table by examples/generate_methods.rs.

use bytes::{BufMut, BytesMut};

use crate::codec::method::{Arguments, MethodId};
use crate::codec::primitive::*;
use crate::codec::table::Table;

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
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, ConnectionUpdateSecretOk))
    }
}

impl Arguments for ConnectionUpdateSecretOk {
    const ID: MethodId = MethodId { class: 10, method: 71 };

    fn write(&self, _out: &mut BytesMut) {
    }
}
