//! Users, what they may do, and the list of changes: in the log, in checkpoints and snapshots, and held against every
//! command.

use super::transaction::{asked, end, prepare, produce};
use super::*;
use crate::access::AuditEntry;
use crate::limits::{AUDIT_PAGE_ENTRIES_MAX, HALF_FIRST_CHECK_MS, USERS_MAX};

const FROM: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn put(name: &str, change: UserChange) -> impl FnOnce(Token) -> Command {
    let name: Name = name.into();
    move |token| Command::PutUser { token, name, change: Box::new(change) }
}

fn delete(name: &str) -> impl FnOnce(Token) -> Command {
    let name: Name = name.into();
    move |token| Command::DeleteUser { token, name }
}

fn admin() -> UserChange {
    UserChange {
        admin: Some(true),
        password: Some(PasswordHash::of("root").unwrap()),
        ..UserChange::default()
    }
}

fn rules(rules: Vec<Rule>) -> UserChange {
    UserChange { rules: Some(rules), ..UserChange::default() }
}

fn allow(action: Action, kind: ResourceKind, name: &str) -> Rule {
    Rule {
        effect: Effect::Allow,
        actions: vec![action],
        resources: vec![kind],
        names: Pattern::Literal(name.to_owned()),
        routing_keys: None,
        sources: Vec::new(),
    }
}

/// A client that has logged in.
fn connect_as(sim: &mut Simulation, name: &str) -> Client {
    let client = sim.connect();
    let identity = Arc::new(Identity::user(name.into(), FROM));
    sim.tell(&client, Command::Identify { identity });
    client
}

fn audit(sim: &mut Simulation, client: &Client, before: Option<u64>) -> Vec<AuditEntry> {
    match sim.ask(client, |token| Command::Audit { token, before, max: AUDIT_PAGE_ENTRIES_MAX }).unwrap() {
        Reply::Audit(entries) => entries,
        other => panic!("{other:?}"),
    }
}

/// A broker with an administrator, and ann, who may publish to `t` and consume it with `g`.
fn furnished() -> (Simulation, Client) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "t", TopicSettings { queues: 2, ..TopicSettings::default() });
    sim.make_group(&client, "g", GroupSettings::at_once());
    sim.ask(&client, put("root", admin())).unwrap();
    let root = connect_as(&mut sim, "root");
    let may = vec![
        allow(Action::Publish, ResourceKind::Topic, "t"),
        allow(Action::Consume, ResourceKind::Topic, "t"),
        allow(Action::Consume, ResourceKind::Group, "g"),
    ];
    sim.ask(&root, put("ann", rules(may))).unwrap();
    (sim, root)
}

/// Everything about users, as a start must find it again.
fn users(sim: &mut Simulation) -> (Vec<(UserId, Name, UserSettings)>, Vec<AuditEntry>) {
    let all = sim.shard.directory().access().users();
    let root = connect_as(sim, "root");
    let audit = audit(sim, &root, None);
    (all.iter().map(|user| (user.id, user.name.clone(), user.settings.clone())).collect(), audit)
}

#[test]
fn users_outlive_crashes_by_log_checkpoint_and_snapshot() {
    let (mut sim, root) = furnished();
    sim.ask(&root, put("gone", UserChange::default())).unwrap();
    sim.ask(&root, delete("gone")).unwrap();
    let expected = users(&mut sim);
    assert_eq!((expected.0.len(), expected.1.len()), (2, 4));
    // From the log alone.
    let mut sim = sim.crash(Loss::All);
    assert_eq!(users(&mut sim), expected);
    // From a checkpoint, and what came behind it.
    sim.checkpoint();
    let root = connect_as(&mut sim, "root");
    sim.ask(&root, put("ann", UserChange { enabled: Some(false), ..UserChange::default() })).unwrap();
    sim.ask(&root, put("late", UserChange::default())).unwrap();
    let expected = users(&mut sim);
    let mut sim = sim.crash(Loss::All);
    assert_eq!(users(&mut sim), expected);
    // From a snapshot, with everything before it trimmed and the store gone.
    let (root, topic) = (connect_as(&mut sim, "root"), sim.topic("t"));
    let filler = "x".repeat(10_000);
    for _ in 0..3 * SEGMENT_BYTES / 10_000 {
        sim.publish(&root, &topic, &[&filler]);
    }
    let token = root.token();
    sim.input(Input::Trim { mailbox: root.mailbox.clone(), token, before: 2 * SEGMENT_BYTES });
    assert!(sim.shard.log_start() > 0);
    let (disk, now) = (sim.disk.power_cut(Loss::Nothing), sim.now);
    let mut sim = Simulation::on(disk, Arc::new(MemoryStore::default()), "boot-1", now);
    assert_eq!(users(&mut sim), expected);
    let root = connect_as(&mut sim, "root");
    sim.ask(&root, put("new", UserChange::default())).unwrap();
    let ids: Vec<UserId> = sim.shard.directory().access().users().iter().map(|user| user.id).collect();
    let unique: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "no number is used twice");
}

