//! Half messages: how they end, who is asked what becomes of them, and what crashes, clocks and limits can do to them.

use super::store::FaultStore;
use super::*;
use crate::limits::*;
use crate::transaction::UNDECIDED_TOPIC;

const HOUR_MS: u64 = 3_600_000;

fn scene() -> (Simulation, Client, Arc<Topic>) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 2, ..TopicSettings::default() });
    (sim, client, topic)
}

/// A store that is gone, and a start that finds all in the log.
fn without_store(sim: Simulation) -> Simulation {
    let store = Arc::new(MemoryStore::default());
    Simulation::on(sim.disk.power_cut(Loss::All), store, "boot-2", sim.now)
}

fn prepare_all(
    sim: &mut Simulation,
    client: &Client,
    group: &str,
    bodies: &[&str],
) -> Vec<Result<Stored, Error>> {
    let topic = sim.topic("t");
    let mut batch = PublishBatch::default();
    for body in bodies {
        let first_check_ms = sim.now.wall_ms + HALF_FIRST_CHECK_MS;
        let half = HalfTerms { group: group.into(), first_check_ms };
        let draft = draft("t", body);
        batch.push_half(&draft, topic.id, Some(1), tag_hash("t"), Durability::Disk, half).unwrap();
    }
    sim.send(client, batch)
}

/// Stores a half message; returns its position.
pub(super) fn prepare(sim: &mut Simulation, client: &Client, group: &str, body: &str) -> u64 {
    let stored = prepare_all(sim, client, group, &[body]).remove(0).unwrap();
    assert_eq!((stored.offset, stored.queues), (None, 0));
    stored.position
}

pub(super) fn end(
    sim: &mut Simulation,
    client: &Client,
    position: u64,
    group: Option<&str>,
    decision: Decision,
) -> Result<Reply, Error> {
    let group = group.map(Name::from);
    sim.ask(client, |token| Command::EndHalf { token, position, group, decision })
}

fn commit(sim: &mut Simulation, client: &Client, position: u64) -> Stored {
    match end(sim, client, position, Some("g"), Decision::Commit) {
        Ok(Reply::Stored(stored)) => stored,
        other => panic!("{other:?}"),
    }
}

fn is_refused(result: &Result<Reply, Error>, position: u64) -> bool {
    matches!(result, Err(Error::NotHalf { position: named, .. }) if *named == position)
}

pub(super) fn produce(sim: &mut Simulation, client: &Client, group: &str) {
    let group: Name = group.into();
    assert!(matches!(sim.ask(client, |token| Command::Produce { token, group }), Ok(Reply::Done)));
}

/// What a producer is asked of: body, and how often it was asked before.
pub(super) fn asked(sim: &Simulation, client: &Client) -> Vec<(String, u32)> {
    let check = |event| match event {
        Event::Check(check) => (body(&check.message), check.checks),
        other => panic!("{other:?}"),
    };
    sim.events(client).into_iter().map(check).collect()
}

fn seen(sim: &Simulation) -> Vec<String> {
    let all = (0..2).flat_map(|index| sim.read("t", index, 0));
    all.map(|(_, body)| body).collect()
}

fn open(sim: &Simulation) -> usize {
    sim.shard.state().halves().len()
}

