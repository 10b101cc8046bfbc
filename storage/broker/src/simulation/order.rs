//! Strict order: of a message group, or of a queue, one batch at a time, and what comes back comes first. In examples, and
//! in random histories after each step of which each delivery is what it must be.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::limits::FIFO_LOOKAHEAD_ENTRIES_MAX;

fn in_order(order: Order) -> GroupSettings {
    GroupSettings { turns: Turns { order, ..Turns::default() }, ..GroupSettings::at_once() }
}

/// A topic of one queue, and groups "queue" and "key" that get it in strict order.
fn scene() -> (Simulation, Client) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.make_group(&client, "queue", in_order(Order::Queue));
    sim.make_group(&client, "key", in_order(Order::Key));
    (sim, client)
}

/// Publishes one message for each key, which is its body too; none has an empty key.
pub(super) fn publish(sim: &mut Simulation, client: &Client, keys: &[&str]) {
    let topic = sim.topic("t");
    let mut batch = PublishBatch::default();
    for key in keys {
        let properties = format!("{}\u{1}{key}\u{2}", property::ORDERING_KEY);
        let draft = Draft { properties: properties.as_bytes(), ..draft("t", key) };
        let destination = Destination::Topic { topic: topic.id, queue_index: None };
        batch.push(&draft, destination, 0, Durability::Disk).unwrap();
    }
    assert!(sim.send(client, batch).iter().all(Result::is_ok));
}

fn offsets(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.receipt.offset).collect()
}

fn receive(sim: &mut Simulation, client: &Client, group: &str, max: u32) -> Vec<Delivery> {
    sim.receive(client, group, "t", max, 30_000)
}

#[test]
fn of_a_queue_one_batch_is_out_at_a_time() {
    let (mut sim, client) = scene();
    publish(&mut sim, &client, &["a", "b", "c", "d", "e"]);
    let first = receive(&mut sim, &client, "queue", 3);
    assert_eq!(offsets(&first), [0, 1, 2]);
    assert!(receive(&mut sim, &client, "queue", 3).is_empty());
    sim.settle(&client, &first[..2], Outcome::Ack);
    assert!(receive(&mut sim, &client, "queue", 3).is_empty(), "a part of the batch is still out");
    sim.settle(&client, &first[2..], Outcome::Ack);
    assert_eq!(offsets(&receive(&mut sim, &client, "queue", 3)), [3, 4]);
}

#[test]
fn what_comes_back_comes_first_and_what_was_settled_does_not_come() {
    let (mut sim, client) = scene();
    publish(&mut sim, &client, &["a"; 5]);
    let first = receive(&mut sim, &client, "queue", 3);
    sim.settle(&client, &first[1..2], Outcome::Retry { delay_ms: Some(1_000) });
    sim.settle(&client, &first[2..], Outcome::Ack);
    sim.settle(&client, &first[..1], Outcome::Ack);
    assert!(receive(&mut sim, &client, "queue", 9).is_empty(), "blocked until it is handed out again");
    sim.pass_ms(1_000);
    let again = receive(&mut sim, &client, "queue", 9);
    let seen: Vec<_> = again.iter().map(|delivery| (delivery.receipt.offset, delivery.attempts)).collect();
    assert_eq!(seen, [(1, 1), (3, 0), (4, 0)]);
}

#[test]
fn a_message_group_that_is_out_or_waits_holds_up_no_other() {
    let (mut sim, client) = scene();
    publish(&mut sim, &client, &["a", "b", "a", "c", "b", "a"]);
    let a = receive(&mut sim, &client, "key", 2);
    assert_eq!(offsets(&a), [0, 2], "as much of one message group as there is");
    let rest = receive(&mut sim, &client, "key", 9);
    assert_eq!(offsets(&rest), [1, 4, 3]);
    sim.settle(&client, &a, Outcome::Retry { delay_ms: Some(500) });
    publish(&mut sim, &client, &["a", "b", "d"]);
    assert_eq!(offsets(&receive(&mut sim, &client, "key", 9)), [8]);
    sim.settle(&client, &rest, Outcome::Ack);
    assert_eq!(offsets(&receive(&mut sim, &client, "key", 9)), [7]);
    sim.pass_ms(500);
    assert_eq!(offsets(&receive(&mut sim, &client, "key", 9)), [0, 2, 5, 6]);
}

