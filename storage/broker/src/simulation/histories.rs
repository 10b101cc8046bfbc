//! Random histories against a few plain rules: whatever happens, each message is settled or can be got, in order, and
//! the state after a restart is the state before it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Publish(u8),
    Receive(u8),
    Settle { which: u8, outcome: u8 },
    PassMs(u16),
    Checkpoint,
    Restart { lose: bool },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1u8..40).prop_map(Act::Publish),
        4 => (1u8..30).prop_map(Act::Receive),
        6 => (any::<u8>(), 0u8..4).prop_map(|(which, outcome)| Act::Settle { which, outcome }),
        2 => (1u16..3_000).prop_map(Act::PassMs),
        1 => Just(Act::Checkpoint),
        1 => any::<bool>().prop_map(|lose| Act::Restart { lose }),
    ];
    proptest::collection::vec(act, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(histories()))]

    #[test]
    fn nothing_acknowledged_is_lost_and_nothing_settled_comes_back(acts in acts(), last_resort in any::<bool>()) {
        let mut sim = Simulation::new();
        let mut client = sim.connect();
        let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
        let settings = GroupSettings { attempts_max: None, backoff_ms: vec![100, 1_000], dead_letter: None };
        sim.make_group(&client, "g", settings);
        let mut topic = topic;
        let (mut published, mut done) = (0u64, BTreeSet::new());
        let mut held: Vec<Delivery> = Vec::new();
        for act in acts {
            match act {
                Act::Publish(count) => {
                    let texts: Vec<String> = (published..published + u64::from(count)).map(|i| i.to_string()).collect();
                    let results = sim.publish(&client, &topic, &texts.iter().map(String::as_str).collect::<Vec<_>>());
                    let offsets: Vec<u64> = results.into_iter().map(|stored| stored.unwrap().offset.unwrap()).collect();
                    prop_assert_eq!(offsets, (published..published + u64::from(count)).collect::<Vec<_>>());
                    published += u64::from(count);
                }
                Act::Receive(max) => {
                    let got = sim.receive(&client, "g", "t", max.into(), 1_500);
                    for delivery in &got {
                        let number: u64 = body(&delivery.message).parse().unwrap();
                        prop_assert_eq!(number, delivery.receipt.offset);
                        prop_assert!(!done.contains(&number), "{} was settled", number);
                    }
                    held.extend(got);
                }
                Act::Settle { which, outcome } if !held.is_empty() => {
                    let delivery = held.swap_remove(usize::from(which) % held.len());
                    let outcome = match outcome {
                        0 | 1 => Outcome::Ack,
                        2 => Outcome::Retry { delay_ms: None },
                        _ => Outcome::Release,
                    };
                    let result = sim.settle(&client, std::slice::from_ref(&delivery), outcome).pop().unwrap();
                    if result.is_ok() && outcome == Outcome::Ack {
                        done.insert(delivery.receipt.offset);
                    }
                }
                Act::Settle { .. } => {}
                Act::PassMs(ms) => sim.pass_ms(ms.into()),
                Act::Checkpoint => sim.checkpoint(),
                Act::Restart { lose } => {
                    let before = sim.shard.state().all_progress().map(|(_, _, p)| (p.floor, p.settled.clone())).collect::<Vec<_>>();
                    // Settlements are of durability memory: a kill keeps them, a power cut may not.
                    let loss = Loss::Nothing;
                    if lose {
                        let disk = sim.disk.power_cut(loss);
                        let now = sim.now;
                        drop(sim);
                        sim = Simulation::on(disk, Arc::new(MemoryStore::default()), "boot-1", now);
                    } else {
                        sim = sim.crash(loss);
                    }
                    let after = sim.shard.state().all_progress().map(|(_, _, p)| (p.floor, p.settled.clone())).collect::<Vec<_>>();
                    prop_assert_eq!(before, after);
                    client = sim.connect();
                    topic = sim.topic("t");
                }
            }
        }
        if last_resort {
            sim = sim.crash(Loss::Nothing);
            client = sim.connect();
        }
        // Leases end, then backoffs.
        sim.pass_ms(60_000);
        sim.pass_ms(60_000);
        let mut rest = BTreeSet::new();
        loop {
            let got = sim.receive(&client, "g", "t", 100, 60_000);
            if got.is_empty() { break; }
            rest.extend(got.iter().map(|delivery| delivery.receipt.offset));
        }
        let expected: BTreeSet<u64> = (0..published).filter(|number| !done.contains(number)).collect();
        prop_assert_eq!(rest, expected);
    }
}

/// More with `MAILRAIL_HISTORIES`.
fn histories() -> u32 {
    std::env::var("MAILRAIL_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(200)
}
