//! Reading through a filter: what is found, and how far one read goes without finding anything.

use super::*;
use crate::limits::*;

/// A topic `t` with one queue, and messages with these properties in it.
fn scene(messages: &[(&str, &[(&str, &str)])]) -> Simulation {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    for (body, pairs) in messages {
        let mut batch = PublishBatch::default();
        let mut properties = Vec::new();
        for (key, value) in *pairs {
            property::push(&mut properties, key, value);
        }
        let hash = property::Properties::new(&properties).get(property::TAGS).map_or(0, tag_hash);
        let draft = Draft { properties: &properties, ..draft("t", body) };
        let destination = Destination::Topic { topic: topic.id, queue_index: None };
        batch.push(&draft, destination, hash, Durability::Disk).unwrap();
        assert!(sim.send(&client, batch).iter().all(Result::is_ok));
    }
    sim
}

impl Simulation {
    /// One read from the files; memory must give the same where it has the entries.
    fn read_filtered(&self, filter: &Filter, offset: u64, max_entries: usize, max_bytes: usize) -> ReadBatch {
        let queue = self.topic("t").queue(0).unwrap();
        let request = ReadRequest { queue, offset, max_entries, max_bytes, filter: filter.clone() };
        let batch = self.context.read(&request, self.now.wall_ms).unwrap();
        if let Some(from_memory) = reader::read_in_memory(&self.context.log, &request, self.now.wall_ms) {
            assert_eq!(offsets(&from_memory), offsets(&batch));
            assert_eq!(from_memory.next_offset, batch.next_offset);
        }
        batch
    }
}

fn offsets(batch: &ReadBatch) -> Vec<u64> {
    batch.entries.iter().map(|entry| entry.offset).collect()
}

fn sql(text: &str) -> Filter {
    Filter::all().and_sql(text, Dialect::Rocketmq).unwrap()
}

#[test]
fn only_what_passes_is_read_and_the_rest_is_passed_over() {
    let sim = scene(&[
        ("0", &[("TAGS", "Aa"), ("n", "1")]),
        ("1", &[("TAGS", "BB"), ("n", "2")]),
        ("2", &[("n", "3")]),
        ("3", &[("TAGS", "Aa"), ("n", "4")]),
        ("4", &[("TAGS", "x"), ("n", "none")]),
    ]);
    let (queue, filter) = (sim.topic("t").queue(0).unwrap(), sql("n > 3"));
    let request = ReadRequest { queue, offset: 0, max_entries: 9, max_bytes: 1 << 20, filter };
    let from_memory = reader::read_in_memory(&sim.context.log, &request, sim.now.wall_ms).unwrap();
    assert_eq!((offsets(&from_memory), from_memory.next_offset), (vec![3], 5));
    for (filter, expected) in [
        (Filter::all(), &[0, 1, 2, 3, 4][..]),
        (Filter::tags("Aa").unwrap(), &[0, 3]),
        (sql("n > 1"), &[1, 2, 3]),
        (sql("TAGS IS NULL OR n = 'none'"), &[2, 4]),
        (Filter::tags("Aa || x").unwrap().and_sql("n <> '1'", Dialect::Rocketmq).unwrap(), &[3, 4]),
        (sql("n > 9"), &[]),
    ] {
        let batch = sim.read_filtered(&filter, 0, 100, 1 << 20);
        assert_eq!((offsets(&batch), batch.next_offset), (expected.to_vec(), 5), "{filter}");
        let mut one_by_one = Vec::new();
        let mut offset = 0;
        while offset < 5 {
            let batch = sim.read_filtered(&filter, offset, 1, 1 << 20);
            one_by_one.extend(offsets(&batch));
            offset = batch.next_offset;
        }
        assert_eq!(one_by_one, expected, "{filter}");
    }
}

#[test]
fn a_read_passes_over_no_more_entries_than_its_limit() {
    let (plain, found) = (("", &[("n", "1")][..]), ("found", &[("n", "2"), ("TAGS", "x")][..]));
    let messages: Vec<_> = std::iter::repeat_n(plain, 2 * FILTERED_ENTRIES_MAX).chain([found]).collect();
    let sim = scene(&messages);
    let limit = FILTERED_ENTRIES_MAX as u64;
    for filter in [sql("n > 1"), Filter::tags("x").unwrap()] {
        let (mut offset, mut reads) = (0, 0);
        while offset <= 2 * limit {
            let batch = sim.read_filtered(&filter, offset, 1, 1);
            assert!((1..=limit).contains(&(batch.next_offset - offset)), "{filter}: {offset}");
            let expected = if batch.next_offset > 2 * limit { vec![2 * limit] } else { Vec::new() };
            assert_eq!(offsets(&batch), expected, "{filter}");
            (offset, reads) = (batch.next_offset, reads + 1);
        }
        assert!(reads > 2, "{filter}: {reads}");
    }
}
