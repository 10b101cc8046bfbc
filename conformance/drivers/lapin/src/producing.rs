//! Declares and publishes, with confirms and without.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::PublisherConfirm;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};

use crate::{Answer, Refusal, text};

pub const TAG_HEADER: &str = "x-tag";
pub const PERSISTENT: u8 = 2;
const GOODBYE: (u16, &str) = (200, "bye");

/// A connection that comes back by itself, with its channels and consumers.
pub async fn connection(address: &str) -> Result<Connection, lapin::Error> {
    Connection::connect(address, ConnectionProperties::default().enable_auto_recover()).await
}

/// Closes what may have gone already.
pub async fn close(connection: &Connection) {
    let _ = connection.close(GOODBYE.0, GOODBYE.1.into()).await;
}

/// One connection with a channel that confirms and one that does not.
pub struct Producer {
    connection: Connection,
    confirming: Channel,
    plain: Channel,
}

impl Producer {
    pub async fn open(address: &str) -> Result<Self, lapin::Error> {
        let connection = connection(address).await?;
        let confirming = connection.create_channel().await?;
        confirming.confirm_select(ConfirmSelectOptions::default()).await?;
        let plain = connection.create_channel().await?;
        Ok(Self { connection, confirming, plain })
    }

    /// False once the connection is beyond recovery, or the broker closed a channel.
    pub fn is_usable(&self) -> bool {
        let status = self.confirming.status();
        status.connected() || status.reconnecting()
    }

    pub async fn close(self) {
        close(&self.connection).await;
    }

    pub async fn declare(&self, command: &Value) -> Answer {
        if command["queues"] != 1 {
            let reason = "an AMQP queue is one sequence; several queues are another protocol's";
            return Err(Refusal::Unsupported(reason.into()));
        }
        let topic = text(command, "topic").into();
        self.confirming.queue_declare(topic, QueueDeclareOptions::durable(), FieldTable::default()).await?;
        Ok(json!({}))
    }

    pub async fn send(&self, command: &Value) -> Answer {
        let (topic, mode) = (text(command, "topic"), text(command, "mode"));
        let messages = command["messages"].as_array().map_or(&[][..], Vec::as_slice);
        if messages.iter().any(|message| message["queue"].as_u64().unwrap_or(0) != 0) {
            return Err(Refusal::Unsupported("an AMQP queue is one sequence".into()));
        }
        match mode {
            "sync" => {
                for message in messages {
                    confirmed(publish(&self.confirming, topic, message, true).await?).await?;
                }
            }
            "async" => {
                let mut open = Vec::new();
                for message in messages {
                    open.push(publish(&self.confirming, topic, message, true).await?);
                }
                for confirm in open {
                    confirmed(confirm).await?;
                }
            }
            "oneway" => {
                for message in messages {
                    publish(&self.plain, topic, message, false).await?;
                }
                return Ok(json!({"receipts": []}));
            }
            other => return Err(Refusal::Unsupported(format!("lapin has no {other} publish"))),
        }
        Ok(json!({"receipts": vec![json!({}); messages.len()]}))
    }
}

async fn publish(
    channel: &Channel,
    topic: &str,
    message: &Value,
    mandatory: bool,
) -> Result<PublisherConfirm, Refusal> {
    let body = STANDARD.decode(text(message, "body"))?;
    let options = BasicPublishOptions { mandatory, ..Default::default() };
    Ok(channel.basic_publish("".into(), topic.into(), options, &body, properties(message)).await?)
}

fn properties(message: &Value) -> BasicProperties {
    let mut headers = FieldTable::default();
    let mut insert = |name: &str, value: &str| {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    };
    for (name, value) in message["properties"].as_object().into_iter().flatten() {
        insert(name, value.as_str().unwrap_or_default());
    }
    if let Some(tag) = message["tag"].as_str() {
        insert(TAG_HEADER, tag);
    }
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers);
    match message["key"].as_str() {
        Some(key) => properties.with_message_id(key.into()),
        None => properties,
    }
}

/// Waits for the confirm; a nack and a returned message are errors.
pub async fn confirmed(confirm: PublisherConfirm) -> Result<(), Refusal> {
    let confirmation = confirm.await?;
    if !confirmation.is_ack() {
        return Err("nack".into());
    }
    match confirmation.take_message() {
        Some(returned) => Err(format!("returned: {}", returned.reply_text).into()),
        None => Ok(()),
    }
}
