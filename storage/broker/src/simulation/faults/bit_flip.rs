//! Fault 4. A bit flips anywhere in what was synced: the start reports it, or whoever reads that body gets an error while
//! others read on. It is never passed over, and nothing is cut off before it.

use super::*;
use crate::limits::DAMAGED_RETRY_MS_MAX;

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
        filter: Filter::all(),
    };
    let before = found.context.read(&request(0), found.now.wall_ms).unwrap();
    assert_eq!((before.entries.len(), before.next_offset), (5, 5));
    assert!(matches!(found.context.read(&request(5), found.now.wall_ms), Err(Error::Damaged(_))));
    assert!(matches!(found.context.read_position(entries[5].position), Err(Error::Damaged(_))));
    assert_eq!(found.context.read(&request(6), found.now.wall_ms).unwrap().entries.len(), entries.len() - 6);
}

/// The stored log with a flipped bit in the message of this text, opened again with a group on its topic.
fn damaged(text: &[u8], settings: GroupSettings) -> (Simulation, Client) {
    let (sim, _) = stored();
    let queue = sim.topic("t").queue(0).unwrap();
    let path = PathBuf::from(format!("/data/log/{:020}.seg", 0));
    let disk = sim.disk.fork().power_cut(Loss::All);
    let position = queue.entries(5, 1, &sim.context.blocks).unwrap()[0].position as usize;
    disk.tamper(&path, |bytes| {
        let at = bytes[position..].windows(text.len()).position(|window| window == text).unwrap();
        bytes[position + at] ^= 1;
    });
    // Dead letters need longer segments.
    let mut sim = Simulation::on(disk, sim.store.clone(), "boot-3", sim.now);
    let client = sim.connect();
    sim.make_group(&client, "g", settings);
    (sim, client)
}

/// Receives at once whatever there is, and acknowledges it; also how many were damaged.
fn consume(sim: &mut Simulation, client: &Client) -> (Vec<String>, usize) {
    let token = client.token();
    let (group, topic) = ("g".into(), "t".into());
    sim.tell(
        client,
        Command::Receive { token, group, topic, max: 32, wait_ms: 0, lease_ms: 60_000, filter: None },
    );
    match client.mailbox.take_letters().pop() {
        Some(Letter::Granted { grants, .. }) => {
            let mut fetched = sim.context.fetch(grants, crate::limits::FETCH_BYTES_MAX);
            let damaged = fetched.damaged.len();
            fetched.take_news().into_iter().for_each(|news| sim.input(news));
            sim.settle(client, &fetched.deliveries, Outcome::Ack);
            (bodies(&fetched.deliveries), damaged)
        }
        Some(Letter::Event(Event::Deliveries { deliveries, .. })) => (bodies(&deliveries), 0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_message_waits_ever_longer_and_keeps_nobody_up() {
    let (mut sim, client) = damaged(b"message 5", GroupSettings::at_once());
    let (got, damaged) = consume(&mut sim, &client);
    assert_eq!((got.len(), damaged), (12, 1), "{got:?}");
    // Somebody asks each second, and then each minute for a day.
    let mut met = Vec::new();
    let mut second = 0;
    while second < 86_400 {
        let step = if second < 40 { 1 } else { 60 };
        second += step;
        sim.pass_ms(step * 1_000);
        if consume(&mut sim, &client).1 > 0 {
            met.push(second);
        }
    }
    assert!(met.starts_with(&[1, 3, 7, 15, 31]), "{met:?}");
    assert!(
        met.len() < 12 + 24
            && met.windows(2).all(|pair| pair[1] - pair[0] <= DAMAGED_RETRY_MS_MAX / 1_000 + 60),
        "{met:?}"
    );
    // It is neither lost nor forgotten: a start on a whole file delivers it.
    let Reply::Group(view) = sim
        .ask(&client, |token| Command::GroupState { token, group: "g".into(), topic: "t".into() })
        .unwrap()
    else {
        panic!()
    };
    assert_eq!(view.queues[0].committed, 5);
    let path = PathBuf::from(format!("/data/log/{:020}.seg", 0));
    let disk = sim.disk.power_cut(Loss::Nothing);
    disk.tamper(&path, |bytes| {
        let at = bytes.windows(9).position(|window| window == b"lessage 5").unwrap();
        bytes[at] ^= 1;
    });
    let mut sim = open(disk, sim.store.clone(), "boot-4", sim.now).unwrap();
    let client = sim.connect();
    sim.pass_ms(DAMAGED_RETRY_MS_MAX);
    assert_eq!(consume(&mut sim, &client), (vec!["message 5".to_owned()], 0));
}

#[test]
fn a_damaged_message_goes_to_the_dead_letters_as_such_after_its_attempts() {
    let settings = GroupSettings {
        attempts_max: Some(3),
        backoff_ms: vec![10_000],
        dead_letter: Some("dead".to_owned()),
        ..GroupSettings::at_once()
    };
    let (mut sim, client) = damaged(b"message 5", settings);
    let mut times = 0;
    for _ in 0..10 {
        times += consume(&mut sim, &client).1;
        sim.pass_ms(9_999);
        assert_eq!(consume(&mut sim, &client).1, 0, "the group's own wait is kept");
        sim.pass_ms(1);
    }
    assert_eq!(times, 4);
    let queue = sim.topic("dead").queue(0).unwrap();
    let dead = sim.context.entry(&queue, 0).unwrap().unwrap();
    assert_eq!((body(&dead), queue.end_offset()), ("lessage 5".to_owned(), 1));
    assert_eq!(property_of(&dead, property::DAMAGED).as_deref(), Some("offset 5 of queue 0"));
    assert_eq!(property_of(&dead, property::DLQ_ORIGIN_TOPIC).as_deref(), Some("t"));
}

#[test]
fn a_damaged_message_of_which_nothing_can_be_read_is_given_up_after_its_attempts_too() {
    let settings = GroupSettings {
        attempts_max: Some(1),
        backoff_ms: Vec::new(),
        dead_letter: Some("dead".to_owned()),
        ..GroupSettings::at_once()
    };
    let magic = mailrail_message::MAGIC_V1.to_be_bytes();
    let (mut sim, client) = damaged(&magic, settings);
    for _ in 0..3 {
        consume(&mut sim, &client);
        sim.pass_ms(10_000);
    }
    assert!(sim.shard.directory().topic("dead").is_none_or(|dead| dead.queue(0).unwrap().end_offset() == 0));
    assert_eq!(consume(&mut sim, &client), (Vec::new(), 0));
    let queue = sim.topic("t").queue(0).unwrap();
    assert!(matches!(sim.context.entry(&queue, 5), Err(Error::Damaged(_))), "it is still in its topic");
}
