//! What clients know of messages, and what must hold of it: which body an offset names, what must be there, what must
//! not be seen yet. It knows no group.

use super::*;

/// A message by the number in its body.
pub(super) struct Message {
    pub durability: Durability,
    /// Wall time before which nobody may see it.
    pub due_ms: Option<u64>,
    /// Behind its record.
    pub end: Position,
    /// Accepted as waiting, and must be dispatched.
    pub must_come: bool,
    /// Where its receipt says that it waits.
    waits_at: Option<Position>,
    recall: Recall,
    /// How often its recall was asked for.
    asked: u32,
    /// Where it was acknowledged or seen.
    pub places: BTreeMap<QueueId, u64>,
    /// Queues it was acknowledged for.
    pub queues: u32,
    pub half: Option<Half>,
}

/// An offset that was acknowledged or seen.
pub(super) struct Place {
    pub number: u64,
    pub position: Position,
    /// Behind its record, as far as is known.
    end: Position,
    /// What may not be lost by a power cut whatever was synced: somebody was told that it is on the disk.
    is_durable: bool,
    /// It is there until something takes it away.
    must: bool,
}

impl Place {
    /// False for what a power cut may have taken.
    pub fn must(&self) -> bool {
        self.must
    }
}

/// What is known of the recall of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recall {
    Never,
    /// Nobody knows what became of it.
    Asked,
    Done,
}

#[derive(Default)]
pub(super) struct Ledger {
    pub messages: Vec<Message>,
    pub places: BTreeMap<(QueueId, u64), Place>,
    /// Up to where each queue was looked at since the last start, and the last store time there.
    looked: HashMap<QueueId, (u64, u64)>,
    /// Trims were asked for up to here.
    pub trimmed_to: Position,
    /// Latest wall time so far.
    pub wall_ms_max: u64,
    /// Memory publishes that a power cut took.
    pub lost_in_memory: u64,
    /// Numbers of messages that were published to wait by one command.
    batches: Vec<Vec<u64>>,
    /// Those that are to be stored together, and where the log ended before.
    pub groups: Vec<(Position, Vec<u64>)>,
}

impl Ledger {
    /// A new message; its number is in its body.
    pub fn new_message(&mut self, durability: Durability, due_ms: Option<u64>) -> u64 {
        self.messages.push(Message {
            durability,
            due_ms,
            end: Position::MAX,
            must_come: false,
            waits_at: None,
            recall: Recall::Never,
            asked: 0,
            places: BTreeMap::new(),
            queues: 0,
            half: None,
        });
        self.messages.len() as u64 - 1
    }

    pub fn message(&mut self, number: u64) -> &mut Message {
        &mut self.messages[number as usize]
    }

    /// An offset was acknowledged for a message.
    pub fn acknowledged(&mut self, queue: QueueId, number: u64, stored: &Stored) {
        let Some(offset) = stored.offset else {
            let message = self.message(number);
            if let Some(half) = &mut message.half {
                return half.stored(stored.position);
            }
            message.must_come = message.recall == Recall::Never;
            message.waits_at = Some(stored.position);
            return;
        };
        let message = self.message(number);
        let (end, is_durable) = (message.end, message.durability == Durability::Disk);
        message.queues = stored.queues;
        self.name(queue, offset, number, stored.position, end, is_durable);
    }

    pub fn together(&mut self, numbers: impl Iterator<Item = u64>) {
        self.batches.push(numbers.collect());
    }

    /// Messages that waited or still do, by the position that their receipts name.
    pub fn waiting_positions(&self) -> Vec<(Position, u64)> {
        let waits = (0..).zip(&self.messages).filter_map(|(number, m)| Some((m.waits_at?, number)));
        waits.collect()
    }

    pub fn recall_asked(&mut self, number: u64) {
        let message = self.message(number);
        message.asked += 1;
        if message.recall == Recall::Never {
            (message.recall, message.must_come) = (Recall::Asked, false);
        }
    }

    /// It will never be seen.
    pub fn recalled(&mut self, number: u64) {
        let message = self.message(number);
        assert!(message.places.is_empty(), "message {number} was recalled, and has come");
        assert!(message.recall != Recall::Done, "message {number} was recalled twice");
        message.recall = Recall::Done;
    }

    /// So it has come, or will, unless another recall may have been the cause.
    pub fn recall_refused(&mut self, number: u64) {
        let message = self.message(number);
        if message.recall == Recall::Asked && message.asked == 1 {
            (message.recall, message.must_come) = (Recall::Never, true);
        }
    }