#[test]
fn messages_without_a_key_are_one_message_group() {
    let (mut sim, client) = scene();
    let topic = sim.topic("t");
    sim.publish(&client, &topic, &["x", "y"]);
    publish(&mut sim, &client, &["a"]);
    assert_eq!(offsets(&receive(&mut sim, &client, "key", 1)), [0]);
    assert_eq!(offsets(&receive(&mut sim, &client, "key", 9)), [2]);
}

#[test]
fn a_free_message_group_is_looked_for_as_far_as_it_may_be() {
    let (mut sim, client) = scene();
    let ahead = usize::try_from(FIFO_LOOKAHEAD_ENTRIES_MAX).unwrap();
    for part in vec!["a"; ahead - 1].chunks(2_000) {
        publish(&mut sim, &client, part);
    }
    publish(&mut sim, &client, &["b", "c"]);
    let blocker = receive(&mut sim, &client, "key", 1);
    assert_eq!(offsets(&blocker), [0]);
    let found = receive(&mut sim, &client, "key", 9);
    assert_eq!(offsets(&found), [FIFO_LOOKAHEAD_ENTRIES_MAX - 1], "and not the next");
    sim.settle(&client, &blocker, Outcome::Ack);
    let next = receive(&mut sim, &client, "key", 1);
    assert_eq!(offsets(&next), [1]);
    assert_eq!(offsets(&receive(&mut sim, &client, "key", 9)), [FIFO_LOOKAHEAD_ENTRIES_MAX]);
}

/// Who waits already gets what the message that was given up had held back, and needs nothing else to happen.
#[test]
fn a_message_that_is_given_up_makes_way_for_who_waits() {
    let (mut sim, client) = scene();
    for order in [Order::Key, Order::Queue] {
        let settings = GroupSettings { dead_letter: Some("dead".into()), ..in_order(order) };
        sim.make_group(&client, "strict", settings);
        let (group, topic) = ("strict".into(), "t".into());
        sim.ask(&client, |token| Command::Seek { token, group, topic, to: SeekTo::Latest }).unwrap();
        publish(&mut sim, &client, &["a", "a"]);
        let first = receive(&mut sim, &client, "strict", 1);
        let waiting = sim.connect();
        let (token, group, topic) = (waiting.token(), "strict".into(), "t".into());
        let receive =
            Command::Receive { token, group, topic, max: 1, wait_ms: 60_000, lease_ms: 1_000, filter: None };
        sim.tell(&waiting, receive);
        assert!(sim.events(&waiting).is_empty());
        sim.settle(&client, &first, Outcome::Reject);
        let events = sim.events(&waiting);
        let next = first[0].receipt.offset + 1;
        assert!(
            matches!(&events[..], [Event::Deliveries { deliveries, .. }] if offsets(deliveries) == [next]),
            "{events:?}"
        );
        let group = "strict".into();
        sim.ask(&client, |token| Command::DeleteGroup { token, group, topic: "t".into() }).unwrap();
    }
}

/// The same for one that is dropped since the topic is too long.
#[test]
fn a_message_that_is_dropped_makes_way_for_who_waits() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let attributes = [(LENGTH_MAX.to_owned(), "1".to_owned())].into();
    sim.make_topic(&client, "t", TopicSettings { attributes, ..TopicSettings::settled_queue() });
    sim.make_group(&client, "t", in_order(Order::Key));
    publish(&mut sim, &client, &["a"]);
    let first = receive(&mut sim, &client, "t", 1);
    sim.settle(&client, &first, Outcome::Retry { delay_ms: Some(1_000) });
    let waiting = sim.connect();
    let (token, group, topic) = (waiting.token(), "t".into(), "t".into());
    let receive =
        Command::Receive { token, group, topic, max: 1, wait_ms: 60_000, lease_ms: 1_000, filter: None };
    sim.tell(&waiting, receive);
    assert!(sim.events(&waiting).is_empty());
    publish(&mut sim, &client, &["a"]);
    let events = sim.events(&waiting);
    assert!(
        matches!(&events[..], [Event::Deliveries { deliveries, .. }] if offsets(deliveries) == [1]),
        "{events:?}"
    );
}

#[test]
fn a_message_that_is_given_up_makes_way() {
    let (mut sim, client) = scene();
    let settings =
        GroupSettings { attempts_max: Some(1), dead_letter: Some("dead".into()), ..in_order(Order::Key) };
    sim.make_group(&client, "key", settings);
    publish(&mut sim, &client, &["a", "a"]);
    for attempts in 0..2 {
        let got = receive(&mut sim, &client, "key", 1);
        assert_eq!((offsets(&got), got[0].attempts), (vec![0], attempts));
        sim.settle(&client, &got, Outcome::Retry { delay_ms: None });
    }
    assert_eq!(sim.read("dead", 0, 0).len(), 1);
    assert_eq!(offsets(&receive(&mut sim, &client, "key", 9)), [1]);
}

