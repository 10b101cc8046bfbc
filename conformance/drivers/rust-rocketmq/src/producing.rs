//! Sends single messages and batches, and keeps the load.

use std::sync::{Arc, Mutex};

use rocketmq_client_rust::DefaultMQProducer;
use rocketmq_model::common::message::message_queue::MessageQueue;
use rocketmq_model::common::message::message_single::Message;
use rocketmq_model::result::{SendResult, SendStatus};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::command::{Command, Outgoing};
use crate::load::Load;
use crate::{Answer, Endpoint, Refusal};

const SEND_TIMEOUT_MS: u64 = 10_000;
const FIRST_SEND_TRIES_MAX: u32 = 5;

#[derive(Default)]
pub struct Producing {
    producer: Option<Arc<DefaultMQProducer>>,
    load: Option<Load>,
}

impl Producing {
    pub async fn send(&mut self, endpoint: &mut Endpoint, command: Command) -> Answer {
        let producer = self.producer(endpoint).await?;
        let topic = &command.topic;
        let mut receipts = Vec::new();
        match command.mode.as_str() {
            "sync" => {
                for message in &command.messages {
                    receipts.push(send_sync(&producer, topic, message).await?);
                }
            }
            "async" => receipts = send_async(&producer, topic, &command.messages).await?,
            "oneway" => {
                for message in &command.messages {
                    send_oneway(&producer, topic, message).await?;
                }
            }
            "batch" => receipts.push(send_batch(&producer, topic, &command.messages).await?),
            _ => return Err(Refusal::Unsupported("no such mode")),
        }
        Ok(json!({"receipts": receipts}))
    }

    pub async fn start_load(&mut self, endpoint: &mut Endpoint, command: Command) -> Answer {
        let producer = self.producer(endpoint).await?;
        self.load = Some(Load::start(producer, &command)?);
        Ok(json!({}))
    }

    pub async fn stop_load(&mut self) -> Answer {
        match self.load.take() {
            Some(load) => load.stop().await,
            None => Err(Refusal::Error("no load is running".into())),
        }
    }

    pub async fn close(&mut self) {
        if let Some(mut producer) = self.producer.take().and_then(Arc::into_inner) {
            producer.shutdown().await;
        }
    }

    async fn producer(&mut self, endpoint: &mut Endpoint) -> Result<Arc<DefaultMQProducer>, Refusal> {
        if let Some(producer) = &self.producer {
            return Ok(Arc::clone(producer));
        }
        // A retry by the SDK would make duplicates that no broker can be blamed for.
        let mut made = DefaultMQProducer::builder(Arc::clone(&endpoint.runtime))
            .client_config(endpoint.config())
            .producer_group(format!("conformance_producer_{}", std::process::id()))
            .send_msg_timeout(SEND_TIMEOUT_MS as u32)
            .retry_times_when_send_failed(0)
            .retry_times_when_send_async_failed(0)
            .build();
        made.start().await?;
        let made = Arc::new(made);
        self.producer = Some(Arc::clone(&made));
        Ok(made)
    }
}

fn build(topic: &str, wanted: &Outgoing) -> Result<Message, Refusal> {
    let mut builder = Message::builder().topic(topic).body(wanted.body.clone());
    if let Some(tag) = &wanted.tag {
        builder = builder.tags(tag.as_str());
    }
    if let Some(key) = &wanted.key {
        builder = builder.key(key.as_str());
    }
    for (name, value) in &wanted.properties {
        builder = builder.raw_property(name.as_str(), value.as_str())?;
    }
    Ok(builder.build()?)
}

/// Where a message is to go; none where any queue will do.
#[derive(Clone)]
enum Place {
    Queue(i32),
    Key(String),
}

impl Place {
    fn of(wanted: &Outgoing) -> Option<Self> {
        let key = || wanted.ordering_key.clone().map(Self::Key);
        wanted.queue.map(Self::Queue).or_else(key)
    }

