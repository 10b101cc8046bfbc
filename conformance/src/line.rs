//! The JSON lines that drivers read and write, as types. `drivers/README.md` is their description; nothing here starts a program.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A message as a scenario wants it sent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outgoing {
    #[serde(serialize_with = "as_base64")]
    pub body: Vec<u8>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Index of the queue that it must go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// Messages with equal keys go to one queue, in the order they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
    /// Light queues that get it too; over HTTP only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lite: Vec<String>,
    /// It is not to be seen before so many milliseconds have passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// It is sent so often besides, as the same message: what an SDK does that tries again.
    #[serde(skip_serializing_if = "is_never")]
    pub again: u32,
}

fn is_never(times: &u32) -> bool {
    *times == 0
}

impl Outgoing {
    pub fn text(body: impl Into<String>) -> Self {
        Self { body: body.into().into_bytes(), ..Self::default() }
    }
}

fn as_base64<S: serde::Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(body))
}

fn from_base64<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

/// What the broker told about a message that it took, as far as the protocol tells.
#[derive(Debug, Clone, Deserialize)]
pub struct Receipt {
    pub queue: Option<u32>,
    pub offset: Option<u64>,
    pub durability: Option<String>,
    /// What recalls a message that waits.
    pub recall: Option<String>,
}

/// What the driver did with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Settled {
    Ack,
    Fail,
    Held,
}

/// A delivery, as far as the protocol tells.
#[derive(Debug, Clone, Deserialize)]
pub struct Arrived {
    pub topic: Option<String>,
    pub queue: Option<u32>,
    pub offset: Option<u64>,
    #[serde(deserialize_with = "from_base64")]
    pub body: Vec<u8>,
    #[serde(default)]
    pub properties: BTreeMap<String, serde_json::Value>,
    pub tag: Option<String>,
    pub key: Option<String>,
    /// 1 for the first delivery.
    pub attempt: Option<u32>,
    pub redelivered: Option<bool>,
    pub receipt: Option<String>,
    pub outcome: Settled,
}

impl Arrived {
    /// The body as text, for scenarios that send text; what is not UTF-8 is shown replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A message that was found by key.
#[derive(Debug, Clone, Deserialize)]
pub struct Found {
    #[serde(deserialize_with = "from_base64")]
    pub body: Vec<u8>,
}

/// A queue of a topic as a group sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct QueueOffsets {
    pub queue: u32,
    pub min: i64,
    pub max: i64,
    /// -1 when the group has committed nothing.
    pub committed: i64,
}

/// Totals of a load.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct LoadCounts {
    pub sent: u64,
    pub acked: u64,
    pub failed: u64,
}

/// One line of a driver.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Line {
    Event(Event),
    Answer(Answer),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Message { consumer: String, message: Arrived },
    ConsumerError { consumer: String, error: String },
    LoadProgress { acked: u64 },
    LoadEnd { load: serde_json::Value },
}

#[derive(Debug, Deserialize)]
pub struct Answer {
    pub id: u64,
    pub ok: Option<serde_json::Value>,
    pub error: Option<String>,
    pub unsupported: Option<String>,
}
