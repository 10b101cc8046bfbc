//! The schedule against a plain map: whatever is added, ended, dispatched, restored or merged in whatever order, it is
//! the same timers, and they come in order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::store::{MemoryStore, Store, StoreError};

impl Schedule {
    /// Every timer that waits, with what the store has of them.
    pub fn all(&self, store: &dyn Store) -> BTreeMap<TimerKey, u32> {
        let mut all: BTreeMap<TimerKey, u32> = self.late.clone();
        all.extend(self.near.clone());
        let mut far = self.fresh.clone();
        for block in self.blocks.values() {
            far.extend(read_block(store, block).unwrap());
        }
        let waits = far.into_iter().filter(|timer| !self.recalled.contains(&timer.position));
        all.extend(waits.map(|timer| (timer.key(), timer.bytes)));
        all
    }

    /// After a replay: what waits is what there is.
    pub fn found(&mut self, store: &dyn Store) {
        self.shadow = self.all(store);
    }

    /// What the log adds up to, however it is spread over memory and blocks.
    pub fn meaning(&self) -> ScheduleImage {
        ScheduleImage { near: self.shadow.iter().map(timer).collect(), ..self.snapshot_of(Vec::new()) }
    }

    pub fn waiting(&self) -> usize {
        self.shadow.len()
    }

    fn check_places(&self, store: &dyn Store) {
        assert_eq!(self.all(store), self.shadow);
        assert!(self.floor <= self.horizon);
        assert!(self.late.keys().all(|key| *key < self.floor));
        assert!(self.near.keys().all(|key| (self.floor..self.horizon).contains(key)));
        assert!(self.fresh.iter().all(|timer| timer.key() >= self.horizon));
        assert!(self.blocks.values().all(|block| block.first >= self.horizon));
        assert!(self.fresh.len() < FRESH_TIMERS_MAX + NEAR_TIMERS_MAX);
        assert!(self.near.len() <= NEAR_TIMERS_MAX + 1 || self.near.keys().all(|key| *key < self.handed_to));
    }
}

#[derive(Clone, Debug)]
enum Act {
    Add(u64),
    Dispatch,
    Recall(prop::sample::Index),
    Gather,
    /// A gather whose outcome comes only after some further acts.
    GatherLater,
    GatherFails,
    /// Checkpoint, stop, and start from it.
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (0u64..50).prop_map(Act::Add),
        6 => Just(Act::Dispatch),
        3 => any::<prop::sample::Index>().prop_map(Act::Recall),
        3 => Just(Act::Gather),
        1 => Just(Act::GatherLater),
        1 => Just(Act::GatherFails),
        1 => Just(Act::Restart),
    ]
}

/// A schedule with its store and what is under way.
#[derive(Default)]
struct Rig {
    schedule: Schedule,
    store: MemoryStore,
    later: Option<Gather>,
    next_position: u64,
}

impl Rig {
    fn seal(&self, seal: Option<Seal>) -> Result<(), StoreError> {
        seal.map_or(Ok(()), |seal| seal.store(&self.store))
    }

    fn finish_later(&mut self) {
        if let Some(gather) = self.later.take() {
            let gathered = gather.carry_out(&self.store).unwrap();
            assert!(gathered.taken.len() <= GATHERED_TIMERS_MAX);
            let seal = self.schedule.gathered(gathered);
            self.seal(seal).unwrap();
        }
    }

    fn gather(&mut self) {
        if self.schedule.is_short()
            && let Some(gather) = self.schedule.begin_gather()
        {
            assert!(gather.blocks.len() <= GATHERED_BLOCKS_MAX);
            self.later = Some(gather);
            self.finish_later();
        }
    }

