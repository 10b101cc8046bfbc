//! Backups of a broker at work: what is restored from them, and that no damage to one passes.
mod rig;

use std::path::{Path, PathBuf};

use mailrail_broker::limits::BACKUP_CHUNK_BYTES_MAX;
use mailrail_broker::*;
use rig::*;

fn archive(mut backup: Backup) -> Vec<u8> {
    let announced = backup.bytes();
    let mut bytes = Vec::new();
    while let Some(chunk) = backup.next_chunk().unwrap() {
        bytes.extend(chunk);
    }
    assert_eq!(bytes.len() as u64, announced);
    bytes
}

/// A broker with one short message, and its archive.
fn small() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(folder.path());
    let topic = rig.put_topic("t", TopicSettings { queues: 1, ..TopicSettings::default() });
    rig.publish(&topic, b"one");
    let bytes = archive(rig.broker.backup().unwrap());
    rig.stop();
    bytes
}

fn read(mut bytes: &[u8]) -> Result<Contents, ArchiveError> {
    let mut unpacker = Unpacker::default();
    while unpacker.next(&mut bytes)?.is_some() {}
    unpacker.finish()
}

/// Restores bytes as an archive into a new folder; the folder, and what came of it.
fn restored(bytes: &[u8]) -> (tempfile::TempDir, PathBuf, Result<Restored, RestoreError>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.tar");
    std::fs::write(&file, bytes).unwrap();
    let data = folder.path().join("data");
    let outcome = restore(&file, &data);
    (folder, data, outcome)
}

#[test]
fn a_backup_reads_so_many_bytes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), 1_700_000_000_000);
    config.log.segment_bytes = 4 << 20;
    let mut rig = Rig::with(config);
    let topic = rig.put_topic("t", TopicSettings { queues: 1, ..TopicSettings::default() });
    for _ in 0..3 {
        rig.publish(&topic, &vec![b'x'; BACKUP_CHUNK_BYTES_MAX / 2]);
    }
    let mut backup = rig.broker.backup().unwrap();
    let chunks: Vec<usize> =
        std::iter::from_fn(|| backup.next_chunk().unwrap()).map(|chunk| chunk.len()).collect();
    rig.stop();
    // The manifest, the log's only file behind its header, the rest of it, and the end.
    let [_, first, rest, _] = chunks[..] else { panic!("{chunks:?}") };
    assert_eq!(first, 512 + BACKUP_CHUNK_BYTES_MAX);
    assert!(rest > BACKUP_CHUNK_BYTES_MAX / 2, "{chunks:?}");
}

#[test]
fn a_broker_on_a_restored_folder_has_all_that_was_there_when_the_backup_began() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(folder.path());
    let topic = rig.put_topic("t", TopicSettings { queues: 1, ..TopicSettings::default() });
    let body = |number: u32| number.to_string().repeat(700).into_bytes();
    let stored: Vec<_> = (0..40).map(|number| rig.publish(&topic, &body(number))).collect();
    rig.ask(|token| Command::PutGroup { token, name: "g".into(), settings: Some(GroupSettings::at_once()) });
    let receipts = rig.receive("g", "t", 3).iter().map(|delivery| delivery.receipt).collect();
    rig.settle(receipts, Outcome::Ack);
    // Nobody has waited for these settlements to be synced but this.
    assert!(matches!(rig.ask(|token| Command::Sync { token }), Reply::Done));
    let backup = rig.broker.backup().unwrap();
    let last = rig.publish(&topic, b"after the backup began");
    assert!(last.position >= backup.end());
    let bytes = archive(backup);
    rig.stop();

    let (_folder, data, outcome) = restored(&bytes);
    let outcome = outcome.unwrap();
    assert_eq!((outcome.found.messages, outcome.found.log.cut.as_ref()), (40, None));
    assert!(outcome.found.log.segments > 2, "{outcome:?}");
    let mut rig = Rig::open(&data);
    let queue = rig.broker.directory().topic("t").unwrap().queue(0).unwrap();
    let expected: Vec<_> = stored.iter().map(|one| one.offset.unwrap()).zip((0..).map(body)).collect();
    assert_eq!(rig.messages(&queue), expected);
    let Reply::Group(group) =
        rig.ask(|token| Command::GroupState { token, group: "g".into(), topic: "t".into() })
    else {
        panic!("no group");
    };
    assert_eq!((group.queues[0].committed, group.queues[0].lag), (3, 37));
    rig.stop();
}

#[test]
fn on_another_machine_readers_go_on_behind_the_offsets_that_may_have_been_seen() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(folder.path());
    let topic = rig.put_topic("t", TopicSettings { queues: 1, ..TopicSettings::default() });
    // This has offsets reserved.
    let destination = Destination::Topic { topic: topic.id, queue_index: None };
    rig.publish_memory(destination, "t", b"one");
    rig.ask(|token| Command::Sync { token });
    let (_folder, data, outcome) = restored(&archive(rig.broker.backup().unwrap()));
    rig.stop();
    outcome.unwrap();
    let elsewhere = || BrokerConfig { boot: "another machine".into(), ..config(&data, 1_700_000_000_000) };
    // The first start notes the gap, and the second finds it at the end of the queue.
    Rig::with(elsewhere()).stop();
    let mut rig = Rig::with(elsewhere());
    let queue = rig.broker.directory().topic("t").unwrap().queue(0).unwrap();
    assert!(queue.end_offset() > 1);
    // Whoever waits is to wait behind it, and not to ask for what lies in it again and again.
    let batch = rig.read(&queue, 1);
    assert_eq!((batch.entries.len(), batch.next_offset), (0, queue.end_offset()));
    assert_eq!(rig.messages(&queue), [(0, b"one".to_vec())]);
    rig.stop();
    let mut rig = Rig::open(&data);
    let topic = rig.broker.directory().topic("t").unwrap();
    let end = topic.queue(0).unwrap().end_offset();
    assert_eq!(rig.publish(&topic, b"two").offset, Some(end));
    assert_eq!(rig.messages(&topic.queue(0).unwrap()), [(0, b"one".to_vec()), (end, b"two".to_vec())]);
    rig.stop();
}

