//! Consumes: each consumer is one connection, one channel and one task.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use lapin::Acker;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Consumer};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use crate::journal::Journal;
use crate::producing::{TAG_HEADER, close, connection};
use crate::{Answer, Refusal, emit, no_offsets, text};

const KEYS_HEADER: &str = "x-keys";
const ATTEMPT_HEADER: &str = "x-delivery-count";
/// An AMQP requeue comes back at once.
const BACKOFF: Duration = Duration::from_millis(200);
const CONSUMER_TAG: &str = "conformance";
const DRAIN_PREFETCH: u16 = 500;

type Held = Arc<Mutex<HashMap<String, Acker>>>;

#[derive(Default)]
pub struct Consumers(HashMap<String, Member>);

struct Member {
    connection: Connection,
    channel: Channel,
    task: JoinHandle<()>,
    held: Held,
}

impl Consumers {
    pub async fn start(&mut self, address: &str, command: &Value) -> Answer {
        if command["from"].as_str().is_some_and(|from| from != "earliest") {
            return Err(no_offsets());
        }
        if command["tag"].as_str().is_some_and(|tag| tag != "*") {
            return Err(Refusal::Unsupported("an AMQP consumer has no filter; bindings have".into()));
        }
        let prefetch = command["prefetch"].as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or(10);
        let (connection, channel, deliveries) = subscribe(address, command, prefetch).await?;
        let held = Held::default();
        let judge = Judge { command: command.clone(), seen: HashMap::new(), held: Arc::clone(&held) };
        let task = tokio::spawn(work(deliveries, channel.clone(), judge));
        self.0.insert(text(command, "consumer").to_owned(), Member { connection, channel, task, held });
        Ok(json!({}))
    }

    pub async fn settle(&self, command: &Value) -> Answer {
        let member = self.0.get(text(command, "consumer")).ok_or("no such consumer")?;
        for receipt in command["receipts"].as_array().into_iter().flatten() {
            let receipt = receipt.as_str().unwrap_or_default();
            let held = member.held.lock().unwrap_or_else(PoisonError::into_inner).remove(receipt);
            let acker = held.ok_or("no such receipt")?;
            match text(command, "outcome") {
                "ack" => acker.ack(BasicAckOptions::default()).await?,
                outcome => {
                    acker
                        .nack(BasicNackOptions { requeue: outcome == "requeue", ..Default::default() })
                        .await?
                }
            };
        }
        Ok(json!({}))
    }

    pub async fn stop(&mut self, name: &str) -> Answer {
        let member = self.0.remove(name).ok_or("no such consumer")?;
        member.channel.basic_cancel(CONSUMER_TAG.into(), BasicCancelOptions::default()).await?;
        member.task.await?; // what was buffered is worked through
        close(&member.connection).await;
        Ok(json!({}))
    }

    pub async fn stop_all(&mut self) -> Result<(), Refusal> {
        for name in self.0.keys().cloned().collect::<Vec<_>>() {
            self.stop(&name).await?;
        }
        Ok(())
    }
}

async fn subscribe(
    address: &str,
    command: &Value,
    prefetch: u16,
) -> Result<(Connection, Channel, Consumer), lapin::Error> {
    let connection = connection(address).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let (topic, tag) = (text(command, "topic").into(), CONSUMER_TAG.into());
    let options = BasicConsumeOptions::default();
    let deliveries = channel.basic_consume(topic, tag, options, FieldTable::default()).await?;
    Ok((connection, channel, deliveries))
}

/// Until the consumer is cancelled, or its connection is gone for good.
async fn work(mut deliveries: Consumer, channel: Channel, mut judge: Judge) {
    while let Some(delivery) = deliveries.next().await {
        let result = match delivery {
            Ok(delivery) => judge.arrived(delivery).await,
            Err(error) => channel.wait_for_recovery(error).await,
        };
        if let Err(error) = result {
            // Settling what a lost connection delivered fails; the stream tells whether it comes back.
            eprintln!("consuming: {error}");
        }
    }
}

/// Decides about the deliveries of one consumer by its command, and tells each as an event.
struct Judge {
    command: Value,
    seen: HashMap<(String, Vec<u8>), i64>,
    held: Held,
}

impl Judge {
    async fn arrived(&mut self, delivery: Delivery) -> Result<(), lapin::Error> {
        let receipt = delivery.delivery_tag.to_string();
        let outcome = self.outcome(&delivery);
        if outcome == "held" {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.insert(receipt.clone(), delivery.acker.clone());
        }
        let message = describe(&delivery, outcome, &receipt);
        emit(&json!({"event": "message", "consumer": self.command["consumer"], "message": message}));
        match outcome {
            "ack" => delivery.acker.ack(BasicAckOptions::default()).await.map(drop),
            "fail" => {
                tokio::time::sleep(BACKOFF).await;
                delivery.acker.nack(BasicNackOptions { requeue: true, ..Default::default() }).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    fn outcome(&mut self, delivery: &Delivery) -> &'static str {
        if self.command["hold"] == true {
            return "held";
        }
        let id = delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
        let times = self.seen.entry((id, delivery.data.clone())).or_default();
        *times += 1;
        let fail_times = self.command["fail_times"].as_i64().unwrap_or(0);
        if fail_times >= 0 && *times > fail_times { "ack" } else { "fail" }
    }
}

fn describe(delivery: &Delivery, outcome: &str, receipt: &str) -> Value {
    let message_id = delivery.properties.message_id().as_ref().map(ToString::to_string);
    let mut message = json!({
        "message_id": message_id, "key": message_id, "topic": delivery.routing_key.as_str(),
        "body": STANDARD.encode(&delivery.data), "redelivered": delivery.redelivered, "outcome": outcome, "receipt": receipt,
    });
    let mut properties = Map::new();
    for (name, value) in delivery.properties.headers().iter().flat_map(|headers| headers.inner()) {
        match name.as_str() {
            TAG_HEADER => message["tag"] = told(value),
            KEYS_HEADER => message["key"] = told(value),
            ATTEMPT_HEADER => message["attempt"] = json!(told(value).as_i64().map(|count| count + 1)),
            other => drop(properties.insert(other.to_owned(), told(value))),
        }
    }
    message["properties"] = properties.into();
    message
}

/// A header's value as JSON; what scenarios do not send is told in Rust's own words.
fn told(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        AMQPValue::LongLongInt(number) => (*number).into(),
        AMQPValue::LongInt(number) => (*number).into(),
        other => format!("{other:?}").into(),
    }
}

/// Reads the queue until nothing came for `idle_ms`.
pub async fn drain(address: &str, command: &Value) -> Answer {
    let journal = Journal::create(text(command, "journal"))?;
    let idle = Duration::from_millis(command["idle_ms"].as_u64().unwrap_or(0));
    let (connection, _channel, mut deliveries) = subscribe(address, command, DRAIN_PREFETCH).await?;
    let mut count = 0_u64;
    while let Ok(Some(delivery)) = tokio::time::timeout(idle, deliveries.next()).await {
        let delivery = delivery?;
        journal.received("-", "-", &delivery.data, if delivery.redelivered { 2 } else { 1 })?;
        delivery.acker.ack(BasicAckOptions::default()).await?;
        count += 1;
    }
    journal.flush()?;
    close(&connection).await;
    Ok(json!({"count": count}))
}