#[test]
fn an_answer_about_a_user_waits_for_the_sync() {
    let (mut sim, root) = furnished();
    sim.syncing = false;
    let token = root.token();
    sim.tell(&root, delete("ann")(token));
    assert!(sim.events(&root).is_empty());
    sim.syncing = true;
    sim.run();
    assert!(matches!(sim.events(&root).pop(), Some(Event::Reply { result: Ok(Reply::Done), .. })));
}

#[test]
fn commands_are_held_against_the_rules_of_who_sends_them() {
    let (mut sim, root) = furnished();
    let (ann, nobody) = (connect_as(&mut sim, "ann"), sim.connect());
    let other = sim.make_topic(&root, "other", TopicSettings::default());
    let topic = sim.topic("t");
    assert!(sim.publish(&ann, &topic, &["a"])[0].is_ok());
    let is_denied = |result: &Result<Stored, Error>| matches!(result, Err(Error::Denied(_)));
    assert!(sim.publish(&ann, &other, &["b", "c"]).iter().all(is_denied));
    assert!(sim.publish(&nobody, &topic, &["d"]).iter().all(is_denied));
    assert_eq!(bodies(&sim.receive(&ann, "g", "t", 10, 1_000)), ["a"]);
    let name = |name: &str| -> Name { name.into() };
    let settings = TopicSettings::default;
    let commands: Vec<fn(Token) -> Command> = vec![
        |token| Command::PutTopic {
            token,
            name: "new".into(),
            settings: TopicSettings::default(),
            adopt: true,
        },
        |token| Command::DeleteTopic { token, name: "t".into(), if_unused: false, if_empty: false },
        |token| Command::PutGroup { token, name: "h".into(), settings: None },
        |token| Command::DeleteGroup { token, group: "g".into(), topic: "t".into() },
        |token| Command::DeleteUser { token, name: "root".into() },
        |token| Command::Audit { token, before: None, max: 1 },
        |token| Command::Purge { token, group: "g".into(), topic: "other".into() },
        |token| Command::Members { token, group: "h".into() },
        |token| Command::GroupState { token, group: "g".into(), topic: "other".into() },
        |token| Command::Seek { token, group: "h".into(), topic: "t".into(), to: SeekTo::Earliest },
    ];
    for command in commands {
        let text = format!("{:?}", command(Token(0)));
        assert!(matches!(sim.ask(&ann, command), Err(Error::Denied(_))), "{text}");
        assert!(matches!(sim.ask(&nobody, command), Err(Error::Denied(_))), "{text}");
    }
    let made = sim.ask(&root, |token| Command::PutTopic {
        token,
        name: name("new"),
        settings: settings(),
        adopt: false,
    });
    assert!(made.is_ok(), "an administrator may");
}