    /// A selector, as the SDK takes it.
    fn choose(queues: &[MessageQueue], _message: &Message, place: &Self) -> Option<MessageQueue> {
        let index = match place {
            Self::Queue(index) => *index,
            Self::Key(key) => i32::try_from(crc32fast::hash(key.as_bytes()) as usize % queues.len()).ok()?,
        };
        queues.iter().find(|queue| queue.queue_id() == index).cloned()
    }
}

pub fn receipt(result: Option<&SendResult>) -> Answer {
    let Some(result) = result else {
        return Err(Refusal::Error("no send result".into()));
    };
    if result.send_status != SendStatus::SendOk {
        return Err(Refusal::Error(format!("send status {:?}", result.send_status)));
    }
    Ok(json!({
        "message_id": result.msg_id.as_ref().map(ToString::to_string),
        "queue": result.message_queue.as_ref().map(MessageQueue::queue_id),
        "offset": result.queue_offset,
    }))
}

/// Tries again when the route could not be had in time: nothing was sent then.
async fn send_sync(producer: &DefaultMQProducer, topic: &str, wanted: &Outgoing) -> Answer {
    for attempt in 1.. {
        let message = build(topic, wanted)?;
        let sent = match Place::of(wanted) {
            Some(place) => {
                producer.send_with_selector_timeout(message, Place::choose, place, SEND_TIMEOUT_MS).await
            }
            None => producer.send_with_timeout(message, SEND_TIMEOUT_MS).await,
        };
        match sent {
            Err(error) if attempt < FIRST_SEND_TRIES_MAX && error.to_string().contains("route") => {
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            }
            result => return receipt(result?.as_ref()),
        }
    }
    Err(Refusal::Error("not sent".into()))
}

async fn send_oneway(producer: &DefaultMQProducer, topic: &str, wanted: &Outgoing) -> Result<(), Refusal> {
    let message = build(topic, wanted)?;
    match Place::of(wanted) {
        Some(place) => producer.send_oneway_with_selector(message, Place::choose, place).await?,
        None => producer.send_oneway(message).await?,
    }
    Ok(())
}

async fn send_async(
    producer: &DefaultMQProducer,
    topic: &str,
    messages: &[Outgoing],
) -> Result<Vec<Value>, Refusal> {
    let mut pending = Vec::new();
    for wanted in messages {
        if Place::of(wanted).is_some() {
            return Err(Refusal::Unsupported("the driver places messages only in sends that are waited for"));
        }
        let (sender, receiver) = oneshot::channel();
        let sender = Mutex::new(Some(sender));
        let callback = move |result: Option<&SendResult>,
                             error: Option<&rocketmq_client_rust::ClientError>| {
            let outcome = match error {
                Some(error) => Err(Refusal::Error(error.to_string())),
                None => receipt(result),
            };
            if let Some(sender) = sender.lock().ok().and_then(|mut sender| sender.take()) {
                let _ = sender.send(outcome); // nobody waits any more when the command's time is over
            }
        };
        producer.send_with_callback_timeout(build(topic, wanted)?, callback, SEND_TIMEOUT_MS).await?;
        pending.push(receiver);
    }
    let mut receipts = Vec::new();
    for receiver in pending {
        receipts.push(receiver.await??);
    }
    Ok(receipts)
}

async fn send_batch(producer: &DefaultMQProducer, topic: &str, messages: &[Outgoing]) -> Answer {
    if messages.iter().any(|wanted| Place::of(wanted).is_some()) {
        return Err(Refusal::Unsupported("the client's batch has no queue selector"));
    }
    let batch = messages.iter().map(|wanted| build(topic, wanted)).collect::<Result<Vec<_>, _>>()?;
    let result = producer.send_batch_with_timeout(batch, SEND_TIMEOUT_MS).await?;
    receipt(Some(&result))
}
