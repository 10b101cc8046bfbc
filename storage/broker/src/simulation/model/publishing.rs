//! Acts of producers, done to the broker and to the model.

use super::acts::{PRODUCERS, Sent};
use super::halves::Half;
use super::queue::{Message, Name as Known};
use super::rig::{Published, Rig, Timed};
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
        let due_ms = sent.delay_ms.map(|delay_ms| self.model.wall_ms + delay_ms);
        let (mut batch, mut messages) = (PublishBatch::default(), Vec::new());
        for step in 0..count {
            let message = self.new_message(&Sent { ttl_ms, key: (sent.key + step) % 4, ..sent.clone() });
            let (body, properties) = (message.number.to_string(), properties_of(&message));
            let draft = Draft { properties: &properties, ..draft(topic, &body) };
            let is_taken = match (sent.half, due_ms) {
                (Some((group, check_ms)), _) => {
                    self.model.count("half messages", 1);
                    let (producers, next_check_ms) = (PRODUCERS[group], self.model.wall_ms + check_ms);
                    let half = HalfTerms { group: producers.into(), first_check_ms: next_check_ms };
                    batch.push_half(&draft, id, queue, 0, durability, half).unwrap();
                    let message = message.clone();
                    let half = Half {
                        topic,
                        queue,
                        message,
                        producers,
                        checks: 0,
                        next_check_ms,
                        late_from_ms: None,
                    };
                    self.model.halves.insert(half.message.number, half);
                    true
                }
                (None, Some(due_ms)) => {
                    self.model.count("waits of messages", 1);
                    batch.push_due(&draft, id, queue, 0, durability, due_ms).unwrap();
                    self.model.wait(topic, queue, message.clone(), due_ms);
                    true
                }
                (None, None) => {
                    let destination = Destination::Topic { topic: id, queue_index: queue };
                    batch.push(&draft, destination, 0, durability).unwrap();
                    self.model.publish(topic, queue, &message)
                }
            };
            messages.push((message.number, is_taken));
        }
        let published = Published { topic, waits: due_ms.is_some() || sent.half.is_some(), messages };
        let token = self.clients[0].token();
        self.tell(0, Command::Publish { token, batch })?;
        match self.receipts.remove(&(0, token)) {
            Some(results) => self.check_receipts(published, results),
            // Its offsets may have to wait for a sync: that of how far offsets may run.
            None if self.unsynced.is_some() => {
                self.unanswered.push((token, published));
                Ok(())
            }
            None => Err("a publish was not answered".to_owned()),
        }
    }

    /// Where messages are said to be, they are.
    pub fn check_receipts(&mut self, published: Published, results: Vec<Result<Stored, Error>>) -> Said {
        let Published { topic, waits, messages } = published;
        must!(results.len() == messages.len(), "{} results for {} messages", results.len(), messages.len());
        for ((number, is_taken), result) in messages.into_iter().zip(results) {
            match result {
                Ok(Stored { offset: None, position, .. }) if waits && is_taken => {
                    self.timed.push(Timed { number, topic, position });
                }
                Ok(stored) => {
                    let offset = stored.offset.ok_or("a message that does not wait has no offset")?;
                    let entry = self.model.queue(topic, stored.queue_index).entries.get(&offset);
                    let is_it = entry.is_some_and(|entry| entry.message.number == number);
                    must!(is_taken && is_it && !waits, "message {number} is told to be at {stored:?}");
                }
                Err(Error::Full { .. }) if !is_taken => {}
                Err(error) => return Err(format!("message {number} is refused: {error}")),
            }
        }
        Ok(())
    }

    pub fn new_message(&mut self, sent: &Sent) -> Message {
        let number = self.next_number();
        let Sent { ttl_ms, key, priority, .. } = sent.clone();
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