#[test]
fn dead_letters_are_no_way_around_a_rule() {
    let (mut sim, root) = furnished();
    let configure = rules(vec![Rule {
        actions: vec![Action::Configure, Action::Consume],
        resources: vec![ResourceKind::Topic, ResourceKind::Group],
        names: Pattern::Prefix("mine".to_owned()),
        ..allow(Action::Configure, ResourceKind::Topic, "")
    }]);
    sim.ask(&root, put("ben", configure)).unwrap();
    let ben = connect_as(&mut sim, "ben");
    let topic = |to: &str| {
        let attributes = [("dead-letter-topic".to_owned(), to.to_owned())].into();
        let settings = TopicSettings { attributes, ..TopicSettings::settled_queue() };
        move |token| Command::PutTopic { token, name: "mine".into(), settings, adopt: false }
    };
    assert!(matches!(sim.ask(&ben, topic("t")), Err(Error::Denied(_))));
    let group = |to: &str| {
        let settings = GroupSettings { dead_letter: Some(to.to_owned()), ..GroupSettings::at_once() };
        move |token| Command::PutGroup { token, name: "mine".into(), settings: Some(settings) }
    };
    assert!(matches!(sim.ask(&ben, group("t")), Err(Error::Denied(_))));
    assert!(sim.ask(&ben, group("%DLQ%mine")).is_ok());
}

#[test]
fn who_may_no_longer_consume_is_told_so() {
    let (mut sim, root) = furnished();
    let ann = connect_as(&mut sim, "ann");
    let consume = |token| Command::Consume {
        token,
        consumer: ConsumerId(3),
        group: "g".into(),
        topic: "t".into(),
        credit: 10,
        no_ack: false,
        exclusive: false,
        priority: 0,
    };
    sim.ask(&ann, consume).unwrap();
    let waiting = ann.token();
    let (group, topic) = ("g".into(), "t".into());
    let receive = Command::Receive {
        token: waiting,
        group,
        topic,
        max: 1,
        wait_ms: 10_000,
        lease_ms: 1_000,
        filter: None,
    };
    sim.tell(&ann, receive);
    sim.ask(&root, put("ann", rules(Vec::new()))).unwrap();
    let events = sim.events(&ann);
    let ended = |event: &Event| matches!(event, Event::ConsumerEnded { consumer: ConsumerId(3) });
    let refused = |event: &Event| matches!(event, Event::Reply { token, result: Err(Error::Denied(_)) } if *token == waiting);
    assert!(events.iter().any(ended) && events.iter().any(refused), "{events:?}");
    let topic = sim.topic("t");
    sim.publish(&root, &topic, &["for others"]);
    sim.pass_ms(20_000);
    assert!(sim.events(&ann).is_empty());
}

#[test]
fn somebody_must_be_able_to_let_others_in() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let last = |result| matches!(result, Err(Error::LastAdministrator(_)));
    assert!(last(sim.ask(&client, put("ann", UserChange::default()))), "the first must be an administrator");
    let no_password = UserChange { admin: Some(true), ..UserChange::default() };
    assert!(last(sim.ask(&client, put("root", no_password))), "who can log in");
    sim.ask(&client, put("root", admin())).unwrap();
    let root = connect_as(&mut sim, "root");
    for change in [
        UserChange { admin: Some(false), ..UserChange::default() },
        UserChange { enabled: Some(false), ..UserChange::default() },
    ] {
        assert!(last(sim.ask(&root, put("root", change))));
    }
    assert!(last(sim.ask(&root, delete("root"))));
    sim.ask(&root, put("other", admin())).unwrap();
    sim.ask(&root, delete("root")).unwrap();
    assert!(matches!(sim.ask(&root, delete("other")), Err(Error::Denied(_))), "root is no more");
}

#[test]
fn the_list_says_who_changed_what_and_who_was_refused() {
    let (mut sim, root) = furnished();
    let ann = connect_as(&mut sim, "ann");
    sim.ask(&ann, put("ann", admin())).unwrap_err();
    sim.make_topic(&root, "new", TopicSettings::default());
    // Nothing changes by it.
    sim.make_topic(&root, "new", TopicSettings::default());
    let entries = audit(&mut sim, &root, None);
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| (entry.number, entry.who.as_str(), entry.what.as_str(), entry.refused.is_some()))
        .collect();
    let rules =
        "rules [allow publish on topic \"t\"; allow consume on topic \"t\"; allow consume on group \"g\"]";
    assert_eq!(
        shown,
        [
            (4, "root", "put topic \"new\"", false),
            (3, "ann", "put user \"ann\": admin=true, a new password", true),
            (2, "root", format!("put user \"ann\": {rules}").as_str(), false),
            (1, "anonymous", "put user \"root\": admin=true, a new password", false),
        ]
    );
    assert_eq!((entries[0].from.as_str(), entries[0].at_ms), ("192.0.2.1", sim.now.wall_ms));
    assert_eq!(audit(&mut sim, &root, Some(3)).len(), 2);
    let page = |max| move |token| Command::Audit { token, before: None, max };
    assert!(sim.ask(&root, page(AUDIT_PAGE_ENTRIES_MAX)).is_ok());
    assert!(matches!(sim.ask(&root, page(AUDIT_PAGE_ENTRIES_MAX + 1)), Err(Error::Limit { .. })));
}

