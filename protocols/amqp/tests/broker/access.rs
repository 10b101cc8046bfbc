//! Users over AMQP: who gets in, and what each operation takes.

use bytes::BytesMut;
use mailrail_amqp::codec::frame::PROTOCOL_HEADER;
use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::*;
use mailrail_broker::{
    Action, Command, Effect, Event, PasswordHash, Pattern, ResourceKind, Rule, Token, UserChange,
};

use crate::client::*;

impl House {
    /// Makes a user, as an administrator would.
    pub fn let_in(&self, name: &str, change: UserChange) {
        let mut session = self.broker.connect_for_tidying();
        let command = Command::PutUser { token: Token(1), name: name.into(), change: Box::new(change) };
        session.submit(vec![command]);
        let mut events = Vec::new();
        let start = std::time::Instant::now();
        while events.is_empty() && start.elapsed().as_secs() < 10 {
            session.take_events(&mut events);
            std::thread::yield_now();
        }
        assert!(matches!(events[..], [Event::Reply { result: Ok(_), .. }]), "{events:?}");
    }

    fn client_as(&self, name: &str) -> Client {
        let mut client = self.raw();
        client.open(&format!("\0{name}\0secret"), "/");
        client.expect("ConnectionOpenOk");
        client.call(1, &ChannelOpen, "ChannelOpenOk");
        client
    }
}

fn password() -> Option<PasswordHash> {
    Some(PasswordHash::of("secret").unwrap())
}

/// RabbitMQ's three patterns, as rules.
fn patterns(configure: &str, write: &str, read: &str) -> UserChange {
    let rule = |action, pattern: &str| Rule {
        effect: Effect::Allow,
        actions: vec![action],
        resources: vec![ResourceKind::Topic, ResourceKind::Group, ResourceKind::Exchange],
        names: Pattern::Regex(pattern.to_owned()),
        routing_keys: None,
        sources: Vec::new(),
    };
    let rules =
        vec![rule(Action::Configure, configure), rule(Action::Publish, write), rule(Action::Consume, read)];
    UserChange { password: password(), rules: Some(rules), ..UserChange::default() }
}

/// A house with an administrator.
fn house() -> House {
    let house = House::open();
    house.let_in("root", UserChange { admin: Some(true), password: password(), ..UserChange::default() });
    house
}

#[test]
fn a_login_is_a_user_s() {
    let house = house();
    house.let_in("ann", patterns("", "", ""));
    drop(house.client_as("ann"));
    for response in ["\0ann\0wrong", "\0ben\0secret", "\0guest\0guest", "\0ann\0", "\0\0"] {
        let mut client = house.raw();
        client.open(response, "/");
        let closed = client.expect("ConnectionClose");
        assert!(closed.contains("403") && closed.contains("ACCESS_REFUSED"), "{response:?}: {closed}");
    }
    house.let_in("ann", UserChange { enabled: Some(false), ..UserChange::default() });
    let mut client = house.raw();
    client.open("\0ann\0secret", "/");
    client.expect("ConnectionClose");
}

#[test]
fn amqplain_takes_the_same_password() {
    let house = house();
    let mut client = house.raw();
    let mut login = TableBuffer::default();
    login.put_text("LOGIN", "root").put("PASSWORD", Value::Text(b"secret"));
    let mut bytes = BytesMut::from(&PROTOCOL_HEADER[..]);
    let start_ok = ConnectionStartOk {
        client_properties: Table::default(),
        mechanism: "AMQPLAIN",
        response: login.as_table().as_bytes(),
        locale: "en_US",
    };
    writer::method(&mut bytes, 0, &start_ok);
    client.bytes(bytes);
    client.expect("ConnectionTune");
}

/// Sends a method that is denied, and opens the channel again.
fn denied<M: Arguments>(client: &mut Client, method: &M, text: &str) {
    client.send(1, method);
    let closed = client.closed();
    assert!(closed.0 == "channel" && closed.1 == 403, "{closed:?}");
    assert!(closed.2.starts_with("ACCESS_REFUSED - ") && closed.2.contains(text), "{closed:?}");
    client.call(1, &ChannelOpen, "ChannelOpenOk");
}

/// A house in which `q` and `x` are there, bound, and ann may do what three patterns say.
fn furnished(configure: &str, write: &str, read: &str) -> (House, Client) {
    let house = house();
    let mut root = house.client_as("root");
    root.call(1, &QUEUE, "QueueDeclareOk");
    root.call(1, &EXCHANGE, "ExchangeDeclareOk");
    root.call(1, &bind("q", "x", "k"), "QueueBindOk");
    house.let_in("ann", patterns(configure, write, read));
    let ann = house.client_as("ann");
    (house, ann)
}

const DELETE: QueueDelete<'static> =
    QueueDelete { queue: "q", if_unused: false, if_empty: false, no_wait: false };
const PURGE: QueuePurge<'static> = QueuePurge { queue: "q", no_wait: false };
const DELETE_EXCHANGE: ExchangeDelete<'static> =
    ExchangeDelete { exchange: "x", if_unused: false, no_wait: false };

