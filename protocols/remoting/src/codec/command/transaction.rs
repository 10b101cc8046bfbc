//! Transactions: END_TRANSACTION (37) says what becomes of a half message, and CHECK_TRANSACTION_STATE (39), which a broker
//! sends, asks for it.
//!
//! Whether the message is there, and whose it is, is the broker's to know.

use bytes::BytesMut;
use mailrail_message::OffsetId;

use super::CommandError;
use super::read::{Fields, invalid};
use crate::codec::header::Header;
use crate::codec::request_code::CHECK_TRANSACTION_STATE;
use crate::codec::writer::{Envelope, FrameWriter};

/// 37. Both offsets come back as the answer to the send gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndTransaction<'a> {
    pub producer_group: &'a str,
    /// The `queueOffset` of that answer.
    pub table_offset: i64,
    /// The offset in the message id of that answer.
    pub log_offset: i64,
    pub end: TransactionEnd,
    /// It answers a check.
    pub from_check: bool,
}

/// `commitOrRollback`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionEnd {
    /// Not known yet: ask again.
    Unknown,
    Commit,
    RollBack,
}

impl<'a> EndTransaction<'a> {
    pub fn parse(header: &'a Header) -> Result<EndTransaction<'a>, CommandError> {
        let fields = Fields { header };
        let end = match fields.needed_number::<i32>("commitOrRollback")? {
            0 => TransactionEnd::Unknown,
            8 => TransactionEnd::Commit,
            12 => TransactionEnd::RollBack,
            other => {
                let value = other.to_string();
                return Err(invalid(header.code, "commitOrRollback", value.as_bytes(), "0, 8 or 12"));
            }
        };
        Ok(EndTransaction {
            producer_group: fields.needed("producerGroup")?,
            table_offset: fields.needed_number("tranStateTableOffset")?,
            log_offset: fields.needed_number("commitLogOffset")?,
            end,
            from_check: fields.flag("fromTransactionCheck").unwrap_or(false),
        })
    }
}

/// 39, to one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckTransaction<'a> {
    pub topic: &'a str,
    /// As the producer was told when it sent the message.
    pub table_offset: i64,
    pub id: OffsetId,
    /// The producer's own id.
    pub unique: &'a str,
    /// The message as a pull would bring it.
    pub record: &'a [u8],
}

/// Appends the question. `opaque` is our own counter on that connection; no answer is owed.
pub fn put_check(out: &mut BytesMut, opaque: i32, check: &CheckTransaction<'_>) {
    let mut frame = FrameWriter::begin(out, Envelope::push(CHECK_TRANSACTION_STATE, opaque))
        .text("topic", check.topic)
        .number("tranStateTableOffset", check.table_offset)
        .number("commitLogOffset", i64::try_from(check.id.position).unwrap_or(i64::MAX))
        .message_id("offsetMsgId", check.id);
    if !check.unique.is_empty() {
        frame = frame.text("msgId", check.unique).text("transactionId", check.unique);
    }
    frame.finish(check.record.len());
    out.extend_from_slice(check.record);
}
