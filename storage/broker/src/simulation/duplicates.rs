//! Random histories of what is sent again, against a model that looks through everything that is stored: a message is
//! stored if none with its key was within the window; who was told of a first one can read it, whatever fails then.

use std::collections::BTreeSet;

use mailrail_commitlog::planted::{Bug, plant};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::deduplication::{deduplicating, push_to};
use super::*;
use crate::limits::DEDUPLICATION_PRODUCER_RECEIPTS_MAX;

const WINDOW_MS: u64 = 1_000;

#[derive(Clone, Debug)]
enum Act {
    /// By key, in one batch.
    Keys(Vec<u8>, Durability),
    /// By producer and number.
    Number(u8, u64, Durability),
    PassMs(u16),
    Checkpoint,
    /// Until it goes on, nothing is synced.
    HoldSync,
    GoOn,
    Kill {
        loses_store: bool,
    },
    PowerCut {
        loses_store: bool,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let durability = || prop_oneof![2 => Just(Durability::Disk), 1 => Just(Durability::Memory)];
    let keys = proptest::collection::vec(0u8..12, 1..6);
    let act = prop_oneof![
        6 => (keys, durability()).prop_map(|(keys, durability)| Act::Keys(keys, durability)),
        6 => (0u8..2, 0u64..40, durability()).prop_map(|(who, number, at)| Act::Number(who, number, at)),
        3 => (1u16..700).prop_map(Act::PassMs),
        1 => Just(Act::Checkpoint),
        1 => Just(Act::HoldSync),
        1 => Just(Act::GoOn),
        1 => any::<bool>().prop_map(|loses_store| Act::Kill { loses_store }),
        1 => any::<bool>().prop_map(|loses_store| Act::PowerCut { loses_store }),
    ];
    proptest::collection::vec(act, 1..80)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Key(u8),
    Number(u8, u64),
}

/// A message that was stored, as far as anybody knows.
#[derive(Clone, Debug)]
struct Known {
    name: Name,
    body: String,
    store_ms: u64,
}

/// A message on its way.
#[derive(Clone, Debug)]
struct Sent {
    body: String,
    durability: Durability,
    expected: Expected,
}

/// What must be answered.
#[derive(Clone, Debug)]
enum Expected {
    New,
    /// The message with this body.
    First(String),
    /// One that was stored so long ago that its receipt may be forgotten.
    Old,
    TooLate,
}

struct History {
    sim: Simulation,
    client: Client,
    known: Vec<Known>,
    unanswered: BTreeMap<Token, Vec<Sent>>,
    /// Receipts, and the bodies that they are of.
    told: Vec<(Stored, String)>,
    /// Bodies of which somebody was told that they are on the disk.
    safe: BTreeSet<String>,
    sent: u64,
    boots: u32,
}

impl History {
    fn new() -> Self {
        let mut sim = Simulation::new();
        let client = sim.connect();
        let settings = TopicSettings { queues: 2, ..TopicSettings::default() };
        sim.make_topic(&client, "t", deduplicating(settings, WINDOW_MS));
        History {
            sim,
            client,
            known: Vec::new(),
            unanswered: BTreeMap::new(),
            told: Vec::new(),
            safe: BTreeSet::new(),
            sent: 0,
            boots: 1,
        }
    }

    fn act(&mut self, act: Act) -> Result<(), TestCaseError> {
        match act {
            Act::Keys(keys, durability) => {
                self.send(keys.into_iter().map(Name::Key).collect(), durability)?;
            }
            Act::Number(who, number, durability) => {
                self.send(vec![Name::Number(who, number)], durability)?;
            }
            Act::PassMs(ms) => self.sim.pass_ms(ms.into()),
            Act::Checkpoint => self.sim.checkpoint(),
            Act::HoldSync => self.sim.syncing = false,
            Act::GoOn => self.go_on()?,
            Act::Kill { loses_store } => {
                let before = windows(&self.sim);
                self.restart(Loss::Nothing, loses_store)?;
                prop_assert_eq!(before, windows(&self.sim));
            }
            Act::PowerCut { loses_store } => self.restart(Loss::All, loses_store)?,
        }
        Ok(())
    }

    fn go_on(&mut self) -> Result<(), TestCaseError> {
        self.sim.syncing = true;
        self.sim.run();
        self.take_answers()?;
        prop_assert!(self.unanswered.is_empty(), "{:?}", self.unanswered);
        self.check_told()
    }

    fn send(&mut self, names: Vec<Name>, durability: Durability) -> Result<(), TestCaseError> {
        let topic = self.sim.topic("t").id;
        let (mut batch, mut sent) = (PublishBatch::default(), Vec::new());
        for name in names {
            let body = format!("{name:?} {}", self.sent);
            self.sent += 1;
            let key = match name {
                Name::Key(key) => DeduplicationKey::of_key(&[key]),
                Name::Number(who, number) => DeduplicationKey::of_sequence(&[who], number),
            }
            .unwrap();
            push_to(&mut batch, Destination::Topic { topic, queue_index: None }, "t", &body, key, durability);
            let expected = self.expected(name);
            if matches!(expected, Expected::New) {
                let store_ms = self.sim.now.wall_ms;
                self.known.push(Known { name, body: body.clone(), store_ms });
            }
            sent.push(Sent { body, durability, expected });
        }
        let token = self.client.token();
        self.unanswered.insert(token, sent);
        self.sim.tell(&self.client, Command::Publish { token, batch });
        self.take_answers()
    }

    fn is_within(&self, known: &Known) -> bool {
        self.sim.now.wall_ms < known.store_ms + WINDOW_MS
    }