#[test]
fn what_its_owner_leaves_behind_comes_first() {
    let (mut sim, client) = scene();
    publish(&mut sim, &client, &["a", "a", "a"]);
    let owner = sim.connect();
    let consume = Command::Consume {
        token: owner.token(),
        consumer: ConsumerId(1),
        group: "key".into(),
        topic: "t".into(),
        credit: 2,
        no_ack: false,
        exclusive: false,
        priority: 0,
    };
    sim.tell(&owner, consume);
    assert!(receive(&mut sim, &client, "key", 9).is_empty());
    sim.disconnect(owner);
    let got = receive(&mut sim, &client, "key", 9);
    assert_eq!(
        got.iter().map(|d| (d.receipt.offset, d.attempts)).collect::<Vec<_>>(),
        [(0, 1), (1, 1), (2, 0)]
    );
}

#[test]
fn entries_whose_index_is_in_the_store_come_in_order_too() {
    let (mut sim, client) = scene();
    let keys = ["a", "b", "c"];
    for part in 0..3 {
        let part: Vec<&str> = (part * 2_000..(part + 1) * 2_000).map(|number| keys[number % 3]).collect();
        publish(&mut sim, &client, &part);
    }
    sim.checkpoint();
    let mut sim = sim.crash(Loss::Nothing);
    let client = sim.connect();
    let mut left: BTreeMap<String, VecDeque<u64>> = BTreeMap::new();
    (0..6_000)
        .for_each(|offset| left.entry(keys[offset as usize % 3].to_owned()).or_default().push_back(offset));
    loop {
        let got = receive(&mut sim, &client, "key", 700);
        for delivery in &got {
            let next = left.get_mut(&body(&delivery.message)).unwrap().pop_front();
            assert_eq!(next, Some(delivery.receipt.offset));
        }
        if got.is_empty() {
            break;
        }
        sim.settle(&client, &got, Outcome::Ack);
    }
    assert!(left.values().all(VecDeque::is_empty));
}

#[test]
fn the_order_may_change_while_messages_are_out() {
    let (mut sim, client) = scene();
    publish(&mut sim, &client, &["a", "b", "a", "b"]);
    sim.make_group(&client, "g", GroupSettings::at_once());
    let first = receive(&mut sim, &client, "g", 1);
    sim.make_group(&client, "g", in_order(Order::Key));
    let b = receive(&mut sim, &client, "g", 9);
    assert_eq!(offsets(&b), [1, 3]);
    sim.settle(&client, &first, Outcome::Release);
    sim.make_group(&client, "g", in_order(Order::Queue));
    assert!(receive(&mut sim, &client, "g", 9).is_empty());
    sim.settle(&client, &b, Outcome::Retry { delay_ms: None });
    sim.make_group(&client, "g", GroupSettings::at_once());
    assert_eq!(BTreeSet::from_iter(offsets(&receive(&mut sim, &client, "g", 9))), (0..4).collect());
}

/// Fills the log, trims what lies before the last record so far, and starts again with nothing but the log from there on.
pub(super) fn restart_from_snapshot(
    mut sim: Simulation,
    client: &Client,
    then: impl FnOnce(&mut Simulation),
) -> Simulation {
    let filler = sim.make_topic(client, "filler", TopicSettings::default());
    let body = "f".repeat(700_000);
    for _ in 0..4 {
        sim.publish(client, &filler, &[&body]);
    }
    let before = sim.shard.log_end();
    then(&mut sim);
    let token = client.token();
    sim.input(Input::Trim { mailbox: client.mailbox.clone(), token, before });
    let events = sim.events(client);
    let trimmed =
        |event: &Event| matches!(event, Event::Reply { result: Ok(Reply::Count(start)), .. } if *start > 0);
    assert!(events.iter().any(trimmed), "{events:?}");
    let (disk, now) = (sim.disk.power_cut(Loss::Nothing), sim.now);
    Simulation::on(disk, Arc::new(MemoryStore::default()), "boot-1", now)
}

