//! Bodies of HEART_BEAT (34) and CHECK_CLIENT_CONFIG (46).
//!
//! Nothing is registered here; expressions are not compiled here.

use serde::{Deserialize, Deserializer};

use super::{BodyError, at_most, json, liberal};
use crate::codec::limits::{HEARTBEAT_GROUPS_COUNT_MAX, HEARTBEAT_SUBSCRIPTIONS_COUNT_MAX};

/// Everything one client instance is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Heartbeat {
    #[serde(rename = "clientID", deserialize_with = "liberal::text")]
    pub client_id: String,
    #[serde(rename = "producerDataSet", default, deserialize_with = "liberal::list")]
    pub producers: Vec<Producer>,
    #[serde(rename = "consumerDataSet", default, deserialize_with = "liberal::list")]
    pub consumers: Vec<Consumer>,
    /// 0, or a hash of the subscriptions that lets later heartbeats leave them out.
    #[serde(rename = "heartbeatFingerprint", default, deserialize_with = "liberal::integer")]
    pub fingerprint: i32,
    /// The subscriptions are left out: those of the last heartbeat with this fingerprint hold.
    #[serde(rename = "withoutSub", default, deserialize_with = "liberal::flag")]
    pub without_subscriptions: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Producer {
    #[serde(rename = "groupName", deserialize_with = "liberal::text")]
    pub group: String,
}

/// One consumer group as this client sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumer {
    #[serde(rename = "groupName", deserialize_with = "liberal::text")]
    pub group: String,
    #[serde(default = "ConsumeType::passively", deserialize_with = "consume_type")]
    pub consume_type: ConsumeType,
    #[serde(default = "MessageModel::clustering", deserialize_with = "message_model")]
    pub message_model: MessageModel,
    #[serde(default = "ConsumeFrom::last", deserialize_with = "consume_from")]
    pub consume_from_where: ConsumeFrom,
    #[serde(default, deserialize_with = "liberal::flag")]
    pub unit_mode: bool,
    #[serde(rename = "subscriptionDataSet", default, deserialize_with = "liberal::list")]
    pub subscriptions: Vec<Subscription>,
}

/// One topic of a group. The `tagsSet` and `codeSet` that clients compute are not read: the expression decides.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    #[serde(deserialize_with = "liberal::text")]
    pub topic: String,
    /// Tags separated by a double bar, `*` or empty for all; or SQL92.
    #[serde(rename = "subString", default, deserialize_with = "liberal::text")]
    pub expression: String,
    /// Empty means `TAG`.
    #[serde(default, deserialize_with = "liberal::text")]
    pub expression_type: String,
    #[serde(rename = "subVersion", default, deserialize_with = "liberal::integer")]
    pub version: i64,
    #[serde(default, deserialize_with = "liberal::flag")]
    pub class_filter_mode: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumeType {
    /// Pull consumers.
    Actively,
    /// Push consumers.
    Passively,
    Pop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageModel {
    Broadcasting,
    Clustering,
}

/// Where a group without a position begins. The client itself acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumeFrom {
    Last,
    First,
    Timestamp,
}

/// Body of 46: one subscription to be checked before the first heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckClientConfig {
    #[serde(default, deserialize_with = "liberal::text")]
    pub client_id: String,
    #[serde(default, deserialize_with = "liberal::text")]
    pub group: String,
    pub subscription_data: Option<Subscription>,
}

impl ConsumeType {
    fn passively() -> ConsumeType {
        ConsumeType::Passively
    }
}

impl MessageModel {
    fn clustering() -> MessageModel {
        MessageModel::Clustering
    }
}

impl ConsumeFrom {
    fn last() -> ConsumeFrom {
        ConsumeFrom::Last
    }
}

pub fn parse(body: &[u8]) -> Result<Heartbeat, BodyError> {
    let heartbeat: Heartbeat = json(body)?;
    let groups = heartbeat.producers.len() + heartbeat.consumers.len();
    at_most("groups", groups, HEARTBEAT_GROUPS_COUNT_MAX)?;
    for consumer in &heartbeat.consumers {
        at_most("subscriptions", consumer.subscriptions.len(), HEARTBEAT_SUBSCRIPTIONS_COUNT_MAX)?;
    }
    Ok(heartbeat)
}

pub fn parse_check(body: &[u8]) -> Result<CheckClientConfig, BodyError> {
    json(body)
}

fn consume_type<'de, D: Deserializer<'de>>(from: D) -> Result<ConsumeType, D::Error> {
    const CONSTANTS: [(&str, ConsumeType); 3] = [
        ("CONSUME_ACTIVELY", ConsumeType::Actively),
        ("CONSUME_PASSIVELY", ConsumeType::Passively),
        ("CONSUME_POP", ConsumeType::Pop),
    ];
    liberal::constant(from, "consumeType", &CONSTANTS)
}

fn message_model<'de, D: Deserializer<'de>>(from: D) -> Result<MessageModel, D::Error> {
    const CONSTANTS: [(&str, MessageModel); 2] =
        [("BROADCASTING", MessageModel::Broadcasting), ("CLUSTERING", MessageModel::Clustering)];
    liberal::constant(from, "messageModel", &CONSTANTS)
}

fn consume_from<'de, D: Deserializer<'de>>(from: D) -> Result<ConsumeFrom, D::Error> {
    // The three in the middle are old names with the meaning of their neighbours.
    const CONSTANTS: [(&str, ConsumeFrom); 6] = [
        ("CONSUME_FROM_LAST_OFFSET", ConsumeFrom::Last),
        ("CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST", ConsumeFrom::Last),
        ("CONSUME_FROM_MIN_OFFSET", ConsumeFrom::Last),
        ("CONSUME_FROM_MAX_OFFSET", ConsumeFrom::Last),
        ("CONSUME_FROM_FIRST_OFFSET", ConsumeFrom::First),
        ("CONSUME_FROM_TIMESTAMP", ConsumeFrom::Timestamp),
    ];
    liberal::constant(from, "consumeFromWhere", &CONSTANTS)
}

#[cfg(test)]
mod tests;