    fn expected(&self, name: Name) -> Expected {
        let first = self.known.iter().rfind(|known| known.name == name);
        let Name::Number(who, number) = name else {
            let first = first.filter(|known| self.is_within(known));
            return first.map_or(Expected::New, |known| Expected::First(known.body.clone()));
        };
        let of_producer: Vec<(u64, &Known)> = self
            .known
            .iter()
            .filter_map(|known| match known.name {
                Name::Number(other, number) if other == who => Some((number, known)),
                _ => None,
            })
            .collect();
        match of_producer.last() {
            Some((highest, newest)) if self.is_within(newest) && number <= *highest => {
                let newest = of_producer.iter().rev().take(DEDUPLICATION_PRODUCER_RECEIPTS_MAX);
                let within = newest.take_while(|(_, known)| self.is_within(known));
                let remembered: Vec<_> = within.collect();
                match remembered.iter().find(|(other, _)| *other == number) {
                    Some((_, first)) => Expected::First(first.body.clone()),
                    None if remembered.last().is_some_and(|(oldest, _)| number > *oldest) => {
                        Expected::TooLate
                    }
                    None => Expected::Old,
                }
            }
            _ => Expected::New,
        }
    }

    fn take_answers(&mut self) -> Result<(), TestCaseError> {
        for event in self.sim.events(&self.client) {
            let Event::Published { token, results } = event else { continue };
            let sent = self.unanswered.remove(&token).unwrap_or_default();
            prop_assert_eq!(sent.len(), results.len());
            for (sent, result) in sent.into_iter().zip(results) {
                self.check(sent, result)?;
            }
        }
        Ok(())
    }

    fn check(&mut self, sent: Sent, result: Result<Stored, Error>) -> Result<(), TestCaseError> {
        let Sent { body, durability, expected } = sent;
        let is_synced = durability == Durability::Disk;
        match (result, expected) {
            (Ok(stored), Expected::New) if !stored.duplicate => {
                self.safe.extend(is_synced.then(|| body.clone()));
                self.told.push((stored, body));
            }
            (Ok(stored), Expected::First(first)) if stored.duplicate => {
                self.safe.insert(first.clone());
                self.told.push((stored, first));
            }
            (Ok(stored), Expected::Old) if stored.duplicate => {}
            (Err(Error::Forgotten { .. }), Expected::Old) => {}
            (Err(Error::OutOfSequence { .. }), Expected::Old | Expected::TooLate) => {}
            (result, expected) => prop_assert!(false, "{body} was answered {result:?}, not {expected:?}"),
        }
        Ok(())
    }

    /// What receipts say is where they say it.
    fn check_told(&self) -> Result<(), TestCaseError> {
        let there: BTreeMap<(u32, u64), String> = (0..2)
            .flat_map(|index| {
                let entries = self.sim.read("t", index, 0).into_iter();
                entries.map(move |(offset, body)| ((index, offset), body))
            })
            .collect();
        for (stored, body) in self.told.iter().filter(|(_, body)| self.safe.contains(body)) {
            prop_assert_eq!(there.get(&(stored.queue_index, stored.offset.unwrap())), Some(body));
            let found = self.sim.context.read_position(stored.position);
            prop_assert_eq!(&super::body(&found.unwrap().entries[0].message), body);
        }
        Ok(())
    }

    fn restart(&mut self, loss: Loss, loses_store: bool) -> Result<(), TestCaseError> {
        self.take_answers()?;
        let disk = self.sim.disk.power_cut(loss);
        let store: Arc<dyn Store> =
            if loses_store { Arc::new(MemoryStore::default()) } else { self.sim.store.clone() };
        self.boots += u32::from(loss != Loss::Nothing);
        self.sim = Simulation::on(disk, store, &format!("boot-{}", self.boots), self.sim.now);
        self.client = self.sim.connect();
        self.unanswered.clear();
        let there: BTreeSet<String> =
            (0..2).flat_map(|index| self.sim.read("t", index, 0)).map(|(_, body)| body).collect();
        let lost: Vec<_> = self.safe.difference(&there).collect();
        prop_assert!(lost.is_empty(), "somebody was told of {lost:?}");
        self.known.retain(|known| there.contains(&known.body));
        prop_assert_eq!(self.known.len(), there.len(), "stored besides: {:?}", there);
        self.told.retain(|(_, body)| there.contains(body));
        self.check_told()
    }
}

fn windows(sim: &Simulation) -> Vec<Option<Item>> {
    let state = sim.shard.state();
    let pieces = state.windows().pieces();
    pieces.into_iter().map(|(topic, region)| state.item(ItemKey::Window(topic, region))).collect()
}

fn live(acts: Vec<Act>) -> Result<(), TestCaseError> {
    let mut history = History::new();
    acts.into_iter().try_for_each(|act| history.act(act))?;
    history.go_on()?;
    history.restart(Loss::All, true)
}

fn run(cases: u32) -> Result<(), TestError<Vec<Act>>> {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::default());
    TestRunner::new_with_rng(config, rng).run(&acts(), live)
}

#[test]
fn whatever_fails_each_message_is_stored_once_within_its_window() {
    let cases = std::env::var("MAILRAIL_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(150);
    run(cases).unwrap();
}

#[test]
fn planted_bugs_are_found() {
    for bug in [Bug::KeysNotReplayed, Bug::DuplicateToldEarly] {
        plant(Some(bug));
        let found = run(150);
        plant(None);
        assert!(matches!(found, Err(TestError::Fail(..))), "{bug:?}: {found:?}");
    }
}
