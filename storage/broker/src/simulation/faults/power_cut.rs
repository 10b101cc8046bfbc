//! Fault 2. The power fails at every change of the disk: nothing acknowledged at `disk` is lost, and no acknowledged
//! offset is used for another body.

use super::*;

#[test]
fn every_point_of_a_power_cut_leaves_what_was_acknowledged() {
    let changes_of_a_run = {
        let (sim, _) = scripted(None);
        sim.map(|sim| sim.disk.changes()).unwrap()
    };
    let mut checked = 0;
    for cut in 1..changes_of_a_run {
        for loss in [Loss::All, Loss::Torn, Loss::Pages] {
            let disk = FaultDisk::new(cut);
            disk.fail_power_after(cut);
            let (_, acknowledged) = scripted(Some(disk.clone()));
            let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
            let sim = open(disk.power_cut(loss), store, "boot-2", start()).unwrap();
            let found: Vec<(u64, String)> =
                if acknowledged.is_empty() { Vec::new() } else { sim.read("t", 0, 0) };
            for (offset, body) in &acknowledged {
                assert!(
                    found.contains(&(*offset, body.clone())),
                    "cut {cut} {loss:?}: {body} at {offset} is lost"
                );
            }
            assert!(found.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "offsets are contiguous");
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked} cuts");
    println!("{checked} power cuts, 0 lost");
}

/// Publishes message after message; returns what was acknowledged before the disk died.
fn scripted(disk: Option<FaultDisk>) -> (Option<Simulation>, Vec<(u64, String)>) {
    let disk = disk.unwrap_or_else(|| FaultDisk::new(1));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let Ok(mut sim) = open(disk, store, "boot-1", start()) else { return (None, Vec::new()) };
    let client = sim.connect();
    let settings = TopicSettings { queues: 1, ..TopicSettings::default() };
    let put = |token| Command::PutTopic { token, name: "t".into(), settings, adopt: false };
    let token = client.token();
    sim.tell(&client, put(token));
    let made =
        sim.events(&client).into_iter().any(|event| matches!(event, Event::Reply { result: Ok(_), .. }));
    let mut acknowledged = Vec::new();
    if !made {
        return (Some(sim), acknowledged);
    }
    let topic = sim.topic("t");
    for i in 0..30 {
        let body = format!("message {i}");
        if let Some(Ok(stored)) = sim.publish(&client, &topic, &[&body]).pop() {
            acknowledged.push((stored.offset.unwrap(), body));
        }
        sim.pass_ms(1);
    }
    (Some(sim), acknowledged)
}

#[test]
fn power_cuts_of_every_kind_lose_nothing_that_was_acknowledged_at_disk() {
    const CUTS: Course = Course {
        operations: 300,
        faults: &[
            Fault::PowerCutAll,
            Fault::PowerCutTorn,
            Fault::PowerCutPages,
            Fault::PowerFailsLater,
            Fault::PowerFailsInOpen,
        ],
        times: 8,
    };
    survive(&CUTS, if is_long() { 20 } else { 1 });
}
