//! A topic whose messages expire, are too many, or are rejected, and go to the dead letters: each lives, was settled, or
//! lies in the grave once. Runs in a course of its own.

use mailrail_message::{AnnexKind, DeathReason, Deaths};

use super::super::expiry::policy;
use super::world::Ask;
use super::*;

const LENGTH_READY_MAX: u64 = 12;
const LEASES_MS: [u64; 3] = [200, 1_000, 5_000];
const LIVES_MS: [Option<u64>; 5] = [None, None, Some(150), Some(1_500), Some(20_000)];

/// What clients know of mortal messages.
pub(super) struct Mortals {
    group: GroupId,
    queue: QueueId,
    grave: QueueId,
    /// How long each lives.
    lives_ms: HashMap<u64, u64>,
    held: Vec<Delivery>,
}

impl Mortals {
    pub fn group(&self) -> GroupId {
        self.group
    }

    pub fn start_over(&mut self) {
        self.held.clear();
    }
}

impl World {
    pub fn set_up_mortals(&mut self) {
        let (sim, client) = (&mut self.sim, &self.client);
        let grave = sim.make_topic(client, "grave", TopicSettings::settled_queue());
        let length = LENGTH_READY_MAX.to_string();
        let attributes = [(LENGTH_MAX, &*length), (DEAD_LETTER_EXCHANGE, ""), (DEAD_LETTER_KEY, "grave")];
        let topic = sim.make_topic(client, "mortal", policy(&attributes));
        let group = sim.shard.directory().group("mortal").unwrap().id;
        let queue_of = |topic: &Topic| topic.queue(0).unwrap().id;
        let (queue, grave, lives_ms, held) = (queue_of(&topic), queue_of(&grave), HashMap::new(), Vec::new());
        self.mortals = Some(Mortals { group, queue, grave, lives_ms, held });
    }

    pub fn act_on_mortals(&mut self) {
        match self.random.below(10) {
            0..4 => self.publish_mortals(),
            4..7 => self.receive_mortals(),
            _ => self.settle_mortals(),
        }
    }

    fn publish_mortals(&mut self) {
        let topic = self.sim.topic("mortal");
        let mut batch = PublishBatch::default();
        let mut numbers = Vec::new();
        let durability = self.random.pick(&[Durability::Disk, Durability::Disk, Durability::Memory]);
        for _ in 0..=self.random.below(5) {
            let number = self.ledger.new_message(durability, None);
            let mut properties = Vec::new();
            if let Some(ttl_ms) = self.random.pick(&LIVES_MS) {
                property::push(&mut properties, property::TTL, &ttl_ms.to_string());
                self.mortals.as_mut().unwrap().lives_ms.insert(number, ttl_ms);
            }
            let body = format!("{number}:");
            let draft = Draft { properties: &properties, ..draft("mortal", &body) };
            let destination = Destination::Topic { topic: topic.id, queue_index: None };
            batch.push(&draft, destination, 0, durability).unwrap();
            numbers.push((number, Some(topic.id)));
        }
        self.tell(Ask::Publish(numbers), |token| Command::Publish { token, batch });
    }

    fn receive_mortals(&mut self) {
        let max = 1 + self.random.below(8) as u32;
        let (lease_ms, wait_ms) = (self.random.pick(&LEASES_MS), self.random.pick(&[0, 500]));
        let (group, topic) = ("mortal".into(), "mortal".into());
        let receive = |token| Command::Receive { token, group, topic, max, wait_ms, lease_ms, filter: None };
        self.tell(Ask::Receive { lease_ms }, receive);
    }

    fn settle_mortals(&mut self) {
        let mortals = self.mortals.as_mut().unwrap();
        let count = mortals.held.len().min(1 + self.random.index(4));
        let receipts: Vec<Receipt> = mortals.held.drain(..count).map(|delivery| delivery.receipt).collect();
        let retry = Outcome::Retry { delay_ms: Some(self.random.pick(&[0, 300])) };
        let outcome = self.random.pick(&[Outcome::Ack, Outcome::Reject, retry, Outcome::Release]);
        self.end_leases(receipts, outcome);
    }

