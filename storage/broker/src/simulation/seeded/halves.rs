//! Half messages, and messages that are stored together: a committed message is there once, one that was rolled back or
//! that nobody decided on never, and of messages that belong together all are there or none.

use super::world::Ask;
use super::*;
use crate::transaction::UNDECIDED_TOPIC;

/// Group of the producers.
pub(super) const PRODUCERS: &str = "pg";

/// What clients know of a half message.
#[derive(Default)]
pub(super) struct Half {
    /// Where its receipt says that it is.
    at: Option<Position>,
    commit_asked: bool,
    roll_back_asked: bool,
    committed: bool,
    rolled_back: bool,
}

impl Half {
    /// It was acknowledged.
    pub fn stored(&mut self, at: Position) {
        self.at = Some(at);
    }

    /// It may be gone with what was not synced, and another message where it was.
    pub fn may_be_lost(&mut self) {
        self.at = None;
    }

    /// Its message is seen in some topic.
    pub fn seen(&self, number: u64, topic: &str) {
        assert!(!self.rolled_back, "message {number} is seen, and was rolled back");
        assert!(
            self.commit_asked || topic == UNDECIDED_TOPIC,
            "message {number} is seen, and nobody has committed it"
        );
    }

    /// The position of one that must be open.
    fn must_be_open(&self) -> Option<Position> {
        self.at.filter(|_| !self.commit_asked && !self.roll_back_asked)
    }
}

impl Ledger {
    fn half(&mut self, number: u64) -> &mut Half {
        self.message(number).half.as_mut().expect("it is a half message")
    }

    /// Half messages that clients know of, and are not told the end of.
    fn open_halves(&self) -> Vec<(u64, Position)> {
        let open = |half: &&Half| !half.committed && !half.rolled_back;
        let halves = (0..).zip(&self.messages).filter_map(|(number, m)| Some((number, m.half.as_ref()?)));
        halves.filter(|(_, half)| open(half)).filter_map(|(number, half)| Some((number, half.at?))).collect()
    }

    /// What nobody decided on is open, or was given up.
    pub fn check_halves(&self, sim: &Simulation) {
        for (number, message) in self.messages.iter().enumerate() {
            let Some(half) = &message.half else { continue };
            assert!(message.places.len() <= 1, "message {number} is at {:?}", message.places);
            if let Some(at) = half.must_be_open().filter(|_| message.places.is_empty()) {
                assert!(sim.shard.state().halves().get(at).is_some(), "half message {number} is lost");
            }
        }
        // A trim may take some of them before anybody has looked.
        for (_, group) in self.groups.iter().filter(|(start, _)| *start >= self.trimmed_to) {
            let there = group.iter().filter(|number| !self.messages[**number as usize].places.is_empty());
            let there: Vec<&u64> = there.collect();
            assert!(
                there.is_empty() || there.len() == group.len(),
                "of messages {group:?}, which belong together, only {there:?} are there"
            );
        }
    }
}

impl World {
    pub fn register_producer(&mut self) {
        self.tell(Ask::Other, |token| Command::Produce { token, group: PRODUCERS.into() });
    }

    pub fn prepare(&mut self) {
        let topic = self.sim.topic("a");
        let durability = self.random.pick(&[Durability::Disk, Durability::Disk, Durability::Memory]);
        let mut batch = PublishBatch::default();
        let mut numbers = Vec::new();
        for _ in 0..=self.random.below(3) {
            let (number, body) = self.new_body(durability, None);
            self.ledger.message(number).half = Some(Half::default());
            let first_check_ms = self.sim.now.wall_ms + self.random.pick(&[100, 3_000, 60_000]);
            let half = HalfTerms { group: PRODUCERS.into(), first_check_ms };
            batch.push_half(&draft("a", &body), topic.id, None, tag_hash("t"), durability, half).unwrap();
            numbers.push((number, Some(topic.id)));
        }
        self.tell(Ask::Publish(numbers), |token| Command::Publish { token, batch });
    }

    /// Ends a half message, in one way or in both.
    pub fn end_half(&mut self) {
        let open = self.ledger.open_halves();
        if open.is_empty() {
            return;
        }
        let (number, position) = open[self.random.index(open.len())];
        let mut decisions = vec![self.random.pick(&[Decision::Commit, Decision::Commit, Decision::RollBack])];
        if self.random.percent(20) {
            decisions = vec![Decision::Commit, Decision::RollBack];
        }
        decisions.into_iter().for_each(|decision| self.decide(number, position, decision));
    }

