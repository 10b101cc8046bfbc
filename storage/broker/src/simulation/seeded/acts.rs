//! What clients do in a run, each act by chance.

use super::world::{Ask, SEGMENT_BYTES};
use super::*;

const GROUPS: [&str; 3] = ["g", "h", "q"];
const LEASES_MS: [u64; 3] = [400, 2_000, 20_000];

impl World {
    pub fn new_body(&mut self, durability: Durability, due_ms: Option<u64>) -> (u64, String) {
        let number = self.ledger.new_message(durability, due_ms);
        let filler = self.random.pick(&[0, 0, 10, 100, 700, 5_000]);
        (number, format!("{number}:{}", "x".repeat(filler)))
    }

    pub fn publish(&mut self) {
        let durability = self.random.pick(&[Durability::Disk, Durability::Disk, Durability::Memory]);
        let through_exchange = self.random.percent(25);
        let name = self.random.pick(&["a", "b", "q", "late"]);
        let directory = self.sim.shard.directory();
        let key = self.random.pick(&["k", "q.k", "k.a", "q.a"]);
        let (topic, destination) = if through_exchange {
            let exchange = directory.exchange("x").unwrap().id;
            (
                None,
                Destination::Exchange { exchange, keys: [bytes::Bytes::from_static(key.as_bytes())].into() },
            )
        } else {
            let Some(topic) = directory.topic(name) else { return };
            (Some(topic.id), Destination::Topic { topic: topic.id, queue_index: None })
        };
        let mut batch = PublishBatch::default();
        let mut numbers = Vec::new();
        for _ in 0..=self.random.below(8) {
            let (number, body) = self.new_body(durability, None);
            batch.push(&draft(name, &body), destination.clone(), tag_hash("t"), durability).unwrap();
            numbers.push((number, topic));
        }
        self.tell(Ask::Publish(numbers), |token| Command::Publish { token, batch });
    }

    pub fn publish_due(&mut self) {
        let topic = self.sim.topic("a");
        let durability = self.random.pick(&[Durability::Disk, Durability::Disk, Durability::Memory]);
        let index = self.random.pick(&[None, Some(0), Some(1)]);
        let mut batch = PublishBatch::default();
        let mut numbers = Vec::new();
        let mut delay_ms = 0;
        for _ in 0..=self.random.below(5) {
            // Some are due together.
            let delays = [delay_ms, delay_ms, 0, 50, 1_500, 20_000, 400_000, 3_000_000];
            delay_ms = self.random.pick(&delays);
            let due_ms = self.sim.now.wall_ms + delay_ms;
            let (number, body) = self.new_body(durability, Some(due_ms));
            batch.push_due(&draft("a", &body), topic.id, index, tag_hash("t"), durability, due_ms).unwrap();
            numbers.push((number, Some(topic.id)));
        }
        self.ledger.together(numbers.iter().map(|(number, _)| *number));
        self.tell(Ask::Publish(numbers), |token| Command::Publish { token, batch });
    }

    /// Withdraws a message that waits, or did, or never was there.
    pub fn recall(&mut self) {
        let known = self.ledger.waiting_positions();
        let (position, number) = match known.len() {
            _ if self.random.percent(10) => (self.random.below(self.sim.shard.log_end() + 1_000) | 1, None),
            0 => return,
            len => {
                let (position, number) = known[self.random.index(len)];
                (position, Some(number))
            }
        };
        number.into_iter().for_each(|number| self.ledger.recall_asked(number));
        let topic = self.random.pick(&[None, Some("a")]).map(Name::from);
        self.tell(Ask::Recall(number), |token| Command::Recall { token, position, topic });
    }

    pub fn receive(&mut self) {
        let group = self.random.pick(&GROUPS);
        let topic: Name = if group == "q" { "q" } else { self.random.pick(&["a", "b"]) }.into();
        let max = 1 + self.random.below(20) as u32;
        let (lease_ms, wait_ms) = (self.random.pick(&LEASES_MS), self.random.pick(&[0, 0, 2_000]));
        let group = group.into();
        let receive = |token| Command::Receive { token, group, topic, max, wait_ms, lease_ms, filter: None };
        self.tell(Ask::Receive { lease_ms }, receive);
    }

