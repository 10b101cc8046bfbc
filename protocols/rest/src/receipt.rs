//! Receipts as clients hold them: opaque text over the core's receipt, with a checksum that tells a mangled one from an
//! old one. It keeps nothing secret and proves nothing: whether a receipt may be used is decided by path and broker.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mailrail_broker::{GroupId, QueueId, Receipt};
use serde::{Serialize, Serializer};

/// First byte of every receipt; another form would have another one.
const FORM: u8 = 1;
const NUMBERS: usize = 5;
const SUM_AT: usize = 1 + NUMBERS * 8;
const RECEIPT_BYTES: usize = SUM_AT + 4;
/// Characters of a receipt: base64 of 45 bytes without padding.
const TEXT_BYTES: usize = RECEIPT_BYTES / 3 * 4;
const _: () = assert!(RECEIPT_BYTES.is_multiple_of(3));

/// A receipt in its text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceiptText(pub Receipt);

/// A text that is no receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a receipt of this API, or was changed on its way")]
pub(crate) struct NoReceipt;

impl ReceiptText {
    fn text(&self) -> [u8; TEXT_BYTES] {
        let Receipt { group, queue, offset, epoch, lease } = self.0;
        let mut bytes = [0; RECEIPT_BYTES];
        let (form, rest) = bytes.split_at_mut(1);
        form.copy_from_slice(&[FORM]);
        let (numbers, _) = rest.split_at_mut(NUMBERS * 8);
        for (to, number) in numbers.chunks_exact_mut(8).zip([group.0, queue.0, offset, epoch, lease]) {
            to.copy_from_slice(&number.to_be_bytes());
        }
        let (summed, sum) = bytes.split_at_mut(SUM_AT);
        sum.copy_from_slice(&crc32fast::hash(summed).to_be_bytes());
        let mut text = [0; TEXT_BYTES];
        let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        debug_assert_eq!(written, Ok(TEXT_BYTES));
        text
    }
}

impl fmt::Display for ReceiptText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for ReceiptText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.text();
        serializer.serialize_str(std::str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
    }
}

impl FromStr for ReceiptText {
    type Err = NoReceipt;

    fn from_str(text: &str) -> Result<Self, NoReceipt> {
        // The decoder wants room for padding that a valid receipt does not have.
        let mut bytes = [0; RECEIPT_BYTES + 3];
        if text.len() != TEXT_BYTES || URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(RECEIPT_BYTES) {
            return Err(NoReceipt);
        }
        let (bytes, _) = bytes.split_at(RECEIPT_BYTES);
        let (summed, sum) = bytes.split_at(SUM_AT);
        let Some((&FORM, numbers)) = summed.split_first() else { return Err(NoReceipt) };
        if crc32fast::hash(summed).to_be_bytes() != sum {
            return Err(NoReceipt);
        }
        let mut numbers = numbers.chunks_exact(8).map(|number| number.try_into().map(u64::from_be_bytes));
        let mut next = || numbers.next().ok_or(NoReceipt)?.map_err(|_| NoReceipt);
        let (group, queue) = (GroupId(next()?), QueueId(next()?));
        Ok(ReceiptText(Receipt { group, queue, offset: next()?, epoch: next()?, lease: next()? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn receipts_come_back_and_changed_ones_do_not(
            numbers in any::<[u64; 5]>(), at in 0..TEXT_BYTES, replacement in "[A-Za-z0-9_-]",
        ) {
            let [group, queue, offset, epoch, lease] = numbers;
            let receipt = Receipt { group: GroupId(group), queue: QueueId(queue), offset, epoch, lease };
            let text = ReceiptText(receipt).to_string();
            prop_assert_eq!(text.parse(), Ok(ReceiptText(receipt)));
            let mut changed = text.clone();
            changed.replace_range(at..=at, &replacement);
            prop_assert_eq!(changed.parse::<ReceiptText>().is_ok(), changed == text);
            prop_assert!(text[..at].parse::<ReceiptText>().is_err());
        }

        #[test]
        fn foreign_text_is_no_receipt(text in ".*") {
            prop_assert_eq!(text.parse::<ReceiptText>(), Err(NoReceipt));
        }
    }
}
