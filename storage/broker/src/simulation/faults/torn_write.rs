//! Fault 3. The last write is cut at every byte, or a later page of it is there and an earlier one not: a start cuts at the
//! first bad checksum and never into what was synced, and zeros are never entries.

use super::*;

#[test]
fn a_last_write_torn_at_any_byte_takes_only_what_it_held() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut sim = open(FaultDisk::new(7), store, "boot-1", start()).unwrap();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.publish(&client, &topic, &["synced"]);
    let synced = sim.shard.log_end() as usize;
    sim.syncing = false;
    sim.publish(&client, &topic, &["torn", "with it"]);
    let end = sim.shard.log_end() as usize;
    let path = PathBuf::from(format!("/data/log/{:020}.seg", 0));
    for cut in synced..end {
        let disk = sim.disk.fork().power_cut(Loss::Nothing);
        // Bytes that are not zero, so that each of them counts.
        disk.tamper(&path, |bytes| bytes[cut..end].iter_mut().for_each(|byte| *byte ^= 0xFF));
        let zeroed = sim.disk.fork().power_cut(Loss::Nothing);
        zeroed.tamper(&path, |bytes| bytes[synced..=cut].fill(0));
        for disk in [disk, zeroed] {
            let found = open(disk, Arc::new(MemoryStore::default()), "boot-2", sim.now).unwrap();
            assert_eq!(found.read("t", 0, 0), [(0, "synced".to_owned())], "cut at {cut}");
        }
    }
    println!("{} torn writes, 0 lost", 2 * (end - synced));
}

#[test]
fn torn_and_reordered_pages_lose_nothing_that_was_acknowledged_at_disk() {
    const TEARS: Course = Course {
        operations: 300,
        faults: &[Fault::PowerCutTorn, Fault::PowerCutPages, Fault::FlipUnsynced, Fault::ShortWrites],
        times: 8,
    };
    survive(&TEARS, if is_long() { 20 } else { 1 });
}
