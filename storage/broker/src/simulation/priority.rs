//! Higher priorities are handed out first: in examples, and in random histories in which each receive gets what a sorted
//! list has first.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A topic with priorities, whose entries go when they are settled or stay.
fn scene(settings: TopicSettings, priority_max: &str, more: &[(&str, &str)]) -> (Simulation, Client) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let all = more.iter().copied().chain([(PRIORITY_MAX, priority_max)]);
    let attributes = all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    sim.make_topic(&client, "t", TopicSettings { attributes, ..settings });
    sim.make_group(&client, "t", GroupSettings::at_once());
    (sim, client)
}

/// One message for each priority, named by its number; 0 says nothing of it.
fn publish(sim: &mut Simulation, client: &Client, priorities: &[u32]) {
    let topic = sim.topic("t");
    let mut batch = PublishBatch::default();
    for priority in priorities {
        let body = priority.to_string();
        let properties = format!("{}\u{1}{priority}\u{2}", property::PRIORITY);
        let properties = if *priority == 0 { &[] } else { properties.as_bytes() };
        let draft = Draft { properties, ..draft("t", &body) };
        let destination = Destination::Topic { topic: topic.id, queue_index: None };
        batch.push(&draft, destination, 0, Durability::Disk).unwrap();
    }
    assert!(sim.send(client, batch).iter().all(Result::is_ok));
}

fn receive(sim: &mut Simulation, client: &Client, max: u32) -> Vec<Delivery> {
    sim.receive(client, "t", "t", max, 30_000)
}

fn offsets(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.receipt.offset).collect()
}

#[test]
fn the_highest_come_first_capped_and_within_one_priority_as_they_arrived() {
    let (mut sim, client) = scene(TopicSettings::settled_queue(), "5", &[]);
    publish(&mut sim, &client, &[1, 5, 1, 3, 0, 9, 5, 4_000]);
    let all = receive(&mut sim, &client, 99);
    assert_eq!(offsets(&all), [1, 5, 6, 7, 3, 0, 2, 4]);
    sim.settle(&client, &all[1..4], Outcome::Retry { delay_ms: None });
    publish(&mut sim, &client, &[5, 2]);
    assert_eq!(offsets(&receive(&mut sim, &client, 99)), [5, 6, 7, 8, 9], "back in their places");
    let arrived: Vec<u64> = sim.read("t", 0, 0).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(arrived, (0..10).collect::<Vec<_>>(), "readers by offset see the order of arrival");
}

#[test]
fn a_gap_at_the_end_of_a_queue_has_nothing_of_any_priority() {
    let (mut sim, client) = scene(TopicSettings::settled_queue(), "5", &[]);
    publish(&mut sim, &client, &[3]);
    // The machine fails, which leaves a gap, and nothing comes behind it before the next start.
    for boot in ["boot-2", "boot-3"] {
        sim = Simulation::on(sim.disk.power_cut(Loss::All), sim.store.clone(), boot, sim.now);
    }
    let client = sim.connect();
    assert!(sim.topic("t").queue(0).unwrap().end_offset() > 1, "there is a gap");
    assert_eq!(offsets(&receive(&mut sim, &client, 2)), [0]);
    publish(&mut sim, &client, &[4]);
    assert_eq!(receive(&mut sim, &client, 2).len(), 1);
}

#[test]
fn without_a_maximum_priorities_count_for_nothing() {
    let (mut sim, client) = scene(TopicSettings::settled_queue(), "0", &[]);
    publish(&mut sim, &client, &[1, 5, 255]);
    assert_eq!(offsets(&receive(&mut sim, &client, 9)), [0, 1, 2]);
}

#[test]
fn several_queues_have_one_order_of_priorities() {
    let (mut sim, client) = scene(TopicSettings { queues: 3, ..TopicSettings::default() }, "255", &[]);
    let priorities = [3, 255, 0, 7, 3, 0, 255, 1];
    for priority in priorities {
        publish(&mut sim, &client, &[priority]);
        sim.pass_ms(1);
    }
    let got = receive(&mut sim, &client, 99);
    assert_eq!(bodies(&got), ["255", "255", "7", "3", "3", "1", "0", "0"]);
}

