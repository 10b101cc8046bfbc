//! What routes cost: a message to a hundred queues beside one to one queue, in bytes on the disk, and a topic exchange
//! with very many patterns beside one with a single one.
use std::path::Path;

use mailrail_broker::*;
use serde_json::{Value, json};

use crate::backlog::bytes_below;
use crate::client::{Client, Failure, draft, open};
use crate::observe::Moment;

const QUEUES: usize = 100;
const BODY: [u8; 1024] = [b'x'; 1024];
const BATCH_MESSAGES: usize = 64;
const WINDOW: usize = 8;

pub fn run(data: &Path, messages: u64, patterns: usize) -> Result<Value, Failure> {
    let copies = |name: &str, queues: usize| {
        let folder = data.join(name);
        let bind = |client: &mut Client| {
            for number in 0..queues {
                client.topic(&format!("queue-{number}"), 1)?;
                client.bind("routes", &format!("queue-{number}"), "")?;
            }
            Ok(())
        };
        let (report, stored) = publish(&folder, messages, "any", ExchangeKind::Fanout, bind)?;
        Ok::<_, Failure>((report, bytes_below(&folder)? as f64 / stored as f64))
    };
    let ((one, one_bytes), (many, many_bytes)) = (copies("one-queue", 1)?, copies("many-queues", QUEUES)?);
    let matched = |name: &str, patterns: usize| {
        let bind = |client: &mut Client| {
            client.topic("queue", 1)?;
            for number in 1..patterns {
                client.bind("routes", "queue", &format!("orders.*.region-{number}.#"))?;
            }
            client.bind("routes", "queue", "orders.*.region-0.#")?;
            Ok(())
        };
        publish(&data.join(name), messages, "orders.new.region-0.shop-7", ExchangeKind::Topic, bind)
            .map(|(report, _)| report)
    };
    let (one_pattern, many_patterns) = (matched("one-pattern", 1)?, matched("many-patterns", patterns)?);
    Ok(json!({
        "bytes_one_queue": one_bytes,
        "bytes_100_queues": many_bytes,
        "bytes_ratio": many_bytes / one_bytes,
        "cpu_us_one_queue": one["cpu_us"],
        "cpu_us_100_queues": many["cpu_us"],
        "cpu_us_one_pattern": one_pattern["cpu_us"],
        "cpu_us_many_patterns": many_patterns["cpu_us"],
    }))
}

/// Publishes through an exchange with the bindings that `bind` makes; the number of messages that were stored.
fn publish(
    data: &Path,
    messages: u64,
    key: &'static str,
    kind: ExchangeKind,
    bind: impl FnOnce(&mut Client) -> Result<(), Failure>,
) -> Result<(Value, u64), Failure> {
    let broker = open(data)?;
    let mut client = Client::new(&broker);
    let name = Name::from("routes");
    let settings = ExchangeSettings::durable(kind);
    client.session.submit(vec![Command::PutExchange { token: Token(1), name: name.clone(), settings }]);
    client.reply()?;
    bind(&mut client)?;
    let exchange = broker.directory().exchange(&name).ok_or("the exchange is not there")?.id;
    let origin = client.topic("origin", 1)?;
    let begin = Moment::now();
    let (mut sent, mut stored, mut under_way) = (0, 0, 0);
    while stored < messages {
        while under_way < WINDOW && sent < messages {
            let mut batch = PublishBatch::with_capacity(BATCH_MESSAGES * (BODY.len() + 200), BATCH_MESSAGES);
            for _ in 0..BATCH_MESSAGES {
                let keys = RoutingKeys::from_iter([key.as_bytes().into()]);
                let destination = Destination::Exchange { exchange, keys };
                batch.push(&draft(&origin, &BODY), destination, 0, Durability::Disk)?;
            }
            client.publish(batch);
            sent += BATCH_MESSAGES as u64;
            under_way += 1;
        }
        let (batches, count) = client.published()?;
        under_way -= batches;
        stored += count;
    }
    let report = begin.report(stored);
    broker.stop()?;
    Ok((report, stored))
}