#[test]
fn nobody_sees_a_half_message_before_its_commit_nor_ever_after_its_roll_back() {
    let (mut sim, client, topic) = scene();
    let kept = prepare(&mut sim, &client, "g", "committed");
    let gone = prepare(&mut sim, &client, "g", "rolled back");
    prepare(&mut sim, &client, "g", "undecided");
    sim.pass_ms(HOUR_MS);
    assert!(seen(&sim).is_empty());
    assert!(sim.context.read_position(kept).is_err());
    let stored = commit(&mut sim, &client, kept);
    assert_eq!((stored.queue_index, stored.offset), (1, Some(0)), "the queue that its producer chose");
    assert!(matches!(end(&mut sim, &client, gone, None, Decision::RollBack), Ok(Reply::Done)));
    assert_eq!(seen(&sim), ["committed"]);
    let queue = topic.queue(1).unwrap();
    let message = sim.context.entry(&queue, 0).unwrap().unwrap();
    let message = StoredMessage::parse(&message).unwrap();
    let bits = mailrail_message::sys_flag::TRANSACTION_BITS;
    assert_eq!(message.sys_flags() & bits, mailrail_message::sys_flag::COMMITTED);
    let mut sim = sim.crash(Loss::All);
    sim.pass_ms(HOUR_MS);
    assert_eq!((seen(&sim), open(&sim)), (vec!["committed".to_owned()], 1));
    let sim = without_store(sim);
    assert_eq!((seen(&sim), open(&sim)), (vec!["committed".to_owned()], 1));
}

#[test]
fn what_was_ended_or_never_was_or_is_of_others_is_not_ended() {
    let (mut sim, client, topic) = scene();
    let position = prepare(&mut sim, &client, "g", "body");
    let plain = sim.publish(&client, &topic, &["plain"])[0].as_ref().unwrap().position;
    let before = sim.shard.log_end();
    for decision in [Decision::Commit, Decision::RollBack] {
        assert!(is_refused(&end(&mut sim, &client, position, Some("h"), decision), position));
        for at in [plain, 0, 1, position + 8, u64::MAX, u64::MAX - 7] {
            assert!(is_refused(&end(&mut sim, &client, at, None, decision), at), "{at}");
        }
    }
    assert_eq!(sim.shard.log_end(), before, "nothing has changed");
    commit(&mut sim, &client, position);
    let before = sim.shard.log_end();
    let mut sim = sim.crash(Loss::All);
    let client = sim.connect();
    for decision in [Decision::Commit, Decision::RollBack] {
        assert!(is_refused(&end(&mut sim, &client, position, Some("g"), decision), position));
    }
    assert!(before <= sim.shard.log_end());
    assert_eq!(seen(&sim).iter().filter(|body| *body == "body").count(), 1);
}

