//! The offline checker: what producers' journals say was acknowledged, against what consumers' journals say is there.
//!
//! Reads files only, so a run can be judged again later. `drivers/README.md` gives the form of the lines.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;

use crate::Failure;

/// How many examples of each fault a report names.
const EXAMPLES_MAX: usize = 5;

/// What became of one message that a producer sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Sent {
    crc: String,
    acked: Option<Acked>,
    received: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Acked {
    level: String,
    time_ms: u64,
    /// Queue and offset, where the protocol tells.
    place: Option<(u32, u64)>,
}

/// Totals of a check, and examples of what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub sent: u64,
    pub acked: u64,
    /// Sent, never acknowledged, and there all the same: allowed.
    pub unacked_there: u64,
    pub received: u64,
    /// Acknowledged and not there.
    pub lost: u64,
    /// There and never sent, or with another body.
    pub phantom: u64,
    /// There more than once.
    pub duplicate: u64,
    /// There, but not where the acknowledgement said.
    pub moved: u64,
    /// Offsets missing between a queue's first and last, or not starting at 0.
    pub gaps: u64,
    pub examples: Vec<String>,
}

impl Report {
    /// Nothing lost, nothing invented, nothing twice, nothing moved, no gap.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.phantom == 0 && self.duplicate == 0 && self.moved == 0 && self.gaps == 0
    }

    /// Adds the numbers of another check.
    pub fn add(&mut self, other: &Report) {
        self.sent += other.sent;
        self.acked += other.acked;
        self.unacked_there += other.unacked_there;
        self.received += other.received;
        self.lost += other.lost;
        self.phantom += other.phantom;
        self.duplicate += other.duplicate;
        self.moved += other.moved;
        self.gaps += other.gaps;
        self.examples.extend(other.examples.iter().cloned());
    }

    fn example(&mut self, count: u64, text: impl FnOnce() -> String) {
        if count <= EXAMPLES_MAX as u64 {
            self.examples.push(text());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {}, acknowledged {}, there {} ({} of them unacknowledged): lost {}, phantom {}, duplicate {}, moved {}, gaps {}",
            self.sent,
            self.acked,
            self.received,
            self.unacked_there,
            self.lost,
            self.phantom,
            self.duplicate,
            self.moved,
            self.gaps
        )?;
        for example in &self.examples {
            write!(f, "\n  {example}")?;
        }
        Ok(())
    }
}

/// Checks one topic: everything that was sent to it, against one reading of all of it.
pub fn check_files(producers: &[&Path], consumer: &Path) -> Result<Report, Failure> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(Failure::io(format!("reading {}", path.display())))
    };
    let mut sent = HashMap::new();
    let mut report = Report::default();
    for path in producers {
        take_producer(&read(path)?, &mut sent, &mut report).map_err(|line| bad_line(path, &line))?;
    }
    take_consumer(&read(consumer)?, &mut sent, &mut report).map_err(|line| bad_line(consumer, &line))?;
    conclude(&sent, &mut report);
    Ok(report)
}

/// What a kill met of one producer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Sent by then, and neither acknowledged nor failed by then.
    pub open: u64,
    /// Of these, never acknowledged: what the kill cut off.
    pub cut_off: u64,
}

/// What of a producer's journal was in flight at `time_ms`. A whole window may be acknowledged at once while the kill is on its
/// way, so all that was open can turn out not to have been cut off.
pub fn in_flight_at(producer: &Path, time_ms: u64) -> Result<InFlight, Failure> {
    let text =
        std::fs::read_to_string(producer).map_err(Failure::io(format!("reading {}", producer.display())))?;
    let is_by = |time: &str| time.parse::<u64>().is_ok_and(|ms| ms <= time_ms);
    let mut open: HashSet<&str> = HashSet::new();
    let mut answered_later: HashSet<&str> = HashSet::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields.as_slice() {
            ["S", id, _, time] if is_by(time) => open.insert(id),
            ["A", id, _, time, ..] | ["F", id, time, ..] if is_by(time) => open.remove(id),
            ["A", id, ..] => answered_later.insert(id),
            _ => continue,
        };
    }
    let cut_off = open.difference(&answered_later).count();
    Ok(InFlight { open: open.len() as u64, cut_off: cut_off as u64 })
}

fn bad_line(path: &Path, line: &str) -> Failure {
    Failure::Program {
        program: path.display().to_string(),
        text: format!("not a line of a journal: {line:?}"),
    }
}

fn take_producer(text: &str, sent: &mut HashMap<String, Sent>, report: &mut Report) -> Result<(), String> {
    for line in text.lines() {
        let bad = || line.to_owned();
        let fields: Vec<&str> = line.split(' ').collect();
        match fields.as_slice() {
            ["S", id, crc, _time] => {
                sent.insert((*id).to_owned(), Sent { crc: (*crc).to_owned(), ..Sent::default() });
                report.sent += 1;
            }
            ["A", id, level, time, queue, offset] => {
                let place = queue.parse().ok().zip(offset.parse().ok());
                let time_ms = time.parse().map_err(|_| bad())?;
                let acked = Acked { level: (*level).to_owned(), time_ms, place };
                sent.get_mut(*id).ok_or_else(bad)?.acked = Some(acked);
                report.acked += 1;
            }
            ["F", id, _time, ..] if sent.contains_key(*id) => {}
            _ => return Err(bad()),
        }
    }
    Ok(())
}