    /// An offset never names two bodies, and a body has one place in a queue.
    pub fn name(
        &mut self,
        queue: QueueId,
        offset: u64,
        number: u64,
        position: Position,
        end: Position,
        is_durable: bool,
    ) {
        let before = self.message(number).places.insert(queue, offset);
        assert!(
            before.is_none_or(|before| before == offset),
            "message {number} is at {before:?} and at {offset} of {queue:?}"
        );
        let place = self.places.entry((queue, offset)).or_insert(Place {
            number,
            position,
            end,
            is_durable,
            must: true,
        });
        assert_eq!(place.number, number, "offset {offset} of {queue:?} names two messages");
        place.is_durable |= is_durable;
        place.must = true;
        place.end = place.end.min(end);
    }

    /// Looks at what has become visible.
    pub fn look(&mut self, sim: &Simulation) {
        self.wall_ms_max = self.wall_ms_max.max(sim.now.wall_ms);
        let mut queues: Vec<QueueId> = sim.shard.state().queues.keys().copied().collect();
        queues.sort_unstable();
        for id in queues {
            let queue = sim.shard.state().queues[&id].shared.clone();
            let first = *self.looked.entry(id).or_insert((queue.min_offset(), 0));
            let (mut next, mut last_ms) = (first.0.max(queue.min_offset()), first.1);
            while next < queue.end_offset() {
                let Ok(entries) = queue.entries(next, 1_000, &sim.context.blocks) else {
                    assert!(sim.disk.is_off(), "the index of {id:?} cannot be read at {next}");
                    return;
                };
                let Some(last) = entries.last() else { break };
                let behind = last.offset + 1;
                for (entry, message) in entries.iter().zip(sim.context.messages(&entries)) {
                    if matches!(message, Err(Error::NoMessage(_))) || !entry.is_there() {
                        assert!(is_settled(sim, id, entry.offset), "{id:?} {} is gone", entry.offset);
                        (next, last_ms) = (entry.offset + 1, entry.store_ms);
                        continue;
                    }
                    let Ok(message) = message else {
                        assert!(
                            sim.disk.is_off() || sim.shard.is_poisoned(),
                            "{id:?} {}: {message:?}",
                            entry.offset
                        );
                        return;
                    };
                    self.check_gap(sim, id, next, entry.offset);
                    assert!(entry.store_ms >= last_ms, "store times of {id:?} go back at {}", entry.offset);
                    self.see(sim, id, entry.offset, entry.position, &message);
                    (next, last_ms) = (entry.offset + 1, entry.store_ms);
                }
                next = behind;
                self.looked.insert(id, (next, last_ms));
            }
        }
    }

    /// Offsets are contiguous but for gaps that the log records.
    fn check_gap(&self, sim: &Simulation, queue: QueueId, from: u64, to: u64) {
        let state = &sim.shard.state().queues[&queue];
        let (gaps, min) = (&state.gaps, state.shared.min_offset());
        let mut at = from.max(min);
        while let Some((_, end)) = gaps.iter().find(|(first, end)| (*first..*end).contains(&at)) {
            at = *end;
        }
        while at < to && is_settled(sim, queue, at) {
            at += 1;
        }
        assert!(at >= to, "a hole in {queue:?} from {at} to {to}; gaps {gaps:?}, from {min} on");
    }

    /// A message is visible at a place: is it durable enough, and is its time over?
    fn see(&mut self, sim: &Simulation, queue: QueueId, offset: u64, position: Position, message: &[u8]) {
        let Some(number) = number_of(message) else { panic!("{queue:?} {offset} holds a foreign message") };
        let (_, synced) = sim.shard.log_reached();
        let wall_ms_max = self.wall_ms_max;
        let known = self.message(number);
        if let Some(due_ms) = known.due_ms {
            assert!(due_ms <= wall_ms_max, "message {number} is {} ms early", due_ms - wall_ms_max);
        }
        assert!(known.recall != Recall::Done, "message {number} is seen, and was recalled");
        if let Some(half) = &known.half {
            half.seen(number, &sim.shard.state().queues[&queue].shared.topic);
        }
        let needs_sync =
            known.durability == Durability::Disk || known.due_ms.is_some() || known.half.is_some();
        let end = position + message.len() as u64;
        assert!(!needs_sync || end <= synced, "message {number} is seen before it is synced");
        self.name(queue, offset, number, position, end, needs_sync);
    }