#[test]
fn any_tar_unpacks_an_archive_into_a_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    tar::Archive::new(&small()[..]).unpack(folder.path()).unwrap();
    let mut rig = Rig::open(folder.path());
    let queue = rig.broker.directory().topic("t").unwrap().queue(0).unwrap();
    assert_eq!(rig.messages(&queue), [(0, b"one".to_vec())]);
    rig.stop();
}

#[test]
fn an_archive_that_ends_anywhere_else_is_no_backup() {
    let bytes = small();
    assert_eq!(read(&bytes).map(|contents| contents.bytes), Ok(bytes.len() as u64));
    let mut unpacker = Unpacker::default();
    for (at, byte) in bytes.iter().enumerate() {
        let error = unpacker.clone().finish().unwrap_err();
        assert_eq!(error.position, at as u64);
        let mut input = std::slice::from_ref(byte);
        while unpacker.next(&mut input).unwrap().is_some() {}
    }
    assert!(unpacker.finish().is_ok());
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(read(&longer).unwrap_err().position, bytes.len() as u64);
}

#[test]
fn every_flipped_bit_is_found() {
    let mut bytes = small();
    for at in 0..bytes.len() {
        let bit = 1 << (at % 8);
        bytes[at] ^= bit;
        assert!(read(&bytes).is_err(), "bit {bit:#x} of byte {at}");
        bytes[at] ^= bit;
    }
    assert!(read(&bytes).is_ok());
}

#[test]
fn what_is_not_whole_leaves_nothing_behind_and_says_where_it_ends() {
    let whole = small();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let later = String::from_utf8_lossy(&whole).replacen("mailrail-backup 1\n", "mailrail-backup 2\n", 1);
    let cases = [
        (Vec::new(), "byte 0: it ends here"),
        (b"no tar".repeat(200), "byte 0: this is not the beginning of a backup"),
        (whole[..whole.len() / 2].to_vec(), "it ends here, and the rest is missing"),
        (whole[..whole.len() - 1].to_vec(), "it ends here, and the rest is missing"),
        (flipped(1024), "byte 1024: a segment of the log should begin here"),
        (flipped(1536 + 4200), "its bytes do not match its checksum"),
        (later.into_bytes()[..1024].to_vec(), "byte 512: a later release made it"),
    ];
    for (bytes, expected) in cases {
        let (folder, data, outcome) = restored(&bytes);
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("backup.tar"), "{error}, not {expected}");
        assert_eq!(error.lines().count(), 1);
        assert!(!data.exists(), "{expected}");
        assert_eq!(files(folder.path()).len(), 1);
    }
}

#[test]
fn what_was_damaged_before_it_was_copied_is_not_restored() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(folder.path());
    let topic = rig.put_topic("t", TopicSettings { queues: 1, ..TopicSettings::default() });
    rig.publish(&topic, b"a body to be found");
    rig.publish(&topic, b"another");
    let segment = folder.path().join("log").join(format!("{:020}.seg", 0));
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(6).position(|bytes| bytes == b"a body").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (_folder, data, outcome) = restored(&archive(rig.broker.backup().unwrap()));
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("is damaged") && error.contains("at log position"), "{error}");
    assert!(!data.exists());
    rig.stop();
}

#[test]
fn only_an_empty_folder_is_restored_into() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.tar");
    std::fs::write(&file, small()).unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir_all(data.join("store")).unwrap();
    let error = restore(&file, &data).unwrap_err().to_string();
    assert!(error.contains("is not empty, it holds store"), "{error}");
    assert_eq!(files(&data).len(), 0);
    std::fs::remove_dir(data.join("store")).unwrap();

    // What an interrupted restore left is no data.
    std::fs::create_dir_all(data.join("restoring/log")).unwrap();
    std::fs::write(data.join("restoring/log/00000000000000000000.seg"), b"half").unwrap();
    restore(&file, &data).unwrap();
    assert!(!data.join("restoring").exists());
    let broker = Rig::open(&data);
    assert!(restore(&file, &data).unwrap_err().to_string().contains("is not empty"));
    broker.stop();
}

#[test]
fn names_that_lead_elsewhere_are_not_followed() {
    let whole = small();
    for name in ["log/../../x.seg", "/tmp/00000000000000000000.seg", "log/00000000000000000000.seg/x"] {
        let mut header = tar::Header::from_byte_slice(&whole[1024..1536]).clone();
        let place = &mut header.as_mut_bytes()[..100];
        place.fill(0);
        place[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        let bytes = [&whole[..1024], header.as_bytes(), &whole[1536..]].concat();
        let (folder, data, outcome) = restored(&bytes);
        assert!(outcome.unwrap_err().to_string().contains("byte 1024"), "{name}");
        assert!(!data.exists() && !Path::new("/tmp/00000000000000000000.seg").exists());
        assert_eq!(files(folder.path()).len(), 1);
    }
}