fn take_consumer(text: &str, sent: &mut HashMap<String, Sent>, report: &mut Report) -> Result<(), String> {
    let mut offsets: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for line in text.lines() {
        let bad = || line.to_owned();
        let fields: Vec<&str> = line.split(' ').collect();
        let ["R", queue, offset, id, crc, _attempt, _time] = fields.as_slice() else {
            return Err(bad());
        };
        report.received += 1;
        let place: Option<(u32, u64)> = queue.parse().ok().zip(offset.parse().ok());
        if let Some((queue, offset)) = place {
            offsets.entry(queue).or_default().push(offset);
        }
        match sent.get_mut(*id) {
            Some(message) if message.crc == *crc => take_arrival(message, id, place, report),
            _ => {
                report.phantom += 1;
                report.example(report.phantom, || format!("phantom: {line}"));
            }
        }
    }
    for (queue, mut found) in offsets {
        found.sort_unstable();
        count_gaps(queue, &found, report);
    }
    Ok(())
}

fn take_arrival(message: &mut Sent, id: &str, place: Option<(u32, u64)>, report: &mut Report) {
    message.received += 1;
    if message.received > 1 {
        report.duplicate += 1;
        report.example(report.duplicate, || format!("duplicate: {id} at {place:?}"));
    }
    match &message.acked {
        None => report.unacked_there += 1,
        Some(acked) => {
            let told = acked.place;
            if told.is_some() && place.is_some() && told != place {
                report.moved += 1;
                report.example(report.moved, || {
                    format!("moved: {id} was acknowledged at {told:?} and is at {place:?}")
                });
            }
        }
    }
}

/// `found` is sorted; a repeated offset names two messages and counts as a gap in the numbering.
fn count_gaps(queue: u32, found: &[u64], report: &mut Report) {
    for (expected, &offset) in (0_u64..).zip(found) {
        if offset != expected {
            report.gaps += 1;
            report.example(report.gaps, || {
                format!("gap: queue {queue} has offset {offset} where {expected} was due")
            });
            return;
        }
    }
}

fn conclude(sent: &HashMap<String, Sent>, report: &mut Report) {
    for (id, message) in sent {
        if let (Some(acked), 0) = (&message.acked, message.received) {
            report.lost += 1;
            report.example(report.lost, || {
                format!(
                    "lost: {id}, acknowledged ({}) at {} ms as {:?}",
                    acked.level, acked.time_ms, acked.place
                )
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks journals given as text.
    fn check(producer: &str, consumer: &str) -> Report {
        let mut sent = HashMap::new();
        let mut report = Report::default();
        take_producer(producer, &mut sent, &mut report).expect("producer's lines are good");
        take_consumer(consumer, &mut sent, &mut report).expect("consumer's lines are good");
        conclude(&sent, &mut report);
        report
    }

    const SENT: &str = "S a-1 11111111 5\nS a-2 22222222 6\nS a-3 33333333 7\nA a-1 disk 8 0 0\nA a-2 disk 9 1 0\nF a-3 10 gone";

    #[test]
    fn a_complete_reading_is_clean_with_or_without_the_unacknowledged_message() {
        let without = check(SENT, "R 0 0 a-1 11111111 1 20\nR 1 0 a-2 22222222 1 21");
        assert!(without.is_clean(), "{without}");
        assert_eq!((without.sent, without.acked, without.unacked_there), (3, 2, 0));
        let with = check(SENT, "R 0 0 a-1 11111111 1 20\nR 1 0 a-2 22222222 1 21\nR 0 1 a-3 33333333 1 22");
        assert!(with.is_clean(), "{with}");
        assert_eq!(with.unacked_there, 1);
    }

    #[test]
    fn every_fault_is_found() {
        let cases = [
            ("lost", "R 0 0 a-1 11111111 1 20"),
            ("phantom body", "R 0 0 a-1 11111111 1 20\nR 1 0 a-2 99999999 1 21"),
            ("phantom id", "R 0 0 a-1 11111111 1 20\nR 1 0 a-2 22222222 1 21\nR 1 1 b-1 22222222 1 21"),
            ("duplicate", "R 0 0 a-1 11111111 1 20\nR 1 0 a-2 22222222 1 21\nR 0 1 a-1 11111111 1 22"),
            ("moved", "R 0 0 a-1 11111111 1 20\nR 0 1 a-2 22222222 1 21"),
            ("gap", "R 0 0 a-1 11111111 1 20\nR 1 0 a-2 22222222 1 21\nR 0 2 a-3 33333333 1 22"),
        ];
        for (fault, consumer) in cases {
            let report = check(SENT, consumer);
            let found = match fault {
                "lost" => report.lost,
                "duplicate" => report.duplicate,
                "moved" => report.moved,
                "gap" => report.gaps,
                _ => report.phantom,
            };
            assert_eq!(found, 1, "{fault}: {report}");
            assert!(!report.is_clean());
            assert!(!report.examples.is_empty());
        }
    }

    #[test]
    fn in_flight_is_what_had_no_answer_yet_and_cut_off_what_never_got_a_good_one() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), SENT).expect("a temporary file takes text");
        for (time_ms, open, cut_off) in
            [(4, 0, 0), (6, 2, 0), (7, 3, 1), (8, 2, 1), (9, 1, 1), (10, 0, 0), (11, 0, 0)]
        {
            let found = in_flight_at(file.path(), time_ms).expect("a good journal");
            assert_eq!(found, InFlight { open, cut_off }, "at {time_ms} ms");
        }
    }

    #[test]
    fn a_line_that_is_none_is_an_error_and_not_skipped() {
        let mut sent = HashMap::new();
        assert!(take_producer("S a-1 11111111", &mut sent, &mut Report::default()).is_err());
        assert!(take_producer("A a-9 disk 5 0 0", &mut sent, &mut Report::default()).is_err());
        assert!(take_consumer("R 0 0 a-1", &mut sent, &mut Report::default()).is_err());
    }
}