    fn gather_all_that_is_short(&mut self) {
        self.finish_later();
        while self.schedule.is_short() {
            self.gather();
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Add(due_ms) => {
                self.next_position += 1;
                let bytes = u32::try_from(self.next_position % 7).unwrap();
                let timer = Timer { due_ms, position: self.next_position * 1_000, bytes };
                let seal = self.schedule.add(timer);
                self.seal(seal).unwrap();
            }
            Act::Dispatch => {
                self.gather_all_that_is_short();
                let first = self.schedule.shadow.keys().next().copied();
                let late = self.schedule.late().next();
                let next = late.or_else(|| self.schedule.next());
                assert_eq!(next.map(|timer| timer.key()), first);
                if let Some(timer) = next {
                    self.schedule.hand(timer.key().max(self.schedule.handed_to));
                    self.schedule.raise_floor(timer.key());
                    self.schedule.end(timer);
                }
            }
            Act::Recall(which) => {
                let waiting: Vec<TimerKey> = self.schedule.shadow.keys().copied().collect();
                if waiting.is_empty() {
                    return;
                }
                let key = *which.get(&waiting);
                assert!(self.waits(key));
                let bytes = self.schedule.shadow[&key];
                self.schedule.end(Timer { due_ms: key.0, position: key.1, bytes });
                assert!(!self.waits(key));
                assert!(!self.waits((key.0, key.1 + 1)), "nothing was ever there");
            }
            Act::Gather => self.gather(),
            Act::GatherLater => {
                if self.schedule.is_short() {
                    self.later = self.schedule.begin_gather();
                }
            }
            Act::GatherFails => {
                if let Some(gather) = self.later.take() {
                    let (first_id, blocks) = gather.numbers();
                    drop(gather.carry_out(&self.store));
                    self.schedule.gather_failed(first_id, blocks);
                }
            }
            Act::Restart => {
                self.later = None;
                self.schedule.begin_checkpoint();
                let image = self.schedule.image();
                let ids = self.schedule.checkpoint_stored();
                let drops = ids.iter().map(|id| (block_key(*id), None)).collect();
                self.store.apply(drops).unwrap();
                let before = std::mem::take(&mut self.schedule);
                self.schedule.restore(0, image);
                self.schedule.found(&self.store);
                assert_eq!(self.schedule.shadow, before.shadow);
                assert_eq!(self.schedule.regions, before.regions);
            }
        }
        self.schedule.check_places(&self.store);
    }

    fn waits(&self, key: TimerKey) -> bool {
        match self.schedule.knows(key) {
            Known::Waits => true,
            Known::Not => false,
            Known::In(blocks) => {
                let has = |block| read_block(&self.store, block).unwrap().iter().any(|t| t.key() == key);
                blocks.iter().any(has)
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn timers_come_in_order_and_none_is_lost(acts in prop::collection::vec(act(), 1..300)) {
        let mut rig = Rig::default();
        acts.into_iter().for_each(|act| rig.act(act));
        for _ in 0..rig.schedule.shadow.len() {
            rig.act(Act::Dispatch);
        }
        prop_assert!(rig.schedule.shadow.is_empty() && rig.schedule.regions.is_empty());
        // What has come leaves nothing behind, in memory or in the store.
        rig.gather_all_that_is_short();
        rig.act(Act::Restart);
        prop_assert!(rig.schedule.recalled.is_empty() && rig.schedule.fresh.is_empty());
        let mut values = 0;
        rig.store.scan(b"t", &mut |_, _| values += 1).unwrap();
        prop_assert_eq!(values, 0);
    }
}

#[test]
fn a_damaged_or_missing_block_is_an_error_that_changes_nothing() {
    let mut rig = Rig::default();
    (0..30).for_each(|due| rig.act(Act::Add(due)));
    while !rig.schedule.is_short() {
        rig.act(Act::Dispatch);
    }
    let gather = rig.schedule.begin_gather().unwrap();
    let key = block_key(gather.blocks[0].id);
    let packed = rig.store.get(&key).unwrap().unwrap();
    for damaged in [None, Some(Vec::new()), Some(packed[..packed.len() - 1].to_vec())] {
        rig.store.apply(vec![(key.clone(), damaged)]).unwrap();
        let again =
            Gather { blocks: gather.blocks.clone(), bound: gather.bound, taken_max: 4, first_id: 1_000 };
        assert!(matches!(again.carry_out(&rig.store), Err(GatherError::Damaged(_))));
    }
    rig.store.apply(vec![(key, Some(packed))]).unwrap();
    let (first_id, blocks) = gather.numbers();
    rig.schedule.gather_failed(first_id, blocks);
    rig.gather_all_that_is_short();
    rig.schedule.check_places(&rig.store);
}