#[test]
fn there_are_so_many_users_and_no_more() {
    let (mut sim, root) = furnished();
    for number in sim.shard.directory().access().users().len()..USERS_MAX {
        sim.ask(&root, put(&format!("user {number}"), UserChange::default())).unwrap();
    }
    assert!(matches!(sim.ask(&root, put("one more", UserChange::default())), Err(Error::Limit { .. })));
    sim.ask(&root, delete("user 7")).unwrap();
    assert!(sim.ask(&root, put("one more", UserChange::default())).is_ok());
}

#[test]
fn half_messages_are_ended_by_those_who_may_publish_to_their_topic() {
    let (mut sim, root) = furnished();
    sim.ask(&root, put("ben", rules(Vec::new()))).unwrap();
    let (ann, ben) = (connect_as(&mut sim, "ann"), connect_as(&mut sim, "ben"));
    let positions: Vec<u64> =
        ["one", "two", "three"].map(|body| prepare(&mut sim, &ann, "shop", body)).into();
    produce(&mut sim, &ben, "shop");
    sim.pass_ms(HALF_FIRST_CHECK_MS + 1);
    assert!(asked(&sim, &ben).is_empty(), "it would be told what is in them");
    for decision in [Decision::Commit, Decision::RollBack] {
        let refused = end(&mut sim, &ben, positions[0], Some("shop"), decision);
        assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    }
    let list = |token| Command::OpenHalves { token, group: None, after: None, max: 10 };
    assert!(matches!(sim.ask(&ben, list), Err(Error::Denied(_))));
    assert!(matches!(sim.ask(&root, list), Ok(Reply::Halves(halves)) if halves.len() == 3));
    assert!(matches!(end(&mut sim, &ann, positions[0], None, Decision::Commit), Ok(Reply::Stored(_))));
    assert!(matches!(end(&mut sim, &ann, positions[1], None, Decision::RollBack), Ok(Reply::Done)));
    assert_eq!(sim.read("t", 1, 0).len(), 1);
}

#[test]
fn what_is_stored_together_is_denied_together() {
    let (mut sim, root) = furnished();
    sim.make_topic(&root, "u", TopicSettings { queues: 1, ..TopicSettings::default() });
    let ann = connect_as(&mut sim, "ann");
    let mut batch = PublishBatch::default();
    for name in ["t", "u"] {
        let destination = Destination::Topic { topic: sim.topic(name).id, queue_index: None };
        batch.push(&draft(name, "x"), destination, tag_hash(name), Durability::Disk).unwrap();
    }
    let together = |token| Command::PublishTogether { token, batch, settlements: Vec::new() };
    let denied = sim.ask(&ann, together);
    assert!(matches!(denied, Err(Error::Denied(_))), "{denied:?}");
    assert!(sim.read("t", 0, 0).is_empty());
}

#[test]
fn who_may_consume_changes_no_group_that_is_there() {
    let (mut sim, root) = furnished();
    let ann = connect_as(&mut sim, "ann");
    let put = |settings: GroupSettings| {
        move |token| Command::PutGroup { token, name: "g".into(), settings: Some(settings) }
    };
    let strict = GroupSettings { attempts_max: Some(3), ..GroupSettings::at_once() };
    sim.ask(&root, put(strict.clone())).unwrap();
    for settings in [GroupSettings::at_once(), GroupSettings::rocketmq("g")] {
        assert!(matches!(sim.ask(&ann, put(settings)), Err(Error::Denied(_))));
    }
    assert!(sim.ask(&ann, put(strict.clone())).is_ok(), "it is so already");
    assert_eq!(*sim.shard.directory().group("g").unwrap().settings(), strict);
}

