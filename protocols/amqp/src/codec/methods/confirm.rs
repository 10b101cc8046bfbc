//! Methods of the class `confirm`. @generated from methods.table by examples/generate_methods.rs.

use bytes::{BufMut, BytesMut};

use crate::codec::method::{Arguments, MethodId};
use crate::codec::primitive::*;

/// `confirm.select`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConfirmSelect {
    pub no_wait: bool,
}

impl ConfirmSelect {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, ConfirmSelectOk))
    }
}

impl Arguments for ConfirmSelectOk {
    const ID: MethodId = MethodId { class: 85, method: 11 };

    fn write(&self, _out: &mut BytesMut) {
    }
}
