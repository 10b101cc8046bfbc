//! Room for answers: what answers with messages take in memory is counted over all requests, from the moment the
//! messages are there until the last byte of the document was sent or dropped. Who finds no room is refused at once, so
//! that what was read for it goes as well. Counts neither answers without messages nor what a socket holds.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{Kind, Refusal};

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
    fn what_finds_no_room_leaves_none_taken() {
        let answers = Arc::new(Semaphore::new(100));
        assert_eq!(Room::claim(&answers, 101).unwrap_err().kind, Kind::Overloaded);
        let grown = Room::claim(&answers, 50).unwrap().hold(vec![0; 101]);
        assert_eq!(grown.unwrap_err().kind, Kind::Overloaded);
        assert_eq!(answers.available_permits(), 100);
    }
}