#[test]
fn a_receipt_is_for_who_may_consume_its_topic_and_may_always_be_given_back() {
    let (mut sim, root) = furnished();
    let other = sim.make_topic(&root, "other", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.publish(&root, &other, &["for others"]);
    let (group, topic) = ("g".into(), "other".into());
    sim.ask(&root, |token| Command::Seek { token, group, topic, to: SeekTo::Earliest }).unwrap();
    let receipt = sim.receive(&root, "g", "other", 1, 60_000).remove(0).receipt;
    let ann = connect_as(&mut sim, "ann");
    let settle =
        |outcome| move |token| Command::Settle { token: Some(token), receipts: vec![receipt], outcome };
    for outcome in [Outcome::Ack, Outcome::Reject, Outcome::Retry { delay_ms: None }] {
        assert!(matches!(sim.ask(&ann, settle(outcome)), Err(Error::Denied(_))));
    }
    assert!(sim.ask(&root, settle(Outcome::Release)).is_ok());
    assert_eq!(sim.receive(&root, "g", "other", 1, 60_000).len(), 1);
}

#[test]
fn what_holds_for_a_topic_holds_for_its_light_queues() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let lites = |allowed: &str| {
        let attributes = [(crate::lite::LITE.to_owned(), allowed.to_owned())].into();
        TopicSettings { attributes, ..TopicSettings::default() }
    };
    for name in ["t", "u"] {
        sim.make_topic(&client, name, lites("true"));
    }
    sim.ask(&client, put("root", admin())).unwrap();
    let root = connect_as(&mut sim, "root");
    let all = vec![
        allow(Action::Publish, ResourceKind::Topic, "t"),
        allow(Action::Consume, ResourceKind::Topic, "t"),
        allow(Action::Consume, ResourceKind::Group, "t"),
    ];
    sim.ask(&root, put("ann", rules(all))).unwrap();
    let ann = connect_as(&mut sim, "ann");
    let publish = |sim: &mut Simulation, client: &Client, topic: &str, lite: &str| {
        let text = format!("{}\u{1}%LMQ%{lite}\u{2}", property::LITE_QUEUES);
        let (topic, mut batch) = (sim.topic(topic), PublishBatch::default());
        let draft = Draft { properties: text.as_bytes(), ..draft(&topic.name, "m") };
        let destination = Destination::Topic { topic: topic.id, queue_index: None };
        batch.push(&draft, destination, 0, Durability::Disk).unwrap();
        sim.send(client, batch).pop().unwrap()
    };
    publish(&mut sim, &ann, "t", "a").unwrap();
    publish(&mut sim, &root, "u", "b").unwrap();
    assert!(matches!(publish(&mut sim, &ann, "u", "b"), Err(Error::Denied(_))));
    assert!(matches!(publish(&mut sim, &ann, "t", "b"), Err(Error::Argument { .. })));
    let (a, b) = ("%LMQ%a", "%LMQ%b");
    let put_group = |name: &str| {
        let name: Name = name.into();
        move |token| Command::PutGroup { token, name, settings: Some(GroupSettings::at_once()) }
    };
    sim.ask(&ann, put_group(a)).unwrap();
    sim.ask(&root, put_group(b)).unwrap();
    assert_eq!(sim.receive(&ann, a, a, 9, 1_000).len(), 1);
    let receive = |token| {
        let (group, topic) = (b.into(), b.into());
        Command::Receive { token, group, topic, max: 1, wait_ms: 0, lease_ms: 1_000, filter: None }
    };
    assert!(matches!(sim.ask(&ann, receive), Err(Error::Denied(_))));
    for (name, parent) in [("%LMQ%c", "t"), ("%LMQ%b", "t"), (a, "t")] {
        let attributes = [(crate::lite::LITE_OF.to_owned(), parent.to_owned())].into();
        let (name, settings) = (name.into(), TopicSettings { attributes, ..TopicSettings::default() });
        let asked = |token| Command::PutTopic { token, name, settings, adopt: true };
        assert!(matches!(sim.ask(&ann, asked), Err(Error::Denied(_))), "ann may not configure");
    }
}
