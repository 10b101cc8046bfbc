//! The fields of all commands; each command uses its own.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(default)]
pub struct Command {
    pub id: u64,
    pub cmd: String,
    pub limit_ms: Option<u64>,
    pub remoting: String,
    pub topic: String,
    pub group: String,
    pub consumer: String,
    pub mode: String,
    pub from: String,
    pub tag: String,
    pub fail_times: i32,
    pub max_attempts: Option<i32>,
    pub hold: bool,
    pub messages: Vec<Outgoing>,
    pub run: String,
    pub bytes: usize,
    pub window: usize,
    pub journal: String,
    pub idle_ms: u64,
}

impl Default for Command {
    fn default() -> Self {
        Self {
            id: 0,
            cmd: String::new(),
            limit_ms: None,
            remoting: String::new(),
            topic: String::new(),
            group: String::new(),
            consumer: String::new(),
            mode: String::new(),
            from: "earliest".into(),
            tag: "*".into(),
            fail_times: 0,
            max_attempts: None,
            hold: false,
            messages: Vec::new(),
            run: String::new(),
            bytes: 0,
            window: 1,
            journal: String::new(),
            idle_ms: 0,
        }
    }
}

/// A message as a scenario asks for it.
#[derive(Deserialize)]
pub struct Outgoing {
    #[serde(deserialize_with = "from_base64")]
    pub body: Vec<u8>,
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    pub tag: Option<String>,
    pub key: Option<String>,
    pub queue: Option<i32>,
    pub ordering_key: Option<String>,
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}
