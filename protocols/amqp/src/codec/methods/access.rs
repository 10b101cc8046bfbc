//! Methods of the class `access`. @generated from methods.table by examples/generate_methods.rs.

use bytes::{BufMut, BytesMut};

use crate::codec::method::{Arguments, MethodId};
use crate::codec::primitive::*;

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
    pub(super) fn read(input: &'a [u8]) -> Parsed<'a, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
