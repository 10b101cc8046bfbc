//! What a message is known by when it is sent again.

use std::ops::RangeInclusive;

use mailrail_message::{AnnexKind, Draft, StoredMessage};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::limits::DEDUPLICATION_KEY_BYTES_MAX;

/// The first half of a SHA-256: two texts with the same one are not found, by chance or on purpose.
type Digest = [u8; 16];

const OF_KEY: u8 = 1;
const OF_SEQUENCE: u8 = 2;

/// A deduplication key, or the number that a producer gave its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DeduplicationKey {
    /// Digest of the key.
    Key(Digest),
    /// Digest of the producer's id, and a number that increases from message to message, whichever the first one is.
    Sequence { producer: Digest, sequence: u64 },
}

impl DeduplicationKey {
    /// Of a key that its producer made for one message: 1 to [`DEDUPLICATION_KEY_BYTES_MAX`] bytes.
    pub fn of_key(key: &[u8]) -> Result<Self, Error> {
        check("deduplication key", "bytes of a deduplication key", key)?;
        Ok(DeduplicationKey::Key(digest(b"key", &[key])))
    }

    /// Of one message of several that were sent under one such key.
    pub fn of_part(key: &[u8], index: usize) -> Result<Self, Error> {
        check("deduplication key", "bytes of a deduplication key", key)?;
        let index = u64::try_from(index).unwrap_or(u64::MAX);
        Ok(DeduplicationKey::Key(digest(b"part", &[&index.to_le_bytes(), key])))
    }

    /// Of a producer's message, with an id as long as a key. The producer sends its numbers in order: one that is not above
    /// its highest is not stored.
    pub fn of_sequence(producer: &[u8], sequence: u64) -> Result<Self, Error> {
        check("producer id", "bytes of a producer id", producer)?;
        Ok(DeduplicationKey::Sequence { producer: digest(b"producer", &[producer]), sequence })
    }

    /// The annex [`AnnexKind::Deduplication`] by which a draft has this key.
    pub fn annex(&self) -> Vec<u8> {
        match self {
            DeduplicationKey::Key(digest) => [&[OF_KEY], &digest[..]].concat(),
            DeduplicationKey::Sequence { producer, sequence } => {
                [&[OF_SEQUENCE], &producer[..], &sequence.to_le_bytes()].concat()
            }
        }
    }

    pub(crate) fn of_draft(draft: &Draft<'_>) -> Option<Self> {
        let annex = draft.annexes.iter().find(|(kind, _)| *kind == AnnexKind::Deduplication)?;
        Self::read(annex.1)
    }

    /// `None` too for a form that a later version wrote.
    pub(crate) fn of_stored(stored: &StoredMessage<'_>) -> Option<Self> {
        Self::read(stored.annex(AnnexKind::Deduplication)?)
    }

    pub(super) fn read(annex: &[u8]) -> Option<Self> {
        let (form, rest) = annex.split_first()?;
        let (digest, rest) = rest.split_first_chunk()?;
        match *form {
            OF_KEY => Some(DeduplicationKey::Key(*digest)),
            OF_SEQUENCE => {
                let sequence = u64::from_le_bytes(rest.try_into().ok()?);
                Some(DeduplicationKey::Sequence { producer: *digest, sequence })
            }
            _ => None,
        }
    }

    /// All numbers of the same producer.
    pub(super) fn of_producer(&self) -> Option<RangeInclusive<Self>> {
        let DeduplicationKey::Sequence { producer, .. } = *self else { return None };
        let at = |sequence| DeduplicationKey::Sequence { producer, sequence };
        Some(at(0)..=at(u64::MAX))
    }

    pub(super) fn sequence(&self) -> Option<u64> {
        match self {
            DeduplicationKey::Key(_) => None,
            DeduplicationKey::Sequence { sequence, .. } => Some(*sequence),
        }
    }
}

fn check(name: &'static str, what: &'static str, key: &[u8]) -> Result<(), Error> {
    match key.len() {
        0 => Err(Error::Argument { name, value: "empty".to_owned(), allowed: "at least one byte" }),
        bytes if bytes > DEDUPLICATION_KEY_BYTES_MAX => {
            let number = |len| u64::try_from(len).unwrap_or(u64::MAX);
            Err(Error::Limit { what, value: number(bytes), max: number(DEDUPLICATION_KEY_BYTES_MAX) })
        }
        _ => Ok(()),
    }
}

/// Of parts, the last of which alone may have any length. What differs in kind is never equal.
fn digest(kind: &[u8], parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(kind);
    context.update(&[0]);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}