#[test]
fn what_is_over_a_length_goes_from_the_head_as_with_rabbitmq() {
    let (mut sim, client) = scene(TopicSettings::settled_queue(), "5", &[(LENGTH_MAX, "3")]);
    for priority in [1, 5, 1, 3, 0, 9] {
        publish(&mut sim, &client, &[priority]);
    }
    assert_eq!(offsets(&receive(&mut sim, &client, 99)), [0, 2, 4]);
}

#[test]
fn of_a_long_backlog_only_blocks_with_a_priority_are_opened_also_after_a_restart() {
    let (mut sim, client) = scene(TopicSettings::settled_queue(), "9", &[]);
    for part in 0..20u32 {
        let mut priorities = vec![0; 1_000];
        if part % 10 == 3 {
            priorities[500] = 9;
        }
        publish(&mut sim, &client, &priorities);
    }
    sim.checkpoint();
    let mut sim = sim.crash(Loss::Nothing);
    let client = sim.connect();
    assert_eq!(offsets(&receive(&mut sim, &client, 2)), [3_500, 13_500]);
    let reads = sim.context.blocks.reads();
    assert!(reads <= 20, "{reads} reads of blocks");
    publish(&mut sim, &client, &[9]);
    assert_eq!(offsets(&receive(&mut sim, &client, 3)), [20_000, 0, 1]);
    // Without the store, the log says the same.
    let disk = sim.disk.power_cut(Loss::Nothing);
    let mut sim = Simulation::on(disk, Arc::new(MemoryStore::default()), "boot-1", sim.now);
    let client = sim.connect();
    let again = receive(&mut sim, &client, 6);
    let seen: Vec<_> = again.iter().map(|delivery| (delivery.receipt.offset, delivery.attempts)).collect();
    assert_eq!(seen, [(3_500, 1), (13_500, 1), (20_000, 1), (0, 1), (1, 1), (2, 0)]);
}

#[test]
fn messages_that_lie_behind_a_snapshot_have_their_priorities() {
    let (sim, client) = scene(TopicSettings::settled_queue(), "5", &[]);
    let mut sim = super::order::restart_from_snapshot(sim, &client, |sim| {
        publish(sim, &client, &[1, 5, 0, 3, 9]);
        let first = receive(sim, &client, 1);
        assert_eq!(offsets(&first), [1]);
        sim.settle(&client, &first, Outcome::Ack);
    });
    let client = sim.connect();
    let got = receive(&mut sim, &client, 9);
    let seen: Vec<_> = got.iter().map(|delivery| (delivery.receipt.offset, delivery.attempts)).collect();
    assert_eq!(seen, [(4, 0), (3, 0), (0, 0), (2, 0)], "nothing else was handed out");
}

#[derive(Clone, Debug)]
enum Act {
    Publish(Vec<u32>),
    Receive { max: u8 },
    Settle { which: u8, outcome: u8 },
    PassMs(u16),
    Checkpoint,
    Kill { loses_store: bool },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => proptest::collection::vec(0u32..6, 1..12).prop_map(Act::Publish),
        5 => (1u8..9).prop_map(|max| Act::Receive { max }),
        8 => (any::<u8>(), 0u8..4).prop_map(|(which, outcome)| Act::Settle { which, outcome }),
        2 => (1u16..40).prop_map(Act::PassMs),
        1 => Just(Act::Checkpoint),
        1 => any::<bool>().prop_map(|loses_store| Act::Kill { loses_store }),
    ];
    proptest::collection::vec(act, 1..80)
}

const MAX: u32 = 4;
const DELAY_MS: u64 = 20;

/// The broker, and what its one group must get.
struct History {
    sim: Simulation,
    client: Client,
    priorities: Vec<u32>,
    /// Attempts of each entry that is neither settled nor held, by the monotonic time from which on it may be had.
    left: BTreeMap<u64, (u32, Duration)>,
    held: Vec<Delivery>,
    /// Handed out in this run of the broker.
    granted: BTreeSet<u64>,
}