    /// The process ended: what was not safe may be gone. With the machine, that is what was not synced.
    pub fn crashed(&mut self, synced: Position, lost_power: bool) {
        self.looked.clear();
        if !lost_power {
            return;
        }
        for place in self.places.values_mut().filter(|place| !place.is_durable && place.end > synced) {
            place.must = false;
        }
        for message in
            self.messages.iter_mut().filter(|m| m.durability == Durability::Memory && m.end > synced)
        {
            message.must_come = false;
            message.waits_at = None;
            message.half.iter_mut().for_each(Half::may_be_lost);
        }
    }

    /// After a start everything that must be there is, at its place; what else is found was never acknowledged, or
    /// has survived by luck, and stays from now on.
    pub fn check_all(&mut self, sim: &Simulation) {
        self.look(sim);
        let state = sim.shard.state();
        let mut gone = Vec::new();
        for ((queue, offset), place) in &self.places {
            let Some(shared) = state.queues.get(queue).map(|queue| queue.shared.clone()) else { continue };
            if *offset < shared.min_offset() {
                continue;
            }
            let found = shared.entries(*offset, 1, &sim.context.blocks).unwrap();
            let there = found.first().filter(|entry| entry.offset == *offset);
            assert!(
                there.is_some() || !place.must || is_settled(sim, *queue, *offset),
                "message {} at {offset} of {queue:?} is lost",
                place.number
            );
            if there.is_none() {
                gone.push((*queue, *offset));
            }
        }
        self.lost_in_memory += gone.len() as u64;
        for at in gone {
            // Its name stays taken; where the message is, it is no more.
            let number = self.places[&at].number;
            self.message(number).places.remove(&at.0);
        }
        self.check_waiting(sim);
        self.check_halves(sim);
    }

    /// A message that waits is still waiting, or was dispatched.
    fn check_waiting(&self, sim: &Simulation) {
        let waits: usize = sim.shard.state().schedule().waiting();
        let must = |message: &&Message| message.must_come && message.places.is_empty();
        let expected = self.messages.iter().filter(must).count();
        assert!(waits >= expected, "{waits} messages wait where {expected} must");
    }

    /// A topic was deleted, and everything with it.
    pub fn forget(&mut self, queue: QueueId) {
        self.places.retain(|(id, _), _| *id != queue);
        for message in &mut self.messages {
            if message.places.remove(&queue).is_some() {
                message.queues = 0;
            }
        }
    }

    /// In the end every waiting message was dispatched, and every message has all its places.
    pub fn check_end(&self) {
        for (number, message) in self.messages.iter().enumerate() {
            let dispatched = message.due_ms.is_none() || !message.must_come || !message.places.is_empty();
            assert!(dispatched, "message {number} was accepted as waiting and never came");
        }
        self.batches.iter().for_each(|batch| self.check_order(batch));
    }

    /// Messages that were published together come in the order of their times, and then in that of their numbers.
    fn check_order(&self, batch: &[u64]) {
        let mut ordered: Vec<(Option<u64>, u64)> =
            batch.iter().map(|number| (self.messages[*number as usize].due_ms, *number)).collect();
        ordered.sort_unstable();
        let mut last: BTreeMap<QueueId, (u64, u64)> = BTreeMap::new();
        for (_, number) in ordered {
            for (queue, offset) in &self.messages[number as usize].places {
                if let Some((before, earlier)) = last.insert(*queue, (*offset, number)) {
                    assert!(
                        before < *offset,
                        "message {number} came before {earlier}, which was due before it"
                    );
                }
            }
        }
    }

    /// Offsets below the first one there were settled by the queue's default group, or lie where a trim was asked for.
    pub fn check_trimmed(&self, queue: QueueId, min: u64, settled: impl Fn(u64) -> bool) {
        for ((_, offset), place) in
            self.places.range((queue, 0)..(queue, min)).filter(|(_, place)| place.must)
        {
            assert!(
                place.position < self.trimmed_to || settled(*offset),
                "offset {offset} of {queue:?} is gone without cause"
            );
        }
    }
}

/// Whether the queue's own group, as the broker has it, has settled an entry, so that it may be gone.
fn is_settled(sim: &Simulation, queue: QueueId, offset: u64) -> bool {
    let state = sim.shard.state();
    let topic = state.queues[&queue].shared.topic.clone();
    let retention = state.topics[&state.queues[&queue].topic].shared.settings().retention;
    let progress = state.directory.group(&topic).and_then(|group| state.progress(group.id, queue));
    retention == Retention::UntilSettled && progress.is_some_and(|progress| progress.is_settled(offset))
}

/// The number that a body begins with.
pub(super) fn number_of(message: &[u8]) -> Option<u64> {
    body(message).split(':').next()?.parse().ok()
}
