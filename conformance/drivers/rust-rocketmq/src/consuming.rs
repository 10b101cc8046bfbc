//! Push consumers: every delivery becomes an event line, and is consumed or failed as the command said.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rocketmq_client_rust::{
    ClientResult, ConsumeConcurrentlyContext, ConsumeConcurrentlyStatus, ConsumeOrderlyContext,
    ConsumeOrderlyStatus, DefaultMQPushConsumer, MQPushConsumer, MessageListenerConcurrently,
    MessageListenerOrderly,
};
use rocketmq_model::common::consumer::consume_from_where::ConsumeFromWhere;
use rocketmq_model::common::message::STRING_HASH_SET;
use rocketmq_model::common::message::message_ext::MessageExt;
use serde_json::{Value, json};

use crate::command::Command;
use crate::journal::Journal;
use crate::{Answer, Endpoint, Refusal, emit};

const ORDERLY_RETRY_MS: i64 = 300;
const CONSUME_THREADS: u32 = 4;

#[derive(Default)]
pub struct Consuming {
    consumers: HashMap<String, DefaultMQPushConsumer>,
}

impl Consuming {
    pub async fn start(&mut self, endpoint: &mut Endpoint, command: Command) -> Answer {
        if command.hold {
            return Err(Refusal::Unsupported("a push consumer settles by what its listener returns"));
        }
        if self.consumers.contains_key(&command.consumer) {
            return Err(Refusal::Error(format!("consumer {} exists", command.consumer)));
        }
        let (name, fail_times) = (command.consumer.clone(), command.fail_times);
        let consumer =
            open(endpoint, &command, move |message: &MessageExt| report(&name, message, fail_times)).await?;
        self.consumers.insert(command.consumer, consumer);
        Ok(json!({}))
    }

    pub async fn stop(&mut self, name: &str) -> Answer {
        match self.consumers.remove(name) {
            Some(mut consumer) => consumer.shutdown().await,
            None => return Err(Refusal::Error(format!("no consumer {name}"))),
        }
        Ok(json!({}))
    }

    pub async fn close(&mut self) {
        for (_, mut consumer) in self.consumers.drain() {
            consumer.shutdown().await;
        }
    }

    /// Reads a whole topic as a new group; it ends when nothing came for `idle_ms`.
    pub async fn drain(&mut self, endpoint: &mut Endpoint, command: Command) -> Answer {
        let journal = Arc::new(Journal::create(&command.journal)?);
        let (begin, count, last_ms) =
            (Instant::now(), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let elapsed_ms = move || u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (lines, counted, last) = (Arc::clone(&journal), Arc::clone(&count), Arc::clone(&last_ms));
        let listener = move |message: &MessageExt| {
            note(&lines, message);
            counted.fetch_add(1, Ordering::Relaxed);
            last.store(elapsed_ms(), Ordering::Relaxed);
            true
        };
        let mut consumer = open(endpoint, &command, listener).await?;
        while elapsed_ms().saturating_sub(last_ms.load(Ordering::Relaxed)) < command.idle_ms {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        consumer.shutdown().await;
        journal.flush()?;
        Ok(json!({"count": count.load(Ordering::Relaxed)}))
    }
}

/// A line that cannot be written is missed by the checker.
fn note(journal: &Journal, message: &MessageExt) {
    let body = message.body().unwrap_or_default();
    let (queue, offset, attempt) =
        (message.queue_id(), message.queue_offset(), message.reconsume_times() + 1);
    let _ = journal.received(queue, offset, &body, attempt);
}

/// A started consumer; `on_message` says whether a delivery succeeded.
async fn open(
    endpoint: &mut Endpoint,
    command: &Command,
    on_message: impl Fn(&MessageExt) -> bool + Send + Sync + 'static,
) -> Result<DefaultMQPushConsumer, Refusal> {
    if !matches!(command.from.as_str(), "earliest" | "latest") {
        return Err(Refusal::Unsupported("the driver starts at the earliest or the latest message only"));
    }
    let is_earliest = command.from == "earliest";
    let mut consumer = DefaultMQPushConsumer::builder(Arc::clone(&endpoint.runtime))
        .client_config(endpoint.config())
        .consumer_group(command.group.as_str())
        .consume_from_where(if is_earliest {
            ConsumeFromWhere::ConsumeFromFirstOffset
        } else {
            ConsumeFromWhere::ConsumeFromLastOffset
        })
        .consume_thread_min(CONSUME_THREADS)
        .consume_thread_max(CONSUME_THREADS)
        .max_reconsume_times(command.max_attempts.map_or(-1, |attempts| attempts - 1))
        .build();
    consumer.subscribe(command.topic.as_str(), command.tag.as_str()).await?;
    if command.mode == "orderly" {
        consumer.register_message_listener_orderly(Listener(on_message));
    } else {
        consumer.register_message_listener_concurrently(Listener(on_message));
    }
    consumer.start().await?;
    Ok(consumer)
}

struct Listener<F>(F);

impl<F: Fn(&MessageExt) -> bool + Send + Sync> MessageListenerConcurrently for Listener<F> {
    fn consume_message(
        &self,
        messages: &[&MessageExt],
        _context: &ConsumeConcurrentlyContext,
    ) -> ClientResult<ConsumeConcurrentlyStatus> {
        let is_done = messages.iter().all(|message| self.0(message));
        Ok(if is_done {
            ConsumeConcurrentlyStatus::ConsumeSuccess
        } else {
            ConsumeConcurrentlyStatus::ReconsumeLater
        })
    }
}

impl<F: Fn(&MessageExt) -> bool + Send + Sync> MessageListenerOrderly for Listener<F> {
    fn consume_message(
        &self,
        messages: &[&MessageExt],
        context: &mut ConsumeOrderlyContext,
    ) -> ClientResult<ConsumeOrderlyStatus> {
        context.set_suspend_current_queue_time_millis(ORDERLY_RETRY_MS);
        let is_done = messages.iter().all(|message| self.0(message));
        Ok(if is_done {
            ConsumeOrderlyStatus::Success
        } else {
            ConsumeOrderlyStatus::SuspendCurrentQueueAMoment
        })
    }
}

/// Writes the event; false if this delivery is to be failed.
fn report(consumer: &str, message: &MessageExt, fail_times: i32) -> bool {
    let is_done = fail_times >= 0 && message.reconsume_times() >= fail_times;
    let mut fields = describe(message);
    fields["outcome"] = json!(if is_done { "ack" } else { "fail" });
    emit(&json!({"event": "message", "consumer": consumer, "message": fields}));
    is_done
}

fn describe(message: &MessageExt) -> Value {
    let all = message.properties();
    let own: BTreeMap<&str, &str> = all
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !STRING_HASH_SET.contains(name))
        .collect();
    let system = |name: &str| all.get(name).map(ToString::to_string);
    json!({
        "message_id": message.msg_id().to_string(), "topic": message.topic().to_string(), "queue": message.queue_id(),
        "offset": message.queue_offset(), "body": STANDARD.encode(message.body().unwrap_or_default()), "properties": own,
        "tag": system("TAGS"), "key": system("KEYS"), "attempt": message.reconsume_times() + 1,
        "redelivered": message.reconsume_times() > 0, "store_time_ms": message.store_timestamp(),
    })
}
