//! Methods of the class `tx`. @generated from methods.table by examples/generate_methods.rs.

use bytes::BytesMut;

use crate::codec::method::{Arguments, MethodId};
use crate::codec::primitive::*;

/// `tx.select`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TxSelect;

impl TxSelect {
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
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
    pub(super) fn read(input: &[u8]) -> Parsed<'_, Self> {
        Ok((input, TxRollbackOk))
    }
}

impl Arguments for TxRollbackOk {
    const ID: MethodId = MethodId { class: 90, method: 31 };

    fn write(&self, _out: &mut BytesMut) {
    }
}
