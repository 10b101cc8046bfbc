//! Random histories against a few plain rules: whatever happens, each message is settled or can be got, in order, an
//! offset never names two bodies, and the state after a restart is the state before it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Publish {
        count: u8,
        durability: Durability,
    },
    Receive {
        group: usize,
        max: u8,
    },
    Settle {
        which: u8,
        outcome: u8,
    },
    PassMs(u16),
    Checkpoint,
    /// The process is killed; its store may be lost too.
    Kill {
        loses_store: bool,
    },
    /// The machine loses power: what was not synced is gone.
    PowerCut {
        loses_store: bool,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let durability = prop_oneof![2 => Just(Durability::Disk), 1 => Just(Durability::Memory)];
    let act = prop_oneof![
        4 => (1u8..40, durability).prop_map(|(count, durability)| Act::Publish { count, durability }),
        4 => (0..GROUPS.len(), 1u8..30).prop_map(|(group, max)| Act::Receive { group, max }),
        6 => (any::<u8>(), 0u8..4).prop_map(|(which, outcome)| Act::Settle { which, outcome }),
        2 => (1u16..3_000).prop_map(Act::PassMs),
        1 => Just(Act::Checkpoint),
        1 => any::<bool>().prop_map(|loses_store| Act::Kill { loses_store }),
        1 => any::<bool>().prop_map(|loses_store| Act::PowerCut { loses_store }),
    ];
    proptest::collection::vec(act, 1..60)
}

const GROUPS: [&str; 2] = ["g", "h"];

/// The broker, and what its clients know of it.
struct History {
    sim: Simulation,
    client: Client,
    /// Bodies by offset, of all that were ever acknowledged or seen.
    bodies: BTreeMap<u64, String>,
    /// Offsets that must be there.
    there: BTreeSet<u64>,
    /// Acknowledged as written, and not synced yet.
    unsynced: BTreeSet<u64>,
    /// Offsets that must not come again, by group.
    done: [BTreeSet<u64>; GROUPS.len()],
    held: Vec<(usize, Delivery)>,
    /// Bodies of the last publish, while it is not answered.
    unanswered: Vec<String>,
    published: u64,
    boots: u32,
}

impl History {
    fn new() -> Self {
        let mut sim = Simulation::new();
        let client = sim.connect();
        sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
        for group in GROUPS {
            let settings = GroupSettings {
                attempts_max: None,
                backoff_ms: vec![100, 1_000],
                dead_letter: None,
                ..GroupSettings::at_once()
            };
            sim.make_group(&client, group, settings);
        }
        History {
            sim,
            client,
            bodies: BTreeMap::new(),
            there: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            done: Default::default(),
            held: Vec::new(),
            unanswered: Vec::new(),
            published: 0,
            boots: 1,
        }
    }

    fn act(&mut self, act: Act) -> Result<(), TestCaseError> {
        if !matches!(act, Act::PowerCut { .. }) {
            self.sync()?;
        }
        match act {
            Act::Publish { count, durability } => self.publish(count, durability)?,
            Act::Receive { group, max } => {
                let got = self.sim.receive(&self.client, GROUPS[group], "t", max.into(), 1_500);
                for delivery in &got {
                    let offset = delivery.receipt.offset;
                    self.see(offset, body(&delivery.message))?;
                    prop_assert!(!self.done[group].contains(&offset), "{} was settled", offset);
                }
                self.held.extend(got.into_iter().map(|delivery| (group, delivery)));
            }
            Act::Settle { which, outcome } if !self.held.is_empty() => {
                let (group, delivery) = self.held.swap_remove(usize::from(which) % self.held.len());
                let outcome = match outcome {
                    0 | 1 => Outcome::Ack,
                    2 => Outcome::Retry { delay_ms: None },
                    _ => Outcome::Release,
                };
                let result = self.sim.settle(&self.client, std::slice::from_ref(&delivery), outcome).pop();
                if result.unwrap().is_ok() && outcome == Outcome::Ack {
                    self.done[group].insert(delivery.receipt.offset);
                }
            }
            Act::Settle { .. } => {}
            Act::PassMs(ms) => self.sim.pass_ms(ms.into()),
            Act::Checkpoint => self.sim.checkpoint(),
            Act::Kill { loses_store } => {
                let before = self.positions();
                self.restart(Loss::Nothing, loses_store);
                prop_assert_eq!(before, self.positions());
            }
            Act::PowerCut { loses_store } => {
                self.restart(Loss::All, loses_store);
                self.look_around()?;
            }
        }
        Ok(())
    }