#[test]
fn a_snapshot_holds_the_order_of_a_group_and_exactly_what_it_was_handed() {
    let (sim, client) = scene();
    let mut sim = restart_from_snapshot(sim, &client, |sim| {
        publish(sim, &client, &["a", "b", "a", "c", "b", "a"]);
        let a = receive(sim, &client, "key", 2);
        let rest = receive(sim, &client, "key", 9);
        assert_eq!((offsets(&a), offsets(&rest)), (vec![0, 2], vec![1, 4, 3]));
        sim.settle(&client, &a[..1], Outcome::Retry { delay_ms: Some(0) });
        sim.settle(&client, &[a[1].clone(), rest[1].clone(), rest[2].clone()], Outcome::Ack);
    });
    let client = sim.connect();
    let got = receive(&mut sim, &client, "key", 9);
    let seen: Vec<_> = got.iter().map(|delivery| (delivery.receipt.offset, delivery.attempts)).collect();
    assert_eq!(seen, [(0, 2), (5, 0), (1, 1)]);
    publish(&mut sim, &client, &["a", "d"]);
    assert_eq!(offsets(&receive(&mut sim, &client, "key", 9)), [7], "one batch of a key at a time");
}

#[derive(Clone, Debug)]
enum Act {
    Publish(Vec<u8>),
    Receive { group: usize, max: u8 },
    Settle { which: u8, outcome: u8 },
    PassMs(u16),
    Checkpoint,
    Kill { loses_store: bool },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => proptest::collection::vec(0u8..5, 1..12).prop_map(Act::Publish),
        6 => (0..GROUPS.len(), 1u8..9).prop_map(|(group, max)| Act::Receive { group, max }),
        8 => (any::<u8>(), 0u8..6).prop_map(|(which, outcome)| Act::Settle { which, outcome }),
        2 => (1u16..2_500).prop_map(Act::PassMs),
        1 => Just(Act::Checkpoint),
        1 => any::<bool>().prop_map(|loses_store| Act::Kill { loses_store }),
    ];
    proptest::collection::vec(act, 1..80)
}

const GROUPS: [&str; 2] = ["queue", "key"];
const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
const LEASE_MS: u64 = 1_500;
const BACKOFF_MS: [u64; 2] = [100, 1_000];

/// An entry as a group must see it.
#[derive(Clone, Debug, Default)]
struct Expected {
    attempts: u32,
    /// Held, by the monotonic time at which the lease ends.
    until: Option<Duration>,
    not_before: Duration,
    /// Handed out in this run of the broker.
    was_granted: bool,
}

/// The broker, and what strict order makes of what was done.
struct History {
    sim: Simulation,
    client: Client,
    keys: Vec<u8>,
    /// Unsettled entries, by group.
    left: [BTreeMap<u64, Expected>; GROUPS.len()],
    held: Vec<(usize, Delivery)>,
}

impl History {
    fn new() -> Self {
        let (mut sim, client) = scene();
        for (group, order) in GROUPS.into_iter().zip([Order::Queue, Order::Key]) {
            sim.make_group(
                &client,
                group,
                GroupSettings { backoff_ms: BACKOFF_MS.to_vec(), ..in_order(order) },
            );
        }
        History { sim, client, keys: Vec::new(), left: Default::default(), held: Vec::new() }
    }

    /// The message group that an entry is in.
    fn group_of(&self, group: usize, offset: u64) -> u8 {
        if GROUPS[group] == "queue" { 0 } else { self.keys[offset as usize] }
    }

    fn act(&mut self, act: Act) -> Result<(), TestCaseError> {
        match act {
            Act::Publish(keys) => {
                let names: Vec<&str> = keys.iter().map(|key| KEYS[usize::from(*key)]).collect();
                publish(&mut self.sim, &self.client, &names);
                for key in keys {
                    let offset = self.keys.len() as u64;
                    self.keys.push(key);
                    self.left.iter_mut().for_each(|left| left.extend([(offset, Expected::default())]));
                }
            }
            Act::Receive { group, max } => self.receive(group, max.into())?,
            Act::Settle { which, outcome } if !self.held.is_empty() => {
                let (group, delivery) = self.held.swap_remove(usize::from(which) % self.held.len());
                self.settle(group, delivery, outcome);
            }
            Act::Settle { .. } => {}
            Act::PassMs(ms) => self.pass_ms(ms.into()),
            Act::Checkpoint => self.sim.checkpoint(),
            Act::Kill { loses_store } => self.kill(loses_store),
        }
        Ok(())
    }

