//! Repairs of a stopped broker's data folder: whatever became of the store, all that the log has is there again.
mod rig;

use std::path::Path;

use mailrail_broker::*;
use mailrail_commitlog::LogConfig;
use rig::*;

const WALL_MS: u64 = 1_700_000_000_000;

/// A stopped broker with topics, a group with a position, and an exchange.
fn furnished() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(folder.path());
    let topic = rig.put_topic("t", TopicSettings { queues: 2, ..TopicSettings::default() });
    for number in 0..40u8 {
        rig.publish(&topic, &[number; 900]);
    }
    rig.ask(|token| Command::PutGroup { token, name: "g".into(), settings: Some(GroupSettings::at_once()) });
    let receipts = rig.receive("g", "t", 3).iter().map(|delivery| delivery.receipt).collect();
    rig.settle(receipts, Outcome::Ack);
    rig.stop();
    folder
}

/// All that a broker on the folder shows.
fn shown(data: &Path) -> (Vec<(u64, Vec<u8>)>, GroupView) {
    let mut rig = Rig::open(data);
    let queue = rig.broker.directory().topic("t").unwrap().queue(0).unwrap();
    let messages = rig.messages(&queue);
    let reply = rig.ask(|token| Command::GroupState { token, group: "g".into(), topic: "t".into() });
    let Reply::Group(group) = reply else { panic!("{reply:?}") };
    rig.stop();
    (messages, group)
}

fn store_files(data: &Path) -> Vec<std::path::PathBuf> {
    files(&data.join("store")).into_keys().collect()
}

#[test]
fn whatever_became_of_the_store_everything_is_there_again() {
    let folder = furnished();
    let damages: [fn(&Path); 4] = [
        |_| {},
        |data| std::fs::remove_dir_all(data.join("store")).unwrap(),
        |data| {
            for path in store_files(data) {
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(&path, bytes.iter().map(|byte| byte ^ 0x5a).collect::<Vec<_>>()).unwrap();
            }
        },
        |data| {
            for path in store_files(data) {
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            }
        },
    ];
    let expected = shown(folder.path());
    assert_eq!((expected.0.len(), expected.1.queues[0].committed), (40, 3));
    for (number, damage) in damages.iter().enumerate() {
        let copied = tempfile::tempdir().unwrap();
        copy(folder.path(), copied.path());
        damage(copied.path());
        let before = files(copied.path());
        let report = repair(config(copied.path(), WALL_MS)).unwrap();
        assert_eq!((report.topics, report.queues, report.groups), (1, 2, 1), "{number}");
        assert_eq!((report.found.messages, report.left_over.len()), (40, 0), "{number}");
        assert_eq!(report.set_aside.is_none(), number == 1, "{number}");
        // What was there is kept as it was.
        for (path, bytes) in before {
            if let (Some(to), Ok(rest)) = (&report.set_aside, path.strip_prefix(copied.path().join("store")))
            {
                assert!(std::fs::read(to.join(rest)).unwrap() == bytes, "{number}: {}", path.display());
            }
        }
        assert_eq!(shown(copied.path()), expected, "{number}");
        let again = repair(config(copied.path(), WALL_MS)).unwrap();
        assert_eq!(again.left_over.len(), usize::from(number != 1));
        assert_eq!(again.left_over_bytes() > 0, number != 1);
        assert_eq!(shown(copied.path()), expected, "{number}");
    }
}

#[test]
fn a_torn_tail_is_told_and_cut() {
    let folder = furnished();
    let expected = shown(folder.path());
    let end = check(folder.path()).unwrap().log.end;
    let mut segments: Vec<_> = files(&folder.path().join("log")).into_keys().collect();
    let base = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    segments.retain(|path| base(path) < end);
    let last = segments.last().unwrap();
    let mut bytes = std::fs::read(last).unwrap();
    let at = usize::try_from(end - base(last)).unwrap();
    bytes[at..at + 8].copy_from_slice(b"unwhole!");
    std::fs::write(last, bytes).unwrap();
    let report = repair(config(folder.path(), WALL_MS)).unwrap();
    assert_eq!(report.found.log.cut.map(|cut| (cut.position, cut.bytes)), Some((end, 8)));
    assert_eq!(check(folder.path()).unwrap().log.cut, None);
    assert_eq!(shown(folder.path()), expected);
}

#[test]
fn where_the_log_is_damaged_nothing_is_changed() {
    let folder = furnished();
    let (segment, mut bytes) = files(&folder.path().join("log")).into_iter().next().unwrap();
    let at = bytes.windows(3).position(|bytes| bytes == [7; 3]).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let before = files(folder.path());
    let error = repair(config(folder.path(), WALL_MS)).unwrap_err().to_string();
    assert_eq!(error, check(folder.path()).unwrap_err().to_string());
    assert!(
        error.contains(segment.to_str().unwrap()) && error.contains("corrupt at log position"),
        "{error}"
    );
    assert!(files(folder.path()) == before, "the repair changed something");
}

#[test]
fn a_folder_without_a_log_or_with_a_broker_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    assert!(repair(config(&folder.path().join("none"), WALL_MS)).is_err());
    assert!(!folder.path().join("none").exists());
    let rig = Rig::open(folder.path());
    let error = repair(config(folder.path(), WALL_MS)).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    rig.stop();
}

#[test]
fn a_repaired_log_goes_on_in_segments_of_the_length_it_has() {
    let folder = furnished();
    let lengths = |folder: &Path| {
        let segments = files(&folder.join("log")).into_iter().filter(|(path, _)| path.extension().is_some());
        segments.map(|(_, bytes)| bytes.len()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(lengths(folder.path()), [16 << 10].into());
    let mut config = config(folder.path(), WALL_MS);
    config.log.segment_bytes = LogConfig::default().segment_bytes;
    repair(config).unwrap();
    assert_eq!(lengths(folder.path()), [16 << 10].into());
}