#[test]
fn configuring_takes_the_first_pattern() {
    let (_house, mut ann) = furnished("^mine", ".*", ".*");
    denied(&mut ann, &QUEUE, "configure access to topic \"q\" in vhost '/' refused for user \"ann\"");
    denied(&mut ann, &QueueDeclare { queue: "new", ..QUEUE }, "configure access to topic \"new\"");
    denied(&mut ann, &DELETE, "configure access to topic \"q\"");
    denied(&mut ann, &EXCHANGE, "configure access to exchange \"x\"");
    denied(&mut ann, &ExchangeDeclare { exchange: "y", ..EXCHANGE }, "configure access to exchange \"y\"");
    denied(&mut ann, &DELETE_EXCHANGE, "configure access to exchange \"x\"");
    ann.call(1, &QueueDeclare { passive: true, ..QUEUE }, "QueueDeclareOk");
    ann.call(1, &ExchangeDeclare { passive: true, ..EXCHANGE }, "ExchangeDeclareOk");
    for queue in ["mine", "mine.too"] {
        ann.call(1, &QueueDeclare { queue, ..QUEUE }, "QueueDeclareOk");
        ann.call(1, &QueueDeclare { queue, ..QUEUE }, "QueueDeclareOk");
    }
    ann.call(1, &ExchangeDeclare { exchange: "mine", ..EXCHANGE }, "ExchangeDeclareOk");
    ann.call(1, &QueueDelete { queue: "mine", ..DELETE }, "QueueDeleteOk");
}

#[test]
fn writing_takes_the_second_pattern() {
    let (_house, mut ann) = furnished(".*", "^allowed$", ".*");
    for (exchange, key, named) in [("x", "k", "exchange \"x\""), ("", "q", "topic \"q\"")] {
        ann.publish(exchange, key, &PERSISTENT, b"x");
        let closed = ann.closed();
        assert!(
            closed.1 == 403 && closed.2.contains("write access to ") && closed.2.contains(named),
            "{closed:?}"
        );
        ann.call(1, &ChannelOpen, "ChannelOpenOk");
    }
    ann.call(1, &GET, "BasicGetEmpty");
    denied(&mut ann, &bind("q", "x", "other"), "write access to topic \"q\"");
    ann.call(1, &QueueDeclare { queue: "allowed", ..QUEUE }, "QueueDeclareOk");
    ann.call(1, &bind("allowed", "x", "other"), "QueueBindOk");
    ann.call(1, &ConfirmSelect { no_wait: false }, "ConfirmSelectOk");
    ann.publish("", "allowed", &PERSISTENT, b"x");
    ann.expect("BasicAck");
}

#[test]
fn reading_takes_the_third_pattern() {
    let (_house, mut ann) = furnished(".*", ".*", "^allowed$");
    denied(&mut ann, &GET, "read access to topic \"q\"");
    denied(&mut ann, &CONSUME, "read access to topic \"q\"");
    denied(&mut ann, &PURGE, "read access to topic \"q\"");
    ann.call(1, &QueueDeclare { queue: "allowed", ..QUEUE }, "QueueDeclareOk");
    denied(&mut ann, &bind("allowed", "x", "k"), "read access to exchange \"x\"");
    ann.publish("", "allowed", &PERSISTENT, b"x");
    assert_eq!(ann.message_of(&BasicGet { queue: "allowed", no_ack: true }), b"x");
    ann.call(1, &BasicConsume { queue: "allowed", ..CONSUME }, "BasicConsumeOk");
}

#[test]
fn a_dead_letter_exchange_and_an_alternate_one_take_write_access_to_them() {
    let (_house, mut ann) = furnished(".*", "^(ok|q2)$", ".*");
    let mut arguments = TableBuffer::default();
    arguments.put_text("x-dead-letter-exchange", "x");
    let declare = QueueDeclare { queue: "q2", arguments: arguments.as_table(), ..QUEUE };
    denied(&mut ann, &declare, "write access to exchange \"x\"");
    let mut arguments = TableBuffer::default();
    arguments.put_text("alternate-exchange", "x");
    let declare = ExchangeDeclare { exchange: "y", arguments: arguments.as_table(), ..EXCHANGE };
    denied(&mut ann, &declare, "write access to exchange \"x\"");
    let mut arguments = TableBuffer::default();
    arguments.put_text("x-dead-letter-exchange", "ok");
    ann.call(1, &QueueDeclare { queue: "q2", arguments: arguments.as_table(), ..QUEUE }, "QueueDeclareOk");
}

#[test]
fn a_rule_may_be_for_some_routing_keys_only() {
    let (house, _) = furnished("", "", "");
    let UserChange { rules, .. } = patterns("", "^x$", "");
    let mut rules = rules.unwrap();
    rules[1].routing_keys = Some("^eu\\.".to_owned());
    house.let_in("ann", UserChange { rules: Some(rules), ..UserChange::default() });
    let mut ann = house.client_as("ann");
    ann.call(1, &ConfirmSelect { no_wait: false }, "ConfirmSelectOk");
    ann.publish("x", "eu.new", &PERSISTENT, b"x");
    ann.expect("BasicAck");
    ann.publish("x", "us.new", &PERSISTENT, b"x");
    let closed = ann.closed();
    assert!(closed.1 == 403 && closed.2.contains("write access to exchange \"x\""), "{closed:?}");
}

#[test]
fn a_consumer_ends_when_its_user_may_no_longer_read() {
    let (house, mut ann) = furnished("", "", "^q$");
    ann.call(1, &CONSUME, "BasicConsumeOk");
    house.let_in("ann", patterns("", "", ""));
    let cancelled = ann.expect("BasicCancel");
    assert!(cancelled.contains("\"t\""), "{cancelled}");
    let mut root = house.client_as("root");
    root.publish("", "q", &PERSISTENT, b"for others");
    assert_eq!(root.message_of(&GET), b"for others");
    assert_eq!(ann.pending(), Vec::<String>::new());
}
