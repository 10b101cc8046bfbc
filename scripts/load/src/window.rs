//! Which requests are in flight and when they began: by slot for protocols that answer out of order (`Slots`), by
//! sequence number for those that may acknowledge many at once (`Sequence`). Both have a fixed size and never allocate
//! after `new`.

/// Requests named by a number that the server echoes.
pub struct Slots {
    free: Vec<u32>,
    /// Per slot: the number in flight there, and when it began.
    flying: Vec<Option<(u32, u64)>>,
    turn: u32,
    first: u32,
    last: u32,
}

impl Slots {
    /// Numbers run from `first` to `last` at most, so that they always take the same number of digits.
    pub fn new(window: usize, first: u32, last: u32) -> Self {
        let count = u32::try_from(window).unwrap_or(u32::MAX).min(last - first);
        Self { free: (0..count).rev().collect(), flying: vec![None; count as usize], turn: 0, first, last }
    }

    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    pub fn in_flight(&self) -> usize {
        self.flying.len() - self.free.len()
    }

    /// The number of a request that begins now; `None` when the window is full.
    pub fn take(&mut self, started_ns: u64) -> Option<u32> {
        let slot = self.free.pop()?;
        let stride = self.flying.len() as u32;
        let turns = (self.last - self.first) / stride;
        let number = self.first + slot + stride * (self.turn % turns);
        self.turn = (self.turn + 1) % turns;
        self.flying[slot as usize] = Some((number, started_ns));
        Some(number)
    }

    /// When the request with this number began; `None` when no such request is in flight.
    pub fn give_back(&mut self, number: u32) -> Option<u64> {
        let slot = number.checked_sub(self.first)? % self.flying.len() as u32;
        let (_, started_ns) = self.flying[slot as usize].take_if(|(expected, _)| *expected == number)?;
        self.free.push(slot);
        Some(started_ns)
    }
}

/// Requests numbered 1, 2, 3 ... that may be acknowledged one by one, in any order, or all up to a number.
pub struct Sequence {
    /// Ring by number: when a request still in flight began.
    started: Vec<Option<u64>>,
    oldest: u64,
    next: u64,
    in_flight: usize,
    window: usize,
}

impl Sequence {
    pub fn new(window: usize) -> Self {
        // Twice the window, so that one late answer does not at once hold up the others.
        Self {
            started: vec![None; (window * 2).next_power_of_two()],
            oldest: 1,
            next: 1,
            in_flight: 0,
            window,
        }
    }

    pub fn has_room(&self) -> bool {
        self.in_flight < self.window && self.next - self.oldest < self.started.len() as u64
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub fn begin(&mut self, started_ns: u64) {
        let place = self.place(self.next);
        self.started[place] = Some(started_ns);
        self.next += 1;
        self.in_flight += 1;
    }

    /// Ends `number`, or everything up to it; false when nothing of that was in flight.
    pub fn end(&mut self, number: u64, multiple: bool, mut each: impl FnMut(u64)) -> bool {
        if number < self.oldest || number >= self.next {
            return false;
        }
        let first = if multiple { self.oldest } else { number };
        let mut found = false;
        for ended in first..=number {
            let place = self.place(ended);
            if let Some(started_ns) = self.started[place].take() {
                self.in_flight -= 1;
                found = true;
                each(started_ns);
            }
        }
        while self.oldest < self.next && self.started[self.place(self.oldest)].is_none() {
            self.oldest += 1;
        }
        found
    }

    fn place(&self, number: u64) -> usize {
        (number & (self.started.len() as u64 - 1)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_hand_out_distinct_numbers_of_one_width_and_know_them_again() {
        let mut slots = Slots::new(4, 1_000_000, 1_000_019);
        let mut flying = Vec::new();
        for round in 0..50 {
            while slots.has_room() {
                flying.push((slots.take(round).expect("there is room"), round));
            }
            assert_eq!((flying.len(), slots.in_flight()), (4, 4));
            let (number, started_ns) = flying.remove((round % 4) as usize);
            assert!((1_000_000..1_000_020).contains(&number));
            assert!(flying.iter().all(|(other, _)| *other != number));
            assert_eq!(slots.give_back(number), Some(started_ns));
            assert_eq!(slots.give_back(number), None, "an answer counts once");
        }
        assert_eq!(slots.give_back(7), None);
    }

    #[test]
    fn a_sequence_ends_one_by_one_out_of_order_or_many_at_once() {
        let mut sequence = Sequence::new(4);
        for started_ns in 0..4 {
            assert!(sequence.has_room());
            sequence.begin(started_ns);
        }
        assert!(!sequence.has_room());
        let mut ended = Vec::new();
        assert!(sequence.end(3, false, |started_ns| ended.push(started_ns)));
        assert!(sequence.end(4, true, |started_ns| ended.push(started_ns)));
        assert_eq!((ended, sequence.in_flight()), (vec![2, 0, 1, 3], 0));
        assert!(!sequence.end(4, false, |_| {}), "an answer counts once");
        assert!(!sequence.end(5, true, |_| {}), "5 was never sent");
    }

    #[test]
    fn a_late_answer_never_lets_the_ring_overwrite_it() {
        let mut sequence = Sequence::new(2);
        sequence.begin(7);
        let mut number = 1;
        while sequence.has_room() {
            sequence.begin(8);
            number += 1;
            assert!(sequence.end(number, false, |_| {}));
        }
        let mut ended = Vec::new();
        assert!(sequence.end(1, false, |started_ns| ended.push(started_ns)));
        assert_eq!(ended, [7]);
        assert!(sequence.has_room());
    }
}