    /// What a group gets is, of each message group, the next unsettled ones; and it gets something if it may.
    fn receive(&mut self, group: usize, max: u32) -> Result<(), TestCaseError> {
        let now = self.sim.now.mono;
        let mut expected: BTreeMap<u8, VecDeque<u64>> = BTreeMap::new();
        let mut blocked = BTreeSet::new();
        for (offset, entry) in &self.left[group] {
            let key = self.group_of(group, *offset);
            if entry.until.is_some() {
                blocked.insert(key);
            }
            let waiting = expected.entry(key).or_default();
            if waiting.is_empty() && entry.not_before > now {
                blocked.insert(key);
            }
            waiting.push_back(*offset);
        }
        let got = self.sim.receive(&self.client, GROUPS[group], "t", max, LEASE_MS);
        let may = expected.keys().any(|key| !blocked.contains(key));
        prop_assert_eq!(got.is_empty(), !may, "{:?} {:?}", self.left[group], blocked);
        for delivery in got {
            let offset = delivery.receipt.offset;
            let key = self.group_of(group, offset);
            prop_assert!(!blocked.contains(&key), "{} is of a message group that is out or waits", offset);
            prop_assert_eq!(expected.get_mut(&key).and_then(VecDeque::pop_front), Some(offset));
            let entry = self.left[group].get_mut(&offset).unwrap();
            prop_assert_eq!(entry.attempts, delivery.attempts);
            prop_assert!(entry.not_before <= now);
            entry.until = Some(now + Duration::from_millis(LEASE_MS));
            entry.was_granted = true;
            self.held.push((group, delivery));
        }
        Ok(())
    }

    fn settle(&mut self, group: usize, delivery: Delivery, outcome: u8) {
        let outcome = match outcome {
            0..=2 => Outcome::Ack,
            3 => Outcome::Retry { delay_ms: None },
            4 => Outcome::Release,
            _ => Outcome::Reject,
        };
        let offset = delivery.receipt.offset;
        let settled = self.sim.settle(&self.client, &[delivery], outcome).pop().unwrap();
        if settled.is_err() {
            return;
        }
        match outcome {
            Outcome::Ack | Outcome::Reject => drop(self.left[group].remove(&offset)),
            Outcome::Release => self.left[group].get_mut(&offset).unwrap().until = None,
            Outcome::Retry { .. } => self.fail(group, offset),
        }
    }

    fn fail(&mut self, group: usize, offset: u64) {
        let entry = self.left[group].get_mut(&offset).unwrap();
        entry.until = None;
        entry.attempts += 1;
        let backoff_ms = BACKOFF_MS[(entry.attempts as usize - 1).min(BACKOFF_MS.len() - 1)];
        entry.not_before = self.sim.now.mono + Duration::from_millis(backoff_ms);
    }

    fn pass_ms(&mut self, ms: u64) {
        self.sim.pass_ms(ms);
        let now = self.sim.now.mono;
        for group in 0..GROUPS.len() {
            let is_over = |(_, entry): &(&u64, &Expected)| entry.until.is_some_and(|until| until <= now);
            let over: Vec<u64> = self.left[group].iter().filter(is_over).map(|(offset, _)| *offset).collect();
            over.into_iter().for_each(|offset| self.fail(group, offset));
        }
    }

    /// What was handed out counts as one attempt.
    fn kill(&mut self, loses_store: bool) {
        let store: Arc<dyn Store> =
            if loses_store { Arc::new(MemoryStore::default()) } else { self.sim.store.clone() };
        let disk = self.sim.disk.power_cut(Loss::Nothing);
        self.sim = Simulation::on(disk, store, "boot-1", self.sim.now);
        self.client = self.sim.connect();
        self.held.clear();
        for entry in self.left.iter_mut().flat_map(BTreeMap::values_mut) {
            entry.until = None;
            if std::mem::take(&mut entry.was_granted) {
                entry.attempts += 1;
                entry.not_before = self.sim.now.mono;
            }
        }
    }

    /// In the end each group gets all that it has not settled.
    fn finish(mut self) -> Result<(), TestCaseError> {
        for group in 0..GROUPS.len() {
            for _ in 0..1_000 {
                self.pass_ms(LEASE_MS);
                self.pass_ms(BACKOFF_MS[1]);
                self.receive(group, 7)?;
                for (group, delivery) in std::mem::take(&mut self.held) {
                    self.settle(group, delivery, 0);
                }
                if self.left[group].is_empty() {
                    break;
                }
            }
            prop_assert!(self.left[group].is_empty());
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(super::histories::histories()))]

    #[test]
    fn strict_order_holds_whatever_happens(acts in acts()) {
        let mut history = History::new();
        for act in acts {
            history.act(act)?;
        }
        history.finish()?;
    }
}
