//! What strict order and priorities cost: one backlog read by offset, then consumed by lease and acknowledged in each
//! sequence that there is.
use std::path::Path;
use std::time::Instant;

use mailrail_broker::*;
use mailrail_message::{Draft, property};
use serde_json::{Value, json};

use crate::client::{self, Client, Failure};

const BATCH_MESSAGES: u64 = 256;
const READ_ENTRIES: usize = 1_024;
/// Receives that wait for their answers at the same time, and the most that each gets.
const WINDOW: u64 = 4;
const RECEIVE_MESSAGES: u32 = 1_024;
const LEASE_MS: u64 = 60_000;
/// Ordering keys that take turns, and the priorities.
const KEYS: u64 = 10_000;
const FEW_KEYS: u64 = 16;
const PRIORITIES: u64 = 10;

pub fn run(data: &Path, messages: u64, size: usize) -> Result<Value, Failure> {
    let broker = client::open(data)?;
    let mut client = Client::new(&broker);
    let body = vec![b'x'; size];
    let spread = client.topic("spread", 1)?;
    publish(&mut client, &spread, &body, messages, |number| (number % KEYS, 0))?;
    let few = client.topic("few", 1)?;
    publish(&mut client, &few, &body, messages, |number| (number % FEW_KEYS, 0))?;
    let attributes = [(PRIORITY_MAX.to_owned(), (PRIORITIES - 1).to_string())].into();
    let ranked =
        client.topic_with("ranked", TopicSettings { queues: 1, attributes, ..TopicSettings::default() })?;
    publish(&mut client, &ranked, &body, messages, |number| (0, number % PRIORITIES))?;
    let mut report = json!({ "read": read(&mut client, &spread, messages)? });
    let consumed = [
        ("lease", &spread, Order::Any),
        ("order_of_queue", &spread, Order::Queue),
        ("order_of_spread_keys", &spread, Order::Key),
        ("order_of_few_keys", &few, Order::Key),
        ("priorities", &ranked, Order::Any),
    ];
    for (name, topic, order) in consumed {
        let settings =
            GroupSettings { turns: Turns { order, ..Turns::default() }, ..GroupSettings::at_once() };
        report[name] = consume(&mut client, name, topic, settings, messages)?.into();
    }
    broker.stop()?;
    Ok(report)
}

/// Publishes messages with the key and the priority that each number has.
fn publish(
    client: &mut Client,
    topic: &Topic,
    body: &[u8],
    messages: u64,
    turn: fn(u64) -> (u64, u64),
) -> Result<(), Failure> {
    let mut properties = Vec::new();
    for first in (0..messages).step_by(BATCH_MESSAGES as usize) {
        let mut batch = PublishBatch::default();
        for number in first..messages.min(first + BATCH_MESSAGES) {
            let (key, priority) = turn(number);
            properties.clear();
            property::push(&mut properties, property::ORDERING_KEY, &key.to_string());
            property::push(&mut properties, property::PRIORITY, &priority.to_string());
            let draft = Draft { properties: &properties, ..client::draft(topic, body) };
            let destination = Destination::Topic { topic: topic.id, queue_index: Some(0) };
            batch.push(&draft, destination, 0, Durability::Memory)?;
        }
        client.publish(batch);
        client.published()?;
    }
    Ok(())
}

fn read(client: &mut Client, topic: &Topic, messages: u64) -> Result<f64, Failure> {
    let queue = topic.queue(0).ok_or("the queue is not there")?;
    let (begin, mut offset) = (Instant::now(), 0);
    while offset < messages {
        offset = client.read(&queue, offset, READ_ENTRIES)?.next_offset;
    }
    Ok(messages as f64 / begin.elapsed().as_secs_f64())
}

/// Messages a second that a group gets and acknowledges.
fn consume(
    client: &mut Client,
    name: &str,
    topic: &Topic,
    settings: GroupSettings,
    messages: u64,
) -> Result<f64, Failure> {
    let group = Name::from(name);
    client.group(name, settings)?;
    let receive = || Command::Receive {
        token: Token(4),
        group: group.clone(),
        topic: topic.name.clone(),
        max: RECEIVE_MESSAGES,
        wait_ms: 10_000,
        lease_ms: LEASE_MS,
        filter: None,
    };
    let (begin, mut got) = (Instant::now(), 0);
    client.session.submit((0..WINDOW).map(|_| receive()).collect());
    while got < messages {
        client.session.keep_held(0);
        let mut commands = Vec::new();
        for event in client.events()? {
            let Event::Deliveries { deliveries, .. } = event else { return Err(format!("{event:?}").into()) };
            got += deliveries.len() as u64;
            let receipts = deliveries.iter().map(|delivery| delivery.receipt).collect();
            commands.push(Command::Settle { token: None, receipts, outcome: Outcome::Ack });
            commands.push(receive());
        }
        client.session.submit(commands);
    }
    let rate = got as f64 / begin.elapsed().as_secs_f64();
    // What still waits is not the next group's.
    let (topic, token) = (topic.name.clone(), Token(1));
    client.session.submit(vec![Command::DeleteGroup { token, group, topic }]);
    let mut left = WINDOW + 1;
    while left > 0 {
        left -= client.events()?.count() as u64;
    }
    Ok(rate)
}
