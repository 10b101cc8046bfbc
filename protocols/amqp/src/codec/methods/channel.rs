//! Methods of the class `channel`. @generated from methods.table by examples/generate_methods.rs.

use bytes::{BufMut, BytesMut};

use crate::codec::method::{Arguments, MethodId};
use crate::codec::primitive::*;

/// `channel.open`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelOpen;

impl ChannelOpen {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, ChannelCloseOk))
    }
}

impl Arguments for ChannelCloseOk {
    const ID: MethodId = MethodId { class: 20, method: 41 };

    fn write(&self, _out: &mut BytesMut) {
    }
}