#[test]
fn whoever_ends_a_half_message_while_it_is_being_committed_gets_one_answer() {
    let (mut sim, client, _) = scene();
    let position = prepare(&mut sim, &client, "g", "body");
    let tell = |sim: &mut Simulation, decision| {
        let token = client.token();
        let command = Command::EndHalf { token, position, group: None, decision };
        let (mailbox, commands) = (client.mailbox.clone(), vec![command]);
        sim.shard.handle(sim.now, Input::Commands { mailbox, commands, since: sim.now.mono });
        token
    };
    let commits = [tell(&mut sim, Decision::Commit), tell(&mut sim, Decision::Commit)];
    let roll_back = tell(&mut sim, Decision::RollBack);
    sim.run();
    let mut stored = Vec::new();
    for event in sim.events(&client) {
        match event {
            Event::Reply { token, result: Ok(Reply::Stored(at)) } => stored.push((token, at)),
            Event::Reply { token, result } => {
                assert!(token == roll_back && matches!(result, Err(Error::Ending(at)) if at == position))
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stored.iter().map(|(token, _)| *token).collect::<Vec<_>>(), commits);
    assert_eq!(stored[0].1, stored[1].1);
    assert_eq!((seen(&sim).len(), open(&sim)), (1, 0));
}

#[test]
fn a_crash_amid_a_commit_leaves_it_done_or_undone_and_a_second_one_commits_once() {
    for (written, synced, loss) in [
        (false, false, Loss::Nothing),
        (true, false, Loss::Nothing),
        (true, false, Loss::All),
        (true, true, Loss::All),
    ] {
        let (mut sim, client, _) = scene();
        let position = prepare(&mut sim, &client, "g", "body");
        (sim.writing, sim.syncing) = (written, synced);
        let token = client.token();
        sim.tell(&client, Command::EndHalf { token, position, group: None, decision: Decision::Commit });
        let is_told = !sim.events(&client).is_empty();
        assert_eq!(is_told, synced, "it is told once it is on the disk");
        let mut sim = sim.crash(loss);
        let client = sim.connect();
        let again = end(&mut sim, &client, position, None, Decision::Commit);
        let was_done = is_refused(&again, position);
        assert!(was_done || matches!(again, Ok(Reply::Stored(_))), "{again:?}");
        assert!(was_done || !is_told);
        assert_eq!((seen(&sim).len(), open(&sim)), (1, 0), "{written} {synced} {loss:?}");
    }
}

#[test]
fn a_half_message_whose_topic_is_gone_or_full_stays_open() {
    let (mut sim, client, _) = scene();
    let position = prepare(&mut sim, &client, "g", "body");
    let name = "t".into();
    sim.ask(&client, |token| Command::DeleteTopic { token, name, if_unused: false, if_empty: false })
        .unwrap();
    let result = end(&mut sim, &client, position, None, Decision::Commit);
    assert!(matches!(result, Err(Error::NoTopic(_))), "{result:?}");
    assert_eq!(open(&sim), 1);
    let full = [(LENGTH_MAX, "0"), (OVERFLOW, "reject-publish")];
    sim.make_topic(&client, "t", super::expiry::policy(&full));
    let result = end(&mut sim, &client, position, None, Decision::Commit);
    assert!(matches!(result, Err(Error::Full { .. })), "{result:?}");
    assert_eq!((seen_in(&sim, "t"), open(&sim)), (0, 1));
}

fn seen_in(sim: &Simulation, topic: &str) -> usize {
    sim.read(topic, 0, 0).len()
}

#[test]
fn without_room_half_messages_are_rolled_back_and_not_committed() {
    let (mut sim, client, _) = scene();
    let [kept, gone] = ["kept", "gone"].map(|body| prepare(&mut sim, &client, "g", body));
    sim.input(Input::ShortOfRoom { is_short: true });
    let refused = end(&mut sim, &client, kept, None, Decision::Commit);
    assert!(matches!(refused, Err(Error::NoSpace)), "{refused:?}");
    assert!(end(&mut sim, &client, gone, None, Decision::RollBack).is_ok());
    assert_eq!(open(&sim), 1);
    sim.input(Input::ShortOfRoom { is_short: false });
    commit(&mut sim, &client, kept);
    assert_eq!(seen(&sim), ["kept"]);
}

#[test]
fn producers_are_asked_after_the_first_wait_then_at_intervals_and_at_last_it_is_given_up() {
    let (mut sim, client, _) = scene();
    let position = prepare(&mut sim, &client, "g", "body");
    produce(&mut sim, &client, "g");
    sim.pass_ms(HALF_FIRST_CHECK_MS - 100);
    assert!(asked(&sim, &client).is_empty());
    sim.pass_ms(100);
    for checks in 0..HALF_CHECKS_MAX {
        assert_eq!(asked(&sim, &client), [("body".to_owned(), checks)]);
        sim.pass_ms(HALF_CHECK_INTERVAL_MS - 100);
        assert!(asked(&sim, &client).is_empty());
        if checks == HALF_CHECKS_MAX / 2 {
            sim = sim.crash(Loss::All);
            produce(&mut sim, &client, "g");
        }
        sim.pass_ms(100);
    }
    assert!(asked(&sim, &client).is_empty());
    assert_eq!((seen_in(&sim, UNDECIDED_TOPIC), seen(&sim).len(), open(&sim)), (1, 0, 0));
    assert!(is_refused(&end(&mut sim, &client, position, None, Decision::Commit), position));
    let sim = without_store(sim);
    assert_eq!((seen_in(&sim, UNDECIDED_TOPIC), seen(&sim).len(), open(&sim)), (1, 0, 0));
}

#[test]
fn any_live_producer_of_the_group_is_asked_and_nothing_counts_while_there_is_none() {
    let (mut sim, client, _) = scene();
    prepare(&mut sim, &client, "g", "body");
    let (first, second, other) = (sim.connect(), sim.connect(), sim.connect());
    produce(&mut sim, &other, "h");
    sim.pass_ms(HOUR_MS);
    produce(&mut sim, &first, "g");
    sim.pass_ms(100);
    assert_eq!(asked(&sim, &first), [("body".to_owned(), 0)], "an hour did not count");
    produce(&mut sim, &second, "g");
    for checks in [1, 3] {
        sim.pass_ms(HALF_CHECK_INTERVAL_MS);
        assert_eq!((asked(&sim, &first), asked(&sim, &second)), (vec![("body".to_owned(), checks)], vec![]));
        sim.pass_ms(HALF_CHECK_INTERVAL_MS);
        let checks = checks + 1;
        assert_eq!((asked(&sim, &first), asked(&sim, &second)), (vec![], vec![("body".to_owned(), checks)]));
    }
    sim.disconnect(first);
    sim.pass_ms(HALF_CHECK_INTERVAL_MS);
    assert_eq!(asked(&sim, &second), [("body".to_owned(), 5)]);
    sim.tell(&second, Command::StopProducing { group: "g".into() });
    sim.pass_ms(HOUR_MS);
    assert!(asked(&sim, &second).is_empty() && asked(&sim, &other).is_empty());
    assert_eq!(sim.shard.state().halves().from(0).next().unwrap().1.checks, 6);
}

#[test]
fn a_half_message_that_nobody_can_be_asked_of_is_given_up_after_days() {
    let (mut sim, client, _) = scene();
    prepare(&mut sim, &client, "g", "old");
    sim.pass_ms(HALF_FIRST_CHECK_MS + HALF_UNASKED_MS_MAX - 1);
    prepare(&mut sim, &client, "g", "young");
    sim.pass_ms(100);
    assert_eq!((seen_in(&sim, UNDECIDED_TOPIC), open(&sim)), (1, 1));
}

#[test]
fn what_cannot_be_given_up_stays_open_and_is_tried_again() {
    for is_served in [true, false] {
        let (mut sim, client, _) = scene();
        let settings = TopicSettings { writable: false, ..TopicSettings::default() };
        sim.make_topic(&client, UNDECIDED_TOPIC, settings);
        prepare(&mut sim, &client, "g", "body");
        let producer = sim.connect();
        if is_served {
            produce(&mut sim, &producer, "g");
            sim.pass_ms(HALF_FIRST_CHECK_MS);
            (0..HALF_CHECKS_MAX).for_each(|_| sim.pass_ms(HALF_CHECK_INTERVAL_MS));
            assert_eq!(asked(&sim, &producer).len(), HALF_CHECKS_MAX as usize);
        } else {
            sim.pass_ms(HALF_FIRST_CHECK_MS + HALF_UNASKED_MS_MAX);
        }
        assert_eq!(open(&sim), 1);
        let name: Name = UNDECIDED_TOPIC.into();
        let delete = |token| Command::DeleteTopic { token, name, if_unused: false, if_empty: false };
        sim.ask(&client, delete).unwrap();
        sim.pass_ms(1_000);
        assert_eq!(open(&sim), 1, "not at once: what failed may fail for long");
        sim.pass_ms(HALF_CHECK_INTERVAL_MS);
        assert_eq!((open(&sim), seen_in(&sim, UNDECIDED_TOPIC)), (0, 1), "{is_served}");
    }
}

/// Fault 11: checks go by the wall clock, so a jump makes them early or late by as much; none is asked twice for it.
#[test]
fn jumps_of_the_clock_neither_repeat_checks_nor_end_them() {
    for is_forward in [true, false] {
        let (mut sim, client, _) = scene();
        prepare(&mut sim, &client, "g", "body");
        produce(&mut sim, &client, "g");
        let wall_ms = &mut sim.now.wall_ms;
        *wall_ms = if is_forward { *wall_ms + HOUR_MS } else { *wall_ms - HOUR_MS };
        sim.pass_ms(1_000);
        let mut times = asked(&sim, &client).len();
        assert_eq!(times, usize::from(is_forward));
        if is_forward {
            sim.now.wall_ms -= HOUR_MS;
        }
        for _ in 0..HOUR_MS / 1_000 {
            sim.pass_ms(1_000);
        }
        times += asked(&sim, &client).len();
        assert_eq!(times, usize::from(is_forward), "the clock is where it was");
        sim.pass_ms(HALF_CHECK_INTERVAL_MS);
        assert_eq!((asked(&sim, &client).len(), open(&sim)), (1, 1));
    }
}

#[test]
fn half_messages_outlive_trims_and_lost_stores_with_their_checks() {
    let (mut sim, mut client, _) = scene();
    let [first, second, third] =
        ["first", "second", "third"].map(|body| prepare(&mut sim, &client, "g", body));
    produce(&mut sim, &client, "g");
    sim.pass_ms(HALF_FIRST_CHECK_MS);
    let filler = "x".repeat(10_000);
    for round in 0..3 {
        let topic = sim.topic("t");
        for _ in 0..120 {
            sim.publish(&client, &topic, &[&filler]);
        }
        if round == 1 {
            assert!(end(&mut sim, &client, second, None, Decision::RollBack).is_ok());
        }
        let (mailbox, token, before) = (client.mailbox.clone(), client.token(), sim.shard.log_end());
        let start = sim.shard.log_start();
        sim.input(Input::Trim { mailbox, token, before });
        sim.checkpoint();
        assert!(sim.shard.log_start() > start.max(third), "trim {round}");
        let before = sim.fingerprint();
        sim = without_store(sim);
        client = sim.connect();
        assert_eq!(before, sim.fingerprint());
    }
    let checks: Vec<u32> = sim.shard.state().halves().from(0).map(|(_, half)| half.checks).collect();
    assert_eq!(checks, [1, 1]);
    let (topic, stored) = (sim.topic("t"), commit(&mut sim, &client, first));
    let queue = topic.queue(stored.queue_index).unwrap();
    let message = sim.context.entry(&queue, stored.offset.unwrap()).unwrap().unwrap();
    assert_eq!(body(&message), "first");
    assert!(is_refused(&end(&mut sim, &client, second, None, Decision::Commit), second));
}

#[test]
fn checkpoints_hold_half_messages_wherever_they_are_cut_off() {
    for kept in 0..12 {
        let store = Arc::new(FaultStore::default());
        let mut sim = Simulation::on(FaultDisk::new(7), store.clone(), "boot-1", start());
        let client = sim.connect();
        sim.make_topic(&client, "t", TopicSettings { queues: 2, ..TopicSettings::default() });
        let positions: Vec<u64> = (0..6)
            .map(|n| {
                let position = prepare(&mut sim, &client, "g", &format!("{n}{}", "x".repeat(30_000)));
                if n == 2 {
                    sim.checkpoint();
                }
                position
            })
            .collect();
        let producer = sim.connect();
        produce(&mut sim, &producer, "g");
        commit(&mut sim, &client, positions[0]);
        sim.pass_ms(HALF_FIRST_CHECK_MS);
        assert_eq!(asked(&sim, &producer).len(), 5);
        sim.checkpoints = Checkpoints::CutAfter(kept);
        sim.checkpoint();
        assert!(end(&mut sim, &client, positions[3], None, Decision::RollBack).is_ok());
        let before = sim.fingerprint();
        let sim = Simulation::on(sim.disk.power_cut(Loss::Nothing), store, "boot-1", sim.now);
        assert_eq!(before, sim.fingerprint(), "cut off after {kept}");
        assert_eq!(open(&sim), 4);
    }
}

#[test]
fn there_are_so_many_half_messages_and_not_one_more() {
    let (mut sim, client, _) = scene();
    let results = prepare_all(&mut sim, &client, "g", &vec!["body"; HALF_MESSAGES_MAX + 1]);
    let limit = HALF_MESSAGES_MAX as u64;
    assert!(results[..HALF_MESSAGES_MAX].iter().all(Result::is_ok));
    assert!(
        matches!(results.last(), Some(Err(Error::Limit { value, max, .. })) if (*value, *max) == (limit + 1, limit)),
        "{:?}",
        results.last()
    );
    let first = results[0].as_ref().unwrap().position;
    assert!(end(&mut sim, &client, first, None, Decision::RollBack).is_ok());
    prepare(&mut sim, &client, "g", "again");
    // All are asked for, some at a time.
    produce(&mut sim, &client, "g");
    sim.pass_ms(HALF_FIRST_CHECK_MS);
    let mut all = asked(&sim, &client).len();
    assert!(all <= CHECKED_MESSAGES_MAX);
    for _ in 0..10 {
        sim.pass_ms(200);
        all += asked(&sim, &client).len();
    }
    assert_eq!(all, HALF_MESSAGES_MAX);
}

#[test]
fn times_names_and_groups_of_producers_have_their_limits() {
    let (mut sim, client, topic) = scene();
    let now_ms = sim.now.wall_ms;
    let mut store = |name: usize, ahead_ms: u64| {
        let half = HalfTerms { group: "g".repeat(name).into(), first_check_ms: now_ms + ahead_ms };
        let mut batch = PublishBatch::default();
        batch.push_half(&draft("t", "body"), topic.id, None, 0, Durability::Disk, half).unwrap();
        sim.send(&client, batch).remove(0)
    };
    assert!(store(NAME_BYTES_MAX, HALF_FIRST_CHECK_MS_MAX).is_ok());
    assert!(matches!(store(NAME_BYTES_MAX + 1, 0), Err(Error::Limit { .. })));
    assert!(matches!(store(1, HALF_FIRST_CHECK_MS_MAX + 1), Err(Error::Limit { .. })));
    for number in 0..SESSION_PRODUCER_GROUPS_MAX {
        produce(&mut sim, &client, &format!("group {number}"));
    }
    produce(&mut sim, &client, "group 0");
    let one_more = sim.ask(&client, |token| Command::Produce { token, group: "one more".into() });
    assert!(matches!(one_more, Err(Error::Limit { max: SESSION_PRODUCER_GROUPS_MAX, .. })), "{one_more:?}");
}

#[test]
fn large_ones_are_asked_for_in_several_turns() {
    let (mut sim, client, _) = scene();
    let large = "x".repeat(400_000);
    for _ in 0..6 {
        prepare(&mut sim, &client, "g", &large);
    }
    produce(&mut sim, &client, "g");
    sim.pass_ms(HALF_FIRST_CHECK_MS);
    let at_once = asked(&sim, &client).len();
    assert!(at_once as u64 * 400_000 < CHECKED_BYTES_MAX + 400_000, "{at_once}");
    sim.pass_ms(100);
    assert!(!asked(&sim, &client).is_empty());
}

#[test]
fn open_half_messages_are_listed_in_parts() {
    let (mut sim, client, _) = scene();
    let positions: Vec<u64> =
        ["g", "h", "g", "g"].map(|group| prepare(&mut sim, &client, group, "body")).into();
    let mut list = |group: Option<&str>, after, max| {
        let group = group.map(Name::from);
        match sim.ask(&client, |token| Command::OpenHalves { token, group, after, max }) {
            Ok(Reply::Halves(halves)) => halves.into_iter().map(|half| half.position).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(list(None, None, OPEN_HALVES_LISTED_MAX + 1), positions);
    assert_eq!(list(Some("g"), None, 2), [positions[0], positions[2]]);
    assert_eq!(list(Some("g"), Some(positions[2]), 2), [positions[3]]);
    assert_eq!(list(Some("other"), None, 2), Vec::<u64>::new());
}