    /// Takes what was handed out of mortal messages: each is alive, by its own time and by the grave.
    pub fn hold_mortals(&mut self, deliveries: &mut Vec<Delivery>) {
        let Some(mortals) = &mut self.mortals else { return };
        for delivery in deliveries.extract_if(.., |delivery| delivery.receipt.queue == mortals.queue) {
            let number = number_of(&delivery.message).unwrap();
            let stored = StoredMessage::parse(&delivery.message).unwrap();
            let lives_ms = mortals.lives_ms.get(&number).copied().unwrap_or(u64::MAX);
            let dies_ms = stored.store_ms().saturating_add(lives_ms);
            let now_ms = self.sim.now.wall_ms;
            assert!(
                now_ms < dies_ms,
                "message {number} is handed out {} ms after its time",
                now_ms - dies_ms
            );
            assert!(!is_in(&self.ledger, mortals.grave, number), "message {number} is dead and handed out");
            mortals.held.push(delivery);
        }
    }

    /// Whether a message that is gone from the mortal topic may be: it lies in the grave.
    pub fn is_buried(&self, queue: QueueId, offset: u64) -> bool {
        let place = self.ledger.places.get(&(queue, offset));
        let mortals = self.mortals.as_ref().filter(|mortals| mortals.queue == queue);
        mortals.zip(place).is_some_and(|(mortals, place)| is_in(&self.ledger, mortals.grave, place.number))
    }

    /// In the end each message lives and may, was settled, or lies in the grave, with one death.
    pub fn check_mortals(&mut self) {
        let Some(Mortals { group, queue, grave, lives_ms, .. }) = &self.mortals else { return };
        let (line, grave) = ((*group, *queue), *grave);
        let progress = self.sim.shard.state().progress(*group, *queue).cloned().unwrap_or_default();
        for ((_, offset), place) in self.ledger.places.range((*queue, 0)..=(*queue, u64::MAX)) {
            let number = place.number;
            let is_dead = is_in(&self.ledger, grave, number);
            if progress.is_settled(*offset) {
                let may_be_gone = is_dead || self.lines.may_miss(line, *offset) || !place.must();
                assert!(may_be_gone, "message {number} is gone without cause");
                assert!(
                    !is_dead || !self.lines.is_settled(line, *offset),
                    "message {number} was settled and is dead"
                );
            } else {
                assert!(!is_dead, "message {number} lives and is dead");
                assert!(!lives_ms.contains_key(&number), "message {number} has outlived its time");
            }
        }
        for (offset, message) in self.read_grave() {
            let stored = StoredMessage::parse(&message).unwrap();
            let deaths = stored.annex(AnnexKind::Deaths).and_then(Deaths::read).unwrap();
            let [death] = deaths.all() else { panic!("{deaths:?}") };
            assert_eq!((death.queue.as_str(), death.count), ("mortal", 1), "grave {offset}");
            let number = number_of(&message).unwrap();
            let may_expire = self.mortals.as_ref().is_some_and(|m| m.lives_ms.contains_key(&number));
            assert!(
                death.reason != DeathReason::Expired || may_expire,
                "message {number} expired and could not"
            );
            *self.tally.deaths.entry(death.reason.name()).or_default() += 1;
        }
        self.publish_mortals();
        self.sim.run();
        let topic = self.sim.topic("mortal");
        let end = topic.queue(0).unwrap().end_offset();
        let progress = self.sim.shard.state().progress(line.0, line.1).unwrap();
        let ready = progress.unsettled(end);
        assert!(ready <= LENGTH_READY_MAX, "{ready} messages are ready");
    }

    fn read_grave(&self) -> Vec<(u64, bytes::Bytes)> {
        let queue = self.sim.topic("grave").queue(0).unwrap();
        let mut found = Vec::new();
        for offset in queue.min_offset()..queue.end_offset() {
            let message = self.sim.context.entry(&queue, offset).unwrap();
            found.extend(message.map(|message| (offset, message)));
        }
        found
    }
}

fn is_in(ledger: &Ledger, queue: QueueId, number: u64) -> bool {
    ledger.messages.get(number as usize).is_some_and(|message| message.places.contains_key(&queue))
}
