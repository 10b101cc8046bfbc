//! Room for answers: what answers with messages take in memory is counted over all requests, from the moment the
//! messages are there until the last byte of the document was sent or dropped. Who finds no room is refused at once, so
//! that what was read for it goes as well. Counts neither answers without messages nor what a socket holds.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{Kind, Refusal};
use crate::reply::unwritable;

/// Least that a document grows by.
const STEP_BYTES_MIN: usize = 256;

/// A share of the bytes that answers may take.
#[derive(Debug)]
pub(crate) struct Room {
    answers: Arc<Semaphore>,
    permit: OwnedSemaphorePermit,
}

impl Room {
    /// Room for so many bytes of messages, before a document is made of them.
    pub fn claim(answers: &Arc<Semaphore>, bytes: usize) -> Result<Room, Refusal> {
        Ok(Room { permit: acquire(answers, bytes)?, answers: answers.clone() })
    }

    /// Writes a document as JSON, which may take several times the bytes of its messages: room is claimed as it grows,
    /// so that it is counted before it is there.
    pub fn write(self, document: &impl Serialize) -> Result<Bytes, Refusal> {
        let text = Vec::with_capacity(self.permit.num_permits());
        let mut writer = Writer { room: self, text, refusal: None };
        let written = serde_json::to_writer(&mut writer, document);
        match (written, writer.refusal) {
            (Ok(()), _) => writer.room.hold(writer.text),
            (Err(_), Some(refusal)) => Err(refusal),
            (Err(error), None) => Err(unwritable(&error)),
        }
    }

    /// The document, which takes along the room it needs and gives back the rest.
    pub fn hold(mut self, document: Vec<u8>) -> Result<Bytes, Refusal> {
        let (claimed, needed) = (self.permit.num_permits(), document.len());
        match needed.checked_sub(claimed) {
            Some(missing) => self.permit.merge(acquire(&self.answers, missing)?),
            None => drop(self.permit.split(claimed - needed)),
        }
        let held = Held { document: document.into_boxed_slice(), _permit: self.permit };
        Ok(Bytes::from_owner(held))
    }
}

fn acquire(answers: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    let full = |_| Refusal::new(Kind::Overloaded, "too many answers are on their way; try again later");
    answers.clone().try_acquire_many_owned(bytes).map_err(full)
}

/// A document being written; it has no more capacity than room.
struct Writer {
    room: Room,
    text: Vec<u8>,
    refusal: Option<Refusal>,
}

impl Writer {
    fn grow(&mut self, needed: usize) -> Result<(), Refusal> {
        // Small steps, so that a document is not refused for room that it does not need; a long one moves by remapping.
        let step = (self.text.capacity() / 8).max(STEP_BYTES_MIN);
        let capacity = needed.max(self.text.capacity().saturating_add(step));
        let missing = capacity.saturating_sub(self.room.permit.num_permits());
        self.room.permit.merge(acquire(&self.room.answers, missing)?);
        self.text.reserve_exact(capacity - self.text.len());
        Ok(())
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.text.len() + bytes.len();
        if needed > self.text.capacity()
            && let Err(refusal) = self.grow(needed)
        {
            self.refusal = Some(refusal);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Held {
    document: Box<[u8]>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_holds_its_own_length_until_its_last_slice_is_gone() {
        let answers = Arc::new(Semaphore::new(100));
        let shorter = Room::claim(&answers, 60).unwrap().hold(vec![0; 10]).unwrap();
        assert_eq!(answers.available_permits(), 90);
        let longer = Room::claim(&answers, 10).unwrap().hold(vec![0; 90]).unwrap();
        assert_eq!(answers.available_permits(), 0);
        let slice = longer.slice(5..6);
        drop((shorter, longer));
        assert_eq!(answers.available_permits(), 10);
        drop(slice);
        assert_eq!(answers.available_permits(), 100);
    }

    #[test]
    fn a_document_is_counted_while_it_grows() {
        let answers = Arc::new(Semaphore::new(1_000));
        // Two bytes become twelve, and two quotes.
        let written = Room::claim(&answers, 2).unwrap().write(&"\u{1}\u{1}").unwrap();
        assert_eq!((&written[..], answers.available_permits()), (&br#""\u0001\u0001""#[..], 986));
        let long = "\u{1}".repeat(200);
        assert_eq!(Room::claim(&answers, 200).unwrap().write(&long).unwrap_err().kind, Kind::Overloaded);
        assert_eq!(answers.available_permits(), 986);
        assert_eq!(Room::claim(&answers, 0).unwrap().write(&"x".repeat(600)).unwrap().len(), 602);
        drop(written);
        assert_eq!(answers.available_permits(), 1_000);
    }

    #[test]
    fn a_document_grows_by_so_much_at_least() {
        let answers = Arc::new(Semaphore::new(10_000));
        let room = Room::claim(&answers, 0).unwrap();
        let mut writer = Writer { room, text: Vec::new(), refusal: None };
        let mut taken_with = |bytes: usize| {
            let missing = bytes - writer.text.len();
            io::Write::write_all(&mut writer, &vec![b'x'; missing]).unwrap();
            10_000 - answers.available_permits()
        };
        assert_eq!((taken_with(1), taken_with(STEP_BYTES_MIN)), (STEP_BYTES_MIN, STEP_BYTES_MIN));
        assert_eq!(taken_with(STEP_BYTES_MIN + 1), 2 * STEP_BYTES_MIN);
        // An eighth of what is there is more than that from some length on.
        assert_eq!(taken_with(8 * STEP_BYTES_MIN + 8), 8 * STEP_BYTES_MIN + 8);
        assert_eq!(taken_with(8 * STEP_BYTES_MIN + 9), 9 * STEP_BYTES_MIN + 9);
    }

    #[test]
    fn what_finds_no_room_leaves_none_taken() {
        let answers = Arc::new(Semaphore::new(100));
        assert_eq!(Room::claim(&answers, 101).unwrap_err().kind, Kind::Overloaded);
        let grown = Room::claim(&answers, 50).unwrap().hold(vec![0; 101]);
        assert_eq!(grown.unwrap_err().kind, Kind::Overloaded);
        assert_eq!(answers.available_permits(), 100);
    }
}