    fn publish(&mut self, count: u8, durability: Durability) -> Result<(), TestCaseError> {
        let texts: Vec<String> =
            (self.published..self.published + u64::from(count)).map(|number| number.to_string()).collect();
        self.published += u64::from(count);
        let topic = self.sim.topic("t");
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.sim.syncing = durability == Durability::Disk;
        let results = self.sim.publish_at(&self.client, &topic, durability, &texts);
        self.unanswered = texts.iter().map(|text| (*text).to_owned()).collect();
        match durability {
            // Its offsets may have to wait for a sync all the same: that of how far offsets may run.
            Durability::Memory if results.is_empty() => Ok(()),
            durability => self.answered(results, durability),
        }
    }

    fn answered(
        &mut self,
        results: Vec<Result<Stored, Error>>,
        durability: Durability,
    ) -> Result<(), TestCaseError> {
        let texts = std::mem::take(&mut self.unanswered);
        prop_assert_eq!(results.len(), texts.len(), "everything is answered");
        for (text, stored) in texts.into_iter().zip(results) {
            let offset = stored.unwrap().offset.unwrap();
            self.see(offset, text)?;
            let acknowledged =
                if durability == Durability::Disk { &mut self.there } else { &mut self.unsynced };
            acknowledged.insert(offset);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), TestCaseError> {
        self.sim.syncing = true;
        self.sim.run();
        self.there.append(&mut self.unsynced);
        match self.sim.events(&self.client).pop() {
            Some(Event::Published { results, .. }) => self.answered(results, Durability::Disk),
            _ => Ok(()),
        }
    }

    /// An offset never names two bodies.
    fn see(&mut self, offset: u64, body: String) -> Result<(), TestCaseError> {
        let known = self.bodies.entry(offset).or_insert_with(|| body.clone());
        prop_assert_eq!(&*known, &body, "offset {}", offset);
        Ok(())
    }

    fn positions(&self) -> Vec<String> {
        self.sim
            .shard
            .state()
            .all_progress()
            .map(|(_, _, p)| format!("{} {:?}", p.floor, p.settled))
            .collect()
    }

    fn restart(&mut self, loss: Loss, loses_store: bool) {
        self.boots += u32::from(loss == Loss::All);
        let store: Arc<dyn Store> =
            if loses_store { Arc::new(MemoryStore::default()) } else { self.sim.store.clone() };
        let disk = self.sim.disk.power_cut(loss);
        self.sim = Simulation::on(disk, store, &format!("boot-{}", self.boots), self.sim.now);
        self.client = self.sim.connect();
    }

    /// After a power cut: what was not synced may be gone.
    fn look_around(&mut self) -> Result<(), TestCaseError> {
        let found = self.sim.read("t", 0, 0);
        for (offset, body) in &found {
            self.see(*offset, body.clone())?;
        }
        let found: BTreeSet<u64> = found.into_iter().map(|(offset, _)| offset).collect();
        prop_assert!(self.there.is_subset(&found), "lost: {:?}", self.there.difference(&found));
        self.there = found;
        self.unsynced.clear();
        self.unanswered.clear();
        Ok(())
    }

    /// In the end each group gets everything that it has not settled.
    fn finish(mut self) -> Result<(), TestCaseError> {
        self.sync()?;
        // Leases end, then backoffs.
        self.sim.pass_ms(60_000);
        self.sim.pass_ms(60_000);
        for (group, done) in GROUPS.iter().zip(&self.done) {
            let mut rest = BTreeSet::new();
            loop {
                let got = self.sim.receive(&self.client, group, "t", 100, 60_000);
                if got.is_empty() {
                    break;
                }
                rest.extend(got.iter().map(|delivery| delivery.receipt.offset));
            }
            let expected: BTreeSet<u64> = self.there.difference(done).copied().collect();
            prop_assert_eq!(rest, expected);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(histories()))]

    #[test]
    fn nothing_acknowledged_is_lost_and_nothing_settled_comes_back(acts in acts()) {
        let mut history = History::new();
        for act in acts {
            history.act(act)?;
        }
        history.finish()?;
    }
}

/// More with `MAILRAIL_HISTORIES`.
pub(super) fn histories() -> u32 {
    std::env::var("MAILRAIL_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(200)
}
