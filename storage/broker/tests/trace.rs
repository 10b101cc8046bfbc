//! Traces of what is read past the shard.

mod rig;

use std::time::Instant;

use mailrail_broker::*;
use mailrail_message::StoredMessage;
use rig::{PATIENCE, Rig};

/// All steps, once there are so many.
fn steps(rig: &mut Rig, count: usize) -> Vec<TraceRecord> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "the steps do not come");
        std::thread::sleep(std::time::Duration::from_millis(10));
        let Some(topic) = rig.broker.directory().topic(TRACE_TOPIC) else { continue };
        let queue = topic.queue(0).unwrap();
        if queue.end_offset() >= count as u64 {
            let batch = rig.read(&queue, 0);
            let read = |entry: &ReadEntry| TraceRecord::read(&StoredMessage::parse(&entry.message).unwrap());
            return batch.entries.iter().map(|entry| read(entry).unwrap()).collect();
        }
    }
}

#[test]
fn who_reads_by_offset_is_noted_from_memory_and_from_the_disk_and_a_commit_settles() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = rig::config(folder.path(), 1_700_000_000_000);
    config.log.cache_bytes = 1;
    config.log.segment_bytes = 16 << 20;
    let mut rig = Rig::with(config);
    let attributes = [(TRACE_SAMPLE.to_owned(), "1000000".to_owned())].into();
    let topic = rig.put_topic("t", TopicSettings { queues: 1, attributes, ..TopicSettings::default() });
    rig.ask(|token| Command::PutGroup { token, name: "g".into(), settings: None });
    let (queue, body) = (topic.queue(0).unwrap(), vec![7; 1 << 20]);
    let positions: Vec<u64> = (0..4).map(|_| rig.publish(&topic, &body).position).collect();
    let entry = rig.broker.enter_client("remoting", "192.0.2.7:4711".parse().unwrap());
    rig.session.count_for(Some(entry.client().clone()));
    assert_eq!(rig.messages(&queue).len(), 4);
    rig.session.count_for(None);
    for offset in [0, 4] {
        let commits = vec![(queue.id, offset)];
        rig.ask(|token| Command::Commit { token: Some(token), group: "g".into(), commits });
    }
    let all = steps(&mut rig, 12);
    let of_stage = |stage| all.iter().filter(move |step| step.stage == stage).collect::<Vec<_>>();
    for stage in [TraceStage::Stored, TraceStage::Read, TraceStage::Settled] {
        let places: Vec<_> = of_stage(stage).iter().map(|step| (step.offset, step.position)).collect();
        let expected: Vec<_> = (0..).map(Some).zip(positions.iter().copied()).collect();
        assert_eq!(places, expected, "{stage:?}");
    }
    let by = |step: &&TraceRecord| step.by.as_ref().and_then(|by| by.address.clone());
    assert!(of_stage(TraceStage::Read).iter().all(|step| by(step).as_deref() == Some("192.0.2.7:4711")));
    assert!(of_stage(TraceStage::Settled).iter().all(|step| step.how.as_deref() == Some("commit")));
    // Reading the trace is no step.
    assert_eq!(steps(&mut rig, 12).len(), 12);
    rig.stop();
}