    pub fn take_held(&mut self) -> Vec<Receipt> {
        let count = 1 + self.random.index(6);
        let mut taken = Vec::new();
        while taken.len() < count && !self.held.is_empty() {
            let at = self.random.index(self.held.len());
            taken.push(self.held.swap_remove(at).receipt);
        }
        taken
    }

    pub fn settle(&mut self) {
        let receipts = self.take_held();
        let retry = Outcome::Retry { delay_ms: None };
        let outcome = self.random.pick(&[Outcome::Ack, Outcome::Ack, Outcome::Ack, retry, Outcome::Release]);
        self.end_leases(receipts, outcome);
    }

    pub fn end_leases(&mut self, receipts: Vec<Receipt>, outcome: Outcome) {
        receipts.iter().for_each(|receipt| self.lines.let_go(receipt));
        let ask = if outcome == Outcome::Ack {
            receipts.iter().for_each(|receipt| self.lines.ask_to_settle(receipt));
            Ask::Ack(receipts.clone())
        } else {
            Ask::Other
        };
        self.tell(ask, |token| Command::Settle { token: Some(token), receipts, outcome });
    }

    pub fn extend(&mut self) {
        let receipts = self.take_held();
        receipts.iter().for_each(|receipt| self.lines.let_go(receipt));
        let lease_ms = self.random.pick(&LEASES_MS);
        let until = self.sim.now.mono + Duration::from_millis(lease_ms);
        let asked = receipts.iter().map(|receipt| (*receipt, until)).collect();
        self.tell(Ask::Extend(asked), |token| Command::Extend { token, receipts, lease_ms });
    }

    pub fn commit(&mut self) {
        let topic = self.sim.topic("a");
        let commits = topic.queues().iter().map(|q| (q.id, self.random.below(q.end_offset() + 1))).collect();
        self.tell(Ask::Other, |token| Command::Commit { token: Some(token), group: "o".into(), commits });
    }

    pub fn seek(&mut self) {
        let (group, topic) = (self.sim.shard.directory().group("h").unwrap().id, self.sim.topic("a"));
        for queue in topic.queues().iter() {
            self.lines.moved((group, queue.id), queue.end_offset(), self.sim.shard.log_end());
        }
        let offset = self.random.below(topic.queue(0).unwrap().end_offset() + 1);
        let time = SeekTo::Time(self.sim.now.wall_ms.saturating_sub(2_000));
        let to = SeekTo::Offset { queue_index: 0, offset };
        let to = self.random.pick(&[SeekTo::Earliest, SeekTo::Latest, time, to]);
        self.tell(Ask::Other, |token| Command::Seek { token, group: "h".into(), topic: "a".into(), to });
    }

    pub fn change_topology(&mut self) {
        let there = self.sim.shard.directory().topic("late");
        match (self.random.below(3), there) {
            (0, _) => self.tell(Ask::Other, bind("x", "b", "other.#")),
            (1, _) => {
                let (source, key) = ("x".into(), "other.#".into());
                let (target, attributes) = (BindTarget::Topic("b".into()), Default::default());
                self.tell(Ask::Other, |token| Command::Unbind { token, source, target, key, attributes });
            }
            (_, Some(topic)) => {
                topic.queues().iter().for_each(|queue| self.ledger.forget(queue.id));
                let name = "late".into();
                let delete = |token| Command::DeleteTopic { token, name, if_unused: false, if_empty: false };
                self.tell(Ask::Other, delete);
            }
            (_, None) => {
                let settings = TopicSettings { queues: 1, ..TopicSettings::default() };
                let put = |token| Command::PutTopic { token, name: "late".into(), settings, adopt: false };
                self.tell(Ask::Other, put);
            }
        }
    }

    pub fn trim(&mut self) {
        let (_, synced) = self.sim.shard.log_reached();
        let before = synced.saturating_sub(self.random.below(3 * SEGMENT_BYTES));
        self.ledger.trimmed_to = self.ledger.trimmed_to.max(before);
        let (mailbox, token) = (self.client.mailbox.clone(), self.client.token());
        self.sim.shard.handle(self.sim.now, Input::Trim { mailbox, token, before });
    }
}

pub(super) fn bind(source: &str, topic: &str, key: &str) -> impl FnOnce(Token) -> Command {
    let (source, key): (Name, Name) = (source.into(), key.into());
    let target = BindTarget::Topic(topic.into());
    move |token| Command::Bind { token, source, target, key, attributes: Default::default() }
}
