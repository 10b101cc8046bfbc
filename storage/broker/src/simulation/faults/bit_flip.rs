//! Fault 4. A bit flips anywhere in what was synced: the start reports it, or whoever reads that body gets an error while
//! others read on. It is never passed over, and nothing is cut off before it.

use super::*;

/// A log with a checkpoint amid its messages, all synced.
fn stored() -> (Simulation, usize) {
    let (disk, store) = (FaultDisk::new(7), Arc::new(MemoryStore::default()));
    let mut sim = open(disk, store, "boot-1", start()).unwrap();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    for number in 0..12 {
        sim.publish(&client, &topic, &[&format!("message {number}")]);
    }
    sim.checkpoint();
    let checkpoint = sim.shard.log_end() as usize;
    sim.publish(&client, &topic, &["behind the checkpoint"]);
    // The next start knows that all of it is synced.
    let sim = open(sim.disk.power_cut(Loss::All), sim.store.clone(), "boot-2", sim.now).unwrap();
    (sim, checkpoint)
}

#[test]
fn a_flipped_bit_is_reported_by_the_start_or_to_its_reader() {
    let (sim, checkpoint) = stored();
    let expected = sim.read("t", 0, 0);
    let path = PathBuf::from(format!("/data/log/{:020}.seg", 0));
    let (mut at_start, mut at_read, mut harmless) = (0, 0, 0);
    for at in 4_096..sim.found.end as usize {
        let disk = sim.disk.fork().power_cut(Loss::All);
        disk.tamper(&path, |bytes| bytes[at] ^= 1 << (at % 8));
        // One start walks all of the log, one only what lies behind the checkpoint.
        let scratch: Arc<dyn Store> = Arc::new(MemoryStore::default());
        assert!(open(disk.fork(), scratch, "boot-3", sim.now).is_err(), "byte {at}");
        let Ok(found) = open(disk, sim.store.clone(), "boot-3", sim.now) else {
            at_start += 1;
            continue;
        };
        assert!(at < checkpoint, "byte {at} lies where every start looks");
        let queue = found.topic("t").queue(0).unwrap();
        let wrong = expected.iter().filter(|(offset, text)| {
            let message = found.context.entry(&queue, *offset);
            message.is_ok_and(|message| message.is_none_or(|message| body(&message) != *text))
        });
        assert_eq!(wrong.count(), 0, "byte {at} is passed over");
        let errors = expected.iter().filter(|(offset, _)| found.context.entry(&queue, *offset).is_err());
        match errors.count() {
            0 => harmless += 1,
            1 => at_read += 1,
            more => panic!("byte {at}: {more} messages are lost with one"),
        }
    }
    assert!(at_start > 100 && at_read > 100, "{at_start} {at_read}");
    println!("{at_start} found by the start, {at_read} by the reader, {harmless} in no body; 0 passed over");
}

#[test]
fn what_lies_before_a_damaged_message_can_still_be_read() {
    let (sim, _) = stored();
    let queue = sim.topic("t").queue(0).unwrap();
    let entries = queue.entries(0, 20, &sim.context.blocks).unwrap();
    let path = PathBuf::from(format!("/data/log/{:020}.seg", 0));
    let text = b"message 5";
    let disk = sim.disk.fork().power_cut(Loss::All);
    disk.tamper(&path, |bytes| {
        let from = entries[5].position as usize;
        let at = bytes[from..].windows(text.len()).position(|window| window == text).unwrap();
        bytes[from + at] ^= 1;
    });
    let found = open(disk, sim.store.clone(), "boot-3", sim.now).unwrap();
    let queue = found.topic("t").queue(0).unwrap();
    let request = |offset| ReadRequest {
        queue: queue.clone(),
        offset,
        max_entries: 20,
        max_bytes: 1 << 20,
        tags: None,
    };
    let before = found.context.read(&request(0)).unwrap();
    assert_eq!((before.entries.len(), before.next_offset), (5, 5));
    assert!(matches!(found.context.read(&request(5)), Err(Error::Read(_))));
    assert!(matches!(found.context.read_position(entries[5].position), Err(Error::Read(_))));
    assert_eq!(found.context.read(&request(6)).unwrap().entries.len(), entries.len() - 6);
}
