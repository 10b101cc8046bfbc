//! Acts of producers, done to the broker and to the model.

use super::acts::Sent;
use super::queue::{Message, Name as Known};
use super::rig::Rig;
use super::*;

impl Rig {
    pub fn publish(
        &mut self,
        topic: Known,
        queue: Option<u32>,
        count: u8,
        memory: bool,
        sent: &Sent,
    ) -> Said {
        let Some(known) = self.model.topics.get(topic) else { return Ok(()) };
        let queue = queue.map(|queue| queue % known.rules.queues);
        let ttl_ms = sent.ttl_ms.filter(|_| known.rules.length_max.is_none());
        let id = self.sim.topic(topic).id;
        let durability =
            if memory || self.unsynced.is_some() { Durability::Memory } else { Durability::Disk };
        let (mut batch, mut expected) = (PublishBatch::default(), Vec::new());
        for step in 0..count {
            let message = self.new_message(&Sent { ttl_ms, key: (sent.key + step) % 4, ..sent.clone() });
            let (body, properties) = (message.number.to_string(), properties_of(&message));
            let draft = Draft { properties: &properties, ..draft(topic, &body) };
            let destination = Destination::Topic { topic: id, queue_index: queue };
            batch.push(&draft, destination, 0, durability).unwrap();
            expected.push((message.number, self.model.publish(topic, queue, &message)));
        }
        let token = self.clients[0].token();
        self.tell(0, Command::Publish { token, batch })?;
        match self.receipts.remove(&(0, token)) {
            Some(results) => self.check_receipts(topic, expected, results),
            // Its offsets may have to wait for a sync: that of how far offsets may run.
            None if self.unsynced.is_some() => {
                self.unanswered.push((token, topic, expected));
                Ok(())
            }
            None => Err("a publish was not answered".to_owned()),
        }
    }

    /// Where messages are said to be, they are.
    pub fn check_receipts(
        &mut self,
        topic: Known,
        expected: Vec<(u64, bool)>,
        results: Vec<Result<Stored, Error>>,
    ) -> Said {
        must!(results.len() == expected.len(), "{} results for {} messages", results.len(), expected.len());
        for ((number, is_taken), result) in expected.into_iter().zip(results) {
            match result {
                Ok(stored) => {
                    let offset = stored.offset.ok_or("a message that does not wait has no offset")?;
                    let entry = self.model.queue(topic, stored.queue_index).entries.get(&offset);
                    let is_it = entry.is_some_and(|entry| entry.message.number == number);
                    must!(is_taken && is_it, "message {number} is told to be at {stored:?}");
                }
                Err(Error::Full { .. }) if !is_taken => {}
                Err(error) => return Err(format!("message {number} is refused: {error}")),
            }
        }
        Ok(())
    }

    pub fn new_message(&mut self, sent: &Sent) -> Message {
        let number = self.next_number();
        let Sent { ttl_ms, key, priority } = sent.clone();
        Message { number, ttl_ms, key, priority, deaths: Vec::new() }
    }
}

fn properties_of(message: &Message) -> Vec<u8> {
    let mut properties = Vec::new();
    if let Some(ttl_ms) = message.ttl_ms {
        property::push(&mut properties, property::TTL, &ttl_ms.to_string());
    }
    if message.key > 0 {
        property::push(&mut properties, property::ORDERING_KEY, &message.key.to_string());
    }
    property::push(&mut properties, property::PRIORITY, &message.priority.to_string());
    properties
}