    fn decide(&mut self, number: u64, position: Position, decision: Decision) {
        let half = self.ledger.half(number);
        match decision {
            Decision::Commit => half.commit_asked = true,
            Decision::RollBack => half.roll_back_asked = true,
        }
        let group = self.random.pick(&[None, Some(PRODUCERS)]).map(Name::from);
        let end = |token| Command::EndHalf { token, position, group, decision };
        self.tell(Ask::End { number }, end);
    }

    /// A half message was ended, or not.
    pub fn ended(&mut self, number: u64, result: Result<Reply, Error>) {
        match result {
            Ok(Reply::Stored(stored)) => {
                self.tally.committed += 1;
                let (half, end) = (self.ledger.half(number), self.sim.shard.log_end());
                assert!(!half.rolled_back, "message {number} was rolled back and committed");
                half.committed = true;
                let queue = self.sim.topic("a").queue(stored.queue_index).unwrap().id;
                self.ledger.name(queue, stored.offset.unwrap(), number, stored.position, end, true);
            }
            Ok(_) => {
                let half = self.ledger.half(number);
                assert!(!half.committed, "message {number} was committed and rolled back");
                half.rolled_back = true;
                let places = &self.ledger.message(number).places;
                assert!(places.is_empty(), "message {number} was rolled back, and is at {places:?}");
            }
            Err(error @ (Error::NoMessage(_) | Error::Damaged(_))) => {
                assert!(self.sim.disk.is_off(), "half message {number}: {error}");
            }
            Err(Error::NotHalf { .. }) => {
                // Of two ends one came first, or the one before was not told.
                let half = self.ledger.half(number);
                let is_told = half.committed || half.rolled_back;
                let was_asked = half.commit_asked && half.roll_back_asked;
                self.tally.ended_before += u64::from(is_told || was_asked);
            }
            Err(_) => {}
        }
    }

    /// A producer is asked of a message that is open, as far as anybody knows; it says what it thinks, or nothing.
    pub fn asked(&mut self, check: &Check) {
        self.tally.checks += 1;
        let number = number_of(&check.message).unwrap();
        let half = self.ledger.half(number);
        assert!(!half.rolled_back && !half.committed, "message {number} is asked for, and was ended");
        if half.at == Some(check.position) && self.random.percent(50) {
            let decision = self.random.pick(&[Decision::Commit, Decision::RollBack]);
            self.decide(number, check.position, decision);
        }
    }

    /// Messages to several topics, with the ends of some leases.
    pub fn publish_together(&mut self) {
        let mut batch = PublishBatch::default();
        let mut numbers = Vec::new();
        for _ in 0..2 + self.random.below(4) {
            let topic = self.sim.topic(self.random.pick(&["a", "b", "q"]));
            let (number, body) = self.new_body(Durability::Disk, None);
            let destination = Destination::Topic { topic: topic.id, queue_index: None };
            batch.push(&draft(&topic.name, &body), destination, tag_hash("t"), Durability::Disk).unwrap();
            numbers.push(number);
        }
        let receipts = if self.random.percent(50) { self.take_held() } else { Vec::new() };
        for receipt in &receipts {
            self.lines.let_go(receipt);
            self.lines.ask_to_settle(receipt);
        }
        self.ledger.groups.push((self.sim.shard.log_end(), numbers.clone()));
        let settlements = vec![(receipts.clone(), Outcome::Ack)];
        self.tell(Ask::Together { numbers, receipts }, |token| Command::PublishTogether {
            token,
            batch,
            settlements,
        });
    }

    /// Messages were stored together with the ends of leases, or not.
    pub fn stored_together(
        &mut self,
        numbers: &[u64],
        receipts: &[Receipt],
        end: Position,
        result: Result<Reply, Error>,
    ) {
        match result {
            Ok(Reply::Together(stored)) => {
                assert!(stored.len() == numbers.len() && stored.iter().all(Result::is_ok), "{stored:?}");
                receipts.iter().for_each(|receipt| self.lines.settled(receipt, end));
                self.tally.together += 1;
                self.ledger.look(&self.sim);
                for number in numbers {
                    let is_there = !self.ledger.message(*number).places.is_empty();
                    let may_be_trimmed = self.ledger.message(*number).end < self.ledger.trimmed_to;
                    assert!(is_there || may_be_trimmed, "message {number} is acknowledged and not there");
                }
            }
            Err(Error::NoSpace | Error::Poisoned(_)) => {}
            other => {
                let seen = numbers.iter().find(|number| !self.ledger.message(**number).places.is_empty());
                assert!(seen.is_none(), "message {seen:?} is there though {other:?}");
            }
        }
    }
}