impl History {
    fn new() -> Self {
        let (sim, client) = scene(TopicSettings::settled_queue(), &MAX.to_string(), &[]);
        let (priorities, left) = Default::default();
        History { sim, client, priorities, left, held: Vec::new(), granted: BTreeSet::new() }
    }

    fn act(&mut self, act: Act) -> Result<(), TestCaseError> {
        match act {
            Act::Publish(priorities) => {
                publish(&mut self.sim, &self.client, &priorities);
                for priority in priorities {
                    self.left.insert(self.priorities.len() as u64, (0, Duration::ZERO));
                    self.priorities.push(priority.min(MAX));
                }
            }
            Act::Receive { max } => self.receive(max.into())?,
            Act::Settle { which, outcome } if !self.held.is_empty() => {
                let delivery = self.held.swap_remove(usize::from(which) % self.held.len());
                let (offset, attempts, now) = (delivery.receipt.offset, delivery.attempts, self.sim.now.mono);
                let (outcome, left) = match outcome {
                    0 | 1 => (Outcome::Ack, None),
                    2 => (Outcome::Release, Some((attempts, now))),
                    _ => {
                        let from = now + Duration::from_millis(DELAY_MS);
                        (Outcome::Retry { delay_ms: Some(DELAY_MS) }, Some((attempts + 1, from)))
                    }
                };
                prop_assert!(self.sim.settle(&self.client, &[delivery], outcome)[0].is_ok());
                self.left.extend(left.map(|left| (offset, left)));
            }
            Act::Settle { .. } => {}
            Act::PassMs(ms) => self.sim.pass_ms(ms.into()),
            Act::Checkpoint => self.sim.checkpoint(),
            Act::Kill { loses_store } => {
                let store: Arc<dyn Store> =
                    if loses_store { Arc::new(MemoryStore::default()) } else { self.sim.store.clone() };
                let disk = self.sim.disk.power_cut(Loss::Nothing);
                self.sim = Simulation::on(disk, store, "boot-1", self.sim.now);
                self.client = self.sim.connect();
                for held in std::mem::take(&mut self.held) {
                    self.left.insert(held.receipt.offset, (held.attempts, Duration::ZERO));
                }
                // What was handed out counts as one attempt, and may be had again.
                for offset in std::mem::take(&mut self.granted) {
                    if let Some(left) = self.left.get_mut(&offset) {
                        *left = (left.0 + 1, Duration::ZERO);
                    }
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self, max: u32) -> Result<(), TestCaseError> {
        let now = self.sim.now.mono;
        let may = self.left.iter().filter(|(_, (_, from))| *from <= now);
        let mut expected: Vec<(std::cmp::Reverse<u32>, u64, u32)> = may
            .map(|(offset, (attempts, _))| {
                (std::cmp::Reverse(self.priorities[*offset as usize]), *offset, *attempts)
            })
            .collect();
        expected.sort_unstable();
        let expected: Vec<(u64, u32)> =
            expected.iter().take(max as usize).map(|(_, offset, attempts)| (*offset, *attempts)).collect();
        // A lease outlives the history.
        let got = self.sim.receive(&self.client, "t", "t", max, crate::limits::LEASE_MS_MAX);
        let seen: Vec<(u64, u32)> = got.iter().map(|d| (d.receipt.offset, d.attempts)).collect();
        prop_assert_eq!(&seen, &expected);
        for (offset, _) in seen {
            self.left.remove(&offset);
            self.granted.insert(offset);
        }
        self.held.extend(got);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(super::histories::histories()))]

    #[test]
    fn each_receive_gets_the_highest_priorities_whatever_happens(acts in acts()) {
        let mut history = History::new();
        for act in acts {
            history.act(act)?;
        }
        history.sim.pass_ms(DELAY_MS);
        history.receive(1_000)?;
        prop_assert!(history.left.is_empty());
    }
}
